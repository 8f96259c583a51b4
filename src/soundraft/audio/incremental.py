"""One pass over clips that makes only what a ledger does not vouch for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from soundraft.ledger import Entry, Ledger
from soundraft.manifest import Clip, Rejected
from soundraft.parallel import Failure, map_clips

Job = tuple[Clip, Entry | None]


@dataclass(frozen=True)
class Done:
    """Clips with their entries, clips that were set aside, and how many had to be made."""

    good: list[tuple[Clip, Entry]]
    rejected: list[Rejected]
    made: int


def bring_up_to_date(
    clips: Sequence[Clip],
    worker: Callable[[Job], tuple[Entry, bool]],
    ledger: Ledger,
    *,
    title: str,
    anew: bool = False,
) -> Done:
    """Give every clip to `worker` with its entry of the earlier run, and note in the ledger what comes back.

    Args:
        worker: (clip, known entry) → (entry, whether it had to be made).
        anew: take nothing over.
    """
    known = {} if anew else ledger.known_items()
    good, rejected, made = [], [], 0
    results = map_clips(worker, [(clip, known.get(clip.id)) for clip in clips], title=title)
    for clip, result in zip(clips, results, strict=True):
        if isinstance(result, Failure):
            rejected.append(Rejected(clip.id, clip.audio_path, result.reason))
        else:
            entry, is_new = result
            ledger.add(entry)
            good.append((clip, entry))
            made += is_new
    return Done(good, rejected, made)
