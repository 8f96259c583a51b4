"""How fast a model is, from the bytes of an audio file to its answer, one clip at a time and in batches."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from soundraft.audio import io
from soundraft.clips.base import Clips, Featurizer
from soundraft.clips.decoding import batch_clips
from soundraft.models.base import Model
from soundraft.parallel import progress_over
from soundraft.params.sections import Decoding


@dataclass(frozen=True)
class Speed:
    """Medians over the repeats.

    Attributes:
        latency_p50_s, latency_p95_s: seconds from file to answer for one clip alone.
        real_time_factor: seconds of work per second of audio, one clip at a time.
        batched_real_time_factor: the same in batches of `batch_clips`, as many as training and evaluation take at once.
    """

    latency_p50_s: float
    latency_p95_s: float
    real_time_factor: float
    batched_real_time_factor: float
    batch_clips: int


def measure_speed(
    model: Model, featurizer: Featurizer, clips: Clips, decoding: Decoding, *, warmup: int, repeats: int
) -> Speed:
    """Time a model; `warmup` passes run before the clock starts."""
    model.model.eval()
    files = [clips.audio(index) for index in range(len(clips))]
    audio_s = sum(io.duration_s(file) for file in files)

    def seconds(indices: Sequence[int]) -> float:
        began = time.perf_counter()
        features = [featurizer.finish(featurizer.compute(*io.parse(files[n])), clips.facts[n]) for n in indices]
        model.best(model.encode(features))
        return time.perf_counter() - began

    size, runs = batch_clips(model, decoding), []
    batches = [range(start, min(start + size, len(files))) for start in range(0, len(files), size)]
    for number in progress_over(range(warmup + repeats), total=warmup + repeats, title="benchmark", unit="pass"):
        alone = np.array([seconds([index]) for index in range(len(files))])
        together = sum(seconds(batch) for batch in batches)
        if number >= warmup:
            runs.append((*np.quantile(alone, (0.5, 0.95)), alone.sum() / audio_s, together / audio_s))
    p50, p95, factor, batched_factor = np.median(runs, axis=0).tolist()
    return Speed(p50, p95, factor, batched_factor, size)
