"""Rows of somebody's list → clips: which column is which, which labels and splits may occur, what stays as metadata."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from soundraft.corpora.findings import Finding, Item, SourceError
from soundraft.corpora.lists import JSON_SUFFIXES, Listing
from soundraft.manifest import Clip, Split

# what others call our columns; of several in one list the first counts and the others are metadata
SPELLINGS: Mapping[str, tuple[str, ...]] = {
    "audio_path": ("audio_path", "audio_filepath", "file_name", "filename", "audio", "path", "file", "wav"),
    "text": ("text", "transcription", "transcript", "sentence"),
    "label": ("label", "category", "class"),
    "speaker": ("speaker", "speaker_id", "client_id"),
    **{name: (name,) for name in ("id", "duration", "sample_rate", "split", "source", "target_path", "task")},
}
JSON_SPELLINGS: Mapping[str, tuple[str, ...]] = {**SPELLINGS, "label": (*SPELLINGS["label"], "command")}
TEXT_FIELDS = ("id", "text", "label", "speaker")  # text in a clip, also where a list has numbers
ANNOTATIONS = ("text", "label", "target_path")
SPLIT_SPELLINGS: Mapping[str, Split] = {
    "train": "train", "training": "train",
    "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
    "development": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip
OF_METADATA = ("id", "label", "speaker", "split", "source")  # what a sample keeps in its metadata and a clip does not
TASKS = ("asr", "classification", "speaker")
NUMBERS = {"duration": float, "sample_rate": int}


class RowError(ValueError):
    """This row is no clip."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Columns:
    """How a list is to be understood.

    Attributes:
        given: the list's column for each of ours that it names otherwise; `audio` is short for `audio_path`.
        labels: those that may occur; empty: all.
        unlabelled: clips need neither text nor label; a folder needs no list.
    """

    given: Mapping[str, str] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    unlabelled: bool = False

    def __post_init__(self) -> None:
        given = {("audio_path" if ours == "audio" else ours): theirs for ours, theirs in self.given.items()}
        object.__setattr__(self, "given", given)

    def audio_names(self) -> set[str]:
        given = self.given.get("audio_path")
        return {given.lower()} if given else set(SPELLINGS["audio_path"])

    def resolve(self, listing: Listing) -> dict[str, str]:
        """The list's column for each of ours that it has.

        Raises:
            SourceError: when a column that was named is not there, or the list lacks what a clip needs.
        """
        place = f"{listing.path.name}:1"
        found = ", ".join(listing.columns) or "none"
        unknown = sorted(set(self.given) - set(SPELLINGS))
        if unknown:
            raise SourceError(
                place,
                "unknown_column",
                f"columns: {unknown[0]} is none of ours; ours are {', '.join(sorted(SPELLINGS))}",
            )
        absent = sorted(set(self.given.values()) - set(listing.columns))
        if absent:
            raise SourceError(
                place, "missing_column", f"columns: no column {absent[0]}; found: {found} ({listing.form})"
            )
        chosen = _match(listing, self.given)
        if "audio_path" not in chosen:
            names = ", ".join(SPELLINGS["audio_path"])
            message = f"no column names the audio ({names}); found: {found} ({listing.form})"
            raise SourceError(place, "missing_column", message)
        if not (self.unlabelled or set(ANNOTATIONS) & set(chosen)):
            message = f"no column for text or label; found: {found} ({listing.form}); name it with columns"
            raise SourceError(place, "missing_column", message)
        return chosen


def _match(listing: Listing, given: Mapping[str, str]) -> dict[str, str]:
    spellings = JSON_SPELLINGS if listing.path.name.lower().endswith(JSON_SUFFIXES) else SPELLINGS
    taken = set(given.values())
    theirs = {name.lower(): name for name in reversed(listing.columns) if name not in taken}
    chosen = dict(given)
    for ours, names in spellings.items():
        match = next((theirs[name] for name in names if name in theirs), None)
        if match and ours not in chosen:
            chosen[ours] = match
    return chosen


def to_items(listing: Listing, columns: Columns) -> tuple[list[Item], list[Finding]]:
    """The clips of a list, and what is wrong with it.

    Raises:
        SourceError: when its columns do not do.
    """
    chosen = columns.resolve(listing)
    findings = list(listing.findings)
    extra = [name for name in listing.columns if name not in chosen.values() and name != "metadata"]
    if extra:
        message = f"kept as metadata: {', '.join(extra)}"
        findings.append(Finding(f"{listing.path.name}:1", "extra_column", "warning", message))
    rows = ((listing.place(row), row.values) for row in listing.rows)
    items, bad = collect(rows, lambda row: _ours(row, chosen), columns.labels, unlabelled=columns.unlabelled)
    return items, findings + bad


