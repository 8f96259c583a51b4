"""Loudness as the peak of a sliding-window RMS, and the gain that brings it to a target."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

HOPS_PER_WINDOW = 4
NEPER_DB = 10 / math.log(10)  # a step of one in the natural logarithm of a power


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
    if len(samples) <= window:
        return math.sqrt(_energy(samples) / max(1, len(samples)))
    whole = samples[: len(samples) // hop * hop].reshape(-1, hop)
    hops = np.einsum("ij,ij->i", whole, whole, dtype=np.float64)
    windows = hops[:-3] + hops[1:-2] + hops[2:-1] + hops[3:]
    # the last window ends with the clip, so that a loud ending shorter than a hop counts
    return math.sqrt(max(float(windows.max()), _energy(samples[-window:])) / window)


def _energy(samples: np.ndarray) -> float:
    return float(np.einsum("i,i->", samples, samples, dtype=np.float64))


@dataclass(frozen=True)
class Gain:
    """A factor on the samples.

    Attributes:
        limited: whether it was lowered to keep every sample within full scale.
        clipped_samples: how many samples it drives beyond full scale.
    """

    factor: float
    limited: bool
    clipped_samples: int


def gain_for(waves: Sequence[np.ndarray], loudest_rms: float, *, target_db: float, limit: bool) -> Gain:
    """The gain that brings a window of `loudest_rms` to `target_db` dBFS, for all of the waves `[N]` together.

    Args:
        limit: whether a gain that would clip stops at full scale.
    """
    factor = db_to_gain(target_db) / loudest_rms
    ceiling = 1.0 / max(float(np.abs(wave).max()) for wave in waves)
    if factor <= ceiling:
        return Gain(factor, False, 0)
    if limit:
        return Gain(ceiling, True, 0)
    return Gain(factor, False, sum(int(np.count_nonzero(np.abs(wave) > 1 / factor)) for wave in waves))
