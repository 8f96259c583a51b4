"""The clips of a run, divided into splits: as given, as the source has them, as a declaration asks, else by group."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from soundraft import corpora
from soundraft.clips.base import Clips, Facts, Reading
from soundraft.clips.opening import Source, open_clips
from soundraft.manifest import SPLITS, Rejected, Split, check_bad_fraction
from soundraft.metrics.labels import every_label
from soundraft.runtime import UserError
from soundraft.splits import HELD_OUT_SHARE, SplitRule, draw

Parts = dict[Split, Clips]


@dataclass(frozen=True)
class Sources:
    """What a run takes; each is what `open_clips` takes.

    Attributes:
        train: it brings the splits that it has; those that it lacks are drawn from it.
        validation, test: in place of its own: of a corpus by name that split, of anything else all clips.
        replay: what the model learned before; a share of each cycle is its clips with their targets.
        extra: more training clips, whatever their splits; they are never validated on or tested.
    """

    train: Any
    validation: Any = None
    test: Any = None
    replay: Any = None
    extra: Any = None


class Targets(Protocol):
    """What of a task decides how clips are divided.

    Attributes:
        target: the fact of a clip that the model is to answer.
        needs_targets: whether training clips must have it.
    """

    target: str
    needs_targets: bool

    def target_of(self, facts: Facts) -> Any: ...


@dataclass
class Divided:
    """The clips of a run.

    Attributes:
        parts: by split.
        title: what the training data is called.
        language: code of its language, where that is known, else empty.
        how: the ways in which the clips came into their splits, in words.
        notes: what the user should know of them.
        rejected: lines of the sources that are no clips, or that were to be dropped.
    """

    parts: Parts
    title: str
    language: str = ""
    how: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)


def divide(
    targets: Targets,
    sources: Sources,
    reading: Reading,
    *,
    rule: SplitRule | None,
    limit: int | None,
    seed: int,
    max_bad_fraction: float,
) -> Divided:
    """Open the sources of a run, but for its replay, and divide their clips.

    Args:
        rule: how a declaration asks clips to be divided; without one they are divided by their splits, and where they
            have none by `splits.group_splits`.
        limit: at most so many clips of each split.

    Raises:
        UserError: when something is not there, a split has no clips, or a clip is in two splits.
    """
    train = open_clips(sources.train, reading, limit=limit, seed=seed)
    given: dict[Split, Any] = {"validation": sources.validation, "test": sources.test}
    others = {split: _whole(each, split, reading, limit, seed) for split, each in given.items() if each is not None}
    every = [train, *others.values()]
    found = Divided({split: source.clips for split, source in others.items()}, train.title, train.language)
    found.notes = [note for source in every for note in source.notes]
    found.rejected = [item for source in every for item in source.rejected]
    check_bad_fraction(sum(len(source.clips) for source in every), found.rejected, max_bad_fraction)
    found.rejected += [item for source in every for item in source.dropped]
    absent = [split for split in SPLITS if split not in (*others, "train")]
    if not absent:
        found.parts["train"] = train.clips
        found.how.append("splits given")
    elif rule is not None and rule.kind != "fixed":
        splits = draw(train.clips, rule, target=targets.target, seed=seed, among=("train", *absent))
        found.parts |= train.clips.by_split(splits)
        found.how.append(f"{rule}, seed {seed}")
        if train.has_splits:
            found.notes.append(f"{train.title}: its splits are not used: the declaration asks for other ones")
    else:
        _by_own_splits(train, rule, found)
    _leave_out_unknown(targets, found)
    _draw_missing(targets, train, seed, found)
    check_apart(found.parts)
    if sources.extra is not None:
        extra = open_clips(sources.extra, reading, seed=seed)
        check_bad_fraction(len(extra.clips), extra.rejected, max_bad_fraction)
        add_extra(targets, extra, found)
    found.how.append(shared_speakers(found.parts["train"], found.parts.get("test")))
    found.parts = {split: found.parts[split].sorted() for split in SPLITS if split in found.parts}
    return found


def _whole(data: Any, split: Split, reading: Reading, limit: int | None, seed: int) -> Source:
    """A corpus of the registry gives its split of this name, everything else all that it has."""
    named = isinstance(data, str) and data in corpora.CORPORA
    source = open_clips(data, reading, split=split if named else None, limit=limit, seed=seed)
    if named:
        source = source.part([place for place, each in enumerate(source.splits) if each == split])
        if not len(source.clips):
            raise UserError(f"{source.title}: no {split} clips")
    return source


def _by_own_splits(train: Source, rule: SplitRule | None, found: Divided) -> None:
    if rule is not None and not train.has_splits:
        raise UserError(f"{train.title}: no clip has a split, and the declaration asks for those of a column (fixed)")
    own = train.clips.by_split([split or "train" for split in train.splits])
    if "train" not in own:
        raise UserError(f"{train.title}: no training clips; it has {', '.join(own)}")
    found.parts = {**own, **found.parts}
    if any(train.splits):
        found.how.append(train.split_by)


def _leave_out_unknown(targets: Targets, found: Divided) -> None:
    """Where training takes clips without a target: measure on those held-out clips that have one."""
    for split in HELD_OUT_SHARE:
        clips = found.parts.get(split)
        if targets.needs_targets or clips is None:
            continue
        known = clips.part([place for place, facts in enumerate(clips.facts) if targets.target_of(facts) is not None])
        if len(known) < len(clips):
            lacking = f"{len(clips) - len(known)} of {len(clips)} clips have no {targets.target}"
            found.notes.append(f"{split}: {lacking} and are left out")
            found.parts[split] = known
        if not len(known):
            del found.parts[split]


def _draw_missing(targets: Targets, train: Source, seed: int, found: Divided) -> None:
    """Take validation and test, a tenth of the clips each, from training clips with a target where there are none yet.

    By speaker or source recording where those are known and enough, else by text or audio; not by the target itself.
    """
    missing = [split for split in HELD_OUT_SHARE if split not in found.parts]
    if not missing:
        return
    clips = found.parts["train"]
    usable = range(len(clips))
    if not targets.needs_targets:
        usable = [place for place in usable if targets.target_of(clips.facts[place]) is not None]  # type: ignore[assignment]
    labelled = replace(train, clips=clips.part(usable), splits=[None] * len(usable))
    shares = {split: HELD_OUT_SHARE[split] for split in missing}
    origins = {"speaker": "speaker", "source": "source recording"}
    origins.pop(targets.target, None)
    for by, words in ((origins, f"{', '.join(origins.values())} or text"), ({}, "text or audio")):
        splits = labelled.grouped(seed, shares, by=list(by))
        if set(missing) <= set(splits):
            drawn = labelled.clips.by_split(splits)
            bare = clips.part(sorted(set(range(len(clips))) - set(usable)))
            found.parts |= {**drawn, "train": drawn["train"].joined(bare)}
            found.how.append(f"{' and '.join(missing)} drawn by {words}")
            return
    few = f"{len(usable)} training clips with a {targets.target} are too few to draw {' and '.join(missing)} clips from"
    if targets.needs_targets and "validation" in missing:
        raise UserError(f"{train.title}: {few}: give some")
    found.notes.append(few)


def check_apart(parts: Mapping[Any, Clips]) -> None:
    """Raise UserError when a clip is in two splits: a test clip must not be trained on."""
    seen: dict[str, str] = {}
    for split, clips in parts.items():
        shared = [name for name in clips.ids if name in seen]
        if shared:
            raise UserError(
                f"{len(shared)} names are in {seen[shared[0]]} and {split}, {shared[0]} first: a clip belongs to one "
                "split (clips with the same name need an id of their own)"
            )
        seen |= dict.fromkeys(clips.ids, str(split))


def add_extra(targets: Targets, extra: Source, found: Divided) -> None:
    """Add the extra clips to train; those with a label that train does not have would widen the target.

    Raises:
        UserError: when none is left, or one is already in a split.
    """
    target = targets.target
    known = set(every_label(targets.target_of(facts) or () for facts in found.parts["train"].facts))
    labels = [None if value is None else targets.target_of({target: value}) for value in extra.clips.values(target)]
    places = [
        place for place, label in enumerate(labels) if label is not None and known.issuperset(every_label([label]))
    ]
    if not places:
        raise UserError(
            f"{extra.title}: no clip has a {target} of the training clips; they have {', '.join(sorted(known))}"
        )
    more = extra.clips.part(places)
    check_apart({**found.parts, f"the extra clips of {extra.title}": more})
    left_out = f" ({len(labels) - len(places):,} with other labels left out)" if len(labels) > len(places) else ""
    found.how.append(f"{len(places):,} more training clips of {extra.title}{left_out}")
    found.notes += extra.notes
    found.rejected += [*extra.rejected, *extra.dropped]
    found.parts["train"] = found.parts["train"].joined(more)


def shared_speakers(train: Clips, test: Clips | None) -> str:
    """How train and test are related by their speakers, in words."""
    parts: Sequence[Clips] = (train,) if test is None else (train, test)
    known, *tested = ({str(facts["speaker"]) for facts in clips.facts if "speaker" in facts} for clips in parts)
    if not known or not tested or not tested[0]:
        return "speakers are not known"
    shared = len(known & tested[0])
    return (
        f"{shared} of {len(tested[0])} test speakers are seen in training" if shared else "no speaker in train and test"
    )


def shared_audio(parts: Mapping[Any, tuple[Sequence[str], Sequence[str | None]]]) -> list[str]:
    """How many test clips are also trained on under another name, in words; nothing where none is.

    Args:
        parts: ids and `Clips.contents` of each split.
    """
    used = {
        content: name
        for split in ("train", "validation")
        for name, content in zip(*parts.get(split, ([], [])), strict=True)
        if content
    }
    tested = dict(zip(*parts.get("test", ([], [])), strict=True))
    twice = [name for name, content in tested.items() if content in used]
    if not twice:
        return []
    first, have = twice[0], "has" if len(twice) == 1 else "have"
    return [
        f"{len(twice):,} of {len(tested):,} test clips {have} the very audio of a training or validation clip "
        f"({first} that of {used[str(tested[first])]}): too easy a test"
    ]
