import math

import numpy as np
import pytest
import torch

from soundraft.models.base import ModelError
from soundraft.models.networks import SideEncoder, SideInput, encode_row, fit_side_input, with_columns
from tests.models.classifiers import classifier, clips

AGES = [20, 30, None, 40]
SIDE = (fit_side_input("room", "category", ["hall", "car", "hall", None]), fit_side_input("age", "number", AGES))


def test_numbers_are_z_scores_and_missing_ones_are_flagged() -> None:
    expected = (50 - np.mean([20, 30, 40])) / np.std([20, 30, 40])
    assert encode_row(SIDE, {"room": "car", "age": "50"}).tolist() == pytest.approx([1.0, expected, 0.0])
    for missing in (None, math.nan, np.float32("nan"), ""):
        assert encode_row(SIDE, {"room": "car", "age": missing}).tolist() == [1.0, 0.0, 1.0]


@pytest.mark.parametrize(("number", "clips"), [(0.1, 7), (37.7, 7), (5, 3)])
def test_a_number_that_is_the_same_in_all_training_clips_keeps_its_scale(number: float, clips: int) -> None:
    item = fit_side_input("age", "number", [number] * clips)
    assert item.std == 1.0
    assert item.encode(number + 2)[0] == pytest.approx(2.0)


def test_categories_have_an_index_and_unknown_ones_none() -> None:
    assert SIDE[0].vocabulary == ("car", "hall")
    values = [encode_row(SIDE, {"room": room, "age": 30})[0].item() for room in ("car", "hall", "street", None)]
    assert values == [1.0, 2.0, 0.0, 0.0]


def test_a_category_that_is_a_number_is_the_same_however_a_table_writes_it() -> None:
    for values in ([1, 2, 10], ["1.0", "2.0", "10.0"], [1.0, 2.0, 10.0]):
        room = fit_side_input("room", "category", values)
        assert room.vocabulary == ("1", "10", "2")
        assert [room.encode(value)[0] for value in (10, "10", "10.0", 10.0)] == [2.0] * 4
    version = fit_side_input("version", "category", ["1.5", "v1.0", ".0", "1."])
    assert version.vocabulary == (".0", "1.", "1.5", "v1.0")


def test_an_unknown_category_is_the_mean_of_the_known_ones() -> None:
    encoder = SideEncoder(SIDE)
    vectors = encoder(torch.stack([encode_row(SIDE, {"room": room, "age": 30}) for room in ("car", "hall", "street")]))
    assert vectors.shape == (3, encoder.width) == (3, 4)
    torch.testing.assert_close(vectors[2], vectors[:2].mean(0))


def test_an_embedding_is_as_wide_as_its_vocabulary_up_to_50() -> None:
    wide = fit_side_input("id", "category", [str(number) for number in range(120)])
    assert (SIDE[0].width, wide.width) == (2, 50)


def test_side_inputs_change_the_answer_and_nothing_else_of_the_batch() -> None:
    model = classifier(side=SIDE)
    plain = clips(3, seed=1).features
    rows = [{"room": "hall", "age": 20}, {"room": "car", "age": 20}, {"room": "hall", "age": None}]
    same = [model.with_side(plain[0], row) for row in rows]
    logits = model.encode(same)
    assert (logits[1:] - logits[:1]).abs().amax(1).min() > 1e-3
    longer = [model.with_side(plain[1].repeat(5, 1), rows[0]), same[0]]
    torch.testing.assert_close(model.encode(longer)[1], logits[0], atol=1e-5, rtol=0)


def test_samples_with_side_columns() -> None:
    assert with_columns(torch.zeros(5), torch.ones(2)).tolist() == [[0, 1, 1]] * 5
    assert with_columns(torch.zeros(5), torch.ones(0)).shape == (5,)


def test_what_is_wrong_is_named() -> None:
    with pytest.raises(ModelError, match="input age: 'old' is no number"):
        encode_row(SIDE, {"room": "car", "age": "old"})
    with pytest.raises(ModelError, match="input age: inf is infinite"):
        encode_row(SIDE, {"room": "car", "age": math.inf})
    with pytest.raises(ModelError, match="input age is not in the row; it has: room"):
        encode_row(SIDE, {"room": "car"})
    with pytest.raises(ModelError, match="type is 'text'; beside audio there are: category, number"):
        fit_side_input("note", "text", ["a"])
    with pytest.raises(ModelError, match="no training clip has a value"):
        fit_side_input("age", "number", [None, math.nan])
    with pytest.raises(ModelError, match="lack the columns of"):
        classifier(side=SIDE).encode([torch.zeros(30, 2)])
    assert SideInput("age", "number", mean=1.0, std=2.0).encode(5) == [2.0, 0.0]
