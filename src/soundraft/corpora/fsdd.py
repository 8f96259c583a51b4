"""Recordings of single digits named `{digit}_{speaker}_{take}.wav`, joined to strings of 3–6 digits.

Made for the Free Spoken Digit Dataset (github.com/Jakobovski/free-spoken-digit-dataset, CC BY-SA 4.0), whose
official test split is takes 0–4; any folder with such names will do. Splits are by take, the lowest take numbers
of the folder being test and the next ones validation: no recording is heard in two splits. All digits of a string
are one speaker's.
"""

import random
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from soundraft import files, runtime
from soundraft.audio import io
from soundraft.corpora.base import Corpus, CorpusError, CorpusInfo, Fetched, Request, require_folder
from soundraft.corpora.grammar import DIGIT_STRING_LENGTHS, DIGITS
from soundraft.manifest import SPLITS, Clip, Rejected, Split
from soundraft.parallel import BadClip, progress_over

NAME_PATTERN = re.compile(r"(?P<digit>\d)_(?P<speaker>.+)_(?P<take>\d+)\.wav", re.IGNORECASE)


@dataclass(frozen=True)
class Recording:
    digit: int
    speaker: str
    take: int
    samples: np.ndarray
    rate_hz: int


def fetch(request: Request, out: Path) -> Fetched:
    """Join recordings of `request.path` into `out/SPLIT/NNNNN.wav`.

    Raises:
        CorpusError: when the folder is absent, or a split has no recordings or no number of clips.
    """
    recordings, rejected = load_recordings(require_folder(request, family="fsdd"))
    groups = _by_split(recordings, **request.options)
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
        good.append(Recording(int(digit), speaker, int(take), io.to_mono(samples), rate_hz))
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


CORPUS = Corpus(
    CorpusInfo(
        source="your folder of {digit}_{speaker}_{take}.wav (github.com/Jakobovski/free-spoken-digit-dataset)",
        task="asr",
        about="Recorded digits of six speakers, joined to strings of 3-6 digits.",
        licence="CC BY-SA 4.0",
        size="3,000 recordings, 8 kHz",
        languages="en",
        splits="by take: the lowest takes are test, the next validation; the speakers are the same",
        columns={"text": "the digits", "speaker": "whose recordings they are"},
        takes=frozenset({"path"}),
        needs=frozenset({"path"}),
    ),
    fetch,
)
