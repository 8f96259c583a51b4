"""Every rule that puts clips into splits: by group, as a stream is read, official folds, as declared, fold by fold."""

from collections import Counter, defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any, Literal, Protocol, get_args

from soundraft import runtime
from soundraft.manifest import SPLITS, Clip, Split
from soundraft.parallel import BadClip
from soundraft.runtime import UserError

HELD_OUT_SHARE: Mapping[Split, float] = {"test": 0.1, "validation": 0.1}

Kind = Literal["speaker", "source", "text", "audio", "content"]
Key = tuple[Kind, str]


def assign_splits(clips: Sequence[Clip], seed: int, contents: Mapping[str, str] | None = None) -> list[Clip]:
    """The clips of a manifest in their order, each with a split, as `group_splits` has it.

    Args:
        contents: by id, a hash of the audio, of the clips that share it with another one, and of those of which neither
            speaker, source nor text is known.
    """
    keys = [clip_keys(clip, contents or {}) for clip in clips]
    splits = group_splits(keys, [clip.split for clip in clips], seed=seed)
    return [clip.model_copy(update={"split": split}) for clip, split in zip(clips, splits, strict=True)]


def group_splits(
    keys: Sequence[Sequence[Key]],
    given: Sequence[Split | None],
    *,
    seed: int,
    shares: Mapping[Split, float] = HELD_OUT_SHARE,
) -> list[Split]:
    """A split for each clip: the given one, else that of its group. The rule wherever the user asks for no other.

    A group is what must not be divided: clips that share a speaker, a source recording or their audio, also by way of a
    third clip; without speaker and source, clips that share their text. A group with a given split stays there (with
    several: in the first of train, validation, test). The others stand in an order drawn by the hash of their name:
    test takes them from its front and validation from its back until each has its share of all clips, so that a new
    clip moves at most the group at each border. With three groups or more no split is empty.

    Args:
        keys: of each clip what ties it to others, the most telling first.
        shares: of the splits that are held out.
    """
    groups = _tied(keys)
    chosen: dict[Key, Split | None] = {}
    for name, places in groups.items():
        own = {given[place] for place in places}
        chosen[name] = next((split for split in SPLITS if split in own), None)
    sizes = Counter(given[place] or chosen[name] for name, places in groups.items() if chosen[name] for place in places)
    free = {name: len(places) for name, places in groups.items() if chosen[name] is None}
    order = sorted(free, key=lambda name: (runtime.derive_seed("split", seed, *name), name))
    drawn = _hold_out(order, free, sizes, shares)
    of_place = {place: chosen[name] or drawn[name] for name, places in groups.items() for place in places}
    return [split or of_place[place] for place, split in enumerate(given)]


def hashed_split(seed: int, group: Key) -> Split:
    """The split that a group draws by its name alone: for what is read as a stream. Of few groups a split gets none."""
    place = runtime.derive_seed("stream", seed, *group) / 2**63
    held_out = 0.0
    for split, share in HELD_OUT_SHARE.items():
        held_out += share
        if place < held_out:
            return split
    return "train"


def fold_split(fold: int, test_fold: int, folds: int) -> Split:
    """The split of an official fold, both from 1: `test_fold` is test, the next one (1 after the last) validation."""
    for number in (fold, test_fold):
        if not 1 <= number <= folds:
            raise UserError(f"no fold {number}: there are folds 1 to {folds}")
    if fold == test_fold:
        return "test"
    return "validation" if fold == test_fold % folds + 1 else "train"


def clip_keys(clip: Clip, contents: Mapping[str, str]) -> list[Key]:
    own: Key = ("content", contents[clip.id]) if clip.id in contents else ("audio", clip.audio_path)
    return [*known_origin(clip), own]


def known_origin(clip: Clip) -> list[Key]:
    """What is known of where a clip of a manifest comes from."""
    text = clip.text if clip.task == "asr" else None
    return origin_keys(clip.speaker, clip.metadata.get("source"), text)


def origin_keys(speaker: str | None, source: object, text: str | None) -> list[Key]:
    """What is known of where a clip comes from, the most telling first: its text only where nothing else is."""
    keys: list[Key] = []
    if speaker:
        keys.append(("speaker", speaker))
    if source not in (None, ""):
        keys.append(("source", str(source)))
    if not keys and text and text.strip():
        keys.append(("text", " ".join(text.casefold().split())))
    return keys


