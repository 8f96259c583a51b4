"""s3: an empty sidecar, `[T, 0]`, for every token file; no token file is opened where its folder has an index."""

import argparse
import csv
import io
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, NoReturn, get_args

import numpy as np

from soundraft import files, runtime
from soundraft.audio.ecdc import FRAMES_PER_S, TokenFile
from soundraft.manifest import Rejected
from soundraft.parallel import BadClip, Failure, attempt, map_fresh, progress
from soundraft.runtime import UserError
from soundraft.sidecar import format, listing, plugins
from soundraft.sidecar.format import Dtype, Sidecar

COLUMNS = ("rel_ecdc", "rel_cond", "frames", "D", "fps", "codebooks")


@dataclass(frozen=True)
class Created:
    """What became of the clips.

    Attributes:
        columns: for each clip with a sidecar, how many features that has.
    """

    made: int
    kept: int
    rejected: list[Rejected]
    columns: list[tuple[TokenFile, int]]


def create_sidecars(
    tokens_root: Path,
    cond_root: Path,
    *,
    dtype: Dtype,
    suffix: str = format.SUFFIX,
    overwrite: bool = False,
    skip_errors: bool = False,
    shard: listing.Shard = listing.WHOLE,
    in_building: bool = False,
) -> Created:
    """Make the sidecars that are not there yet; with `overwrite` all of them anew.

    Raises:
        UserError: without `skip_errors` when a clip is bad, before anything is written.
    """
    clips = listing.list_clips(tokens_root, suffix, shard)
    columns: dict[str, int] = {}
    bad = [listing.rejected(clip, clip.problem) for clip in clips if clip.problem]
    for clip in clips:
        if not clip.problem and not overwrite and not in_building:
            try:
                columns |= _columns_there(clip, listing.place(cond_root, clip, suffix))
            except BadClip as error:
                bad.append(listing.rejected(clip, f"{error}; --overwrite makes it anew"))
    if bad and (not skip_errors or len(bad) == len(clips)):
        raise listing.fail(f"{len(bad)} of {len(clips)} clips cannot have a sidecar, nothing was written", bad)
    named = {item.path for item in bad}
    good = [clip for clip in clips if clip.path not in named]
    new = [clip for clip in good if clip.path not in columns]
    listing.make_folders(cond_root, [clip.path for clip in new])
    for clip in new:
        empty = Sidecar(np.empty((clip.frames, 0), dtype), ())
        format.write(listing.place(cond_root, clip, suffix), empty, in_building=in_building)
    return Created(len(new), len(good) - len(new), bad, [(clip, columns.get(clip.path, 0)) for clip in good])


def _columns_there(clip: TokenFile, path: str) -> dict[str, int]:
    """How many features the clip's sidecar has already; nothing when it has to be made.

    Raises:
        BadClip: when half of a sidecar is there, or one of another length, and it holds features.
    """
    npy, meta = format.exists(path)
    if not npy:
        return {}
    shape = format.read_values(path).shape
    if len(shape) != 2:
        raise BadClip(f"{format.name_of(path)} has shape {list(shape)}")
    if not meta and shape[1]:
        raise BadClip(f"{format.name_of(path)} has features, but its json is gone")
    if shape[0] != clip.frames and shape[1]:
        raise BadClip(f"{format.name_of(path)} has {shape[0]} frames of features, the token file {clip.frames}")
    return {clip.path: shape[1]} if meta and shape[0] == clip.frames else {}


