"""The tables of a dataset, on disk as `datasets.save_to_disk` lays them out: Arrow shards, state and info.

Written through pyarrow alone, in one pass and with flat memory: `datasets` itself takes 0.7 s to import, and writes
every byte twice, once into its cache. A test holds the files against what `datasets` writes.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa

from soundraft import files
from soundraft.params.sections import Materialize
from soundraft.runtime import UserError

MAX_SHARD_BYTES = 500_000_000
MAX_BATCH_BYTES = 4_000_000
MAX_BATCH_ROWS = 1000
DICT_NAME, STATE_NAME, INFO_NAME = "dataset_dict.json", "state.json", "dataset_info.json"
SPLIT_NAME = r"\w+(\.\w+)*"  # as datasets allows it

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
        self._close()

    def add(self, row: dict[str, Any], size_bytes: int) -> None:
        """Add a row of about this size."""
        self._waiting.append(row)
        self._waiting_bytes += size_bytes
        if self._waiting_bytes >= MAX_BATCH_BYTES or len(self._waiting) == MAX_BATCH_ROWS:
            self._flush()

    def finish(self, split: str, fingerprint: str) -> None:
        """Write what waits, then state and info. `datasets` keys its caches by the fingerprint."""
        self._flush()
        self._close()
        names = [f"data-{index:05d}-of-{len(self._shards):05d}.arrow" for index in range(len(self._shards))]
        for index, name in enumerate(names):
            self._part(index).rename(self.folder / name)
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

    def _part(self, index: int) -> Path:
        return self.folder / f"part-{index:05d}.arrow"

    def _close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _flush(self) -> None:
        """Write what waits; the first shard is there even when nothing does."""
        if self._shards and not self._waiting:
            return
        if self._stream is None or self._shards[-1] + self._waiting_bytes > MAX_SHARD_BYTES:
            self._close()
            self._stream = pa.ipc.new_stream(str(self._part(len(self._shards))), self._schema)
            self._shards.append(0)
        if not self._waiting:
            return
        arrays = [_array([row[name] for row in self._waiting], feature) for name, feature in self.features.items()]
        self._stream.write_batch(pa.record_batch(arrays, schema=self._schema))
        self._shards[-1] += self._waiting_bytes
        self._waiting, self._waiting_bytes = [], 0


def _array(values: Sequence[Any], feature: Feature) -> pa.Array:
    """The values of one column; matrices `[T, D]` come as numpy arrays, and get no Python object for each number."""
    kind = arrow_type(feature)
    if not _is_matrix(kind):
        return pa.array(values, kind)
    widths = [width for array in values for width in [array.shape[1]] * len(array)]
    flat = pa.array(np.concatenate([array.ravel() for array in values]), kind.value_type.value_type)
    inner = pa.ListArray.from_arrays(_offsets(widths), flat)
    return pa.ListArray.from_arrays(_offsets([len(array) for array in values]), inner)


def _offsets(lengths: Sequence[int]) -> pa.Array:
    return pa.array(np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]), pa.int32())


def matrices(column: pa.ListArray) -> list[np.ndarray]:
    """The arrays `[T, D]` of a nested column."""
    found = []
    for row in column:
        inner = row.values
        flat = inner.flatten().to_numpy(zero_copy_only=False)
        found.append(flat.reshape(len(inner), -1) if len(flat) else np.empty((len(inner), 0), flat.dtype))
    return found


def write_dict(folder: Path, splits: Sequence[str]) -> None:
    files.write_text(folder / DICT_NAME, json.dumps({"splits": list(splits)}))


def is_saved(folder: Path) -> bool:
    """Whether a folder has a dataset that s5 built, or `save_to_disk` wrote, or one split of it."""
    return any((folder / name).is_file() for name in (DICT_NAME, STATE_NAME))


def read_splits(folder: Path) -> list[str]:
    """The names of a dataset's splits; UserError when the folder is no dataset."""
    try:
        splits: list[str] = _read(folder / DICT_NAME, "splits", list)
    except UserError as error:
        inside = sorted(path.parent.name for path in folder.glob(f"*/{DICT_NAME}"))
        hint = f"; name one of those inside: {', '.join(inside)}" if inside else ""
        if (folder / STATE_NAME).is_file():
            hint = "; it is one split alone: save a datasets.DatasetDict, such as DatasetDict(train=…), for a whole one"
        raise UserError(f"{folder} is no dataset of ours: no readable {DICT_NAME} in it{hint}") from error
    if not splits or not all(isinstance(name, str) and re.fullmatch(SPLIT_NAME, name) for name in splits):
        raise UserError(f"{folder / DICT_NAME} is damaged: splits is {splits!r:.80}; names are wanted")
    return splits


def read_table(folder: Path, names: Sequence[str] = ()) -> pa.Table:
    """Some columns of one split's folder, else all, memory-mapped.

    Raises:
        UserError: when its state, its info or a shard cannot be read, or a column is not there.
    """
    features = _read(folder / INFO_NAME, "features", dict)
    lacking = [name for name in names if name not in features]
    if lacking:
        raise UserError(f"{folder}: no column {', '.join(lacking)}; it has {', '.join(features)}")
    shards, path = [], folder / STATE_NAME
    try:
        for shard in _read(path, "_data_files", list):
            path = folder / shard["filename"]
            with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as stream:
                shards.append(stream.read_all().select(list(names or features)))
            shards[-1].validate(full=True)
        return pa.concat_tables(shards)
    except (OSError, pa.ArrowException, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged: {error}") from error


def _read(path: Path, key: str, kind: type) -> Any:
    try:
        value = files.read_json(path)[key]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path.parent}: no readable {path.name}") from error
    if not isinstance(value, kind):
        raise UserError(f"{path} is damaged: {key} is {value!r:.80}")
    return value


class Rows:
    """Columns of one split's folder, row by row; what is pickled, for workers of a `DataLoader`, is where they lie."""

    def __init__(self, folder: Path, names: Sequence[str] = ()) -> None:
        self.place, self.table = (folder, names), read_table(folder, names)

    def __reduce__(self) -> tuple[type["Rows"], tuple[Path, Sequence[str]]]:
        return Rows, self.place

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """A row; matrices as arrays `[T, D]`, whatever else as Python has it."""
        row = {name: self.table.column(name).slice(index, 1).combine_chunks() for name in self.table.column_names}
        return {name: matrices(own)[0] if _is_matrix(own.type) else own[0].as_py() for name, own in row.items()}


def _is_matrix(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) and pa.types.is_list(kind.value_type)
