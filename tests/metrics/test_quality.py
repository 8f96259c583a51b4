"""What is measured of a recording without a reference, against what was done to it."""

from itertools import pairwise

import numpy as np
import pytest

from soundraft.metrics import quality

RATE_HZ = 16_000


def speech(seed: int = 0) -> np.ndarray:
    """Two seconds of noise in bursts of 0.2 s with pauses of 0.1 s, 60 dB below."""
    rng = np.random.default_rng(seed)
    samples = 0.1 * rng.standard_normal(2 * RATE_HZ)
    pause = np.arange(len(samples)) % round(0.3 * RATE_HZ) >= round(0.2 * RATE_HZ)
    return np.where(pause, samples / 1000, samples)


def with_noise(samples: np.ndarray, snr_db: float) -> np.ndarray:
    noise = np.random.default_rng(1).standard_normal(len(samples))
    return samples + noise * np.sqrt(np.mean(samples**2)) * 10 ** (-snr_db / 20)


def test_level_and_crest_of_a_sine_are_known() -> None:
    sine = 0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE_HZ) / RATE_HZ)
    found = quality.measure(sine, RATE_HZ)
    assert found.level_db == pytest.approx(20 * np.log10(0.5) - 3.0103, abs=0.01)
    assert found.crest_db == pytest.approx(3.0103, abs=0.01)
    assert found.snr_db == pytest.approx(0, abs=0.2)  # a steady sound has no pauses


def test_snr_follows_the_noise_and_no_gain() -> None:
    clean = speech()
    found = [quality.snr_db(wave, RATE_HZ) for wave in (clean, *(with_noise(clean, snr) for snr in (20, 10, 0)))]
    assert found[0] == pytest.approx(60, abs=2)
    assert found[1] == pytest.approx(22, abs=3)  # the bursts are 1.8 dB above the mean of bursts and pauses
    assert all(later < earlier - 5 for earlier, later in pairwise(found))
    assert quality.snr_db(0.1 * clean, RATE_HZ) == pytest.approx(found[0], abs=0.5)


def test_clipping_is_seen_at_any_gain_and_not_in_clean_sound() -> None:
    clean = speech()
    limit = np.abs(clean).max() / 4  # by 12 dB
    clipped = np.clip(clean, -limit, limit)
    assert quality.clipped_share(clean) == 0
    assert quality.clipped_share(clipped) > 0.002
    assert quality.clipped_share(0.1 * clipped) == quality.clipped_share(clipped)
    assert quality.measure(clipped, RATE_HZ).crest_db < quality.measure(clean, RATE_HZ).crest_db - 5


def test_silence_is_silent_and_no_samples_are_refused() -> None:
    found = quality.measure(np.zeros(RATE_HZ), RATE_HZ)
    assert found == quality.Quality(quality.FLOOR_DB, 0.0, 0.0, 0.0)
    for wrong in (np.zeros(0), np.zeros((2, 2)), np.array([0.0, np.nan])):
        with pytest.raises(ValueError, match="finite samples"):
            quality.measure(wrong, RATE_HZ)
