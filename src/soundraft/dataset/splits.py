"""Which split a clip belongs to when its source does not say, and which one an official fold is."""

from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, get_args

from soundraft import runtime
from soundraft.manifest import SPLITS, Clip, Split
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


def hashed_split(key: Key, seed: int) -> Split:
    """A split by the name of a group alone, for clips that are read one after the other and never seen together.

    It is the same however many clips are read; of few groups none may fall to a split.
    """
    position = runtime.derive_seed("split", seed, *key) / 2**63
    for split, share in HELD_OUT_SHARE.items():
        if position < share:
            return split
        position -= share
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
    keys: list[Key] = []
    if clip.speaker:
        keys.append(("speaker", clip.speaker))
    source = clip.metadata.get("source")
    if source not in (None, ""):
        keys.append(("source", str(source)))
    if not keys and clip.task == "asr" and clip.text and clip.text.strip():
        keys.append(("text", " ".join(clip.text.casefold().split())))
    keys.append(("audio", clip.audio_path))
    return [*keys, ("content", contents[clip.id])] if clip.id in contents else keys


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
