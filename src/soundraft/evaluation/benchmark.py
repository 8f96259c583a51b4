"""How fast a model is, from audio to predictions, one clip at a time and in batches."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from soundraft.clips.decoding import batch_clips
from soundraft.models.base import Recognizer
from soundraft.parallel import progress_over

Work = Callable[[], object]


@dataclass(frozen=True)
class Speed:
    """Medians over the repeats.

    Attributes:
        latency_p50_s, latency_p95_s: seconds from samples to text for one clip alone.
        real_time_factor: seconds of work per second of audio, one clip at a time.
        batched_real_time_factor: the same in batches of `batch_clips`, as many as training and evaluation take at once.
    """

    latency_p50_s: float
    latency_p95_s: float
    real_time_factor: float
    batched_real_time_factor: float
    batch_clips: int


def measure(recognizer: Recognizer, waves: Sequence[np.ndarray], *, warmup: int, repeats: int) -> Speed:
    """Time a recogniser on mono waves `[N]` at its own rate."""
    recognizer.model.eval()
    audio_s = sum(map(len, waves)) / recognizer.sample_rate_hz
    size = batch_clips(recognizer)

    def work(part: Sequence[np.ndarray]) -> object:
        return recognizer.greedy(recognizer.encode([recognizer.extract(wave) for wave in part]))

    alone, batched = timed(
        [partial(work, [wave]) for wave in waves],
        [partial(work, waves[start : start + size]) for start in range(0, len(waves), size)],
        warmup=warmup,
        repeats=repeats,
    )
    p50, p95 = (float(np.median(np.quantile(alone, share, axis=1))) for share in (0.5, 0.95))
    factor, batched_factor = (float(np.median(seconds.sum(1))) / audio_s for seconds in (alone, batched))
    return Speed(p50, p95, factor, batched_factor, size)


def timed(
    alone: Sequence[Work], batched: Sequence[Work], *, warmup: int, repeats: int
) -> tuple[np.ndarray, np.ndarray]:
    """Seconds of each piece of work, [repeats, N], after `warmup` passes that do not count."""
    runs = []
    for number in progress_over(range(warmup + repeats), total=warmup + repeats, title="benchmark", unit="pass"):
        seconds = [[_seconds(work) for work in those] for those in (alone, batched)]
        if number >= warmup:
            runs.append(seconds)
    first, second = zip(*runs, strict=True)
    return np.array(first), np.array(second)


def _seconds(work: Work) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
