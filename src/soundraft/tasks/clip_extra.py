"""More clips to learn from: other voices, other rooms, synthetic speech. They are never validated on or tested."""

from typing import Any

from soundraft.manifest import check_bad_fraction
from soundraft.runtime import UserError
from soundraft.tasks.clip_splits import Parts
from soundraft.tasks.clip_tables import Source, Wanted, open_clips


def open_extra(data: Any, wanted: Wanted, *, max_bad_fraction: float) -> Source | None:
    """What `open_clips` takes, all of it, whatever its splits; `None` where there is nothing.

    Raises:
        UserError: as `open_clips`, and when more lines are bad than `max_bad_fraction` allows.
    """
    if data is None:
        return None
    source = open_clips(data, wanted)
    check_bad_fraction(len(source.clips), source.rejected, max_bad_fraction)
    return source


def join_extra(parts: Parts, extra: Source, *, target: str) -> tuple[Parts, str]:
    """The same splits with the extra clips in train, and how many these are in words.

    Clips with a label that train does not have are left out: they would widen what is to be told.

    Raises:
        UserError: when none is left, or one is already in a split.
    """
    known = set(parts["train"].known_labels(target))
    labels = extra.clips.labels(target)
    places = [place for place, label in enumerate(labels) if label in known]
    if not places:
        raise UserError(
            f"{extra.title}: no clip has a {target} that the training clips have; they have {', '.join(sorted(known))}"
        )
    more = extra.clips.part(places)
    for split, clips in parts.items():
        shared = sorted(set(clips.ids) & set(more.ids))
        if shared:
            raise UserError(
                f"{extra.title}: {len(shared)} of its clips are in {split} already, {shared[0]} first (clips with the "
                "same name need an id of their own)"
            )
    left_out = f" ({len(labels) - len(places):,} with other labels left out)" if len(labels) > len(places) else ""
    words = f"{len(places):,} more training clips of {extra.title}{left_out}"
    return {**parts, "train": parts["train"].joined(more)}, words
