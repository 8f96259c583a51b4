"""Recordings of any length: cut at quiet places into windows that a recogniser takes, and transcribed one by one."""

import html
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from soundraft.models.base import Recognizer, Span, words_of
from soundraft.params.sections import Decoding, LongAudio

PAUSE_S = 1.0  # no line of subtitles stays for a longer pause
READABLE_S = 0.8  # the shortest line of subtitles, where nothing follows at once
TYPICAL = 2 / 3  # of the longest clips that a model learned: what is longer than these is cut to a usual length


@dataclass(frozen=True)
class Segment:
    start_s: float
    end_s: float
    text: str


def transcribe_file(
    recognizer: Recognizer,
    samples: np.ndarray,
    options: Decoding,
    decoder: Callable[[Any], list[str]] | None = None,
    *,
    subtitles: bool = False,
) -> list[Segment]:
    """The text of a mono recording `[N]` at the recogniser's rate; windows without speech have no segment.

    Args:
        decoder: encoded windows → their texts; `None`: the best texts, with fallback.
        subtitles: segments of a readable length; else one a window.
    """
    rate_hz, long, learned_s = recognizer.sample_rate_hz, options.long_audio, recognizer.learned_clip_s
    window_s = recognizer.window_s or learned_s or long.window_s
    # a model that learned single clips fails on the pauses between them; others learned recordings as they come
    parts = speech(samples, rate_hz, long) if learned_s else [(0, len(samples))]
    windows: list[tuple[int, int]] = []
    for first, last in parts:
        too_long = learned_s and last - first > window_s * rate_hz
        found = cut(samples[first:last], rate_hz, TYPICAL * window_s if too_long else window_s, long)
        windows += [(first + start, first + end) for start, end in found]
    least = 10 ** (long.silence_db / 10)
    windows = [(start, end) for start, end in windows if _powers(samples[start:end], rate_hz, long).max() >= least]
    recognizer.model.eval()
    segments = []
    for first in range(0, len(windows), long.batch_windows):
        batch = windows[first : first + long.batch_windows]
        encoded = recognizer.encode([recognizer.extract(samples[start:end]) for start, end in batch])
        texts = decoder(encoded) if decoder else recognizer.best_with_fallback(encoded, options.fallback)
        if not subtitles:
            segments += [
                Segment(start / rate_hz, end / rate_hz, text)
                for (start, end), text in zip(batch, texts, strict=True)
                if text
            ]
            continue
        durations_s = [(end - start) / rate_hz for start, end in batch]
        times = recognizer.word_times(encoded, texts, durations_s)
        for (start, end), duration_s, text, spans in zip(batch, durations_s, texts, times, strict=True):
            if not text:
                continue
            voiced = speech(samples[start:end], rate_hz, long)
            spans = [_voiced(span, voiced, rate_hz) for span in spans]
            segments += lines_of(text, spans, long, start_s=start / rate_hz, duration_s=duration_s)
    return segments


def lines_of(
    text: str, spans: Sequence[Span], options: LongAudio, *, start_s: float, duration_s: float
) -> list[Segment]:
    """A text cut between words, and at pauses, into lines of at most `line_s` and `line_characters`, of similar length.

    Args:
        spans: of each word, counted from `start_s`, where the clip begins that lasts `duration_s`.
    """
    words, between = words_of(text)
    pauses = [place for place in range(1, len(words)) if spans[place][0] - spans[place - 1][1] > PAUSE_S]
    lines = []
    for first, last in pairwise([0, *pauses, len(words)]):
        cuts = _cuts(words[first:last], between, spans[first:last], options)
        for start, end in pairwise(first + cut for cut in cuts):
            begin_s = spans[start][0]
            next_s = spans[end][0] if end < len(spans) else duration_s
            end_s = min(max(spans[end - 1][1], begin_s + READABLE_S), next_s, begin_s + options.line_s)
            lines.append(Segment(start_s + begin_s, start_s + end_s, between.join(words[start:end])))
    return lines


def _cuts(words: Sequence[str], between: str, spans: Sequence[Span], options: LongAudio) -> list[int]:
    """Where lines begin, and the end: as few as can be, and of these the ones whose longest is shortest."""

    def within(characters: int) -> list[int]:
        cuts = [0]
        for place in range(1, len(words)):
            text = between.join(words[cuts[-1] : place + 1])
            if len(text) > characters or spans[place][1] - spans[cuts[-1]][0] > options.line_s:
                cuts.append(place)
        return [*cuts, len(words)]

    fewest = within(options.line_characters)
    least = len(between.join(words)) // (len(fewest) - 1)
    return next((cuts for limit in range(least, options.line_characters) if len(cuts := within(limit)) == len(fewest)),
                fewest)  # fmt: skip


def _voiced(span: Span, voiced: Sequence[tuple[int, int]], rate_hz: int) -> Span:
    """The longest part of a word's time that is no pause: attention wanders into the pauses beside a word."""
    parts = [(max(span[0], start / rate_hz), min(span[1], end / rate_hz)) for start, end in voiced]
    return max([*parts, span], key=lambda each: (each in parts and each[1] > each[0], each[1] - each[0]))


def speech(samples: np.ndarray, rate_hz: int, options: LongAudio) -> list[tuple[int, int]]:
    """What lies between pauses: stretches of `quiet_s` whose power is `pause_db` or more below the loudest one's."""
    step, size = _size(options.step_s, rate_hz), max(1, round(options.quiet_s / options.step_s))
    frames = np.pad(samples, (0, -len(samples) % step)).reshape(-1, step)
    powers = np.einsum("ij,ij->i", frames, frames)
    if len(powers) < size:
        return [(0, len(samples))]
    sums = np.convolve(powers, np.ones(size), "valid")
    paused = np.convolve(sums < sums.max() * 10 ** (-options.pause_db / 10), np.ones(size)) > 0.5
    edges = np.flatnonzero(np.diff(np.concatenate([[True], paused, [True]])))
    # a click is widened to `quiet_s`, for some models take no less
    wider = (np.maximum(0, size - (edges[1::2] - edges[::2])) + 1) // 2
    bounds = zip(edges[::2] - wider, edges[1::2] + wider, strict=True)
    return [(int(max(0, start) * step), int(min(len(samples), end * step))) for start, end in bounds]


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


def to_vtt(segments: Sequence[Segment]) -> str:
    """WebVTT: times as `hh:mm:ss.mmm`, a blank line before each; a text has no markup."""
    return "WEBVTT\n" + "".join(
        f"\n{clock(segment.start_s, '.')} --> {clock(segment.end_s, '.')}\n{html.escape(segment.text, quote=False)}\n"
        for segment in segments
    )


def clock(seconds: float, point: str = ",") -> str:
    """`hh:mm:ss,mmm`, rounded to the millisecond; hours go on above 99."""
    minutes, rest = divmod(round(seconds * 1000), 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d}{point}{rest % 1000:03d}"


WRITERS: dict[str, Callable[[Sequence[Segment]], str]] = {
    "txt": lambda segments: "".join(f"{segment.text}\n" for segment in segments), "json": to_json, "srt": to_srt,
    "vtt": to_vtt,
}  # fmt: skip
SUBTITLES = ("srt", "vtt")
