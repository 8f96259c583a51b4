from typing import Any

import numpy as np
import pytest
import torch

from soundraft.params import defaults
from soundraft.training.augment import Augmenter
from soundraft.training.learner import Example, examples_of
from soundraft.training.objectives import mixture

FRAMES, BINS = 40, 12
LABELS = ("calm", "glad", "sad", "cross")
MEAN, STD = torch.linspace(-6.0, 6.0, BINS), torch.linspace(0.5, 2.0, BINS)
OFF = {name: 0 for name, value in defaults().classification.augment.leaves().items() if not isinstance(value, list)}
EVERYTHING = {
    "time_masks": 2, "time_share": 0.2, "frequency_masks": 2, "frequency_share": 0.2, "time_shift": 0.2, "speed": 0.1,
    "warp": 0.1, "gain": 0.2, "noise": 0.2, "mixup": 0.3, "mixup_probability": 1.0,
}  # fmt: skip


def augmenter(*, seed: int = 0, weights: dict[str, float] | None = None, bins: int = BINS, **changes: Any) -> Augmenter:
    options = defaults().classification.augment.model_copy(update=OFF | changes)
    return Augmenter(
        options, mean=MEAN[-bins:] if bins > 1 else torch.zeros(1), std=STD[:bins], labels=LABELS, weights=weights,
        bands=bins if bins > 1 else 0, decibels=float(bins > 1), seed=seed,
    )  # fmt: skip


def perturbed(clip: torch.Tensor, **options: Any) -> torch.Tensor:
    return augmenter(**options)(examples_of([clip], ["calm"]))[0].features


def batch(count: int = 4, side: int = 0) -> list[Example]:
    generator = torch.Generator().manual_seed(3)
    frames = [torch.randn(FRAMES + 3 * index, BINS, generator=generator) for index in range(count)]
    clips = [torch.cat([clip, torch.full((len(clip), side), 7.0 + n)], dim=1) for n, clip in enumerate(frames)]
    return examples_of(clips, [LABELS[index % 4] for index in range(count)])


def test_nothing_asked_for_changes_nothing() -> None:
    for before, after in zip(batch(), augmenter()(batch()), strict=True):
        assert torch.equal(before.features, after.features)
        assert (after.group.answers, after.group.times, after.objective) == (before.group.answers, (1.0,), mixture)


def test_masks_hold_the_mean_and_are_no_wider_than_asked_for() -> None:
    rows, columns = set(), set()
    augment = augmenter(time_masks=1, time_share=0.25, frequency_masks=1, frequency_share=0.34)
    for _ in range(40):
        blank = torch.isclose(augment(batch(1))[0].features, MEAN)
        rows.add(int(blank.all(dim=1).sum()))
        columns.add(int(blank.all(dim=0).sum()))
        assert bool((blank == (blank.all(dim=1)[:, None] | blank.all(dim=0))).all())
    assert (min(rows), max(rows), max(columns)) == (0, 10, 4)


def test_a_shift_turns_the_clip_round() -> None:
    original, places = batch(1)[0].features, set()
    for seed in range(30):
        shifted = perturbed(original, seed=seed, time_shift=0.1)
        places.add(next(turn for turn in range(-20, 20) if torch.equal(shifted, original.roll(turn, dims=0))))
    assert (min(places), max(places)) == (-4, 4)


def test_another_speed_is_linear_interpolation() -> None:
    ramp, lengths = torch.linspace(0, 1, FRAMES)[:, None].expand(FRAMES, BINS).clone(), set()
    for seed in range(20):
        faster = perturbed(ramp, seed=seed, speed=0.2)
        lengths.add(len(faster))
        torch.testing.assert_close(faster[:, 0], torch.linspace(0, 1, len(faster)), atol=1e-5, rtol=0)
    assert FRAMES / 1.2 - 1 <= min(lengths) < 38
    assert 43 < max(lengths) <= FRAMES / 0.8


def test_a_warp_moves_bins_and_not_frames() -> None:
    clip, factors = torch.arange(BINS, dtype=torch.float32).expand(FRAMES, BINS).clone(), []
    for seed in range(20):
        warped = perturbed(clip, seed=seed, warp=0.1)
        assert torch.equal(warped, warped[:1].expand(FRAMES, BINS))
        factors.append(float(warped[0, 5]) / 5)
        np.testing.assert_allclose(warped[0], np.minimum(np.arange(BINS) * factors[-1], BINS - 1), atol=1e-4)
    assert 0.9 <= min(factors) < 0.97 < 1.03 < max(factors) <= 1.1


