"""Spoken language on the hub: transcribed speech, speakers, and spoken requests with their intent.

Where each repository holds data that needs no script, as last seen in 2026: `librispeech`, `minds14` and
`speech_massive` on `main`; `fleurs` and `common_voice`, scripts on `main`, on the hub's converted branch. Not certain:
whether Mozilla's repository still serves its converted branch (it now publishes elsewhere), and everything of
`voxceleb`, whose repository no listing showed. Where a column has another name, the error lists the columns, and
`columns` names it.
"""

from collections.abc import Mapping

from soundraft.corpora.base import CorpusInfo, Option, Request
from soundraft.corpora.hub import ONE_SPLIT, Fields, HubCorpus, Row, splits
from soundraft.corpora.repository import CONVERTED, Repository
from soundraft.manifest import Split

COMMON_OPTIONS: frozenset[Option] = frozenset({"path", "revision", "columns"})
_OFFICIAL = splits(train="train", validation="validation", test="test")
_LIBRISPEECH: Mapping[str, Mapping[Split, str]] = {
    "all": {"train": "train.clean.100", "validation": "validation.clean", "test": "test.clean"},
    "clean": {"train": "train.100", "validation": "validation", "test": "test"},
    "other": {"train": "train.500", "validation": "validation", "test": "test"},
}
_WITH_LONG_TRAIN = ("all", "de-DE", "fr-FR")  # languages of Speech-MASSIVE with more than 115 clips to train on


def _language(request: Request) -> str:
    return request.language


def _librispeech_splits(request: Request, _repository: Repository) -> Mapping[Split, str]:
    return _LIBRISPEECH.get(request.config, _LIBRISPEECH["all"])


def _massive_splits(request: Request, _repository: Repository) -> Mapping[Split, str]:
    train = "train" if request.language in _WITH_LONG_TRAIN else "train_115"
    return {"train": train, "validation": "validation", "test": "test"}


def _with_video(fields: Fields, row: Row, _request: Request) -> Fields:
    """Name the video of a file `SPEAKER/VIDEO/SEGMENT.wav` as the source recording."""
    parts = row.file.split("/")
    if len(parts) < 3:
        return fields
    return fields | {"metadata": {**fields["metadata"], "source": parts[-2]}}


LIBRISPEECH = HubCorpus(
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
        takes=COMMON_OPTIONS | {"split", "config"},
    ),
    repo="openslr/librispeech_asr",
    config=lambda request: request.config or "all",
    splits=_librispeech_splits,
    fields={"id": "id", "text": "text", "speaker": "speaker_id"},
    metadata={"chapter": "chapter_id"},
)

COMMON_VOICE = HubCorpus(
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
            "age, gender, accent": "where the speaker told",
            "up_votes, down_votes": "of the listeners",
        },
        takes=COMMON_OPTIONS | {"split", "language"},
        needs=frozenset({"language"}),
    ),
    repo="mozilla-foundation/common_voice_11_0",
    revision=CONVERTED,
    config=_language,
    splits=_OFFICIAL,
    fields={"text": "sentence", "speaker": "client_id"},
    metadata={name: name for name in ("age", "gender", "accent", "up_votes", "down_votes", "locale")},
)

FLEURS = HubCorpus(
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
        takes=COMMON_OPTIONS | {"split", "language"},
        needs=frozenset({"language"}),
    ),
    repo="google/fleurs",
    revision=CONVERTED,
    config=_language,
    splits=_OFFICIAL,
    fields={"text": "transcription"},
    metadata={"raw_transcription": "raw_transcription", "gender": "gender", "sentence": "id", "language": "language"},
)

VOXCELEB = HubCorpus(
    CorpusInfo(
        source="voxceleb/voxceleb1 (its columns are not known for certain; `columns` names others)",
        task="speaker",
        about="Celebrities speaking in videos.",
        licence="CC BY 4.0",
        size="153,516 clips of 1,251 speakers, 33 GB",
        languages="mostly en",
        splits="by speaker: those of test are heard in no other split",
        columns={"speaker": "id10001 to id11251", "source": "the video, where the file's name tells"},
        takes=COMMON_OPTIONS | {"config"},
    ),
    repo="voxceleb/voxceleb1",
    splits=ONE_SPLIT,
    fields={"speaker": "speaker_id"},
    finish=_with_video,
)

MINDS14 = HubCorpus(
    CorpusInfo(
        source="PolyAI/minds14",
        task="classification",
        about="Requests to a bank by telephone, with their intent.",
        licence="CC BY 4.0",
        size="8,168 clips in all languages, 0.6 GB, 8 kHz",
        languages="cs-CZ, de-DE, en-AU, en-GB, en-US, es-ES, fr-FR, it-IT, ko-KR, nl-NL, pl-PL, pt-PT, ru-RU, zh-CN",
        splits="none: drawn by clip, with the seed; who speaks is not known",
        columns={
            "label": "the intent, one of 14",
            "text": "what was said",
            "english": "the same in English",
            "locale": "the language's code",
        },
        takes=COMMON_OPTIONS | {"language", "labels"},
        needs=frozenset({"language"}),
    ),
    repo="PolyAI/minds14",
    config=_language,
    splits=ONE_SPLIT,
    fields={"label": "intent_class", "text": "transcription"},
    metadata={"english": "english_transcription", "locale": "lang_id", "path": "path"},
)

SPEECH_MASSIVE = HubCorpus(
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
        takes=COMMON_OPTIONS | {"split", "language", "labels"},
        needs=frozenset({"language"}),
    ),
    repo="FBK-MT/Speech-MASSIVE",
    config=_language,
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
)
