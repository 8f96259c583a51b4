"""What was downloaded of a corpus: audio files as they came, a line for each row, and how far it is finished.

The cache is `SOUNDRAFT_CACHE`, else `$XDG_CACHE_HOME/soundraft`, else `~/.cache/soundraft`. One entry is one split of
a source at one commit:

    schema.json           the source's columns
    rows.jsonl            a line for each finished row, in the source's order, the bad ones too
    00000/00000012.flac   the audio of row 12, byte for byte as the source has it
    complete.json         how many rows are finished, and whether the source has more: written last

An audio file is written before its line. So after a kill the lines are what is finished, and a half-written last line
or file is made again.
"""

import io
import json
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import soundfile
import xxhash

from soundraft import files
from soundraft.audio.io import AUDIO_SUFFIXES, parse
from soundraft.corpora.base import CorpusError
from soundraft.parallel import BadClip
from soundraft.runtime import cache_root as cache_root

SCHEMA_NAME = "schema.json"
ROWS_NAME = "rows.jsonl"
COMPLETE_NAME = "complete.json"
LOCK_NAME = ".lock"
FILES_PER_FOLDER = 1000
_SUFFIX_OF_FORMAT = {"WAV": ".wav", "WAVEX": ".wav", "FLAC": ".flac", "OGG": ".ogg", "MP3": ".mp3", "MPEG": ".mp3"}
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)

Position = tuple[int, int, int]  # a shard of the source, a part of the shard, a row of the part
START: Position = (0, 0, 0)


@dataclass(frozen=True)
class Item:
    """One row as it comes from the source.

    Attributes:
        after: where reading goes on after this row.
        audio: the bytes of its file; `None` where there is none, and `problem` says why.
    """

    after: Position
    values: Mapping[str, Any]
    audio: bytes | None
    name: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Record:
    """One finished row.

    Attributes:
        row: its number in the split, from 0.
        after: where reading goes on after it.
        name: the source's name of the audio file; empty when it has none.
        audio: the file's path relative to the entry; empty for a bad row.
        size: of that file, in bytes.
        content: a hash of the file's bytes: rows with the same recording have the same.
        duration: in seconds.
        reason: why the row was set aside; empty for a good one.
        values: the other columns as the source has them.
    """

    row: int
    after: Position
    name: str = ""
    audio: str = ""
    size: int = 0
    content: str = ""
    duration: float = 0.0
    sample_rate: int = 0
    reason: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)

    def line(self) -> bytes:
        return _ENCODER.encode(vars(self)).encode() + b"\n"


