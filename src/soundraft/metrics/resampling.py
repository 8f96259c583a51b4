"""How far a metric depends on the luck of the test clips: the bootstrap over clips, of one system or of a pair."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

_DRAWN_AT_ONCE = 2_000_000  # clips: 16 MB of indices


@dataclass(frozen=True)
class Comparison:
    """A metric of two systems on the same clips.

    Attributes:
        difference: the first's value less the second's.
        low, high: its 95 % interval.
        p_value: two-sided; how likely a difference at least so clear is when both are equally good.
    """

    difference: float
    low: float
    high: float
    p_value: float


@dataclass(frozen=True)
class Bootstrap:
    """`samples` test sets, drawn clip by clip with replacement; the same seed draws the same clips.

    Bisani and Ney, "Bootstrap estimates for confidence intervals in ASR performance evaluation", ICASSP 2004.
    """

    samples: int
    seed: int

    def sums(self, counts: np.ndarray) -> np.ndarray:
        """The sums of additive counts `[N, M]` over each drawn test set, `[samples, M]`.

        Raises:
            ValueError: when there are no clips.
        """
        # exact: the counts are whole numbers
        return np.concatenate([times.astype(np.float64) @ counts for times in self.times(len(counts))])

    def times(self, clips: int) -> Iterator[np.ndarray]:
        """How often each clip was drawn into each test set, `[R, N]`, some of the `samples` sets at a time.

        Raises:
            ValueError: when there are no clips.
        """
        if not clips:
            raise ValueError("no clips: nothing to draw from")
        rng = np.random.default_rng(self.seed)
        rows = max(1, _DRAWN_AT_ONCE // clips)
        for start in range(0, self.samples, rows):
            drawn = rng.integers(0, clips, size=(min(rows, self.samples - start), clips))
            places = drawn + clips * np.arange(len(drawn))[:, None]
            yield np.bincount(places.ravel(), minlength=drawn.size).reshape(drawn.shape)


def interval(drawn: np.ndarray, *, tail: float = 0.025) -> tuple[float, float]:
    """The middle 95 % of the drawn values; test sets on which there is none (NaN) are left out."""
    low, high = np.quantile(drawn[~np.isnan(drawn)], [tail, 0.975])
    return float(low), float(high)


def compare(difference: float, drawn: np.ndarray) -> Comparison:
    """A difference with the differences of drawn test sets, the same clips drawn for both systems.

    The p value counts the test sets in which the difference is 0 or of the other sign, doubled for two sides, and one
    more of each (Davison and Hinkley 1997, section 4.2): no number of samples proves a p of 0.
    """
    drawn = drawn[~np.isnan(drawn)]
    rarer_side = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    return Comparison(difference, *interval(drawn), min(1.0, 2 * (rarer_side + 1) / (len(drawn) + 1)))
