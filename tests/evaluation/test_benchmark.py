import numpy as np
import torch

from soundraft.audio import io
from soundraft.clips.base import Clips, Featurizer
from soundraft.clips.decoding import batch_clips
from soundraft.evaluation.benchmark import measure_speed
from soundraft.params import defaults
from tests.conftest import tiny_recognizer, tone

DECODING = defaults().decoding


def clips(count: int) -> Clips:
    audio = [io.wav_bytes(tone(0.3 + 0.01 * number), 8000) for number in range(count)]
    return Clips([str(number) for number in range(count)], lambda index: audio[index], [{}] * count)


def test_speed_counts_the_repeats_and_not_the_warm_up() -> None:
    recognizer = tiny_recognizer()
    sizes: list[int] = []
    encode = recognizer.encode
    recognizer.encode = lambda features: sizes.append(len(features)) or encode(features)  # type: ignore[method-assign]

    def compute(samples: np.ndarray, rate_hz: int) -> torch.Tensor:
        return recognizer.extract(io.resample(io.to_mono(samples), rate_hz, recognizer.sample_rate_hz))

    count = batch_clips(recognizer, DECODING)
    speed = measure_speed(recognizer, Featurizer(compute, {}), clips(count + 1), DECODING, warmup=1, repeats=2)
    assert sizes == 3 * [*[1] * (count + 1), count, 1]  # the batches of every other decoding
    assert 0 < speed.latency_p50_s <= speed.latency_p95_s
    assert speed.real_time_factor > 0 < speed.batched_real_time_factor
    assert speed.batch_clips == count
