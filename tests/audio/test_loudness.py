import numpy as np
import pytest

from soundraft.audio import loudness


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


def test_a_gain_that_would_clip_is_limited_or_counted() -> None:
    click = np.zeros(8000, dtype=np.float32)
    click[4000:4003] = 0.5, -0.4, 0.001
    loudest = loudness.peak_rms(click, 8000, 0.25)
    limited = loudness.gain_for([click], loudest, target_db=-6.0, limit=True)
    assert (limited.factor, limited.limited, limited.clipped_samples) == (2.0, True, 0)
    free = loudness.gain_for([click], loudest, target_db=-6.0, limit=False)
    assert (free.limited, free.clipped_samples) == (False, 2)
    assert free.factor == pytest.approx(loudness.db_to_gain(-6.0) / loudest)
