"""Against scikit-learn where it has the measure, else against the formula in a plain loop."""

import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as peer

from soundraft.metrics import labels as metric
from soundraft.metrics.labels import expected_calibration_error, fit_temperature, measure, reliability_bins, tempered

LABELS = ["anger", "boredom", "disgust", "fear", "joy"]


def drawn(seed: int, clips: int = 200, present: int = 5, labels: int = 5) -> dict[str, Any]:
    """References with the first `present` labels, and a model that is right more often than not."""
    rng = np.random.default_rng(seed)
    names = LABELS[:labels]
    right = rng.choice(present, clips, p=rng.dirichlet(np.full(present, 3.0)))
    logits = rng.normal(size=(clips, labels))
    logits[np.arange(clips), right] += 1.0
    return {
        "references": [names[place] for place in right],
        "predictions": [names[place] for place in logits.argmax(1)],
        "probabilities": tempered(logits, 1.0),
        "labels": names,
    }


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("present", [2, 4, 5])
def test_measures_are_those_of_scikit_learn_over_the_labels_that_occur(seed: int, present: int) -> None:
    given = drawn(seed, present=present)
    right, predicted, found = given["references"], given["predictions"], measure(**given)
    assert found.accuracy == peer.accuracy_score(right, predicted)
    assert found.absent == LABELS[present:]
    micro = peer.precision_recall_fscore_support(right, predicted, average="micro")[:3]
    assert tuple(vars(found.micro).values()) == micro
    for average in ("macro", "weighted"):
        options: dict[str, Any] = {"labels": sorted(set(right)), "average": average, "zero_division": 0}
        expected = peer.precision_recall_fscore_support(right, predicted, **options)[:3]
        assert tuple(vars(getattr(found, average)).values()) == pytest.approx(expected)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # predictions of labels that do not occur
        assert found.macro.recall == pytest.approx(peer.balanced_accuracy_score(right, predicted))
    assert found.kappa == pytest.approx(peer.cohen_kappa_score(right, predicted))
    assert found.mcc == pytest.approx(peer.matthews_corrcoef(right, predicted))
    assert found.log_loss == pytest.approx(peer.log_loss(right, given["probabilities"], labels=LABELS))
    codes = metric.codes(right, LABELS)
    for k in (1, 2, 3, 4):
        expected = peer.top_k_accuracy_score(codes, given["probabilities"], k=k, labels=range(5))
        assert metric.hits_at_k(codes, given["probabilities"], k) == pytest.approx(expected)
    assert list(found.hits) == [3], "5 of 5 says nothing"


def test_each_class_is_its_own_two_class_problem() -> None:
    given = drawn(2)
    right, predicted = np.array(given["references"]), np.array(given["predictions"])
    for place, score in enumerate(measure(**given).classes):
        mine, chosen = right == score.label, predicted == score.label
        assert (score.support, score.predicted) == (mine.sum(), chosen.sum())
        expected = [rate(mine, chosen) for rate in (peer.precision_score, peer.recall_score, peer.f1_score)]
        assert [score.precision, score.recall, score.f1] == pytest.approx(expected)
        assert score.mcc == pytest.approx(peer.matthews_corrcoef(mine, chosen))
        above, below = given["probabilities"][mine, place], given["probabilities"][~mine, place]
        assert score.roc_auc == pytest.approx((above[:, None] > below[None]).mean()), "Mann and Whitney's share"


def test_area_under_the_curve_is_one_against_rest() -> None:
    given = drawn(3)
    expected = peer.roc_auc_score(given["references"], given["probabilities"], multi_class="ovr", labels=LABELS)
    assert measure(**given).roc_auc == pytest.approx(expected)
    two = drawn(3, present=2, labels=2)
    right = np.array(two["references"]) == "boredom"
    assert measure(**two).roc_auc == pytest.approx(peer.roc_auc_score(right, two["probabilities"][:, 1]))


def test_labels_that_no_reference_has_or_that_are_never_predicted() -> None:
    found = measure(**drawn(4, present=4))
    alone = found.classes[-1]
    assert (alone.support, alone.recall, alone.f1, alone.mcc, alone.roc_auc) == (0, None, None, None, None)
    assert alone.predicted > 0
    assert alone.precision == 0.0, "it is predicted, always wrongly"
    assert found.roc_auc == pytest.approx(np.mean([score.roc_auc for score in found.classes[:4]]))
    given = drawn(5)
    given["predictions"] = ["anger" if each == "joy" else each for each in given["predictions"]]
    found = measure(**given)
    assert (found.classes[-1].precision, found.classes[-1].recall, found.classes[-1].f1) == (None, 0.0, 0.0)
    assert found.macro.f1 == pytest.approx(sum(score.f1 or 0 for score in found.classes) / 5)


def test_where_all_references_are_one_label_what_compares_labels_is_none_with_a_reason() -> None:
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6]])
    found = measure(references=["a", "a"], predictions=["a", "b"], probabilities=probabilities, labels=["a", "b"])
    assert (found.accuracy, found.macro.recall) == (0.5, 0.5)
    assert (found.roc_auc, found.kappa, found.mcc) == (None, None, None)
    assert found.missing == dict.fromkeys(("roc_auc", "kappa", "mcc"), "all references are 'a'")


def test_equal_probabilities_are_no_free_hits_and_a_probability_of_0_costs_much_not_all() -> None:
    assert metric.hits_at_k(np.array([0, 1, 2]), np.full((3, 3), 1 / 3), 1) == pytest.approx(1 / 3)
    assert metric.log_losses(np.array([0]), np.array([[0.0, 1.0]])) == pytest.approx([-math.log(1e-15)])


