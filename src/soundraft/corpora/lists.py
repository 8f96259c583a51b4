"""What is wrong with somebody's recordings, and where: the same words in `fetch` and in `datasets validate`."""

import csv
import io
import json
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from soundraft.corpora.base import CorpusError
from soundraft.manifest import Clip, Rejected, Split

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        place: `file:line`, or the file.
        severity: an error keeps the clip (or the whole list) out of the corpus; a warning does not.
        id: of the clip, where it has one.
    """

    place: str
    code: str
    severity: Severity
    message: str
    id: str = ""


@dataclass(frozen=True)
class Item:
    """A clip and the place in its source that names it."""

    place: str
    clip: Clip


class SourceError(CorpusError):
    """A list, folder or archive that cannot be used at all."""

    def __init__(self, place: str, code: str, message: str) -> None:
        super().__init__(f"{place}: {message}")
        self.finding = Finding(place, code, "error", message)


def rejections(findings: Iterable[Finding]) -> list[Rejected]:
    """The errors among the findings, as the lines of quarantine.jsonl."""
    return [Rejected(item.id or item.place, item.place, item.message) for item in findings if item.severity == "error"]


# Lists of recordings as people write them: JSON lines, or a table whose delimiter is found; rows know their line.


DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
LIST_SUFFIXES = (".csv", ".tsv", ".jsonl", ".txt")
JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
_LITERAL_QUOTES = ("\t", "|")  # tables that often hold quotation marks of the text itself
_SAMPLE_ROWS = 200  # that many tell the delimiter
_UTF8_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Row:
    """One entry of a list: the line that it starts on, from 1, and its values by the list's own names."""

    line: int
    values: dict[str, Any]


@dataclass(frozen=True)
class Listing:
    """A list as read.

    Attributes:
        form: how it was read, for messages: `table with tab between columns`.
        columns: the list's own names, in its order.
        findings: the lines that are no rows.
    """

    path: Path
    form: str
    columns: list[str]
    rows: list[Row]
    findings: list[Finding]

    def place(self, row: Row) -> str:
        return f"{self.path.name}:{row.line}"


def read_listing(path: Path, *, audio_names: Collection[str]) -> Listing:
    """Read a list by its suffix: JSON lines, else a table.

    Args:
        audio_names: names, in lower case, that the column of the audio may have; they tell the right delimiter.

    Raises:
        SourceError: when it is not UTF-8, is empty, or has no readable first line.
    """
    if path.name.lower().endswith(JSON_SUFFIXES):
        return _read_json_lines(path)
    return _read_table(path, audio_names)


