import math

import numpy as np
import pytest
import torch
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression

from soundraft.metrics.labels import expected_calibration_error, fit_temperature, reliability_bins, tempered


def overconfident(seed: int, clips: int, temperature: float, labels: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are `temperature` times too large for the labels that are drawn."""
    rng = np.random.default_rng(seed)
    honest = rng.normal(scale=1.5, size=(clips, labels))
    right = np.array([rng.choice(labels, p=row) for row in tempered(honest, 1.0)])
    return honest * temperature, right


def test_the_error_is_the_plain_loop_of_the_paper() -> None:
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


def test_bins_hold_every_clip_once_and_their_upper_edge() -> None:
    found = reliability_bins(np.array([0.0, 0.5, 0.50001, 1.0]), np.array([False, True, False, True]), bins=2)
    assert [each.clips for each in found] == [2, 2]
    assert (found[0].confidence, found[0].accuracy) == (0.25, 0.5)
    empty = reliability_bins(np.array([0.9]), np.array([True]), bins=2)[0]
    assert (empty.clips, empty.confidence, empty.accuracy) == (0, None, None)


def test_what_is_sure_and_always_right_has_no_error_and_what_is_never_right_all() -> None:
    assert expected_calibration_error(np.ones(5), np.ones(5, dtype=bool)) == 0.0
    assert expected_calibration_error(np.ones(5), np.zeros(5, dtype=bool)) == 1.0
    with pytest.raises(ValueError, match="no clips"):
        expected_calibration_error(np.array([]), np.array([], dtype=bool))
    with pytest.raises(ValueError, match="outside 0–1"):
        expected_calibration_error(np.array([1.2]), np.array([True]))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_by_which_logits_are_too_large_is_found(temperature: float) -> None:
    logits, right = overconfident(1, 20_000, temperature)
    assert fit_temperature(logits, right) == pytest.approx(temperature, rel=0.03)


def test_other_clips_are_told_honestly_afterwards() -> None:
    logits, right = overconfident(2, 2000, 3.0)
    fitted = fit_temperature(logits[:1000], right[:1000])

    def error(probabilities: np.ndarray) -> float:
        return expected_calibration_error(probabilities.max(1), probabilities.argmax(1) == right[1000:])

    assert error(tempered(logits[1000:], 1.0)) > 0.15
    assert error(tempered(logits[1000:], fitted)) < 0.05


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


def test_scikit_learn_tempers_alike() -> None:
    rng = np.random.default_rng(4)
    points = rng.normal(size=(3000, 6))
    right = (points[:, :3] + rng.normal(scale=1.5, size=(3000, 3))).argmax(1)
    model = LogisticRegression(C=1e6).fit(points[:40], right[:40])
    peer = CalibratedClassifierCV(FrozenEstimator(model), method="temperature").fit(points[40:], right[40:])
    logits = model.decision_function(points[40:])
    ours = tempered(logits, fit_temperature(logits, right[40:]))
    assert np.abs(ours - peer.predict_proba(points[40:])).max() < 0.01


def test_a_model_that_is_always_right_does_not_become_certain() -> None:
    logits = np.eye(3)[np.arange(30) % 3] * 2.0
    fitted = fit_temperature(logits, np.arange(30) % 3)
    assert tempered(logits, fitted).max() == pytest.approx(1 - 1 / 32, abs=1e-3)


def test_a_constant_does_not_matter_and_the_labels_stay() -> None:
    logits, right = overconfident(5, 200, 2.0)
    assert fit_temperature(logits + 700.0, right) == pytest.approx(fit_temperature(logits, right))
    assert (tempered(logits, 5.0).argmax(1) == logits.argmax(1)).all()
    assert tempered(logits * 1e4, 1.0).sum(1) == pytest.approx(1.0)


def test_what_cannot_be_fitted_is_refused() -> None:
    with pytest.raises(ValueError, match="0 clips"):
        fit_temperature(np.zeros((0, 3)), np.array([], dtype=int))
    with pytest.raises(ValueError, match="1 labels"):
        fit_temperature(np.zeros((3, 1)), np.zeros(3, dtype=int))
    with pytest.raises(ValueError, match="not finite"):
        fit_temperature(np.array([[0.0, -np.inf]]), np.array([0]))
