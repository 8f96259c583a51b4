import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from soundraft.metrics import resampling
from soundraft.metrics.resampling import compared, drawn_rates, interval, paired_bootstrap, rates
from soundraft.metrics.text import Counts, bootstrap_interval


def told(seed: int, clips: int = 60, labels: int = 4, share: float = 0.6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    right = rng.choice(labels, clips, p=rng.dirichlet(np.ones(labels)))
    return right, np.where(rng.random(clips) < share, right, (right + 1) % labels)


def counts(correct: np.ndarray) -> list[Counts]:
    return [Counts(int(hit), int(not hit), 0, 0) for hit in correct]


@pytest.mark.filterwarnings("ignore:y_pred contains classes")
def test_the_rates_are_those_of_scikit_learn() -> None:
    right, answers = told(0)
    assert rates(right, right == answers) == pytest.approx(
        ((right == answers).mean(), balanced_accuracy_score(right, answers))
    )


@pytest.mark.filterwarnings("ignore:y_pred contains classes")
def test_the_error_of_the_mean_recall_is_how_far_it_moves() -> None:
    rng = np.random.default_rng(0)
    right = np.repeat([0, 1, 2], [40, 80, 160])
    chances = np.array([0.5, 0.8, 0.9])[right]
    found = [rng.random(len(right)) < chances for _ in range(2000)]
    moves = np.std([resampling.rates(right, correct)[1] for correct in found])
    told = np.mean([resampling.recall_error(right, correct) for correct in found])
    assert told == pytest.approx(moves, rel=0.1)
    assert resampling.recall_error(np.array([0, 0, 2]), np.array([True, True, True])) > 0.1


def test_drawn_rates_are_a_plain_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    right, answers = told(1, clips=12)
    draws = np.random.default_rng(7).integers(0, 12, size=(50, 12))
    expected = [balanced_accuracy_score(right[clips], answers[clips]) for clips in draws]
    for at_once in (resampling._DRAWN_AT_ONCE, 30):
        monkeypatch.setattr(resampling, "_DRAWN_AT_ONCE", at_once)
        drawn = drawn_rates(right, right == answers, samples=50, seed=7)
        assert drawn.uar == pytest.approx(expected)
        assert drawn.accuracy == pytest.approx([(right == answers)[clips].mean() for clips in draws])


def test_accuracy_is_what_the_bootstrap_of_error_rates_says() -> None:
    right, answers = told(2, clips=150)
    _, others = told(2, clips=150, share=0.8)
    one, other = right == answers, right == others
    drawn = drawn_rates(right, one, samples=300, seed=3)
    low, high = bootstrap_interval(counts(one), samples=300, seed=3)
    found = interval(drawn.accuracy)
    assert (found.low, found.high) == pytest.approx((1 - high, 1 - low))
    both = drawn.accuracy - drawn_rates(right, other, samples=300, seed=3).accuracy
    difference = compared(float(one.mean() - other.mean()), both)
    expected = paired_bootstrap(counts(other), counts(one), samples=300, seed=3)
    assert difference.difference == pytest.approx(expected.difference)
    assert (difference.low, difference.high) == pytest.approx((expected.low, expected.high))
    assert difference.p_value == pytest.approx(expected.p_value)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    held = 0
    for trial in range(200):
        right, answers = told(trial, clips=200, labels=3, share=0.7)
        found = interval(drawn_rates(right, right == answers, samples=200, seed=trial).accuracy)
        held += found.low <= 0.7 <= found.high
    assert 0.9 <= held / 200 <= 0.99


def test_no_clips_are_refused() -> None:
    with pytest.raises(ValueError, match="no clips"):
        drawn_rates(np.array([], dtype=int), np.array([], dtype=bool), samples=5, seed=0)
