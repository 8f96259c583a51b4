"""The tables of a dataset, on disk as `datasets.save_to_disk` lays them out: Arrow shards, state and info.

Written through pyarrow alone, in one pass and with flat memory: `datasets` itself takes 0.7 s to import, and writes
every byte twice, once into its cache. A test holds the files against what `datasets` writes.
"""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa

from soundraft import files
from soundraft.audio import ecdc
from soundraft.audio.ecdc import TokenFile
from soundraft.parallel import BadClip
from soundraft.params.sections import Materialize
from soundraft.runtime import UserError
from soundraft.sidecar import format, listing

MAX_SHARD_BYTES = 500_000_000
MAX_BATCH_BYTES = 4_000_000
MAX_BATCH_ROWS = 1000
DICT_NAME, STATE_NAME, INFO_NAME = "dataset_dict.json", "state.json", "dataset_info.json"

Feature = dict[str, Any]  # as datasets.Features writes it: {"dtype": …, "_type": "Value"} or {"feature": …, "_type": …}


def _value(dtype: str) -> Feature:
    return {"dtype": dtype, "_type": "Value"}


def _list(of: Feature) -> Feature:
    return {"feature": of, "_type": "List"}


def columns(materialize: Materialize) -> dict[str, Feature]:
    """The columns in their order. `embed` has codes [T, K], cond [T, D] and meta in place of the paths of files."""
    embed = materialize == "embed"
    tokens = {"codes": _list(_list(_value("int16")))} if embed else {"audio": _value("string")}
    cond = _list(_list(_value("float32"))) if embed else _value("string")
    return {
        "id": _value("string"),
        "wav": {"decode": False, "_type": "Audio"},
        **tokens,
        "cond": cond,
        "text": _value("string"),
        "label": _value("string"),
        "speaker": _value("string"),
        "metadata": _value("string"),
        "duration": _value("float64"),
        "sample_rate": _value("int32"),
        "frames": _value("int32"),
        "codebooks": _value("int32"),
        "features": _list(_value("string")),
        **({"meta": _value("string")} if embed else {}),
    }


def arrow_type(feature: Feature) -> pa.DataType:
    if feature["_type"] == "Audio":
        return pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    if feature["_type"] == "List":
        return pa.list_(arrow_type(feature["feature"]))
    return pa.type_for_alias(feature["dtype"])


