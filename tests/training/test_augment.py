from typing import Any

import numpy as np
import pytest
import torch

from soundraft.runtime import UserError
from soundraft.training.augment import Augmentation, Augmenter
from soundraft.training.learner import Example
from soundraft.training.objectives import Group

FRAMES, BINS = 40, 12
LABELS = ("calm", "glad", "sad", "cross")
MEAN = torch.linspace(-6.0, 6.0, BINS)
STD = torch.linspace(0.5, 2.0, BINS)


def augmenter(*, seed: int = 0, weights: dict[str, float] | None = None, **how: Any) -> Augmenter:
    return Augmenter(
        Augmentation(**how),
        mean=MEAN,
        std=STD,
        labels=LABELS,
        weights=weights,
        bands=len(MEAN),
        decibels=1.0,
        seed=seed,
    )


def batch(count: int = 4, side: int = 0) -> list[Example]:
    generator = torch.Generator().manual_seed(3)
    frames = [torch.randn(FRAMES + 3 * index, BINS, generator=generator) for index in range(count)]
    clips = [torch.cat([clip, torch.full((len(clip), side), 7.0 + n)], dim=1) for n, clip in enumerate(frames)]
    return [Example(clip, Group((LABELS[index % 4],))) for index, clip in enumerate(clips)]


def test_nothing_asked_for_changes_nothing() -> None:
    for before, after in zip(batch(), augmenter()(batch()), strict=True):
        assert torch.equal(before.features, after.features)
        assert (after.group.texts, after.group.times, after.objective) == (before.group.texts, (1.0,), "mixture")


def test_masks_hold_the_mean_and_are_no_wider_than_asked_for() -> None:
    rows, columns = set(), set()
    altered = augmenter(time_masks=1, time_share=0.25, frequency_masks=1, frequency_share=0.34)
    for _ in range(40):
        blank = torch.isclose(altered(batch(1))[0].features, MEAN)
        rows.add(int(blank.all(dim=1).sum()))
        columns.add(int(blank.all(dim=0).sum()))
        assert bool((blank == (blank.all(dim=1)[:, None] | blank.all(dim=0))).all())
    assert (max(rows), max(columns)) == (10, 4)
    assert 0 in rows


def test_a_shift_turns_the_clip_round() -> None:
    original = batch(1)[0].features
    places = set()
    for shifted in (augmenter(seed=seed, time_shift=0.1)(batch(1))[0].features for seed in range(30)):
        turn = next(turn for turn in range(-20, 20) if torch.equal(shifted, original.roll(turn, dims=0)))
        places.add(turn)
    assert (min(places), max(places)) == (-4, 4)


def test_another_speed_is_linear_interpolation() -> None:
    ramp = torch.linspace(0, 1, FRAMES)[:, None].expand(FRAMES, BINS).clone()
    lengths = set()
    for seed in range(20):
        faster = augmenter(seed=seed, speed=0.2)([Example(ramp, Group(("calm",)))])[0].features
        lengths.add(len(faster))
        torch.testing.assert_close(faster[:, 0], torch.linspace(0, 1, len(faster)), atol=1e-5, rtol=0)
    assert FRAMES / 1.2 - 1 <= min(lengths) < 38
    assert 43 < max(lengths) <= FRAMES / 0.8


def test_a_warp_moves_bins_and_not_frames() -> None:
    clip = torch.arange(BINS, dtype=torch.float32).expand(FRAMES, BINS).clone()
    factors = []
    for seed in range(20):
        warped = augmenter(seed=seed, warp=0.1)([Example(clip, Group(("calm",)))])[0].features
        assert torch.equal(warped, warped[:1].expand(FRAMES, BINS))
        factors.append(float(warped[0, 5]) / 5)
        np.testing.assert_allclose(warped[0], np.minimum(np.arange(BINS) * factors[-1], BINS - 1), atol=1e-4)
    assert 0.9 <= min(factors) < 0.97
    assert 1.03 < max(factors) <= 1.1


def test_noise_and_gain_are_in_deviations() -> None:
    still = [Example(torch.zeros(4000, BINS), Group(("calm",)))]
    noise = augmenter(noise=0.5)(still)[0].features
    spread = noise.std(0) / STD
    assert float(spread.max() - spread.min()) < 0.03
    assert 0 < float(spread.mean()) <= 0.51
    levels = torch.stack([augmenter(seed=seed, gain=0.5)(still)[0].features for seed in range(60)])
    assert torch.equal(levels, levels[:, :1, :1].expand_as(levels))
    assert float(levels[:, 0, 0].std()) == pytest.approx(0.5 * float(STD.mean()), rel=0.35)


def test_background_fills_what_was_silent_and_leaves_what_was_loud() -> None:
    clip = torch.zeros(40, BINS)
    clip[:20] = -100.0
    item = Example(clip, Group((LABELS[0],)))
    (heard,) = augmenter(background=1.0, background_snr_db=(20.0, 20.0))([item])
    assert (heard.features[:20] > -60.0).all()
    assert heard.features[:20].mean() == pytest.approx(-22.5, abs=4.0)  # 20 dB, and the mean of a noise's logarithm
    assert heard.features[20:].mean() == pytest.approx(0.0, abs=0.3)


