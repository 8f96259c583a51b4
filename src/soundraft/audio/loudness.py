"""Loudness as the peak of a sliding-window RMS, and the gain that brings it to a target."""

from dataclasses import dataclass

import numpy as np

HOPS_PER_WINDOW = 4


def db_to_gain(level_db: float) -> float:
    return float(10 ** (level_db / 20))


def gain_to_db(gain: float) -> float:
    return float(20 * np.log10(gain)) if gain > 0 else float("-inf")


def peak_rms(samples: np.ndarray, rate_hz: int, window_s: float) -> float:
    """The loudest window's root mean square of `[N]` samples; the hop is a quarter window.

    A clip shorter than one window counts as one window.
    """
    hop = max(1, round(window_s * rate_hz / HOPS_PER_WINDOW))
    window = hop * HOPS_PER_WINDOW
    energy = np.concatenate([[0.0], np.cumsum(np.square(samples, dtype=np.float64))])
    if len(samples) <= window:
        return float(np.sqrt(energy[-1] / max(1, len(samples))))
    starts = np.arange(0, len(samples) - window + 1, hop)
    # the last window ends with the clip, so that a loud ending shorter than a hop counts
    starts = np.append(starts, len(samples) - window)
    return float(np.sqrt((energy[starts + window] - energy[starts]).max() / window))


@dataclass(frozen=True)
class Leveled:
    samples: np.ndarray
    gain_db: float
    limited: bool


def level(samples: np.ndarray, rate_hz: int, *, target_db: float, window_s: float) -> Leveled:
    """Scale `[N]` so that its peak window RMS is `target_db` dBFS; a gain that would clip is limited to full scale."""
    gain = db_to_gain(target_db) / peak_rms(samples, rate_hz, window_s)
    ceiling = 1.0 / float(np.abs(samples).max())
    limited = gain > ceiling
    gain = min(gain, ceiling)
    return Leveled(samples * np.float32(gain), gain_to_db(gain), limited)
