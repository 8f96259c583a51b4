"""A dataset repository of the Hugging Face hub, or a local copy of one, read row by row; and the cache of its rows.

`datasets` runs no loading scripts since 4.0. So what is read is what a branch holds as data: parquet on `main`, or
the branch `refs/convert/parquet`, to which the hub converts scripts, with files named `CONFIG/SPLIT/0000.parquet`.
Nothing is asked of the network before a row, a column or a split's name is needed.

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
import os
import re
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, pairwise
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from zipfile import BadZipFile

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import to_jsonable_python

from soundraft import files, runtime
from soundraft.audio.io import AUDIO_SUFFIXES, container, parse
from soundraft.corpora.base import CorpusError, Request
from soundraft.parallel import BadClip

if TYPE_CHECKING:
    import datasets

CONVERTED = "refs/convert/parquet"
HUB_TIMEOUT_S = 60.0
LOG_IN = "log in: `hf auth login`, or HF_TOKEN in the environment"
_CONVERTED_FILE = re.compile(r"(?P<config>[^/]+)/(?:partial-)?(?P<split>[^/]+)/\d{4,}\.parquet")
_HIDDEN = {".git", ".cache"}
ROWS_AT_ONCE = 32
ROWS_NAME = "rows.jsonl"
COMPLETE_NAME = "complete.json"
LOCK_NAME = ".lock"
FILES_PER_FOLDER = 1000
_SUFFIX_OF_FORMAT = {"WAV": ".wav", "WAVEX": ".wav", "FLAC": ".flac", "OGG": ".ogg", "MP3": ".mp3", "MPEG": ".mp3"}

Position = tuple[int, int, int]  # a shard of the source, a part of the shard, a row of the part
START: Position = (0, 0, 0)


class Record(BaseModel):
    """Row `row` of a split, from 0.

    Attributes:
        after: where reading goes on after it.
        values: the columns but the audio, as the source has them.
        name: the source's name of the audio file, if it has one.
        reason: why the row is rejected; empty for a good one.
        audio: the file's path relative to the entry; empty for a bad row. It has `size` bytes, and `content` is a hash
            of them.
        duration: in seconds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    row: int = 0
    after: Position
    values: dict[str, Any]
    name: str = ""
    reason: str = ""
    audio: str = ""
    size: int = 0
    content: str = ""
    duration: float = 0.0
    sample_rate: int = 0


Unkept = tuple[Record, bytes | None]  # a row of the source, and the bytes of its audio file where there are any


class Entry:
    """One split of a source at one commit, open in this process alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        state = files.read_json(folder / COMPLETE_NAME) if (folder / COMPLETE_NAME).is_file() else {}
        self.finished: int = state.get("rows", 0)
        self.exhausted: bool = state.get("exhausted", False)

    def schema(self, read: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The source's columns; `read` is called once in the life of the entry."""
        return _kept(self.folder / "schema.json", read)

    def records(self, more: Callable[[Position], Iterable[Unkept]]) -> Generator[Record, None, None]:
        """The finished rows, then those that `more(where they end)` has, each kept before it is given."""
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
                for source, data in more(after):
                    record = self._keep(row, source, data)
                    stream.write(record.model_dump_json().encode() + b"\n")
                    stream.flush()
                    row += 1
                    yield record
                self.exhausted = True
            finally:
                os.fsync(stream.fileno())
                self.finished = row
                files.write_json(self.folder / COMPLETE_NAME, {"rows": row, "exhausted": self.exhausted})

    def _read(self) -> Iterator[Record]:
        """The finished rows; `_end` is where the last one's line ends in the file."""
        path, self._end = self.folder / ROWS_NAME, 0
        if not path.is_file():
            return
        with path.open("rb") as stream:
            for row, line in enumerate(stream):
                record = _parse(line)
                # no completion file vouches for the audio of rows beyond `finished`
                if record is None or record.row != row or (row >= self.finished and not self._has_audio(record)):
                    if row < self.finished:
                        raise self._damaged(row)
                    return
                self._end += len(line)
                yield record

    def _has_audio(self, record: Record) -> bool:
        path = self.folder / record.audio
        return not record.audio or (path.is_file() and path.stat().st_size == record.size)

    def _damaged(self, row: int) -> CorpusError:
        place = f"{self.folder / ROWS_NAME}:{row + 1}"
        return CorpusError(f"{place}: the cache is damaged, or an older version's; remove {self.folder}")

    def _keep(self, row: int, source: Record, data: bytes | None) -> Record:
        """Check the audio of one row by decoding it, and write it."""
        try:
            if data is None:
                raise BadClip(source.reason or "no audio")
            samples, rate_hz = parse(data)
        except BadClip as error:
            return source.model_copy(update={"row": row, "reason": str(error)})
        audio = f"{row // FILES_PER_FOLDER:05d}/{row:08d}{_suffix(source.name, data)}"
        path = self.folder / audio
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)  # what is there after a kill may be linked from elsewhere
        path.write_bytes(data)
        known = {"size": len(data), "content": files.content_of(data), "sample_rate": rate_hz}
        return source.model_copy(
            update={"row": row, "audio": audio, "duration": round(len(samples) / rate_hz, 6), **known}
        )


