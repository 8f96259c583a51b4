"""Several sources learned as one: a tree of sources with weights, and how likely a draw is to come from each.

    - type: group                                    level 1
      weight: 0.7
      input_cfg:
        - {type: nemo, manifest_filepath: a.json, weight: 600}    level 2
        - {type: nemo, manifest_filepath: b.json, weight: 400}
    - {type: lhotse, cuts_path: c.jsonl.gz, weight: 0.3}

Among the children of one group the share of each is `wᵗ / Σ wᵗ` with the temperature t of its level: 1 keeps the
weights, 0 makes all alike. A source is drawn with the product of the shares on the way to it. A group without a weight
beside weighted ones weighs as much as its children together; weights at some but not all of a level are refused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from soundraft import files, runtime
from soundraft.runtime import UserError

TYPES = ("group", "lhotse", "lhotse_shar", "nemo", "nemo_tarred")
Temperature = float | Sequence[float] | None


@dataclass(frozen=True)
class Leaf:
    """A source in the tree.

    Attributes:
        entry: its keys, such as manifest_filepath.
        path: places from the top on, by which it is called.
        shares: of it and of the groups around it, each among its neighbours, the outermost first.
        tags: facts of its clips, its own and those of the groups around it.
    """

    entry: Mapping[str, Any]
    path: tuple[int, ...]
    shares: tuple[float, ...]
    tags: Mapping[str, Any] = field(default_factory=dict)

    @property
    def probability(self) -> float:
        return float(np.prod(self.shares))


@dataclass(frozen=True)
class Tree:
    leaves: list[Leaf]
    notes: list[str]


def read_tree(given: Any, temperature: Temperature = None, *, strict: bool = False, place: str = "input_cfg") -> Tree:
    """The sources of a tree, with their shares.

    Args:
        given: what `input_cfg` holds, or the YAML file with it.
        temperature: of all levels, or a list with one a level. The last of a list that is too short holds for the
            levels below, and what is too long is left off, with a note; `strict`: either is refused.

    Raises:
        UserError: naming the place of what is wrong.
    """
    given = files.read_yaml(Path(given)) if isinstance(given, str | Path) else given
    temperatures, notes = _temperatures(temperature, depth(given, place), strict)
    leaves = list(_leaves(given, place, temperatures, (), (), {}))
    return Tree(leaves, notes)


def depth(given: Any, place: str = "input_cfg") -> int:
    """How many levels there are."""
    groups = [_children(each, f"{place}.{n}") for n, each in enumerate(_entries(given, place)) if _is_group(each)]
    return 1 + max((depth(children, f"{place}.input_cfg") for children in groups), default=0)


def draws(leaves: Sequence[Leaf], count: int, seed: int) -> np.ndarray:
    """The place of the leaf that each of `count` draws comes from."""
    random = np.random.default_rng(runtime.derive_seed("blend", seed))
    shares = np.array([leaf.probability for leaf in leaves])
    return random.choice(len(leaves), count, p=shares / shares.sum())


def blended(leaves: Sequence[Leaf], sizes: Sequence[int], count: int, seed: int) -> list[tuple[int, int, int]]:
    """Which clip of which leaf each of `count` draws is, and how often it was drawn before.

    Each leaf gives its clips in a random order, all of them before one comes again.
    """
    orders = [
        np.random.default_rng(runtime.derive_seed("order", seed, *leaf.path)).permutation(size)
        for leaf, size in zip(leaves, sizes, strict=True)
    ]
    given, found = [0] * len(leaves), []
    for leaf in draws(leaves, count, seed).tolist():
        times, place = divmod(given[leaf], sizes[leaf])
        found.append((leaf, int(orders[leaf][place]), times))
        given[leaf] += 1
    return found


def _temperatures(given: Temperature, levels: int, strict: bool) -> tuple[list[float], list[str]]:
    if given is None or isinstance(given, int | float):
        values = [1.0 if given is None else float(given)] * levels
    else:
        values = [float(each) for each in given]
    if not values or not np.isfinite(values).all() or min(values) < 0:
        raise UserError(f"reweight_temperature: got {given!r}; allowed: a number from 0, or a list of them")
    if len(values) == levels:
        return values, []
    problem = f"reweight_temperature has {len(values)} values for {levels} levels"
    if strict:
        raise UserError(f"{problem}, and strict is true: give {levels}, or one number for all")
    if len(values) < levels:
        return values + values[-1:] * (levels - len(values)), [f"{problem}: {values[-1]:g} holds for the levels below"]
    return values[:levels], [f"{problem}: the last {len(values) - levels} are left off"]


def _leaves(
    given: Any, place: str, temperatures: Sequence[float], path: tuple[int, ...], shares: tuple[float, ...],
    tags: Mapping[str, Any],
) -> Any:  # fmt: skip
    entries = _entries(given, place)
    own = _shares(entries, place, temperatures[0])
    for number, (entry, share) in enumerate(zip(entries, own, strict=True)):
        where, here, tagged = (*path, number), (*shares, share), {**tags, **(entry.get("tags") or {})}
        if _is_group(entry):
            inner = f"{place}.{number}"
            yield from _leaves(_children(entry, inner), f"{inner}.input_cfg", temperatures[1:], where, here, tagged)
        else:
            yield Leaf(entry, where, here, tagged)


def _shares(entries: Sequence[Mapping[str, Any]], place: str, temperature: float) -> list[float]:
    weights = [_weight(entry, f"{place}.{number}") for number, entry in enumerate(entries)]
    without = [f"{place}.{number}" for number, weight in enumerate(weights) if weight is None]
    if without and len(without) < len(weights):
        raise UserError(f"{without[0]} has no weight, and others beside it have one: give all of them one, or none")
    powers = np.array([1.0 if weight is None else weight for weight in weights]) ** temperature
    found: list[float] = (powers / powers.sum()).tolist()
    return found


def _weight(entry: Mapping[str, Any], place: str) -> float | None:
    """Its own; of a group without one the sum of its children's."""
    weight = entry.get("weight")
    if weight is not None:
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < float("inf"):
            raise UserError(f"{place}.weight: got {weight!r}; allowed: a number above 0")
        return float(weight)
    if not _is_group(entry):
        return None
    inner = [_weight(each, f"{place}.input_cfg.{n}") for n, each in enumerate(_children(entry, place))]
    known = [each for each in inner if each is not None]
    return sum(known) if len(known) == len(inner) else None


def _is_group(entry: Mapping[str, Any]) -> bool:
    return entry.get("type") == "group"


def _children(entry: Mapping[str, Any], place: str) -> list[Mapping[str, Any]]:
    inner = entry.get("input_cfg")
    return _entries(files.read_yaml(Path(inner)) if isinstance(inner, str | Path) else inner, f"{place}.input_cfg")


def _entries(given: Any, place: str) -> list[Mapping[str, Any]]:
    given = files.read_yaml(Path(given)) if isinstance(given, str | Path) else given
    if not isinstance(given, list) or not given or not all(isinstance(each, Mapping) for each in given):
        raise UserError(f"{place}: got {given!r:.60}; allowed: a list of sources, each with its type")
    for number, each in enumerate(given):
        if each.get("type") not in TYPES:
            raise UserError(f"{place}.{number}.type: got {each.get('type')!r}; allowed: {', '.join(TYPES)}")
        tags = each.get("tags")
        if tags is not None and not isinstance(tags, Mapping):
            raise UserError(f"{place}.{number}.tags: got {tags!r:.60}; allowed: keys with values")
    return given
