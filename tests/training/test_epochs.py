import io
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from tqdm import tqdm

from soundraft.clips.decoding import transcribe
from soundraft.runtime import UserError, seed_torch
from soundraft.training.learner import (
    Averaged,
    Judgement,
    Optimizing,
    Schedule,
    balanced_batches,
    class_weights,
    epoch_batches,
    fit_epochs,
    spoken,
)
from tests.models.classifiers import classifier, clips

DATA = clips(60, seed=1)
UNSEEN = clips(60, seed=2)
NAMES = ["a"] * 60 + ["b"] * 30 + ["c"] * 6


def run(validate: Any, **options: Any) -> tuple[Any, Any]:
    model = classifier()
    model.fit_normalisation(DATA.features)
    batches = epoch_batches("shuffled", lengths=DATA.lengths, labels=DATA.texts, batch_size=15, seed=0)
    report = fit_epochs(
        model,
        spoken(DATA.features, DATA.texts),
        **{
            "epochs": 6,
            "batches": batches,
            "schedule": Schedule(5e-3, 0.1, 0.1),
            "optimizing": Optimizing(weight_decay=0.0, max_grad_norm=1.0, accumulation=1),
            "validate": lambda: validate(model),
            "patience": 3,
            **options,
        },
    )
    return model, report


def accuracy(model: Any) -> Judgement:
    heard = transcribe(model, UNSEEN)
    return Judgement(sum(map(str.__eq__, heard, UNSEEN.texts)) / len(heard), 0.0, np.ones(1))


def judged(measure: float, loss: float, spread: float = 0.0) -> Judgement:
    """Of four clips, with a standard error of .05; `spread` moves two of the losses up and two down."""
    return Judgement(measure, 0.05, loss + spread * np.array([1.0, 1.0, -1.0, -1.0]))


@pytest.mark.parametrize(
    ("measures", "best"),
    [
        ([(0.9, 0.5), (0.9, 0.3), (0.9, 0.4)], 2),
        ([(0.9, 0.5), (0.86, 0.3), (0.84, 0.2)], 2),  # within the error the loss decides, beyond it does not
        ([(0.8, 0.1), (0.95, 0.5), (0.92, 0.4)], 3),  # what is no longer near the highest is given up
        ([(0.9, 0.3), (0.9, 0.3)], 2),  # of equals the last
    ],
)
def test_within_a_standard_error_the_lower_loss_counts(measures: list[tuple[float, float]], best: int) -> None:
    found = iter(measures)
    _, report = run(lambda _: judged(*next(found)), epochs=len(measures))
    assert report.best_epoch == best
    assert [row.validation_loss for row in report.history] == pytest.approx([loss for _, loss in measures])


def test_the_last_of_epochs_whose_losses_differ_by_luck_is_kept() -> None:
    """The error of the mean difference of four clips of which two are .1 above and two .1 below it is .058."""
    for last, best in ((0.35, 3), (0.37, 2)):
        found = iter([judged(0.9, 0.5), judged(0.9, 0.3), judged(0.9, last, spread=0.1)])
        _, report = run(lambda _, found=found: next(found), epochs=3)
        assert report.best_epoch == best


def test_patience_counts_from_the_best_epoch_not_from_the_last_that_is_as_good() -> None:
    found = iter([judged(0.9, 0.3), *(judged(0.9, 0.31, spread=0.1) for _ in range(5))])
    _, report = run(lambda _: next(found), epochs=6, patience=3)
    assert (len(report.history), report.best_epoch, report.stopped_early) == (4, 4, True)


def test_an_epoch_far_below_the_highest_is_never_kept() -> None:
    # found with 8 clips of each of 7 labels: the last epoch is worse by recall and loss, and its error is the smallest
    told = [(0.714, 0.053, 0.36), (0.768, 0.059, 0.49), (0.696, 0.051, 0.39)]
    found = iter(Judgement(measure, error, np.array([loss])) for measure, error, loss in told)
    _, report = run(lambda _: next(found), epochs=3)
    assert report.best_epoch == 1


