"""Texts to be spoken, from files."""

import json
from dataclasses import dataclass
from pathlib import Path

from soundraft.runtime import UserError


@dataclass(frozen=True)
class Line:
    """A text to say, what its file is called, and in which voice."""

    id: str
    text: str
    voice: str


def read_lines(source: str, voice: str) -> list[Line]:
    """A text, the lines of a .txt file, or the rows of a .jsonl file: `text`, and `id` and `voice` where they differ.

    Raises:
        UserError: when there is nothing to say, a row lacks its text, or two have one id.
    """
    place = Path(source)
    if not source.lower().endswith((".txt", ".jsonl")):
        return [Line("speech", source, voice)]
    if not place.is_file():
        raise UserError(f"no such file: {place}")
    texts = [line for line in place.read_text(encoding="utf-8").splitlines() if line.strip()]
    rows = [_row(place, number, text) if place.suffix.lower() == ".jsonl" else {"text": text}
            for number, text in enumerate(texts, start=1)]  # fmt: skip
    width = len(str(len(rows)))
    lines = [
        Line(str(row.get("id", f"{number:0{width}d}")), str(row["text"]), str(row.get("voice", voice)))
        for number, row in enumerate(rows, start=1)
    ]
    names = [line.id for line in lines]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not lines:
        raise UserError(f"{place}: " + (f"two lines have the id {twice[0]}" if twice else "there is no text in it"))
    wrong = [name for name in names if "/" in name or name.startswith(".")]
    if wrong:
        raise UserError(f"{place}: the id {wrong[0]!r} cannot be the name of a file")
    return lines


def _row(place: Path, number: int, text: str) -> dict[str, object]:
    try:
        row = json.loads(text)
    except ValueError as error:
        raise UserError(f"{place}, line {number}: no JSON: {error}") from error
    if not isinstance(row, dict) or not isinstance(row.get("text"), str):
        raise UserError(f"{place}, line {number}: an object with a text is wanted")
    return row
