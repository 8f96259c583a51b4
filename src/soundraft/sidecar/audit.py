"""Is every sidecar what it says, and does it fit its token file? One finding for each fault.

- bad_ecdc: the token file cannot be read, or the index lists one that is not there;
- missing_sidecar, bad_sidecar (unreadable, half of a pair, NaN), bad_shape (not `[T, D]`), dtype_mismatch;
- frame_mismatch: sidecar, token file and index disagree on T; fps_mismatch;
- unlike_others: it fits into no batch with most clips, having other codebooks or features;
- missing_names, duplicate_names, names_length_mismatch, missing_features (required ones);
- norm_invalid, norm_length_mismatch, norm_inverted: the stated statistics;
- range_below_min, range_above_max, range_unverifiable: the numbers against them;
- auditor_error: this code failed on the clip.
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np

from soundraft import files
from soundraft.audio import ecdc
from soundraft.audio.ecdc import TokenFile
from soundraft.parallel import Failure, attempt, map_clips
from soundraft.params.sections import Audit as Limits
from soundraft.params.sections import FindingCode
from soundraft.runtime import BadClip, UserError
from soundraft.sidecar import format, listing
from soundraft.sidecar.format import DTYPES, STATISTICS, Dtype
from soundraft.sidecar.listing import Shape
from soundraft.tables import below

CODES: tuple[FindingCode, ...] = get_args(FindingCode)
COLUMNS = ("type", "rel_ecdc", "rel_cond", "detail")
Found = Iterator[tuple[FindingCode, str]]  # with the detail
UNSHAPED: set[FindingCode] = {"bad_sidecar", "bad_shape", "missing_names", "duplicate_names", "names_length_mismatch"}


@dataclass(frozen=True)
class Finding:
    type: FindingCode
    rel_ecdc: str
    rel_cond: str
    detail: str


@dataclass(frozen=True)
class Audited:
    """What was found.

    Attributes:
        orphans: sidecar files without a token file.
        doubled: sidecars whose json has its older name.
        content: hash of what was read.
        expected: limits and whatever else sidecars were held against.
        counts: findings of each type.
    """

    clips: int
    findings: list[Finding]
    orphans: list[str]
    doubled: list[str]
    content: str
    expected: "Expectations"
    counts: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        found = Counter(finding.type for finding in self.findings)
        object.__setattr__(self, "counts", {code: found[code] for code in CODES if found[code]})

    @property
    def failing(self) -> int:
        """Clips with a finding of a type that fails."""
        limits = self.expected.limits
        return len({finding.rel_ecdc for finding in self.findings if finding.type in limits.fail_on})

    @property
    def passed(self) -> bool:
        return self.failing <= self.expected.limits.max_failing_fraction * self.clips

    def lines(self) -> list[str]:
        counts = ", ".join(f"{code} {count}" for code, count in self.counts.items()) or "no findings"
        lines = [f"{self.clips} clips: {counts}"]
        if self.orphans:
            lines.append(f"{len(self.orphans)} files without a token file, such as {self.orphans[0]}")
        if self.doubled:
            lines.append(
                f"{len(self.doubled)} descriptions have the older name NAME.cond.cond.json, such as {self.doubled[0]}: "
                "they are read, and s4 renames them"
            )
        return lines


@dataclass(frozen=True)
class Expectations:
    """What a sidecar is held against; picklable, so that worker processes can have it.

    Attributes:
        dtype: None takes float16 and float32.
    """

    limits: Limits
    dtype: Dtype | None = None
    fps: int = ecdc.FRAMES_PER_S


def audit(
    tokens_root: Path,
    cond_root: Path,
    expected: Expectations,
    *,
    suffix: str = format.SUFFIX,
    shard: listing.Shard = listing.WHOLE,
) -> Audited:
    """Open every token file and every sidecar; findings come sorted by clip."""
    there = listing.list_clips(tokens_root, suffix, shard)
    present = {clip.path for clip in there}
    vanished = [row for row in ecdc.read_index(tokens_root) if row.path not in present and shard.has(row.path)]
    clips = sorted(there + vanished, key=lambda clip: clip.path)
    results = map_clips(partial(_open, tokens_root, cond_root, suffix, expected), clips, title="audit")
    found: dict[str, list[tuple[FindingCode, str]]] = {}
    shapes: dict[str, Shape] = {}
    hashes: dict[str, str] = {}
    for clip, result in zip(clips, results, strict=True):
        hashes[clip.path], looked = ("", result) if isinstance(result, Failure) else result
        if isinstance(looked, Failure):
            found[clip.path] = [("auditor_error", looked.reason)]
        else:
            found[clip.path], shape = looked
            shapes |= {clip.path: shape} if shape else {}
    content = listing.folder_hash((path, hashes[path]) for path in present)
    for path, detail in listing.unlike(shapes).items():
        found[path].append(("unlike_others", detail))
    findings = [
        Finding(code, clip.path, clip.name + suffix, detail) for clip in clips for code, detail in found[clip.path]
    ]
    places = {clip.name: listing.place(cond_root, clip, suffix) for clip in clips}
    doubled = [name for name, place in places.items() if format.json_path(place) != format.json_name(place)]
    orphans = _orphans(cond_root, suffix, shard, {clip.name for clip in clips})
    return Audited(len(clips), findings, orphans, doubled, content, expected)


def _orphans(root: Path, suffix: str, shard: listing.Shard, names: set[str]) -> list[str]:
    """Files of sidecars, of this shard, whose token file is gone."""
    endings = (suffix, format.doubled_name(suffix), format.json_name(suffix))
    found = []
    for relative in files.sorted_names(root, endings):
        name = next(relative.removesuffix(ending) for ending in endings if relative.endswith(ending))
        if name not in names and shard.has(name + ecdc.SUFFIX):
            found.append(relative)
    return found


def _open(
    tokens_root: Path, cond_root: Path, suffix: str, expected: Expectations, clip: TokenFile
) -> tuple[str, tuple[list[tuple[FindingCode, str]], Shape | None] | Failure]:
    """The hash of a clip's three files, and what is found in them."""
    paths = listing.paths_of(tokens_root, cond_root, clip, suffix)
    contents = [listing.read(path) for path in paths]
    return listing.files_hash(contents), attempt(partial(_look, paths, contents, expected), clip)


