"""Whether one system is better than another, or only luckier in its test clips."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from soundraft.metrics.text import Counts

_PAIRS_DRAWN_AT_ONCE = 4_000_000  # clips: 32 MB of indices


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
    rows = max(1, _PAIRS_DRAWN_AT_ONCE // len(more))
    parts = []
    for start in range(0, samples, rows):
        drawn = rng.integers(0, len(more), size=(min(rows, samples - start), len(more)))
        parts.append(more[drawn].sum(1) / np.maximum(units[drawn].sum(1), 1))
    return np.concatenate(parts)


# How far accuracy and mean recall depend on the luck of the test clips: the bootstrap over clips, for labels.


_DRAWN_AT_ONCE = 2_000_000  # clips: 16 MB of indices


@dataclass(frozen=True)
class Rates:
    """Accuracy and unweighted average recall (UAR) of one set of clips, or of each drawn one."""

    accuracy: np.ndarray
    uar: np.ndarray


@dataclass(frozen=True)
class Interval:
    low: float
    high: float


def rates(right: np.ndarray, correct: np.ndarray) -> tuple[float, float]:
    """Accuracy, and the mean recall of the labels that occur.

    Args:
        right: codes of the right labels, [N].
        correct: bool [N].
    """
    support = np.bincount(right)
    hits = np.bincount(right, weights=correct)
    return float(correct.mean()), float((hits[support > 0] / support[support > 0]).mean())


def recall_error(right: np.ndarray, correct: np.ndarray) -> float:
    """The standard error of the mean recall: those of the labels' recalls, binomial, joined.

    Each recall p of n clips counts as (np + 1)/(n + 2), so that a few right answers are no certainty (Laplace).
    """
    support = np.bincount(right)
    hits = np.bincount(right, weights=correct)
    n, k = support[support > 0], hits[support > 0]
    p = (k + 1) / (n + 2)
    return float(np.sqrt((p * (1 - p) / n).sum()) / len(n))


def drawn_rates(right: np.ndarray, correct: np.ndarray, *, samples: int, seed: int) -> Rates:
    """Rates of `samples` test sets, drawn clip by clip with replacement; the same seed draws the same clips.

    A label that no drawn clip has is left out of that set's mean recall.

    Args:
        right: codes of the right labels, [N].
        correct: bool [N].

    Raises:
        ValueError: when there are no clips.
    """
    if not len(right):
        raise ValueError("no clips: nothing to draw from")
    rng = np.random.default_rng(seed)
    labels = int(right.max()) + 1
    rows = max(1, _DRAWN_AT_ONCE // len(right))
    accuracy, uar = [], []
    for start in range(0, samples, rows):
        count = min(rows, samples - start)
        drawn = rng.integers(0, len(right), size=(count, len(right)))
        flat = (right[drawn] + labels * np.arange(count)[:, None]).ravel()
        support = np.bincount(flat, minlength=count * labels).reshape(count, labels)
        hits = np.bincount(flat, weights=correct[drawn].ravel(), minlength=count * labels).reshape(count, labels)
        accuracy.append(hits.sum(1) / len(right))
        uar.append((hits / np.maximum(support, 1)).sum(1) / (support > 0).sum(1))
    return Rates(np.concatenate(accuracy), np.concatenate(uar))


def interval(drawn: np.ndarray) -> Interval:
    """The middle 95 % of the drawn values."""
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(float(low), float(high))


def compared(difference: float, drawn: np.ndarray) -> Comparison:
    """A difference and its drawn values (the same clips drawn for both systems) as `paired_bootstrap` has them."""
    bounds = interval(drawn)
    rarer_side = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    return Comparison(difference, bounds.low, bounds.high, min(1.0, 2 * (rarer_side + 1) / (len(drawn) + 1)))