@contextmanager
def opened(folder: Path) -> Iterator[Entry]:
    """The entry at `folder`, made when it is not there; a second process waits until the first is done with it."""
    with _locked(folder):
        yield Entry(folder)


def remembered(folder: Path, key: str, find: Callable[[], str]) -> str:
    """What `find` returned the first time for `key`, kept in `folder/refs.json`."""
    path = folder / "refs.json"
    with _locked(folder):
        known = files.read_json(path) if path.is_file() else {}
        if key not in known:
            known[key] = find()
            files.write_json(path, known)
        return known[key]


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / LOCK_NAME):
        yield


def _kept(path: Path, make: Callable[[], Any]) -> Any:
    """What `make` returned the first time, kept as JSON."""
    if not path.is_file():
        files.write_json(path, make())
    return files.read_json(path)


def _parse(line: bytes) -> Record | None:
    """A line of ours; `None` for one that a kill cut short, or an older version wrote."""
    try:
        record = Record.model_validate_json(line)
    except ValidationError:
        return None
    whole = line.endswith(b"\n") and len(record.model_fields_set) == len(Record.model_fields)
    return record if whole else None


def _suffix(name: str, data: bytes) -> str:
    """The suffix that the source gives the file, else that of what its bytes are."""
    suffix = os.path.splitext(name)[1].lower()
    if suffix in AUDIO_SUFFIXES:
        return suffix
    kind = container(data)
    return _SUFFIX_OF_FORMAT.get(kind, f".{kind.lower()}")


