"""Whether one system is better than another, or only luckier in its test clips."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from soundraft.metrics.text import Counts

_DRAWN_AT_ONCE = 4_000_000  # clips: 32 MB of indices


@dataclass(frozen=True)
class Comparison:
    """Two error rates on the same clips.

    Attributes:
        difference: rate of the first less rate of the second; above 0 the second is better.
        low, high: its 95 % interval.
        p_value: two-sided; how likely a difference at least so clear is when both are equally good.
    """

    difference: float
    low: float
    high: float
    p_value: float


def paired_bootstrap(counts_a: Sequence[Counts], counts_b: Sequence[Counts], *, samples: int, seed: int) -> Comparison:
    """Compare pooled rates; clips are drawn with replacement, the same ones for both systems.

    Bisani and Ney, "Bootstrap estimates for confidence intervals in ASR performance evaluation", ICASSP 2004. The
    p value counts the drawn test sets in which the difference is 0 or of the other sign, doubled for two sides, and
    one more of each (Davison and Hinkley 1997, section 4.2): no number of samples proves a p of 0.

    Args:
        counts_a, counts_b: one a clip, the same clips in the same order.

    Raises:
        ValueError: when the lists do not belong together, or have no reference unit.
    """
    units = [count.reference_length for count in counts_a]
    if units != [count.reference_length for count in counts_b]:
        raise ValueError("the two systems are not scored on the same references in the same order")
    if sum(units) == 0:
        raise ValueError("no reference word or character: the error rate has no meaning")
    more = np.array([a.errors - b.errors for a, b in zip(counts_a, counts_b, strict=True)])
    drawn = _drawn_differences(more, np.array(units), samples=samples, seed=seed)
    low, high = np.quantile(drawn, [0.025, 0.975])
    rarer_side = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    p_value = min(1.0, 2 * (rarer_side + 1) / (samples + 1))
    return Comparison(float(more.sum() / sum(units)), float(low), float(high), p_value)


def _drawn_differences(more: np.ndarray, units: np.ndarray, *, samples: int, seed: int) -> np.ndarray:
    """The difference of the rates in each drawn test set, [samples]; `more` and `units` are [clips]."""
    rng = np.random.default_rng(seed)
    rows = max(1, _DRAWN_AT_ONCE // len(more))
    parts = []
    for start in range(0, samples, rows):
        drawn = rng.integers(0, len(more), size=(min(rows, samples - start), len(more)))
        parts.append(more[drawn].sum(1) / np.maximum(units[drawn].sum(1), 1))
    return np.concatenate(parts)
