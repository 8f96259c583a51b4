"""Recordings of any length: cut at quiet places into windows that a recogniser takes, and transcribed one by one."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from soundraft.models.base import Recognizer
from soundraft.params.sections import Decoding, LongAudio


@dataclass(frozen=True)
class Segment:
    start_s: float
    end_s: float
    text: str


def transcribe_file(
    recognizer: Recognizer, samples: np.ndarray, options: Decoding, decoder: Callable[[Any], list[str]] | None = None
) -> list[Segment]:
    """The text of a mono recording `[N]` at the recogniser's rate; windows without speech have no segment.

    Args:
        decoder: encoded windows → their texts; `None`: the best texts, with fallback.
    """
    rate_hz, long = recognizer.sample_rate_hz, options.long_audio
    window_s = recognizer.window_s or recognizer.learned_clip_s or long.window_s
    windows = [
        (start, end)
        for start, end in cut(samples, rate_hz, window_s, long)
        if 10 * np.log10(_powers(samples[start:end], rate_hz, long).max() + 1e-20) >= long.silence_db
    ]
    recognizer.model.eval()
    segments = []
    for first in range(0, len(windows), long.batch_windows):
        batch = windows[first : first + long.batch_windows]
        encoded = recognizer.encode([recognizer.extract(samples[start:end]) for start, end in batch])
        texts = decoder(encoded) if decoder else recognizer.best_with_fallback(encoded, options.fallback)
        for (start, end), text in zip(batch, texts, strict=True):
            if text:
                segments.append(Segment(start / rate_hz, end / rate_hz, text))
    return segments


def cut(samples: np.ndarray, rate_hz: int, window_s: float, options: LongAudio) -> list[tuple[int, int]]:
    """Windows (start, end) that follow each other without gap or overlap, none longer than `window_s`.

    |----------------window----------------|
                              |---here?----|     the cut lies in the quietest stretch of the last third
    """
    longest = int(window_s * rate_hz)
    least = _size(min(options.least_s, window_s / 10), rate_hz)
    step, half = _size(options.step_s, rate_hz), _size(options.quiet_s, rate_hz) // 2
    windows, start = [], 0
    while len(samples) - start > longest:
        third = start + longest * 2 // 3
        latest = min(start + longest, len(samples) - least)
        end = third + int(_powers(samples[third:latest], rate_hz, options).argmin()) * step + half
        windows.append((start, end))
        start = end
    return [*windows, (start, len(samples))] if start < len(samples) else windows


def _powers(samples: np.ndarray, rate_hz: int, options: LongAudio) -> np.ndarray:
    """The mean square of each stretch of `quiet_s`, one every `step_s`; of all samples when they are fewer."""
    length = min(_size(options.quiet_s, rate_hz), len(samples))
    sums = np.concatenate([[0.0], np.cumsum(np.square(samples, dtype=np.float64))])
    return (sums[length:] - sums[:-length])[:: _size(options.step_s, rate_hz)] / length


def _size(seconds: float, rate_hz: int) -> int:
    return max(1, round(seconds * rate_hz))


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


WRITERS: dict[str, Callable[[Sequence[Segment]], str]] = {
    "txt": lambda segments: "".join(f"{segment.text}\n" for segment in segments), "json": to_json, "srt": to_srt,
}  # fmt: skip
