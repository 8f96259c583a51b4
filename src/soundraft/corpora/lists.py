"""Lists of recordings as people write them: a table or JSON lines, and the clips that their rows name.

Every fault has a place, `file:line`, and a code; `fetch` and `soundraft datasets validate` report the same ones.
"""

import csv
import io
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from soundraft import files
from soundraft.corpora.base import CorpusError, Request
from soundraft.manifest import Clip, Rejected, Split
from soundraft.parallel import BadClip

LIST_SUFFIXES = (".csv", ".tsv", ".jsonl", ".txt")
JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_LITERAL_QUOTES = ("\t", "|")  # tables with these often hold quotation marks of the text itself
_SAMPLE_ROWS = 200  # the delimiter is found by these
_UTF8_MARK = b"\xef\xbb\xbf"

# names that lists use for our columns; of several in one list the first counts, the others become metadata
SPELLINGS: Mapping[str, tuple[str, ...]] = {
    "audio_path": ("audio_path", "audio_filepath", "file_name", "filename", "audio", "path", "file", "wav"),
    "text": ("text", "transcription", "transcript", "sentence"),
    "label": ("label", "category", "class"),
    "speaker": ("speaker", "speaker_id", "client_id"),
    **{name: (name,) for name in ("id", "duration", "sample_rate", "split", "source", "target_path", "task")},
}
JSON_SPELLINGS: Mapping[str, tuple[str, ...]] = {**SPELLINGS, "label": (*SPELLINGS["label"], "command")}
TEXT_FIELDS = ("id", "text", "label", "speaker")
ANNOTATIONS = ("text", "label", "target_path")
SPLIT_SPELLINGS: Mapping[str, Split] = {
    "train": "train", "training": "train",
    "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
    "development": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip
OF_METADATA = ("id", "label", "speaker", "split", "source")  # fields of a clip that a sample keeps in its metadata
TASKS = ("asr", "classification", "speaker")
WARNINGS = {
    "extra_column", "mixed_rates", "duplicate_audio", "divided_speaker", "divided_source", "empty_split",
    "unlisted_file", "silent", "short", "long", "no_words", "fast", "not_utf8",
}  # fmt: skip
Row = TypeVar("Row")


@dataclass(frozen=True)
class Finding:
    """A fault, at `file:line` or in a file. An error keeps the clip, or the whole list, out; a warning does not."""

    place: str
    code: str
    message: str
    id: str = ""

    @property
    def severity(self) -> str:
        return "warning" if self.code in WARNINGS else "error"


class RowError(BadClip):
    """A row that cannot become a clip."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class SourceError(CorpusError):
    """A list, folder or archive that cannot be used at all."""

    def __init__(self, place: str, code: str, message: str) -> None:
        super().__init__(f"{place}: {message}")
        self.finding = Finding(place, code, message)


def rejections(findings: Iterable[Finding]) -> list[Rejected]:
    """The errors among the findings, as the lines of quarantine.jsonl."""
    return [Rejected(item.id or item.place, item.place, item.message) for item in findings if item.severity == "error"]


@dataclass(frozen=True)
class Listing:
    """A list as read.

    Attributes:
        form: for messages: `table with tab between columns`.
        columns: the list's own names, in its order.
        rows: by place, values under the list's own names; the line of a place is the one that the row starts on.
        findings: the lines that are no rows.
    """

    path: Path
    form: str
    columns: list[str]
    rows: dict[str, dict[str, Any]]
    findings: list[Finding]


def read_listing(path: Path, *, audio_names: Collection[str]) -> Listing:
    """Read a list by its suffix: JSON lines, else a table whose delimiter is found.

    Args:
        audio_names: names, in lower case, that the column of the audio may have: the right delimiter gives one.

    Raises:
        SourceError: when it is not UTF-8, is empty, or has no readable first line.
    """
    data = path.read_bytes()
    if b"\0" in data:
        place = f"{path.name}:{_line_of(data, data.index(0))}"
        raise SourceError(place, "encoding", "a zero byte, as in UTF-16; save the list as UTF-8")
    if path.name.lower().endswith(JSON_SUFFIXES):
        return _read_json_lines(path, data.removeprefix(_UTF8_MARK))
    return _read_table(path, data, audio_names)


def _line_of(data: bytes, place: int) -> int:
    return len((data[:place] + b"x").splitlines())


def _read_json_lines(path: Path, data: bytes) -> Listing:
    rows: dict[str, dict[str, Any]] = {}
    findings = []
    for number, line in enumerate(data.splitlines(), start=1):
        place = f"{path.name}:{number}"
        try:
            if line.strip():
                rows[place] = _json_object(line)
        except (ValueError, RecursionError) as error:
            code = "encoding" if isinstance(error, UnicodeError) else "not_json"
            findings.append(Finding(place, code, f"not a JSON object in UTF-8: {error}"))
    if not rows and not findings:
        raise SourceError(path.name, "empty_list", "holds no lines")
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    return Listing(path, "JSON lines", columns, rows, findings)


def _json_object(line: bytes) -> dict[str, Any]:
    row = json.loads(line.decode("utf-8"))
    if not isinstance(row, dict):
        raise ValueError(f"it is a {type(row).__name__}")
    json.dumps(row, ensure_ascii=False, allow_nan=False).encode("utf-8")  # not for NaN, 1e999, half a surrogate pair
    return {name: value for name, value in row.items() if value is not None}


def _read_table(path: Path, data: bytes, audio_names: Collection[str]) -> Listing:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        bad = error.start + len(data) - len(error.object)  # the mark at the beginning is not counted
        message = f"not UTF-8: byte 0x{data[bad]:02x}; save the list as UTF-8"
        raise SourceError(f"{path.name}:{_line_of(data, bad)}", "encoding", message) from error
    if not text.strip():
        raise SourceError(path.name, "empty_list", "is empty")
    delimiter = _find_delimiter(text, audio_names)
    form = f"table with {DELIMITERS[delimiter]} between columns"
    try:
        (first_line, header), *records = _records(text, delimiter)
    except _TableError as error:
        message = f"not readable: {error}; perhaps quotation marks do not pair up ({form})"
        raise SourceError(f"{path.name}:{error.line}", "quotes", message) from error
    columns = [name.strip() for name in header]
    if delimiter == "|" and not {name.lower() for name in columns} & set(audio_names):
        message = f"no column names the audio ({', '.join(sorted(audio_names))}); lines of id|text|normalised text, as "
        message += "LJSpeech has them, are read by the corpus ljspeech, with this folder as its path"
        raise SourceError(f"{path.name}:{first_line}", "missing_column", message)
    twice = sorted({name for name in columns if name and columns.count(name) > 1})
    if twice:
        message = f"column {', '.join(twice)} stands twice in the first line ({form})"
        raise SourceError(f"{path.name}:{first_line}", "duplicate_column", message)
    rows, findings = {}, []
    for line, fields in records:
        place = f"{path.name}:{line}"
        if len(fields) == len(columns):
            values = {name: field.strip() for name, field in zip(columns, fields, strict=True)}
            rows[place] = {name: value for name, value in values.items() if name and value}
        else:
            message = f"{len(fields)} columns, the first line has {len(columns)} ({form})"
            findings.append(Finding(place, "column_count", message))
    return Listing(path, form, [name for name in columns if name], rows, findings)


class _TableError(csv.Error):
    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line


def _parse(text: str, delimiter: str, quoting: int = csv.QUOTE_MINIMAL) -> Iterator[tuple[int, list[str]]]:
    """Records and the line that each starts on; empty lines are left out."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=quoting, strict=True)  # type: ignore[arg-type]
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise _TableError(line, str(error)) from error
        if any(field.strip() for field in fields):
            yield line, fields


def _records(text: str, delimiter: str) -> list[tuple[int, list[str]]]:
    """All records. Tables with tab or bar are read with quotation marks as text where that gives more even rows."""
    readings, errors = [], []
    for quoting in (csv.QUOTE_MINIMAL, *([csv.QUOTE_NONE] if delimiter in _LITERAL_QUOTES else [])):
        try:
            readings.append(list(_parse(text, delimiter, quoting)))
        except _TableError as error:
            errors.append(error)
    if not readings:
        raise errors[-1]
    return min(readings, key=lambda records: sum(len(fields) != len(records[0][1]) for _, fields in records))


def _find_delimiter(text: str, audio_names: Collection[str]) -> str:
    """The delimiter under which the first line names a column of audio, and most rows have its number of columns."""

    def fitness(delimiter: str) -> tuple[bool, bool, float, int]:
        rows: list[list[str]] = []
        with suppress(csv.Error):  # what comes before it is enough
            rows.extend(fields for _, fields in islice(_parse(text, delimiter), _SAMPLE_ROWS))
        header = rows[0] if rows else []
        named = any(name.strip().lower() in audio_names for name in header)
        alike = sum(len(fields) == len(header) for fields in rows) / max(1, len(rows))
        return len(header) > 1, named, alike, len(header)

    return max(DELIMITERS, key=fitness)


def given_columns(request: Request) -> dict[str, str]:
    """The list's column for each of ours that the user names; `audio` is short for `audio_path`."""
    return {"audio_path" if ours == "audio" else ours: theirs for ours, theirs in request.columns.items()}


def audio_names(request: Request) -> set[str]:
    given = given_columns(request).get("audio_path")
    return {given.lower()} if given else set(SPELLINGS["audio_path"])


def match_columns(listing: Listing, request: Request) -> dict[str, str]:
    """The list's column for each of ours that it has.

    Raises:
        SourceError: when a column that was named is not there, or the list lacks what a clip needs.
    """
    place, given = f"{listing.path.name}:1", given_columns(request)
    found = f"found: {', '.join(listing.columns) or 'none'} ({listing.form})"
    unknown = sorted(set(given) - set(SPELLINGS))
    if unknown:
        message = f"columns: {unknown[0]} is not one of ours, which are {', '.join(sorted(SPELLINGS))}"
        raise SourceError(place, "unknown_column", message)
    absent = sorted(set(given.values()) - set(listing.columns))
    if absent:
        raise SourceError(place, "missing_column", f"columns: no column {absent[0]}; {found}")
    spellings = JSON_SPELLINGS if listing.path.name.lower().endswith(JSON_SUFFIXES) else SPELLINGS
    theirs = {name.lower(): name for name in reversed(listing.columns) if name not in given.values()}
    usual = {ours: [theirs[name] for name in names if name in theirs] for ours, names in spellings.items()}
    chosen = {ours: columns[0] for ours, columns in usual.items() if columns} | given
    if "audio_path" not in chosen:
        message = f"no column names the audio ({', '.join(SPELLINGS['audio_path'])}); {found}"
        raise SourceError(place, "missing_column", message)
    if not (request.unlabelled or set(ANNOTATIONS) & set(chosen)):
        message = f"no column for text or label; {found}; name it with columns"
        raise SourceError(place, "missing_column", message)
    return chosen


def rename_columns(row: Mapping[str, Any], chosen: Mapping[str, str]) -> dict[str, Any]:
    """A row under our names. Other columns become metadata; what samples keep in their metadata becomes a field."""
    metadata = row.get("metadata", {})
    if not isinstance(metadata, dict):
        raise RowError("bad_value", f"metadata must be an object, not {metadata!r}")
    own = {name: metadata[name] for name in OF_METADATA if name in metadata}
    values = {ours: row[theirs] for ours, theirs in chosen.items() if theirs in row}
    rest = {name: value for name, value in row.items() if name not in chosen.values() and name != "metadata"}
    return own | values | {"metadata": rest | {name: value for name, value in metadata.items() if name not in own}}


def to_clips(
    rows: Mapping[str, Row], convert: Callable[[Row], Mapping[str, Any] | None], request: Request
) -> tuple[dict[str, Clip], list[Finding]]:
    """The clips of rows, both by place, and why the other rows are none; of two with one id the first is kept.

    Args:
        convert: makes of a row its values under our names; `None` where it was not asked for, BadClip where it is no
            clip. A clip without id is named after its audio.
    """
    clips: dict[str, Clip] = {}
    places: dict[str, str] = {}
    findings = []
    for place, row in rows.items():
        name = ""
        try:
            values = convert(row)
            if values is None:
                continue
            given = values.get("id")
            name = str(values.get("audio_path") or "" if given in (None, "") else given)
            clip = _to_clip({**values, "id": name}, request)
            if name in places:
                raise RowError("duplicate_id", f"duplicate id {name!r}: {places[name]} has it")
        except BadClip as error:
            code = error.code if isinstance(error, RowError) else "bad_value"
            findings.append(Finding(place, code, str(error), name))
        else:
            clips[place], places[name] = clip, place
    return clips, findings


def _to_clip(values: Mapping[str, Any], request: Request) -> Clip:
    """A clip from values under our names; `source` goes to its metadata."""
    row = {name: value for name, value in values.items() if value not in (None, "")}
    metadata = dict(row.get("metadata", {}))
    if "source" in row:
        metadata["source"] = str(row.pop("source"))
    offset_s = metadata.pop("offset", 0)
    if str(offset_s).strip("0."):
        raise RowError("offset", f"offset {offset_s}: cut the parts of a recording into files of their own first")
    if "split" in row:
        known = SPLIT_SPELLINGS.get(str(row["split"]).strip().lower())
        if known is None:
            raise RowError("unknown_split", f"split {row['split']!r} is not one of: {', '.join(SPLIT_SPELLINGS)}")
        row["split"] = known
    _check_annotation(row, request)
    row.setdefault("task", "asr" if "text" in row or "label" not in row else "classification")
    try:
        return Clip.model_validate(row | {"metadata": metadata})
    except ValidationError as error:
        first = error.errors()[0]
        message = first["msg"].removeprefix("Value error, ")
        if "path leaves" in message:
            raise RowError("path_leaves", message) from error
        where = ".".join(map(str, first["loc"]))
        raise RowError("bad_value", f"{where}: {message}, not {first['input']!r}") from error


def _check_annotation(row: Mapping[str, Any], request: Request) -> None:
    if "audio_path" not in row:
        raise RowError("no_audio", "names no audio")
    if not files.is_utf8(str(row["audio_path"])):
        raise RowError("bad_name", f"the name of {row['audio_path']!a} is not UTF-8, and no table could hold it")
    if not request.unlabelled and not any(str(row.get(name, "")).strip() for name in ANNOTATIONS):
        raise RowError("empty_annotation", "neither text nor label")
    if row.get("task", TASKS[0]) not in TASKS:
        raise RowError("bad_value", f"task {row['task']!r} is not one of: {', '.join(TASKS)}")
    if request.labels and row.get("label") not in request.labels:
        shown = f"label {row['label']!r}" if "label" in row else "no label, which"
        raise RowError("unknown_label", f"{shown} is not one of: {', '.join(request.labels)}")
