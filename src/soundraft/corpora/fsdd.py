"""Recordings of single digits named `{digit}_{speaker}_{take}.wav`, joined to strings of 3–6 digits or as they are.

Made for the Free Spoken Digit Dataset (github.com/Jakobovski/free-spoken-digit-dataset, CC BY-SA 4.0), whose
official test split is takes 0–4; any folder with such names will do. Splits are by take, the lowest take numbers
of the folder being test and the next ones validation: no recording is in two splits. All digits of a string are one
speaker's. With `config: digits` each recording is a clip, its label and text the digit's word.
"""

import random
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from soundraft import runtime
from soundraft.audio import io
from soundraft.corpora.base import Corpus, CorpusError, CorpusInfo, Fetched, Request, check_config, existing_path
from soundraft.corpora.espeak import DIGIT_STRING_LENGTHS, DIGITS
from soundraft.manifest import SPLITS, Clip, Rejected, Split, audio_names
from soundraft.parallel import BadClip, progress_over

CONFIGS = {"strings": "recordings joined to strings of 3-6 digits", "digits": "each recording a clip with its label",
           "speakers": "strings, by speaker: none is in two splits"}  # fmt: skip
NAME_PATTERN = re.compile(r"(?P<digit>\d)_(?P<speaker>.+)_(?P<take>\d+)\.wav", re.IGNORECASE)


Recording = tuple[Clip, np.ndarray]  # a single digit with its mono samples [N]
Groups = dict[Split, dict[str, list[Recording]]]  # of each split, by speaker


def fetch(request: Request, out: Path) -> Fetched:
    """Join recordings of `request.path` into `out/SPLIT/NNNNN.wav`, or take them as they are."""
    config = check_config("fsdd", request, CONFIGS)
    folder = existing_path(request, "the folder that holds the recordings")
    recordings, rejected = _load(folder)
    by_take = _by_take(recordings, **request.options)
    groups = _by_speaker(recordings, request.seed) if config == "speakers" else by_take
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


def _load(folder: Path) -> tuple[list[Recording], list[Rejected]]:
    good, rejected = [], []
    for name in audio_names(folder, [".wav"]):
        match = NAME_PATTERN.fullmatch(PurePosixPath(name).name)
        try:
            if match is None:
                raise BadClip("name is not {digit}_{speaker}_{take}.wav")
            samples, rate_hz = io.read(folder / name)
        except BadClip as error:
            rejected.append(Rejected(name, name, str(error)))
            continue
        word = DIGITS[int(match["digit"])]
        clip = Clip(
            id=name,
            audio_path=name,
            text=word,
            label=word,
            duration=round(len(samples) / rate_hz, 6),
            sample_rate=rate_hz,
            speaker=match["speaker"],
            task="classification",
            metadata={"take": int(match["take"])},
        )
        good.append((clip, io.to_mono(samples)))
    return good, rejected


def _by_take(recordings: list[Recording], *, test_takes: int, validation_takes: int) -> Groups:
    takes = sorted({clip.metadata["take"] for clip, _ in recordings})
    return _grouped(recordings, "take", takes, test_takes, validation_takes)


def _by_speaker(recordings: list[Recording], seed: int) -> Groups:
    """A third of the speakers for test, a sixth for validation, each at least one."""
    speakers = {str(clip.speaker) for clip, _ in recordings}
    order = sorted(speakers, key=lambda speaker: runtime.derive_seed("fsdd speakers", seed, speaker))
    if len(order) < len(SPLITS):
        raise CorpusError(f"config speakers: {len(order)} speakers; each split needs one of its own")
    return _grouped(recordings, "speaker", order, max(1, len(order) // 3), max(1, len(order) // 6))


def _grouped(recordings: list[Recording], by: str, order: Sequence[Any], test: int, validation: int) -> Groups:
    """The first takes or speakers of the order are test, the next ones validation."""
    splits: dict[Any, Split] = dict.fromkeys(order, "train")
    splits |= dict.fromkeys(order[: test + validation], "validation")
    splits |= dict.fromkeys(order[:test], "test")
    groups: Groups = {split: defaultdict(list) for split in SPLITS}
    for clip, samples in recordings:
        speaker = str(clip.speaker)
        split = splits[speaker if by == "speaker" else clip.metadata[by]]
        groups[split][speaker].append((clip.model_copy(update={"split": split}), samples))
    return groups


def _join(name: str, split: Split, group: dict[str, list[Recording]], seed: int, out: Path) -> Clip:
    rng = random.Random(runtime.derive_seed("fsdd", seed, name))
    speaker = rng.choice(sorted(group))
    chosen = rng.choices(group[speaker], k=rng.choice(DIGIT_STRING_LENGTHS))
    rate_hz = chosen[0][0].sample_rate or 0
    samples = np.concatenate([io.resample(digit, clip.sample_rate or 0, rate_hz) for clip, digit in chosen])
    path = f"{name}.wav"
    io.write_wav(out / path, samples, rate_hz)
    return Clip(
        id=name,
        audio_path=path,
        text=" ".join(str(clip.text) for clip, _ in chosen),
        duration=round(len(samples) / rate_hz, 6),
        sample_rate=rate_hz,
        speaker=speaker,
        split=split,
        metadata={"takes": [clip.metadata["take"] for clip, _ in chosen]},
    )


def _digits(groups: Groups, request: Request) -> list[Clip]:
    """As many recordings of each split as asked, by turns of every digit."""
    clips = []
    for split in SPLITS:
        own = [clip for group in groups[split].values() for clip, _ in group]
        own.sort(key=lambda clip: runtime.derive_seed("fsdd digits", request.seed, clip.audio_path))
        drawn: Counter[int] = Counter()
        turns = []
        for clip in own:
            digit = DIGITS.index(str(clip.text))
            turns.append((drawn[digit], digit, clip))
            drawn[digit] += 1
        turns.sort(key=lambda turn: turn[:2])
        clips += [clip for _, _, clip in turns[: request.clips.get(split)]]
    return clips


CORPUS = Corpus(
    CorpusInfo(
        source="your folder of {digit}_{speaker}_{take}.wav (github.com/Jakobovski/free-spoken-digit-dataset)",
        task="asr, classification",
        about="Recorded digits of six speakers, joined to strings of 3-6 digits; config digits: as they are.",
        licence="CC BY-SA 4.0",
        size="3,000 recordings, 8 kHz",
        languages="en",
        splits="by take: the lowest takes are test, the next validation; config speakers: by speaker",
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
