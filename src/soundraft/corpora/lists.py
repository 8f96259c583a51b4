"""Lists of recordings as people write them: JSON lines, or a table whose delimiter is found; rows know their line."""

import csv
import io
import json
import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from soundraft.corpora.findings import Finding, SourceError

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
