import math
from typing import Any

import pytest
import torch

from soundraft.training.learner import Example, Masking, Optimizing, Schedule, fit, spoken
from tests.conftest import tiny_recognizer
from tests.training import toy

OPTIONS = {"masking": None, "title": "test"}


def optimizing(accumulation: int = 1) -> Optimizing:
    return Optimizing(weight_decay=0.0, max_grad_norm=1.0, accumulation=accumulation)


def examples(count: int) -> list[Example]:
    clips = toy.clips(count, seed=7)
    return spoken(clips.features, clips.texts)


def test_schedule_warms_up_and_comes_down() -> None:
    schedule = Schedule(peak=1.0, warmup_share=0.1, final_share=0.05)
    rates = [schedule.at(step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == pytest.approx(1.0)
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert rates[-1] == pytest.approx(0.05, abs=0.01)


def test_accumulated_small_batches_make_the_step_of_one_large_batch() -> None:
    data = examples(8)
    weights = []
    for batches, accumulation in (([[0, 1, 2, 3, 4, 5, 6, 7]], 1), ([[0, 1, 2, 3], [4, 5, 6, 7]], 2)):
        recognizer = tiny_recognizer(mel_bins=toy.MEL_BINS)
        toy.freeze_batch_statistics(recognizer)
        report = fit(
            recognizer, data, batches, schedule=Schedule(1e-3, 0.1, 1.0), optimizing=optimizing(accumulation), **OPTIONS
        )  # type: ignore[arg-type]
        assert (report.steps, report.presentations) == (1, 8)
        weights.append(torch.cat([parameter.detach().flatten() for parameter in recognizer.model.parameters()]))
    torch.testing.assert_close(weights[0], weights[1], atol=1e-4, rtol=0)


def test_a_loss_that_is_not_finite_stops_the_run() -> None:
    recognizer = tiny_recognizer(mel_bins=toy.MEL_BINS)
    bad = spoken([torch.full((60, toy.MEL_BINS), math.nan)], ["one"])
    with pytest.raises(FloatingPointError, match="a smaller learning rate may help"):
        fit(recognizer, bad, [[0]], schedule=Schedule(1e-3, 0.1, 1.0), optimizing=optimizing(), **OPTIONS)  # type: ignore[arg-type]


def test_masking_sets_one_mask_of_each_kind_and_nothing_else() -> None:
    torch.manual_seed(0)
    masked_bins, masked_frames = set(), set()
    for _ in range(60):
        masked = Masking(frequency_bins=5, time_share=0.1, masks=1)(torch.ones(100, 20))
        blank_bins = int((masked == 0).all(dim=0).sum())
        blank_frames = int((masked == 0).all(dim=1).sum())
        assert blank_bins <= 5
        assert blank_frames <= 10
        outside = masked[(masked != 0).any(dim=1)][:, (masked != 0).any(dim=0)]
        assert bool((outside == 1).all())
        masked_bins.add(blank_bins)
        masked_frames.add(blank_frames)
    assert len(masked_bins) > 2
    assert len(masked_frames) > 4
    few = [Masking(frequency_bins=40, time_share=0.0, masks=1)(torch.ones(10, 16)) for _ in range(40)]
    assert sum(not bool(masked.any()) for masked in few) < 8  # more bins than there are mean at most all of them
    assert torch.equal(Masking(5, 0.1, 0)(torch.ones(100, 20)), torch.ones(100, 20))


def test_a_batch_that_does_not_fit_is_halved_and_gives_the_same_step(monkeypatch: pytest.MonkeyPatch) -> None:
    data = examples(8)
    weights, sizes = [], []
    for most in (8, 3):  # clips that "fit into memory"
        recognizer = tiny_recognizer(mel_bins=toy.MEL_BINS)
        toy.freeze_batch_statistics(recognizer)
        whole = recognizer.score

        def limited(features: list, texts: list, whole: Any = whole, most: int = most) -> Any:
            sizes.append(len(features))
            if len(features) > most:
                raise torch.cuda.OutOfMemoryError
            return whole(features, texts)

        monkeypatch.setattr(recognizer, "score", limited)
        report = fit(
            recognizer,
            data,
            [list(range(8))] * 2,
            schedule=Schedule(1e-3, 0.1, 1.0),
            optimizing=optimizing(),
            **OPTIONS,  # type: ignore[arg-type]
        )
        assert report.presentations == 16
        weights.append(torch.cat([parameter.detach().flatten() for parameter in recognizer.model.parameters()]))
    assert sizes == [8, 8, 8, 4, 2, 2, 2, 2, 2, 2, 2, 2]
    torch.testing.assert_close(weights[0], weights[1], atol=1e-4, rtol=0)


def test_a_single_clip_that_does_not_fit_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    recognizer = tiny_recognizer(mel_bins=toy.MEL_BINS)

    def full(features: list, texts: list) -> None:
        raise torch.cuda.OutOfMemoryError

    monkeypatch.setattr(recognizer, "score", full)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        fit(
            recognizer,
            examples(4),
            [[0, 1, 2, 3]],
            schedule=Schedule(1e-3, 0.1, 1.0),
            optimizing=optimizing(),
            **OPTIONS,
        )  # type: ignore[arg-type]
