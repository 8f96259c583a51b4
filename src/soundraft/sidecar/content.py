"""What token files and their sidecars hold, as one hash: the audit states it, and s5 compares."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import xxhash

from soundraft import runtime
from soundraft.audio.token_index import TokenFile
from soundraft.sidecar import format, listing


def paths_of(tokens_root: Path, cond_root: Path, clip: TokenFile, suffix: str) -> tuple[str, str, str]:
    """The three files of a clip: token file, npy, json."""
    npy = listing.place(cond_root, clip, suffix)
    return f"{tokens_root}/{clip.path}", npy, format.json_path(npy)


def files_hash(contents: Iterable[bytes | None]) -> str:
    """Of the bytes of files in this order; `None` stands for one that is absent."""
    digest = xxhash.xxh3_128()
    for data in contents:
        digest.update(f"{-1 if data is None else len(data)} ".encode())
        digest.update(data or b"")
    return digest.hexdigest()


def folder_hash(clips: Iterable[tuple[str, str]]) -> str:
    """Of (path of the token file, hash of its files), in any order."""
    digest = xxhash.xxh3_128()
    for path, of_files in sorted(clips):
        digest.update(f"{of_files} {path}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def hash_folders(tokens_root: Path, cond_root: Path, clips: Sequence[TokenFile], suffix: str) -> str:
    """The hash of all clips, read from their folders."""
    return folder_hash(
        (clip.path, files_hash(map(read, paths_of(tokens_root, cond_root, clip, suffix)))) for clip in clips
    )


def read(path: str) -> bytes | None:
    """The bytes of a file; `None` when it cannot be opened."""
    try:
        with open(path, "rb", buffering=0) as stream:
            return stream.read()
    except OSError as error:
        if runtime.is_machine_fault(error):
            raise
        return None
