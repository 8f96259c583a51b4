import numpy as np
import pytest
from sklearn.metrics import roc_curve

from soundraft.metrics.speakers import equal_error_rate, identified


def test_the_equal_error_rate_of_known_pairs() -> None:
    assert equal_error_rate(same=[0.8, 0.9], different=[0.1, 0.2]) == 0
    assert equal_error_rate(same=[0.1, 0.2], different=[0.8, 0.9]) == 1
    assert equal_error_rate(same=[0.5, 0.9, 0.9, 0.9], different=[0.1, 0.1, 0.1, 0.6]) == pytest.approx(0.25)
    with pytest.raises(ValueError, match="needed"):
        equal_error_rate(same=[0.5], different=[])


def test_the_equal_error_rate_is_where_the_roc_curve_crosses_the_diagonal() -> None:
    rng = np.random.default_rng(0)
    same, different = rng.normal(1, 1, 4000), rng.normal(-1, 1, 5000)
    accepted, hit, _ = roc_curve([1] * len(same) + [0] * len(different), [*same, *different], drop_intermediate=False)
    place = int(np.argmin(np.abs(accepted - (1 - hit))))
    expected = (accepted[place] + 1 - hit[place]) / 2
    assert equal_error_rate(same=same.tolist(), different=different.tolist()) == pytest.approx(expected, abs=1e-3)
    assert expected == pytest.approx(0.1587, abs=0.01)  # of two normal distributions, two deviations apart


def test_the_most_similar_voice_counts_and_a_tie_does_not() -> None:
    similarities = np.array([[0.9, 0.1], [0.9, 0.1], [0.5, 0.5]])
    assert identified(similarities, [0, 1, 0]).tolist() == [True, False, False]
