"""Is a dataset what its tables and its card say? Every file is opened, every hash made again."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

from soundraft.audio import ecdc
from soundraft.dataset import build, rows, table
from soundraft.dataset.rows import Embedded, Found
from soundraft.parallel import Failure, map_clips
from soundraft.runtime import BadClip, UserError
from soundraft.sidecar import format, listing
from soundraft.sidecar.listing import Shape
from soundraft.tables import below


def check(folder: Path, splits: Sequence[str] | None = None) -> int:
    """Compare files, tables and card; the number of clips.

    For each clip: the files exist and can be read, and codes and conditioning have the stated frames, codebooks and
    features, as most clips have them. For each split: the hash of all that it holds is the card's. Of a dataset of
    another program, which states none of it, every file is opened.

    Args:
        splits: all of the dataset when `None`.

    Raises:
        UserError: naming split, clip and what is wrong.
    """
    splits = table.read_splits(folder) if splits is None else splits
    if any("features" not in table.read_table(folder / split).column_names for split in splits):
        from torch.utils.data import ConcatDataset

        from soundraft.dataset.tokens import TokenDataset

        return check_items(ConcatDataset([TokenDataset.from_dataset(folder, split) for split in splits]), str(folder))
    stated, problems, shapes = build.read_hashes(folder), list[str](), dict[str, Shape]()
    for split in splits:
        content_hash, wrong, found = _check_split(folder, split)
        problems += [f"{split}: {text}" for text in wrong]
        shapes |= {f"{split}: {name}": shape for name, shape in found.items()}
        if stated.get(split) != content_hash:
            problems.append(f"{split}: content is {content_hash}, the card says {stated.get(split)}")
    return _unless(problems, len(shapes), shapes, str(folder))


def check_items(clips: Any, where: str) -> int:
    """Read each item of a `TokenDataset`, of which nothing is stated; the number of them.

    Raises:
        UserError: naming those that cannot be read, or are of another shape than most.
    """
    results = list(map_clips(partial(_shape, clips), range(len(clips)), title="verify"))
    problems = [result.reason for result in results if isinstance(result, Failure)]
    shapes = dict(result for result in results if not isinstance(result, Failure))
    return _unless(problems, len(results), shapes, where)


def _shape(clips: Any, index: int) -> tuple[str, Shape]:
    item = clips[index]
    return item["path"], (item["codes"].shape[1], tuple(item["names"]))


def _unless(problems: Sequence[str], clips: int, shapes: Mapping[str, Shape], where: str) -> int:
    found = [*problems, *(f"{name}: {reason}" for name, reason in listing.unlike(shapes).items())]
    if found:
        raise UserError(f"{where}: {len(found)} problems in {clips} clips:{below(found)}")
    return clips


def _check_split(folder: Path, split: str) -> tuple[str, list[str], dict[str, Shape]]:
    """(hash of the content, what is wrong, the stated shape of each clip)."""
    whole = table.read_table(folder / split)
    stored = _embedded(whole) if "codes" in whole.column_names else _in_files(folder, split, whole)
    digest, wrong, shapes = xxhash.xxh3_128(), [], {}
    for (row, wav), found in zip(_rows_with_audio(whole), stored, strict=True):
        digest.update(rows.row_hash(row, wav, found.stored).encode())
        shapes[row["id"]] = row["codebooks"], tuple(row["features"])
        if found.problem:
            wrong.append(f"{row['id']}: {found.problem}")
    return digest.hexdigest(), wrong, shapes


def _rows_with_audio(whole: pa.Table) -> Iterator[tuple[dict[str, Any], bytes | None]]:
    plain = [name for name in whole.column_names if name not in rows.NOT_HASHED]
    for batch in whole.to_batches():
        audio = batch.column("wav").field("bytes")
        for row, wav in zip(batch.select(plain).to_pylist(), audio, strict=True):
            yield row, wav.as_py()


def _embedded(whole: pa.Table) -> Iterator[Found]:
    for batch in whole.to_batches():
        arrays = zip(*(table.matrices(batch.column(name)) for name in ("codes", "cond")), strict=True)
        stated = batch.select(["meta", "frames", "codebooks", "features"]).to_pylist()
        for row, (codes, cond) in zip(stated, arrays, strict=True):
            stored = Embedded(codes, cond, row["meta"]).hash()
            yield Found(stored, problem=_misfit(row, codes.T, cond, row["features"]))


def _in_files(folder: Path, split: str, whole: pa.Table) -> Iterator[Found]:
    jobs = whole.select(["audio", "cond", "frames", "codebooks", "features"]).to_pylist()
    for result in map_clips(partial(_open, folder), jobs, title=f"verify {split}"):
        yield Found("", problem=result.reason) if isinstance(result, Failure) else result


def _open(folder: Path, row: dict[str, Any]) -> Found:
    """The files that a row names."""
    token = f"{folder}/{row['audio']}"
    npy = None if row["cond"] is None else f"{folder}/{row['cond']}"
    paths = [token] if npy is None else [token, npy, format.json_path(npy)]
    stored = listing.files_hash(map(listing.read, paths))
    try:
        codes = ecdc.read(Path(token)).codes
    except BadClip as error:
        return Found(stored, problem=f"{row['audio']}: {error}")
    try:
        sidecar = format.read(npy) if npy else format.Sidecar(np.empty((codes.shape[1], 0)), ())
    except BadClip as error:
        return Found(stored, problem=str(error))
    return Found(stored, problem=_misfit(row, codes, sidecar.values, list(sidecar.names)))


def _misfit(row: dict[str, Any], codes: np.ndarray, cond: np.ndarray, names: list[str]) -> str:
    """In what codes [K, T] and conditioning [T, D] differ from what the row says; empty when in nothing."""
    if codes.shape != (row["codebooks"], row["frames"]):
        return f"codes are {list(codes.shape)}; {row['codebooks']} codebooks and {row['frames']} frames are stated"
    if len(cond) != row["frames"]:
        return f"the sidecar has {len(cond)} frames; {row['frames']} are stated"
    if names != row["features"] or cond.shape[1] != len(names):
        return f"the sidecar has {cond.shape[1]} features {names}; {row['features']} are stated"
    return ""