def write_table(path: Path, created: Created, suffix: str) -> None:
    """`--manifest-csv`: one row for each clip with a sidecar."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for clip, width in created.columns:
        writer.writerow([clip.path, clip.name + suffix, clip.frames, width, FRAMES_PER_S, clip.codebooks])
    files.write_text(path, stream.getvalue())


def add_options(parser: argparse.ArgumentParser, *, dtype: Dtype) -> None:
    """The options of s3 alone; `dtype` is the default."""
    listing.add_folder_options(parser)
    parser.add_argument("--dtype", choices=format.DTYPES, default=dtype, help="number format (%(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="make sidecars anew that are there")
    table = f"write a table of the sidecars: {', '.join(COLUMNS)}"
    parser.add_argument("--manifest-csv", type=Path, metavar="FILE", help=table)
    listing.add_skip_option(parser)


# s4: what producers say about each clip becomes columns of its sidecar.


Mode = Literal["append", "overwrite"]

# An interpreter of its own costs a worker about a second until it has its producers; const, lin and from_filename do
# 10,000 clips in that time. So one process begins, and others join only when it looks back on _PROBE_S of work and
# ahead on more than _WORTH_S.
_PROBE_S = 1.0
_WORTH_S = 5.0

Outcome = tuple[str, ...] | Failure


@dataclass(frozen=True)
class Task:
    """What to do with each clip; picklable, so that worker processes can have it.

    Attributes:
        producers: as the user names them; of two features with one name the last producer's wins.
        args: the parsed options of the producers, and audio_root, the token folder.
        mode: append keeps the columns that are there and replaces those of the same name; overwrite drops them.
        dtype: None keeps each sidecar's own.
        create_missing: number format of the sidecars to make where there is none; None makes that an error.
        in_building: `out_root` is a folder of `files.building`.
    """

    tokens_root: Path
    source_root: Path
    out_root: Path
    producers: tuple[str, ...]
    producers_dir: Path
    args: argparse.Namespace
    mode: Mode = "append"
    dtype: Dtype | None = None
    suffix: str = format.SUFFIX
    create_missing: Dtype | None = None
    skip_errors: bool = False
    in_building: bool = False


@dataclass(frozen=True)
class Added:
    """What became of the clips; `features`: in how many sidecars each one is now."""

    clips: int
    rejected: list[Rejected]
    features: dict[str, int]


def add_features(task: Task, *, shard: listing.Shard = listing.WHOLE) -> Added:
    """Ask the producers about every clip and write the sidecars from `source_root` to `out_root`, which may be one.

    Raises:
        UserError: when a producer does not load or start; without `skip_errors` at the first bad clip.
    """
    clips = listing.list_clips(task.tokens_root, task.suffix, shard)
    bad = [listing.rejected(clip, clip.problem) for clip in clips if clip.problem]
    if bad and not task.skip_errors:
        raise listing.fail(f"{len(bad)} of {len(clips)} token files are bad, nothing was written", bad)
    good = [clip for clip in clips if not clip.problem]
    listing.make_folders(task.out_root, [clip.path for clip in good])
    counts: Counter[str] = Counter()
    for clip, outcome in zip(good, _run(task, good), strict=False):
        if isinstance(outcome, Failure):
            bad.append(listing.rejected(clip, outcome.reason))
        else:
            counts.update(outcome)
    done = len(clips) - len(bad)
    if bad and not task.skip_errors:
        raise listing.fail("stopped at a bad clip; sidecars written before are whole, the same command goes on", bad)
    if bad and not done:
        raise listing.fail("every clip is bad", bad, "nothing was written")
    return Added(done, bad, dict(counts))


def _run(task: Task, clips: Sequence[TokenFile]) -> list[Outcome]:
    """One outcome a clip, in order; without `skip_errors` the last one may be a failure and later ones missing."""
    started = time.monotonic()

    def is_long(done: int) -> bool:
        spent_s = time.monotonic() - started
        return spent_s > _PROBE_S and spent_s / done * (len(clips) - done) > _WORTH_S

    workers = runtime.jobs()
    with progress(len(clips), title="features", unit="clip") as bar:
        first = _work(task, clips, leave=is_long if workers > 1 else None, tick=bar.update)
    rest = clips[len(first) :]
    if not rest or _stops(task, first):
        return first
    parts = [rest[worker::workers] for worker in range(workers)]
    done = map_fresh(partial(_work, task), parts, title="features")
    outcomes: list[Outcome] = [Failure("not reached")] * len(rest)
    for worker, part in enumerate(done):
        outcomes[worker : worker + len(part) * workers : workers] = part
    bad = [index for index, outcome in enumerate(outcomes) if isinstance(outcome, Failure)]
    if bad and not task.skip_errors:
        del outcomes[bad[0] + 1 :]  # a worker leaves clips unreached only behind its failure, so this one is real
    return first + outcomes


def _stops(task: Task, outcomes: Sequence[Outcome]) -> bool:
    return not task.skip_errors and bool(outcomes) and isinstance(outcomes[-1], Failure)


def _work(
    task: Task,
    clips: Sequence[TokenFile],
    leave: Callable[[int], bool] | None = None,
    tick: Callable[[], object] | None = None,
) -> list[Outcome]:
    """The clips one by one in this process, until `leave`, or a failure that is not skipped."""
    producers = [plugins.load(name, task.producers_dir) for name in task.producers]
    outcomes: list[Outcome] = []
    with plugins.session(producers, task.args) as args:
        make = partial(_make, task, producers, args)
        for clip in clips:
            made = attempt(make, clip)
            if isinstance(made, Sidecar):  # written out here: a full disk is not the clip's fault
                place = listing.place(task.out_root, clip, task.suffix)
                format.write(place, made, in_building=task.in_building)
            outcomes.append(made.names if isinstance(made, Sidecar) else made)
            if tick:
                tick()
            if _stops(task, outcomes) or (leave and leave(len(outcomes))):
                break
    return outcomes


def _make(task: Task, producers: Sequence[plugins.Producer], args: argparse.Namespace, clip: TokenFile) -> Sidecar:
    before = _before(task, clip, listing.place(task.source_root, clip, task.suffix))
    made = plugins.ask(producers, task.tokens_root / clip.path, clip.frames, args)
    columns = {name: ("the sidecar", before.values[:, index]) for index, name in enumerate(before.names)}
    columns = made if task.mode == "overwrite" else columns | made
    values = stack(columns, clip.frames, np.dtype(task.dtype or before.values.dtype))
    return Sidecar(values, tuple(columns), before.extra)


def _before(task: Task, clip: TokenFile, path: str) -> Sidecar:
    """The sidecar as it is; an empty one where there is none and it may be made."""
    if not os.path.lexists(path):
        if task.create_missing is None:
            raise BadClip(f"there is no sidecar {path}: s3 makes it, or --create-missing")
        return Sidecar(np.empty((clip.frames, 0), task.create_missing), ())
    sidecar = format.read(path)
    if len(sidecar.values) != clip.frames:
        raise BadClip(f"{format.name_of(path)} has {len(sidecar.values)} frames, the token file has {clip.frames}")
    return sidecar


def stack(columns: dict[str, tuple[str, np.ndarray]], frames: int, dtype: np.dtype) -> np.ndarray:
    """The columns as one array `[T, D]` of the number format."""
    stored = np.empty((frames, len(columns)), dtype)
    with np.errstate(over="ignore"):
        for index, (_, values) in enumerate(columns.values()):
            stored[:, index] = values
    if not np.isfinite(stored).all():
        frame, index = map(int, np.argwhere(~np.isfinite(stored))[0])
        name, (owner, values) = list(columns.items())[index]
        owner = owner if owner == "the sidecar" else f"producer {owner}"
        fits = "" if not np.isfinite(values[frame]) else f" does not fit into {dtype.name}"
        raise BadClip(f"{owner}: feature {name!r} is {values[frame]:g} in frame {frame}:{fits or ' not finite'}")
    return stored


class _Arguments(argparse.ArgumentParser):
    """Options that stand in params.yaml: a mistake is the user's, told with the key."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"sidecar.arguments: {message}")