def test_noise_gain_and_equalizer_are_in_their_units() -> None:
    still = torch.zeros(4000, BINS)
    spread = perturbed(still, noise=0.5).std(0) / STD
    assert float(spread.max() - spread.min()) < 0.03
    assert 0 < float(spread.mean()) <= 0.51
    levels = torch.stack([perturbed(still[:9], seed=seed, gain=0.5) for seed in range(60)])
    assert torch.equal(levels, levels[:, :1, :1].expand_as(levels))
    assert float(levels[:, 0, 0].std()) == pytest.approx(0.5 * float(STD.mean()), rel=0.35)
    curves = torch.stack([perturbed(still[:9], seed=seed, equalizer_db=6.0) for seed in range(200)])
    assert torch.equal(curves, curves[:, :1].expand_as(curves))
    assert curves[:, 0].std() == pytest.approx(6.0, rel=0.2)


def test_background_fills_what_was_silent_and_leaves_what_was_loud() -> None:
    clip = torch.zeros(40, BINS)
    clip[:20] = -100.0
    noisy = perturbed(clip, background=1.0, background_snr_db=[20.0, 20.0])
    assert (noisy[:20] > -60.0).all()
    assert noisy[:20].mean() == pytest.approx(-22.5, abs=4.0)  # 20 dB, and the mean of a noise's logarithm
    assert noisy[20:].mean() == pytest.approx(0.0, abs=0.3)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_a_mixture_has_features_and_losses_in_the_same_shares(smoothing: float) -> None:
    weights = {"calm": 0.25, "glad": 4.0, "sad": 1.0, "cross": 2.0}
    clips = examples_of([torch.full((30 + 5 * n, BINS), float(n)) for n in range(4)], LABELS)
    log_probs = torch.log_softmax(torch.tensor([0.3, -1.0, 2.0, 0.5]), dim=0)

    def loss(item: Example) -> float:
        parts = zip(item.group.answers, item.group.times, strict=True)
        return -sum(times * float(log_probs[LABELS.index(str(name))]) for name, times in parts)

    alone = [loss(item) for item in augmenter(label_smoothing=smoothing, weights=weights)(clips)]
    if smoothing:
        expected = -0.25 * (0.8 * log_probs[0] + 0.05 * log_probs.sum())
        assert alone[0] == pytest.approx(float(expected))
    mixed = augmenter(weights=weights, mixup=0.4, mixup_probability=1.0, label_smoothing=smoothing)(clips)
    partners = augmenter().random.permutation(4)  # the first draw
    assert any(partner != place for place, partner in enumerate(partners))
    for place, (item, partner) in enumerate(zip(mixed, partners, strict=True)):
        assert item.features.shape == clips[place].features.shape
        assert torch.equal(item.features, item.features[:1, :1].expand_as(item.features))
        if partner != place:
            rest = (float(item.features[0, 0]) - place) / (partner - place)
            assert 0 < rest <= 0.5
            assert loss(item) == pytest.approx((1 - rest) * alone[place] + rest * alone[partner], rel=1e-4)


def test_side_columns_stay_as_they_are() -> None:
    for index, item in enumerate(augmenter(**EVERYTHING)(batch(side=2))):
        assert torch.equal(item.features[:, BINS:], torch.full((len(item.features), 2), 7.0 + index))
        assert item.features[:, :BINS].isfinite().all()


def test_raw_samples_are_perturbed_too() -> None:
    wave = torch.sin(torch.arange(400) / 7.0)
    for item in augmenter(bins=1, **EVERYTHING)(examples_of([wave] * 4, LABELS)):
        assert item.features.ndim == 1
        assert not torch.equal(item.features, wave)


def test_the_same_seed_gives_the_same_batches_without_torchs_generator() -> None:
    state = torch.get_rng_state()
    first, again, other = (augmenter(seed=seed, **EVERYTHING) for seed in (1, 1, 2))
    for _ in range(2):
        one, two, three = first(batch()), again(batch()), other(batch())
        assert all(torch.equal(a.features, b.features) and a.group == b.group for a, b in zip(one, two, strict=True))
        assert not all(torch.equal(a.features, b.features) for a, b in zip(one, three, strict=True))
    assert torch.equal(torch.get_rng_state(), state)
