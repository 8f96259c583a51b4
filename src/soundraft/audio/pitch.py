"""Fundamental frequency by YIN (de Cheveigné & Kawahara 2002), in numpy.

Not librosa's: its yin and pyin run cached numba gufuncs, and where two processes compile those at once, as workers do,
every later process dies of a segmentation fault (numba issue 10128).
"""

import math

import numpy as np

APERIODICITY_LIMIT = 0.15  # the paper's 0.1 loses the ends of voiced stretches; noise stays above 0.5
_BLOCK_WINDOWS = 1024  # bounds the memory of long clips


def yin(windows: np.ndarray, rate_hz: int, *, low_hz: float, high_hz: float) -> np.ndarray:
    """Frequency of each window of `[T, W]`, Hz `[T]`; 0 where it is not periodic.

    W must be above the longest period, `rate_hz / low_hz`; what it has beyond that is compared with its delayed self.
    """
    blocks = [windows[start : start + _BLOCK_WINDOWS] for start in range(0, len(windows), _BLOCK_WINDOWS)]
    longest, shortest = math.ceil(rate_hz / low_hz), math.floor(rate_hz / high_hz)
    return np.concatenate([rate_hz * _inverse(_periods(_aperiodicity(block, longest), shortest)) for block in blocks])


def _aperiodicity(windows: np.ndarray, longest: int) -> np.ndarray:
    """d'(τ) `[T, longest + 2]`, the paper's equations 1 and 8; 1 where a window is silent.

    d(τ) = Σ (x_j − x_{j+τ})² = Σ x_j² + Σ x_{j+τ}² − 2 Σ x_j·x_{j+τ}, the last one by FFT.
    """
    x = windows.astype(np.float64)
    lags = longest + 2
    length = x.shape[1] - lags
    size = 1 << (x.shape[1] - 1).bit_length()  # lags up to W − length do not wrap round
    product = np.fft.rfft(x, size) * np.conj(np.fft.rfft(x[:, :length], size))
    energy = np.pad(np.cumsum(x * x, axis=1), ((0, 0), (1, 0)))
    delayed = energy[:, length : length + lags] - energy[:, :lags]
    difference = np.maximum(delayed[:, :1] + delayed - 2 * np.fft.irfft(product, size)[:, :lags], 0)
    total = np.cumsum(difference, axis=1)
    silent = total[:, -1:] <= 1e-12 * np.maximum(energy[:, -1:], 1e-12)  # rounding, not sound
    ratio = difference * np.arange(lags) / np.where(total > 0, total, 1)
    return np.where(silent | (np.arange(lags) == 0), 1.0, ratio)


def _periods(ratio: np.ndarray, shortest: int) -> np.ndarray:
    """The first dip below the limit, refined by a parabola, in samples `[T]`; 0 where there is none."""
    left, centre, right = ratio[:, shortest - 1 : -2], ratio[:, shortest:-1], ratio[:, shortest + 1 :]
    dips = (centre < APERIODICITY_LIMIT) & (centre <= right)
    at = dips.argmax(axis=1)
    rows = np.arange(len(ratio))
    low, mid, high = left[rows, at], centre[rows, at], right[rows, at]
    bend = low - 2 * mid + high
    shift = np.where(bend > 0, (low - high) / (2 * np.where(bend > 0, bend, 1)), 0)
    return np.where(dips.any(axis=1), shortest + at + np.clip(shift, -1, 1), 0)


def _inverse(periods: np.ndarray) -> np.ndarray:
    return np.where(periods > 0, 1 / np.where(periods > 0, periods, 1), 0)