def _tied(keys: Sequence[Sequence[Key]]) -> dict[Key, list[int]]:
    """Places of clips that are tied to each other, by the name of the group: the first of its most telling keys."""
    parents: dict[Key, Key] = {}

    def telling(key: Key) -> tuple[int, str]:
        return get_args(Kind).index(key[0]), key[1]

    def root(key: Key) -> Key:
        while parents.setdefault(key, key) != key:
            parents[key] = key = parents[parents[key]]
        return key

    for first, *others in keys:
        for other in others:
            parents[root(other)] = root(first)
    members: dict[Key, list[int]] = defaultdict(list)
    for place, own in enumerate(keys):
        members[root(own[0])].append(place)
    # named after what new clips of the same speakers do not change
    return {min((keys[place][0] for place in places), key=telling): places for places in members.values()}


def _hold_out(
    order: list[Key], free: Mapping[Key, int], sizes: Counter[Split | None], shares: Mapping[Split, float]
) -> dict[Key, Split]:
    """Which of the free groups are held out; the rest is train.

    Args:
        order: their names.
        free: how many clips each has.
        sizes: how many clips each split has already.
    """
    total, smallest = sum(free.values()) + sum(sizes.values()), sorted(free.values())[:2]
    # a larger group is train's, as long as two others are left
    most = max(min(shares.values()) * total, 2 * smallest[-1] if smallest else 0)
    queue = deque(name for name in order if free[name] <= most)
    spare = 0 if sizes["train"] or len(queue) < len(order) else 1  # the one that must be left for train
    drawn: dict[Key, Split] = dict.fromkeys(order, "train")
    counts = sizes.copy()

    def has_room(split: Split) -> bool:
        """Whether the next group brings a split nearer to its share, or it has none yet."""
        following = free[queue[0 if split == "test" else -1]]
        return counts[split] == 0 or counts[split] + following / 2 <= shares[split] * total

    for split in cycle(shares):
        wanted = {each for each in shares if len(queue) > spare and has_room(each)}
        if not wanted:
            break
        if split in wanted:
            name = queue.popleft() if split == "test" else queue.pop()
            drawn[name] = split
            counts[split] += free[name]
    return drawn


class Drawing:
    """Our splits, drawn out of one split of a source while it is read.

    A clip's split depends on the seed and its group alone. So it is the same however much of the source is read, and
    what one request takes for training no other one takes for its test. A clip that is tied to an earlier one of
    another split, as by the same recording under two speakers' names, is rejected.

    Attributes:
        groups: how many different groups there were so far, of each kind.
    """

    def __init__(self, seed: int, served: Sequence[Split], *, by_source: bool) -> None:
        """
        Args:
            served: the splits that are drawn; what would be of another one is of the first.
            by_source: whether `metadata["source"]` names the source recording; it may be any column of that name.
        """
        self._seed, self._served, self._by_source = seed, served, by_source
        self._first: dict[Key, tuple[str, Split]] = {}
        self.groups: Counter[str] = Counter()

    def split_of(self, fields: Mapping[str, Any], content: str) -> Split:
        """The split of a clip whose audio has the hash `content`.

        Raises:
            BadClip: when its source or its audio is an earlier clip's of another split.
        """
        text = fields.get("text") if fields["task"] == "asr" else None
        source = fields["metadata"].get("source") if self._by_source else None
        keys: list[Key] = [*origin_keys(fields.get("speaker"), source, text), ("content", content)]
        drawn = hashed_split(self._seed, keys[0])
        split = drawn if drawn in self._served else self._served[0]
        for key in keys[1:]:
            first, other = self._first.get(key, ("", split))
            if other != split:
                raise BadClip(f"same {key[0]} as {first}, which is of {other}; its {keys[0][0]} is of {split}")
        self.groups[keys[0][0]] += keys[0] not in self._first
        for key in keys:
            self._first.setdefault(key, (fields["id"], split))
        return split


class Described(Protocol):
    """Clips of which more is known, as `clips.base.Clips`."""

    @property
    def ids(self) -> list[str]: ...

    def values(self, name: str) -> list[Any]: ...

    def contents(self) -> list[str | None]: ...

    def part(self, indices: Sequence[int]) -> "Described": ...


