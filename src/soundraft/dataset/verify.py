"""Is a dataset what its tables and its card say? Every file is opened, every hash made again."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from soundraft.audio import ecdc
from soundraft.dataset import build, rows, table
from soundraft.dataset.table import Embedded
from soundraft.parallel import BadClip, Failure, map_clips
from soundraft.runtime import UserError
from soundraft.sidecar import format, listing
from soundraft.sidecar import listing as content


@dataclass(frozen=True)
class Verified:
    """What was looked at; `problems` name split, clip and what is wrong."""

    clips: int
    problems: list[str]


@dataclass(frozen=True)
class Stored:
    """A row's codes and conditioning: their hash, and what is wrong with them."""

    hash: str
    problem: str = ""


def check(folder: Path, splits: Sequence[str] | None = None) -> int:
    """The number of clips, when all is well.

    Raises:
        UserError: naming what is wrong.
    """
    return _all_well(verify(folder, splits), str(folder))


def _all_well(done: Verified, where: str) -> int:
    if done.problems:
        shown = listing.first_lines(done.problems)
        raise UserError(f"{where}: {len(done.problems)} problems in {done.clips} clips:{shown}")
    return done.clips


def verify(folder: Path, splits: Sequence[str] | None = None) -> Verified:
    """Compare files, tables and card.

    For each clip: the files exist and can be read, and codes and conditioning have the stated frames, codebooks and
    features. For each split: the hash of all that it holds is the card's.

    Args:
        splits: all of the dataset when `None`.
    """
    stated = build.read_hashes(folder)
    clips, problems = 0, []
    for split in table.read_splits(folder) if splits is None else splits:
        found, content_hash, wrong = _verify_split(folder, split)
        clips += found
        problems += [f"{split}: {text}" for text in wrong]
        if stated.get(split) != content_hash:
            problems.append(f"{split}: content is {content_hash}, the card says {stated.get(split)}")
    return Verified(clips, problems)


def _verify_split(folder: Path, split: str) -> tuple[int, str, list[str]]:
    """(clips, hash of the content, what is wrong)."""
    features = table.read_features(folder / split)
    plain = [name for name in features if name not in rows.NOT_HASHED]
    embed = "codes" in features
    stored = _embedded(folder / split) if embed else _in_files(folder, folder / split)
    digest, wrong, count = xxhash.xxh3_128(), [], 0
    for (row, wav), found in zip(_rows_with_audio(folder / split, plain), stored, strict=True):
        digest.update(rows.row_hash(row, wav, found.hash).encode())
        count += 1
        if found.problem:
            wrong.append(f"{row['id']}: {found.problem}")
    return count, digest.hexdigest(), wrong


def _rows_with_audio(folder: Path, plain: Sequence[str]) -> Iterator[tuple[dict[str, Any], bytes | None]]:
    for batch in table.read_batches(folder, [*plain, "wav"]):
        audio = batch.column("wav").field("bytes")
        for row, wav in zip(batch.select(list(plain)).to_pylist(), audio, strict=True):
            yield row, wav.as_py()


def _embedded(folder: Path) -> Iterator[Stored]:
    names = ["codes", "cond", "meta", "frames", "codebooks", "features"]
    for batch in table.read_batches(folder, names):
        arrays = zip(table.matrices(batch.column("codes")), table.matrices(batch.column("cond")), strict=True)
        stated = batch.select(names[2:]).to_pylist()
        for row, (codes, cond) in zip(stated, arrays, strict=True):
            yield Stored(Embedded(codes, cond, row["meta"]).hash(), _misfit(row, codes.T, cond, row["features"]))


def _in_files(folder: Path, of_split: Path) -> Iterator[Stored]:
    names = ["audio", "cond", "frames", "codebooks", "features"]
    jobs = [row for batch in table.read_batches(of_split, names) for row in batch.to_pylist()]
    for result in map_clips(_Opener(folder), jobs, title=f"verify {of_split.name}"):
        yield Stored("", result.reason) if isinstance(result, Failure) else result


@dataclass(frozen=True)
class _Opener:
    """Opens the files that a row names; picklable, so that worker processes can have it."""

    folder: Path

    def __call__(self, row: dict[str, Any]) -> Stored:
        token = f"{self.folder}/{row['audio']}"
        npy = None if row["cond"] is None else f"{self.folder}/{row['cond']}"
        paths = [token] if npy is None else [token, npy, format.json_path(npy)]
        stored = content.files_hash(map(content.read, paths))
        try:
            codes = ecdc.read(Path(token)).codes
        except BadClip as error:
            return Stored(stored, f"{row['audio']}: {error}")
        try:
            sidecar = format.read(npy) if npy else format.Sidecar(np.empty((codes.shape[1], 0)), ())
        except BadClip as error:
            return Stored(stored, str(error))
        return Stored(stored, _misfit(row, codes, sidecar.values, list(sidecar.names)))


def _misfit(row: dict[str, Any], codes: np.ndarray, cond: np.ndarray, names: list[str]) -> str:
    """In what codes [K, T] and conditioning [T, D] differ from what the row says; empty when in nothing."""
    if codes.shape != (row["codebooks"], row["frames"]):
        return f"codes are {list(codes.shape)}; {row['codebooks']} codebooks and {row['frames']} frames are stated"
    if len(cond) != row["frames"]:
        return f"the sidecar has {len(cond)} frames; {row['frames']} are stated"
    if names != row["features"] or cond.shape[1] != len(names):
        return f"the sidecar has {cond.shape[1]} features {names}; {row['features']} are stated"
    return ""


def check_items(count: int, read: Callable[[int], object]) -> int:
    """Read each of so many items, such as those of folders of token files; the number of them, when all is well.

    Raises:
        UserError: naming those that cannot be read.
    """
    results = map_clips(read, range(count), title="verify")
    problems = [result.reason for result in results if isinstance(result, Failure)]
    return _all_well(Verified(count, problems), "the folders")
