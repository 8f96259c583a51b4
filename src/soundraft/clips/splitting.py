"""Which clips are trained on, validated on, tested on: as they say themselves, drawn, or fold by fold."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from soundraft import runtime
from soundraft.clips.base import LabelledClips
from soundraft.manifest import SPLITS, Split
from soundraft.runtime import UserError
from soundraft.tables import shortened

LEAST_VALIDATION = 0.1  # of the clips that a fold does not test
FoldKind = Literal["official", "speaker", "k"]
FOLDS = get_args(FoldKind)
FOLDS_WITH_K = ("k", "speaker")  # of which one can say how many
Parts = dict[Split, LabelledClips]


@dataclass(frozen=True)
class SplitRule:
    """How clips are divided where they do not say it themselves.

    Attributes:
        kind: random; stratify: each label, or value of `column`, in its share; group: no value of `column` in two
            splits; fixed: as `column` says.
        probabilities: shares of train, validation and test.
        said: whether somebody asked for this; a column `split` of the data is then passed over.
    """

    kind: str = "random"
    probabilities: tuple[float, float, float] = (0.7, 0.1, 0.2)
    column: str | None = None
    said: bool = False

    def __str__(self) -> str:
        shares = "/".join(f"{100 * share:g}" for share in self.probabilities)
        if self.kind == "group":
            return f"drawn by {self.column}, {shares}"
        how = f"stratified by {self.column or 'label'}" if self.kind == "stratify" else "random"
        return f"drawn at {how}, {shares}" if how == "random" else f"drawn {how}, {shares}"


@dataclass(frozen=True)
class Fold:
    """One training of a cross-validation."""

    name: str
    parts: Parts


def draw(clips: LabelledClips, rule: SplitRule, *, target: str, seed: int, among: Sequence[Split] = SPLITS) -> Parts:
    """Divide clips; who comes where depends on the ids and the seed, not on the order of the clips.

    Args:
        among: the splits that are drawn; their shares are scaled up to 1.

    Raises:
        UserError: when a split would be empty, or the clips lack what the rule divides by.
    """
    shares = {split: share for split, share in zip(SPLITS, rule.probabilities, strict=True) if split in among}
    shares = {split: share / sum(shares.values()) for split, share in shares.items()}
    order = shuffled(clips.ids, seed)
    if rule.kind == "group":
        where = _dealt_groups(clips, order, shares, str(rule.column))
    else:
        values = clips.values(rule.column or target) if rule.kind == "stratify" else None
        if values is not None:
            order = sorted(order, key=lambda place: str(values[place]))
        where = dict(zip(order, _dealt(len(order), shares), strict=True))
        if values is not None:
            where |= _learned_too(order, where, values)
    parts = _parts(clips, where)
    empty = [split for split in shares if not len(parts[split])]
    if empty:
        raise UserError(f"{len(clips)} clips are too few to draw a {empty[0]} split from")
    return parts


def advice(clips: LabelledClips, drawn: Parts, rule: SplitRule, *, target: str, seed: int) -> str:
    """Which splits lack a label only because they were drawn at random, and what to declare instead; or nothing.

    Args:
        clips: from which all splits that have clips were drawn by the rule and the seed.
    """
    if rule.kind != "random":
        return ""
    among = [split for split in SPLITS if len(drawn[split])]
    better = draw(clips, replace(rule, kind="stratify"), target=target, seed=seed, among=among)
    lacking = {split: _labels_in(better[split], target) - _labels_in(drawn[split], target) for split in among}
    names = {split: shortened(map(repr, sorted(labels)), joint=" or ") for split, labels in lacking.items() if labels}
    told = {split: f"{split} has no clip of {each}" for split, each in names.items()}
    if not told:
        return ""
    return (
        f"drawn at random, {', '.join(told.values())}; preprocessing.split.type: stratify would give "
        f"{', '.join(told)} such clips"
    )


def _labels_in(clips: LabelledClips, target: str) -> set[str]:
    return {str(facts[target]) for facts in clips.facts if facts.get(target) is not None}


def shuffled(ids: Sequence[str], seed: int) -> list[int]:
    """Places in an order that the ids and the seed decide."""
    return sorted(range(len(ids)), key=lambda place: (runtime.derive_seed("split", seed, ids[place]), ids[place]))


def _dealt(count: int, shares: Mapping[Split, float]) -> list[Split]:
    """A split for each place, each always within a clip of its share of the places so far."""
    given: Counter[Split] = Counter()
    dealt = []
    for place in range(1, count + 1):
        split = max(shares, key=lambda each: shares[each] * place - given[each])
        given[split] += 1
        dealt.append(split)
    return dealt


def _learned_too(order: Sequence[int], where: Mapping[int, Split], values: Sequence[Any]) -> dict[int, Split]:
    """Train for a clip of each value that was dealt to other splits alone: what is not learned cannot be told."""
    learned = {str(values[place]) for place in order if where[place] == "train"}
    first = {str(values[place]): place for place in reversed(order)}
    return {place: "train" for value, place in first.items() if value not in learned}


def _dealt_groups(
    clips: LabelledClips, order: Sequence[int], shares: Mapping[Split, float], column: str
) -> dict[int, Split]:
    """A split for each place, one for all of a group, the groups in the order in which they come first."""
    groups = _groups(clips, column)
    ranked = list(dict.fromkeys(groups[place] for place in order))
    if len(ranked) < len(shares):
        raise UserError(
            f"{len(ranked)} different values of {column} are too few for {len(shares)} splits without overlap"
        )
    sizes = Counter(groups)
    given: Counter[Split] = Counter()
    of_group: dict[Hashable, Split] = {}
    total = len(groups)
    for place, group in enumerate(ranked):
        lacking = [split for split in shares if not given[split]]
        open_to = lacking if len(ranked) - place <= len(lacking) else list(shares)
        of_group[group] = max(open_to, key=lambda split: shares[split] * total - given[split])
        given[of_group[group]] += sizes[group]
    return {place: of_group[group] for place, group in enumerate(groups)}


def folds_of(clips: LabelledClips, kind: str, *, target: str, k: int | None, seed: int) -> list[Fold]:
    """The trainings of a cross-validation: each clip is tested once.

    What is validated is a tenth of the clips that are not tested, each label in its share: to hold out one more speaker
    would take a voice from few, and one speaker's clips say little of which epoch is the best.

    Args:
        kind: official (the fact `fold`), speaker (each one's clips, or with `k` those of several), k (stratified).
        k: how many folds; official ones are as many as there are.

    Raises:
        UserError: when there are too few folds, or clips lack fold or speaker.
    """
    if kind not in FOLDS:
        raise UserError(f"folds: got {kind!r}; there are {', '.join(FOLDS)}")
    if kind == "k":
        return _stratified(clips, target=target, k=5 if k is None else k, seed=seed)
    if kind == "official" and k is not None:
        raise UserError("official folds are as many as the clips have: leave k out")
    groups = [str(value) for value in _groups(clips, "fold" if kind == "official" else "speaker")]
    if kind == "speaker" and k is not None:
        names = sorted(set(groups), key=_natural)
        groups = _joined(groups, [names[place] for place in shuffled(names, seed)], k)
    names = sorted(set(groups), key=_natural)
    if len(names) < 2:
        raise UserError(f"{len(names)} folds by {kind}: it takes two or more, to learn and to test")
    tested = {name: {place for place, group in enumerate(groups) if group == name} for name in names}
    return [_fold(clips, name, places, target=target, seed=seed) for name, places in tested.items()]


def _fold(clips: LabelledClips, name: str, tested: Set[int], *, target: str, seed: int) -> Fold:
    rest = clips.part([place for place in range(len(clips)) if place not in tested])
    shares = (1 - LEAST_VALIDATION, LEAST_VALIDATION, 0.0)
    parts = draw(rest, SplitRule("stratify", shares), target=target, seed=seed, among=("train", "validation"))
    return Fold(name, {**parts, "test": clips.part(sorted(tested))})


def _stratified(clips: LabelledClips, *, target: str, k: int, seed: int) -> list[Fold]:
    if not 2 <= k <= len(clips):
        raise UserError(f"k {k}: give 2 to {len(clips)}, the number of clips")
    values = clips.values(target)
    order = sorted(shuffled(clips.ids, seed), key=lambda place: str(values[place]))
    tested = [{place for rank, place in enumerate(order) if rank % k == number} for number in range(k)]
    return [
        _fold(clips, f"{number}", places, target=target, seed=seed) for number, places in enumerate(tested, start=1)
    ]


def _joined(groups: Sequence[str], ranked: Sequence[str], k: int) -> list[str]:
    """`k` folds of about as many clips, no group in two: the largest first, each to the smallest fold."""
    if not 3 <= k <= len(ranked):
        raise UserError(f"k {k}: give 3 to {len(ranked)}, the number of speakers")
    sizes = Counter(groups)
    clips: Counter[int] = Counter()
    fold = {}
    for group in sorted(ranked, key=lambda each: -sizes[each]):
        fold[group] = min(range(1, k + 1), key=lambda number: clips[number])
        clips[fold[group]] += sizes[group]
    return [str(fold[group]) for group in groups]


def _groups(clips: LabelledClips, column: str) -> list[Hashable]:
    values: list[Any] = clips.values(column)
    unknown = [clips.ids[place] for place, value in enumerate(values) if value is None or value == ""]
    if unknown:
        raise UserError(f"{len(unknown)} of {len(clips)} clips have no {column}, {unknown[0]} first")
    return [str(value) for value in values]


def _parts(clips: LabelledClips, where: Mapping[int, Split]) -> Parts:
    places: dict[Split, list[int]] = defaultdict(list)
    for place in sorted(where):
        places[where[place]].append(place)
    return {split: clips.part(places[split]) for split in SPLITS}


def _natural(name: str) -> tuple[int, str]:
    """2 before 10."""
    return (int(name), "") if name.isdecimal() else (1 << 62, name)
