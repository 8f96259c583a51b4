"""A dataset, or folders of token files, in words: the tables that `soundraft inspect` prints."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from soundraft.audio.ecdc import FRAMES_PER_S
from soundraft.dataset import table
from soundraft.dataset.tokens import Item, TokenDataset
from soundraft.tables import columns

_CODES_SHOWN = 8
_TEXT_WIDTH = 48
_ABOUT = ("text", "label", "speaker")


def splits_table(folder: Path) -> list[str]:
    """One line a split: clips, time, frames, codebooks, features."""
    rows = [("split", "clips", "hours", "frames", "codebooks", "features")]
    for split in table.read_splits(folder):
        seconds, frames, clips = 0.0, 0, 0
        codebooks: set[int] = set()
        features: dict[str, None] = {}
        for row in read_rows(folder, split, ["duration", "frames", "codebooks", "features"]):
            clips += 1
            seconds += row["duration"]
            frames += row["frames"]
            codebooks.add(row["codebooks"])
            features |= dict.fromkeys(row["features"])
        books = ", ".join(map(str, sorted(codebooks)))
        rows.append((split, str(clips), f"{seconds / 3600:.3f}", str(frames), books, ", ".join(features) or "none"))
    return columns(rows, right={1, 2, 3, 4})


def folders_line(dataset: TokenDataset, tokens_root: Path, cond_root: Path) -> str:
    return f"{len(dataset)} token files in {tokens_root}, sidecars in {cond_root}"


def clip_lines(index: int, item: Item, row: dict[str, Any] | None) -> list[str]:
    """One clip: what it is called, the start of its codes, the range of each feature.

    Args:
        row: what the dataset's table says of it; `None` for files in folders.
    """
    frames, codebooks = item["codes"].shape
    about = {} if row is None else {key: row[key] for key in _ABOUT if row[key] is not None}
    name = item["path"] if row is None else row["id"]
    lines = [f"[{index}] {name}  {frames / FRAMES_PER_S:.2f} s, {frames} frames, {codebooks} codebooks"]
    lines += [f"    {key}: {_cut(str(value))}" for key, value in about.items()]
    lines += [f"    {line}" for line in _codes_table(item["codes"].numpy())]
    lines += [f"    {line}" for line in _features_table(item["cond"].numpy(), item["names"])]
    return lines


def read_rows(folder: Path, split: str, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Some columns of a split, row by row."""
    for batch in table.read_batches(folder / split, names):
        yield from batch.to_pylist()


def _codes_table(codes: np.ndarray) -> list[str]:
    """The first frames of codes [T, K], a line for each of the first codebooks."""
    shown = codes[:_CODES_SHOWN, :4]
    more = " …" if len(codes) > len(shown) else ""
    lines = [f"codes k{k}  " + " ".join(f"{code:4d}" for code in book) + more for k, book in enumerate(shown.T)]
    return lines if codes.shape[1] <= 4 else [*lines, f"      … k{codes.shape[1] - 1}"]


def _features_table(cond: np.ndarray, names: Sequence[str]) -> list[str]:
    """The range of each column of cond [T, D]."""
    if not names:
        return ["no conditioning"]
    rows: list[tuple[str, ...]] = [("feature", "min", "mean", "max")]
    for name, values in zip(names, cond.T, strict=True):
        rows.append((name, *(f"{number:.4g}" for number in (values.min(), values.mean(), values.max()))))
    return columns(rows, right={1, 2, 3})


def _cut(text: str) -> str:
    return text if len(text) <= _TEXT_WIDTH else f"{text[: _TEXT_WIDTH - 1]}…"
