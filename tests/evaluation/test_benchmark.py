from soundraft.clips.decoding import batch_clips
from soundraft.evaluation.benchmark import measure
from tests.conftest import tiny_recognizer, tone


def test_speed_counts_the_repeats_and_not_the_warm_up() -> None:
    recognizer = tiny_recognizer()
    calls = []
    recognizer.model.encoder.register_forward_hook(lambda *_: calls.append(1))
    waves = [tone(0.3), tone(0.5), tone(0.4)]
    speed = measure(recognizer, waves, warmup=1, repeats=2)
    assert len(calls) == 3 * (3 + 1)
    assert 0 < speed.latency_p50_s <= speed.latency_p95_s
    assert speed.batched_real_time_factor > 0


def test_batches_are_those_of_every_other_decoding() -> None:
    recognizer = tiny_recognizer()
    sizes = []
    encode = recognizer.encode
    recognizer.encode = lambda features: sizes.append(len(features)) or encode(features)  # type: ignore[method-assign]
    count = batch_clips(recognizer)
    speed = measure(recognizer, [tone(0.3)] * (count + 1), warmup=0, repeats=1)
    assert speed.batch_clips == count
    assert sizes == [1] * (count + 1) + [count, 1]
