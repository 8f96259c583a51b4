import io
from collections.abc import Sequence
from typing import Any

import soundfile

from soundraft.clips.base import Clips
from soundraft.clips.batches import batch_clips
from soundraft.params import defaults
from soundraft.tasks.asr import Recognition
from soundraft.tasks.measure import measure_speed
from tests.conftest import tiny_recognizer, tone


def test_speed_counts_the_repeats_in_the_batches_of_every_other_decoding() -> None:
    params, model = defaults(), tiny_recognizer()
    sizes: list[int] = []
    encode = model.encode

    def counted(features: Sequence[Any]) -> Any:
        sizes.append(len(features))
        return encode(features)

    model.encode = counted  # type: ignore[method-assign]
    size = batch_clips(model, params.decoding)
    wave = io.BytesIO()
    soundfile.write(wave, tone(0.3), 8000, format="WAV")
    count = size + 1
    clips = Clips([str(n) for n in range(count)], lambda _: wave.getvalue(), [{} for _ in range(count)])
    speed = measure_speed(model, Recognition(params).featurizer(model), clips, params.decoding, warmup=1, repeats=2)
    assert sizes == 3 * ([1] * count + [size, 1])
    assert speed.batch_clips == size
    assert 0 < speed.latency_p50_s <= speed.latency_p95_s
    assert min(speed.real_time_factor, speed.batched_real_time_factor) > 0
