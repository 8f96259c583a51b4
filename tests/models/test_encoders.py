import math
from typing import Any

import numpy as np
import pytest
import torch

from soundraft.models.base import ModelError, pad
from soundraft.models.encoders import ENCODERS, Convolution2D, WaveFilters, build_encoder, options, pool
from soundraft.models.networks import POOLINGS, InputStatistics, Pooling
from tests.models.classifiers import SMALL

COLUMNS = 10
LENGTHS = (1, 7, 23, 90)


def clips(lengths: tuple[int, ...] = LENGTHS) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(length, COLUMNS, generator=generator) for length in lengths]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", ENCODERS)
def test_a_clip_gives_the_same_alone_and_in_a_batch_with_a_longer_one(name: str, training: bool) -> None:
    torch.manual_seed(1)
    encoder = build_encoder(name, COLUMNS, {**SMALL[name], "dropout": 0.0}).train(training)
    poolings = [Pooling(kind, encoder.width) for kind in POOLINGS]
    together, lengths = encoder(*pad(clips()))
    for index, clip in enumerate(clips()):
        alone, length = encoder(clip[None], torch.tensor([len(clip)]))
        assert int(length) == int(lengths[index])
        torch.testing.assert_close(together[index, : int(length)], alone[0, : int(length)], atol=1e-5, rtol=0)
        for pooling in poolings:
            torch.testing.assert_close(pooling(together, lengths)[index], pooling(alone, length)[0], atol=1e-5, rtol=0)


def test_spectra_side_by_side_are_planes_that_do_not_touch() -> None:
    """The highest band of one channel must not be the neighbour of the lowest one of the next."""
    torch.manual_seed(1)
    encoder = build_encoder("stacked_cnn_2d", 2 * COLUMNS, {"band_pool_sizes": [1, 1, 1, 1]}, planes=2)
    first = encoder.layers[0].conv
    seen: list[torch.Tensor] = []
    first.register_forward_hook(lambda _, __, output: seen.append(output.detach()))
    frames = torch.randn(1, 9, 2 * COLUMNS)
    other = frames.clone()
    other[:, :, COLUMNS] += 1.0  # the lowest band of the second channel
    for each in (frames, other):
        encoder(each, torch.tensor([9]))
    changed = (seen[0] != seen[1]).any(dim=2).any(dim=1)[0]
    assert changed.tolist() == [True, True] + [False] * (COLUMNS - 2)
    assert first.in_channels == 2


@pytest.mark.parametrize(("name", "knob"), [(name, knob) for name in ENCODERS for knob in options(name)])
def test_every_knob_changes_what_comes_out(name: str, knob: str) -> None:
    def made(settings: dict[str, Any]) -> torch.Tensor:
        torch.manual_seed(1)
        encoder = build_encoder(name, COLUMNS, settings).train()
        frames, lengths = encoder(*pad(clips()))
        return Pooling("mean", encoder.width)(frames, lengths)

    usual = options(name)[knob]
    others: dict[str, Any] = {"cell_type": "gru", "bidirectional": False}
    other = others.get(knob, [usual[0] + 1, *usual[1:]] if isinstance(usual, tuple) else None)
    other = 2 * usual if other is None else other
    plain, changed = made({}), made({knob: other})
    assert plain.shape != changed.shape or not torch.allclose(plain, changed)