class Entry:
    """One split of a source at one commit, open in this process alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        state = files.read_json(folder / COMPLETE_NAME) if (folder / COMPLETE_NAME).is_file() else {}
        self.finished: int = state.get("rows", 0)
        self.exhausted: bool = state.get("exhausted", False)

    def schema(self, read: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The source's columns; `read` is asked once in the life of the entry."""
        path = self.folder / SCHEMA_NAME
        if not path.is_file():
            files.write_json(path, read())
        return files.read_json(path)

    def records(self, more: Callable[[Position], Iterable[Item]]) -> Generator[Record, None, None]:
        """The finished rows, then those that `more(where they end)` has, each kept before it is given.

        Nothing is asked of `more` before the finished rows are used up, and nothing at all of an exhausted source.
        """
        row, after = 0, START
        for record in self._read():
            row, after = record.row + 1, record.after
            yield record
        if self.exhausted:
            if row < self.finished:
                raise self._damaged(row)
            return
        with (self.folder / ROWS_NAME).open("ab") as stream:
            stream.truncate(self._end)
            try:
                for item in more(after):
                    record = self._keep(row, item)
                    stream.write(record.line())
                    stream.flush()
                    row += 1
                    yield record
                self.exhausted = True
            finally:
                self._complete(stream, row)

    def _read(self) -> Iterator[Record]:
        """The finished rows; `_end` is where the last one's line ends in the file."""
        path, self._end = self.folder / ROWS_NAME, 0
        if not path.is_file():
            return
        with path.open("rb") as stream:
            for row, line in enumerate(stream):
                record = _parse(line)
                if record is None or record.row != row or (row >= self.finished and not self._is_whole(record)):
                    if row < self.finished:
                        raise self._damaged(row)
                    return
                self._end += len(line)
                yield record

    def _is_whole(self, record: Record) -> bool:
        """Whether the audio of a row that no completion file vouches for is there."""
        path = self.folder / record.audio
        return not record.audio or (path.is_file() and path.stat().st_size == record.size)

    def _damaged(self, row: int) -> CorpusError:
        return CorpusError(
            f"{self.folder / ROWS_NAME}:{row + 1}: the cache is damaged, or an older version's; remove {self.folder}"
        )

    def _keep(self, row: int, item: Item) -> Record:
        """Check the audio of one row by decoding it, and write it."""
        try:
            if item.audio is None:
                raise BadClip(item.problem or "no audio")
            samples, rate_hz = parse(item.audio)
        except BadClip as error:
            return Record(row, item.after, item.name, reason=str(error), values=item.values)
        audio = f"{row // FILES_PER_FOLDER:05d}/{row:08d}{_suffix(item)}"
        _write(f"{self.folder}/{audio}", item.audio)
        size, content = len(item.audio), xxhash.xxh3_128_hexdigest(item.audio)
        duration = round(len(samples) / rate_hz, 6)
        return Record(row, item.after, item.name, audio, size, content, duration, rate_hz, values=item.values)

    def _complete(self, stream: BinaryIO, rows: int) -> None:
        os.fsync(stream.fileno())
        self.finished = rows
        files.write_json(self.folder / COMPLETE_NAME, {"rows": rows, "exhausted": self.exhausted})


@contextmanager
def opened(folder: Path) -> Iterator[Entry]:
    """The entry at `folder`, made when it is not there; a second process waits until the first is done with it."""
    from filelock import FileLock

    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / LOCK_NAME):
        yield Entry(folder)


def remembered(folder: Path, key: str, find: Callable[[], str]) -> str:
    """What `find` once said for `key`, kept in `folder/refs.json`: a revision stays the commit that it was."""
    from filelock import FileLock

    path = folder / "refs.json"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / LOCK_NAME):
        known = files.read_json(path) if path.is_file() else {}
        if key not in known:
            known[key] = find()
            files.write_json(path, known)
        return known[key]


def _write(path: str, data: bytes) -> None:
    """Write a file in its place: one that a kill cuts short has no line, and is written again."""
    try:
        _write_here(path, data)
    except FileNotFoundError:
        os.mkdir(os.path.dirname(path))
        _write_here(path, data)


def _write_here(path: str, data: bytes) -> None:
    """Make the file anew: one that is there may be linked from elsewhere."""
    try:
        stream = open(path, "xb")  # noqa: SIM115
    except FileExistsError:
        os.unlink(path)
        stream = open(path, "xb")  # noqa: SIM115
    with stream:
        stream.write(data)


def _parse(line: bytes) -> Record | None:
    """A line of ours; `None` for one that a kill cut short."""
    if not line.endswith(b"\n"):
        return None
    try:
        value = json.loads(line)
        return Record(**value | {"after": tuple(value["after"]), "content": value["content"]})
    except (ValueError, TypeError, KeyError):
        return None


def _suffix(item: Item) -> str:
    """The suffix that the source gives the file, else that of what its bytes are."""
    suffix = os.path.splitext(item.name)[1].lower()
    if suffix in AUDIO_SUFFIXES:
        return suffix
    kind = soundfile.info(io.BytesIO(item.audio or b"")).format
    return _SUFFIX_OF_FORMAT.get(kind, f".{kind.lower()}")
