"""The corpora of the hub, as data: where each lies, what it holds, which columns a clip is made of.

Where each repository holds data that needs no script, as last seen in 2026: on `main`, but for `fleurs`, `common_voice`
and `speech_commands`, scripts there, on the hub's converted branch. Not certain: whether Mozilla's repository still
serves its converted branch (it now publishes elsewhere); everything of `voxceleb`, whose repository no listing showed;
that `agkphysics/AudioSet` is parquet on `main` now, as its copies are; and that the files in `renumics/emodb` kept
their names, which hold the speaker. Where a column has another name, the error lists the columns, and `columns` names
it.
"""

from collections.abc import Mapping
from pathlib import PurePosixPath

from soundraft.corpora.base import CorpusInfo, Option, Request
from soundraft.corpora.hub import OFFICIAL, ONE_SPLIT, Fields, HubCorpus
from soundraft.corpora.hub_cache import CONVERTED, Repository
from soundraft.corpora.originals import EMODB_SPEAKERS, EMODB_STEM
from soundraft.manifest import Split
from soundraft.parallel import BadClip

_LIBRISPEECH: Mapping[str, Mapping[Split, str]] = {
    "all": {"train": "train.clean.100", "validation": "validation.clean", "test": "test.clean"},
    "clean": {"train": "train.100", "validation": "validation", "test": "test"},
    "other": {"train": "train.500", "validation": "validation", "test": "test"},
}
_MASSIVE_WITH_LONG_TRAIN = ("all", "de-DE", "fr-FR")  # languages with more than 115 clips to train on


def _takes(*options: Option) -> frozenset[Option]:
    return frozenset({"path", "revision", "columns", *options})


def _librispeech_splits(request: Request, _repository: Repository) -> Mapping[Split, str]:
    return _LIBRISPEECH.get(request.config, _LIBRISPEECH["all"])


def _massive_splits(request: Request, _repository: Repository) -> Mapping[Split, str]:
    return {**OFFICIAL, "train": "train" if request.language in _MASSIVE_WITH_LONG_TRAIN else "train_115"}


def _with_video(fields: Fields, file: str, _request: Request) -> Fields:
    """Name the video of a file `SPEAKER/VIDEO/SEGMENT.wav` as the source recording."""
    parts = file.split("/")
    return fields if len(parts) < 3 else fields | {"metadata": {**fields["metadata"], "source": parts[-2]}}


def _first_label(fields: Fields, _file: str, _request: Request) -> Fields:
    """AudioSet names several sounds for a clip; the first is the label."""
    names = fields["metadata"].get("all_labels")
    if not names:
        raise BadClip("no label in column 'human_labels'")
    return fields | {"label": names[0]}


def _in_esc10(fields: Fields, _file: str, request: Request) -> Fields | None:
    return None if request.config == "esc10" and not fields["metadata"].get("esc10") else fields


def _emodb_speaker(fields: Fields, file: str, _request: Request) -> Fields:
    """Read speaker and sentence from `03a01Wa.wav`; the speaker's place in the list is the fold."""
    match = EMODB_STEM.fullmatch(PurePosixPath(file).stem)
    if match is None or match["speaker"] not in EMODB_SPEAKERS:
        raise BadClip(f"the file's name has no speaker: {file!r}")
    fold = list(EMODB_SPEAKERS).index(match["speaker"]) + 1
    extra = {"sentence": match["sentence"], "take": match["take"], "fold": fold}
    return fields | {"speaker": match["speaker"], "metadata": fields["metadata"] | extra}


