"""What a folder of token files holds: `tokens.jsonl`, written at encode time, so that nobody opens files to count."""

import json
import posixpath
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from soundraft import files
from soundraft.audio import ecdc
from soundraft.parallel import BadClip
from soundraft.runtime import UserError

INDEX_NAME = "tokens.jsonl"


@dataclass(frozen=True)
class TokenFile:
    """One token file. `path` is relative to the folder, `wav` (the audio it was made from) to the audio folder.

    Attributes:
        problem: why the file cannot be read; then `frames`, `codebooks` and `samples` are 0.
    """

    path: str
    wav: str
    frames: int
    codebooks: int
    samples: int
    problem: str = ""

    @property
    def name(self) -> str:
        """The path without the suffix: what its sidecar and the clip share."""
        return posixpath.splitext(self.path)[0]


def token_path(wav: str, suffix: str = ecdc.SUFFIX) -> str:
    """`a.wav` becomes `a.ecdc`; any other ending stays, so that neighbours do not collide: `a.WAV` → `a.WAV.ecdc`."""
    return wav.removesuffix(".wav") + suffix


def wav_of(token_file: str) -> str:
    """`a.ecdc` → `a.wav`: the audio's name where no index tells it."""
    return posixpath.splitext(token_file)[0] + ".wav"


def write_index(folder: Path, rows: Iterable[TokenFile]) -> None:
    good = sorted(rows, key=lambda row: row.path)
    files.write_jsonl(folder / INDEX_NAME, ({k: v for k, v in asdict(row).items() if k != "problem"} for row in good))


def list_tokens(
    folder: Path, *, suffix: str = ecdc.SUFFIX, recursive: bool = True, shard_index: int = 0, shard_count: int = 1
) -> list[TokenFile]:
    """The token files of a folder, sorted by path; from its index where that has them, else by opening each file.

    Args:
        shard_index: take only the files whose path hashes to this shard of `shard_count`.

    Raises:
        UserError: when there is no such folder, the shard does not exist, or the index is malformed.
    """
    if not folder.is_dir():
        raise UserError(f"no such folder: {folder}")
    if not 0 <= shard_index < shard_count:
        raise UserError(f"there is no shard {shard_index} of {shard_count}; they count from 0")
    known = {row.path: row for row in read_index(folder)}
    rows = []
    for relative in files.sorted_names(folder, [suffix], recursive=recursive):
        if shard_count == 1 or files.shard_of(relative, shard_count) == shard_index:
            rows.append(known.get(relative) or open_token_file(folder, relative))
    return rows


def open_token_file(folder: Path, relative: str) -> TokenFile:
    """What the file itself says; a file that cannot be read has a `problem`."""
    wav = wav_of(relative)
    try:
        tokens = ecdc.read(folder / relative)
    except BadClip as error:
        return TokenFile(relative, wav, 0, 0, 0, str(error))
    return TokenFile(relative, wav, tokens.frames, tokens.codes.shape[0], tokens.samples)


def read_index(folder: Path) -> list[TokenFile]:
    """The rows of `tokens.jsonl`; none when there is no such file.

    Raises:
        UserError: when a line is malformed.
    """
    path = folder / INDEX_NAME
    if not path.is_file():
        return []
    rows = []
    # split as bytes: names may hold U+2028 and others that end a line of text
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            rows.append(_checked(TokenFile(**json.loads(line))))
        except (ValueError, TypeError) as error:
            raise UserError(f"{path}:{number}: not a row of the token index: {error}") from error
    return rows


def _checked(row: TokenFile) -> TokenFile:
    texts, counts = (row.path, row.wav, row.problem), (row.frames, row.codebooks, row.samples)
    if not all(type(text) is str for text in texts) or not all(type(count) is int and count >= 0 for count in counts):
        raise TypeError("path, wav are texts, and frames, codebooks, samples whole numbers from 0")
    return row
