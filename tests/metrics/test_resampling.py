from itertools import starmap

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from soundraft.metrics import labels, resampling
from soundraft.metrics.resampling import Bootstrap, compare, interval
from soundraft.metrics.text import error_rate


def words(share: float, seed: int, clips: int = 60) -> np.ndarray:
    """Counts of clips of 0 to 9 words, this share of them wrong; the lengths depend on the number of clips alone."""
    lengths = np.random.default_rng(clips).integers(0, 10, clips)
    wrong = np.random.default_rng(seed).binomial(lengths, share)
    inserted = np.random.default_rng(seed + 1).integers(0, 2, clips)
    return np.stack([lengths - wrong, wrong // 2, wrong - wrong // 2, inserted], axis=1)


def answers(seed: int, clips: int = 60, share: float = 0.6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    right = rng.choice(4, clips, p=rng.dirichlet(np.ones(4)))
    return right, np.where(rng.random(clips) < share, right, (right + 1) % 4)


def difference(one: np.ndarray, other: np.ndarray, bootstrap: Bootstrap) -> resampling.Comparison:
    values = [error_rate(counts.sum(0)) for counts in (one, other)]
    drawn = [error_rate(bootstrap.sums(counts)) for counts in (one, other)]
    return compare(float(values[0] - values[1]), drawn[0] - drawn[1])


@pytest.mark.parametrize("at_once", [resampling._DRAWN_AT_ONCE, 130])
@pytest.mark.filterwarnings("ignore:y_pred contains classes")
def test_sums_of_drawn_test_sets_are_a_plain_loop(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resampling, "_DRAWN_AT_ONCE", at_once)
    drawn = np.random.default_rng(7).integers(0, 60, size=(50, 60))
    counts = words(0.3, 0)
    assert (Bootstrap(50, 7).sums(counts) == [counts[clips].sum(0) for clips in drawn]).all()
    right, found = answers(1)
    sums = Bootstrap(50, 7).sums(labels.label_counts(right, right == found))
    expected = [balanced_accuracy_score(right[clips], found[clips]) for clips in drawn]
    assert labels.mean_recall(sums) == pytest.approx(expected)
    assert labels.accuracy(sums) == pytest.approx([(right == found)[clips].mean() for clips in drawn])
    with pytest.raises(ValueError, match="no clips"):
        Bootstrap(5, 0).sums(counts[:0])


@pytest.mark.filterwarnings("ignore:y_pred contains classes")
def test_the_error_of_the_mean_recall_is_how_far_it_moves() -> None:
    rng = np.random.default_rng(0)
    right = np.repeat([0, 1, 2], [40, 80, 160])
    chances = np.array([0.5, 0.8, 0.9])[right]
    found = [labels.label_counts(right, rng.random(len(right)) < chances).sum(0) for _ in range(2000)]
    moves = np.std([labels.mean_recall(sums) for sums in found])
    assert np.mean([labels.recall_error(sums) for sums in found]) == pytest.approx(moves, rel=0.1)
    assert labels.recall_error(labels.label_counts(np.array([0, 0, 2]), np.array([True, True, True])).sum(0)) > 0.1


def test_the_interval_is_the_middle_95_percent_of_what_was_drawn() -> None:
    drawn = np.random.default_rng(0).permutation(1001)
    assert interval(drawn) == pytest.approx((25, 975))
    assert interval(np.append(drawn, np.nan)) == pytest.approx((25, 975)), "a set without a value is left out"
    found = compare(480.0, np.append(drawn - 20, np.nan))
    assert (found.low, found.high, found.p_value) == pytest.approx((5, 955, 2 * 22 / 1002))


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    held = 0
    for trial in range(200):
        right, found = answers(trial, clips=200, share=0.7)
        counts = labels.label_counts(right, right == found)
        low, high = interval(labels.accuracy(Bootstrap(200, trial).sums(counts)))
        held += low <= 0.7 <= high
    assert 0.9 <= held / 200 <= 0.99


def test_equal_systems_do_not_differ_and_clear_differences_have_the_least_p_value() -> None:
    same = difference(words(0.3, 0), words(0.3, 0), Bootstrap(500, 0))
    assert (same.difference, same.low, same.high, same.p_value) == (0.0, 0.0, 0.0, 1.0)
    clear = difference(words(0.4, 1, 200), words(0.1, 2, 200), Bootstrap(999, 0))
    assert clear.p_value == 2 / 1000
    assert 0.2 < clear.low < clear.difference < clear.high < 0.4


def test_equally_good_systems_seem_different_as_often_as_the_p_value_says() -> None:
    trials = ((words(0.3, trial), words(0.3, 10_000 + trial), Bootstrap(199, trial)) for trial in range(300))
    p_values = np.array([found.p_value for found in starmap(difference, trials)])
    assert 0.01 <= (p_values <= 0.05).mean() <= 0.1
    assert 0.4 <= p_values.mean() <= 0.6
