"""The sidecar, schema 1: one row of features for each frame of a token file.

- `NAME.cond.npy`: float16 or float32 `[T, D]`, T frames (the codes decide), D features; D = 0 is legal;
- `NAME.cond.json`: schema_version, fps, source_rate, names `[D]`, norm: min, max, mean, std `[D]`,
  of the numbers as they are stored.

Keys of the json that schema 1 does not have survive a rewrite. The json is written last, and removed before an npy is
replaced: a writer that is killed leaves a whole pair, or half of one, never two files that disagree unseen.
"""

import io
import json
import math
import os
import re
import tokenize
import warnings
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from soundraft import files
from soundraft.audio.ecdc import FRAMES_PER_S
from soundraft.runtime import BadClip, UserError

SUFFIX = ".cond.npy"
SCHEMA_VERSION = 1
STATISTICS = ("min", "max", "mean", "std")
Dtype = Literal["float16", "float32"]
DTYPES: tuple[Dtype, ...] = get_args(Dtype)

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_MAX_HEADER_BYTES = 10_000  # numpy evaluates no longer ones
_MAX_META_BYTES = 1 << 24


@dataclass(frozen=True)
class Sidecar:
    """The features of one clip.

    Attributes:
        values: `[T, D]`, float16 or float32.
        names: one for each column.
        extra: keys of the json that schema 1 does not have.
    """

    values: np.ndarray
    names: tuple[str, ...]
    extra: dict[str, Any] = field(default_factory=dict)


def check_suffix(suffix: str) -> str:
    """Raise UserError unless the suffix is one that sidecars can have."""
    if not re.fullmatch(r"\.[^/\\]*", suffix) or not suffix.endswith(".npy"):
        raise UserError(f"the suffix of sidecars starts with a dot and ends in .npy, such as {SUFFIX}; got {suffix!r}")
    return suffix


def json_path(npy: str) -> str:
    """`x.cond.npy` → `x.cond.json`, by name: `x_120.0.cond.npy` keeps its dots."""
    return npy.removesuffix(".npy") + ".json"


def write(path: str, sidecar: Sidecar) -> None:
    """Write both files of a sidecar; raises UserError when the disk is full or the folder is not writable."""
    meta = meta_bytes(sidecar) if sidecar.names or sidecar.extra else _empty_meta(len(sidecar.values))
    try:
        files.write_together({Path(path): npy_bytes(sidecar.values), Path(json_path(path)): meta})
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error


def npy_bytes(values: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values, allow_pickle=False)
    return stream.getvalue()


def meta_bytes(sidecar: Sidecar) -> bytes:
    frames, columns = sidecar.values.shape
    if frames == 0 or len(sidecar.names) != columns or len(set(sidecar.names)) != columns:
        raise ValueError(f"{frames} frames, {columns} columns, names {sidecar.names}: no sidecar")
    known = {
        "schema_version": SCHEMA_VERSION,
        "fps": FRAMES_PER_S,
        "source_rate": FRAMES_PER_S,
        "names": sidecar.names,
        "norm": statistics(sidecar.values),
    }
    return json.dumps(known | sidecar.extra, ensure_ascii=False, allow_nan=False).encode() + b"\n"


@lru_cache(maxsize=16384)
def _empty_meta(frames: int) -> bytes:
    """The json without features: s3 writes nothing else."""
    return meta_bytes(Sidecar(np.empty((frames, 0), np.float32), ()))


def statistics(values: np.ndarray) -> dict[str, list[float]]:
    """min, max, mean and std over the frames, of the numbers as they are stored, computed in float64."""
    if values.shape[1] == 0:
        return {key: [] for key in STATISTICS}
    wide = values.astype(np.float64)
    low, high = wide.min(axis=0), wide.max(axis=0)
    mean = np.clip(wide.sum(axis=0) / len(wide), low, high)  # a sum's rounding must not leave the range
    wide -= mean
    std = np.sqrt(np.einsum("td,td->d", wide, wide) / len(wide))
    return {"min": low.tolist(), "max": high.tolist(), "mean": mean.tolist(), "std": std.tolist()}


def exists(path: str) -> tuple[bool, bool]:
    """Whether the npy and the json are there."""
    return os.path.lexists(path), os.path.lexists(json_path(path))


