"""Codes and conditioning as a torch `Dataset`, and how items become a batch.

Letters: B items of a batch, T frames, K codebooks, D features.
"""

import json
import posixpath
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch

from soundraft.audio import ecdc
from soundraft.audio.ecdc import TokenFile
from soundraft.dataset import table
from soundraft.dataset.table import Rows
from soundraft.runtime import BadClip, UserError
from soundraft.sidecar import format, listing


class Item(TypedDict):
    """One clip: codes int64 [T, K], cond float32 [T, D], the D names, the sidecar's json, and where it came from.

    `path` is the token file's; of a dataset with embedded codes it is the clip's id.
    """

    codes: torch.Tensor
    cond: torch.Tensor
    names: list[str]
    meta: dict[str, Any]
    path: str


class Batch(TypedDict):
    """Several clips: codes int64 [B, T, K] and cond float32 [B, T, D], 0 beyond a clip's end.

    `lengths` int64 [B] are frames; `mask` bool [B, T] is true where there are some.
    """

    codes: torch.Tensor
    cond: torch.Tensor
    lengths: torch.Tensor
    mask: torch.Tensor
    names: list[str]
    meta: list[dict[str, Any]]
    path: list[str]


class TokenDataset(torch.utils.data.Dataset[Item]):
    """Triplets of codes, conditioning and names.

    dataset = TokenDataset.from_dataset("data/dataset/start", "train")
    loader = torch.utils.data.DataLoader(dataset, batch_size=8, collate_fn=collate, num_workers=2)
    """

    def __init__(self, count: int, read: Callable[[int], Item]) -> None:
        self.count, self.read = count, read

    @classmethod
    def from_dataset(cls, folder: Path | str, split: str = "train") -> "TokenDataset":
        """One split of a dataset that s5 built, however it was materialised.

        Raises:
            UserError: when there is no such dataset or split.
        """
        folder = Path(folder)
        splits = table.read_splits(folder)
        if split not in splits:
            raise UserError(f"{folder} has no split {split}; it has {', '.join(splits)}")
        columns = table.read_table(folder / split).column_names
        if "codes" in columns:
            rows = Rows(folder / split, ["id", "codes", "cond", "features", "meta"])
            return cls(len(rows), partial(_embedded, rows))
        rows = Rows(folder / split, [name for name in columns if name in ("audio", "cond")])
        return cls(len(rows), partial(_named, folder, rows))

    @classmethod
    def from_folders(
        cls,
        tokens_root: Path | str,
        cond_root: Path | str | None = None,
        *,
        recursive: bool = True,
        suffix: str = ecdc.SUFFIX,
        cond_suffix: str = format.SUFFIX,
    ) -> "TokenDataset":
        """Token files and sidecars as s2 to s4 leave them; the sidecars beside the token files when not named."""
        root = Path(tokens_root)
        tokens = listing.list_clips(root, cond_suffix, tokens_suffix=suffix, recursive=recursive)
        return cls(len(tokens), partial(_in_folders, root, Path(cond_root or root), cond_suffix, tokens))

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Item:
        """Raises BadClip, naming the file, when it cannot be read or is of another length than its sidecar."""
        if not -self.count <= index < self.count:
            raise IndexError(f"clip {index} of {self.count}")
        return self.read(index % self.count)


def _embedded(rows: Rows, index: int) -> Item:
    row = rows[index]
    try:
        meta = json.loads(row["meta"])
    except ValueError as error:
        raise BadClip(f"{row['id']}: its meta is no JSON: {error}") from error
    return _item(row["codes"], row["cond"], row["features"], meta, row["id"])


def _named(folder: Path, rows: Rows, index: int) -> Item:
    """Of the files that a row names; without a column `cond` of the sidecar beside the token file, if there is one."""
    row = rows[index]
    if not isinstance(row.get("audio"), str):
        raise BadClip(f"row {index}: the column audio names no token file, but holds {row.get('audio')!r:.60}")
    cond = row.get("cond") if "cond" in row else f"{posixpath.splitext(row['audio'])[0]}{format.SUFFIX}"
    found = cond is not None and ("cond" in row or any(format.exists(f"{folder}/{cond}")))
    return _read(f"{folder}/{row['audio']}", f"{folder}/{cond}" if found else None)


def _in_folders(tokens_root: Path, cond_root: Path, suffix: str, tokens: Sequence[TokenFile], index: int) -> Item:
    return _read(*listing.paths_of(tokens_root, cond_root, tokens[index], suffix)[:2])


def _read(token_path: str, cond_path: str | None) -> Item:
    try:
        codes = ecdc.read(Path(token_path)).codes.T
    except BadClip as error:
        raise BadClip(f"{token_path}: {error}") from error
    if cond_path is None:
        return _item(codes, np.empty((len(codes), 0), np.float32), [], {}, token_path)
    sidecar, meta = format.read(cond_path), format.read_meta(format.json_path(cond_path))
    return _item(codes, sidecar.values, list(sidecar.names), meta, token_path)


def _item(codes: np.ndarray, cond: np.ndarray, names: list[str], meta: dict[str, Any], path: str) -> Item:
    """From codes [T, K] and cond [T, D]."""
    if len(codes) != len(cond):
        raise BadClip(f"{path}: {len(codes)} frames of codes, {len(cond)} of conditioning")
    return Item(
        codes=torch.from_numpy(codes.astype(np.int64)),
        cond=torch.from_numpy(cond.astype(np.float32)),
        names=names,
        meta=meta,
        path=path,
    )


def collate(items: Sequence[Item]) -> Batch:
    """Pad codes and cond with 0 to the longest item.

    Raises:
        ValueError: when the items differ in codebooks or in features.
    """
    odd = listing.unlike({item["path"]: (item["codes"].shape[1], tuple(item["names"])) for item in items})
    if odd:
        raise ValueError("; ".join(f"{path}: {reason}" for path, reason in odd.items()))
    lengths = torch.tensor([len(item["codes"]) for item in items])
    return Batch(
        codes=torch.nn.utils.rnn.pad_sequence([item["codes"] for item in items], batch_first=True),
        cond=torch.nn.utils.rnn.pad_sequence([item["cond"] for item in items], batch_first=True),
        lengths=lengths,
        mask=torch.arange(int(lengths.max()))[None] < lengths[:, None],
        names=items[0]["names"],
        meta=[item["meta"] for item in items],
        path=[item["path"] for item in items],
    )
