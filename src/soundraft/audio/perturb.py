"""Altered copies of a clip: another speed, added noise."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import soxr

from soundraft import runtime

RESAMPLING_STEPS = 1000  # a speed is a ratio of whole numbers for the resampler


@dataclass(frozen=True)
class Alteration:
    """What is done to the samples `[N]` of a clip, and a name that tells it apart."""

    name: str
    apply: Callable[[np.ndarray], np.ndarray]


def alterations(*, speeds: Sequence[float], noise_snr_db: float) -> list[Alteration]:
    """One for each speed, and one that adds noise."""
    changed = [Alteration(f"speed {speed:g}", partial(change_speed, speed=speed)) for speed in speeds]
    return [*changed, Alteration(f"noise {noise_snr_db:g} dB", partial(add_noise, snr_db=noise_snr_db))]


def change_speed(samples: np.ndarray, *, speed: float) -> np.ndarray:
    """`[N]` → `[N / speed]`: faster and higher above 1, as a record played at another rate."""
    return soxr.resample(samples, round(speed * RESAMPLING_STEPS), RESAMPLING_STEPS).astype(samples.dtype)


def add_noise(samples: np.ndarray, *, snr_db: float) -> np.ndarray:
    """White noise at a signal-to-noise ratio over the whole clip; the same clip always gets the same noise."""
    noise = np.random.default_rng(runtime.derive_seed("noise", len(samples))).standard_normal(len(samples))
    level = np.sqrt(np.mean(np.square(samples, dtype=np.float64))) * 10 ** (-snr_db / 20)
    return (samples + level * noise).astype(samples.dtype)
