import numpy as np
import pytest

from soundraft.audio.pitch import yin

RATE_HZ = 24000


def windows(samples: np.ndarray) -> np.ndarray:
    return np.lib.stride_tricks.sliding_window_view(samples, 1024)[::320]


def pitch(samples: np.ndarray) -> np.ndarray:
    return yin(windows(samples), RATE_HZ, low_hz=60.0, high_hz=1000.0)


@pytest.mark.parametrize("hz", [62.0, 100.0, 220.0, 441.3, 800.0, 990.0])
@pytest.mark.parametrize("partials", [(1,), (1, 2, 3), (2, 3, 4)])
def test_the_pitch_of_harmonic_sounds(hz: float, partials: tuple[int, ...]) -> None:
    time_s = np.arange(12000) / RATE_HZ
    samples = sum(np.sin(2 * np.pi * hz * k * time_s) for k in partials) * 0.1
    noise = np.random.default_rng(0).normal(0, 0.003, 12000)
    assert pitch(samples + noise) == pytest.approx(hz, rel=3e-3)


def test_noise_silence_and_a_constant_have_none() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 96000)
    assert (pitch(noise) == 0).all()
    assert (pitch(np.zeros(5000)) == 0).all()
    assert (pitch(np.full(5000, 0.5)) == 0).all()
    assert (pitch(np.full(5000, 1e-9)) == 0).all()


def test_the_difference_function_against_the_plain_sum() -> None:
    from soundraft.audio.pitch import _aperiodicity

    x = np.random.default_rng(1).normal(0, 1, (3, 300))
    ratio = _aperiodicity(x, 98)
    length = 300 - 100
    d = np.array([[np.sum((row[:length] - row[lag : lag + length]) ** 2) for lag in range(100)] for row in x])
    for lag in range(1, 100):
        assert ratio[:, lag] == pytest.approx(d[:, lag] * lag / d[:, 1 : lag + 1].sum(axis=1))


def test_long_clips_are_done_in_blocks() -> None:
    samples = 0.1 * np.sin(2 * np.pi * 200 * np.arange(RATE_HZ * 30) / RATE_HZ)
    assert pitch(samples) == pytest.approx(200, rel=1e-3)
    assert len(pitch(samples)) == len(windows(samples)) > 2048
