"""Packs: the small files of thousands of clips in 64 tar files, which still read as files in their folder.

DVC looks at every file of the pipeline's folders each time it runs, and small files by the thousand cost it seconds. A
pack is a tar file without compression and without times, the files of a clip side by side; `tar xf` takes it apart.
Whoever reads the files of clips does so through `files.read_file` and its neighbours, which look here for those that
are not there. Tables and ledgers stay beside the packs.
"""

import os
import re
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, NamedTuple

from soundraft.runtime import UserError, shard_of

PACKS = 64  # a changed clip sends a 64th of a folder to a remote
_FIRST = "pack-00.tar"
_END = bytes(tarfile.BLOCKSIZE)
_NAME_BYTES, _SIZE, _CHECKSUM = 100, slice(124, 136), slice(148, 156)  # of the header of an entry
_BLANK = tarfile.TarInfo().tobuf(tarfile.PAX_FORMAT)


class Place(NamedTuple):
    """Where the bytes of a file lie: in a pack, in a spool, or in a file of its own."""

    path: str
    start: int
    size: int


class Spool:
    """Files on their way into packs, one behind the other in a temporary file.

    Attributes:
        places: where the bytes of each file lie, for `pack`.
    """

    def __init__(self, stream: BinaryIO, path: str) -> None:
        self._stream, self._path, self._end = stream, path, 0
        self.places: dict[str, Place] = {}

    def add(self, name: str, data: bytes) -> None:
        self._stream.write(data)
        self.places[name] = Place(self._path, self._end, len(data))
        self._end += len(data)


def read(path: str | Path, limit: int = -1) -> bytes | None:
    """The bytes, at most `limit`, of a file that a pack above it holds; `None` when there is none."""
    place = _find(path)
    return None if place is None else _bytes(place)[: limit if limit >= 0 else None]


def holds(path: str | Path) -> bool:
    return _find(path) is not None


def names(folder: str | Path) -> list[str]:
    """The files in the packs of a folder, relative to it."""
    return sorted(_places(os.fspath(folder)))


@contextmanager
def spool(folder: Path) -> Iterator[Spool]:
    """A spool of this process in a folder, for as long as the context lasts; `pack` removes it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f".spool.{os.getpid()}.tmp"
    with _said_of(folder), path.open("wb") as stream:
        spool = Spool(stream, str(path))
        yield spool
    if not spool.places:
        path.unlink()


def pack(
    folder: Path,
    suffixes: Sequence[str],
    *,
    keep: Iterable[str] | None = None,
    spooled: dict[str, Place] | None = None,
) -> None:
    """Move the loose files with one of these endings, and those of spools, into the folder's packs.

    The same files give the same bytes, whatever was packed before. A kill loses nothing: loose files go last.

    Args:
        keep: of the files packed before, those to be kept; `None`: all.
        spooled: by name, where files lie that were spooled into this folder.
    """
    loose = {name: place for name, place in _loose(folder).items() if name.endswith(tuple(suffixes))}
    before, spooled = _places(os.fspath(folder)), spooled or {}
    places = {name: before[name] for name in (before if keep is None else before.keys() & set(keep))}
    places |= loose | spooled
    shares: list[list[str]] = [[] for _ in range(PACKS)]
    for name in sorted(places):
        clip = next((name.removesuffix(suffix) for suffix in suffixes if name.endswith(suffix)), name)
        shares[shard_of(clip, PACKS)].append(name)
    fresh = []
    with _said_of(folder):
        for number, share in enumerate(shares):
            temporary = folder / f".pack-{number:02d}.tar.{os.getpid()}.tmp"
            _write_tar(temporary, {name: places[name] for name in share})
            fresh.append((temporary, folder / f"pack-{number:02d}.tar"))
    for temporary, place in fresh:
        os.replace(temporary, place)
    for path in {place.path for place in (*loose.values(), *spooled.values())}:
        os.unlink(path)
    for root, _, _ in os.walk(folder, topdown=False):
        if not os.listdir(root):
            os.rmdir(root)


@contextmanager
def _said_of(folder: Path) -> Iterator[None]:
    """A full disk does not say for which file."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(folder)
        raise


def _write_tar(path: Path, places: Mapping[str, Place]) -> None:
    """The bytes that `tarfile` writes for these files."""
    with path.open("wb") as stream:
        for name, place in places.items():
            stream.write(_header(name, place.size))
            stream.write(_bytes(place))
            stream.write(_END[: -place.size % tarfile.BLOCKSIZE])
        stream.write(_END * 2)
        stream.write(bytes(-stream.tell() % tarfile.RECORDSIZE))