@dataclass(frozen=True)
class SplitRule:
    """How a declaration asks clips to be divided.

    Attributes:
        kind: random; stratify: each label, or value of `column`, in its share; group: no value of `column` in two
            splits; fixed: as `column` says.
        probabilities: shares of train, validation and test.
    """

    kind: str = "random"
    probabilities: tuple[float, float, float] = (0.7, 0.1, 0.2)
    column: str | None = None

    def __str__(self) -> str:
        shares = "/".join(f"{100 * share:g}" for share in self.probabilities)
        how = {"group": f"by {self.column}", "stratify": f"stratified by {self.column or 'label'}"}
        return f"drawn {how.get(self.kind, 'at random')}, {shares}"


def draw(
    clips: Described, rule: SplitRule, *, target: str, seed: int, among: Sequence[Split] = SPLITS,
    names: Sequence[str] | None = None,
) -> list[Split]:  # fmt: skip
    """A split for each clip as a rule asks; it depends on the audio and the seed, not on order and names of the clips.

    Args:
        among: the splits that are drawn; their shares are scaled up to 1.
        names: `names_by_content` of the clips, where they are known.
    """
    shares = {split: share for split, share in zip(SPLITS, rule.probabilities, strict=True) if split in among}
    shares = {split: share / sum(shares.values()) for split, share in shares.items()}
    order = _shuffled(names or names_by_content(clips), seed)
    if rule.kind == "group":
        splits = _deal_groups(_known(clips, str(rule.column)), order, shares)
    elif rule.kind == "stratify":
        values = [_each_value(value) for value in clips.values(rule.column or target)]
        counts = Counter(name for names in values for name in names)
        # a clip with several labels counts for the rarest of them
        stratum = [min(names, key=lambda name: (counts[name], name), default="") for names in values]
        order = sorted(order, key=lambda place: stratum[place])
        splits = _with_every_value_in_train(_deal(order, shares), order, values)
    else:
        splits = _deal(order, shares)
    empty = [split for split in shares if split not in splits]
    if empty:
        raise UserError(f"{len(splits)} clips are too few to draw a {empty[0]} split from")
    return splits


def names_by_content(clips: Described) -> list[str]:
    """A name of each clip that stays when its file moves: the hash of its audio, and where files are alike a number by
    their ids; the id where the audio cannot be read.
    """
    contents, places = clips.contents(), sorted(range(len(clips.ids)), key=lambda place: clips.ids[place])
    seen: Counter[str] = Counter()
    names = list(clips.ids)
    for place in places:
        content = contents[place]
        if content is not None:
            names[place] = f"{content} {seen[content]}"
            seen[content] += 1
    return names


def _shuffled(names: Sequence[str], seed: int) -> list[int]:
    """Places in an order that the names and the seed decide."""
    return sorted(range(len(names)), key=lambda place: (runtime.derive_seed("split", seed, names[place]), names[place]))


def _deal(order: Sequence[int], shares: Mapping[Split, float]) -> list[Split]:
    """A split for each place, each always within a clip of its share of the places so far."""
    given: Counter[Split] = Counter()
    dealt: dict[int, Split] = {}
    for count, place in enumerate(order, start=1):
        dealt[place] = max(shares, key=lambda each: shares[each] * count - given[each])
        given[dealt[place]] += 1
    return [dealt[place] for place in range(len(order))]


def _each_value(value: Any) -> list[str]:
    """As texts: the value, or each of a list."""
    return [str(each) for each in value] if isinstance(value, list) else [str(value)]


def _with_every_value_in_train(
    splits: list[Split], order: Sequence[int], values: Sequence[Sequence[str]]
) -> list[Split]:
    """The same with a clip in train of each value that was dealt to other splits alone."""
    trained = {name for names, split in zip(values, splits, strict=True) if split == "train" for name in names}
    first = {name: place for place in reversed(order) for name in values[place]}
    moved = {place for value, place in first.items() if value not in trained}
    return ["train" if place in moved else split for place, split in enumerate(splits)]


