"""Sounds, words and emotions on the hub, all on `main` but for `speech_commands` (a script there).

Where ESC-50, UrbanSound8K or EMO-DB lie as their authors publish them, `path` names that folder.
Not certain: that `agkphysics/AudioSet` is parquet on `main` now, as its copies are, and that the files in
`renumics/emodb` kept their names, which tell the speaker; a row without such a name is set aside.
"""

from collections.abc import Callable
from pathlib import PurePosixPath

from soundraft.corpora.base import CorpusError, CorpusInfo, Request
from soundraft.corpora.hub import ONE_SPLIT, Fields, HubCorpus, Row, splits
from soundraft.corpora.originals import (
    EMODB_EMOTIONS,
    EMODB_SPEAKERS,
    EMODB_STEM,
    ESC10,
    ESC50_FOLDS,
    URBANSOUND8K_FOLDS,
)
from soundraft.corpora.repository import CONVERTED
from soundraft.corpora.speech import COMMON_OPTIONS
from soundraft.parallel import BadClip


def _all_labels(fields: Fields, row: Row, _request: Request) -> Fields:
    """AudioSet names several sounds a clip; the first is the label."""
    names = row.values.get("human_labels") or []
    if not names:
        raise BadClip("no label in column 'human_labels'")
    return fields | {"label": names[0], "metadata": fields["metadata"] | {"all_labels": names}}


def _subset(known: str) -> Callable[[Request], str]:
    """The hub's subset, where `config` names a part that we choose ourselves."""

    def config(request: Request) -> str:
        if request.config not in ("", known):
            raise CorpusError(f"{request.asked_as}config: no {request.config!r}; there is: {known}")
        return ""

    return config


def _in_esc10(fields: Fields, _row: Row, request: Request) -> Fields | None:
    return None if request.config == ESC10 and not fields["metadata"].get("esc10") else fields


def _emodb_speaker(fields: Fields, row: Row, _request: Request) -> Fields:
    """Read speaker and sentence from `03a01Wa.wav`; the speaker's place in the list is the fold."""
    match = EMODB_STEM.fullmatch(PurePosixPath(row.file).stem)
    if match is None or match["speaker"] not in EMODB_SPEAKERS or match["emotion"] not in EMODB_EMOTIONS:
        raise BadClip(f"the file's name tells no speaker: {row.file!r}")
    fold = list(EMODB_SPEAKERS).index(match["speaker"]) + 1
    extra = {"sentence": match["sentence"], "take": match["take"], "fold": fold}
    return fields | {"speaker": match["speaker"], "metadata": fields["metadata"] | extra}


AUDIOSET = HubCorpus(
    CorpusInfo(
        source="agkphysics/AudioSet",
        task="classification",
        about="Ten seconds of videos, with the sounds that are heard in them.",
        licence="CC BY 4.0 (the labels; the sound is the videos' owners')",
        size="`config` balanced: 35,827 clips, 50 GB; unbalanced and full: 1.8 million clips, 2.4 TB",
        languages="any",
        splits="official: train · test (the evaluation set); validation is cut out of train by video",
        columns={"label": "the first sound, one of 527", "all_labels": "all of them", "source": "the video"},
        takes=COMMON_OPTIONS | {"split", "config", "labels"},
    ),
    repo="agkphysics/AudioSet",
    config=lambda request: request.config or "balanced",
    splits=splits(train="train", validation="train", test="test"),
    fields={"id": "video_id"},
    metadata={"source": "video_id", "mids": "labels"},
    finish=_all_labels,
)

SPEECH_COMMANDS = HubCorpus(
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
            "utterance": "the speaker's how-manieth take of the word, from 0",
        },
        takes=COMMON_OPTIONS | {"split", "config", "labels"},
    ),
    repo="google/speech_commands",
    revision=CONVERTED,
    config=lambda request: request.config or "v0.02",
    splits=splits(train="train", validation="validation", test="test"),
    fields={"label": "label", "speaker": "speaker_id"},
    metadata={"is_unknown": "is_unknown", "utterance": "utterance_id", "file": "file"},
)

ESC50 = HubCorpus(
    CorpusInfo(
        source="ashraq/esc50, or the original folder (github.com/karolpiczak/ESC-50)",
        task="classification",
        about="Environmental sounds of five seconds, 40 of each of 50 kinds.",
        licence="CC BY-NC 3.0; the subset ESC-10 CC BY 3.0",
        size="2,000 clips, 0.8 GB; `config` esc10: 400 clips of 10 kinds",
        languages="none",
        splits="5 official folds: `fold` is test, the next one validation",
        columns={"label": "one of 50", "fold": "1 to 5", "source": "number of the recording", "take": "its part"},
        takes=COMMON_OPTIONS | {"config", "labels", "fold"},
    ),
    repo="ashraq/esc50",
    config=_subset(ESC10),
    splits=ONE_SPLIT,
    fields={"id": "filename", "label": "category"},
    metadata={"fold": "fold", "source": "src_file", "take": "take", "esc10": "esc10"},
    folds=ESC50_FOLDS,
    finish=_in_esc10,
)

URBANSOUND8K = HubCorpus(
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
        takes=COMMON_OPTIONS | {"labels", "fold"},
    ),
    repo="danavery/urbansound8K",
    splits=ONE_SPLIT,
    fields={"id": "slice_file_name", "label": "class"},
    metadata={"fold": "fold", "source": "fsID", "salience": "salience", "start": "start", "end": "end"},
    folds=URBANSOUND8K_FOLDS,
)

EMODB = HubCorpus(
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
        takes=COMMON_OPTIONS | {"labels", "fold"},
    ),
    repo="renumics/emodb",
    splits=ONE_SPLIT,
    fields={"label": "emotion"},
    metadata={"gender": "gender", "age": "age"},
    folds=len(EMODB_SPEAKERS),
    finish=_emodb_speaker,
)
