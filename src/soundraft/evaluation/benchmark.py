"""How fast a recogniser is, from samples to text, one clip at a time and in batches."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from soundraft.clips.decoding import batch_clips
from soundraft.models.base import Recognizer
from soundraft.parallel import progress_over


@dataclass(frozen=True)
class Speed:
    """Medians over the repeats.

    Attributes:
        latency_p50_s, latency_p95_s: seconds from samples to text for one clip alone.
        real_time_factor: seconds of work per second of audio, one clip at a time.
        batched_real_time_factor: the same in batches of `batch_clips`.
        batch_clips: how many clips were decoded at once: as many as training and evaluation take on this device.
    """

    latency_p50_s: float
    latency_p95_s: float
    real_time_factor: float
    batched_real_time_factor: float
    batch_clips: int


def measure(recognizer: Recognizer, waves: Sequence[np.ndarray], *, warmup: int, repeats: int) -> Speed:
    """Time the recogniser on mono waves `[N]` at its own rate; `warmup` passes run before the clock starts."""
    recognizer.model.eval()
    audio_s = sum(len(wave) for wave in waves) / recognizer.sample_rate_hz
    singly = [[wave] for wave in waves]
    size = batch_clips(recognizer)
    batched = [waves[start : start + size] for start in range(0, len(waves), size)]
    latencies: list[np.ndarray] = []
    totals: list[float] = []
    passes = progress_over(range(warmup + repeats), total=warmup + repeats, title="benchmark", unit="pass")
    for number in passes:
        one_by_one = [_seconds(recognizer, group) for group in singly]
        in_batches = sum(_seconds(recognizer, group) for group in batched)
        if number >= warmup:
            latencies.append(np.array(one_by_one))
            totals.append(in_batches)
    return Speed(
        latency_p50_s=median(float(np.quantile(run, 0.5)) for run in latencies),
        latency_p95_s=median(float(np.quantile(run, 0.95)) for run in latencies),
        real_time_factor=median(float(run.sum()) for run in latencies) / audio_s,
        batched_real_time_factor=median(totals) / audio_s,
        batch_clips=size,
    )


def _seconds(recognizer: Recognizer, waves: Sequence[np.ndarray]) -> float:
    started = time.perf_counter()
    recognizer.greedy(recognizer.encode([recognizer.extract(wave) for wave in waves]))
    return time.perf_counter() - started
