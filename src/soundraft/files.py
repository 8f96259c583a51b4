"""Atomic writes, hashes, sorted walks, and the rules that join names and paths."""

import csv
import glob
import hashlib
import io
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import xxhash
import yaml

from soundraft.runtime import BadClip, UserError


def read_file(path: Path) -> bytes:
    """The bytes of a file that a clip names; raises BadClip when it is not there."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise BadClip("no such file") from None
    except IsADirectoryError:
        raise BadClip("a folder, not a file") from None


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: a temporary neighbour, then one rename."""
    write_together({path: data})


def write_together(contents: Mapping[Path, bytes]) -> None:
    """Write files that belong together.

    All are on disk before any is moved to its place. A kill in between leaves later ones missing, which readers see,
    and never an old one beside a new one.
    """
    temporary = {path: path.with_name(f".{path.name}.{os.getpid()}.tmp") for path in contents}
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


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def read_yaml(path: Path) -> Any:
    """What a YAML file holds: 1e-3 is a number, as in YAML 1.2.

    Raises:
        UserError: when it cannot be read, is not YAML, or has a key twice in one mapping.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # a SafeLoader
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from error


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


@contextmanager
def building(directory: Path) -> Iterator[Path]:
    """Build a directory beside its place and move it there when complete.

    What fails inside leaves `directory` as it was. After a kill the half-built neighbour stays; it ends in `.tmp`, is
    ignored by git and DVC, and is removed by the next attempt.

    Raises:
        UserError: when there can be no directory at that place, before anything is built.
    """
    for left in directory.parent.glob(f".{glob.escape(directory.name)}.building-*.tmp"):
        shutil.rmtree(left, ignore_errors=True)
    scratch = directory.with_name(f".{directory.name}.building-{os.getpid()}.tmp")
    try:
        scratch.mkdir(parents=True)
    except OSError as error:
        raise UserError(f"{directory}: no folder can be made there: {error.strerror}") from error
    try:
        yield scratch
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    if directory.exists():
        shutil.rmtree(directory)
    os.replace(scratch, directory)


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
    wanted = tuple(suffix.lower() for suffix in suffixes)
    found = []
    for folder, below, names in os.walk(root):
        if not recursive:
            below.clear()
        start = os.path.relpath(folder, root).replace(os.sep, "/")
        prefix = "" if start == "." else f"{start}/"
        matching = (name for name in names if name.lower().endswith(wanted))
        found += [prefix + name for name in matching if os.path.isfile(f"{folder}/{name}")]
    return sorted(found)


def is_utf8(name: str) -> bool:
    """Whether a file's name can stand in a table: the bytes of some are no UTF-8."""
    return name.isascii() or name.encode(errors="replace").decode() == name


def check_apart(source: Path, out: Path) -> None:
    """Raise UserError when one folder is, or lies in, the other: results would mix with what they are made of."""
    one, other = source.resolve(), out.resolve()
    if one.is_relative_to(other) or other.is_relative_to(one):
        raise UserError(f"{source} and {out} must be two folders, neither inside the other")


def shard_of(relative: str, count: int) -> int:
    """Which of `count` shards a relative path belongs to: stable over machines, all shards together are the whole."""
    return int.from_bytes(hashlib.sha256(relative.encode()).digest()[:8], "big") % count


def inside(root: Path, relative: str) -> Path:
    """The path of a file named in a manifest.

    Raises:
        ValueError: when the path is absolute or leaves `root`, also through a link.
    """
    home, place = os.path.realpath(root), os.path.realpath(root / relative)
    if PurePosixPath(relative).is_absolute() or not place.startswith(home + os.sep):
        raise ValueError(f"path leaves its folder: {relative!r}")
    return root / relative


def content_of(audio: bytes) -> str:
    """What tells the bytes of an audio file from all others, whatever the file is called."""
    return xxhash.xxh3_128_hexdigest(audio)


def content_hash(*paths: Path) -> str:
    """SHA-256 over the bytes of the files, in the order given."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


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
