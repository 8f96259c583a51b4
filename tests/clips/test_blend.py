"""Trees of sources: shares by the formula at every level, drawn so, and what is refused."""

from typing import Any

import numpy as np
import pytest
import yaml

from soundraft.clips.blend import blended, draws, read_tree
from soundraft.runtime import UserError

NESTED = """
- type: group
  weight: 0.7
  tags: {task: near}
  input_cfg:
    - {type: nemo, manifest_filepath: a, weight: 600, tags: {room: small}}
    - type: group
      weight: 400
      input_cfg:
        - {type: nemo, manifest_filepath: b, weight: 9}
        - {type: lhotse, cuts_path: c, weight: 1}
- {type: lhotse_shar, shar_path: d, weight: 0.3}
"""
DOCUMENTED = """
- type: group
  input_cfg:
    - {type: lhotse_shar, shar_path: large, weight: 900}
    - {type: lhotse_shar, shar_path: small, weight: 100}
- {type: nemo_tarred, manifest_filepath: extra.json, tarred_audio_filepath: extra.tar, weight: 300}
"""


def probabilities(text: str, *args: Any, **options: Any) -> list[float]:
    return [leaf.probability for leaf in read_tree(yaml.safe_load(text), *args, **options).leaves]


def by_hand(temperatures: tuple[float, float, float]) -> list[float]:
    top, middle, low = temperatures
    first = 0.7**top / (0.7**top + 0.3**top)
    second = 600**middle / (600**middle + 400**middle)
    third = 9**low / (9**low + 1)
    return [first * second, first * (1 - second) * third, first * (1 - second) * (1 - third), 1 - first]


@pytest.mark.parametrize(
    ("given", "same"),
    [
        (None, (1, 1, 1)),
        (0.5, (0.5, 0.5, 0.5)),
        ([1.0, 0.0, 0.5], (1, 0, 0.5)),
        ([0.5, 0.0], (0.5, 0, 0)),
        ([0.2, 0.4, 0.6, 0.8, 1.0], (0.2, 0.4, 0.6)),
    ],
)
def test_draws_are_as_the_formula_has_them_at_every_level(given: Any, same: tuple[float, float, float]) -> None:
    tree, count = read_tree(yaml.safe_load(NESTED), given), 100_000
    assert [leaf.probability for leaf in tree.leaves] == pytest.approx(by_hand(same))
    drawn = np.bincount(draws(tree.leaves, count, seed=0), minlength=4) / count
    a, b, c, d = by_hand(same)
    ga, gb, gc, _ = drawn
    assert drawn == pytest.approx([a, b, c, d], abs=0.01)
    assert ga / (ga + gb + gc) == pytest.approx(a / (a + b + c), abs=0.01)  # among those of the group
    assert gb / (gb + gc) == pytest.approx(b / (b + c), abs=0.01)


def test_lists_of_another_length_are_said_and_refused_when_strict() -> None:
    tree = yaml.safe_load(NESTED)
    assert read_tree(tree, [0.5, 0.0]).notes == [
        "reweight_temperature has 2 values for 3 levels: 0 holds for the levels below"
    ]
    assert read_tree(tree, [0.1] * 5).notes == [
        "reweight_temperature has 5 values for 3 levels: the last 2 are left off"
    ]
    assert read_tree(tree, [0.1] * 3, strict=True).notes == read_tree(tree, 0.1, strict=True).notes == []
    for length in (2, 5):
        with pytest.raises(UserError, match=rf"{length} values for 3 levels, and strict is true: give 3"):
            read_tree(tree, [0.1] * length, strict=True)
    with pytest.raises(UserError, match="reweight_temperature: got -1; allowed: a number from 0"):
        read_tree(tree, -1)


def test_a_group_without_a_weight_weighs_as_much_as_its_children() -> None:
    assert probabilities(DOCUMENTED, 1.0) == pytest.approx([0.9 * 1000 / 1300, 0.1 * 1000 / 1300, 300 / 1300])
    root = [value**0.5 for value in (1000, 300, 900, 100)]
    group = root[0] / (root[0] + root[1])
    share = root[2] / (root[2] + root[3])
    assert probabilities(DOCUMENTED, 0.5) == pytest.approx([group * share, group * (1 - share), 1 - group])


def test_without_weights_all_are_alike() -> None:
    text = "[{type: nemo, manifest_filepath: a}, {type: nemo, manifest_filepath: b}]"
    assert probabilities(text) == [0.5, 0.5]


def test_tags_are_inherited() -> None:
    first, second, *_ = read_tree(yaml.safe_load(NESTED)).leaves
    assert (dict(first.tags), dict(second.tags)) == ({"task": "near", "room": "small"}, {"task": "near"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[{type: nemo, weight: 1}, {type: nemo}]", "input_cfg.1 has no weight, and others beside it have one"),
        ("[{type: nemo, weight: 0}]", "input_cfg.0.weight: got 0; allowed: a number above 0"),
        ("[{type: nemmo}]", "input_cfg.0.type: got 'nemmo'; allowed: group, lhotse, lhotse_shar, nemo, nemo_tarred"),
        ("[{type: group, input_cfg: []}]", "input_cfg.0.input_cfg: got .*; allowed: a list of sources"),
        ("[{type: nemo, weight: 1}, {type: group, input_cfg: [{type: nemo, weight: 1}, {type: nemo}]}]",
         "input_cfg.1 has no weight"),
    ],
)  # fmt: skip
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        probabilities(text)


def test_every_clip_of_a_source_comes_before_one_comes_again() -> None:
    leaves = read_tree(yaml.safe_load(DOCUMENTED)).leaves
    found = blended(leaves, [5, 3, 4], 40, seed=1)
    assert found == blended(leaves, [5, 3, 4], 40, seed=1)
    assert found != blended(leaves, [5, 3, 4], 40, seed=2)
    for leaf, size in enumerate((5, 3, 4)):
        own = [(place, times) for each, place, times in found if each == leaf]
        assert len({place for place, times in own if times == 0}) == min(size, len(own))
        assert len(set(own)) == len(own)
