"""Is every sidecar what it says, and does it fit its token file? One finding for each thing that is wrong.

- bad_ecdc: the token file cannot be read, or the index lists one that is not there;
- missing_sidecar, bad_sidecar (unreadable, half of a pair, NaN), bad_shape (not `[T, D]`), dtype_mismatch;
- frame_mismatch: sidecar, token file and index disagree on T; fps_mismatch;
- missing_names, duplicate_names, names_length_mismatch, missing_features (required ones);
- norm_invalid, norm_length_mismatch, norm_inverted: the stated statistics;
- range_below_min, range_above_max, range_unverifiable: the numbers against them;
- auditor_error: this code failed on the clip.
"""

import argparse
import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np

from soundraft import files
from soundraft.audio import ecdc
from soundraft.audio.ecdc import TokenFile
from soundraft.parallel import BadClip, Failure, map_clips
from soundraft.params.sections import Audit as Limits
from soundraft.params.sections import FindingCode
from soundraft.runtime import UserError
from soundraft.sidecar import format, listing
from soundraft.sidecar import listing as content
from soundraft.sidecar.format import DTYPES, STATISTICS, Dtype

CODES: tuple[FindingCode, ...] = get_args(FindingCode)
COLUMNS = ("type", "rel_ecdc", "rel_cond", "detail")


@dataclass(frozen=True)
class Finding:
    type: FindingCode
    rel_ecdc: str
    rel_cond: str
    detail: str


@dataclass(frozen=True)
class Expectations:
    """What a sidecar is held against; picklable, so that worker processes can have it.

    Attributes:
        dtype: None takes float16 and float32.
        require: features that each sidecar must have.
        verify_ranges: compare each number with the stated min and max, with a slack of `range_tolerance`.
    """

    fps: int = ecdc.FRAMES_PER_S
    dtype: Dtype | None = None
    require: tuple[str, ...] = ()
    verify_ranges: bool = False
    range_tolerance: float = 0.0


@dataclass(frozen=True)
class Audit:
    """What was found; `orphans` are sidecar files without a token file, `content` is the hash of what was looked at."""

    clips: int
    findings: list[Finding]
    orphans: list[str]
    expected: Expectations
    content: str
    counts: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        found = Counter(finding.type for finding in self.findings)
        object.__setattr__(self, "counts", {code: found[code] for code in CODES if found[code]})

    def failing(self, fail_on: Sequence[FindingCode]) -> int:
        """Clips with a finding of these types."""
        return len({finding.rel_ecdc for finding in self.findings if finding.type in fail_on})


@dataclass(frozen=True)
class _Auditor:
    tokens_root: Path
    cond_root: Path
    suffix: str
    expected: Expectations

    def __call__(self, clip: TokenFile) -> list[tuple[FindingCode, str]]:
        return list(self._findings(clip))

    def _findings(self, clip: TokenFile) -> Iterator[tuple[FindingCode, str]]:
        frames: int | None = None
        try:
            frames = ecdc.read(self.tokens_root / clip.path).frames
        except BadClip as error:
            yield "bad_ecdc", str(error)
        if clip.problem and frames is not None:
            yield "bad_ecdc", clip.problem
        elif frames is not None and frames != clip.frames:
            yield "frame_mismatch", f"the index says {clip.frames} frames, the token file has {frames}"
        path = listing.place(self.cond_root, clip, self.suffix)
        npy, meta = format.exists(path)
        if not npy:
            half = "; its json is there alone" if meta else ""
            yield "missing_sidecar", f"no {format.name_of(path)}{half}"
        else:
            yield from self._pair(path, frames)

    def _pair(self, path: str, frames: int | None) -> Iterator[tuple[FindingCode, str]]:
        values = meta = None
        try:
            values = format.read_values(path)
        except BadClip as error:
            yield "bad_sidecar", str(error)
        try:
            meta = format.read_meta(format.json_path(path))
        except BadClip as error:
            yield "bad_sidecar", str(error)
        if values is not None and values.ndim != 2:
            yield "bad_shape", f"shape {list(values.shape)}; [T, D] is wanted"
            values = None
        if values is not None:
            yield from check_values(values, frames, self.expected)
        if meta is not None:
            yield from check_names(meta, values, self.expected)
            yield from check_norm(meta, values, self.expected)


