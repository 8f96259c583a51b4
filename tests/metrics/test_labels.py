"""Against scikit-learn where it has the measure, else against the formula in a plain loop."""

import math
import warnings
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as peer

from soundraft.metrics import labels as metric
from soundraft.metrics.labels import LabelScores, measure

LABELS = ["anger", "boredom", "disgust", "fear", "joy"]


def drawn(seed: int, clips: int = 200, present: int = 5, labels: int = 5) -> dict[str, Any]:
    """References with the first `present` labels, and a model that is right more often than not."""
    rng = np.random.default_rng(seed)
    names = LABELS[:labels]
    shares = rng.dirichlet(np.full(present, 3.0))
    right = rng.choice(present, clips, p=shares)
    logits = rng.normal(size=(clips, labels))
    logits[np.arange(clips), right] += 1.0
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return {
        "references": [names[place] for place in right],
        "predictions": [names[place] for place in probabilities.argmax(1)],
        "probabilities": probabilities,
        "labels": names,
    }


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("present", [2, 4, 5])
def test_averages_are_those_of_scikit_learn_over_the_labels_that_occur(seed: int, present: int) -> None:
    given = drawn(seed, present=present)
    said, told, found = given["references"], given["predictions"], measure(**given)
    occurring = sorted(set(said))
    assert found.accuracy == peer.accuracy_score(said, told)
    assert found.absent == LABELS[present:]
    for average in ("macro", "weighted"):
        ours = getattr(found, average)
        options: dict[str, Any] = {"labels": occurring, "average": average, "zero_division": 0}
        assert ours.precision == pytest.approx(peer.precision_score(said, told, **options))
        assert ours.recall == pytest.approx(peer.recall_score(said, told, **options))
        assert ours.f1 == pytest.approx(peer.f1_score(said, told, **options))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # predictions of labels that do not occur
        assert found.macro.recall == pytest.approx(peer.balanced_accuracy_score(said, told))
    assert found.micro.precision == found.micro.recall == found.micro.f1 == pytest.approx(found.accuracy)
    assert found.kappa == pytest.approx(peer.cohen_kappa_score(said, told))
    assert found.mcc == pytest.approx(peer.matthews_corrcoef(said, told))


def test_averages_are_their_formulas() -> None:
    given = drawn(2, clips=60)
    found = measure(**given)
    pairs = list(zip(given["references"], given["predictions"], strict=True))
    rows = []
    for label in LABELS:
        hits = sum(said == told == label for said, told in pairs)
        support, predicted = sum(said == label for said, _ in pairs), sum(told == label for _, told in pairs)
        rows.append((hits / predicted, hits / support, 2 * hits / (predicted + support), support))
    for number, name in enumerate(("precision", "recall", "f1")):
        assert getattr(found.macro, name) == pytest.approx(sum(row[number] for row in rows) / 5)
        assert getattr(found.weighted, name) == pytest.approx(sum(row[number] * row[3] for row in rows) / 60)
    assert found.weighted.precision != pytest.approx(found.micro.precision), "weighted is not micro"


def test_each_class_is_its_own_two_class_problem() -> None:
    given = drawn(2)
    found = measure(**given)
    said, told = np.array(given["references"]), np.array(given["predictions"])
    for place, score in enumerate(found.classes):
        mine, answered = said == score.label, told == score.label
        assert score.support == mine.sum()
        assert score.predicted == answered.sum()
        assert score.precision == pytest.approx(peer.precision_score(mine, answered))
        assert score.recall == pytest.approx(peer.recall_score(mine, answered))
        assert score.f1 == pytest.approx(peer.f1_score(mine, answered))
        assert score.mcc == pytest.approx(peer.matthews_corrcoef(mine, answered))
        above, below = given["probabilities"][mine, place], given["probabilities"][~mine, place]
        assert score.roc_auc == pytest.approx((above[:, None] > below[None]).mean()), "Mann and Whitney's share"


def test_area_under_the_curve_is_one_against_rest() -> None:
    given = drawn(3)
    expected = peer.roc_auc_score(
        given["references"], given["probabilities"], multi_class="ovr", average="macro", labels=LABELS
    )
    assert measure(**given).roc_auc == pytest.approx(expected)
    two = drawn(3, present=2, labels=2)
    said = np.array(two["references"]) == "boredom"
    assert measure(**two).roc_auc == pytest.approx(peer.roc_auc_score(said, two["probabilities"][:, 1]))


