"""One pass over clips that makes only what a ledger does not vouch for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from soundraft.ledger import Entry, Ledger
from soundraft.manifest import Clip, Rejected
from soundraft.parallel import Failure, map_clips


class Worker(Protocol):
    """What a stage does with one clip; picklable, so that worker processes can have it."""

    def stays(self, job: tuple[Clip, Entry]) -> bool:
        """Whether the clip's entry of the earlier run still holds."""
        ...

    def __call__(self, clip: Clip) -> Entry:
        """Make the clip's files."""
        ...


@dataclass(frozen=True)
class Done:
    """Clips with their entries, clips that were set aside, and how many had to be made."""

    good: list[tuple[Clip, Entry]]
    rejected: list[Rejected]
    made: int


def bring_up_to_date(
    clips: Sequence[Clip],
    worker: Worker,
    ledger: Ledger,
    *,
    title: str,
    anew: bool = False,
) -> Done:
    """Take over the clips whose entry of the earlier run holds, make the others, and note all in the ledger.

    First one, then the other: where one clip in thousands is made, what starting that takes says nothing of the rest.

    Args:
        anew: take nothing over.
    """
    kept = {} if anew else what_stays(clips, worker, ledger)
    for entry in kept.values():
        ledger.add(entry)
    changed = [clip for clip in clips if clip.id not in kept]
    rejected = []
    made: dict[str, Entry] = {}
    for clip, result in zip(changed, map_clips(worker, changed, title=title), strict=True):
        if isinstance(result, Failure):
            rejected.append(Rejected(clip.id, clip.audio_path, result.reason))
        else:
            ledger.add(result)
            made[clip.id] = result
    entries = kept | made
    return Done([(clip, entries[clip.id]) for clip in clips if clip.id in entries], rejected, len(made))


def what_stays(clips: Sequence[Clip], worker: Worker, ledger: Ledger) -> dict[str, Entry]:
    """By id, the entries of the earlier run that still hold."""
    known = ledger.known_items()
    jobs = [(clip, known[clip.id]) for clip in clips if clip.id in known]
    results = map_clips(worker.stays, jobs, title="compare")
    return {clip.id: entry for (clip, entry), stays in zip(jobs, results, strict=True) if stays is True}