def audit(
    tokens_root: Path,
    cond_root: Path,
    expected: Expectations,
    *,
    suffix: str = format.SUFFIX,
    shard: listing.Shard = listing.WHOLE,
) -> Audit:
    """Open every token file and every sidecar; findings come sorted by clip."""
    there = listing.list_clips(tokens_root, suffix, shard)
    seen = content.hash_folders(tokens_root, cond_root, there, suffix)
    clips = _with_vanished(there, tokens_root, shard)
    results = map_clips(_Auditor(tokens_root, cond_root, suffix, expected), clips, title="audit")
    findings = []
    for clip, result in zip(clips, results, strict=True):
        found: list[tuple[FindingCode, str]] = (
            [("auditor_error", result.reason)] if isinstance(result, Failure) else result
        )
        findings += [Finding(code, clip.path, clip.name + suffix, detail) for code, detail in found]
    orphans = _orphans(cond_root, suffix, shard, {clip.name for clip in clips})
    return Audit(len(clips), findings, orphans, expected, seen)


def check_values(values: np.ndarray, frames: int | None, expected: Expectations) -> Iterator[tuple[FindingCode, str]]:
    """An array `[T, D]` against the T of the codes."""
    wanted = (expected.dtype,) if expected.dtype else DTYPES
    if values.dtype.name not in wanted:
        yield "dtype_mismatch", f"{values.dtype.name}; {' or '.join(wanted)} is wanted"
    if frames is not None and len(values) != frames:
        yield "frame_mismatch", f"the sidecar has {len(values)} frames, the token file has {frames}"
    if not np.isfinite(values).all():
        frame, column = map(int, np.argwhere(~np.isfinite(values))[0])
        yield "bad_sidecar", f"{values[frame, column]} in frame {frame} of column {column}"


def check_names(
    meta: dict[str, Any], values: np.ndarray | None, expected: Expectations
) -> Iterator[tuple[FindingCode, str]]:
    rates = {key: meta.get(key) for key in ("fps", "source_rate") if not _is_number(meta.get(key), expected.fps)}
    if rates:
        yield "fps_mismatch", f"{', '.join(f'{k} is {v!r:.80}' for k, v in rates.items())}; {expected.fps} is wanted"
    names = meta.get("names")
    if not format.is_names(names):
        yield "missing_names", f"names is {names!r:.80}; a list of texts is wanted"
        return
    assert isinstance(names, list)
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        yield "duplicate_names", ", ".join(twice)
    if values is not None and len(names) != values.shape[1]:
        yield "names_length_mismatch", f"{len(names)} names, {values.shape[1]} columns"
    absent = [name for name in expected.require if name not in names]
    if absent:
        yield "missing_features", ", ".join(absent)


def check_norm(
    meta: dict[str, Any], values: np.ndarray | None, expected: Expectations
) -> Iterator[tuple[FindingCode, str]]:
    """The stated statistics, and with `verify_ranges` the numbers against them."""
    norm = meta.get("norm")
    fault = norm_fault(norm)
    if fault:
        yield "norm_invalid", fault
    if fault or not isinstance(norm, dict):
        if expected.verify_ranges:
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
    if expected.verify_ranges:
        yield from check_ranges(values, norm, expected.range_tolerance)


def check_ranges(
    values: np.ndarray | None, norm: dict[str, Any], tolerance: float
) -> Iterator[tuple[FindingCode, str]]:
    """Both sides in float64: the statistics are those of the stored numbers, so rounding raises no alarm."""
    if values is None or {len(norm["min"]), len(norm["max"])} != {values.shape[1]} or not np.isfinite(values).all():
        yield "range_unverifiable", "there are not as many finite numbers as statistics"
        return
    if values.size == 0:
        return
    low, high = values.min(axis=0).astype(np.float64), values.max(axis=0).astype(np.float64)
    for column in np.flatnonzero(low < np.array(norm["min"], np.float64) - tolerance):
        yield "range_below_min", f"column {column}: {low[column]:g} is below min {norm['min'][column]:g}"
    for column in np.flatnonzero(high > np.array(norm["max"], np.float64) + tolerance):
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


def _with_vanished(clips: list[TokenFile], root: Path, shard: listing.Shard) -> list[TokenFile]:
    """Also the files that the index lists and that are not there."""
    there = {clip.path for clip in clips}
    listed = (row for row in ecdc.read_index(root) if files.shard_of(row.path, shard.count) == shard.index)
    return sorted(clips + [row for row in listed if row.path not in there], key=lambda clip: clip.path)


