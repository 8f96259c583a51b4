"""Sets of labels: every measure beside scikit-learn's, and the bootstrap beside plain resampling."""

import numpy as np
import pytest
from sklearn import metrics as theirs

from soundraft.evaluation.scores import METRICS, Scores, label_sets, majority, score_labels
from soundraft.metrics.labels import best_threshold, indicators, mean_average_precision, measure_sets, ranking_areas
from soundraft.metrics.resampling import Bootstrap
from soundraft.runtime import UserError

LABELS = ["bark", "meow", "never", "rain"]


def made(seed: int, clips: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """References, no label "never", and probabilities that know something of them, with ties: [N, 4] both."""
    rng = np.random.default_rng(seed)
    right = rng.random((clips, 4)) < [0.5, 0.2, 0.0, 0.8]
    return right, np.round((0.4 * right + 0.6 * rng.random((clips, 4))), 1)


def scored(seed: int, clips: int = 60) -> Scores:
    right, found = made(seed, clips)
    return score_labels([f"c{n}" for n in range(clips)], found, LABELS, references=label_sets(right, LABELS), sets=True)


@pytest.mark.parametrize("seed", [0, 1])
def test_measures_are_those_of_scikit_learn(seed: int) -> None:
    right, found = made(seed)
    predicted, over, scores = found >= 0.5, [0, 1, 3], scored(seed)
    expected = {
        "map": theirs.average_precision_score(right[:, over], found[:, over]),
        "auc_macro": theirs.roc_auc_score(right[:, over], found[:, over]),
        "f1_micro": theirs.f1_score(right, predicted, average="micro"),
        "f1_macro": theirs.f1_score(right, predicted, labels=over, average="macro"),
        "jaccard": theirs.jaccard_score(right, predicted, average="samples", zero_division=1),
    }
    assert {key: scores.value(key) for key in expected} == pytest.approx(expected)
    measured = measure_sets(references=scores.known, predictions=scores.predictions, probabilities=found, labels=LABELS)
    assert measured.accuracy == theirs.accuracy_score(right, predicted)
    assert measured.micro.precision == pytest.approx(theirs.precision_score(right, predicted, average="micro"))
    assert measured.macro.recall == pytest.approx(theirs.recall_score(right, predicted, labels=over, average="macro"))
    assert (measured.mean_average_precision, measured.roc_auc) == pytest.approx(
        (expected["map"], expected["auc_macro"])
    )
    assert measured.absent == ["never"]
    losses = [theirs.log_loss(right[:, place], np.clip(found[:, place], 1e-15, 1), labels=[0, 1]) for place in range(4)]
    assert measured.log_loss == pytest.approx(sum(losses), rel=1e-6)
    for place, score in enumerate(measured.classes):
        mine = right[:, place]
        assert (score.support, score.predicted) == (mine.sum(), predicted[:, place].sum())
        if place in over:
            assert score.average_precision == pytest.approx(theirs.average_precision_score(mine, found[:, place]))
            assert score.f1 == pytest.approx(theirs.f1_score(mine, predicted[:, place]))


def test_a_clip_that_is_drawn_twice_counts_twice() -> None:
    """Weighted areas are scikit-learn's; intervals and differences are those of sets that are really drawn."""
    right, found = made(2)
    times = np.random.default_rng(0).integers(0, 3, (3, len(right)))
    precisions, areas = ranking_areas(right, found, times)
    for row, weight in enumerate(times):
        for label in (0, 1, 3):
            given = {"y_true": right[:, label], "y_score": found[:, label], "sample_weight": weight}
            assert precisions[row, label] == pytest.approx(theirs.average_precision_score(**given))
            assert areas[row, label] == pytest.approx(theirs.roc_auc_score(**given))
    assert np.isnan([precisions[:, 2], areas[:, 2]]).all()
    bootstrap, scores, other = Bootstrap(40, 3), scored(2), scored(2)
    drawn = [np.repeat(np.arange(60), row) for part in bootstrap.times(60) for row in part]
    for key in ("map", "auc_macro", "f1_micro"):
        values = [scores.part(places.tolist()).value(key) for places in drawn]
        estimate = scores.estimate(key, bootstrap)
        assert (estimate.low, estimate.high) == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])))
        assert scores.difference(other, key, bootstrap).p_value == 1


def test_what_is_not_defined_is_no_number() -> None:
    one = scored(0).part([0])
    assert np.isnan(one.value("auc_macro")), "a single clip has no pair of clips to put in order"
    assert "auc_macro" not in [metric.key for metric in one.metrics]
    nothing = Scores(
        ["a"], [()], [()], {"sets": np.array([[0] * 12 + [1, 1]])}, "tag", LABELS, np.zeros((1, 4)), sets=True
    )
    assert [metric.key for metric in nothing.metrics] == ["jaccard"], "an empty set is predicted rightly"
    assert nothing.value("jaccard") == METRICS["jaccard"].best == 1
    with pytest.raises(UserError, match="none of the 1 clips has a tag"):
        score_labels(["a"], np.zeros((1, 4)), LABELS, target="tag", references=[()], sets=True)
    with pytest.raises(UserError, match=r"1 of 2 clips .*'purr' \(1\)"):
        score_labels(["a", "b"], np.zeros((2, 4)), LABELS, references=[("bark",), ("purr",)], sets=True)


def test_the_threshold_has_the_best_micro_f1() -> None:
    for seed in range(5):
        right, found = made(seed)
        best = max(theirs.f1_score(right, found >= cut, average="micro") for cut in np.unique(found))
        threshold = best_threshold(right, found)
        assert theirs.f1_score(right, found >= threshold, average="micro") == pytest.approx(best)
        assert threshold not in found, "between two probabilities: rounding changes no answer"
    assert best_threshold(np.zeros((2, 2), dtype=bool), np.ones((2, 2))) == 0.5


def test_the_majority_predicts_what_more_than_half_of_the_training_clips_have() -> None:
    like = scored(0)
    found = majority([("bark",), ("bark", "rain"), (), ("bark",)], like)
    assert found.predictions == [("bark",)] * len(like)
    assert found.probabilities[0].tolist() == [0.75, 0, 0, 0.25]
    constant = mean_average_precision(indicators(like.known, LABELS), found.probabilities, np.ones((1, len(like))))
    shares = indicators(like.known, LABELS)[:, [0, 1, 3]].mean()
    assert found.value("map") == constant[0] == pytest.approx(shares)