def _deal_groups(groups: Sequence[str], order: Sequence[int], shares: Mapping[Split, float]) -> list[Split]:
    """A split for each place, one for all of a group, the groups in the order in which they come first."""
    ranked = list(dict.fromkeys(groups[place] for place in order))
    if len(ranked) < len(shares):
        raise UserError(f"{len(ranked)} groups are too few for {len(shares)} splits without overlap")
    sizes, given = Counter(groups), Counter[Split]()
    of_group: dict[str, Split] = {}
    for place, group in enumerate(ranked):
        lacking = [split for split in shares if not given[split]]
        open_to = lacking if len(ranked) - place <= len(lacking) else list(shares)
        of_group[group] = max(open_to, key=lambda split: shares[split] * len(groups) - given[split])
        given[of_group[group]] += sizes[group]
    return [of_group[group] for group in groups]


FoldKind = Literal["official", "speaker", "k"]
FOLDS = get_args(FoldKind)
FOLDS_WITH_K = ("k", "speaker")  # those whose number the user can choose
VALIDATION_SHARE = 0.1  # of the clips that a fold does not test


def folds_of(clips: Described, kind: str, *, target: str, k: int | None, seed: int) -> dict[str, list[Split]]:
    """The trainings of a cross-validation by name, each with a split for every clip: each clip is tested once.

    Validation is a tenth of the clips that are not tested, each label in its share: to hold out one more speaker would
    take a voice from few, and one speaker's clips say little of which epoch is the best.

    Args:
        kind: official (the fact `fold`), speaker (each one's clips, or with `k` those of several), k (stratified).
        k: how many folds; official ones are as many as there are.
    """
    if kind not in FOLDS:
        raise UserError(f"folds: got {kind!r}; there are {', '.join(FOLDS)}")
    if kind == "official" and k is not None:
        raise UserError("official folds are as many as the clips have: leave k out")
    contents = names_by_content(clips)
    if kind == "k":
        folds = _stratified(clips, contents, target=target, k=5 if k is None else k, seed=seed)
    else:
        folds = _known(clips, "fold" if kind == "official" else "speaker")
        folds = folds if k is None else _joined(folds, k, seed)
    names = sorted(set(folds), key=_natural)
    if len(names) < 2:
        raise UserError(f"{len(names)} folds by {kind}: it takes two or more, to train and to test")
    return {name: _fold(clips, contents, [fold == name for fold in folds], target=target, seed=seed) for name in names}


def _fold(clips: Described, contents: Sequence[str], tested: Sequence[bool], *, target: str, seed: int) -> list[Split]:
    places = [place for place, held_out in enumerate(tested) if not held_out]
    rest, names = clips.part(places), [contents[place] for place in places]
    rule = SplitRule("stratify", (1 - VALIDATION_SHARE, VALIDATION_SHARE, 0.0))
    drawn = iter(draw(rest, rule, target=target, seed=seed, among=("train", "validation"), names=names))
    return ["test" if held_out else next(drawn) for held_out in tested]


def _stratified(clips: Described, contents: Sequence[str], *, target: str, k: int, seed: int) -> list[str]:
    if not 2 <= k <= len(clips.ids):
        raise UserError(f"k {k}: give 2 to {len(clips.ids)}, the number of clips")
    values = clips.values(target)
    order = sorted(_shuffled(contents, seed), key=lambda place: str(values[place]))
    fold = {place: str(rank % k + 1) for rank, place in enumerate(order)}
    return [fold[place] for place in range(len(order))]


def _joined(groups: Sequence[str], k: int, seed: int) -> list[str]:
    """`k` folds of about as many clips, no group in two: the largest first, each to the smallest fold."""
    sizes = Counter(groups)
    if not 3 <= k <= len(sizes):
        raise UserError(f"k {k}: give 3 to {len(sizes)}, the number of speakers")
    names = sorted(sizes, key=_natural)
    ranked = [names[place] for place in _shuffled(names, seed)]
    clips: Counter[int] = Counter()
    fold = {}
    for group in sorted(ranked, key=lambda each: -sizes[each]):
        fold[group] = min(range(1, k + 1), key=lambda number: clips[number])
        clips[fold[group]] += sizes[group]
    return [str(fold[group]) for group in groups]


def _known(clips: Described, column: str) -> list[str]:
    values = clips.values(column)
    unknown = [name for name, value in zip(clips.ids, values, strict=True) if value in (None, "")]
    if unknown:
        raise UserError(f"{len(unknown)} of {len(values)} clips have no {column}, {unknown[0]} first")
    return [str(value) for value in values]


def _natural(name: str) -> tuple[int, str]:
    """2 before 10."""
    return (int(name), "") if name.isdecimal() else (1 << 62, name)