def _orphans(root: Path, suffix: str, shard: listing.Shard, names: set[str]) -> list[str]:
    """Files of sidecars, of this shard, whose token file is gone."""
    endings = (suffix, suffix.removesuffix(".npy") + ".json")
    found = []
    for relative in files.sorted_names(root, endings):
        name = relative.removesuffix(endings[0]).removesuffix(endings[1])
        if name not in names and files.shard_of(name + ecdc.SUFFIX, shard.count) == shard.index:
            found.append(relative)
    return found


def write_table(path: Path, audit: Audit) -> None:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([row.type, row.rel_ecdc, row.rel_cond, row.detail] for row in audit.findings)
    files.write_text(path, stream.getvalue())


def write_summary(path: Path, audit: Audit, fail_on: Sequence[FindingCode], max_failing_fraction: float) -> None:
    failing = audit.failing(fail_on)
    limits = {"fail_on": list(fail_on), "max_failing_fraction": max_failing_fraction}
    expected = vars(audit.expected) | {"require": list(audit.expected.require)}
    summary = {
        "clips": audit.clips,
        "content": audit.content,
        "findings": audit.counts,
        "orphans": audit.orphans,
        "limits": limits | expected,
        "failing_clips": failing,
        "verdict": "failed" if failing > max_failing_fraction * audit.clips else "passed",
    }
    files.write_json(path, summary)


def found_nothing(path: Path) -> bool:
    """Whether the summary in `path` is of an audit without a single finding."""
    return path.is_file() and not files.read_json(path).get("findings")


def check_passed(path: Path, seen: str) -> None:
    """Raise UserError unless the summary in `path` says that content of this hash passed."""
    if not path.is_file():
        raise UserError(f"no {path}: run stages/audit.py first")
    summary = files.read_json(path)
    if summary.get("verdict") != "passed":
        raise UserError(f"{path}: the audit failed: {summary.get('failing_clips')} of {summary.get('clips')} clips")
    if summary.get("content") != seen:
        raise UserError(f"{path} is of other tokens or sidecars than those there now: run stages/audit.py again")


def check(audit: Audit, fail_on: Sequence[FindingCode], max_failing_fraction: float) -> None:
    """Raise UserError, with the first findings, when more clips fail than allowed."""
    failing = audit.failing(fail_on)
    if failing <= max_failing_fraction * audit.clips:
        return
    worst = (f"{item.type}: {item.rel_ecdc}: {item.detail}" for item in audit.findings if item.type in fail_on)
    raise UserError(
        f"{failing} of {audit.clips} clips have a finding that fails; {max_failing_fraction:.1%} may:"
        f"{listing.first_lines(worst)}"
    )


def code_list(text: str) -> list[FindingCode]:
    """`bad_ecdc,bad_shape` as an option gives it; empty for none."""
    names = _words(text)
    unknown = [name for name in names if name not in CODES]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(CODES)}")
    return [code for code in CODES if code in names]


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _list_length(text: str) -> int | None:
    if text != "all" and not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor all")
    return None if text == "all" else int(text)


def add_options(parser: argparse.ArgumentParser, defaults: Limits) -> None:
    """The options of the audit alone, with the `audit` section of params.yaml where none is given."""
    listing.add_folder_options(parser)
    add = parser.add_argument
    add("--expect-fps", type=int, default=ecdc.FRAMES_PER_S, help="frames per second (%(default)s)")
    add("--expect-dtype", choices=DTYPES, help="number format (float16 or float32)")
    add("--require", type=_words, default=defaults.require, metavar="A,B,C", help="features all sidecars must have")
    add(
        "--verify-ranges", action=argparse.BooleanOptionalAction, default=defaults.verify_ranges,
        help=f"compare every number with the stated min and max ({defaults.verify_ranges})",
    )  # fmt: skip
    add("--range-tol", type=float, default=defaults.range_tolerance, help="slack of that comparison (%(default)s)")
    add("--list", type=_list_length, default=50, metavar="N|all", help="findings to print (%(default)s)")
    add("--export-csv", type=Path, metavar="FILE", help=f"write all findings: {', '.join(COLUMNS)}")
    help_text = f"finding types that make the exit code 1 ({','.join(defaults.fail_on)})"
    add("--fail-on", type=code_list, default=defaults.fail_on, metavar="A,B,C", help=help_text)