def collect(
    rows: Iterable[tuple[str, Mapping[str, Any]]],
    convert: Callable[[Mapping[str, Any]], Mapping[str, Any]],
    labels: tuple[str, ...],
    *,
    unlabelled: bool = False,
) -> tuple[list[Item], list[Finding]]:
    """The clips of rows, each with its place, and the rows that are none; of two with one id the first is kept.

    Args:
        convert: a row → its values under our names, or RowError. Without an id it is named after its audio.
        unlabelled: as of `Columns`.
    """
    items: dict[str, Item] = {}
    findings = []
    for place, row in rows:
        name = ""
        try:
            values = convert(row)
            given = values.get("id")
            name = str(values.get("audio_path") or "" if given in (None, "") else given)
            clip = to_clip({**values, "id": name}, labels, unlabelled=unlabelled)
            if clip.id in items:
                raise RowError("duplicate_id", f"duplicate id {clip.id!r}: {items[clip.id].place} has it")
            items[clip.id] = Item(place, clip)
        except RowError as error:
            findings.append(Finding(place, error.code, "error", str(error), name))
    return list(items.values()), findings


def _ours(row: Mapping[str, Any], chosen: Mapping[str, str]) -> dict[str, Any]:
    """A row under our names; what has none goes to `metadata`, and what samples keep there comes out of it."""
    values = {ours: row[theirs] for ours, theirs in chosen.items() if theirs in row}
    metadata = row.get("metadata", {})
    if not isinstance(metadata, dict):
        raise RowError("bad_value", f"metadata must be an object, not {metadata!r}")
    rest = {name: value for name, value in row.items() if name not in chosen.values() and name != "metadata"}
    own = {key: metadata[key] for key in OF_METADATA if key in metadata}
    kept = {key: value for key, value in metadata.items() if key not in own}
    return own | values | {"metadata": rest | kept}


def to_clip(values: Mapping[str, Any], labels: tuple[str, ...], *, unlabelled: bool = False) -> Clip:
    """A clip from values under our names; `source` goes to its metadata.

    Raises:
        RowError: when they are no clip.
    """
    row = {name: value for name, value in values.items() if value not in (None, "")}
    metadata = dict(row.get("metadata", {}))
    if "source" in row:
        metadata["source"] = str(row.pop("source"))
    offset_s = metadata.pop("offset", 0)
    if _number("offset", offset_s, float) != 0:
        raise RowError("offset", f"offset {offset_s}: cut the parts of a recording into files of their own first")
    for name, kind in NUMBERS.items():
        if name in row:
            row[name] = _number(name, row[name], kind)
    for name in TEXT_FIELDS:
        if isinstance(row.get(name), int) and not isinstance(row[name], bool):
            row[name] = str(row[name])
    if "split" in row:
        row["split"] = _split(row["split"])
    _check_annotation(row, labels, unlabelled)
    row.setdefault("task", "asr" if "text" in row or "label" not in row else "classification")
    try:
        return Clip.model_validate(row | {"metadata": metadata})
    except ValidationError as error:
        raise RowError(*_problem(error)) from error


def _check_annotation(row: Mapping[str, Any], labels: tuple[str, ...], unlabelled: bool) -> None:
    if "audio_path" not in row:
        raise RowError("no_audio", "names no audio")
    if not unlabelled and not any(str(row.get(name, "")).strip() for name in ANNOTATIONS):
        raise RowError("empty_annotation", "neither text nor label")
    if row.get("task", TASKS[0]) not in TASKS:
        raise RowError("bad_value", f"task {row['task']!r} is none of: {', '.join(TASKS)}")
    if labels and row.get("label") not in labels:
        shown = f"label {row['label']!r}" if "label" in row else "no label, which"
        raise RowError("unknown_label", f"{shown} is none of: {', '.join(labels)}")


def _number(name: str, value: Any, kind: type[float] | type[int]) -> float:
    try:
        number = kind(float(value))
    except (TypeError, ValueError, OverflowError):
        number = -1
    if isinstance(value, bool) or not 0 <= number < float("inf"):
        raise RowError("bad_value", f"{name} must be a number from 0, not {value!r}")
    return number


def _split(value: Any) -> Split:
    known = SPLIT_SPELLINGS.get(str(value).strip().lower())
    if known is None:
        raise RowError("unknown_split", f"split {value!r} is none of: {', '.join(SPLIT_SPELLINGS)}")
    return known


def _problem(error: ValidationError) -> tuple[str, str]:
    first = error.errors()[0]
    message = first["msg"].removeprefix("Value error, ")
    if "path leaves" in message:
        return "path_leaves", message
    return "bad_value", f"{'.'.join(map(str, first['loc']))}: {message}, not {first['input']!r}"
