"""Atomic writes, hashes, sorted walks, and the rules that join names and paths."""

import csv
import errno
import fnmatch
import glob
import hashlib
import io
import json
import os
import re
import shutil
import stat
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import xxhash
import yaml

from soundraft import packs
from soundraft.runtime import BadClip, UserError

CONTENTS_NAME = "contents.txt"
LONGEST_NAME_BYTES = 255  # on common file systems
_NO_FILE = {errno.ENOENT: "no such file", errno.ENOTDIR: "no such file", errno.ELOOP: "a link that leads to itself"}


def read_file(path: str | Path, limit: int = -1) -> bytes:
    """The bytes of a file of a clip, loose or packed, at most `limit`.

    Raises:
        BadClip: when there is none: a pipe, say, which would never end.
    """
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISREG(mode):
            with open(path, "rb") as stream:
                return stream.read(limit)
    except OSError as error:
        if error.errno not in _NO_FILE:
            raise
        packed = packs.read(path, limit)
        if packed is None:
            raise BadClip(_NO_FILE[error.errno]) from None
        return packed
    raise BadClip("a folder, not a file" if stat.S_ISDIR(mode) else "a pipe, socket or device, not a file")


def exists(path: str | Path) -> bool:
    """Whether a file of a clip is there, loose (a broken link too) or packed."""
    return os.path.lexists(path) or packs.holds(path)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: a temporary neighbour, then one rename."""
    write_together({path: data})


def write_together(contents: Mapping[Path, bytes]) -> None:
    """Write files that belong together.

    All are on disk before any is moved to its place. A kill in between leaves later ones missing, which readers see,
    and never an old one beside a new one.
    """
    for path in contents:
        if len(os.fsencode(path.name)) > LONGEST_NAME_BYTES:  # said of this name, not of a temporary one
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), path.name)
    temporary = {path: _beside(path, f"{os.getpid()}.tmp") for path in contents}
    try:
        for path, data in contents.items():
            try:
                temporary[path].write_bytes(data)
            except FileNotFoundError:
                path.parent.mkdir(parents=True, exist_ok=True)
                temporary[path].write_bytes(data)
        for path in list(contents)[1:]:
            path.unlink(missing_ok=True)
        for path in contents:
            os.replace(temporary[path], path)
    except BaseException as error:
        for left in temporary.values():
            left.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:  # a full disk does not say for which file
            error.filename = str(next(iter(contents)))
        raise


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary neighbour, to be written in parts; it takes the path's place when that was done."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path, f"{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _beside(path: Path, ending: str) -> Path:
    """A hidden name for what is not finished; where `path` has a long name, a short one: 255 bytes are the most."""
    name = path.name if len(os.fsencode(path.name)) <= 200 else content_of(os.fsencode(path.name))
    return path.with_name(f".{name}.{ending}")


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """What a JSON file holds; UserError when it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is damaged, or not JSON: {error}") from error


def read_yaml(path: Path) -> Any:
    """What a YAML file holds; UserError when it cannot be read, and as `parse_yaml`."""
    try:
        return parse_yaml(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error


def parse_yaml(text: str, name: str) -> Any:
    """What a text in YAML says: 1e-3 is a number, as in YAML 1.2.

    Raises:
        UserError: naming the text, when it is not YAML, or has a key twice in one mapping.
    """
    try:
        return yaml.load(text, Loader=_Loader)  # a SafeLoader
    except yaml.YAMLError as error:
        raise UserError(f"{name} is not YAML: {' '.join(str(error).split())}") from error


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    lines = (json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
    write_text(path, "".join(lines))


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]], columns: Sequence[str] = ()) -> None:
    """A line a row under the names in `columns`, else those of the first row; without either an empty file."""
    stream, lines = io.StringIO(), list(rows)
    names = list(columns) or [name for line in lines[:1] for name in line]
    if names:
        writer = csv.DictWriter(stream, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    write_text(path, stream.getvalue())


def write_parquet(path: Path, columns: Mapping[str, Any]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), buffer, compression="zstd")
    write_bytes(path, buffer.getvalue().to_pybytes())


