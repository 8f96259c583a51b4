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

import hashlib
import io
import json
import os
import re
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import quote

import soundfile
import xxhash

from soundraft import files, runtime
from soundraft.audio.io import AUDIO_SUFFIXES, parse
from soundraft.corpora.base import CorpusError, Option
from soundraft.parallel import BadClip

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa


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


# The rows of a dataset that `datasets` streams: where each one is, and its values as JSON has them.


ROWS_AT_ONCE = 32


def walk(
    stream: "datasets.IterableDataset", start: Position, *, seek: bool
) -> Iterator[tuple[Position, dict[str, Any]]]:
    """The rows from a position on, each with the position after it.

    With `seek` whole files, and row groups of a file, are passed over unread.
    """
    if not seek:
        for number, row in enumerate(_row_dicts(stream.skip(start[2])), start=start[2] + 1):
            yield (0, 0, number), row
        return
    for shard in range(start[0], stream.num_shards):
        parts = stream.shard(stream.num_shards, shard).reshard()
        for part in range(start[1] if shard == start[0] else 0, parts.num_shards):
            done = start[2] if (shard, part) == start[:2] else 0
            rows = _row_dicts(parts.shard(parts.num_shards, part), done)
            for number, (row, is_last) in enumerate(_marked(rows), start=done + 1):
                yield (shard, part + 1, 0) if is_last else (shard, part, number), row


def _marked(rows: Iterator[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], bool]]:
    """Each row, and whether it is the last one."""
    held = next(rows, None)
    while held is not None:
        row, held = held, next(rows, None)
        yield row, held is None


def _row_dicts(stream: "datasets.IterableDataset", start: int = 0) -> Iterator[dict[str, Any]]:
    table: pa.Table
    for table in stream.iter(batch_size=ROWS_AT_ONCE):
        if start < len(table):
            yield from table.slice(start).to_pylist()
        start = max(0, start - len(table))


def label_names(kind: Any) -> list[str] | None:
    """The names of a class label, also of a list of them."""
    inner = getattr(kind, "feature", kind)
    return getattr(inner, "names", None)


def is_plain(kind: Any) -> bool:
    """Whether JSON can hold the values: no audio, no pictures, no bytes."""
    if isinstance(kind, dict):
        return all(map(is_plain, kind.values()))
    if isinstance(kind, list):
        return all(map(is_plain, kind))
    if hasattr(kind, "feature"):
        return is_plain(kind.feature)
    return type(kind).__name__ in ("Value", "ClassLabel") and "binary" not in kind.dtype


def plain(value: Any) -> Any:
    """A value as JSON has it: times as text, NaN as nothing."""
    if isinstance(value, float):
        return value if value - value == 0 else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return str(value)


# A dataset repository of the Hugging Face hub at one commit, or a local copy of one, read row by row.
#
# `datasets` runs no loading scripts since 4.0. So what is read is what a branch holds as data: parquet on `main`, or
# the branch `refs/convert/parquet`, to which the hub converts scripts, with files named `CONFIG/SPLIT/0000.parquet`.
# Nothing is asked of the network before a row, a column or a split's name is needed.


CONVERTED = "refs/convert/parquet"
README = "README.md"
HUB_TIMEOUT_S = 60.0
_CONVERTED_FILE = re.compile(r"(?P<config>[^/]+)/(?:partial-)?(?P<split>[^/]+)/\d{4,}\.parquet")
_HIDDEN = (".git", ".cache")


