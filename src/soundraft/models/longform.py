"""Recordings of any length: cut at quiet places into windows that a recogniser takes, and read window by window."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from soundraft.models.base import Recognizer

QUIET_S = 0.2  # a cut lies in the middle of the quietest stretch so long
STEP_S = 0.01
LEAST_S = 1.0  # what a cut leaves behind it; some models cannot take much less
SILENCE_DB = -60.0  # a window whose loudest `QUIET_S` stays below has no speech
BATCH_WINDOWS = 8


@dataclass(frozen=True)
class Segment:
    """What is said between two times of a recording, in seconds from its start."""

    start_s: float
    end_s: float
    text: str


def transcribe_file(
    recognizer: Recognizer, samples: np.ndarray, decoder: Callable[[Any], list[str]] | None = None
) -> list[Segment]:
    """The text of a mono recording `[N]` at the recogniser's rate; windows without speech have no segment.

    Args:
        decoder: encoded windows → their texts; `None` is the recogniser's `careful`.
    """
    rate_hz = recognizer.sample_rate_hz
    windows = [
        (start, end)
        for start, end in cut(samples, rate_hz, recognizer.window_s)
        if 10 * np.log10(_powers(samples[start:end], rate_hz).max() + 1e-20) >= SILENCE_DB
    ]
    recognizer.model.eval()
    read = decoder or recognizer.careful
    segments = []
    for first in range(0, len(windows), BATCH_WINDOWS):
        batch = windows[first : first + BATCH_WINDOWS]
        encoded = recognizer.encode([recognizer.extract(samples[start:end]) for start, end in batch])
        for (start, end), text in zip(batch, read(encoded), strict=True):
            if text:
                segments.append(Segment(start / rate_hz, end / rate_hz, text))
    return segments


def text_of(segments: Sequence[Segment]) -> str:
    return " ".join(segment.text for segment in segments)


def cut(samples: np.ndarray, rate_hz: int, window_s: float) -> list[tuple[int, int]]:
    """Windows (start, end) that follow each other without gap or overlap, none longer than `window_s`.

    |----------------window----------------|
                              |---here?----|     the cut lies in the quietest 0.2 s of the last third
    """
    longest, least = int(window_s * rate_hz), _size(min(LEAST_S, window_s / 10), rate_hz)
    windows, start = [], 0
    while len(samples) - start > longest:
        third = start + longest * 2 // 3
        latest = min(start + longest, len(samples) - least)
        powers = _powers(samples[third:latest], rate_hz)
        end = third + int(powers.argmin()) * _size(STEP_S, rate_hz) + _size(QUIET_S, rate_hz) // 2
        windows.append((start, end))
        start = end
    return [*windows, (start, len(samples))] if start < len(samples) else windows


def _powers(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    """The mean square of each stretch of `QUIET_S`, one every `STEP_S`; of all samples when they are fewer."""
    length, step = min(_size(QUIET_S, rate_hz), len(samples)), _size(STEP_S, rate_hz)
    sums = np.concatenate([[0.0], np.cumsum(np.square(samples, dtype=np.float64))])
    return (sums[length:] - sums[:-length])[::step] / length


def _size(seconds: float, rate_hz: int) -> int:
    return max(1, round(seconds * rate_hz))


def to_text(segments: Sequence[Segment]) -> str:
    return "".join(f"{segment.text}\n" for segment in segments)


def to_json(segments: Sequence[Segment]) -> str:
    """The whole text, and each segment with its times in seconds, to the millisecond."""
    rows = [
        {"start_s": round(segment.start_s, 3), "end_s": round(segment.end_s, 3), "text": segment.text}
        for segment in segments
    ]
    whole = " ".join(segment.text for segment in segments)
    return json.dumps({"text": whole, "segments": rows}, indent=2, ensure_ascii=False) + "\n"


def to_srt(segments: Sequence[Segment]) -> str:
    """SubRip: numbered from 1, times as `hh:mm:ss,mmm`, a blank line between; an arrow in a text would be a time."""
    return "\n".join(
        f"{number}\n{clock(segment.start_s)} --> {clock(segment.end_s)}\n{segment.text.replace('-->', '->')}\n"
        for number, segment in enumerate(segments, start=1)
    )


def clock(seconds: float) -> str:
    """`hh:mm:ss,mmm`, rounded to the millisecond; hours go on above 99."""
    minutes, rest = divmod(round(seconds * 1000), 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d},{rest % 1000:03d}"


WRITERS: dict[str, Callable[[Sequence[Segment]], str]] = {"txt": to_text, "json": to_json, "srt": to_srt}
