"""Names and rows of cells as text: lists, tables of a terminal, tables in markdown."""

import textwrap
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import lru_cache, partial

GAP = 2
LEAST_WIDTH = 8
LISTED = 10


def shortened(names: Iterable[str], *, joint: str = ", ") -> str:
    """The first ten names, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - LISTED} more" if len(listed) > LISTED else ""
    return joint.join(listed[:LISTED]) + more


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in markdown whose columns stand under each other."""
    cells = [[cell.replace("|", "\\|") for cell in line] for line in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    cells.insert(1, ["-" * width for width in widths])
    return "\n".join("| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in cells)


def columns(rows: Sequence[Sequence[str]], *, right: Collection[int] = ()) -> list[str]:
    """A line a row; the columns in `right` end under each other."""
    return _lines(rows, [max(map(len, cells)) for cells in zip(*rows, strict=True)], right)


def wrapped(rows: Sequence[Sequence[str]], *, width: int) -> list[str]:
    """The same within `width` characters: long cells go on in the next line, so that few lines are added.

    Words are cut only when there is no other way, and the first column, which names the row, is never folded.
    """
    cells = list(zip(*rows, strict=True))
    widths = [max(map(len, column)) for column in cells]
    room = width - GAP * (len(widths) - 1)
    longest_words = [max(len(word) for cell in column for word in cell.split() or [""]) for column in cells[1:]]
    widths = _shrunk(widths, [widths[0], *longest_words], room, partial(_height, rows))
    widths = _shrunk(widths, [widths[0], *[LEAST_WIDTH] * len(longest_words)], room, max)
    return [line for row in rows for line in _lines(_folded(row, widths), widths, ())]


def _shrunk(widths: Sequence[int], floors: Sequence[int], room: int, cost: Callable[[Sequence[int]], int]) -> list[int]:
    """Widths that fit into `room`, or come as near as the floors allow: step by step the cheapest column gives way."""
    shrunk = list(widths)
    while sum(shrunk) > room:
        able = [number for number, floor in enumerate(floors) if shrunk[number] > floor]
        if not able:
            break
        narrower = [[*shrunk[:number], shrunk[number] - 1, *shrunk[number + 1 :]] for number in able]
        shrunk = min(narrower, key=lambda tried: (cost(tried), sum(size**2 for size in tried)))
    return shrunk


def _height(rows: Sequence[Sequence[str]], widths: Sequence[int]) -> int:
    return sum(max(len(_fold(cell, width)) for cell, width in zip(row, widths, strict=True)) for row in rows)


@lru_cache(maxsize=1 << 14)
def _fold(cell: str, width: int) -> list[str]:
    return textwrap.wrap(cell, width, break_on_hyphens=False) or [""]


def _folded(row: Sequence[str], widths: Sequence[int]) -> list[list[str]]:
    """One row as the rows that its folded cells take."""
    cells = [_fold(cell, width) for cell, width in zip(row, widths, strict=True)]
    height = max(map(len, cells))
    return [[cell[at] if at < len(cell) else "" for cell in cells] for at in range(height)]


def _lines(rows: Sequence[Sequence[str]], widths: Sequence[int], right: Collection[int]) -> list[str]:
    return [
        (" " * GAP)
        .join(
            cell.rjust(width) if number in right else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        .rstrip()
        for row in rows
    ]
