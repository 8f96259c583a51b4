"""How well similarities tell speakers apart."""

from collections.abc import Sequence

import numpy as np


def equal_error_rate(*, same: Sequence[float], different: Sequence[float]) -> float:
    """The error rate at the threshold where as many pairs of one speaker fall below as pairs of two reach it.

    Between thresholds both rates are interpolated in a straight line.

    Args:
        same, different: similarities of pairs of one speaker, and of two.

    Raises:
        ValueError: when there are no pairs of either kind.
    """
    if not len(same) or not len(different):
        raise ValueError(f"{len(same)} pairs of one speaker and {len(different)} of two: both are needed")
    thresholds = np.unique([*same, *different])
    missed = np.append(np.searchsorted(np.sort(same), thresholds) / len(same), 1.0)
    accepted = np.append(1 - np.searchsorted(np.sort(different), thresholds) / len(different), 0.0)
    gaps = missed - accepted  # rises from −1, where everything is accepted, to 1
    after = int(np.argmax(gaps >= 0))
    share = gaps[after] / (gaps[after] - gaps[after - 1])
    return float(missed[after] + share * (missed[after - 1] - missed[after]))


def identified(similarities: np.ndarray, right: Sequence[int]) -> np.ndarray:
    """Whether the voice `right[n]` is the most similar one to clip n, bool `[N]`; similarities `[N, V]`.

    A tie with another voice is an error.
    """
    rows, places = np.arange(len(similarities)), np.asarray(right)
    others = similarities.copy()
    others[rows, places] = -np.inf
    return similarities[rows, places] > others.max(axis=1)
