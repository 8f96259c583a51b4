"""The sidecar: one row of features for each frame of a token file.

- `NAME.cond.npy`: float16 or float32 `[T, D]`, T frames (the codes decide), D features; D = 0 is legal;
- `NAME.cond.json`, in one of two schemas:
  1: schema_version, fps, source_rate, names `[D]`, norm: min, max, mean, std `[D]`, of the numbers as they are stored;
  2: schema_version, fps, source_rate, features: for each by name units, doc_string, min, max, mean, std. Whoever writes
  may state statistics of their own, such as the range that a parameter can have; those of kept features stay.

Read are also fps that is left out, features as a list with a name each, the flat form that came before (names, and
stats, units and docs by name), and the name NAME.cond.cond.json, which an older tool gives. Keys of the json that no
schema has survive a rewrite. The json is written last, and removed before an npy is replaced: a writer that is killed
leaves a whole pair, or half of one, never two files that disagree unseen.
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
SCHEMAS = (1, 2)
STATISTICS = ("min", "max", "mean", "std")
Dtype = Literal["float16", "float32"]
DTYPES: tuple[Dtype, ...] = get_args(Dtype)

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_MAX_HEADER_BYTES = 10_000  # numpy evaluates no longer ones
_MAX_META_BYTES = 1 << 24
_TEXTS = {"units": "units", "docs": "doc_string"}  # by name in schema 1, and of one feature in schema 2
_KNOWN = {"schema_version", "fps", "source_rate", "names", "norm", "features", "stats", *_TEXTS}


@dataclass(frozen=True)
class Sidecar:
    """The features of one clip.

    Attributes:
        values: `[T, D]`, float16 or float32.
        names: one for each column.
        extra: keys of the json that no schema has.
        about: by name, what is stated of a feature beside its numbers: units, doc_string, in schema 2 statistics.
        schema: of the json.
    """

    values: np.ndarray
    names: tuple[str, ...]
    extra: dict[str, Any] = field(default_factory=dict)
    about: dict[str, dict[str, Any]] = field(default_factory=dict)
    schema: int = 1


def check_suffix(suffix: str) -> str:
    """Raise UserError unless the suffix is one that sidecars can have."""
    if not re.fullmatch(r"\.[^/\\]*", suffix) or not suffix.endswith(".npy"):
        raise UserError(f"the suffix of sidecars starts with a dot and ends in .npy, such as {SUFFIX}; got {suffix!r}")
    return suffix


def json_name(npy: str) -> str:
    """`x.cond.npy` → `x.cond.json`, by name: `x_120.0.cond.npy` keeps its dots."""
    return npy.removesuffix(".npy") + ".json"


def doubled_name(npy: str) -> str:
    """`x.cond.npy` → `x.cond.cond.json`, where an older tool writes the json."""
    return npy.removesuffix(".npy") + ".cond.json"


def json_path(npy: str) -> str:
    """The json that belongs to an npy, as it is called on disk."""
    path = json_name(npy)
    return path if files.exists(path) or not files.exists(doubled_name(npy)) else doubled_name(npy)


def contents(npy: str, sidecar: Sidecar) -> dict[str, bytes]:
    """The bytes of both files of a sidecar, by name."""
    plain = not (sidecar.names or sidecar.extra)
    meta = _empty_meta(len(sidecar.values), sidecar.schema) if plain else meta_bytes(sidecar)
    return {npy: npy_bytes(sidecar.values), json_name(npy): meta}


def write(path: str, sidecar: Sidecar) -> None:
    """Write both files of a sidecar; raises UserError when the disk is full or the folder is not writable."""
    try:
        files.write_together({Path(name): data for name, data in contents(path, sidecar).items()})
        Path(doubled_name(path)).unlink(missing_ok=True)  # its content is in the other one now
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error


def npy_bytes(values: np.ndarray) -> bytes:
    """As `np.save` writes it."""
    by_column = values.flags.fnc
    return _npy_header(values.dtype.str, values.shape, by_column) + values.tobytes("F" if by_column else "C")


@lru_cache(maxsize=16384)
def _npy_header(dtype: str, shape: tuple[int, ...], by_column: bool) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": dtype, "fortran_order": by_column, "shape": shape})
    return stream.getvalue()


def meta_bytes(sidecar: Sidecar) -> bytes:
    frames, columns = sidecar.values.shape
    if frames == 0 or len(sidecar.names) != columns or len(set(sidecar.names)) != columns:
        raise ValueError(f"{frames} frames, {columns} columns, names {sidecar.names}: no sidecar")
    head: dict[str, Any] = {"schema_version": sidecar.schema, "fps": FRAMES_PER_S, "source_rate": FRAMES_PER_S}
    norm, each = statistics(sidecar.values), [{"name": name} | sidecar.about.get(name, {}) for name in sidecar.names]
    if sidecar.schema == 1:
        head |= {"names": sidecar.names, "norm": norm} | _texts(each)
    else:
        computed = [dict(zip(STATISTICS, numbers, strict=True)) for numbers in zip(*norm.values(), strict=True)]
        stated = [{"units": "", "doc_string": ""} | numbers | one for numbers, one in zip(computed, each, strict=True)]
        head["features"] = {one.pop("name"): one for one in stated}
    return json.dumps(head | sidecar.extra, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _texts(each: list[dict[str, Any]]) -> dict[str, dict[str, str]]:
    """The units and docs that are stated, as schema 1 has them."""
    tables = {key: {one["name"]: one[of_one] for one in each if one.get(of_one)} for key, of_one in _TEXTS.items()}
    return {key: table for key, table in tables.items() if table}


@lru_cache(maxsize=16384)
def _empty_meta(frames: int, schema: int) -> bytes:
    """The json without features: s3 writes nothing else."""
    return meta_bytes(Sidecar(np.empty((frames, 0), np.float32), (), schema=schema))


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
    return files.exists(path), files.exists(json_path(path))


def read(path: str) -> Sidecar:
    """Read a sidecar that must be in order.

    Raises:
        BadClip: saying which file is absent, cut short or malformed, or in what the two disagree.
    """
    place = json_path(path)
    values, raw = read_values(path), _read_json(place)
    meta, npy, name = _in_schema_1(raw, place), os.path.basename(path), os.path.basename(place)
    if values.ndim != 2 or values.dtype.name not in DTYPES:
        raise BadClip(f"{npy} is {values.dtype.name} {list(values.shape)}; float16 or float32 [T, D] is wanted")
    names: Any = meta.get("names")
    if not is_names(names) or len(names) != values.shape[1] or len(set(names)) != len(names):
        raise BadClip(f"{name}: names is {names!r:.80}; {values.shape[1]} different ones are wanted")
    if meta.get("fps") != FRAMES_PER_S:
        raise BadClip(f"{name}: fps is {meta.get('fps')!r:.80}; {FRAMES_PER_S} is wanted")
    extra = {key: value for key, value in meta.items() if key not in _KNOWN or type(value) is str}
    about = {one.pop("name"): one for one in _each(raw, place)}
    return Sidecar(values, tuple(names), extra, about, 1 if meta is raw else 2)


def is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) and name for name in value)


def read_values(path: str, data: bytes | None = None) -> np.ndarray:
    """The array of an npy file of plain numbers; its size is compared with the header before anything is allocated.

    Args:
        data: its bytes, where they were read before.

    Raises:
        BadClip: when the file is absent, no npy file, of pickled objects, or of another size than its header says.
    """
    name = os.path.basename(path)
    try:
        data = files.read_file(path) if data is None else data
        dtype, fortran, shape, offset = _header(data)
    except (BadClip, OSError) as error:
        raise BadClip(f"{name}: {getattr(error, 'strerror', None) or error}") from error
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


def read_meta(path: str, data: bytes | None = None) -> dict[str, Any]:
    """The object in a sidecar's json, in the keys of schema 1.

    Args:
        data: its bytes, where they were read before.

    Raises:
        BadClip: when the file is absent, not strict JSON (NaN, 1e999, a key twice), or of an unknown schema.
    """
    return _in_schema_1(_read_json(path, data), path)


def _in_schema_1(raw: dict[str, Any], path: str) -> dict[str, Any]:
    if "norm" in raw or not raw.keys() & {"features", "stats"}:
        return raw
    each, fps = _each(raw, path), raw.get("fps") or FRAMES_PER_S
    return {
        "schema_version": 1,
        "fps": fps,
        "source_rate": raw.get("source_rate") or fps,
        "names": [one["name"] for one in each],
        "norm": {key: [one.get(key) for one in each] for key in STATISTICS},
        **_texts(each),
        **{key: value for key, value in raw.items() if key not in _KNOWN},
    }


def _each(raw: dict[str, Any], path: str) -> list[dict[str, Any]]:
    """What any form of the json states of each feature: its name, units, doc_string, statistics, and what else."""
    features: Any = raw.get("features")
    try:
        if features is None:
            names: Any = raw.get("names")
            tables = {of_one: raw.get(key, {}) for key, of_one in _TEXTS.items()}
            return [
                {"name": name, **raw.get("stats", {}).get(name, {})}
                | {key: table[name] for key, table in tables.items() if isinstance(table, dict) and name in table}
                for name in (names if is_names(names) else ())
            ]
        if isinstance(features, dict):
            features = [{**one, "name": name} for name, one in features.items()]
        return [{"name": one["name"], **one.pop("stats", {}), **one} for one in map(dict, features)]
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise BadClip(
            f"{os.path.basename(path)}: features is {features!r:.80}; an object of objects is wanted"
        ) from error


def _read_json(path: str, data: bytes | None = None) -> dict[str, Any]:
    name = os.path.basename(path)
    try:
        data = files.read_file(path, _MAX_META_BYTES + 1) if data is None else data
    except (BadClip, OSError) as error:
        raise BadClip(f"{name}: {getattr(error, 'strerror', None) or error}") from error
    if len(data) > _MAX_META_BYTES:
        raise BadClip(f"{name}: far larger than sidecars need")
    try:
        meta = _parse_meta(data)
    except (ValueError, RecursionError) as error:
        raise BadClip(f"{name}: not strict JSON: {error}") from error
    if not isinstance(meta, dict):
        raise BadClip(f"{name}: not a JSON object")
    older = "features" in meta or "stats" in meta  # forms that need not say which they are
    version = meta.get("schema_version", 2 if older else None)
    if type(version) is not int or version not in SCHEMAS:
        raise BadClip(f"{name}: schema_version is {version!r:.80}; 1 and 2 are known")
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
