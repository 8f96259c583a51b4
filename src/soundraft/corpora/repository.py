"""A dataset repository of the Hugging Face hub at one commit, or a local copy of one, read row by row.

`datasets` runs no loading scripts since 4.0. So what is read is what a branch holds as data: parquet on `main`, or the
branch `refs/convert/parquet`, to which the hub converts scripts, with files named `CONFIG/SPLIT/0000.parquet`.
Nothing is asked of the network before a row, a column or a split's name is needed.
"""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from soundraft import files, runtime
from soundraft.corpora import store
from soundraft.corpora.base import CorpusError, Option
from soundraft.corpora.store import Item, Position
from soundraft.corpora.streaming import is_plain, label_names, plain, walk

if TYPE_CHECKING:
    import datasets

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
        return store.remembered(self._home, self.revision, self._resolve)

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