def test_confusions_and_how_scattered_each_row_is() -> None:
    right = ["a"] * 4 + ["b"] * 4 + ["c"] * 4
    predicted = ["b"] * 4 + ["a", "a", "b", "c"] + ["a", "b", "c", "d"]
    counts = metric.confusion_counts(references=right, predictions=predicted, labels=["a", "b", "c", "d"])
    assert counts.tolist() == [[0, 4, 0, 0], [2, 1, 1, 0], [1, 1, 1, 1], [0, 0, 0, 0]]
    assert metric.row_entropy(counts) == pytest.approx([0.0, 1.5, 2.0, np.nan], nan_ok=True)


def test_what_does_not_belong_together_is_refused() -> None:
    given = drawn(0, clips=10)
    for odd, words in (
        ({"references": ["rage"] * 10}, "'rage'"),
        ({"predictions": given["predictions"][:9]}, "9 predictions"),
        ({"references": [], "predictions": [], "probabilities": np.zeros((0, 5))}, "no clips"),
    ):
        with pytest.raises(ValueError, match=words):
            measure(**given | odd)


def overconfident(seed: int, clips: int, temperature: float, labels: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are `temperature` times too large for the labels that are drawn."""
    rng = np.random.default_rng(seed)
    honest = rng.normal(scale=1.5, size=(clips, labels))
    right = np.array([rng.choice(labels, p=row) for row in tempered(honest, 1.0)])
    return honest * temperature, right


def test_the_calibration_error_is_the_plain_loop_of_the_paper() -> None:
    rng = np.random.default_rng(0)
    confidence, correct = rng.random(300), rng.random(300) < 0.6
    total = 0.0
    for number in range(15):
        low, high = number / 15, (number + 1) / 15
        inside = [clip for clip in range(300) if low < confidence[clip] <= high]
        if inside:
            gap = sum(correct[clip] for clip in inside) / len(inside) - sum(confidence[inside]) / len(inside)
            total += len(inside) / 300 * abs(gap)
    assert expected_calibration_error(confidence, correct) == pytest.approx(total)
    assert expected_calibration_error(np.ones(5), np.ones(5, dtype=bool)) == 0.0
    assert expected_calibration_error(np.ones(5), np.zeros(5, dtype=bool)) == 1.0
    for odd, words in (([], "no clips"), ([1.2], "outside 0–1")):
        with pytest.raises(ValueError, match=words):
            expected_calibration_error(np.array(odd), np.ones(len(odd), dtype=bool))


def test_bins_hold_every_clip_once_and_their_upper_edge() -> None:
    found = reliability_bins(np.array([0.0, 0.5, 0.50001, 1.0]), np.array([False, True, False, True]), bins=2)
    assert found.tolist() == [[2, 0.25, 0.5], [2, pytest.approx(0.750005), 0.5]]
    assert np.isnan(reliability_bins(np.array([0.9]), np.array([True]), bins=2)[0, 1:]).all()


def test_the_temperature_by_which_logits_are_too_large_is_found_and_calibrates_other_clips() -> None:
    for temperature in (0.5, 1.0, 3.0):
        assert fit_temperature(*overconfident(1, 20_000, temperature)) == pytest.approx(temperature, rel=0.03)
    logits, right = overconfident(2, 2000, 3.0)
    fitted = fit_temperature(logits[:1000], right[:1000])
    for temperature, low, high in ((1.0, 0.15, 1.0), (fitted, 0.0, 0.05)):
        probabilities = tempered(logits[1000:], temperature)
        assert low < expected_calibration_error(probabilities.max(1), probabilities.argmax(1) == right[1000:]) < high


def test_it_is_the_minimum_that_a_gradient_finds() -> None:
    logits, right = overconfident(3, 80, 2.0)
    target = torch.full((80, 4), 1 / 82 / 3, dtype=torch.float64)
    target[torch.arange(80), torch.from_numpy(right)] = 1 - 1 / 82
    weight = torch.zeros((), dtype=torch.float64, requires_grad=True)
    search = torch.optim.LBFGS([weight], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        search.zero_grad()
        value = torch.nn.functional.cross_entropy(torch.from_numpy(logits) * weight.exp(), target)
        value.backward()
        return value

    search.step(loss)
    assert fit_temperature(logits, right) == pytest.approx(math.exp(-weight.item()), rel=1e-4)


def test_a_model_that_is_always_right_does_not_become_certain() -> None:
    logits = np.eye(3)[np.arange(30) % 3] * 2.0
    fitted = fit_temperature(logits, np.arange(30) % 3)
    assert tempered(logits, fitted).max() == pytest.approx(1 - 1 / 32, abs=1e-3)


def test_a_constant_does_not_matter_and_the_labels_stay() -> None:
    logits, right = overconfident(5, 200, 2.0)
    assert fit_temperature(logits + 700.0, right) == pytest.approx(fit_temperature(logits, right))
    assert (tempered(logits, 5.0).argmax(1) == logits.argmax(1)).all()
    assert tempered(logits * 1e4, 1.0).sum(1) == pytest.approx(1.0)


@pytest.mark.parametrize("logits", [np.zeros((0, 3)), np.zeros((3, 1)), np.array([[0.0, -np.inf]])])
def test_what_cannot_be_fitted_is_refused(logits: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"0 clips|1 labels|not finite"):
        fit_temperature(logits, np.zeros(len(logits), dtype=int))
