"""s3: an empty sidecar, `[T, 0]`, for every token file. s4: the features of producers become columns of the sidecars.

No token file is opened where its folder has an index.
"""

import argparse
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np

from soundraft import files, packs, runtime
from soundraft.audio import ecdc
from soundraft.audio.ecdc import FRAMES_PER_S, TokenFile
from soundraft.manifest import Rejected
from soundraft.packs import Place
from soundraft.parallel import Failure, attempt, map_fresh, progress
from soundraft.runtime import BadClip, UserError
from soundraft.sidecar import format, listing, producers
from soundraft.sidecar.format import Dtype, Sidecar
from soundraft.sidecar.producers import Producer

COLUMNS = ("rel_ecdc", "rel_cond", "frames", "D", "fps", "codebooks")
Mode = Literal["append", "overwrite", "replace-all"]
Outcome = tuple[tuple[str, ...], tuple[str, ...]] | Failure  # the features of a sidecar; those that `append` kept

# An interpreter of its own costs a worker about a second until it has its producers; const, lin and from_filename do
# 10,000 clips in that time. So one process begins, and others join only when it looks back on _PROBE_S of work and
# ahead on more than _WORTH_S.
_PROBE_S = 1.0
_WORTH_S = 5.0


@dataclass(frozen=True)
class Created:
    """What s3 did.

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
    schema: int = 1,
    suffix: str = format.SUFFIX,
    overwrite: bool = False,
    skip_errors: bool = False,
    packed: bool = False,
    shard: listing.Shard = listing.WHOLE,
) -> Created:
    """Make the sidecars that are not there yet; with `overwrite` all of them.

    Args:
        packed: into packs, not as loose files.

    Raises:
        UserError: without `skip_errors` when a clip is bad, before anything is written.
    """
    clips = listing.list_clips(tokens_root, suffix, shard)
    columns: dict[str, int] = {}
    bad: dict[str, Rejected] = {}
    for clip in clips:
        try:
            if clip.problem:
                raise BadClip(clip.problem)
            if not overwrite:
                columns |= _columns_there(clip, listing.place(cond_root, clip, suffix))
        except BadClip as error:
            bad[clip.path] = listing.rejected(clip, str(error))
    if bad and (not skip_errors or len(bad) == len(clips)):
        what = f"{len(bad)} of {len(clips)} clips cannot have a sidecar, nothing was written"
        raise listing.fail(what, list(bad.values()))
    good = [clip for clip in clips if clip.path not in bad]
    new = [clip for clip in good if clip.path not in columns]
    with _writer(cond_root, packed) as (write, places):
        for clip in new:
            write(clip.name + suffix, Sidecar(np.empty((clip.frames, 0), dtype), (), schema=schema))
    if packed:
        packs.pack(cond_root, (suffix, format.json_name(suffix)), spooled=places)
    widths = [(clip, columns.get(clip.path, 0)) for clip in good]
    return Created(len(new), len(good) - len(new), list(bad.values()), widths)


@contextmanager
def _writer(root: Path, packed: bool) -> Iterator[tuple[Callable[[str, Sidecar], None], dict[str, Place]]]:
    """How to write a sidecar, by the name of its npy; and where those that wait to be packed lie."""
    if not packed:
        yield lambda name, sidecar: format.write(f"{root}/{name}", sidecar), {}
        return
    with packs.spool(root) as spool:

        def write(name: str, sidecar: Sidecar) -> None:
            for each, data in format.contents(name, sidecar).items():
                spool.add(each, data)

        yield write, spool.places


def _columns_there(clip: TokenFile, path: str) -> dict[str, int]:
    """How many features the clip's sidecar has already; nothing when it has to be made.

    Raises:
        BadClip: when half of a sidecar is there, or one of another length, and it holds features.
    """
    npy, meta = format.exists(path)
    if not npy:
        return {}
    shape = format.read_values(path).shape
    name, remedy = os.path.basename(path), "--overwrite makes it again"
    if len(shape) != 2:
        raise BadClip(f"{name} has shape {list(shape)}; {remedy}")
    if not meta and shape[1]:
        raise BadClip(f"{name} has features, but its json is gone; {remedy}")
    if shape[0] != clip.frames and shape[1]:
        raise BadClip(f"{name} has {shape[0]} frames of features, the token file {clip.frames}; {remedy}")
    return {clip.path: shape[1]} if meta and shape[0] == clip.frames else {}


def write_table(path: Path, created: Created, suffix: str) -> None:
    """`--manifest-csv`: one row for each clip with a sidecar."""
    rows = [
        (clip.path, clip.name + suffix, clip.frames, width, FRAMES_PER_S, clip.codebooks)
        for clip, width in created.columns
    ]
    files.write_csv(path, (dict(zip(COLUMNS, row, strict=True)) for row in rows), COLUMNS)


@dataclass(frozen=True)
class FeaturePass:
    """What s4 does with each clip; picklable, so that worker processes can have it.

    Attributes:
        producers: as the user names them; of two features with one name the last producer's wins.
        args: the parsed options of the producers, and audio_root, the token folder.
        mode: what becomes of the columns that are there: append keeps all of them, overwrite replaces those of the same
            name, replace-all removes them.
        dtype, schema: None keeps each sidecar's own.
        create_missing: number format of the sidecars to make where there is none; None makes that an error.
        packed: into packs, not as loose files.
    """

    tokens_root: Path
    source_root: Path
    out_root: Path
    producers: tuple[str, ...]
    producers_dir: Path
    args: argparse.Namespace
    mode: Mode = "append"
    dtype: Dtype | None = None
    schema: int | None = None
    suffix: str = format.SUFFIX
    create_missing: Dtype | None = None
    skip_errors: bool = False
    packed: bool = False

    def stops(self, outcomes: Sequence[Outcome]) -> bool:
        return not self.skip_errors and bool(outcomes) and isinstance(outcomes[-1], Failure)


@dataclass(frozen=True)
class Added:
    """What s4 did.

    Attributes:
        features: in how many sidecars each one is now.
        kept: of these, in how many a producer has it too, and `append` kept what was there.
    """

    clips: int
    rejected: list[Rejected]
    features: dict[str, int]
    kept: dict[str, int]

    def lines(self) -> list[str]:
        named = ", ".join(f"{name} ({count})" for name, count in self.features.items()) or "no features"
        lines = [f"SKIPPED {bad.path}: {bad.reason}" for bad in self.rejected]
        if self.kept:
            kept = ", ".join(f"{name} ({count})" for name, count in self.kept.items())
            lines.append(f"left as they were: {kept}; --mode overwrite replaces them")
        return [*lines, f"{self.clips} sidecars with {named}; {len(self.rejected)} clips skipped"]


def add_features(job: FeaturePass, *, shard: listing.Shard = listing.WHOLE) -> Added:
    """Ask the producers about every clip and write the sidecars from `source_root` to `out_root`, which may be one.

    Raises:
        UserError: when a producer does not load or start; without `skip_errors` at the first bad clip.
    """
    clips = listing.list_clips(job.tokens_root, job.suffix, shard)
    bad = [listing.rejected(clip, clip.problem) for clip in clips if clip.problem]
    if bad and not job.skip_errors:
        raise listing.fail(f"{len(bad)} of {len(clips)} token files are bad, nothing was written", bad)
    good = [clip for clip in clips if not clip.problem]
    counts: Counter[str] = Counter()
    kept: Counter[str] = Counter()
    outcomes, places = _run(job, good)
    for clip, outcome in zip(good, outcomes, strict=False):
        if isinstance(outcome, Failure):
            bad.append(listing.rejected(clip, outcome.reason))
        else:
            counts.update(outcome[0])
            kept.update(outcome[1])
    if bad and not job.skip_errors:
        raise listing.fail("stopped at a bad clip; sidecars written before are whole, the same command goes on", bad)
    if len(bad) == len(clips) > 0:
        raise listing.fail("every clip is bad", bad, "nothing was written")
    if job.packed:
        packs.pack(job.out_root, (job.suffix, format.json_name(job.suffix)), spooled=places)
    return Added(len(clips) - len(bad), bad, dict(counts), dict(kept))


def _run(job: FeaturePass, clips: Sequence[TokenFile]) -> tuple[list[Outcome], dict[str, Place]]:
    """One outcome a clip, in order; without `skip_errors` the last one may be a failure and later ones missing.

    And where the files lie that wait to be packed.
    """
    started = time.monotonic()

    def is_long(done: int) -> bool:
        spent_s = time.monotonic() - started
        return spent_s > _PROBE_S and spent_s / done * (len(clips) - done) > _WORTH_S

    workers = runtime.jobs()
    with progress(len(clips), title="features", unit="clip") as bar:
        first, places = _work(job, clips, leave=is_long if workers > 1 else None, tick=bar.update)
    rest = clips[len(first) :]
    if not rest or job.stops(first):
        return first, places
    parts = [rest[worker::workers] for worker in range(workers)]
    outcomes: list[Outcome] = [Failure("not reached")] * len(rest)
    for worker, (part, spooled) in enumerate(map_fresh(partial(_work, job), parts, title="features")):
        outcomes[worker : worker + len(part) * workers : workers] = part
        places |= spooled
    bad = [index for index, outcome in enumerate(outcomes) if isinstance(outcome, Failure)]
    if bad and not job.skip_errors:
        del outcomes[bad[0] + 1 :]  # a worker leaves clips unreached only behind its failure, so this one is real
    return first + outcomes, places


def _work(
    job: FeaturePass,
    clips: Sequence[TokenFile],
    leave: Callable[[int], bool] | None = None,
    tick: Callable[[], object] | None = None,
) -> tuple[list[Outcome], dict[str, Place]]:
    """The clips one by one in this process, until `leave`, or a failure that is not skipped."""
    loaded = [producers.load(name, job.producers_dir) for name in job.producers]
    outcomes: list[Outcome] = []
    with producers.session(loaded, job.args) as args, _writer(job.out_root, job.packed) as (write, places):
        for clip in clips:
            made = attempt(partial(_make, job, loaded, args), clip)
            if not isinstance(made, Failure):  # written out here: a full disk is not the clip's fault
                write(clip.name + job.suffix, made[0])
            outcomes.append(made if isinstance(made, Failure) else (made[0].names, made[1]))
            if tick:
                tick()
            if job.stops(outcomes) or (leave and leave(len(outcomes))):
                break
    return outcomes, places


def _make(
    job: FeaturePass, loaded: Sequence[Producer], args: argparse.Namespace, clip: TokenFile
) -> tuple[Sidecar, tuple[str, ...]]:
    """The sidecar as it will be, and the features that `append` keeps from a producer that has them, too."""
    before = _before(job, clip, listing.place(job.source_root, clip, job.suffix))
    made = producers.ask(loaded, job.tokens_root / clip.path, clip.frames, args)
    return merge(before, made, job.mode, job.dtype, job.schema), tuple(
        name for name in before.names if name in made and job.mode == "append"
    )


def merge(
    before: Sidecar, made: dict[str, tuple[str, np.ndarray]], mode: Mode, dtype: Dtype | None, schema: int | None
) -> Sidecar:
    """The sidecar with what was made: by name (producer, values `[T]`)."""
    old = {name: ("", before.values[:, index]) for index, name in enumerate(before.names)}
    columns = {"append": old | made | old, "overwrite": old | made, "replace-all": made}[mode]
    about = {name: before.about.get(name, {}) for name, column in columns.items() if column is old.get(name)}
    values = stack(columns, len(before.values), np.dtype(dtype or before.values.dtype))
    return Sidecar(values, tuple(columns), before.extra, about, schema or before.schema)


def _before(job: FeaturePass, clip: TokenFile, path: str) -> Sidecar:
    """The sidecar as it is; an empty one where there is none and it may be made."""
    try:
        sidecar = format.read(path)
    except BadClip:
        if files.exists(path):
            raise
        if job.create_missing is None:
            raise BadClip(f"there is no sidecar {path}: s3 makes it, or --create-missing") from None
        return Sidecar(np.empty((clip.frames, 0), job.create_missing), (), schema=job.schema or 1)
    if len(sidecar.values) != clip.frames:
        name = os.path.basename(path)
        raise BadClip(f"{name} has {len(sidecar.values)} frames, the token file has {clip.frames}")
    return sidecar


def stack(columns: dict[str, tuple[str, np.ndarray]], frames: int, dtype: np.dtype) -> np.ndarray:
    """The columns, by name with their producer (empty: the sidecar), as one array `[T, D]` of the number format."""
    stored = np.empty((frames, len(columns)), dtype)
    with np.errstate(over="ignore"):
        for index, (_, values) in enumerate(columns.values()):
            stored[:, index] = values
    if not np.isfinite(stored).all():
        frame, index = map(int, np.argwhere(~np.isfinite(stored))[0])
        name, (producer, values) = list(columns.items())[index]
        owner = f"producer {producer}" if producer else "the sidecar"
        why = f"does not fit into {dtype.name}" if np.isfinite(values[frame]) else "not finite"
        raise BadClip(f"{owner}: feature {name!r} is {values[frame]:g} in frame {frame}: {why}")
    return stored


class _Arguments(argparse.ArgumentParser):
    """Options that stand in params.yaml: a mistake is the user's, reported with the key."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"sidecar.arguments: {message}")


