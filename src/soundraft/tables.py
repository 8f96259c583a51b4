"""Names and rows of cells as text: lists, tables of a terminal, tables in markdown."""

import textwrap
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from itertools import zip_longest

GAP = 2
LEAST_WIDTH = 8
LISTED = 10


def shortened(names: Iterable[str], *, joint: str = ", ") -> str:
    """The first ten names, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - LISTED} more" if len(listed) > LISTED else ""
    return joint.join(listed[:LISTED]) + more


def below(texts: Iterable[str]) -> str:
    """The first ten texts, each on a line of its own below a message, and how many more there are."""
    return "\n  " + shortened(texts, joint="\n  ")


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in markdown whose columns stand under each other."""
    cells = [[cell.replace("|", "\\|") for cell in line] for line in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    cells.insert(1, ["-" * width for width in widths])
    return "\n".join("| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in cells)


def columns(rows: Sequence[Sequence[str]], *, right: Collection[int] = (), width: int | None = None) -> list[str]:
    """Lines whose columns stand under each other; those in `right` end there.

    Args:
        width: of the lines, in characters: long cells go on in the next line. The first column, which names the row,
            is never folded, and words are cut only where not even they fit. `None`: a line for each row.
    """
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    if width is not None:
        words = [max(len(word) for cell in cells for word in [*cell.split(), ""]) for cells in zip(*rows, strict=True)]
        for least in (words, [LEAST_WIDTH] * len(words)):
            widths = _narrowed(rows, widths, [widths[0], *least[1:]], width - GAP * (len(widths) - 1))
    lines = []
    for row in rows:
        for parts in zip_longest(*map(_fold, row, widths), fillvalue=""):
            cells = [
                part.rjust(size) if number in right else part.ljust(size)
                for number, (part, size) in enumerate(zip(parts, widths, strict=True))
            ]
            lines.append((" " * GAP).join(cells).rstrip())
    return lines


def _narrowed(rows: Sequence[Sequence[str]], widths: Sequence[int], least: Sequence[int], room: int) -> list[int]:
    """Widths that fit into `room` where they can: step by step the column gives way that adds the fewest lines."""
    narrowed = list(widths)

    def lines_with(number: int) -> tuple[int, int]:
        tried = [size - (number == at) for at, size in enumerate(narrowed)]
        return sum(max(map(len, map(_fold, row, tried))) for row in rows), sum(size**2 for size in tried)

    while sum(narrowed) > room:
        able = [number for number, size in enumerate(narrowed) if size > least[number]]
        if not able:
            break
        narrowed[min(able, key=lines_with)] -= 1
    return narrowed


@lru_cache(maxsize=1 << 14)
def _fold(cell: str, width: int) -> list[str]:
    return textwrap.wrap(cell, width, break_on_hyphens=False) or [""]
