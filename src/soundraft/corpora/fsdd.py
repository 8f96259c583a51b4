"""Recordings of single digits named `{digit}_{speaker}_{take}.wav`, joined to strings of 3–6 digits or as they are.

Made for the Free Spoken Digit Dataset (github.com/Jakobovski/free-spoken-digit-dataset, CC BY-SA 4.0), whose
official test split is takes 0–4; any folder with such names will do. Splits are by take, the lowest take numbers
of the folder being test and the next ones validation: no recording is heard in two splits. All digits of a string
are one speaker's. `config: digits` joins nothing: each recording is a clip, its label and text the digit's word.
"""

import random
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from soundraft import files, runtime
from soundraft.audio import io
from soundraft.corpora.base import Corpus, CorpusError, CorpusInfo, Fetched, Request, check_config, require_folder
from soundraft.corpora.espeak import DIGIT_STRING_LENGTHS, DIGITS
from soundraft.manifest import SPLITS, Clip, Rejected, Split
from soundraft.parallel import BadClip, progress_over

CONFIGS = {"strings": "recordings joined to strings of 3-6 digits", "digits": "each recording a clip with its label"}
NAME_PATTERN = re.compile(r"(?P<digit>\d)_(?P<speaker>.+)_(?P<take>\d+)\.wav", re.IGNORECASE)


@dataclass(frozen=True)
class Recording:
    path: str
    digit: int
    speaker: str
    take: int
    samples: np.ndarray
    rate_hz: int


def fetch(request: Request, out: Path) -> Fetched:
    """Join recordings of `request.path` into `out/SPLIT/NNNNN.wav`, or take them as they are.

    Raises:
        CorpusError: when the folder is absent, or a split has no recordings or, joined, no number of clips.
    """
    config = check_config("fsdd", request, CONFIGS)
    folder = require_folder(request, family="fsdd")
    recordings, rejected = load_recordings(folder)
    groups = _by_split(recordings, **request.options)
    if config == "digits":
        return Fetched(_digits(groups, request), len(recordings), rejected, folder, {"config": config})
    clips = []
    for split in SPLITS:
        count = request.clips[split]
        if count is None:
            raise CorpusError(f"{request.asked_as}clips.{split} is null: joined digit strings need a number")
        if count and not groups[split]:
            raise CorpusError(f"{request.path}: too few take numbers: none is left for the {split} split")
        names = (f"{split}/{index:05d}" for index in range(count))
        for name in progress_over(names, total=count, title=f"join {split}", unit="clip"):
            clips.append(_join(name, split, groups[split], request.seed, out))
    return Fetched(clips, len(recordings), rejected, out)


def load_recordings(folder: Path) -> tuple[list[Recording], list[Rejected]]:
    """Every recording of the folder, and the files that are none."""
    good, rejected = [], []
    for path in files.sorted_files(folder, [".wav"]):
        name = path.relative_to(folder).as_posix()
        match = NAME_PATTERN.fullmatch(path.name)
        if match is None:
            rejected.append(Rejected(name, name, "name is not {digit}_{speaker}_{take}.wav"))
            continue
        try:
            samples, rate_hz = io.read(path)
        except BadClip as error:
            rejected.append(Rejected(name, name, str(error)))
            continue
        digit, speaker, take = match.group("digit", "speaker", "take")
        good.append(Recording(name, int(digit), speaker, int(take), io.to_mono(samples), rate_hz))
    return good, rejected


def _by_split(
    recordings: list[Recording], *, test_takes: int, validation_takes: int
) -> dict[Split, dict[str, list[Recording]]]:
    """The recordings of each split, by speaker."""
    rank = {take: index for index, take in enumerate(sorted({recording.take for recording in recordings}))}
    groups: dict[Split, dict[str, list[Recording]]] = {split: defaultdict(list) for split in SPLITS}
    for recording in recordings:
        if rank[recording.take] < test_takes:
            split: Split = "test"
        elif rank[recording.take] < test_takes + validation_takes:
            split = "validation"
        else:
            split = "train"
        groups[split][recording.speaker].append(recording)
    return groups


def _join(name: str, split: Split, group: dict[str, list[Recording]], seed: int, out: Path) -> Clip:
    rng = random.Random(runtime.derive_seed("fsdd", seed, name))
    speaker = rng.choice(sorted(group))
    chosen = rng.choices(group[speaker], k=rng.choice(DIGIT_STRING_LENGTHS))
    rate_hz = chosen[0].rate_hz
    samples = np.concatenate([io.resample(item.samples, item.rate_hz, rate_hz) for item in chosen])
    path = f"{name}.wav"
    io.write_wav(out / path, samples, rate_hz)
    return Clip(
        id=name,
        audio_path=path,
        text=" ".join(DIGITS[item.digit] for item in chosen),
        duration=round(len(samples) / rate_hz, 6),
        sample_rate=rate_hz,
        speaker=speaker,
        split=split,
        metadata={"takes": [item.take for item in chosen]},
    )


def _digits(groups: dict[Split, dict[str, list[Recording]]], request: Request) -> list[Clip]:
    """As many recordings of each split as asked, by turns of every digit."""
    clips = []
    for split in SPLITS:
        by_digit = defaultdict(list)
        for recording in (recording for group in groups[split].values() for recording in group):
            by_digit[recording.digit].append(recording)
        turns = []
        for digit, group in by_digit.items():
            group.sort(key=lambda item: runtime.derive_seed("fsdd digits", request.seed, item.path))
            turns += [(turn, digit, recording) for turn, recording in enumerate(group)]
        chosen = [recording for _, _, recording in sorted(turns, key=lambda item: item[:2])]
        clips += [_digit(recording, split) for recording in chosen[: request.clips.get(split)]]
    return clips


def _digit(recording: Recording, split: Split) -> Clip:
    return Clip(
        id=recording.path,
        audio_path=recording.path,
        text=DIGITS[recording.digit],
        label=DIGITS[recording.digit],
        duration=round(len(recording.samples) / recording.rate_hz, 6),
        sample_rate=recording.rate_hz,
        speaker=recording.speaker,
        split=split,
        task="classification",
        metadata={"take": recording.take},
    )


CORPUS = Corpus(
    CorpusInfo(
        source="your folder of {digit}_{speaker}_{take}.wav (github.com/Jakobovski/free-spoken-digit-dataset)",
        task="asr, classification",
        about="Recorded digits of six speakers, joined to strings of 3-6 digits; config digits: as they are.",
        licence="CC BY-SA 4.0",
        size="3,000 recordings, 8 kHz",
        languages="en",
        splits="by take: the lowest takes are test, the next validation; the speakers are the same",
        columns={
            "text": "the digits in words",
            "label": "config digits: the digit's word",
            "speaker": "whose recordings they are",
            "takes": "the number of each recording; take with config digits",
        },
        takes=frozenset({"path", "config"}),
        needs=frozenset({"path"}),
    ),
    fetch,
)
