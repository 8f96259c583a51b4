"""`soundraft datasets`: the corpora that exist, what one holds, whether it is in order, and how to get it."""

import argparse
import json
import re
import shutil
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import get_args

import numpy as np

from soundraft import corpora, files
from soundraft.cli.options import (
    OPTIONS,
    add_corpus,
    add_key,
    chosen,
    columns_given,
    option,
    params_given,
    positive,
    print_each,
    request,
    said,
)
from soundraft.corpora import CorpusError, Request, archive, checks
from soundraft.corpora.base import SOURCE_NAME, CorpusInfo
from soundraft.corpora.checks import Kind
from soundraft.manifest import MANIFEST_NAME, QUARANTINE_NAME, SPLITS, Split, no_clips, read_manifest
from soundraft.params import defaults
from soundraft.runtime import UserError
from soundraft.tables import columns

_IDS_SHOWN = 5
_LABELS_SHOWN = 20
_NAMES_SHOWN = 3
_LEAST_WIDTH, _PIPED_WIDTH, _MOST_WIDTH = 80, 120, 160
_WHICH = "a folder with a manifest, such as data/raw/target; recordings of your own; or a corpus by name"
_LISTED = {  # what the list shows, and where it breaks off: `describe` shows the rest
    "source": "; | \\(|, or ",
    "task": "; ",
    "size": "; ",
    "licence": "; | \\(|, ",
    "splits": "; |: ",
    "languages": "; |: ",
}
_DESCRIBED = ("about", "source", "task", "size", "licence", "languages", "splits")


def list_corpora(given: argparse.Namespace) -> None:
    infos = {name: corpus.info for name, corpus in corpora.CORPORA.items()}
    if given.json:
        facts = {name: asdict(info) for name, info in infos.items()}
        print(json.dumps(facts, indent=2, ensure_ascii=False, default=sorted))  # sets of options as lists
        return
    rows = [("name", *_LISTED)]
    rows += [(name, *(_brief(getattr(info, key), end) for key, end in _LISTED.items())) for name, info in infos.items()]
    print("\n".join(columns(rows, width=_width())))
    print(f"\n{len(infos)} corpora. Next: soundraft datasets describe NAME, which shows all of one")


def _brief(text: str, end: str) -> str:
    """What stands before the pattern `end`; of many single words the first one and their number."""
    start = re.split(end, text, maxsplit=1)[0]
    words = start.split(", ")
    if len(words) <= _NAMES_SHOWN or any(" " in word for word in words):
        return start
    return f"{words[0]} and {len(words) - 1} more"


def describe(given: argparse.Namespace) -> None:
    name = given.corpus
    info = corpora.corpus_named(name).info
    given.limit = 1
    asked = request(given, name)
    _section(name, {key: getattr(info, key) for key in _DESCRIBED})
    flags = {"takes": info.takes, "needs": info.needs}
    listed = {key: ", ".join(f"--{option(each)}" for each in sorted(names)) for key, names in flags.items()}
    _section("options", {key: text or "none" for key, text in listed.items()})
    _section("columns", info.columns)
    try:
        _section("one clip", _example(name, info, asked))
    except UserError as error:
        print(f"one clip\n  none to show: {error}\n")
    needed = "".join(f" --{name} …" for name in map(option, sorted(info.needs)) if getattr(given, name) is None)
    given.limit = None
    print(f"next: soundraft datasets download {name}{needed}{said(given)} --output FOLDER")


def _width() -> int:
    """Of the terminal, within reason."""
    return min(max(shutil.get_terminal_size((_PIPED_WIDTH, 24)).columns, _LEAST_WIDTH), _MOST_WIDTH)


def _section(title: str, facts: Mapping[str, str]) -> None:
    if facts:
        rows = [(f"  {key}", value) for key, value in facts.items()]
        print("\n".join([title, *columns(rows, width=_width())]), end="\n\n")