def read_parquet(path: Path) -> Any:
    """A `pyarrow.Table`; UserError when the file is none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise UserError(f"{path} is not a parquet file: {error}") from error


@contextmanager
def building(directory: Path) -> Iterator[Path]:
    """Build a directory beside its place and move it there when complete.

    What fails inside leaves `directory` as it was. After a kill the half-built neighbour stays; it ends in `.tmp`, is
    ignored by git and DVC, and is removed by the next attempt.

    Raises:
        UserError: when there can be no directory at that place, before anything is built.
    """
    scratch = _beside(directory, f"building-{os.getpid()}.tmp")
    for left in directory.parent.glob(glob.escape(scratch.name.rpartition("-")[0]) + "-*.tmp"):
        shutil.rmtree(left, ignore_errors=True)
    try:
        scratch.mkdir(parents=True)
    except OSError as error:
        raise UserError(f"{directory}: no folder can be made there: {error.strerror}") from error
    try:
        yield scratch
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    _open_to_umask(scratch)
    if directory.exists():
        shutil.rmtree(directory)
    os.replace(scratch, directory)


def _open_to_umask(folder: Path) -> None:
    """Give files that a library wrote for its user alone (safetensors: 0600) the mode that all others have."""
    usual = folder.stat().st_mode & 0o666
    for path in folder.rglob("*"):
        mode, links = path.lstat().st_mode, path.lstat().st_nlink
        if stat.S_ISREG(mode) and links == 1 and mode & usual != usual:  # a link shares its mode with a file elsewhere
            path.chmod(stat.S_IMODE(mode) | usual)


def check_can_write(path: Path) -> None:
    """Raise UserError when no file or folder can be written at a place: before the work whose results go there."""
    place = path if path.is_dir() else next(each for each in path.absolute().parents if each.exists())
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise UserError(f"{path}: nothing can be written there: {error.strerror}") from error


def write_contents(root: Path, listing: str = CONTENTS_NAME, pattern: str = "*") -> None:
    """Write the hash of every file below whose path matches, as `xxh128sum --check` takes it.

    A stage that reads these files depends on that list: DVC then looks at one file instead of at thousands.
    """
    names = [name for name in sorted_names(root, [""]) if fnmatch.fnmatchcase(name, pattern) and name != listing]
    lines = (f"{content_of(root / name)}  {name}\n" for name in names)
    write_bytes(root / listing, "".join(lines).encode(errors="surrogateescape"))


def remove_other_folders(root: Path, wanted: Iterable[str]) -> None:
    """Remove what an earlier run, of other corpora, left in an out that DVC does not clear."""
    for folder in folders(root) if root.is_dir() else []:
        if folder.name not in set(wanted):
            shutil.rmtree(folder)


def folders(root: Path) -> list[Path]:
    """The folders in `root`, sorted by name."""
    return sorted(path for path in root.iterdir() if path.is_dir())


def sorted_files(root: Path, suffixes: Iterable[str], *, recursive: bool = True) -> list[Path]:
    """All files in (and below) `root` with one of the suffixes (any case), in an order that no file system changes."""
    return [root / relative for relative in sorted_names(root, suffixes, recursive=recursive)]


def sorted_names(root: Path, suffixes: Iterable[str], *, recursive: bool = True) -> list[str]:
    """As `sorted_files`, relative to `root` and as text: paths are what listing thousands of files costs."""
    return sift(root, suffixes, recursive=recursive)[0]


def sift(root: Path, suffixes: Iterable[str], *, recursive: bool = True) -> tuple[list[str], dict[str, list[str]]]:
    """As `sorted_names`; and by reason the names, sorted, of what has such a suffix and is no file, and of folders that
    are not looked into.
    """  # fmt: skip
    wanted = tuple(suffix.lower() for suffix in suffixes)
    found: list[str] = []
    left: dict[str, list[str]] = defaultdict(list)

    def unreadable(error: OSError) -> None:
        left["unreadable folders"].append(os.path.relpath(error.filename, root).replace(os.sep, "/"))

    for prefix, below, names in packs.walk(root, unreadable):
        if recursive:
            left["linked folders"] += [prefix + name for name in below if os.path.islink(f"{root}/{prefix}{name}")]
        else:
            below.clear()
        for name in names:
            if name.lower().endswith(wanted):
                if os.path.isfile(f"{root}/{prefix}{name}"):
                    found.append(prefix + name)
                else:
                    left[_no_file(f"{root}/{prefix}{name}")].append(prefix + name)
    packed = (name for name in packs.names(root) if name.lower().endswith(wanted) and (recursive or "/" not in name))
    return sorted({*found, *packed}), {reason: sorted(names) for reason, names in left.items() if names}


def _no_file(path: str) -> str:
    try:
        os.stat(path)
    except OSError as error:
        return "link loops" if error.errno == errno.ELOOP else "broken links"
    return "pipes, sockets or devices"


def is_utf8(name: str) -> bool:
    """Whether a file's name can stand in a table: the bytes of some are no UTF-8."""
    return name.isascii() or name.encode(errors="replace").decode() == name


def check_apart(source: Path, out: Path) -> None:
    """Raise UserError when one folder is, or lies in, the other: results would mix with what they are made of."""
    one, other = source.resolve(), out.resolve()
    if one.is_relative_to(other) or other.is_relative_to(one):
        raise UserError(f"{source} and {out} must be two folders, neither inside the other")


def inside(root: Path, relative: str) -> Path:
    """The path of a file named in a manifest.

    Raises:
        ValueError: when the path is absolute or leaves `root`, also through a link.
    """
    home, place = os.path.realpath(root), os.path.realpath(root / relative)
    if PurePosixPath(relative).is_absolute() or not place.startswith(os.path.join(home, "")):
        raise ValueError(f"path leaves its folder: {relative!r}")
    return root / relative


def content_of(audio: bytes | Path) -> str:
    """What tells the bytes of an audio file from all others, whatever the file is called."""
    if isinstance(audio, bytes):
        return xxhash.xxh3_128_hexdigest(audio)
    digest = xxhash.xxh3_128()
    for block in _blocks(audio):
        digest.update(block)
    return digest.hexdigest()


def content_hash(*paths: Path) -> str:
    """SHA-256 over the bytes of the files, in the order given."""
    digest = hashlib.sha256()
    for path in paths:
        for block in _blocks(path):
            digest.update(block)
    return digest.hexdigest()


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            yield block


class _Loader(yaml.SafeLoader):
    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.MarkedYAMLError(
                        problem=f"the key {key.value} is given twice", problem_mark=key.start_mark
                    )
                seen.add(key.value)
        return node


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(?:\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+0123456789.")
)