class SplitWriter:
    """Writes the rows of one split; what is left open when the work breaks off is no dataset."""

    def __init__(self, folder: Path, features: dict[str, Feature]) -> None:
        self.folder, self.features = folder, features
        self.bytes = 0
        info = {"huggingface": json.dumps({"info": {"features": features}})}
        self._schema = pa.schema([(name, arrow_type(feature)) for name, feature in features.items()], info)
        self._shards: list[int] = []  # bytes of each
        self._waiting: list[dict[str, Any]] = []
        self._waiting_bytes = 0
        self._stream: Any = None

    def __enter__(self) -> "SplitWriter":
        self.folder.mkdir(parents=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._stream is not None:
            self._stream.close()

    def add(self, row: dict[str, Any], size_bytes: int) -> None:
        """Add a row of about this size."""
        self._waiting.append(row)
        self._waiting_bytes += size_bytes
        if self._waiting_bytes >= MAX_BATCH_BYTES or len(self._waiting) == MAX_BATCH_ROWS:
            self._flush()

    def finish(self, split: str, fingerprint: str) -> None:
        """Write what waits, then state and info. `datasets` keys its caches by the fingerprint."""
        self._flush()
        if self._stream is None:
            self._open()
        self._stream.close()
        self._stream = None
        names = [f"data-{index:05d}-of-{len(self._shards):05d}.arrow" for index in range(len(self._shards))]
        for index, name in enumerate(names):
            (self.folder / _part(index)).rename(self.folder / name)
            self.bytes += (self.folder / name).stat().st_size
        state: dict[str, Any] = {
            "_data_files": [{"filename": name} for name in names],
            "_fingerprint": fingerprint,
            "_format_columns": None,
            "_format_kwargs": {},
            "_format_type": None,
            "_output_all_columns": False,
            "_split": split,
        }
        files.write_text(self.folder / STATE_NAME, json.dumps(state, indent=2))
        about = {"citation": "", "description": "", "features": self.features, "homepage": "", "license": ""}
        files.write_text(self.folder / INFO_NAME, json.dumps(about, indent=2))

    def _open(self) -> None:
        self._stream = pa.ipc.new_stream(str(self.folder / _part(len(self._shards))), self._schema)
        self._shards.append(0)

    def _flush(self) -> None:
        if not self._waiting:
            return
        if self._stream is not None and self._shards[-1] + self._waiting_bytes > MAX_SHARD_BYTES:
            self._stream.close()
            self._stream = None
        if self._stream is None:
            self._open()
        arrays = [_array([row[name] for row in self._waiting], feature) for name, feature in self.features.items()]
        self._stream.write_batch(pa.record_batch(arrays, schema=self._schema))
        self._shards[-1] += self._waiting_bytes
        self._waiting, self._waiting_bytes = [], 0


def write_dict(folder: Path, splits: Sequence[str]) -> None:
    files.write_text(folder / DICT_NAME, json.dumps({"splits": list(splits)}))


def read_splits(folder: Path) -> list[str]:
    """The names of a dataset's splits.

    Raises:
        UserError: when the folder is no dataset.
    """
    try:
        return list(files.read_json(folder / DICT_NAME)["splits"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        inside = sorted(path.parent.name for path in folder.glob(f"*/{DICT_NAME}"))
        hint = f"; name one of those inside: {', '.join(inside)}" if inside else ""
        raise UserError(f"{folder} is no dataset of ours: no readable {DICT_NAME} in it{hint}") from error


def read_features(folder: Path) -> dict[str, Feature]:
    """The columns of one split's folder."""
    try:
        return dict(files.read_json(folder / INFO_NAME)["features"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder}: no readable {INFO_NAME}") from error


def read_state(folder: Path) -> dict[str, Any]:
    """The state of one split's folder: its shards and its fingerprint."""
    try:
        state = files.read_json(folder / STATE_NAME)
        return {"shards": [item["filename"] for item in state["_data_files"]], "fingerprint": state["_fingerprint"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder}: no readable {STATE_NAME}") from error


def read_batches(folder: Path, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Some columns of one split, batch by batch, memory-mapped."""
    for shard in read_state(folder)["shards"]:
        try:
            with pa.memory_map(str(folder / shard)) as source, pa.ipc.open_stream(source) as stream:
                for batch in stream:
                    yield batch.select(list(names))
        except (OSError, pa.ArrowInvalid) as error:
            raise UserError(f"{folder / shard}: {error}") from error


def matrices(column: pa.ListArray) -> list[np.ndarray]:
    """The arrays `[T, D]` of a nested column."""
    found = []
    for row in column:
        inner = row.values
        flat = inner.flatten().to_numpy(zero_copy_only=False)
        found.append(flat.reshape(len(inner), -1) if len(flat) else np.empty((len(inner), 0), flat.dtype))
    return found


def _array(values: Sequence[Any], feature: Feature) -> pa.Array:
    """The values of one column; matrices come as numpy arrays."""
    nested = feature["_type"] == "List" and feature["feature"]["_type"] == "List"
    return _nested(values, arrow_type(feature)) if nested else pa.array(values, arrow_type(feature))


def _nested(arrays: Sequence[np.ndarray], kind: pa.DataType) -> pa.ListArray:
    """One list of lists for each array `[T, D]`, without a Python object for each number."""
    widths = [width for array in arrays for width in [array.shape[1]] * len(array)]
    flat = pa.array(np.concatenate([array.ravel() for array in arrays]), kind.value_type.value_type)
    inner = pa.ListArray.from_arrays(_offsets(widths), flat)
    return pa.ListArray.from_arrays(_offsets([len(array) for array in arrays]), inner)


def _offsets(lengths: Sequence[int]) -> pa.Array:
    return pa.array(np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]), pa.int32())


def _part(index: int) -> str:
    return f"part-{index:05d}.arrow"


# How token files and sidecars come into a dataset: copied, linked, named by path, or embedded in its tables.


COND_SUBDIR = "cond"


@dataclass(frozen=True)
class Found:
    """A clip's token file and sidecar, looked at.

    Attributes:
        stored: hash of the three files.
        names: the features.
        problem: why the clip cannot be in a dataset; empty when it can.
    """

    stored: str
    names: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class Embedded:
    """What `embed` puts into a row: codes int16 [T, K], cond float32 [T, D], and the sidecar's json."""

    codes: np.ndarray
    cond: np.ndarray
    meta: str

    def hash(self) -> str:
        return listing.files_hash([self.codes.tobytes(), self.cond.tobytes(), self.meta.encode()])


@dataclass(frozen=True)
class Store:
    """Where the files of a dataset come from and go; picklable, so that worker processes can have it.

    Attributes:
        tokens_root: folder of the token files.
        cond_root: folder of the sidecars; `None` for a dataset without.
        suffix: ending of the sidecars.
        folder: where the dataset is built.
        home: where it will be read.
        open_tokens: whether each token file is opened; not needed after an audit of the same content.
    """

    tokens_root: Path
    cond_root: Path | None
    suffix: str
    folder: Path
    home: Path
    materialize: Materialize
    tokens_subdir: str
    open_tokens: bool

    def sources(self, token: TokenFile) -> tuple[str, ...]:
        if self.cond_root is None:
            return (f"{self.tokens_root}/{token.path}",)
        return listing.paths_of(self.tokens_root, self.cond_root, token, self.suffix)

    def relative(self, token: TokenFile) -> tuple[str, ...]:
        """The same files as the dataset names them, relative to its folder."""
        tokens, conds = self.prefixes
        if self.cond_root is None:
            return (f"{tokens}/{token.path}",)
        cond = f"{conds}/{token.name}{self.suffix}"
        return f"{tokens}/{token.path}", cond, format.json_path(cond)

    @cached_property
    def prefixes(self) -> tuple[str, str]:
        """The folders of token files and of sidecars, relative to the dataset."""
        if self.materialize != "none":
            return self.tokens_subdir, COND_SUBDIR
        return (_way(self.tokens_root, self.home), _way(self.cond_root or self.tokens_root, self.home))

    def prepare(self, token: TokenFile) -> None:
        """Try out whether files can be placed, on one of them.

        Raises:
            UserError: when hard links are asked for and cannot be made.
        """
        if self.materialize != "link":
            return
        probe = self.folder / "link.tmp"
        for source in self.sources(token):
            try:
                os.link(os.path.realpath(source), probe)
                probe.unlink()
            except FileNotFoundError:
                continue
            except OSError as error:
                raise UserError(
                    f"no hard link from {source} into {self.home.parent}: {error.strerror}. Links stay within one file "
                    "system; --materialize copy works anywhere"
                ) from error

    def take(self, job: tuple[TokenFile, bool]) -> Found:
        """Look at a clip's files and, when the clip is wanted, place them."""
        token, wanted = job
        sources = self.sources(token)
        data = [listing.read(path) for path in sources]
        stored = listing.files_hash(data)
        try:
            names = self._check(token, sources[1:], data[0] or b"")
        except BadClip as error:
            return Found(stored, problem=str(error))
        place = {"copy": _copy, "link": _link}.get(self.materialize)
        if wanted and place is not None:
            for source, found, relative in zip(sources, data, self.relative(token), strict=True):
                _place(source, found or b"", f"{self.folder}/{relative}", place)
        return Found(stored, names)

    def embedded(self, token: TokenFile) -> Embedded:
        tokens = ecdc.read(self.tokens_root / token.path)
        codes = np.ascontiguousarray(tokens.codes.T, dtype=np.int16)
        if self.cond_root is None:
            return Embedded(codes, np.empty((tokens.frames, 0), np.float32), "{}")
        path = self.sources(token)[1]
        values = np.ascontiguousarray(format.read_values(path), dtype=np.float32)
        meta = format.read_meta(format.json_path(path))
        return Embedded(codes, values, json.dumps(meta, ensure_ascii=False, allow_nan=False))

    def _check(self, token: TokenFile, sidecar_paths: tuple[str, ...], data: bytes) -> tuple[str, ...]:
        if token.problem:
            raise BadClip(token.problem)
        if self.open_tokens:
            check_codes(token, ecdc.parse(data).codes)
        if not sidecar_paths:
            return ()
        if not any(format.exists(sidecar_paths[0])):
            raise BadClip(f"no sidecar {token.name}{self.suffix}")
        sidecar = format.read(sidecar_paths[0])
        if len(sidecar.values) != token.frames:
            raise BadClip(f"the sidecar has {len(sidecar.values)} frames, the token file has {token.frames}")
        return sidecar.names


def _place(source: str, data: bytes, target: str, place: Callable[[str, bytes, str], None]) -> None:
    try:
        place(source, data, target)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        place(source, data, target)


def _copy(_source: str, data: bytes, target: str) -> None:
    with open(target, "wb", buffering=0) as stream:
        rest = memoryview(data)
        while rest:
            rest = rest[stream.write(rest) :]


def _link(source: str, _data: bytes, target: str) -> None:
    os.link(os.path.realpath(source), target)


def check_codes(token: TokenFile, codes: np.ndarray) -> None:
    """Raise BadClip unless codes `[K, T]` have the size that is stated of them."""
    if codes.shape != (token.codebooks, token.frames):
        stated = f"{token.codebooks} codebooks, {token.frames} frames"
        raise BadClip(f"the token file has {codes.shape[0]} codebooks, {codes.shape[1]} frames; stated are {stated}")


def _way(root: Path, home: Path) -> str:
    return os.path.relpath(os.path.realpath(root), os.path.realpath(home)).replace(os.sep, "/")


def open_split(folder: Path, split: str) -> Any:
    """One split of a saved dataset, memory-mapped."""
    import datasets

    return datasets.load_from_disk(str(folder / split))