def _header(name: str, size: int) -> bytes:
    """The header of a tar entry, as `tarfile` makes it; of short ASCII names ten times faster."""
    if len(name) > _NAME_BYTES or not name.isascii() or size >= 8**11:
        entry = tarfile.TarInfo(name)
        entry.size = size
        return entry.tobuf(tarfile.PAX_FORMAT)
    head = bytearray(_BLANK)
    head[: len(name)] = name.encode()
    head[_SIZE] = b"%011o\0" % size
    head[_CHECKSUM] = b" " * 8
    head[_CHECKSUM] = b"%06o\0 " % sum(head)
    return bytes(head)


def unpack(folder: Path, out: Path) -> int:
    """Write the files of a folder's packs, and copies of what lies beside them, to another folder; how many."""
    places = _places(os.fspath(folder)) | {name: place for name, place in _loose(folder).items() if not is_pack(name)}
    for name, source in places.items():
        place = out / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(_bytes(source))
    return len(places)


@contextmanager
def unpacked(folder: Path) -> Iterator[Path]:
    """A folder with the same files, none of them packed, for as long as the context lasts."""
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", suffix=".tmp", dir=folder.parent) as scratch:
        unpack(folder, Path(scratch))
        yield Path(scratch)


def is_pack(name: str) -> bool:
    """Whether a file of this name, in its folder, is a pack."""
    return re.fullmatch(r"pack-\d\d\.tar", name) is not None


def walk(folder: Path, onerror: Callable[[OSError], None] | None = None) -> Iterator[tuple[str, list[str], list[str]]]:
    """As `os.walk`, with the path from `folder` on instead of the path: empty, or ending in a slash."""
    start = len(os.fspath(folder)) + 1
    for root, below, names in os.walk(folder, onerror=onerror):
        yield f"{root[start:]}/" if root[start:] else "", below, names


def _loose(folder: Path) -> dict[str, Place]:
    """The files in and below a folder."""
    names = (prefix + name for prefix, _, found in walk(folder) for name in found)
    return {name: Place(f"{folder}/{name}", 0, os.path.getsize(f"{folder}/{name}")) for name in names}


def _bytes(place: Place) -> bytes:
    stream = os.open(place.path, os.O_RDONLY)
    try:
        return os.pread(stream, place.size, place.start)
    finally:
        os.close(stream)


def _find(path: str | Path) -> Place | None:
    path = os.fspath(path)
    folder = path.rpartition("/")[0]
    while folder:
        if places := _places(folder):
            return places.get(path[len(folder) + 1 :])
        folder = folder.rpartition("/")[0]
    return None


def _places(folder: str) -> dict[str, Place]:
    if not os.path.exists(f"{folder}/{_FIRST}"):
        return {}
    now = os.stat(folder)
    return _index(folder, (now.st_dev, now.st_ino, now.st_mtime_ns))


@lru_cache(maxsize=8)
def _index(folder: str, _state: tuple[int, int, int]) -> dict[str, Place]:
    found: dict[str, Place] = {}
    for number in range(PACKS):
        path = f"{folder}/pack-{number:02d}.tar"
        try:
            found |= _entries(path)
        except (tarfile.TarError, FileNotFoundError) as error:
            raise UserError(f"{path} is damaged: {error}; make the folder again") from error
    return found


def _entries(path: str) -> dict[str, Place]:
    """The files in a pack; `tarfile` reads one with other headers than `_header` makes by itself, or damaged."""
    found: dict[str, Place] = {}
    with open(path, "rb") as stream:
        while (head := stream.read(tarfile.BLOCKSIZE)) != _END:
            name = head[:_NAME_BYTES].rstrip(b"\0").decode("ascii", "replace")
            size = int(head[_SIZE][:-1], 8) if re.fullmatch(rb"[0-7]{11}\0", head[_SIZE]) else -1
            if size < 0 or head != _header(name, size):
                break
            found[name] = Place(path, stream.tell(), size)
            stream.seek(size + -size % tarfile.BLOCKSIZE, os.SEEK_CUR)
        else:
            return found
    with tarfile.open(path, "r:") as tar:
        return {member.name: Place(path, member.offset_data, member.size) for member in tar}
