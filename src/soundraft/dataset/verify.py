"""Is a dataset what its tables and its card say? Every file is opened, every hash made again."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from soundraft.audio import ecdc
from soundraft.dataset import build, rows, table
from soundraft.dataset.rows import Embedded, Found
from soundraft.parallel import Failure, map_clips
from soundraft.runtime import BadClip, UserError
from soundraft.sidecar import format, listing
from soundraft.tables import below


def check(folder: Path, splits: Sequence[str] | None = None) -> int:
    """Compare files, tables and card.

    For each clip: the files exist and can be read, and codes and conditioning have the stated frames, codebooks and
    features. For each split: the hash of all that it holds is the card's.

    Args:
        splits: all of the dataset when `None`.

    Returns:
        The number of clips.

    Raises:
        UserError: naming split, clip and what is wrong.
    """
    stated = build.read_hashes(folder)
    clips, problems = 0, []
    for split in table.read_splits(folder) if splits is None else splits:
        count, content_hash, wrong = _check_split(folder, split)
        clips += count
        problems += [f"{split}: {text}" for text in wrong]
        if stated.get(split) != content_hash:
            problems.append(f"{split}: content is {content_hash}, the card says {stated.get(split)}")
    return _unless(problems, clips, str(folder))


def check_items(count: int, read: Callable[[int], object]) -> int:
    """Read each of so many items, such as those of folders of token files; the number of them.

    Raises:
        UserError: naming those that cannot be read.
    """
    results = map_clips(read, range(count), title="verify")
    return _unless([result.reason for result in results if isinstance(result, Failure)], count, "the folders")


def _unless(problems: Sequence[str], clips: int, where: str) -> int:
    if problems:
        raise UserError(f"{where}: {len(problems)} problems in {clips} clips:{below(problems)}")
    return clips


def _check_split(folder: Path, split: str) -> tuple[int, str, list[str]]:
    """(clips, hash of the content, what is wrong)."""
    features = table.read_features(folder / split)
    plain = [name for name in features if name not in rows.NOT_HASHED]
    stored = _embedded(folder / split) if "codes" in features else _in_files(folder, folder / split)
    digest, wrong, count = xxhash.xxh3_128(), [], 0
    for (row, wav), found in zip(_rows_with_audio(folder / split, plain), stored, strict=True):
        digest.update(rows.row_hash(row, wav, found.stored).encode())
        count += 1
        if found.problem:
            wrong.append(f"{row['id']}: {found.problem}")
    return count, digest.hexdigest(), wrong


def _rows_with_audio(folder: Path, plain: Sequence[str]) -> Iterator[tuple[dict[str, Any], bytes | None]]:
    for batch in table.read_batches(folder, [*plain, "wav"]):
        audio = batch.column("wav").field("bytes")
        for row, wav in zip(batch.select(list(plain)).to_pylist(), audio, strict=True):
            yield row, wav.as_py()


def _embedded(folder: Path) -> Iterator[Found]:
    names = ["codes", "cond", "meta", "frames", "codebooks", "features"]
    for batch in table.read_batches(folder, names):
        arrays = zip(table.matrices(batch.column("codes")), table.matrices(batch.column("cond")), strict=True)
        stated = batch.select(names[2:]).to_pylist()
        for row, (codes, cond) in zip(stated, arrays, strict=True):
            stored = Embedded(codes, cond, row["meta"]).hash()
            yield Found(stored, problem=_misfit(row, codes.T, cond, row["features"]))


def _in_files(folder: Path, of_split: Path) -> Iterator[Found]:
    names = ["audio", "cond", "frames", "codebooks", "features"]
    jobs = [row for batch in table.read_batches(of_split, names) for row in batch.to_pylist()]
    for result in map_clips(partial(_open, folder), jobs, title=f"verify {of_split.name}"):
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
