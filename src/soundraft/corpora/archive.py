"""Archives of recordings, unpacked without trusting them: .zip, .tar, .tar.gz."""

import lzma
import re
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Literal

from soundraft.corpora.lists import Finding, SourceError

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
MOST_FILES = 2_000_000
MOST_BYTES = 1 << 30  # that much any archive may hold; a larger one at most MOST_GROWTH times its own size
MOST_GROWTH = 100
MOST_NAME_BYTES = 255  # of one part of a path, on common file systems
MOST_PATH_BYTES = 1000  # macOS takes 1,024 of a whole path, Linux 4,096
_BLOCK_BYTES = 1 << 20
_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    UnicodeError,
    NotImplementedError,  # zipfile, of a compression that it does not know
)

Kind = Literal["file", "folder", "link", "device", "encrypted file"]


@dataclass(frozen=True)
class Member:
    """One entry: its name with forward slashes, what it is, and its size in bytes as the archive states it."""

    name: str
    kind: Kind
    size: int


def is_archive(path: Path) -> bool:
    return path.is_file() and path.name.lower().endswith(SUFFIXES)


def members(path: Path) -> list[Member]:
    """What an archive holds, unchecked up to the entry at which it grows beyond all measure.

    Raises:
        SourceError: when it is damaged.
    """
    found: list[Member] = []
    most, total = _most_bytes(path), 0
    with _reading(path) as archive:
        for member, _ in _entries(archive):
            found.append(member)
            total += member.size
            if total > most or len(found) > MOST_FILES:
                break
    return found


def check(path: Path, found: Sequence[Member]) -> list[Finding]:
    """What keeps an archive from being unpacked, each with the entry's name."""
    findings: list[Finding] = []
    seen: set[str] = set()
    folders: set[str] = set()
    most, total = _most_bytes(path), 0
    for number, member in enumerate(found, start=1):
        total += member.size
        problem = _bad_name(member.name) or _bad_kind(member) or _clash(member, seen, folders)
        if total > most or number > MOST_FILES:
            problem = "bomb", f"with it the archive unpacks to more than {most:,} bytes or {MOST_FILES:,} files"
        if problem:
            findings.append(Finding(f"{path.name}:{member.name!r}"[:300], problem[0], "error", problem[1]))
    return findings


def unpack(path: Path, out: Path, *, suffixes: Sequence[str], prefix: str = "") -> None:
    """Write the files below `prefix` of an archive that end in one of `suffixes` to `out`, without that prefix.

    Raises:
        SourceError: naming the entry, when one is absolute, leaves the folder, is a link or a device, is there twice
            or but for case, or is larger than it may be; nothing is written then. Or when the archive is damaged.
    """
    refused = check(path, members(path))
    if refused:
        more = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
        raise SourceError(refused[0].place, refused[0].code, f"refused: {refused[0].message}{more}")
    left = _most_bytes(path)
    with _reading(path) as archive:
        for member, entry in _entries(archive):
            wanted = member.kind == "file" and member.name.startswith(prefix) and is_wanted(member.name, suffixes)
            if wanted:
                left -= _write(
                    archive, entry, out / member.name.removeprefix(prefix), left, f"{path.name}:{member.name}"
                )


def is_wanted(name: str, suffixes: Sequence[str]) -> bool:
    """Whether a file is one to unpack; what systems leave in archives for themselves is none."""
    parts = PurePosixPath(name).parts
    return name.lower().endswith(tuple(suffixes)) and not any(part.startswith((".", "__MACOSX")) for part in parts)


def _most_bytes(path: Path) -> int:
    return max(MOST_BYTES, MOST_GROWTH * path.stat().st_size)