def _look(
    paths: Sequence[str], contents: Sequence[bytes | None], expected: Expectations, clip: TokenFile
) -> tuple[list[tuple[FindingCode, str]], Shape | None]:
    """What is found of one clip, and its shape where all of it can be read."""
    found: list[tuple[FindingCode, str]] = []
    names: list[str] = []
    codebooks, frames = 0, None
    try:
        tokens = ecdc.read(Path(paths[0])) if contents[0] is None else ecdc.parse(contents[0])
        codebooks, frames = tokens.codes.shape
    except BadClip as error:
        found.append(("bad_ecdc", str(error)))
    if clip.problem and frames is not None:
        found.append(("bad_ecdc", clip.problem))
    elif frames is not None and frames != clip.frames:
        found.append(("frame_mismatch", f"the index says {clip.frames} frames, the token file has {frames}"))
    npy, meta = (data is not None or files.exists(path) for path, data in zip(paths[1:], contents[1:], strict=True))
    if not npy:
        half = "; its json is there alone" if meta else ""
        return [*found, ("missing_sidecar", f"no {os.path.basename(paths[1])}{half}")], None
    whole = [*found, *check_pair(paths[1:], contents[1:], frames, expected, names)]
    unreadable = codebooks == 0 or {code for code, _ in whole} & UNSHAPED
    return whole, None if unreadable else (codebooks, tuple(names))


def check_pair(
    paths: Sequence[str],
    contents: Sequence[bytes | None],
    frames: int | None,
    expected: Expectations,
    names: list[str],
) -> Found:
    """The npy and the json of a sidecar, whose token file has so many frames; its names go into `names`."""
    values = meta = None
    try:
        values = format.read_values(paths[0], contents[0])
    except BadClip as error:
        yield "bad_sidecar", str(error)
    try:
        meta = format.read_meta(paths[1], contents[1])
    except BadClip as error:
        yield "bad_sidecar", str(error)
    if values is not None and values.ndim != 2:
        yield "bad_shape", f"shape {list(values.shape)}; [T, D] is wanted"
        values = None
    if values is not None:
        yield from check_values(values, frames, expected)
    if meta is not None:
        names += meta["names"] if format.is_names(meta.get("names")) else []
        yield from check_names(meta, values, expected)
        yield from check_norm(meta, values, expected)


def check_values(values: np.ndarray, frames: int | None, expected: Expectations) -> Found:
    """An array `[T, D]` against the T of the codes."""
    wanted = (expected.dtype,) if expected.dtype else DTYPES
    if values.dtype.name not in wanted:
        yield "dtype_mismatch", f"{values.dtype.name}; {' or '.join(wanted)} is wanted"
    if frames is not None and len(values) != frames:
        yield "frame_mismatch", f"the sidecar has {len(values)} frames, the token file has {frames}"
    if not np.isfinite(values).all():
        frame, column = map(int, np.argwhere(~np.isfinite(values))[0])
        yield "bad_sidecar", f"{values[frame, column]} in frame {frame} of column {column}"


def check_names(meta: dict[str, Any], values: np.ndarray | None, expected: Expectations) -> Found:
    rates = {key: meta.get(key) for key in ("fps", "source_rate") if not _is_number(meta.get(key), expected.fps)}
    if rates:
        yield "fps_mismatch", f"{', '.join(f'{k} is {v!r:.80}' for k, v in rates.items())}; {expected.fps} is wanted"
    names: Any = meta.get("names")
    if not format.is_names(names):
        yield "missing_names", f"names is {names!r:.80}; a list of texts is wanted"
        return
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        yield "duplicate_names", ", ".join(twice)
    if values is not None and len(names) != values.shape[1]:
        yield "names_length_mismatch", f"{len(names)} names, {values.shape[1]} columns"
    absent = [name for name in expected.limits.require if name not in names]
    if absent:
        yield "missing_features", ", ".join(absent)