def test_a_label_that_no_reference_has_is_left_out_and_counted() -> None:
    given = drawn(4, present=4)
    found = measure(**given)
    alone = found.classes[-1]
    assert (alone.support, alone.recall, alone.f1, alone.mcc, alone.roc_auc) == (0, None, None, None, None)
    assert alone.predicted > 0
    assert alone.precision == 0.0, "it is predicted, always wrongly"
    assert found.macro.recall == pytest.approx(np.mean([score.recall for score in found.classes[:4]]))
    assert found.roc_auc == pytest.approx(np.mean([score.roc_auc for score in found.classes[:4]]))


def test_a_label_that_is_never_predicted_has_no_precision_but_counts() -> None:
    given = drawn(5)
    given["predictions"] = ["anger" if told == "joy" else told for told in given["predictions"]]
    found = measure(**given)
    assert (found.classes[-1].precision, found.classes[-1].recall, found.classes[-1].f1) == (None, 0.0, 0.0)
    assert found.macro.f1 == pytest.approx(sum(score.f1 or 0 for score in found.classes) / 5)


def test_where_all_references_are_one_label_what_compares_labels_is_none_with_a_reason() -> None:
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6]])
    found = measure(references=["a", "a"], predictions=["a", "b"], probabilities=probabilities, labels=["a", "b"])
    assert (found.accuracy, found.macro.recall) == (0.5, 0.5)
    assert (found.roc_auc, found.kappa, found.mcc) == (None, None, None)
    assert set(found.missing) == {"roc_auc", "kappa", "mcc"}
    assert set(found.missing.values()) == {"all references are 'a'"}


@pytest.mark.parametrize("seed", range(3))
def test_hits_and_log_loss_are_those_of_scikit_learn(seed: int) -> None:
    given = drawn(seed)
    found: LabelScores = measure(**given)
    right = metric.codes(given["references"], LABELS)
    for k in (1, 2, 3, 4):
        expected = peer.top_k_accuracy_score(right, given["probabilities"], k=k, labels=range(5))
        assert metric.hits_at_k(right, given["probabilities"], k) == pytest.approx(expected)
    assert list(found.hits) == [3], "5 of 5 says nothing"
    assert found.log_loss == pytest.approx(peer.log_loss(given["references"], given["probabilities"], labels=LABELS))


def test_equal_probabilities_are_no_free_hits() -> None:
    assert metric.hits_at_k(np.array([0, 1, 2]), np.full((3, 3), 1 / 3), 1) == pytest.approx(1 / 3)


def test_a_right_label_with_probability_0_costs_much_not_all() -> None:
    assert metric.log_loss(np.array([0]), np.array([[0.0, 1.0]])) == pytest.approx(-math.log(1e-15))


def test_confusions_and_how_scattered_each_row_is() -> None:
    said = ["a"] * 4 + ["b"] * 4 + ["c"] * 4
    told = ["b"] * 4 + ["a", "a", "b", "c"] + ["a", "b", "c", "d"]
    counts = metric.confusion_counts(references=said, predictions=told, labels=["a", "b", "c", "d"])
    assert counts.tolist() == [[0, 4, 0, 0], [2, 1, 1, 0], [1, 1, 1, 1], [0, 0, 0, 0]]
    assert metric.row_entropy(counts) == pytest.approx([0.0, 1.5, 2.0, np.nan], nan_ok=True)


def test_what_does_not_belong_together_is_refused() -> None:
    given = drawn(0, clips=10)
    with pytest.raises(ValueError, match="'rage' is none of the labels 'anger'"):
        measure(**given | {"references": ["rage"] * 10})
    with pytest.raises(ValueError, match=r"9 predictions, probabilities \[10, 5\] and 5 labels do not belong"):
        measure(**given | {"predictions": given["predictions"][:9]})
    with pytest.raises(ValueError, match="no clips"):
        measure(references=[], predictions=[], probabilities=np.zeros((0, 5)), labels=LABELS)