def _example(name: str, info: CorpusInfo, asked: Request) -> dict[str, str]:
    """What is known of a clip of the first split that can be had without a download."""
    if "path" in info.needs and asked.path is None:
        raise CorpusError("give --path")
    for split in SPLITS:
        clips = {each: asked.clips[each] if each == split else 0 for each in SPLITS}
        fetched = corpora.fetch_to_cache(name, replace(asked, clips=clips, offline=True))
        for clip in fetched.clips[:1]:
            row = clip.row()
            about = {key: value for key, value in row.items() if key not in ("audio_path", "metadata", "task")}
            units = {"duration": "{:.2f} s", "sample_rate": "{} Hz"}
            about |= {key: form.format(row[key]) for key, form in units.items() if key in row}
            facts = {"audio": fetched.root / clip.audio_path, **about, **clip.metadata}
            return {key: str(value) for key, value in facts.items()}
    raise no_clips(name, fetched.rejected)


def download(given: argparse.Namespace) -> None:
    asked, out = request(given, given.corpus), given.output
    _check_output(asked, out)
    limit = defaults().limits.max_bad_fraction if given.max_bad_fraction is None else given.max_bad_fraction
    with files.building(out.resolve()) as scratch:
        fetched = corpora.bring_in(given.corpus, asked, scratch, max_bad_fraction=limit)
        for path in _foreign_files(scratch):  # of an archive: files that no clip names
            path.unlink()
    clips = fetched.clips
    counts = {split: sum(clip.split == split for clip in clips) for split in SPLITS}
    shown = ", ".join(f"{count:,} {split}" for split, count in counts.items() if count)
    print(f"{out}: {len(clips):,} clips ({shown}), {sum(clip.duration or 0.0 for clip in clips) / 3600:.2f} h")
    if fetched.rejected:
        print(f"{len(fetched.rejected):,} rejected, the reasons are in {out / QUARANTINE_NAME}")
    print(f"next: soundraft datasets stats {out}")


def _check_output(asked: Request, out: Path) -> None:
    """Refuse a folder that holds anything but an earlier download: what is there would be replaced."""
    if out.exists() and not out.is_dir():
        raise UserError(f"--output {out} is a file; name a folder")
    if Path.cwd().is_relative_to(out.resolve()):
        raise UserError(f"--output {out} is, or holds, the folder that you are in; name a new one")
    if out.is_dir() and any(out.iterdir()):
        if not all((out / name).is_file() for name in (MANIFEST_NAME, SOURCE_NAME)):
            raise UserError(f"--output {out} holds something else; name a new folder, or one of an earlier download")
        others = _foreign_files(out)
        if others:
            raise UserError(
                f"--output {out} holds what is not of the earlier download, such as {others[0]} "
                f"({len(others):,} in all); name a new folder"
            )
    if asked.path is not None and asked.path.exists():
        files.check_apart(asked.path, out)


def _foreign_files(folder: Path) -> list[Path]:
    """The files of a download that are not its own."""
    clips = read_manifest(folder / MANIFEST_NAME)
    own = {path for clip in clips for path in (clip.audio_path, clip.target_path)}
    own |= {MANIFEST_NAME, QUARANTINE_NAME, SOURCE_NAME}
    names = (path.relative_to(folder) for path in sorted(folder.rglob("*")) if not path.is_dir())
    return [folder / name for name in names if name.as_posix() not in own]


def validate(given: argparse.Namespace) -> None:
    findings = checks.validate(given.path, columns=columns_given(given), labels=tuple(given.labels or ()))
    for finding in findings:
        print(f"{finding.place}: {finding.severity}: {finding.message} [{finding.code}]")
    errors = sum(finding.severity == "error" for finding in findings)
    warnings = len(findings) - errors
    counts = f"{_number(errors, 'error')}, {_number(warnings, 'warning')}"
    if errors:
        print(f"{given.path}: {counts}; clips with an error would be rejected: fix them, then validate again")
        sys.exit(1)
    print(f"{given.path}: {counts}")
    if archive.is_archive(given.path):
        options = f" --path UNPACKED{said(given, but=['path'])}"
        print(f"next: unpack it, then soundraft datasets download folder{options} --output FOLDER")
    else:
        print(f"next: soundraft datasets download folder{said(given)} --output FOLDER")


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{f'{count:,}' if count else 'no'} {what}s"


