"""Archives of recordings, unpacked without trusting them: .zip, .tar, .tar.gz."""

import lzma
import os
import shutil
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from soundraft.corpora.lists import Finding, SourceError
from soundraft.files import is_utf8

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
MOST_FILES = 2_000_000
MOST_BYTES = 1 << 30  # any archive may hold that much; a larger one at most MOST_GROWTH times its own size
MOST_GROWTH = 100
MOST_NAME_BYTES = 255  # of one part of a path, on common file systems
MOST_PATH_BYTES = 1000  # macOS takes 1,024 of a whole path, Linux 4,096
_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    UnicodeError,
    NotImplementedError,  # zipfile, for a compression that it does not know
)
ENCRYPTED = b"encrypted"  # beside the types that tar has
Entry = tuple[tarfile.TarInfo, Callable[[], IO[bytes] | None]]  # also an entry of a zip, described as tar does


def is_archive(path: Path) -> bool:
    return path.is_file() and path.name.lower().endswith(SUFFIXES)


def file_names(path: Path) -> list[str]:
    """The files of an archive, none of them checked; SourceError when it is damaged."""
    with _naming_damage(path):
        return [entry.name for entry, _ in _entries(path) if entry.isreg()]


def check(path: Path) -> list[Finding]:
    """What keeps an archive from being unpacked, up to where it grows beyond measure; SourceError when damaged."""
    findings: list[Finding] = []
    seen: tuple[set[str], set[str]] = set(), set()
    left_bytes, left_files = max(MOST_BYTES, MOST_GROWTH * path.stat().st_size), MOST_FILES
    most = f"{left_bytes:,} bytes or {MOST_FILES:,} files"
    with _naming_damage(path):
        for entry, _ in _entries(path):
            left_bytes, left_files = left_bytes - entry.size, left_files - 1
            problem = _problem(entry) or _clash(entry, *seen)
            if left_bytes < 0 or left_files < 0:
                problem = "bomb", f"with it the archive unpacks to more than {most}"
            if problem:
                findings.append(Finding(f"{path.name}:{entry.name!r}"[:300], *problem))
            if problem and problem[0] == "bomb":
                break
    return findings


def unpack(path: Path, out: Path, *, suffixes: Sequence[str], prefix: str = "") -> None:
    """Write the files below `prefix` of an archive that end in one of `suffixes` to `out`, without that prefix.

    Raises:
        SourceError: naming the entry, when one is absolute, leaves the folder, is a link or a device, is there twice
            or but for case, or is larger than it may be; nothing is written then. Or when the archive is damaged.
    """
    refused = [finding for finding in check(path) if finding.severity == "error"]
    if refused:
        more = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
        raise SourceError(refused[0].place, refused[0].code, f"refused: {refused[0].message}{more}")
    with _naming_damage(path):
        for entry, open_entry in _entries(path):
            if entry.isreg() and entry.name.startswith(prefix) and is_wanted(entry.name, suffixes):
                target = out / entry.name.removeprefix(prefix)
                target.parent.mkdir(parents=True, exist_ok=True)
                source = open_entry()
                assert source is not None  # so for every regular file
                with source, target.open("wb") as stream:
                    shutil.copyfileobj(source, stream)  # never more bytes than the entry states


def is_wanted(name: str, suffixes: Sequence[str]) -> bool:
    """Whether a file is one to unpack: not what systems leave in archives for themselves."""
    parts = PurePosixPath(name).parts
    return (
        is_utf8(name)
        and name.lower().endswith(tuple(suffixes))
        and not any(part.startswith((".", "__MACOSX")) for part in parts)
    )


@contextmanager
def _naming_damage(path: Path) -> Iterator[None]:
    try:
        yield
    except (*_DAMAGE, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's fault; decompressors raise theirs without a number
        raise SourceError(path.name, "bad_archive", f"not readable as an archive: {error}") from error


def _entries(path: Path) -> Iterator[Entry]:
    """Names have forward slashes, and not the `./` that `tar` puts first."""
    if path.name.lower().endswith(".zip"):
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                entry = tarfile.TarInfo(info.filename.replace("\\", "/").removeprefix("./"))
                entry.type, entry.size = _zip_type(info), info.file_size
                yield entry, partial(archive.open, info)
    else:
        with tarfile.open(path) as tar:
            for member in tar:
                name = member.name.replace("\\", "/").removeprefix("./")
                yield member.replace(name=name, deep=False), partial(tar.extractfile, member)


def _zip_type(info: zipfile.ZipInfo) -> bytes:
    mode = stat.S_IFMT(info.external_attr >> 16)
    if stat.S_ISLNK(mode):
        return tarfile.SYMTYPE
    if mode not in (0, stat.S_IFREG, stat.S_IFDIR):
        return tarfile.CHRTYPE
    if info.is_dir():
        return tarfile.DIRTYPE
    return ENCRYPTED if info.flag_bits & 1 else tarfile.REGTYPE


def _problem(entry: tarfile.TarInfo) -> tuple[str, str] | None:
    name = entry.name
    if not name or "\0" in name:
        return "bad_name", "it has no name"
    if name.startswith("/") or name[1:2] == ":":
        return "path_leaves", "its path is absolute"
    if ".." in name.split("/"):
        return "path_leaves", "its path leaves the folder"
    if len(os.fsencode(name)) > MOST_PATH_BYTES or any(
        len(os.fsencode(part)) > MOST_NAME_BYTES for part in name.split("/")
    ):
        return "bad_name", f"its path is longer than {MOST_PATH_BYTES:,} bytes, or a name in it than {MOST_NAME_BYTES}"
    if entry.issym() or entry.islnk():
        return "link", "it is a link"
    if entry.type == ENCRYPTED:
        return "encrypted", "it is an encrypted file"
    if not (entry.isreg() or entry.isdir()):
        return "device", "it is a device"
    return None if is_utf8(name) else ("not_utf8", "not taken: its name is not UTF-8")


def _clash(entry: tarfile.TarInfo, files: set[str], folders: set[str]) -> tuple[str, str] | None:
    """Whether it would be one file with an earlier entry, here or on another system; adds it to those that were."""
    if entry.isdir():
        return None
    key = unicodedata.normalize("NFC", entry.name).casefold()
    above = {parent.as_posix() for parent in PurePosixPath(key).parents} - {"."}
    clashes = key in files or key in folders or bool(above & files)
    files.add(key)
    folders |= above
    return ("duplicate_member", "an earlier entry has its name, but for case perhaps") if clashes else None
