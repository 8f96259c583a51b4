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
    wave = tone(level=level)
    gain = loudness.gain_for([wave], loudness.peak_rms(wave, 8000, 0.25), target_db=-20.0, limit=True)
    assert naive_peak_rms(wave * np.float32(gain.factor), 8000, 0.25) == pytest.approx(0.1, rel=1e-4)
    assert (gain.limited, gain.clipped_samples) == (False, 0)


def test_a_gain_that_would_clip_is_limited_or_counted() -> None:
    click = np.zeros(8000, dtype=np.float32)
    click[4000:4003] = 0.5, -0.4, 0.001
    loudest = loudness.peak_rms(click, 8000, 0.25)
    limited = loudness.gain_for([click], loudest, target_db=-6.0, limit=True)
    assert (limited.factor, limited.limited, limited.clipped_samples) == (2.0, True, 0)
    free = loudness.gain_for([click], loudest, target_db=-6.0, limit=False)
    assert (free.limited, free.clipped_samples) == (False, 2)
    assert free.factor == pytest.approx(loudness.db_to_gain(-6.0) / loudest)


def test_a_paired_wave_limits_the_gain_too() -> None:
    quiet, loud = tone(level=0.01), tone(level=0.9)
    gain = loudness.gain_for([quiet, loud], loudness.peak_rms(quiet, 8000, 0.25), target_db=-20.0, limit=True)
    assert gain.limited
    assert gain.factor == pytest.approx(1 / 0.9, rel=1e-3)
