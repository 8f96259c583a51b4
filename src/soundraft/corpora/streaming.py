"""The rows of a dataset that `datasets` streams: where each one is, and its values as JSON has them."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from soundraft.corpora.store import Position

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa

ROWS_AT_ONCE = 32


def walk(
    stream: "datasets.IterableDataset", start: Position, *, seek: bool
) -> Iterator[tuple[Position, dict[str, Any]]]:
    """The rows from a position on, each with the position after it.

    With `seek` whole files, and row groups of a file, are passed over unread.
    """
    if not seek:
        for number, row in enumerate(_row_dicts(stream.skip(start[2])), start=start[2] + 1):
            yield (0, 0, number), row
        return
    for shard in range(start[0], stream.num_shards):
        parts = stream.shard(stream.num_shards, shard).reshard()
        for part in range(start[1] if shard == start[0] else 0, parts.num_shards):
            done = start[2] if (shard, part) == start[:2] else 0
            rows = _row_dicts(parts.shard(parts.num_shards, part), done)
            for number, (row, is_last) in enumerate(_marked(rows), start=done + 1):
                yield (shard, part + 1, 0) if is_last else (shard, part, number), row


def _marked(rows: Iterator[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], bool]]:
    """Each row, and whether it is the last one."""
    held = next(rows, None)
    while held is not None:
        row, held = held, next(rows, None)
        yield row, held is None


def _row_dicts(stream: "datasets.IterableDataset", start: int = 0) -> Iterator[dict[str, Any]]:
    table: pa.Table
    for table in stream.iter(batch_size=ROWS_AT_ONCE):
        if start < len(table):
            yield from table.slice(start).to_pylist()
        start = max(0, start - len(table))


def label_names(kind: Any) -> list[str] | None:
    """The names of a class label, also of a list of them."""
    inner = getattr(kind, "feature", kind)
    return getattr(inner, "names", None)


def is_plain(kind: Any) -> bool:
    """Whether JSON can hold the values: no audio, no pictures, no bytes."""
    if isinstance(kind, dict):
        return all(map(is_plain, kind.values()))
    if isinstance(kind, list):
        return all(map(is_plain, kind))
    if hasattr(kind, "feature"):
        return is_plain(kind.feature)
    return type(kind).__name__ in ("Value", "ClassLabel") and "binary" not in kind.dtype


def plain(value: Any) -> Any:
    """A value as JSON has it: times as text, NaN as nothing."""
    if isinstance(value, float):
        return value if value - value == 0 else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return str(value)