def _read_json_lines(path: Path) -> Listing:
    data = path.read_bytes()
    _refuse_wide(path, data)
    rows, findings = [], []
    for number, line in enumerate(data.removeprefix(_UTF8_MARK).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            rows.append(Row(number, _json_object(line)))
        except (ValueError, RecursionError) as error:
            code = "encoding" if isinstance(error, UnicodeError) else "not_json"
            findings.append(Finding(f"{path.name}:{number}", code, "error", f"not a JSON object in UTF-8: {error}"))
    if not rows and not findings:
        raise SourceError(path.name, "empty_list", "holds no lines")
    columns = list(dict.fromkeys(name for row in rows for name in row.values))
    return Listing(path, "JSON lines", columns, rows, findings)


def _json_object(line: bytes) -> dict[str, Any]:
    row = json.loads(line.decode("utf-8"), parse_float=_finite, parse_constant=_finite)
    if not isinstance(row, dict):
        raise ValueError(f"it is a {type(row).__name__}")
    if b"\\ud" in line.lower():  # half of a pair: no file could hold it
        json.dumps(row, ensure_ascii=False).encode("utf-8")
    return {name: value for name, value in row.items() if value is not None}


def _finite(text: str) -> float:
    """A number of JSON: NaN, Infinity and 1e999 could not be written again."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is not a number of JSON")
    return number


def _read_table(path: Path, audio_names: Collection[str]) -> Listing:
    text = _decode(path)
    if not text.strip():
        raise SourceError(path.name, "empty_list", "is empty")
    delimiter = _find_delimiter(text, audio_names)
    records = _records(path, text, delimiter)
    first_line, header = records[0]
    columns = [name.strip() for name in header]
    twice = sorted({name for name in columns if name and columns.count(name) > 1})
    form = f"table with {DELIMITERS[delimiter]} between columns"
    if twice:
        message = f"column {', '.join(twice)} stands twice in the first line ({form})"
        raise SourceError(f"{path.name}:{first_line}", "duplicate_column", message)
    rows, findings = [], []
    for line, fields in records[1:]:
        if len(fields) != len(columns):
            message = f"{len(fields)} columns, the first line has {len(columns)} ({form})"
            findings.append(Finding(f"{path.name}:{line}", "column_count", "error", message))
            continue
        values = {name: field.strip() for name, field in zip(columns, fields, strict=True)}
        rows.append(Row(line, {name: value for name, value in values.items() if name and value}))
    return Listing(path, form, [name for name in columns if name], rows, findings)


def _decode(path: Path) -> str:
    """The text of a file in UTF-8, with or without byte order mark.

    Raises:
        SourceError: naming the line of the first byte that is not UTF-8.
    """
    data = path.read_bytes()
    _refuse_wide(path, data)
    try:
        return data.removeprefix(_UTF8_MARK).decode("utf-8")
    except UnicodeDecodeError as error:
        bad = error.start + (len(_UTF8_MARK) if data.startswith(_UTF8_MARK) else 0)
        message = f"not UTF-8: byte 0x{data[bad]:02x}; save the list as UTF-8"
        raise SourceError(f"{path.name}:{_line_of(data, bad)}", "encoding", message) from error


def _refuse_wide(path: Path, data: bytes) -> None:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise SourceError(
            f"{path.name}:1", "encoding", f"not UTF-8: byte 0x{data[0]:02x}, UTF-16; save the list as UTF-8"
        )
    if b"\0" in data:
        place = f"{path.name}:{_line_of(data, data.index(0))}"
        raise SourceError(place, "encoding", "a zero byte, as in UTF-16; save the list as UTF-8")


def _line_of(data: bytes, place: int) -> int:
    return len(data[:place].splitlines()) + (1 if place == 0 or data[place - 1 : place] in (b"\n", b"\r") else 0)


def _find_delimiter(text: str, audio_names: Collection[str]) -> str:
    """The delimiter under which the first line names a column of audio, and most rows have its number of columns."""

    def fitness(delimiter: str) -> tuple[bool, bool, float, int]:
        rows = [fields for _, fields in _sample(text, delimiter)]
        header = rows[0] if rows else []
        named = any(name.strip().lower() in audio_names for name in header)
        alike = sum(len(fields) == len(header) for fields in rows) / max(1, len(rows))
        return len(header) > 1, named, alike, len(header)

    return max(DELIMITERS, key=fitness)


def _sample(text: str, delimiter: str) -> list[tuple[int, list[str]]]:
    found: list[tuple[int, list[str]]] = []
    try:
        for record in _parse(text, delimiter, csv.QUOTE_MINIMAL):
            found.append(record)
            if len(found) == _SAMPLE_ROWS:
                break
    except csv.Error:
        pass  # what came before it tells the delimiter
    return found


def _parse(text: str, delimiter: str, quoting: int) -> Iterator[tuple[int, list[str]]]:
    """Records and the line that each starts on; empty lines are none."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=quoting, strict=True)  # type: ignore[arg-type]
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise _QuoteError(line, str(error)) from error
        if any(field.strip() for field in fields):
            yield line, fields


class _QuoteError(csv.Error):
    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line


def _records(path: Path, text: str, delimiter: str) -> list[tuple[int, list[str]]]:
    """All records. Where quotation marks cannot be quoting, tab and bar tables are read with them as text."""
    try:
        quoted = list(_parse(text, delimiter, csv.QUOTE_MINIMAL))
        if delimiter not in _LITERAL_QUOTES or not _uneven(quoted):
            return quoted
    except _QuoteError as error:
        if delimiter not in _LITERAL_QUOTES:
            raise _bad_table(path, delimiter, error) from error
        quoted = None
    try:
        plain = list(_parse(text, delimiter, csv.QUOTE_NONE))
    except _QuoteError as error:
        raise _bad_table(path, delimiter, error) from error
    return plain if quoted is None or _uneven(plain) < _uneven(quoted) else quoted


def _bad_table(path: Path, delimiter: str, error: _QuoteError) -> SourceError:
    code, reason = "quotes", f"quotation marks do not pair up: {error}"
    if "field limit" in str(error):
        most = f"{csv.field_size_limit():,} characters"
        code, reason = "long_field", f"a column of more than {most}; perhaps a quotation mark is never closed"
    message = f"{reason} (table with {DELIMITERS[delimiter]} between columns)"
    return SourceError(f"{path.name}:{error.line}", code, message)


def _uneven(records: list[tuple[int, list[str]]]) -> int:
    return sum(len(fields) != len(records[0][1]) for _, fields in records)


# Rows of somebody's list → clips: which column is which, which labels and splits may occur, what stays as metadata.


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