def parse_arguments(names: Sequence[str], folder: Path, arguments: Sequence[str]) -> argparse.Namespace:
    """The options of producers, as `sidecar.arguments` in params.yaml has them."""
    parser = _Arguments(prog="", add_help=False, allow_abbrev=False)
    plugins.add_options(parser, _load_once(names, folder))
    return parser.parse_args(arguments)


def parse_command(argv: Sequence[str], *, dtype: Dtype, folder: str, about: str | None) -> argparse.Namespace:
    """The command line of s4 alone; the options of the producers that it names are part of it.

    Args:
        dtype: of sidecars that `--create-missing` makes.
        folder: default of `--producers-dir`.
    """
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    _add_producer_options(first, folder)
    named, _ = first.parse_known_args(argv)
    parser = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    _add_producer_options(parser, folder)
    listing.add_folder_options(parser, required=not (named.list_producers or named.show_producer))
    modes = "append keeps the columns that are there, overwrite drops them (%(default)s)"
    parser.add_argument("--mode", choices=get_args(Mode), default="append", help=modes)
    parser.add_argument(
        "--create-missing", action="store_const", const=dtype, help=f"make sidecars that are missing ({dtype})"
    )
    parser.add_argument("--dtype", choices=format.DTYPES, help="number format (as each sidecar has it)")
    listing.add_skip_option(parser)
    plugins.add_options(parser, _load_once(named.producer, named.producers_dir))
    return parser.parse_args(argv)


def _add_producer_options(parser: argparse.ArgumentParser, folder: str) -> None:
    parser.add_argument(
        "--producer", action="append", default=[], metavar="NAME",
        help="a shipped one, a file or its name in the folder, or a dotted module; repeatable, in this order",
    )  # fmt: skip
    help_text = "folder of your own producers (%(default)s)"
    parser.add_argument("--producers-dir", type=Path, default=Path(folder), metavar="FOLDER", help=help_text)
    parser.add_argument("--list-producers", action="store_true", help="list them; executes none of your files")
    parser.add_argument("--show-producer", metavar="NAME", help="describe one and its options")


def _load_once(names: Sequence[str], folder: Path) -> list[plugins.Producer]:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise UserError(f"producer {twice[0]} is named twice")
    return [plugins.load(name, folder) for name in names]