def test_the_best_weights_come_back_and_patience_ends_the_run() -> None:
    seen: list[torch.Tensor] = []
    measures = iter([0.1, 0.5, 0.5, 0.2, 0.4, 0.9])

    def validate(model: Any) -> Judgement:
        seen.append(model.encode(UNSEEN.features))
        return Judgement(next(measures), 0.0, np.ones(1))

    rows = []
    model, report = run(validate, after_epoch=rows.append)
    assert (report.best_epoch, report.best, report.stopped_early) == (3, 0.5, True)
    assert [row.validation for row in report.history] == [0.1, 0.5, 0.5, 0.2, 0.4]
    assert rows == report.history
    assert torch.equal(model.encode(UNSEEN.features), seen[2])
    assert not torch.equal(seen[2], seen[4])
    assert [row.epoch for row in rows] == [1, 2, 3, 4, 5]
    assert all(row.seconds > 0 for row in rows)
    assert rows[0].learning_rate > rows[-1].learning_rate > 0


def test_the_bar_tells_the_last_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()

    def eager(total: int, *, title: str, unit: str) -> Any:
        return tqdm(total=total, desc=title, unit=unit, mininterval=0, file=shown)

    monkeypatch.setattr("soundraft.training.learner.progress", eager)
    _, report = run(accuracy, epochs=3, patience=0)
    states = shown.getvalue().strip().split("\r")
    for row in report.history[:-1]:
        said = f"train, epoch {row.epoch} of 3: loss {row.loss:.3f}, validation {row.validation:.3f}:"
        assert sum(state.startswith(said) for state in states) == 4  # steps of the next epoch
    assert states[-1].startswith("train, epoch 3 of 3: ")


@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_it_learns_with_and_without_averaged_weights(decay: float) -> None:
    model, report = run(accuracy, average_decay=decay, epochs=12, patience=0)
    assert len(report.history) == 12
    assert not report.stopped_early
    assert report.best > 0.8
    assert accuracy(model).measure == report.best
    assert report.history[-1].loss < report.history[0].loss


def test_the_same_seed_gives_the_same_weights() -> None:
    first, second = (run(accuracy, epochs=2)[0].encode(UNSEEN.features) for _ in range(2))
    assert torch.equal(first, second)


def test_an_average_of_weights_is_that_by_hand() -> None:
    seed_torch(0)
    layer = torch.nn.Linear(2, 1)
    average = Averaged(layer, 0.9)
    expected = layer.weight.detach().clone()
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
    for batch in batches:
        assert set(Counter(NAMES[index] for index in batch).values()) == {4}
    used = Counter(index for batch in batches for index in batch)
    rare = [used[index] for index in range(90, 96)]
    assert max(rare) - min(rare) <= 1
    assert max(used[index] for index in range(60)) == 1
    assert balanced_batches(NAMES, 12, seed=1) == batches != balanced_batches(NAMES, 12, seed=2)


def test_batches_of_two_epochs_differ_and_hold_every_clip() -> None:
    batches = epoch_batches("shuffled", lengths=DATA.lengths, labels=DATA.texts, batch_size=16, seed=3)
    assert batches(1) == batches(1) != batches(2)
    assert sorted(index for batch in batches(2) for index in batch) == list(range(60))


def test_class_weights_have_a_mean_of_one_over_the_clips() -> None:
    weights = class_weights(NAMES, "balanced")
    assert sum(weights[name] for name in NAMES) / len(NAMES) == pytest.approx(1.0)
    assert weights["c"] == pytest.approx(10 * weights["a"])
    roots = class_weights(NAMES, "sqrt")
    assert roots["c"] == pytest.approx(10**0.5 * roots["a"])
    assert class_weights(NAMES, "none") == {"a": 1.0, "b": 1.0, "c": 1.0}


def test_what_cannot_be_is_named() -> None:
    with pytest.raises(UserError, match="class_weights: got 'auto'; there are: none, balanced, sqrt"):
        class_weights(NAMES, "auto")
    with pytest.raises(UserError, match="sampling: got 'odd'; there are: shuffled, balanced"):
        epoch_batches("odd", lengths=[], labels=[], batch_size=2, seed=0)
    with pytest.raises(UserError, match="nothing to learn: 60 clips, 0 epochs"):
        run(accuracy, epochs=0)
