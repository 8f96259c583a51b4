"""`soundraft datasets splits` and `stats`: what the clips of a corpus tell about it."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from soundraft.cli.choice import Chosen, add_choice, chosen
from soundraft.cli.command import positive, print_each
from soundraft.corpora import leaks, statistics
from soundraft.corpora.leaks import Check, Kind, Leak
from soundraft.manifest import SPLITS
from soundraft.runtime import UserError
from soundraft.tables import columns

_IDS_SHOWN = 5
_LABELS_SHOWN = 20
_WHICH = "a folder with a manifest, such as data/raw/target; recordings of your own; or a corpus by name"


def splits_options(options: argparse.ArgumentParser) -> None:
    options.add_argument("corpus", metavar="NAME_OR_PATH", help=_WHICH)
    options.add_argument("--texts", action="store_true", help="no text in two splits either")
    options.add_argument(
        "--allow", action="append", default=[], choices=get_args(Kind), help="may be shared by splits; again for more"
    )
    add_choice(options)


def splits(given: argparse.Namespace) -> None:
    which = chosen(given)
    found, unreadable = leaks.examine(which.clips, which.root, texts=given.texts)
    bad = [leak for check in found if check.kind not in given.allow for leak in check.leaks]
    print(f"{which.title}: {len(which.clips):,} clips\n")
    print("\n".join(_splits_table(which, found)))
    print("\n" + "\n".join(_checks_table(found, len(which.clips), given.allow)) + "\n")
    print_each("set aside", which.rejected)
    print_each("unreadable", unreadable)
    for leak in bad:
        print("\n".join(_leak_lines(leak)))
    if bad or unreadable:
        kinds = " ".join(dict.fromkeys(f"--allow {leak.kind}" for leak in bad))
        hint = f"; where the corpus is made so, {kinds} accepts it" if bad else ""
        print(f"{len(bad):,} values in two splits, {len(unreadable):,} clips unreadable{hint}")
        sys.exit(1)
    there = [split for split in SPLITS if any(clip.split == split for clip in which.clips)]
    if len(there) < 2:
        print(f"nothing to compare: of the splits there is {there[0] if there else 'none'}")
        sys.exit(1)
    print(f"the splits are apart. Next: soundraft datasets stats {which.title}")


def _splits_table(which: Chosen, found: Sequence[Check]) -> list[str]:
    """How many different values each split has."""
    rows = [("split", "clips", *(f"{check.kind}s" if check.kind != "audio" else "audio" for check in found))]
    for split in SPLITS:
        clips = sum(clip.split == split for clip in which.clips)
        numbers = [clips, *(check.different[split] for check in found)]
        rows.append((split, *(f"{number:,}" if number else "–" for number in numbers)))
    return columns(rows, right=range(1, len(rows[0])))


def _checks_table(found: Sequence[Check], clips: int, allowed: Sequence[str]) -> list[str]:
    rows = [("compared", "of the clips", "in two splits")]
    for check in found:
        if not check.known:
            result = "nothing to compare: no clip has one"
        else:
            result = f"{len(check.leaks):,}" if check.leaks else "none"
            result += " (allowed)" if check.leaks and check.kind in allowed else ""
        rows.append((check.kind, f"{check.known:,} of {clips:,}", result))
    return columns(rows, right={1})


def _leak_lines(leak: Leak) -> list[str]:
    value = f"{leak.value[:12]}…" if leak.kind == "audio" else repr(leak.value)
    rows = [(f"  {split}", f"{len(ids):,}", _some(ids)) for split, ids in leak.clips.items()]
    return [f"{leak.kind} {value} is in {len(leak.clips)} splits", *columns(rows, right={1})]


def _some(ids: Sequence[str]) -> str:
    more = f", … and {len(ids) - _IDS_SHOWN:,} more" if len(ids) > _IDS_SHOWN else ""
    return ", ".join(ids[:_IDS_SHOWN]) + more


def stats_options(options: argparse.ArgumentParser) -> None:
    options.add_argument("corpus", metavar="NAME_OR_PATH", help=_WHICH)
    options.add_argument("--plot", type=Path, metavar="FILE.png", help="draw it all")
    options.add_argument(
        "--top", type=positive, default=_LABELS_SHOWN, metavar="N", help="the N most frequent labels (20)"
    )
    add_choice(options)


def stats(given: argparse.Namespace) -> None:
    if given.plot is not None and given.plot.suffix.lower() != ".png":
        raise UserError(f"--plot writes a .png, not {given.plot}")
    which = chosen(given)
    found, unreadable = statistics.measure(which.clips, which.root)
    print(f"{which.title}\n")
    table = statistics.table(found)
    print("\n".join(columns(table, right=range(1, len(table[0]) - 1))))
    labels = statistics.labels_table(found, given.top)
    if labels:
        print("\n" + "\n".join(columns(labels, right=range(1, len(labels[0])))))
    print()
    print_each("set aside", which.rejected)
    print_each("not counted", unreadable)
    if given.plot:
        from soundraft.evaluation import corpus_plots

        corpus_plots.plot_statistics(given.plot, found, title=which.title, most_labels=given.top)
        print(f"{given.plot}: the picture")
    print(f"next: soundraft datasets splits {which.title}")
