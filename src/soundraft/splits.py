"""Which split a clip belongs to when its source does not say, and which one an official fold is."""

from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, get_args

from soundraft import runtime
from soundraft.manifest import SPLITS, Clip, Split
from soundraft.parallel import BadClip
from soundraft.runtime import UserError

HELD_OUT_SHARE: Mapping[Split, float] = {"test": 0.1, "validation": 0.1}

Group = list[Clip]
Kind = Literal["speaker", "source", "text", "audio", "content"]
Key = tuple[Kind, str]


def assign_splits(clips: Sequence[Clip], seed: int, contents: Mapping[str, str] | None = None) -> list[Clip]:
    """The clips in their order, each with a split: the given one, else that of its group.

    A group is what must not be divided: clips that share a speaker, a source recording (`metadata["source"]`) or a
    file, also by way of a third clip; for speech recognition, clips without speaker and source share their text. A
    group with a given split stays there (with several: in the first of train, validation, test). The others stand in
    an order drawn by the hash of their name: test takes them from its front and validation from its back until each
    has about a tenth of all clips, so that a new clip moves at most the group at each border. With three groups or
    more no split is empty.

    Args:
        contents: by id, a hash of the audio of those clips that share it with another: they are tied too.
    """
    groups = _groups(clips, contents or {})
    chosen = {key: _given_split(group) for key, group in groups.items()}
    sizes = Counter(clip.split or chosen[key] for key, group in groups.items() if chosen[key] for clip in group)
    free = {key: len(group) for key, group in groups.items() if chosen[key] is None}
    order = sorted(free, key=lambda key: (runtime.derive_seed("split", seed, *key), key))
    drawn = _hold_out(order, free, sizes)
    by_id = {clip.id: chosen[key] or drawn[key] for key, group in groups.items() for clip in group}
    return [clip if clip.split else clip.model_copy(update={"split": by_id[clip.id]}) for clip in clips]


def hashed_split(seed: int, group: Key) -> Split:
    """The split that a group draws by its name alone, whatever other groups there are: for what is read as a stream.

    About eight of ten groups are train, one is validation and one test; of few groups a split may get none.
    """
    place = runtime.derive_seed("stream", seed, *group) / 2**63
    held_out = 0.0
    for split, share in HELD_OUT_SHARE.items():
        held_out += share
        if place < held_out:
            return split
    return "train"


def fold_split(fold: int, test_fold: int, folds: int) -> Split:
    """The split of an official fold, both from 1: `test_fold` is test, the next one (1 after the last) validation.

    Raises:
        UserError: when there is no such fold.
    """
    for number in (fold, test_fold):
        if not 1 <= number <= folds:
            raise UserError(f"no fold {number}: there are folds 1 to {folds}")
    if fold == test_fold:
        return "test"
    return "validation" if fold == test_fold % folds + 1 else "train"


def group_keys(clip: Clip, contents: Mapping[str, str]) -> list[Key]:
    """What ties a clip to others, the most telling first."""
    text = clip.text if clip.task == "asr" else None
    keys = [*origin_keys(clip.speaker, clip.metadata.get("source"), text), ("audio", clip.audio_path)]
    return [*keys, ("content", contents[clip.id])] if clip.id in contents else keys


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


def _groups(clips: Sequence[Clip], contents: Mapping[str, str]) -> dict[Key, Group]:
    """Clips that are tied to each other, by the name of the group: the first of its most telling keys."""
    parents: dict[Key, Key] = {}

    def root(key: Key) -> Key:
        while parents.setdefault(key, key) != key:
            parents[key] = key = parents[parents[key]]
        return key

    keys = [group_keys(clip, contents) for clip in clips]
    for first, *others in keys:
        for other in others:
            parents[root(other)] = root(first)
    members: dict[Key, Group] = defaultdict(list)
    names: dict[Key, Key] = {}
    for clip, own in zip(clips, keys, strict=True):
        place = root(own[0])
        members[place].append(clip)
        names[place] = min(own[0], names.get(place, own[0]), key=_telling)
    return {names[place]: group for place, group in members.items()}


def _telling(key: Key) -> tuple[int, str]:
    """Groups are named after what new clips of the same speakers do not change."""
    return get_args(Kind).index(key[0]), key[1]


def _given_split(group: Group) -> Split | None:
    given = {clip.split for clip in group}
    return next((split for split in SPLITS if split in given), None)


def _hold_out(order: list[Key], free: Mapping[Key, int], sizes: Counter[Split | None]) -> dict[Key, Split]:
    """Who of the free groups is held out; the rest is train.

    Args:
        order: their names.
        free: how many clips each has.
        sizes: how many clips each split has already.
    """
    total = sum(free.values()) + sum(sizes.values())
    most = _most(sorted(free.values()), total)
    queue = deque(key for key in order if free[key] <= most)
    spare = 0 if sizes["train"] or len(queue) < len(order) else 1  # the one that must be left for train
    drawn: dict[Key, Split] = dict.fromkeys(order, "train")
    counts = sizes.copy()
    for split in _turns():
        wanted = {name for name in HELD_OUT_SHARE if len(queue) > spare and _has_room(name, counts, queue, free, total)}
        if not wanted:
            return drawn
        if split in wanted:
            key = queue.popleft() if split == "test" else queue.pop()
            drawn[key] = split
            counts[split] += free[key]
    return drawn


def _turns() -> Iterator[Split]:
    while True:
        yield from HELD_OUT_SHARE


def _end(split: Split) -> int:
    return 0 if split == "test" else -1


def _has_room(
    split: Split, counts: Counter[Split | None], queue: deque[Key], free: Mapping[Key, int], total: int
) -> bool:
    """Whether the next group brings a split nearer to its share, or it has none yet."""
    return counts[split] == 0 or counts[split] + free[queue[_end(split)]] / 2 <= HELD_OUT_SHARE[split] * total


def _most(ascending: list[int], total: int) -> float:
    """The largest group that is held out, in clips: a larger one is train's, as long as two others are left."""
    second = ascending[min(1, len(ascending) - 1)] if ascending else 0
    return max(min(HELD_OUT_SHARE.values()) * total, 2 * second)


# Our splits drawn out of one split of a source while it is read.
#
# A clip's split depends on the seed and its group alone. So it is the same however much of the source is read, and
# what one request takes for training no other one takes for its test. A clip that is tied to an earlier one of another
# split, as by the same recording under two speakers' names, is set aside.


class Drawing:
    """The splits of the clips of one split of a source.

    Attributes:
        groups: how many different groups there were so far, of each kind.
    """

    def __init__(self, seed: int, served: Sequence[Split], *, by_source: bool) -> None:
        """Draw among some of our splits.

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
        keys = self._keys(fields, content)
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

    def _keys(self, fields: Mapping[str, Any], content: str) -> list[Key]:
        """What ties a clip to others; the first one is its group."""
        text = fields.get("text") if fields["task"] == "asr" else None
        source = fields["metadata"].get("source") if self._by_source else None
        return [*origin_keys(fields.get("speaker"), source, text), ("content", content)]
