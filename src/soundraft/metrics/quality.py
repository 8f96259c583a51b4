"""How a recording sounds, measured without a reference: level, signal-to-noise ratio, clipping, crest factor.

`[N]` is one channel of samples in −1…1. None of the figures but the level depends on the gain, as long as the quietest
frames stay above `FLOOR_DB`.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

FRAME_S = 0.02
FLOOR_DB = -100.0  # dBFS: digital silence has this level
HIGH, LOW = 0.95, 0.05  # quantiles of the frames' levels: speech, and the pauses in it
AT_PEAK = 0.99  # of the clip's own peak


@dataclass(frozen=True)
class Quality:
    """
    Attributes:
        level_db: root mean square, dBFS.
        snr_db: see `snr_db`.
        clipped: see `clipped_share`.
        crest_db: peak over root mean square, dB; 0 for silence.
    """

    level_db: float
    snr_db: float
    clipped: float
    crest_db: float

    def parts(self) -> Mapping[str, float]:
        return asdict(self)


def measure(samples: np.ndarray, rate_hz: int) -> Quality:
    """
    Raises:
        ValueError: when there are no samples, or some are not finite.
    """
    samples = np.asarray(samples, dtype=np.float64)
    if samples.ndim != 1 or not len(samples) or not np.isfinite(samples).all():
        raise ValueError(f"quality is measured of finite samples [N], N ≥ 1; got shape {list(samples.shape)}")
    level, peak = level_db(samples), float(np.abs(samples).max())
    crest = 20 * math.log10(peak) - level if level > FLOOR_DB else 0.0
    return Quality(level, snr_db(samples, rate_hz), clipped_share(samples), crest)


def level_db(samples: np.ndarray) -> float:
    """Root mean square of `[N]` samples, dBFS, at least `FLOOR_DB`."""
    return float(_decibels(np.mean(np.square(samples, dtype=np.float64))))


def snr_db(samples: np.ndarray, rate_hz: int) -> float:
    """The 95 % quantile of the levels of 20 ms frames less their 5 % quantile, dB.

    It ranks recordings of speech with pauses by their noise; below 20 dB it reads 5 to 7 dB high. A steady sound has 0.
    """
    size = max(1, round(FRAME_S * rate_hz))
    if len(samples) < size:
        return 0.0
    frames = samples[: len(samples) // size * size].reshape(-1, size)
    levels = _decibels(np.mean(np.square(frames, dtype=np.float64), axis=1))
    high, low = np.quantile(levels, (HIGH, LOW))
    return float(high - low)


def clipped_share(samples: np.ndarray) -> float:
    """The share of neighbouring samples that are both at the clip's own peak, of one sign: 0 for unclipped speech.

    A gain after the clipping changes nothing; silence has 0.
    """
    peak = float(np.abs(samples).max(initial=0.0))
    if not peak or len(samples) < 2:
        return 0.0
    high, low = samples >= AT_PEAK * peak, samples <= -AT_PEAK * peak
    return float(np.mean((high[1:] & high[:-1]) | (low[1:] & low[:-1])))


def _decibels(powers: np.ndarray) -> np.ndarray:
    return 10 * np.log10(np.maximum(powers, 10 ** (FLOOR_DB / 10)))