def splits(given: argparse.Namespace) -> None:
    fetched = chosen(given)
    found, unreadable = checks.examine(fetched.clips, fetched.root, texts=given.texts)
    shared = {kind: checks.leaks(values) for kind, values in found.items()}
    bad = {kind: leaks for kind, leaks in shared.items() if leaks and kind not in given.allow}
    print(f"{given.corpus}: {len(fetched.clips):,} clips\n")
    rows = [("split", "clips", *(f"{kind}s" if kind != "audio" else kind for kind in found))]
    for split in SPLITS:
        numbers = [sum(split in each for each in values.values()) for values in found.values()]
        rows.append((split, *map(_count, [sum(clip.split == split for clip in fetched.clips), *numbers])))
    print("\n".join(columns(rows, right=range(1, len(rows[0])))), end="\n\n")
    rows = [("compared", "of the clips", "in two splits")]
    for kind, values in found.items():
        known = sum(len(ids) for value in values.values() for ids in value.values())
        allowed = " (allowed)" if shared[kind] and kind in given.allow else ""
        result = f"{len(shared[kind]) or 'none'}{allowed}" if known else "nothing to compare: no clip has one"
        rows.append((kind, f"{known:,} of {len(fetched.clips):,}", result))
    print("\n".join(columns(rows, right={1})), end="\n\n")
    crossing = _crossing(given) if given.mixing else 0
    print_each("rejected", fetched.rejected)
    print_each("unreadable", unreadable)
    for kind, leaks in bad.items():
        for value, leak in leaks.items():
            _print_leak(kind, value, leak)
    if bad or unreadable:
        kinds = " ".join(f"--allow {kind}" for kind in bad)
        hint = f"; where the corpus is made so, {kinds} accepts it" if bad else ""
        count = sum(map(len, bad.values()))
        print(f"{count:,} values in two splits, {len(unreadable):,} clips unreadable{hint}")
        sys.exit(1)
    if crossing:
        sys.exit(1)
    present = [split for split in SPLITS if any(clip.split == split for clip in fetched.clips)]
    if len(present) < 2:
        print(f"nothing to compare: of the splits there is {present[0] if present else 'none'}")
        sys.exit(1)
    print(f"the splits are apart. Next: soundraft datasets stats {given.corpus}")


def _crossing(given: argparse.Namespace) -> int:
    """How many kinds of noise, recordings of it and rooms are mixed into two splits; what there is, in a table."""
    from soundraft.clips.mixing import inventory

    options = params_given(given).enhancement
    found = inventory(options.mixing, options.sample_rate_hz)
    rows = [("mixed in", *SPLITS, "in two splits")]
    for what, values in found.items():
        counts = [_count(sum(split in each for each in values.values())) for split in SPLITS]
        rows.append((what, *counts, str(len(checks.leaks(values)) or "none")))
    print("\n".join(columns(rows, right=range(1, len(rows[0]) - 1))), end="\n\n")
    crossing = [(what, leak) for what, values in found.items() for leak in checks.leaks(values).values()]
    for what, leak in crossing:
        print(f"{what} in {len(leak)} splits: " + ", ".join(f"{split}: {names[0]}" for split, names in leak.items()))
    return len(crossing)


def _print_leak(kind: Kind, value: str, leak: dict[Split, list[str]]) -> None:
    print(f"{kind} {value[:12] + '…' if kind == 'audio' else repr(value)} is in {len(leak)} splits")
    rows = []
    for split, ids in leak.items():
        more = f", … and {len(ids) - _IDS_SHOWN:,} more" if len(ids) > _IDS_SHOWN else ""
        rows.append((f"  {split}", f"{len(ids):,}", ", ".join(ids[:_IDS_SHOWN]) + more))
    print("\n".join(columns(rows, right={1})))


def stats(given: argparse.Namespace) -> None:
    if given.plot is not None and given.plot.suffix.lower() != ".png":
        raise UserError(f"--plot writes a .png, not {given.plot}")
    fetched = chosen(given)
    found, unreadable = checks.measure(fetched.clips, fetched.root)
    print(f"{given.corpus}\n")
    table = _statistics_table(found)
    print("\n".join(columns(table, right=range(1, len(table[0]) - 1))))
    labels = _labels_table(found, given.top)
    if labels:
        print("\n" + "\n".join(columns(labels, right=range(1, len(labels[0])))))
    print()
    print_each("rejected", fetched.rejected)
    print_each("not counted", unreadable)
    if given.plot is not None:
        from soundraft.evaluation import data_plots

        data_plots.plot_statistics(given.plot, found, title=given.corpus, most_labels=given.top)
        print(f"{given.plot}: the picture")
    print(f"next: soundraft datasets splits {given.corpus}")