@dataclass(frozen=True)
class Repository:
    """One configuration of a repository; `config` empty is its default.

    Attributes:
        repo: its hub id; what messages call it, also when a local copy is read.
        revision: commit, tag or branch.
        path: a local copy of the repository, read in its place.
    """

    repo: str
    revision: str
    config: str
    path: Path | None
    request: Request

    @cached_property
    def commit(self) -> str:
        """The commit of the revision, of a local copy the hash of its files' names and sizes.

        A revision stays the commit that it was first, so that an interrupted fetch goes on with what it began, and a
        finished one needs no network.
        """
        if self.path is not None:
            return _fingerprint(self.path, times=False)
        return remembered(self._home, self.revision, self._resolve)

    @cached_property
    def folder(self) -> Path:
        """Where the cache keeps this configuration at this commit."""
        version = self.commit if self.path is None else _fingerprint(self.path, times=True)[:16]
        return self._home / version / (_file_name(self.config) if self.config else "_")

    @property
    def _home(self) -> Path:
        if self.path is None:
            return runtime.cache_root() / "hub" / _file_name(self.repo)
        place = hashlib.sha256(os.fsencode(self.path.resolve())).hexdigest()[:16]
        return runtime.cache_root() / "local" / place

    @property
    def about(self) -> dict[str, Any]:
        """What was read, for the record: nothing of this computer in it."""
        version = {"revision": self.revision, "commit": self.commit}
        return {"repo": self.repo, **(version if self.path is None else {"copy": self.commit}), "config": self.config}

    def splits(self) -> list[str]:
        """The names of the splits, in the repository's order."""
        return _kept(self.folder / "splits.json", lambda: list(self._streams))

    def schema(self, split: str) -> dict[str, Any]:
        """The columns of a split: those with audio, those with class labels (and their names), and all others."""
        import datasets

        features = self._stream(split).features
        if features is None:
            raise CorpusError(f"{self.repo}: the columns of {split} are not known before they are read")
        audio = [name for name, kind in features.items() if isinstance(kind, datasets.Audio)]
        names = {name: getattr(getattr(kind, "feature", kind), "names", None) for name, kind in features.items()}
        labels = {name: known for name, known in names.items() if known is not None}
        return {"audio": audio, "labels": labels, "columns": [name for name in features if name not in audio]}

    def rows(self, split: str, audio: str, start: Position) -> Iterator[Unkept]:
        """The rows of a split from a position on; no row group before it is read where the source is parquet."""
        import datasets

        with self._explained():
            stream = self._stream(split)
            features = stream.features or {}
            kept = [name for name, kind in features.items() if name == audio or _is_plain(kind)]
            stream = stream.select_columns(kept).cast_column(audio, datasets.Audio(decode=False)).with_format("arrow")
            for after, row in _walk(stream, start, seek=self._builder.name == "parquet"):
                data, name, problem = self._audio(row.pop(audio) or {})
                values = to_jsonable_python(row, inf_nan_mode="null", fallback=str)
                yield Record(after=after, values=values, name=name, reason=problem), data

    def _stream(self, split: str) -> "datasets.IterableDataset":
        if split not in self._streams:
            existing = ", ".join(self._streams) or "none"
            raise self.request.error("split", f"{self.repo} has no {split!r}; there are: {existing}")
        return self._streams[split]

    @cached_property
    def _streams(self) -> "Mapping[str, datasets.IterableDataset]":
        with self._explained():
            return self._builder.as_streaming_dataset()

    @cached_property
    def _builder(self) -> "datasets.DatasetBuilder":
        import datasets

        datasets.disable_progress_bars()
        where = self.repo if self.path is None else str(self.path.resolve())
        revision = self.commit if self.path is None else None
        with self._explained():
            names = self._names()
            converted = _converted_files(names)
            if converted:
                self._check_config(list(converted))
                chosen = converted[self.config] if self.config else next(iter(converted.values()))
                return datasets.load_dataset_builder(where, data_files=chosen, revision=revision)
            try:
                return datasets.load_dataset_builder(where, self.config or None, revision=revision)
            except ValueError:
                self._check_config(datasets.get_dataset_config_names(where, revision=revision))
                raise

    def _names(self) -> list[str]:
        """Its files. A gated repository lists them to everybody, so whether they may be read is asked too."""
        if self.path is not None:
            return _own_files(self.path)
        from huggingface_hub import HfApi

        info = HfApi().dataset_info(self.repo, revision=self.commit, timeout=HUB_TIMEOUT_S)
        if info.gated:
            HfApi().auth_check(self.repo, repo_type="dataset")
        return [sibling.rfilename for sibling in info.siblings or []]

    def _check_config(self, configs: list[str]) -> None:
        """Refuse a configuration that is not there, and none where there are several and no default."""
        option = "language" if self.request.language else "config"
        existing = ", ".join(configs) or "none"
        if self.config and self.config not in configs:
            raise self.request.error(option, f"{self.repo} has no {self.config!r}; there are: {existing}")
        if not self.config and len(configs) > 1 and "default" not in configs:
            raise self.request.error(option, f"empty, and {self.repo} has several: {existing}")

    def _audio(self, value: Mapping[str, Any]) -> tuple[bytes | None, str, str]:
        """The bytes of a row's audio file, its name, and what is wrong when there are no bytes."""
        import fsspec

        path, data = value.get("path") or "", value.get("bytes")
        name = path.split("::")[0].removeprefix(self._base)
        if data is not None or not path:
            return data, name, "" if data is not None else "no audio"
        inner, _, outer = path.rpartition("::")  # a file inside an archive, if any, and the repository's file
        relative = outer.removeprefix(self._base)
        outside = "://" in relative or relative.startswith("/") or ".." in PurePosixPath(relative).parts
        if outside or (self.path and not (self.path / relative).resolve().is_relative_to(self.path.resolve())):
            return None, name, f"path leaves the repository: {path!r}"
        place = f"{inner}::{self._base}{relative}" if inner else self._base + relative
        try:
            with fsspec.open(place, "rb") as stream:
                return stream.read(), name, ""
        except FileNotFoundError:
            return None, name, f"no such file: {path!r}"

    @cached_property
    def _base(self) -> str:
        """What the addresses of all its files begin with."""
        return f"hf://datasets/{self.repo}@{self.commit}/" if self.path is None else f"{self.path.resolve()}/"

    @property
    def _local_copy(self) -> str:
        return f"{self.request.asked_as}path can name a local copy of it"

    def _resolve(self) -> str:
        from huggingface_hub import HfApi

        with self._explained():
            return str(HfApi().dataset_info(self.repo, revision=self.revision, timeout=HUB_TIMEOUT_S).sha)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what the hub and its libraries raise into what the user can do about it."""
        from huggingface_hub.errors import HTTPError

        if self.request.offline and self.path is None:
            raise CorpusError(f"nothing of {self.repo} was downloaded here; {self._local_copy}")
        try:
            yield
        except CorpusError:
            raise
        except (OSError, ValueError, RuntimeError, HTTPError, BadZipFile) as error:
            if runtime.is_machine_fault(error):
                raise
            raise self._explain(error) from error

    def _explain(self, error: BaseException) -> CorpusError:
        from huggingface_hub import HfApi, constants, errors

        causes = [error]
        while (cause := causes[-1].__cause__ or causes[-1].__context__) and cause not in causes:
            causes.append(cause)
        first_line = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        version = self.revision if self.path is None else self.path

        def is_any(*kinds: type[BaseException]) -> bool:
            return any(isinstance(cause, kinds) for cause in causes)

        if is_any(errors.GatedRepoError):
            terms = f"accept its terms at {constants.ENDPOINT}/datasets/{self.repo} with your account"
            return CorpusError(f"{self.repo} is gated: {terms}, then {LOG_IN}")
        if is_any(errors.RepositoryNotFoundError):
            return CorpusError(f"{self.repo}: the hub has no such dataset, or it is private: then {LOG_IN}")
        if is_any(errors.RevisionNotFoundError):
            refs = HfApi().list_repo_refs(self.repo, repo_type="dataset")
            names = [ref.name for ref in (*refs.branches, *refs.tags)] + [ref.ref for ref in refs.converts]
            there = ", ".join(names) or "none"
            return self.request.error("revision", f"{self.repo} has no {version!r}; there are: {there}")
        if "Dataset scripts are no longer supported" in str(error):
            reason = f"holds only a loading script at {version}, and scripts are not run"
            asked = f"{self.request.asked_as}revision: {CONVERTED}"
            return CorpusError(f"{self.repo} {reason}; {asked} may hold it as data")
        if self.path is None and is_any(ConnectionError, TimeoutError, errors.HTTPError):
            reason = f"cannot be read from {constants.ENDPOINT} ({first_line})"
            return CorpusError(f"{self.repo}: {reason}; {self._local_copy}")
        return CorpusError(f"{' '.join(filter(None, (self.repo, self.config)))} at {version}: {first_line}")


def _walk(
    stream: "datasets.IterableDataset", start: Position, *, seek: bool
) -> Iterator[tuple[Position, dict[str, Any]]]:
    """The rows from a position on, each with the position after it; with `seek` whole files and row groups are passed
    over unread.
    """
    if not seek:
        for number, row in enumerate(_row_dicts(stream, start[2]), start=start[2] + 1):
            yield (0, 0, number), row
        return
    for shard in range(start[0], stream.num_shards):
        parts = stream.shard(stream.num_shards, shard).reshard()
        for part in range(start[1] if shard == start[0] else 0, parts.num_shards):
            done = start[2] if (shard, part) == start[:2] else 0
            rows = _row_dicts(parts.shard(parts.num_shards, part), done)
            end: list[dict[str, Any]] = [{}]  # to see which row is the last
            for number, (row, following) in enumerate(pairwise(chain(rows, end)), start=done + 1):
                yield (shard, part, number) if following else (shard, part + 1, 0), row


def _row_dicts(stream: "datasets.IterableDataset", start: int) -> Iterator[dict[str, Any]]:
    for table in stream.iter(batch_size=ROWS_AT_ONCE):
        if start < len(table):
            yield from table.slice(start).to_pylist()
        start = max(0, start - len(table))


def _is_plain(kind: Any) -> bool:
    """Whether JSON can hold the values of a feature: no audio, no pictures, no bytes."""
    if isinstance(kind, dict | list):
        return all(map(_is_plain, kind.values() if isinstance(kind, dict) else kind))
    if hasattr(kind, "feature"):
        return _is_plain(kind.feature)
    return type(kind).__name__ in ("Value", "ClassLabel") and "binary" not in kind.dtype


def _converted_files(names: list[str]) -> dict[str, dict[str, list[str]]]:
    """The files of each config and split when the names are those of the hub's own conversion, else nothing."""
    found: dict[str, dict[str, list[str]]] = {}
    for name in sorted(name for name in names if name.endswith(".parquet")):
        match = _CONVERTED_FILE.fullmatch(name)
        if match is None or "README.md" in names:
            return {}
        found.setdefault(match["config"], {}).setdefault(match["split"], []).append(name)
    return found


def _own_files(folder: Path) -> list[str]:
    """The files of a local copy, without what git and the hub's client keep beside them."""
    names = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(name.as_posix() for name in names if not {*name.parts} & _HIDDEN)


def _fingerprint(folder: Path, *, times: bool) -> str:
    digest = hashlib.sha256()
    for name in _own_files(folder):
        stat = (folder / name).stat()
        line = f"{name}\0{stat.st_size}\0{stat.st_mtime_ns if times else ''}\n"
        digest.update(line.encode(errors="surrogateescape"))
    return digest.hexdigest()


def _file_name(name: str) -> str:
    """A name as one part of a path."""
    return quote(name, safe="").replace("..", "%2E%2E")
