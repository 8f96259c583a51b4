"""Which clips a classifier learns, is validated on and is tested on, as the data and the declaration say."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from soundraft.manifest import SPLITS, Rejected, Split, check_bad_fraction
from soundraft.runtime import UserError
from soundraft.tasks.classification_evaluate import speakers_shared
from soundraft.tasks.clip_extra import join_extra
from soundraft.tasks.clip_splits import Parts, advice, draw
from soundraft.tasks.clip_tables import Source, Wanted, open_clips
from soundraft.tasks.declared import Declared


@dataclass(frozen=True)
class Division:
    """Clips by split, and in words how they came there.

    Attributes:
        how: the kind of split, and whether speakers are shared.
        advice: what to declare where drawing at random lost a label.
        rejected: lines of the data that are no clips, or that were to be dropped.
    """

    parts: Parts
    how: str
    notes: list[str]
    rejected: list[Rejected]
    advice: str = ""

    def ordered(self) -> "Division":
        """The same with what is learned sorted by id: then the order of a table's rows changes no weight."""
        parts = dict(self.parts)
        for split in ("train", "validation"):
            clips = parts[split]
            parts[split] = clips.part(sorted(range(len(clips)), key=lambda place: clips.ids[place]))
        return replace(self, parts=parts)

    def with_extra(self, extra: Source | None, target: str) -> "Division":
        """The same with more clips in train, as `join_extra` has them."""
        if extra is None:
            return self
        parts, words = join_extra(self.parts, extra, target=target)
        notes, rejected = [*self.notes, *extra.notes], [*self.rejected, *extra.rejected, *extra.dropped]
        return replace(self, parts=parts, how=f"{self.how}; {words}", notes=notes, rejected=rejected)


def wanted_of(declared: Declared) -> Wanted:
    """What must be read of each clip."""
    kinds = dict(item.rsplit(":", 1) for item in declared.options.inputs)
    numbers = [name for name, kind in kinds.items() if kind == "number"]
    split = declared.split.column if declared.split.kind == "fixed" else None
    return Wanted(
        declared.audio, declared.columns, numbers, declared.options.target, split or "split", declared.dropped
    )


def divide(declared: Declared, data: Mapping[Split, Any], *, seed: int) -> Division:
    """The clips of each split: what is not given is what the training data says, else drawn from it."""
    rule, target = declared.split, declared.options.target
    wanted = wanted_of(declared)
    sources = {split: open_clips(each, wanted) for split, each in data.items() if each is not None}
    if "train" not in sources:
        raise UserError("there is nothing to train on")
    train = sources["train"]
    notes = [note for source in sources.values() for note in source.notes]
    rejected = [item for source in sources.values() for item in source.rejected]
    clips = sum(len(source.clips) for source in sources.values())
    check_bad_fraction(clips, rejected, declared.max_bad_fraction)
    rejected += [item for source in sources.values() for item in source.dropped]
    parts: Parts = {split: source.clips for split, source in sources.items()}
    _check_apart(parts)
    absent: list[Split] = [split for split in SPLITS if split not in sources]
    said = train.splits if len(absent) == 2 and (rule.kind == "fixed" or not rule.said) else None
    if rule.kind == "fixed" and train.splits is None and absent:
        raise UserError(f"{train.title}: no clip has a split, and the declaration says that they have (fixed)")
    how = [train.split_by if absent else "splits given"]
    if said is not None:
        places = {split: [n for n, each in enumerate(said) if each == split] for split in SPLITS}
        parts = {split: train.clips.part(found) for split, found in places.items() if found}
        absent = [split for split in SPLITS if split not in parts]
        if "train" not in parts:
            raise UserError(f"{train.title}: no clip is of the split train")
    elif absent and len(sources) > 1:
        how = [f"{' and '.join(sources)} given"]
    better = ""
    if absent:
        drawn = draw(parts["train"], rule, target=target, seed=seed, among=("train", *absent))
        better = advice(parts["train"], drawn, rule, target=target, seed=seed)
        notes += [better] if better else []
        parts |= {split: drawn[split] for split in ("train", *absent)}
        words = f"{rule}, seed {seed}"
        how = [words] if len(absent) == 2 else [*how, f"{absent[0]} {words}"]
        if train.splits is not None and said is None:
            notes.append(f"{train.title}: its column split is passed over; the declaration asks for another division")
    how.append(speakers_shared(parts["train"], parts["test"]))
    return Division(parts, "; ".join(how), notes, rejected, better)


def same_audio(used: Mapping[str, str], tested: Mapping[str, str]) -> list[str]:
    """How many test clips are also learned from under another name, in words; nothing where none is.

    Args:
        used, tested: id → `content_of` the audio, of training and validation and of the test clips.
    """
    owners = {content: name for name, content in used.items()}
    twice = [name for name, content in tested.items() if content in owners]
    if not twice:
        return []
    first, have = twice[0], "has" if len(twice) == 1 else "have"
    return [
        f"{len(twice):,} of {len(tested):,} test clips {have} the very audio of a training or validation clip ({first} "
        f"that of {owners[tested[first]]}): too easy a test"
    ]


def _check_apart(parts: Parts) -> None:
    """Raise UserError when a clip is in two splits: what is tested must not be learned."""
    seen: dict[str, Split] = {}
    for split, clips in parts.items():
        shared = [name for name in clips.ids if name in seen]
        if shared:
            raise UserError(
                f"{len(shared)} names are in {seen[shared[0]]} and {split}, {shared[0]} first: a clip belongs to one "
                "split (clips with the same name need an id of their own)"
            )
        seen |= dict.fromkeys(clips.ids, split)