@dataclass(frozen=True)
class Repository:
    """One configuration of a repository.

    Attributes:
        repo: its hub id; what messages call it, also when a local copy is read.
        revision: commit, tag or branch.
        config: the subset; empty: the repository's default.
        path: a local copy of the repository, read in its place.
        asked_as: what messages put before the name of an option.
        config_option: the option that names the subset: config or language.
    """

    repo: str
    revision: str
    config: str = ""
    path: Path | None = None
    asked_as: str = ""
    config_option: Option = "config"

    @cached_property
    def commit(self) -> str:
        """The commit of the revision, of a local copy the hash of its files' names and sizes.

        A revision that was resolved once stays the same commit for this cache, so that an interrupted fetch goes on
        with what it began, and a finished one needs no network.
        """
        if self.path is not None:
            return _listing_hash(self.path, times=False)
        return remembered(self._home, self.revision, self._resolve)

    @cached_property
    def folder(self) -> Path:
        """Where the cache keeps this configuration at this commit."""
        version = self.commit if self.path is None else _listing_hash(self.path, times=True)[:16]
        return self._home / version / (_file_name(self.config) if self.config else "_")

    @property
    def _home(self) -> Path:
        if self.path is None:
            return runtime.cache_root() / "hub" / _file_name(self.repo)
        place = hashlib.sha256(os.fsencode(self.path.resolve())).hexdigest()[:16]
        return runtime.cache_root() / "local" / place

    @property
    def about(self) -> dict[str, Any]:
        """What was read, for the record: nothing of this machine in it."""
        version = {"revision": self.revision, "commit": self.commit}
        known = version if self.path is None else {"copy": self.commit}
        return {"repo": self.repo, **known, "config": self.config}

    def splits(self) -> list[str]:
        """The names of the splits, in the repository's order; asked of the network once."""
        path = self.folder / "splits.json"
        if not path.is_file():
            files.write_json(path, list(self._streams))
        return files.read_json(path)

    def schema(self, split: str) -> dict[str, Any]:
        """The columns of a split: those with audio, those with class labels (and their names), and all others."""
        import datasets

        features = self._stream(split).features
        if features is None:
            raise CorpusError(f"{self.repo}: the columns of {split} are not known before they are read")
        audio = [name for name, kind in features.items() if isinstance(kind, datasets.Audio)]
        labels = {name: names for name, kind in features.items() if (names := label_names(kind)) is not None}
        return {"audio": audio, "labels": labels, "columns": [name for name in features if name not in audio]}

    def rows(self, split: str, audio: str, start: Position) -> Iterator[Item]:
        """The rows of a split from a position on; no row group before it is read where the source is parquet."""
        import datasets

        with self._told():
            stream = self._stream(split)
            features = stream.features or {}
            kept = [name for name, kind in features.items() if name == audio or is_plain(kind)]
            stream = stream.select_columns(kept).cast_column(audio, datasets.Audio(decode=False))
            for after, row in walk(stream.with_format("arrow"), start, seek=self._builder.name == "parquet"):
                data, name, problem = self._audio(row.pop(audio))
                values = {column: plain(value) for column, value in row.items()}
                yield Item(after, values, data, name, problem)

    def _stream(self, split: str) -> "datasets.IterableDataset":
        if split not in self._streams:
            raise CorpusError(f"{self.asked_as}split: {self._name} has no {split!r}; there are: {_list(self._streams)}")
        return self._streams[split]

    @cached_property
    def _streams(self) -> "Mapping[str, datasets.IterableDataset]":
        with self._told():
            return self._builder.as_streaming_dataset()

    @cached_property
    def _builder(self) -> "datasets.DatasetBuilder":
        import datasets

        datasets.disable_progress_bars()
        where = self.repo if self.path is None else str(self.path.resolve())
        revision = self.commit if self.path is None else None
        with self._told():
            names = self._names()
            converted = _converted_files(names)
            if converted:
                return datasets.load_dataset_builder(where, data_files=self._of_config(converted), revision=revision)
            if f"{PurePosixPath(where).name}.py" in names:
                raise CorpusError(self._script_message())
            try:
                return datasets.load_dataset_builder(where, self.config or None, revision=revision)
            except ValueError:
                self._check_config(datasets.get_dataset_config_names(where, revision=revision))
                raise

    def _names(self) -> list[str]:
        """The files of the repository at this commit.

        A gated repository lists them to everybody, so whether they may be read is asked too.
        """
        if self.path is not None:
            return [name for name, _, _ in _listing(self.path)]
        from huggingface_hub import HfApi

        info = HfApi().dataset_info(self.repo, revision=self.commit, timeout=HUB_TIMEOUT_S)
        if info.gated:
            HfApi().auth_check(self.repo, repo_type="dataset")
        return [sibling.rfilename for sibling in info.siblings or []]

    def _of_config(self, converted: dict[str, dict[str, list[str]]]) -> dict[str, list[str]]:
        self._check_config(list(converted))
        return converted[self.config] if self.config else next(iter(converted.values()))

    def _check_config(self, configs: list[str]) -> None:
        """Refuse a configuration that is not there, and none where there are several and no default."""
        if self.config and self.config not in configs:
            raise CorpusError(
                f"{self.asked_as}{self.config_option}: {self.repo} has no {self.config!r}; there are: {_list(configs)}"
            )
        if not self.config and len(configs) > 1 and "default" not in configs:
            raise CorpusError(
                f"{self.asked_as}{self.config_option} is empty: {self.repo} has several: {_list(configs)}"
            )

    def _audio(self, value: Mapping[str, Any] | None) -> tuple[bytes | None, str, str]:
        """The bytes of a row's audio file, its name, and what is wrong when there are no bytes."""
        path = (value or {}).get("path") or ""
        data = (value or {}).get("bytes")
        name = path.split("::")[0].removeprefix(self._base)
        if data is not None or not path:
            return data, name, "" if data is not None else "no audio"
        place = self._own(path)
        if place is None:
            return None, name, f"path leaves the repository: {path!r}"
        import fsspec

        try:
            with fsspec.open(place, "rb") as stream:
                return stream.read(), name, ""
        except FileNotFoundError:
            return None, name, f"no such file: {path!r}"

    def _own(self, path: str) -> str | None:
        """The address of a file that a row names, also inside an archive; `None` when it is not the repository's."""
        inner, _, archive = path.rpartition("::")
        relative = archive.removeprefix(self._base)
        outside = "://" in relative or relative.startswith("/") or ".." in PurePosixPath(relative).parts
        if outside or (self.path and not (self.path / relative).resolve().is_relative_to(self.path.resolve())):
            return None
        return f"{inner}::{self._base}{relative}" if inner else self._base + relative

    @cached_property
    def _base(self) -> str:
        """What the addresses of all its files begin with."""
        return f"hf://datasets/{self.repo}@{self.commit}/" if self.path is None else f"{self.path.resolve()}/"

    @property
    def _name(self) -> str:
        return f"{self.repo} ({self.config})" if self.config else self.repo

    def _resolve(self) -> str:
        from huggingface_hub import HfApi

        with self._told():
            sha = HfApi().dataset_info(self.repo, revision=self.revision, timeout=HUB_TIMEOUT_S).sha
        if sha is None:
            raise CorpusError(f"{self.repo}: the hub does not say which commit {self.revision} is")
        return sha

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn what the hub and its libraries raise into what a person can do about it."""
        from huggingface_hub.errors import HTTPError

        try:
            yield
        except CorpusError:
            raise
        except (OSError, ValueError, RuntimeError, HTTPError) as error:
            if runtime.is_machine_fault(error):
                raise
            raise CorpusError(self._advice(error)) from error

    def _advice(self, error: BaseException) -> str:
        from huggingface_hub import constants, errors

        page, kinds = f"{constants.ENDPOINT}/datasets/{self.repo}", _causes(error)

        def is_any(*wanted: type[BaseException]) -> bool:
            return any(isinstance(cause, wanted) for cause in kinds)

        if is_any(errors.GatedRepoError):
            return (
                f"{self.repo} is gated: accept its terms at {page} with your account, then log in: "
                "`hf auth login`, or HF_TOKEN in the environment"
            )
        if is_any(errors.RepositoryNotFoundError):
            return (
                f"{self.repo}: the hub has no such dataset, or it is private: for a private one log in "
                "(`hf auth login`, or HF_TOKEN in the environment)"
            )
        if is_any(errors.RevisionNotFoundError):
            return f"{self.asked_as}revision: {self.repo} has no {self._version!r}; there are: {_list(self._refs())}"
        if "Dataset scripts are no longer supported" in str(error):
            return self._script_message()
        if self.path is None and (is_any(ConnectionError, TimeoutError) or is_any(errors.HTTPError)):
            return (
                f"{self.repo}: cannot be read from {constants.ENDPOINT} ({_first_line(error)}); "
                f"{self.asked_as}path can name a local copy of it"
            )
        return f"{self._name} at {self._version}: {_first_line(error)}"

    @property
    def _version(self) -> str:
        return self.revision if self.path is None else str(self.path)

    def _refs(self) -> list[str]:
        from huggingface_hub import HfApi

        refs = HfApi().list_repo_refs(self.repo, repo_type="dataset")
        return [ref.name for ref in (*refs.branches, *refs.tags)] + [ref.ref for ref in refs.converts]

    def _script_message(self) -> str:
        return (
            f"{self.repo} holds only a loading script at {self._version}, and scripts are not run; "
            f"{self.asked_as}revision: {CONVERTED} may hold it as data"
        )


def _converted_files(names: list[str]) -> dict[str, dict[str, list[str]]]:
    """The files of each config and split when the names are those of the hub's own conversion, else nothing."""
    found: dict[str, dict[str, list[str]]] = {}
    parquet = [name for name in sorted(names) if name.endswith(".parquet")]
    for name in parquet:
        match = _CONVERTED_FILE.fullmatch(name)
        if match is None or README in names:
            return {}
        found.setdefault(match["config"], {}).setdefault(match["split"], []).append(name)
    return found


def _listing(folder: Path) -> list[tuple[str, int, int]]:
    """Name, size in bytes and time in ns of each file below a folder, sorted."""
    found = []
    for here, below, names in os.walk(folder):
        below[:] = [name for name in below if name not in _HIDDEN]
        for name in names:
            path = Path(here, name)
            stat = path.stat()
            found.append((path.relative_to(folder).as_posix(), stat.st_size, stat.st_mtime_ns))
    return sorted(found)


def _listing_hash(folder: Path, *, times: bool) -> str:
    digest = hashlib.sha256()
    for name, size, time_ns in _listing(folder):
        digest.update(f"{name}\0{size}\0{time_ns if times else ''}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _causes(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    step: BaseException | None = error
    while step is not None and step not in found:
        found.append(step)
        step = step.__cause__ or step.__context__
    return found


def _first_line(error: BaseException) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _file_name(name: str) -> str:
    """A name as one part of a path."""
    return quote(name, safe="").replace(".", "%2E") if name in (".", "..") else quote(name, safe="")


def _list(names: Any) -> str:
    return ", ".join(names) or "none"
