"""Packs: the small files of thousands of clips in 64 tar files, which still read as files in their folder.

DVC looks at every file of the pipeline's folders each time it runs, and small files by the thousand cost it seconds. A
pack is a tar file without compression and without times, the files of a clip side by side; `tar xf` takes it apart.
Whoever reads the files of clips does so through `files.read_file` and its neighbours, which look here for those that
are not there. Tables and ledgers stay beside the packs.
"""

import io
import os
import re
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

from soundraft.runtime import UserError, shard_of

PACKS = 64  # a changed clip sends a 64th of a folder to a remote
_FIRST = "pack-00.tar"


class _Place(NamedTuple):
    pack: str
    start: int
    size: int


def read(path: str | Path, limit: int = -1) -> bytes | None:
    """The bytes, at most `limit`, of a file that a pack above it holds; `None` when there is none."""
    place = _find(path)
    return None if place is None else _bytes(place)[: limit if limit >= 0 else None]


def holds(path: str | Path) -> bool:
    return _find(path) is not None


def names(folder: str | Path) -> list[str]:
    """The files in the packs of a folder, relative to it."""
    return sorted(_places(os.fspath(folder)))


def pack(folder: Path, suffixes: Sequence[str], *, keep: Iterable[str] | None = None) -> None:
    """Move the loose files with one of these endings into the folder's packs.

    The same files give the same bytes, whatever was packed before. A kill loses nothing: loose files go last.

    Args:
        keep: of the files packed before, those to be kept; `None`: all.
    """
    loose = {name for name in _loose(folder) if name.endswith(tuple(suffixes))}
    before = _places(os.fspath(folder))
    packed = set(before if keep is None else before.keys() & set(keep))
    shares: list[list[str]] = [[] for _ in range(PACKS)]
    for name in sorted(loose | packed):
        clip = next((name.removesuffix(suffix) for suffix in suffixes if name.endswith(suffix)), name)
        shares[shard_of(clip, PACKS)].append(name)
    fresh = []
    for number, share in enumerate(shares):
        temporary = folder / f".pack-{number:02d}.tar.{os.getpid()}.tmp"
        with tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as tar:
            for name in share:
                data = (folder / name).read_bytes() if name in loose else _bytes(before[name])
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
        fresh.append((temporary, folder / f"pack-{number:02d}.tar"))
    for temporary, place in fresh:
        os.replace(temporary, place)
    for name in loose:
        (folder / name).unlink()
    for root, _, _ in os.walk(folder, topdown=False):
        if not os.listdir(root):
            os.rmdir(root)


def unpack(folder: Path, out: Path) -> int:
    """Write the files of a folder's packs, and copies of what lies beside them, to another folder; how many."""
    places = _places(os.fspath(folder))
    contents: dict[str, Callable[[], bytes]] = {name: partial(_bytes, place) for name, place in places.items()}
    contents |= {name: (folder / name).read_bytes for name in _loose(folder) if not is_pack(name)}
    for name, content in contents.items():
        place = out / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content())
    return len(contents)


@contextmanager
def unpacked(folder: Path) -> Iterator[Path]:
    """A folder with the same files, none of them packed, for as long as the context lasts."""
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", suffix=".tmp", dir=folder.parent) as scratch:
        unpack(folder, Path(scratch))
        yield Path(scratch)


def is_pack(name: str) -> bool:
    """Whether a file of this name, in its folder, is a pack."""
    return re.fullmatch(r"pack-\d\d\.tar", name) is not None


def _loose(folder: Path) -> Iterator[str]:
    for root, _, found in os.walk(folder):
        start = os.path.relpath(root, folder)
        yield from (name if start == "." else f"{start}/{name}" for name in found)


def _bytes(place: _Place) -> bytes:
    with open(place.pack, "rb") as stream:
        return os.pread(stream.fileno(), place.size, place.start)


def _find(path: str | Path) -> _Place | None:
    path = os.fspath(path)
    folder = os.path.dirname(path)
    while folder and not os.path.exists(f"{folder}/{_FIRST}"):
        above = os.path.dirname(folder)
        if above == folder:
            return None
        folder = above
    return _places(folder).get(path[len(folder) + 1 :]) if folder else None


def _places(folder: str) -> dict[str, _Place]:
    if not os.path.exists(f"{folder}/{_FIRST}"):
        return {}
    return _index(os.path.abspath(folder), os.stat(folder).st_mtime_ns)


@lru_cache(maxsize=8)
def _index(folder: str, _changed_ns: int) -> dict[str, _Place]:
    found: dict[str, _Place] = {}
    for number in range(PACKS):
        path = f"{folder}/pack-{number:02d}.tar"
        try:
            with tarfile.open(path, "r:") as tar:
                found |= {member.name: _Place(path, member.offset_data, member.size) for member in tar}
        except (tarfile.TarError, FileNotFoundError) as error:
            raise UserError(f"{path} is damaged: {error}; make the folder again") from error
    return found
