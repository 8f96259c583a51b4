"""Which clips a folder of token files has, where their sidecars are, and a hash of what the files hold."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import xxhash

from soundraft import files, runtime
from soundraft.audio import ecdc
from soundraft.audio.ecdc import TokenFile
from soundraft.manifest import Rejected, listed
from soundraft.runtime import BadClip, UserError
from soundraft.sidecar import format


@dataclass(frozen=True)
class Shard:
    """A part of the clips, by a stable hash of the path: all `count` shards together are the whole."""

    index: int = 0
    count: int = 1

    def has(self, path: str) -> bool:
        return self.count == 1 or runtime.shard_of(path, self.count) == self.index


WHOLE = Shard()


def list_clips(
    tokens_root: Path, suffix: str, shard: Shard = WHOLE, *, tokens_suffix: str = ecdc.SUFFIX, recursive: bool = True
) -> list[TokenFile]:
    """The token files, sorted by path: from the index where that has them, else by opening each file.

    One that shares its sidecar with another one (`a.ECDC` beside `a.ecdc`) has a problem, as one that cannot be read.

    Raises:
        UserError: when the suffix is none for sidecars, there is no such folder or shard, the index is malformed, or
            there are no token files.
    """
    format.check_suffix(suffix)
    if not tokens_root.is_dir():
        raise UserError(f"no such folder: {tokens_root}")
    if not 0 <= shard.index < shard.count:
        raise UserError(f"there is no shard {shard.index} of {shard.count}; they count from 0")
    known = {row.path: row for row in ecdc.read_index(tokens_root)}
    owners: dict[str, str] = {}
    clips = []
    for path in files.sorted_names(tokens_root, [tokens_suffix], recursive=recursive):
        if shard.has(path):
            clip = known.get(path) or ecdc.open_token_file(tokens_root, path)
            owner = owners.setdefault(clip.name, path)
            clips.append(clip if owner == path else replace(clip, problem=f"shares its sidecar with {owner}"))
    if not clips and shard.count == 1:
        raise UserError(f"{tokens_root}: no token files (*{tokens_suffix}) in there")
    return clips


def place(root: Path, clip: TokenFile, suffix: str) -> str:
    """The npy file of a clip's sidecar: the token file's path, its ending replaced by name."""
    return f"{root}/{clip.name}{suffix}"


def paths_of(tokens_root: Path, cond_root: Path, clip: TokenFile, suffix: str) -> tuple[str, str, str]:
    """The three files of a clip: token file, npy, json."""
    npy = place(cond_root, clip, suffix)
    return f"{tokens_root}/{clip.path}", npy, format.json_path(npy)


class WavNames:
    """The wav of each token file, relative to the audio folder: from the token index, else by name."""

    def __init__(self, tokens_root: Path) -> None:
        self.root = tokens_root
        self.known = {row.path: row.wav for row in ecdc.read_index(tokens_root)}

    def __call__(self, ecdc_path: Path) -> str:
        relative = Path(ecdc_path).relative_to(self.root).as_posix()
        return self.known.get(relative) or ecdc.wav_of(relative)


def read(path: str) -> bytes | None:
    """The bytes of a file; `None` when it cannot be opened."""
    try:
        return files.read_file(path)
    except (BadClip, OSError) as error:
        if runtime.is_machine_fault(error):
            raise
        return None


def files_hash(contents: Iterable[bytes | None]) -> str:
    """Of the bytes of files in this order; `None` stands for one that is absent."""
    digest = xxhash.xxh3_128()
    for data in contents:
        digest.update(f"{-1 if data is None else len(data)} ".encode())
        digest.update(data or b"")
    return digest.hexdigest()


def folder_hash(clips: Iterable[tuple[str, str]]) -> str:
    """Of (path of the token file, hash of its files), in any order: the audit states it, and s5 compares."""
    digest = xxhash.xxh3_128()
    for path, of_files in sorted(clips):
        digest.update(f"{of_files} {path}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


Shape = tuple[int, tuple[str, ...]]  # codebooks, and the names of the features in their order


def unlike(shapes: Mapping[str, Shape]) -> dict[str, str]:
    """The clips that fit into no batch with most others, and why: other codebooks, or other features."""
    counts = Counter(shapes.values())
    (codebooks, names), _ = max(counts.items(), key=lambda item: item[1], default=((0, ()), 0))
    return {
        clip: f"{own} codebooks; most clips have {codebooks}" if own != codebooks
        else f"features {', '.join(given) or 'none'}; most have {', '.join(names) or 'none'}"
        for clip, (own, given) in shapes.items()
        if (own, given) != (codebooks, names)
    }  # fmt: skip


def rejected(clip: TokenFile, reason: str) -> Rejected:
    return Rejected(clip.name, clip.path, reason)


def fail(what: str, bad: Sequence[Rejected], hint: str = "--skip-errors leaves them out") -> UserError:
    """The error that names the clips."""
    return UserError(f"{what} ({hint}):{listed(bad)}")
