import math
from typing import Any

import numpy as np
import pytest
import torch

from soundraft.models.base import ModelError, pad
from soundraft.models.encoders import ENCODERS, Convolution2D, WaveFilters, build_encoder, pool
from soundraft.models.networks import InputStatistics, Pooling, SideEncoder, SideInput, encode_row, fit_side_input
from tests.models.classifiers import SMALL, classifier, clips, knobs

COLUMNS = 10
POOLINGS = ("statistics", "attention", "mean", "max")


def frames_of(*lengths: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(length, COLUMNS, generator=generator) for length in lengths or (1, 7, 23, 90)]


def made(name: str, **changes: Any) -> Any:
    torch.manual_seed(1)
    return build_encoder(name, COLUMNS, knobs(name, **{"dropout": 0.0} | changes))


@pytest.mark.parametrize("name", ENCODERS)
def test_a_clip_gives_the_same_output_and_gradient_alone_and_in_a_padded_batch(name: str) -> None:
    encoder = made(name)
    poolings = [Pooling(kind, encoder.width) for kind in POOLINGS]
    padded, lengths = pad(frames_of())
    for row, length in zip(padded, lengths.tolist(), strict=True):
        row[length:] = 1e6
    together, shorter = encoder(padded, lengths)
    sum(pooling(together, shorter).sum() for pooling in poolings).backward()
    gradients = [weight.grad.clone() for weight in encoder.parameters()]
    encoder.zero_grad()
    for index, clip in enumerate(frames_of()):
        alone, length = encoder(clip[None], torch.tensor([len(clip)]))
        assert int(length) == int(shorter[index])
        torch.testing.assert_close(together[index, : int(length)], alone[0, : int(length)], atol=1e-5, rtol=0)
        parts = [pooling(alone, length) for pooling in poolings]
        for pooling, part in zip(poolings, parts, strict=True):
            torch.testing.assert_close(pooling(together, shorter)[index], part[0], atol=1e-5, rtol=0)
        sum(part.sum() for part in parts).backward()
    torch.testing.assert_close([weight.grad for weight in encoder.parameters()], gradients, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    ("name", "knob"), [(name, knob) for name in ENCODERS for knob in type(knobs(name)).model_fields]
)
def test_every_knob_changes_the_output(name: str, knob: str) -> None:
    def output(**changes: Any) -> torch.Tensor:
        encoder = made(name, **changes).train()
        return Pooling("mean", encoder.width)(*encoder(*pad(frames_of())))

    usual = getattr(knobs(name), knob)
    others: dict[str, Any] = {"cell_type": "lstm" if usual == "gru" else "gru", "bidirectional": False, "dropout": 0.2}
    other = others.get(knob, [usual[0] + 1, *usual[1:]] if isinstance(usual, list) else 2 * usual)
    plain, changed = output(), output(**{knob: other})
    assert plain.shape != changed.shape or not torch.allclose(plain, changed)


@pytest.mark.parametrize("name", [name for name in ENCODERS if "rnn" not in name])  # an RNN packs lengths of the CPU
def test_all_intermediate_tensors_are_where_the_frames_are(name: str) -> None:
    lengths = torch.empty(2, dtype=torch.long, device="meta")
    frames, lengths = made(name).to("meta")(torch.empty(2, 9, COLUMNS, device="meta"), lengths)
    assert frames.device.type == lengths.device.type == "meta"


@pytest.mark.parametrize("name", ["rnn", "cnnrnn", "transformer"])
def test_the_order_of_frames_matters_even_to_the_mean(name: str) -> None:
    encoder = made(name).eval()
    mean, lengths = Pooling("mean", encoder.width), torch.tensor([48])
    (clip,) = frames_of(48)
    blocks = clip.reshape(6, 8, COLUMNS).flip(0).reshape(48, COLUMNS)
    assert not torch.allclose(mean(*encoder(clip[None], lengths)), mean(*encoder(blocks[None], lengths)), atol=1e-3)


def test_spectra_side_by_side_are_planes_that_do_not_touch() -> None:
    """The highest band of one channel must not be the neighbour of the lowest one of the next."""
    encoder: Any = build_encoder(
        "stacked_cnn_2d", 2 * COLUMNS, knobs("stacked_cnn_2d", band_pool_sizes=[1, 1]), planes=2
    )
    seen: list[torch.Tensor] = []
    encoder.layers[0].conv.register_forward_hook(lambda _, __, output: seen.append(output.detach()))
    frames = torch.randn(1, 9, 2 * COLUMNS)
    other = frames.clone()
    other[:, :, COLUMNS] += 1.0  # the lowest band of the second channel
    for each in (frames, other):
        encoder(each, torch.tensor([9]))
    changed = (seen[0] != seen[1]).any(dim=2).any(dim=1)[0]
    assert changed.tolist() == [True, True] + [False] * (COLUMNS - 2)