@pytest.mark.parametrize("name", ENCODERS)
def test_a_batch_has_the_gradient_of_its_clips(name: str) -> None:
    torch.manual_seed(1)
    encoder = build_encoder(name, COLUMNS, {**SMALL[name], "dropout": 0.0})
    pooling = Pooling("statistics", encoder.width)
    pooling(*encoder(*pad(clips()))).sum().backward()
    together = [weight.grad.clone() for weight in encoder.parameters() if weight.grad is not None]
    encoder.zero_grad()
    for clip in clips():
        pooling(*encoder(clip[None], torch.tensor([len(clip)]))).sum().backward()
    torch.testing.assert_close([weight.grad for weight in encoder.parameters()], together, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", [name for name in ENCODERS if "rnn" not in name])  # an RNN packs lengths of the CPU
def test_all_that_is_made_on_the_way_is_where_the_frames_are(name: str) -> None:
    encoder = build_encoder(name, COLUMNS, SMALL[name]).to("meta")
    frames, lengths = encoder(
        torch.empty(2, 9, COLUMNS, device="meta"), torch.empty(2, dtype=torch.long, device="meta")
    )
    assert frames.device.type == lengths.device.type == "meta"
    assert frames.shape[2] == encoder.width


@pytest.mark.parametrize("name", ENCODERS)
def test_half_precision_gives_nearly_the_same(name: str) -> None:
    torch.manual_seed(1)
    encoder = build_encoder(name, COLUMNS, SMALL[name]).eval()
    pooling = Pooling("statistics", encoder.width)
    with torch.no_grad():
        exact = pooling(*encoder(*pad(clips())))
        with torch.autocast("cpu", torch.bfloat16):
            coarse = pooling(*encoder(*pad(clips())))
    torch.testing.assert_close(coarse.float(), exact, atol=0.1, rtol=0)


@pytest.mark.parametrize("name", ENCODERS)
def test_what_stands_in_padded_frames_does_not_matter(name: str) -> None:
    torch.manual_seed(1)
    encoder = build_encoder(name, COLUMNS, SMALL[name]).eval()
    pooling = Pooling("statistics", encoder.width)
    padded, lengths = pad(clips())
    dirty = padded.clone()
    for row, length in zip(dirty, lengths.tolist(), strict=True):
        row[length:] = 1e6
    torch.testing.assert_close(pooling(*encoder(padded, lengths)), pooling(*encoder(dirty, lengths)))


@pytest.mark.parametrize("name", ["rnn", "cnnrnn", "transformer"])
def test_the_order_of_frames_matters_even_to_the_mean(name: str) -> None:
    torch.manual_seed(1)
    encoder = build_encoder(name, COLUMNS, SMALL[name]).eval()
    mean = Pooling("mean", encoder.width)
    clip = clips((48,))[0]
    blocks = clip.reshape(6, 8, COLUMNS).flip(0).reshape(48, COLUMNS)
    lengths = torch.tensor([48])
    assert not torch.allclose(mean(*encoder(clip[None], lengths)), mean(*encoder(blocks[None], lengths)), atol=1e-3)


def test_a_sound_that_moves_up_moves_what_convolutions_over_bands_make_of_it() -> None:
    torch.manual_seed(1)
    layer = Convolution2D(1, 4, 3, pool_size=2, band_pool_size=2, dropout=0.0)
    sound = torch.zeros(1, 1, 9, 24)
    sound[..., 6:10] = torch.randn(1, 1, 9, 4)
    lengths = torch.tensor([9])
    (low, frames), (high, _) = layer(sound, lengths), layer(sound.roll(8, dims=3), lengths)
    assert frames.tolist() == [5]
    torch.testing.assert_close(low.roll(4, dims=3), high)
    assert not torch.allclose(low, high)


@pytest.mark.parametrize(
    ("frames", "bands", "size", "pool_sizes"),
    [(1, 1, 3, (2, 2)), (1, 5, 2, (4, 3)), (7, 1, 4, (3, 2)), (5, 9, 5, (8, 16)), (6, 7, 1, (1, 1)), (9, 6, 6, (1, 4))],
    ids=["one place", "one frame", "one band", "one pool", "no pool", "even kernel"],
)
def test_a_convolution_over_bands_is_a_plain_sum(
    frames: int, bands: int, size: int, pool_sizes: tuple[int, int]
) -> None:
    torch.manual_seed(1)
    layer = Convolution2D(2, 3, size, pool_size=pool_sizes[0], band_pool_size=pool_sizes[1], dropout=0.5).eval()
    planes = torch.randn(1, 2, frames, bands)
    found, lengths = layer(planes, torch.tensor([frames]))
    weight, bias = (value.detach().numpy() for value in (layer.conv.weight, layer.conv.bias))
    heard = np.pad(planes[0].numpy(), [(0, 0), *[(size // 2, (size - 1) // 2)] * 2])
    sums = [
        [(heard[:, t : t + size, f : f + size] * weight).sum((1, 2, 3)) for f in range(bands)] for t in range(frames)
    ]
    summed = np.array(sums) + bias  # [T, F, 3]
    high, wide = pool_sizes
    expected = np.array(
        [[summed[t : t + high, f : f + wide].max((0, 1)) for f in range(0, bands, wide)]
         for t in range(0, frames, high)]
    )  # fmt: skip
    expected = (expected - expected.mean(-1, keepdims=True)) / np.sqrt(expected.var(-1, keepdims=True) + 1e-5)
    assert lengths.tolist() == [len(expected)]
    np.testing.assert_allclose(found[0].detach().permute(1, 2, 0), np.maximum(expected, 0), atol=1e-4)


def test_pooling_over_frames_keeps_the_last_ones() -> None:
    frames = torch.tensor([[[-3.0], [-1.0], [-2.0], [-5.0], [9.0], [9.0]]])
    pooled, lengths = pool(frames, torch.tensor([4]), 3)
    assert pooled.flatten().tolist() == [-1.0, -5.0]
    assert lengths.tolist() == [2]


def test_a_learned_filter_bank_takes_frames_as_computed_features_do() -> None:
    torch.manual_seed(0)
    filters = WaveFilters(6, window=20, shift=8)
    waves = [torch.randn(length) for length in (5, 20, 21, 100)]
    together, frames = filters(*pad(waves))
    assert frames.tolist() == [1, 1, 2, 11]
    for index, wave in enumerate(waves):
        alone, _ = filters(wave[None], torch.tensor([len(wave)]))
        torch.testing.assert_close(together[index, : frames[index]], alone[0], atol=1e-5, rtol=0)


def test_statistics_of_the_input_are_those_of_numpy_over_the_real_frames() -> None:
    statistics = InputStatistics(COLUMNS)
    measured = statistics.measure(*pad(clips())).numpy()
    for row, clip in zip(measured, clips(), strict=True):
        bins = clip.numpy().astype(np.float64)
        angles = np.pi / COLUMNS * (np.arange(COLUMNS)[:, None] + 0.5) * np.arange(COLUMNS)
        values = np.concatenate([bins, bins @ np.cos(angles) * math.sqrt(2 / COLUMNS)], axis=1)
        moved = np.abs(np.diff(values, axis=0)).mean(0) if len(values) > 1 else np.zeros(2 * COLUMNS)
        expected = [values.mean(0), np.sqrt(values.var(0) + 1e-6), moved]
        np.testing.assert_allclose(row, np.concatenate(expected), atol=1e-4)


def test_unknown_encoders_and_knobs_are_named() -> None:
    with pytest.raises(
        ModelError, match=r"encoder.type: got 'cnn'; there are: stacked_cnn_2d, stacked_cnn, parallel_cnn"
    ):
        build_encoder("cnn", COLUMNS, {})
    with pytest.raises(
        ModelError, match=r"encoder.num_heads: rnn has no such key; there are: bidirectional, cell_type"
    ):
        build_encoder("rnn", COLUMNS, {"num_heads": 2})
    with pytest.raises(ModelError, match="cell_type: got 'rnn'; there are: lstm, gru"):
        build_encoder("rnn", COLUMNS, {"cell_type": "rnn"})
    with pytest.raises(ModelError, match=r"got encoder\.filter_sizes 3, encoder\.pool_sizes 1"):
        build_encoder("stacked_cnn", COLUMNS, {"filter_sizes": [3, 3, 3], "pool_sizes": [2]})
    with pytest.raises(ModelError, match=r"no multiple of encoder.num_heads 5"):
        build_encoder("transformer", COLUMNS, {"hidden_size": 16, "num_heads": 5})
    assert options("rnn")["hidden_size"] == 96