HUB_CORPORA: Mapping[str, HubCorpus] = {
    "librispeech": HubCorpus(
        CorpusInfo(
            source="openslr/librispeech_asr",
            task="asr",
            about="English audio books, read by volunteers of LibriVox.",
            licence="CC BY 4.0",
            size="960 h in 281,241 training clips, 64 GB; train.clean.100 is 6.6 GB",
            languages="en",
            splits="official, speakers apart; `config` all (train.clean.100 · train.clean.360 · train.other.500 · "
            "validation.clean · …), clean (train.100 · train.360 · …) or other (train.500 · …)",
            columns={"text": "upper case, no punctuation", "speaker": "number of the reader", "chapter": "of the book"},
            takes=_takes("split", "config"),
        ),
        repo="openslr/librispeech_asr",
        config="all",
        splits=_librispeech_splits,
        fields={"id": "id", "text": "text", "speaker": "speaker_id"},
        metadata={"chapter": "chapter_id"},
    ),
    "common_voice": HubCorpus(
        CorpusInfo(
            source="mozilla-foundation/common_voice_11_0",
            task="asr",
            about="Sentences read by volunteers in a hundred languages.",
            licence="CC0 1.0; gated: its terms must be accepted on the hub",
            size="from minutes to 2,200 h (en) a language",
            languages="100: ar, de, en, es, fr, sw, zh-CN, …",
            splits="official, speakers apart: train · validation · test",
            columns={
                "text": "the sentence",
                "speaker": "the client's hash",
                "age, gender, accent": "where the speaker stated them",
                "up_votes, down_votes": "of the listeners",
            },
            takes=_takes("split", "language"),
            needs=frozenset({"language"}),
        ),
        repo="mozilla-foundation/common_voice_11_0",
        revision=CONVERTED,
        splits=OFFICIAL,
        fields={"text": "sentence", "speaker": "client_id"},
        metadata={name: name for name in ("age", "gender", "accent", "up_votes", "down_votes", "locale")},
    ),
    "fleurs": HubCorpus(
        CorpusInfo(
            source="google/fleurs",
            task="asr",
            about="Sentences of the FLORES benchmark read in 102 languages.",
            licence="CC BY 4.0",
            size="about 12 h a language, 350 GB in all",
            languages="102: en_us, de_de, fr_fr, …",
            splits="official: train · validation · test; no sentence is in two of them",
            columns={
                "text": "the transcription, normalised",
                "raw_transcription": "as written",
                "gender": "male, female or other",
                "sentence": "number of the sentence, the same in all languages",
            },
            takes=_takes("split", "language"),
            needs=frozenset({"language"}),
        ),
        repo="google/fleurs",
        revision=CONVERTED,
        splits=OFFICIAL,
        fields={"text": "transcription"},
        metadata={
            "raw_transcription": "raw_transcription",
            "gender": "gender",
            "sentence": "id",
            "language": "language",
        },
    ),
    "voxceleb": HubCorpus(
        CorpusInfo(
            source="voxceleb/voxceleb1 (its columns are not known for certain; `columns` names others)",
            task="speaker",
            about="Celebrities speaking in videos.",
            licence="CC BY 4.0",
            size="153,516 clips of 1,251 speakers, 33 GB",
            languages="mostly en",
            splits="by speaker: those of test are in no other split",
            columns={"speaker": "id10001 to id11251", "source": "the video, where the file's name has it"},
            takes=_takes("config"),
        ),
        repo="voxceleb/voxceleb1",
        splits=ONE_SPLIT,
        fields={"speaker": "speaker_id"},
        finish=_with_video,
    ),
    "audioset": HubCorpus(
        CorpusInfo(
            source="agkphysics/AudioSet",
            task="classification",
            about="Ten seconds of videos, with the sounds that are in them.",
            licence="CC BY 4.0 (the labels; the sound is the videos' owners')",
            size="`config` balanced: 35,827 clips, 50 GB; unbalanced and full: 1.8 million clips, 2.4 TB",
            languages="any",
            splits="official: train · test (the evaluation set); validation is cut out of train by video",
            columns={
                "label": "the first sound, one of 527",
                "all_labels": "all of them, for output set",
                "source": "the video",
            },
            takes=_takes("split", "config", "labels"),
        ),
        repo="agkphysics/AudioSet",
        config="balanced",
        splits={"train": "train", "validation": "train", "test": "test"},
        fields={"id": "video_id"},
        metadata={"source": "video_id", "mids": "labels", "all_labels": "human_labels"},
        finish=_first_label,
    ),
    "speech_commands": HubCorpus(
        CorpusInfo(
            source="google/speech_commands",
            task="classification",
            about="One second of one English word.",
            licence="CC BY 4.0",
            size="`config` v0.02: 105,829 recordings, 3.4 GB; v0.01: 64,727",
            languages="en",
            splits="official, speakers apart: train · validation · test",
            columns={
                "label": "35 words (30 in v0.01) and _silence_",
                "speaker": "the speaker's hash; silence has none",
                "is_unknown": "whether the word is none of the twenty main ones",
                "utterance": "the number of the speaker's take of the word, from 0",
            },
            takes=_takes("split", "config", "labels"),
        ),
        repo="google/speech_commands",
        revision=CONVERTED,
        config="v0.02",
        splits=OFFICIAL,
        fields={"label": "label", "speaker": "speaker_id"},
        metadata={"is_unknown": "is_unknown", "utterance": "utterance_id", "file": "file"},
    ),
    "esc50": HubCorpus(
        CorpusInfo(
            source="ashraq/esc50, or the original folder (github.com/karolpiczak/ESC-50)",
            task="classification",
            about="Environmental sounds of five seconds, 40 of each of 50 kinds.",
            licence="CC BY-NC 3.0; the subset ESC-10 CC BY 3.0",
            size="2,000 clips, 0.8 GB; `config` esc10: 400 clips of 10 kinds",
            languages="none",
            splits="5 official folds: `fold` is test, the next one validation",
            columns={"label": "one of 50", "fold": "1 to 5", "source": "number of the recording", "take": "its part"},
            takes=_takes("config", "labels", "fold"),
        ),
        repo="ashraq/esc50",
        parts={"esc50": "all 50 classes", "esc10": "the subset of 10 classes"},
        splits=ONE_SPLIT,
        fields={"id": "filename", "label": "category"},
        metadata={"fold": "fold", "source": "src_file", "take": "take", "esc10": "esc10"},
        folds=5,
        finish=_in_esc10,
    ),
    "urbansound8k": HubCorpus(
        CorpusInfo(
            source="danavery/urbansound8K, or the original folder (urbansounddataset.weebly.com)",
            task="classification",
            about="Sounds of the city, up to four seconds, of 10 kinds.",
            licence="CC BY-NC 4.0 (the original: CC BY-NC 3.0)",
            size="8,732 clips, 7 GB",
            languages="none",
            splits="10 official folds: `fold` is test, the next one validation",
            columns={
                "label": "one of 10",
                "fold": "1 to 10",
                "source": "number of the recording",
                "salience": "1 in the foreground, 2 in the background",
                "start, end": "in the recording, in seconds",
            },
            takes=_takes("labels", "fold"),
        ),
        repo="danavery/urbansound8K",
        splits=ONE_SPLIT,
        fields={"id": "slice_file_name", "label": "class"},
        metadata={"fold": "fold", "source": "fsID", "salience": "salience", "start": "start", "end": "end"},
        folds=10,
    ),
    "emodb": HubCorpus(
        CorpusInfo(
            source="renumics/emodb, or the original folder (emodb.bilderbar.info)",
            task="classification",
            about="Ten actors speak ten German sentences in seven emotions.",
            licence="not stated on the hub; free for research",
            size="535 clips, 47 MB",
            languages="de",
            splits="by speaker: `fold`, 1 to 10, is the one who is test (03, 08, …, 16), the next one is validation",
            columns={
                "label": "anger, boredom, disgust, fear, happiness, neutral or sadness",
                "speaker": "03 to 16",
                "gender, age": "of the speaker, in years",
                "sentence, take": "a01 to b10, and which take of it",
            },
            takes=_takes("labels", "fold"),
        ),
        repo="renumics/emodb",
        splits=ONE_SPLIT,
        fields={"label": "emotion"},
        metadata={"gender": "gender", "age": "age"},
        folds=len(EMODB_SPEAKERS),
        finish=_emodb_speaker,
    ),
    "minds14": HubCorpus(
        CorpusInfo(
            source="PolyAI/minds14",
            task="classification",
            about="Requests to a bank by telephone, with their intent.",
            licence="CC BY 4.0",
            size="8,168 clips in all languages, 0.6 GB, 8 kHz",
            languages="cs-CZ, de-DE, en-AU, en-GB, en-US, es-ES, fr-FR, it-IT, ko-KR, nl-NL, pl-PL, pt-PT, ru-RU, "
            "zh-CN",
            splits="none: drawn by clip, with the seed; who speaks is not known",
            columns={
                "label": "the intent, one of 14",
                "text": "what was said",
                "english": "the same in English",
                "locale": "the language's code",
            },
            takes=_takes("language", "labels"),
            needs=frozenset({"language"}),
        ),
        repo="PolyAI/minds14",
        splits=ONE_SPLIT,
        fields={"label": "intent_class", "text": "transcription"},
        metadata={"english": "english_transcription", "locale": "lang_id", "path": "path"},
    ),
    "speech_massive": HubCorpus(
        CorpusInfo(
            source="FBK-MT/Speech-MASSIVE; the test split is FBK-MT/Speech-MASSIVE-test, gated",
            task="classification",
            about="Requests to a voice assistant, with intent and slots.",
            licence="CC BY-NC-SA 4.0",
            size="2,033 validation clips and 115 to train on a language; 11,514 in de-DE and fr-FR",
            languages="ar-SA, de-DE, es-ES, fr-FR, hu-HU, ko-KR, nl-NL, pl-PL, pt-PT, ru-RU, tr-TR, vi-VN; all",
            splits="official: train_115 (train in de-DE and fr-FR) · validation · test",
            columns={
                "label": "the intent, one of 60",
                "text": "the request",
                "tokens, slots": "its words, and the slot of each",
                "scenario": "one of 18",
                "sentence": "number of the sentence, the same in all languages",
            },
            takes=_takes("split", "language", "labels"),
            needs=frozenset({"language"}),
        ),
        repo="FBK-MT/Speech-MASSIVE",
        splits=_massive_splits,
        fields={"label": "intent_str", "text": "utt", "speaker": "speaker_id"},
        metadata={
            "scenario": "scenario_str",
            "tokens": "tokens",
            "slots": "labels",
            "sentence": "id",
            "gender": "speaker_sex",
            "age": "speaker_age",
        },
        elsewhere={"test": "FBK-MT/Speech-MASSIVE-test"},
    ),
}