@pytest.mark.parametrize(
    ("frames", "bands", "size", "pool_sizes"),
    [(1, 1, 3, (2, 2)), (1, 5, 2, (4, 3)), (7, 1, 4, (3, 2)), (5, 9, 5, (8, 16)), (6, 7, 1, (1, 1)), (9, 6, 6, (1, 4))],
)
def test_a_convolution_over_bands_is_a_plain_sum(
    frames: int, bands: int, size: int, pool_sizes: tuple[int, int]
) -> None:
    torch.manual_seed(1)
    layer = Convolution2D(2, 3, size, pool_size=pool_sizes[0], band_pool_size=pool_sizes[1], dropout=0.5).eval()
    planes = torch.randn(1, 2, frames, bands)
    found, lengths = layer(planes, torch.tensor([frames]))
    weight, bias = (value.detach().numpy() for value in (layer.conv.weight, layer.conv.bias))
    around = np.pad(planes[0].numpy(), [(0, 0), *[(size // 2, (size - 1) // 2)] * 2])
    sums = [
        [(around[:, t : t + size, f : f + size] * weight).sum((1, 2, 3)) for f in range(bands)] for t in range(frames)
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
    assert (pooled.flatten().tolist(), lengths.tolist()) == ([-1.0, -5.0], [2])


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
    measured = InputStatistics(COLUMNS).measure(*pad(frames_of())).numpy()
    for row, clip in zip(measured, frames_of(), strict=True):
        bins = clip.numpy().astype(np.float64)
        angles = np.pi / COLUMNS * (np.arange(COLUMNS)[:, None] + 0.5) * np.arange(COLUMNS)
        values = np.concatenate([bins, bins @ np.cos(angles) * math.sqrt(2 / COLUMNS)], axis=1)
        moved = np.abs(np.diff(values, axis=0)).mean(0) if len(values) > 1 else np.zeros(2 * COLUMNS)
        expected = values.mean(0), np.sqrt(values.var(0) + 1e-6), moved
        np.testing.assert_allclose(row, np.concatenate(expected), atol=1e-4)


def test_knobs_that_do_not_fit_together_are_refused() -> None:
    for name, changes in (("stacked_cnn", {"pool_sizes": [2]}), ("transformer", {"num_heads": 5})):
        with pytest.raises(ModelError, match=next(iter(changes))):
            made(name, **changes)
    assert ENCODERS.keys() == SMALL.keys()


# Side inputs.


AGES = [20, 30, None, 40]
SIDE = (fit_side_input("room", "category", ["hall", "car", "hall", None]), fit_side_input("age", "number", AGES))


def test_numbers_are_z_scores_and_missing_ones_are_flagged() -> None:
    expected = (50 - np.mean([20, 30, 40])) / np.std([20, 30, 40])
    assert encode_row(SIDE, {"room": "car", "age": "50"}).tolist() == pytest.approx([1.0, expected, 0.0])
    for missing in (None, math.nan, np.float32("nan"), ""):
        assert encode_row(SIDE, {"room": "car", "age": missing}).tolist() == [1.0, 0.0, 1.0]
    for number in (0.1, 37.7, 5):  # the same in all training clips: it keeps its scale
        item = fit_side_input("age", "number", [number] * 7)
        assert item.encode(number + 2)[0] == pytest.approx(2.0)
    assert SideInput(name="age", type="number", mean=1.0, std=2.0).encode(5) == [2.0, 0.0]


def test_a_category_is_its_index_however_a_table_writes_it_and_unknown_ones_are_the_mean() -> None:
    assert [SIDE[0].encode(room)[0] for room in ("car", "hall", "street", None)] == [1.0, 2.0, 0.0, 0.0]
    for values in ([1, 2, 10], ["1.0", "2.0", "10.0"], [1.0, 2.0, 10.0]):
        room = fit_side_input("room", "category", values)
        assert [room.encode(value)[0] for value in (10, "10", "10.0", 10.0)] == [2.0] * 4
    assert fit_side_input("v", "category", ["1.5", "v1.0", ".0", "1."]).vocabulary == [".0", "1.", "1.5", "v1.0"]
    encoder = SideEncoder(SIDE)
    vectors = encoder(torch.stack([encode_row(SIDE, {"room": room, "age": 30}) for room in ("car", "hall", "street")]))
    assert vectors.shape == (3, encoder.width) == (3, 4)
    torch.testing.assert_close(vectors[2], vectors[:2].mean(0))


def test_side_inputs_change_the_answer_and_nothing_else_of_the_batch() -> None:
    model = classifier(side=SIDE)
    plain = clips(3, seed=1).features
    rows = [{"room": "hall", "age": 20}, {"room": "car", "age": 20}, {"room": "hall", "age": None}]
    same = [model.with_side(plain[0], row) for row in rows]
    logits = model.encode(same)
    assert (logits[1:] - logits[:1]).abs().amax(1).min() > 1e-3
    longer = [model.with_side(plain[1].repeat(5, 1), rows[0]), same[0]]
    torch.testing.assert_close(model.encode(longer)[1], logits[0], atol=1e-5, rtol=0)
    assert model.with_side(torch.zeros(5), rows[0]).shape == (5, 4)
    with pytest.raises(ModelError, match="age"):
        model.encode([torch.zeros(30, 2)])


@pytest.mark.parametrize("row", [{"room": "car", "age": "old"}, {"room": "car", "age": math.inf}, {"room": "car"}])
def test_rows_that_cannot_be_encoded_name_the_input(row: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="input age"):
        encode_row(SIDE, row)
    with pytest.raises(ModelError, match="input age"):
        fit_side_input("age", "number", [None, math.nan])