def read(path: str) -> Sidecar:
    """Read a sidecar that must be in order.

    Raises:
        BadClip: saying which file is absent, cut short or malformed, or in what the two disagree.
    """
    values, meta = read_values(path), read_meta(json_path(path))
    npy, json_name = os.path.basename(path), os.path.basename(json_path(path))
    if values.ndim != 2 or values.dtype.name not in DTYPES:
        raise BadClip(f"{npy} is {values.dtype.name} {list(values.shape)}; float16 or float32 [T, D] is wanted")
    names: Any = meta.get("names")
    if not is_names(names) or len(names) != values.shape[1] or len(set(names)) != len(names):
        raise BadClip(f"{json_name}: names is {names!r:.80}; {values.shape[1]} different ones are wanted")
    if meta.get("fps") != FRAMES_PER_S:
        raise BadClip(f"{json_name}: fps is {meta.get('fps')!r:.80}; {FRAMES_PER_S} is wanted")
    known = {"schema_version", "fps", "source_rate", "names", "norm"}
    return Sidecar(values, tuple(names), {key: value for key, value in meta.items() if key not in known})


def is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) and name for name in value)


def read_values(path: str) -> np.ndarray:
    """The array of an npy file of plain numbers; its size is compared with the header before anything is allocated.

    Raises:
        BadClip: when the file is absent, no npy file, of pickled objects, or of another size than its header says.
    """
    name = os.path.basename(path)
    try:
        data = Path(path).read_bytes()
        dtype, fortran, shape, offset = _header(data)
    except OSError as error:
        raise BadClip(f"{name}: {error.strerror}") from error
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError, tokenize.TokenError) as error:
        raise BadClip(f"{name}: not an npy file of plain numbers: {type(error).__name__}: {error}") from error
    promised, there = math.prod(shape) * dtype.itemsize, len(data) - offset
    if promised != there:
        raise BadClip(f"{name}: header promises {promised} bytes of numbers, {there} are there")
    try:
        values = np.frombuffer(data, dtype, offset=offset) if there else np.empty(0, dtype)
        return values.reshape(shape, order="F" if fortran else "C")
    except ValueError as error:  # a shape with a 0 whose other lengths multiply to more than there can be
        raise BadClip(f"{name}: {error}") from error


def _header(data: bytes) -> tuple[np.dtype, bool, tuple[int, ...], int]:
    """(dtype, Fortran order, shape, offset of the numbers)."""
    size = int.from_bytes(data[8:10] if data[6:7] == b"\1" else data[8:12], "little")
    return _parsed_header(data[: min(size, _MAX_HEADER_BYTES) + 12])


@lru_cache(maxsize=4096)
def _parsed_header(head: bytes) -> tuple[np.dtype, bool, tuple[int, ...], int]:
    stream = io.BytesIO(head)
    version = np.lib.format.read_magic(stream)
    if version not in _HEADERS:
        raise ValueError(f"version {version}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that numpy had to read a header twice
        shape, fortran, dtype = _HEADERS[version](stream, _MAX_HEADER_BYTES)
    if dtype.kind not in "biuf" or not dtype.isnative or min(shape, default=0) < 0:
        raise ValueError(f"{dtype} {shape}")
    return dtype, fortran, shape, stream.tell()


def read_meta(path: str) -> dict[str, Any]:
    """The object in a sidecar's json.

    Raises:
        BadClip: when the file is absent, not strict JSON (NaN, 1e999, a key twice), or of another schema version.
    """
    name = os.path.basename(path)
    try:
        with open(path, "rb") as stream:
            data = stream.read(_MAX_META_BYTES + 1)
    except OSError as error:
        raise BadClip(f"{name}: {error.strerror}") from error
    if len(data) > _MAX_META_BYTES:
        raise BadClip(f"{name}: far larger than sidecars need")
    try:
        meta = _parse_meta(data)
    except (ValueError, RecursionError) as error:
        raise BadClip(f"{name}: not strict JSON: {error}") from error
    if not isinstance(meta, dict):
        raise BadClip(f"{name}: not a JSON object")
    version = meta.get("schema_version")
    if type(version) is not int or version != SCHEMA_VERSION:
        raise BadClip(f"{name}: schema_version is {version!r:.80}; {SCHEMA_VERSION} is known")
    return meta


@lru_cache(maxsize=4)
def _parse_meta(data: bytes) -> Any:
    """Cached, since the sidecars that s3 made are all alike: no caller may change what it returns."""
    meta = json.loads(
        data.decode("utf-8"), parse_constant=_refuse, parse_float=_finite, object_pairs_hook=_without_duplicates
    )
    if b"\\u" in data:
        json.dumps(meta, ensure_ascii=False).encode()  # half of a surrogate pair cannot be written again
    return meta


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text} is too large")
    return value


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("a key stands twice")
    return content
