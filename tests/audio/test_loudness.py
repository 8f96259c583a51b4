import numpy as np
import pytest

from soundraft.audio import loudness
from tests.conftest import tone


def naive_peak_rms(samples: np.ndarray, rate_hz: int, window_s: float) -> float:
    """Window by window, as the definition says."""
    hop = round(window_s * rate_hz / 4)
    window = 4 * hop
    if len(samples) <= window:
        return float(np.sqrt(np.mean(samples.astype(np.float64) ** 2)))
    starts = [*range(0, len(samples) - window + 1, hop), len(samples) - window]
    return max(float(np.sqrt(np.mean(samples[s : s + window].astype(np.float64) ** 2))) for s in starts)


@pytest.mark.parametrize("samples", [1, 100, 1999, 2000, 2001, 7777])
def test_peak_rms_agrees_with_the_definition(samples: int) -> None:
    noise = np.random.default_rng(samples).standard_normal(samples).astype(np.float32)
    expected = naive_peak_rms(noise, 8000, 0.25)
    assert loudness.peak_rms(noise, 8000, 0.25) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("level", [1e-3, 0.05, 0.3])
def test_the_gain_reaches_the_target(level: float) -> None:
    leveled = loudness.level(tone(level=level), 8000, target_db=-20.0, window_s=0.25)
    reached = naive_peak_rms(leveled.samples, 8000, 0.25)
    assert reached == pytest.approx(10 ** (-20 / 20), rel=1e-4)
    assert not leveled.limited


def test_a_gain_that_would_clip_is_limited_and_said() -> None:
    click = np.zeros(8000, dtype=np.float32)
    click[4000] = 0.5
    leveled = loudness.level(click, 8000, target_db=-6.0, window_s=0.25)
    assert leveled.limited
    assert np.abs(leveled.samples).max() == pytest.approx(1.0)
