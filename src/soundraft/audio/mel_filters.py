"""Triangular filters on the mel scale, 2595 · log10(1 + f / 700), and which of them no bin of a transform falls in.

Two forms. `snapped`: corners are rounded down to bins of the transform, as speech features have long been made.
Not snapped: corners stay where they are, as librosa does with `htk=True, norm=None`. All triangles have height 1.
"""

from functools import cache

import numpy as np

BANDS_AT_ONCE = 16


def banded(power: np.ndarray, bands: int, *, fft_points: int, rate_hz: int, snapped: bool) -> np.ndarray:
    """`[T, bins]` times the triangles: `[T, bands]`. None of the bands may be empty."""
    parts = _parts(bands, fft_points=fft_points, rate_hz=rate_hz, snapped=snapped)
    return np.concatenate([power[:, bins] @ weights for bins, weights in parts], axis=1)


@cache
def _parts(bands: int, *, fft_points: int, rate_hz: int, snapped: bool) -> list[tuple[slice, np.ndarray]]:
    """The triangles some at a time, each time with the bins that they reach: of 80 × 321 weights 98 % are 0."""
    weights = triangles(bands, fft_points=fft_points, rate_hz=rate_hz, snapped=snapped)
    parts = []
    for first in range(0, bands, BANDS_AT_ONCE):
        some = weights[first : first + BANDS_AT_ONCE]
        reached = np.flatnonzero(some.any(axis=0))
        bins = slice(reached[0], reached[-1] + 1)
        parts.append((bins, np.ascontiguousarray(some[:, bins].T)))
    return parts


def triangles(bands: int, *, fft_points: int, rate_hz: int, snapped: bool) -> np.ndarray:
    """`[bands, fft_points // 2 + 1]`: the weight of each bin in each band."""
    corners = _corners(bands, fft_points=fft_points, rate_hz=rate_hz, snapped=snapped)[:, None]
    start, middle, end = corners[:-2], corners[1:-1], corners[2:]
    bins = np.arange(fft_points // 2 + 1)
    # snapped corners are whole bins and may fall together: such a side has no bin, and its width does not matter
    rising = (bins - start) / (np.maximum(middle - start, 1) if snapped else middle - start)
    falling = (end - bins) / (np.maximum(end - middle, 1) if snapped else end - middle)
    if snapped:
        return np.select([(bins >= start) & (bins < middle), (bins >= middle) & (bins < end)], [rising, falling])
    return np.maximum(0.0, np.minimum(rising, falling))


def empty(bands: int, *, fft_points: int, rate_hz: int, snapped: bool) -> int:
    """How many of the bands have no bin with a weight: their feature would be the same whatever is heard."""
    corners = _corners(bands, fft_points=fft_points, rate_hz=rate_hz, snapped=snapped)
    start, middle, end = corners[:-2], corners[1:-1], corners[2:]
    if snapped:  # bin `middle` weighs 1 unless the falling side is empty; bin `start` weighs 0 on a rising side
        return int(np.count_nonzero((middle == end) & (middle - start <= 1)))
    return int(np.count_nonzero(np.floor(start) + 1 >= end))


def fewest_fft_points(bands: int, *, at_least: int, rate_hz: int, snapped: bool) -> int:
    """The smallest transform, from `at_least` on, that leaves none of the bands empty."""
    second_hz = _hz(_mel(rate_hz / 2) / (bands + 1) * 2)  # the lowest band ends there: a bin must lie below it
    points = max(at_least, int(rate_hz / second_hz) - 1)
    while empty(bands, fft_points=points, rate_hz=rate_hz, snapped=snapped):
        points += 1
    return points


def most_bands(below: int, *, fft_points: int, rate_hz: int, snapped: bool) -> int:
    """The largest number of bands under `below` of which none is empty."""
    numbers = range(below - 1, 1, -1)
    full = (n for n in numbers if not empty(n, fft_points=fft_points, rate_hz=rate_hz, snapped=snapped))
    return next(full, 1)


def _corners(bands: int, *, fft_points: int, rate_hz: int, snapped: bool) -> np.ndarray:
    """`[bands + 2]`, in bins: band i rises from corner i to i + 1 and falls to i + 2."""
    corners_hz = _hz(np.linspace(0, _mel(rate_hz / 2), bands + 2))
    if snapped:
        return np.floor((fft_points + 1) / rate_hz * corners_hz)
    return fft_points / rate_hz * corners_hz


def _mel(hz: float) -> float:
    return 2595.0 * float(np.log10(1 + hz / 700.0))


def _hz(mel: np.ndarray | float) -> np.ndarray:
    return 700.0 * (10.0 ** (np.asarray(mel) / 2595.0) - 1)
