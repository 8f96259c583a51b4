"""What a corpus consists of, by split: durations, words, labels, speakers, rates."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import soundfile

from soundraft import files
from soundraft.manifest import SPLITS, Clip, Rejected
from soundraft.parallel import BadClip, Failure, map_clips
from soundraft.runtime import UserError

ALL = "all"
NO_SPLIT = "no split"


@dataclass(frozen=True)
class Statistics:
    """Of one split.

    Attributes:
        durations: seconds of each clip.
        words: number of words of each clip that has a text.
        vocabulary: number of different words.
        labels: how many clips have each label; a clip may have several.
        rates: how many clips have each rate, Hz.
    """

    clips: int
    durations: np.ndarray
    words: np.ndarray
    vocabulary: int
    labels: Counter[str]
    speakers: Counter[str]
    rates: Counter[int]


def measure(clips: Sequence[Clip], root: Path) -> tuple[dict[str, Statistics], list[Rejected]]:
    """Statistics of each split and, where there are several, of all of it; and the clips whose audio cannot be read.

    Durations and rates that the manifest does not tell come from the files' headers.

    Raises:
        UserError: when no clip is left to measure.
    """
    stated, unreadable = _with_durations(clips, root)
    if not stated:
        first = f": {unreadable[0].path}: {unreadable[0].reason}" if unreadable else ""
        raise UserError(f"there are no clips to measure{first}")
    groups = {split: [clip for clip in stated if clip.split == split] for split in (*SPLITS, None)}
    found = {split or NO_SPLIT: _measure(group) for split, group in groups.items() if group}
    return (found | {ALL: _measure(stated)} if len(found) > 1 else found), unreadable


def table(found: Mapping[str, Statistics]) -> list[tuple[str, ...]]:
    """Rows of text, the head first."""
    rows: list[tuple[str, ...]] = [
        (
            "split", "clips", "hours", "shortest", "median", "longest", "words", "vocabulary", "labels", "speakers",
            "rates",
        )
    ]  # fmt: skip
    for name, split in found.items():
        seconds = (np.min(split.durations), np.median(split.durations), np.max(split.durations))
        rows.append((
            name, f"{split.clips:,}", f"{split.durations.sum() / 3600:.2f}", *(f"{value:.2f} s" for value in seconds),
            _count(int(split.words.sum())), _count(split.vocabulary), _count(len(split.labels)),
            _count(len(split.speakers)), _rates(split.rates),
        ))  # fmt: skip
    return rows


def labels_table(found: Mapping[str, Statistics], most: int) -> list[tuple[str, ...]]:
    """How many clips of each split have each of the `most` frequent labels, the head first; empty without labels."""
    total = sum((found[name].labels for name in splits_of(found)), Counter[str]())
    if not total:
        return []
    rows: list[tuple[str, ...]] = [("label", *found)]
    for label, _ in total.most_common(most):
        rows.append((label, *(_count(split.labels[label]) for split in found.values())))
    if len(total) > most:
        rows.append((f"and {len(total) - most} more", *("" for _ in found)))
    return rows


def splits_of(found: Mapping[str, Statistics]) -> list[str]:
    """The splits, without their sum."""
    return [name for name in found if name != ALL]


def _measure(clips: Sequence[Clip]) -> Statistics:
    texts = [clip.text.split() for clip in clips if clip.text is not None]
    return Statistics(
        clips=len(clips),
        durations=np.array([clip.duration for clip in clips], dtype=float),
        words=np.array([len(words) for words in texts], dtype=int),
        vocabulary=len({word for words in texts for word in words}),
        labels=Counter(label for clip in clips for label in _labels(clip)),
        speakers=Counter(clip.speaker for clip in clips if clip.speaker is not None),
        rates=Counter(clip.sample_rate for clip in clips if clip.sample_rate is not None),
    )


def _labels(clip: Clip) -> list[str]:
    several = clip.metadata.get("all_labels")
    if several:
        return [str(label) for label in several]
    return [] if clip.label is None else [clip.label]


def _with_durations(clips: Sequence[Clip], root: Path) -> tuple[list[Clip], list[Rejected]]:
    unknown = [clip for clip in clips if clip.duration is None or clip.sample_rate is None]
    headers = map_clips(partial(_read_header, root), [clip.audio_path for clip in unknown], title="read headers")
    found = dict(zip((clip.id for clip in unknown), headers, strict=True))
    stated, unreadable = [], []
    for clip in clips:
        header = found.get(clip.id)
        if isinstance(header, Failure):
            unreadable.append(Rejected(clip.id, clip.audio_path, header.reason))
        elif header is None:
            stated.append(clip)
        else:
            stated.append(clip.model_copy(update={"duration": header[0], "sample_rate": header[1]}))
    return stated, unreadable


def _read_header(root: Path, audio_path: str) -> tuple[float, int]:
    """Duration in seconds and rate in Hz."""
    path = files.inside(root, audio_path)
    if not path.is_file():
        raise BadClip("no such file")
    try:
        header = soundfile.info(path)
    except soundfile.LibsndfileError as error:
        raise BadClip(f"not readable as audio: {error.error_string}") from error
    return header.frames / header.samplerate, header.samplerate


def _count(number: int) -> str:
    return f"{number:,}" if number else "–"


def _rates(rates: Counter[int]) -> str:
    return ", ".join(f"{rate / 1000:g} kHz" for rate, _ in rates.most_common())