def _statistics_table(found: Mapping[str, checks.Statistics]) -> list[tuple[str, ...]]:
    """Rows of text, the head first."""
    head = "split clips hours shortest median longest words vocabulary labels speakers rates"
    rows: list[tuple[str, ...]] = [tuple(head.split())]
    for name, split in found.items():
        seconds = (np.min(split.durations), np.median(split.durations), np.max(split.durations))
        rates = ", ".join(f"{rate / 1000:g} kHz" for rate, _ in split.rates.most_common())
        numbers = (int(split.words.sum()), split.vocabulary, len(split.labels), len(split.speakers))
        rows.append((
            name, f"{split.clips:,}", f"{split.durations.sum() / 3600:.2f}", *(f"{value:.2f} s" for value in seconds),
            *map(_count, numbers), rates,
        ))  # fmt: skip
    return rows


def _labels_table(found: Mapping[str, checks.Statistics], most: int) -> list[tuple[str, ...]]:
    """How many clips of each split have each of the `most` frequent labels, the head first; empty without labels."""
    total = sum((found[name].labels for name in checks.splits_of(found)), Counter[str]())
    if not total:
        return []
    rows: list[tuple[str, ...]] = [("label", *found)]
    for label, _ in total.most_common(most):
        rows.append((label, *(_count(split.labels[label]) for split in found.values())))
    if len(total) > most:
        rows.append((f"and {len(total) - most} more", *("" for _ in found)))
    return rows


def _count(number: int) -> str:
    return f"{number:,}" if number else "–"


ACTIONS = {
    "list": (list_corpora, "What corpora there are."),
    "describe": (describe, "All facts of one, and one of its clips."),
    "download": (download, "Bring a corpus into a folder, as the pipeline's fetch does."),
    "validate": (validate, "What is wrong with recordings of your own, line by line."),
    "splits": (splits, "Whether its splits are apart."),
    "stats": (stats, "Durations, words, labels, speakers and rates by split."),
}


def datasets_options(options: argparse.ArgumentParser) -> None:
    actions = options.add_subparsers(dest="action", metavar="ACTION")
    options.set_defaults(action="list", json=False)
    of = {name: actions.add_parser(name, help=about, description=about) for name, (_, about) in ACTIONS.items()}
    of["list"].add_argument("--json", action="store_true", help="all facts of each, as JSON")
    for name in ("describe", "download"):
        of[name].add_argument("corpus", metavar="NAME", help="as `soundraft datasets list` has it")
    of["download"].add_argument("--output", type=Path, required=True, metavar="FOLDER", help="where it goes")
    add_key(of["download"], "limits.max_bad_fraction", dest="max_bad_fraction")
    of["validate"].add_argument(
        "path", type=Path, metavar="PATH", help="a folder of recordings, a list of them, an archive"
    )
    for name in ("splits", "stats"):
        of[name].add_argument("corpus", metavar="NAME_OR_PATH", help=_WHICH)
    of["splits"].add_argument("--texts", action="store_true", help="no text in two splits either")
    of["splits"].add_argument(
        "--allow", action="append", default=[], choices=get_args(Kind), help="may be shared by splits; again for more"
    )
    of["splits"].add_argument(
        "--mixing", action="store_true", help="also of the noise and the rooms that task: enhancement mixes in"
    )
    for key in ("noise_dir", "rir_dir"):
        add_key(of["splits"], f"enhancement.mixing.{key}")
    of["stats"].add_argument("--plot", type=Path, metavar="FILE.png", help="draw it all")
    of["stats"].add_argument(
        "--top", type=positive, default=_LABELS_SHOWN, metavar="N", help="the N most frequent labels (20)"
    )
    add_corpus(of["describe"], [name for name in OPTIONS if name != "limit"])
    add_corpus(of["validate"], ("columns", "labels"))
    for name in ("download", "splits", "stats"):
        add_corpus(of[name])


def datasets(given: argparse.Namespace) -> None:
    ACTIONS[given.action][0](given)