def test_an_equalizer_is_one_smooth_curve_for_all_frames() -> None:
    item = Example(torch.zeros(10, BINS), Group((LABELS[0],)))
    (heard,) = augmenter(equalizer_db=6.0)([item])
    assert torch.equal(heard.features, heard.features[:1].expand(10, BINS))
    assert heard.features[0].abs().max() > 1.0
    curves = [augmenter(equalizer_db=6.0, seed=seed)([item])[0].features[0] for seed in range(200)]
    assert torch.stack(curves).std() == pytest.approx(6.0, rel=0.2)


def test_a_mixture_has_features_and_labels_in_the_same_shares() -> None:
    constant = [Example(torch.full((30 + 5 * n, BINS), float(n)), Group((LABELS[n],))) for n in range(4)]
    mixed = augmenter(mixup=0.4, mixup_probability=1.0)(constant)
    assert any(len(item.group.texts) == 2 for item in mixed)
    for index, item in enumerate(mixed):
        shares = dict(zip(item.group.texts, item.group.times, strict=True))
        assert item.features.shape == constant[index].features.shape
        assert shares[LABELS[index]] >= 0.5
        assert sum(shares.values()) == pytest.approx(1.0)
        expected = sum(LABELS.index(label) * share for label, share in shares.items())
        torch.testing.assert_close(item.features, torch.full_like(item.features, expected))


def test_smoothing_and_class_weights_are_weights_of_the_loss() -> None:
    item = augmenter(label_smoothing=0.2, weights={"calm": 3.0, "glad": 1.0, "sad": 1.0, "cross": 1.0})(batch(1))[0]
    assert dict(zip(item.group.texts, item.group.times, strict=True)) == pytest.approx(
        {"calm": 3 * 0.85, "glad": 3 * 0.05, "sad": 3 * 0.05, "cross": 3 * 0.05}
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_of_a_mixture_is_the_mixed_loss_of_its_clips(smoothing: float) -> None:
    weights = {"calm": 0.25, "glad": 4.0, "sad": 1.0, "cross": 2.0}
    clips = [Example(torch.full((30, BINS), float(n)), Group((LABELS[n],))) for n in range(4)]
    log_probs = torch.log_softmax(torch.tensor([0.3, -1.0, 2.0, 0.5]), dim=0)

    def loss(item: Example) -> float:
        parts = zip(item.group.texts, item.group.times, strict=True)
        return -sum(times * float(log_probs[LABELS.index(name)]) for name, times in parts)

    alone = [loss(item) for item in augmenter(label_smoothing=smoothing, weights=weights)(clips)]
    how = {"mixup": 0.4, "mixup_probability": 1.0, "label_smoothing": smoothing}
    mixed = augmenter(weights=weights, **how)(clips)
    partners = augmenter().random.permutation(4)  # the first thing that is drawn
    assert any(partner != place for place, partner in enumerate(partners))
    for place, (item, partner) in enumerate(zip(mixed, partners, strict=True)):
        if partner != place:
            rest = (float(item.features[0, 0]) - place) / (partner - place)
            assert loss(item) == pytest.approx((1 - rest) * alone[place] + rest * alone[partner], rel=1e-4)


def test_side_columns_stay_as_they_are() -> None:
    everything = {
        "time_masks": 2, "time_share": 0.2, "frequency_masks": 2, "frequency_share": 0.2, "time_shift": 0.2,
        "speed": 0.1, "warp": 0.1, "gain": 0.2, "noise": 0.2, "mixup": 0.3, "mixup_probability": 1.0,
    }  # fmt: skip
    for index, item in enumerate(augmenter(**everything)(batch(side=2))):
        assert torch.equal(item.features[:, BINS:], torch.full((len(item.features), 2), 7.0 + index))
        assert item.features[:, :BINS].isfinite().all()


def test_raw_samples_are_altered_too() -> None:
    waves = [Example(torch.sin(torch.arange(400) / 7.0), Group((label,))) for label in LABELS]
    how = Augmentation(
        time_shift=0.2, noise=0.1, time_masks=1, time_share=0.1, speed=0.1, mixup=0.3, mixup_probability=1.0
    )
    plain = {
        "mean": torch.zeros(1),
        "std": torch.ones(1),
        "labels": LABELS,
        "weights": None,
        "bands": 0,
        "decibels": 0.0,
    }
    for item in Augmenter(how, seed=0, **plain)(waves):  # type: ignore[arg-type]
        assert item.features.ndim == 1
        assert not torch.equal(item.features, waves[0].features)


def test_the_same_seed_gives_the_same_batches_and_torch_is_not_asked() -> None:
    how = {"noise": 0.3, "mixup": 0.3, "mixup_probability": 0.5, "time_masks": 2, "time_share": 0.2}
    state = torch.get_rng_state()
    first, again, other = (augmenter(seed=seed, **how) for seed in (1, 1, 2))
    for _ in range(2):
        one, two, three = first(batch()), again(batch()), other(batch())
        assert all(torch.equal(a.features, b.features) and a.group == b.group for a, b in zip(one, two, strict=True))
        assert not all(torch.equal(a.features, b.features) for a, b in zip(one, three, strict=True))
    assert torch.equal(torch.get_rng_state(), state)


def test_amounts_that_cannot_be_are_named() -> None:
    with pytest.raises(UserError, match=r"augment.time_share: got 2; allowed: 0–1"):
        Augmentation(time_share=2)
    with pytest.raises(UserError, match=r"augment.noise: got -1; allowed: 0 and above"):
        Augmentation(noise=-1)
    with pytest.raises(UserError, match="must be below 1"):
        Augmentation(speed=1.0)