def parse_arguments(loaded: Sequence[Producer], arguments: Sequence[str]) -> argparse.Namespace:
    """The options of producers, as `sidecar.arguments` in params.yaml has them."""
    parser = _Arguments(prog="", add_help=False, allow_abbrev=False)
    producers.add_options(parser, loaded)
    return parser.parse_args(arguments)


def write_sidecar_features(
    path: Path | str,
    features: Mapping[str, Any],
    *,
    dtype: Dtype | None = None,
    schema: int | None = None,
    mode: Mode = "overwrite",
    require_tokens: bool = False,
) -> None:
    """Put features into the sidecar of one token file, `x.ecdc`; it lies beside it and is made where there is none.

    Args:
        path: of the token file, or of the sidecar's npy.
        features: by name the values, one a frame, as an array, a tensor or a list; or a dict of `values` and, as they
            are known, `units`, `doc_string`, and with schema 2 statistics of your own: `min`, `max`, `mean`, `std`.
        dtype: float16 or float32; that of the sidecar, else float16.
        schema: 1 or 2; that of the sidecar, else 2.
        mode: as of `FeaturePass`.
        require_tokens: refuse a path without a token file. One that is there always decides on the length.

    Raises:
        BadClip: when values are no finite numbers, or not as many as the token file or the sidecar has frames.
        UserError: when there is no token file and there must be one, or the sidecar cannot be written.
    """
    place = Path(path)
    tokens = place if place.name.endswith(ecdc.SUFFIX) else None
    npy = f"{place.parent}/{place.name.removesuffix(ecdc.SUFFIX)}{format.SUFFIX}" if tokens else str(path)
    has_tokens = tokens is not None and files.exists(tokens)
    if require_tokens and not has_tokens:
        raise UserError(f"no token file {place}")
    given = {name: dict(one) if isinstance(one, Mapping) else {"values": one} for name, one in features.items()}
    columns = {name: producers.plain(one.pop("values", None)) for name, one in given.items()}
    lengths = [len(column) for column in columns.values() if column.ndim]
    if any(format.exists(npy)):
        before = format.read(npy)
    elif has_tokens or lengths:
        frames = ecdc.read(place).frames if has_tokens else lengths[0]
        before = Sidecar(np.empty((frames, 0), dtype or "float16"), (), schema=schema or 2)
    else:
        raise BadClip(f"{path}: neither a token file nor a feature says how many frames there are")
    for name, column in columns.items():
        wrong = producers.fault(name, column, len(before.values))
        if wrong:
            raise BadClip(f"{path}: feature {name!r} {wrong}")
    if (schema or before.schema) == 1 and any(one.keys() & set(format.STATISTICS) for one in given.values()):
        raise UserError(f"{path}: schema 1 has the statistics of the stored numbers; to state others give schema=2")
    if has_tokens and len(before.values) != ecdc.read(place).frames:
        raise BadClip(f"{path}: the sidecar has {len(before.values)} frames, the token file another number")
    sidecar = merge(before, {name: ("given", column) for name, column in columns.items()}, mode, dtype, schema)
    kept = before.names if mode == "append" else ()
    sidecar.about.update({name: one for name, one in given.items() if name not in kept})
    format.write(npy, sidecar)