@contextmanager
def _reading(path: Path) -> Iterator[zipfile.ZipFile | tarfile.TarFile]:
    try:
        if path.name.lower().endswith(".zip"):
            with zipfile.ZipFile(path) as archive:
                yield archive
        else:
            with tarfile.open(path, "r:" if path.name.lower().endswith(".tar") else "r:gz") as tar:
                yield tar
    except (*_DAMAGE, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's fault; decompressors raise theirs without a number
        raise SourceError(path.name, "bad_archive", f"not readable as an archive: {error}") from error


def _entries(archive: zipfile.ZipFile | tarfile.TarFile) -> Iterator[tuple[Member, zipfile.ZipInfo | tarfile.TarInfo]]:
    if isinstance(archive, zipfile.ZipFile):
        for info in archive.infolist():
            yield Member(_plain(info.filename), _zip_kind(info), info.file_size), info
    else:
        for entry in archive:
            yield Member(_plain(entry.name), _tar_kind(entry), entry.size), entry


def _plain(name: str) -> str:
    """With forward slashes, and without the `./` that `tar` puts first."""
    return name.replace("\\", "/").removeprefix("./")


def _zip_kind(info: zipfile.ZipInfo) -> Kind:
    mode = stat.S_IFMT(info.external_attr >> 16)
    if stat.S_ISLNK(mode):
        return "link"
    if mode not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "device"
    if info.is_dir():
        return "folder"
    return "encrypted file" if info.flag_bits & 1 else "file"


def _tar_kind(entry: tarfile.TarInfo) -> Kind:
    if entry.issym() or entry.islnk():
        return "link"
    if entry.isdir():
        return "folder"
    return "file" if entry.isreg() else "device"


def _bad_name(name: str) -> tuple[str, str] | None:
    parts = name.split("/")
    if name.startswith("/") or re.match(r"[A-Za-z]:", name):
        return "path_leaves", "its path is absolute"
    if ".." in parts:
        return "path_leaves", "its path leaves the folder"
    if not name or "\0" in name or name.encode("utf-8", "replace").decode() != name:
        return "bad_name", "its name is not UTF-8"
    if any(len(part.encode()) > MOST_NAME_BYTES for part in parts):
        return "bad_name", f"its name is longer than {MOST_NAME_BYTES} bytes"
    if len(name.encode()) > MOST_PATH_BYTES:
        return "bad_name", f"its path is longer than {MOST_PATH_BYTES:,} bytes"
    return None


def _bad_kind(member: Member) -> tuple[str, str] | None:
    if member.kind in ("file", "folder"):
        return None
    return member.kind.split()[0], f"it is a{'n' if member.kind[0] == 'e' else ''} {member.kind}"


def _clash(member: Member, seen: set[str], folders: set[str]) -> tuple[str, str] | None:
    """Entries that would be one file here or on another system; notes what is seen."""
    if member.kind == "folder":
        return None
    key = unicodedata.normalize("NFC", member.name).casefold()
    above = {parent.as_posix() for parent in PurePosixPath(key).parents} - {"."}
    clashes = key in seen or key in folders or bool(above & seen)
    seen.add(key)
    folders |= above
    return ("duplicate_member", "an earlier entry has its name, but for case perhaps") if clashes else None


def _write(
    archive: zipfile.ZipFile | tarfile.TarFile,
    entry: zipfile.ZipInfo | tarfile.TarInfo,
    target: Path,
    most: int,
    place: str,
) -> int:
    """Write one entry; how many bytes it was. What an archive states of a size is not believed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with _open_entry(archive, entry) as source, target.open("wb") as stream:
        while block := source.read(_BLOCK_BYTES):
            written += len(block)
            if written > most:
                raise SourceError(place, "bomb", "refused: it unpacks to more than it may")
            stream.write(block)
    return written


def _open_entry(archive: zipfile.ZipFile | tarfile.TarFile, entry: zipfile.ZipInfo | tarfile.TarInfo) -> IO[bytes]:
    if isinstance(archive, zipfile.ZipFile):
        assert isinstance(entry, zipfile.ZipInfo)
        return archive.open(entry)
    assert isinstance(entry, tarfile.TarInfo)
    stream = archive.extractfile(entry)
    assert stream is not None  # so for every regular file
    return stream
