import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch

from soundraft.clips.batches import best_answers
from soundraft.params import defaults
from soundraft.runtime import seed_torch
from soundraft.training.learner import (
    Averaged,
    Learner,
    Validation,
    balanced_batches,
    class_weights,
    examples_of,
    fit,
    fit_epochs,
    learning_rate,
    masked,
)
from tests.conftest import tiny_recognizer
from tests.models.classifiers import classifier, clips
from tests.training import toy

DATA, UNSEEN = clips(60, seed=1), clips(60, seed=2)
EXAMPLES = examples_of(DATA.features, DATA.targets)
NAMES = ["a"] * 60 + ["b"] * 30 + ["c"] * 6


def test_schedule_warms_up_and_comes_down() -> None:
    rates = [learning_rate(step, 100, peak=1.0, warmup_share=0.1, final_share=0.05) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == pytest.approx(1.0)
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert rates[-1] == pytest.approx(0.05, abs=0.01)


class Bar:
    def set_postfix(self, **_: object) -> None: ...
    def update(self) -> None: ...


def weights_after(batches: list[list[int]], accumulation: int = 1, most: int = 8) -> tuple[torch.Tensor, list[int]]:
    """Of a toy model, on a machine into whose memory `most` clips fit; and how many clips were tried at once."""
    model = tiny_recognizer(mel_bins=toy.MEL_BINS)
    toy.freeze_batch_statistics(model)
    whole, sizes = model.loss, []

    def limited(features: list, answers: list) -> Any:
        sizes.append(len(features))
        if len(features) > most:
            raise torch.cuda.OutOfMemoryError
        return whole(features, answers)

    model.loss = limited  # type: ignore[method-assign]
    data = toy.clips(8, seed=7)
    steps = len(batches) // accumulation
    options = toy.settings(final_lr_share=1.0, gradient_accumulation_steps=accumulation)
    learner = Learner(model, options, peak=1e-3, steps=steps)
    learner.learn(examples_of(data.features, data.targets), batches, Bar())
    assert (learner.done, learner.presentations) == (steps, sum(map(len, batches)))
    return torch.cat([parameter.detach().flatten() for parameter in model.model.parameters()]), sizes


def test_small_batches_make_the_step_of_one_large_batch() -> None:
    whole, _ = weights_after([list(range(8))])
    accumulated, _ = weights_after([[0, 1, 2, 3], [4, 5, 6, 7]], accumulation=2)
    halved, sizes = weights_after([list(range(8))], most=3)
    assert sizes == [8, 4, 2, 2, 2, 2]
    for other in (accumulated, halved):
        torch.testing.assert_close(other, whole, atol=1e-4, rtol=0)
    with pytest.raises(torch.cuda.OutOfMemoryError):  # not even one clip fits
        weights_after([list(range(8))], most=0)


def test_a_loss_that_is_not_finite_stops_the_run() -> None:
    bad = examples_of([torch.full((60, toy.MEL_BINS), math.nan)], ["one"])
    with pytest.raises(FloatingPointError):
        fit(tiny_recognizer(mel_bins=toy.MEL_BINS), bad, toy.start_settings(1), seed=0, title="test")


def test_masks_are_no_wider_than_asked_for_and_change_nothing_else() -> None:
    torch.manual_seed(0)
    options = toy.NO_MASKS.model_copy(update={"masks": 1, "frequency_bins": 5, "time_share": 0.1})
    bins, frames = set(), set()
    for _ in range(60):
        features = masked(torch.ones(100, 20), options)
        bins.add(int((features == 0).all(dim=0).sum()))
        frames.add(int((features == 0).all(dim=1).sum()))
        assert bool((features[(features != 0).any(dim=1)][:, (features != 0).any(dim=0)] == 1).all())
    assert 2 < len(bins) <= max(bins) + 1 <= 6
    assert 4 < len(frames) <= max(frames) + 1 <= 11
    assert torch.equal(masked(torch.ones(100), options), torch.ones(100))


def run(validate: Any, **changes: Any) -> tuple[Any, Any]:
    model = classifier()
    model.fit_normalisation(DATA.features)
    small = {"epochs": 6, "batch_size": 15, "learning_rate": 5e-3, "final_lr_share": 0.1, "weight_decay": 0.0}
    options = defaults().classification.trainer.model_copy(
        update=small | {"early_stop": 3, "average_decay": 0.0} | changes
    )
    rows: list[Any] = []
    report = fit_epochs(model, EXAMPLES, options, seed=0, validate=lambda: validate(model), after_epoch=rows.append)
    assert rows == report.history
    return model, report


def accuracy(model: Any) -> Validation:
    answers = best_answers(model, UNSEEN, toy.DECODING)
    return Validation(sum(map(str.__eq__, answers, UNSEEN.targets)) / len(answers), 0.0, np.ones(1))


def found(measure: float, loss: float, spread: float = 0.0, error: float = 0.05) -> Validation:
    """Of four clips; `spread` moves two of the losses up and two down."""
    return Validation(measure, error, loss + spread * np.array([1.0, 1.0, -1.0, -1.0]))


@pytest.mark.parametrize(
    ("epochs", "best"),
    [
        ([found(0.9, 0.5), found(0.9, 0.3), found(0.9, 0.4)], 2),
        # within the error of the measure the loss decides, beyond it does not
        ([found(0.9, 0.5), found(0.86, 0.3), found(0.84, 0.2)], 2),
        ([found(0.8, 0.1), found(0.95, 0.5), found(0.92, 0.4)], 3),  # what is no longer near the highest is given up
        ([found(0.9, 0.3), found(0.9, 0.3)], 2),  # of equals the last
        # the error of the mean difference of four clips of which two are .1 above and two .1 below it is .058
        ([found(0.9, 0.5), found(0.9, 0.3), found(0.9, 0.35, spread=0.1)], 3),
        ([found(0.9, 0.5), found(0.9, 0.3), found(0.9, 0.37, spread=0.1)], 2),
        # the last epoch is worse by measure and loss, and its error is the smallest
        ([found(0.714, 0.36, error=0.053), found(0.768, 0.49, error=0.059), found(0.696, 0.39, error=0.051)], 1),
    ],
)
def test_the_last_epoch_within_a_standard_error_of_the_best_is_kept(epochs: list[Validation], best: int) -> None:
    results = iter(epochs)
    _, report = run(lambda _: next(results), epochs=len(epochs))
    assert report.best_epoch == best
    assert [row.validation_loss for row in report.history] == pytest.approx([each.loss for each in epochs])


def test_patience_counts_from_the_best_epoch_not_from_the_last_that_is_as_good() -> None:
    results = iter([found(0.9, 0.3), *(found(0.9, 0.31, spread=0.1) for _ in range(5))])
    _, report = run(lambda _: next(results))
    assert (len(report.history), report.best_epoch, report.stopped_early) == (4, 4, True)


def test_the_best_weights_come_back() -> None:
    seen: list[torch.Tensor] = []
    measures = iter([0.1, 0.5, 0.5, 0.2, 0.4, 0.9])

    def validate(model: Any) -> Validation:
        seen.append(model.encode(UNSEEN.features))
        return Validation(next(measures), 0.0, np.ones(1))

    model, report = run(validate)
    assert (report.best_epoch, report.best, report.stopped_early) == (3, 0.5, True)
    assert torch.equal(model.encode(UNSEEN.features), seen[2])
    assert not torch.equal(seen[2], seen[4])
    assert report.history[0].learning_rate > report.history[-1].learning_rate > 0


@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_it_learns_with_and_without_averaged_weights(decay: float) -> None:
    model, report = run(accuracy, average_decay=decay, epochs=12, early_stop=0)
    assert len(report.history) == 12
    assert accuracy(model).measure == report.best > 0.8
    first, second = (run(accuracy, epochs=1, average_decay=decay)[0].encode(UNSEEN.features) for _ in range(2))
    assert torch.equal(first, second)


def test_an_average_of_weights_is_that_by_hand() -> None:
    seed_torch(0)
    layer = torch.nn.Linear(2, 1)
    average, expected = Averaged(layer, 0.9), layer.weight.detach().clone()
    for step in range(1, 4):
        with torch.no_grad():
            layer.weight += step
        kept = min(0.9, (1 + step) / (10 + step))
        expected = kept * expected + (1 - kept) * layer.weight.detach()
        average.update()
    now = layer.weight.detach().clone()
    with average.swapped():
        torch.testing.assert_close(layer.weight.detach(), expected)
    assert torch.equal(layer.weight.detach(), now)


def test_balanced_batches_have_every_label_as_often() -> None:
    batches = balanced_batches(NAMES, 12, seed=1)
    assert [len(batch) for batch in batches] == [12] * 8
    assert all(set(Counter(NAMES[index] for index in batch).values()) == {4} for batch in batches)
    used = Counter(index for batch in batches for index in batch)
    rare = [used[index] for index in range(90, 96)]
    assert max(rare) - min(rare) <= 1
    assert max(used[index] for index in range(60)) == 1
    assert balanced_batches(NAMES, 12, seed=1) == batches != balanced_batches(NAMES, 12, seed=2)


def test_class_weights_have_a_mean_of_one_over_the_clips() -> None:
    for kind, ratio in (("balanced", 10), ("sqrt", 10**0.5), ("none", 1)):
        weights = class_weights(NAMES, kind)
        assert sum(weights[name] for name in NAMES) / len(NAMES) == pytest.approx(1.0)
        assert weights["c"] == pytest.approx(ratio * weights["a"])