def check_norm(meta: dict[str, Any], values: np.ndarray | None, expected: Expectations) -> Found:
    """The stated statistics, and with `verify_ranges` the numbers against them."""
    norm: Any = meta.get("norm")
    fault = norm_fault(norm)
    if fault:
        yield "norm_invalid", fault
        if expected.limits.verify_ranges:
            yield "range_unverifiable", "the statistics are no numbers"
        return
    width = len(norm["min"]) if values is None else values.shape[1]
    lengths = {key: len(norm[key]) for key in STATISTICS}
    if set(lengths.values()) != {width}:
        stated = ", ".join(f"{key} {length}" for key, length in lengths.items())
        yield "norm_length_mismatch", f"{stated}; {width} columns"
    inverted = [i for i, (low, high) in enumerate(zip(norm["min"], norm["max"], strict=False)) if low > high]
    if inverted:
        at = inverted[0]
        yield "norm_inverted", f"column {at}: min {norm['min'][at]:g} is above max {norm['max'][at]:g}"
    if expected.limits.verify_ranges:
        yield from check_ranges(values, norm, expected.limits.range_tolerance)


def check_ranges(values: np.ndarray | None, norm: dict[str, Any], tolerance: float) -> Found:
    """With the limits rounded as the numbers are: those of the numbers before rounding raise no alarm, too."""
    if values is None or {len(norm["min"]), len(norm["max"])} != {values.shape[1]} or not np.isfinite(values).all():
        yield "range_unverifiable", "there are not as many finite numbers as statistics"
        return
    if values.size == 0:
        return
    low, high = values.min(axis=0).astype(np.float64), values.max(axis=0).astype(np.float64)
    with np.errstate(over="ignore"):
        least, most = (np.array(norm[key]).astype(values.dtype).astype(np.float64) for key in ("min", "max"))
    for column in np.flatnonzero(low < least - tolerance):
        yield "range_below_min", f"column {column}: {low[column]:g} is below min {norm['min'][column]:g}"
    for column in np.flatnonzero(high > most + tolerance):
        yield "range_above_max", f"column {column}: {high[column]:g} is above max {norm['max'][column]:g}"


def norm_fault(norm: Any) -> str:
    """Why `norm` is none: four lists of finite numbers, no std below 0. Empty when it is one."""
    if not isinstance(norm, dict):
        return f"norm is {type(norm).__name__}; an object with {', '.join(STATISTICS)} is wanted"
    for key in STATISTICS:
        numbers = norm.get(key)
        if not isinstance(numbers, list) or not all(_is_number(value) for value in numbers):
            return f"{key} is {numbers!r:.80}; a list of numbers is wanted"
    return "std is below 0" if any(value < 0 for value in norm["std"]) else ""


def _is_number(value: Any, wanted: float | None = None) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 1e300 and wanted in (None, value)  # false for NaN, and safe for whole numbers of any length


def write_table(path: Path, audited: Audited) -> None:
    files.write_csv(path, map(vars, audited.findings), COLUMNS)


def write_summary(path: Path, audited: Audited) -> None:
    expected, limits = audited.expected, audited.expected.limits.model_dump()
    summary = {
        "clips": audited.clips,
        "content": audited.content,
        "findings": audited.counts,
        "orphans": audited.orphans,
        "limits": {
            "fail_on": limits.pop("fail_on"),
            "max_failing_fraction": limits.pop("max_failing_fraction"),
            "fps": expected.fps,
            "dtype": expected.dtype,
            **limits,
        },
        "failing_clips": audited.failing,
        "verdict": "passed" if audited.passed else "failed",
    }
    files.write_json(path, summary)


def check(audited: Audited) -> None:
    """Raise UserError, with the first findings, when more clips fail than allowed."""
    if not audited.passed:
        limits = audited.expected.limits
        worst = [f"{row.type}: {row.rel_ecdc}: {row.detail}" for row in audited.findings if row.type in limits.fail_on]
        raise UserError(
            f"{audited.failing} of {audited.clips} clips have a finding that fails; {limits.max_failing_fraction:.1%} "
            f"may:{below(worst)}"
        )


def found_nothing(path: Path) -> bool:
    """Whether the summary in `path` is of an audit without a single finding."""
    return path.is_file() and not files.read_json(path).get("findings")


def check_passed(path: Path, content: str) -> None:
    """Raise UserError unless the summary in `path` says that content of this hash passed."""
    if not path.is_file():
        raise UserError(f"no {path}: run the audit first")
    summary = files.read_json(path)
    if summary.get("verdict") != "passed":
        raise UserError(f"{path}: the audit failed: {summary.get('failing_clips')} of {summary.get('clips')} clips")
    if summary.get("content") != content:
        raise UserError(f"{path} is of other tokens or sidecars than those there now: run the audit again")
