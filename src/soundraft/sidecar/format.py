"""The sidecar, schema 1: one row of features for each frame of a token file.

- `NAME.cond.npy`: float16 or float32 `[T, D]`, T frames (the codes decide), D features; D = 0 is legal;
- `NAME.cond.json`: schema_version, fps, source_rate, names `[D]`, norm: min, max, mean, std `[D]`,
  of the numbers as they are stored.

Keys of the json that schema 1 does not know survive a rewrite. The json is written last, and removed before an npy is
replaced: a writer that is killed leaves a whole pair, or half of one, never two files that disagree unseen.
"""

import json
import math
import os
import re
import struct
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from soundraft import files
from soundraft.audio.ecdc import FRAMES_PER_S
from soundraft.parallel import BadClip
from soundraft.runtime import UserError

SUFFIX = ".cond.npy"
SCHEMA_VERSION = 1
STATISTICS = ("min", "max", "mean", "std")
Dtype = Literal["float16", "float32"]
DTYPES: tuple[Dtype, ...] = get_args(Dtype)

_MAGIC = b"\x93NUMPY"
_FIRST_READ_BYTES = 4096  # holds every header, and most sidecars whole
_MAX_META_BYTES = 1 << 24
# what numpy writes; one pattern instead of evaluating the text. A comma ends each length but the last: were it
# optional, a long row of digits could be cut in two in exponentially many ways, and all of them would be tried
_HEADER = re.compile(
    rb"\s*\{\s*'descr':\s*'([<|])([biuf])(\d{1,2})'\s*,\s*'fortran_order':\s*(True|False)\s*,"
    rb"\s*'shape':\s*\(((?:\s*\d{1,18}\s*,)*(?:\s*\d{1,18})?\s*)\)\s*,?\s*\}\s*"
)


@dataclass(frozen=True)
class Sidecar:
    """The features of one clip.

    Attributes:
        values: `[T, D]`, float16 or float32.
        names: one for each column.
        extra: keys of the json that schema 1 does not know.
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


def write(path: str, sidecar: Sidecar, *, in_building: bool = False) -> None:
    """Write both files of a sidecar.

    Args:
        in_building: the folder is one of `files.building`, which nobody sees before it is complete: no renames needed.

    Raises:
        UserError: when the disk is full or the folder is not writable.
    """
    meta = meta_bytes(sidecar) if sidecar.names or sidecar.extra else _meta_of_none(len(sidecar.values))
    data = npy_bytes(sidecar.values)
    try:
        if in_building:
            _write_new(path, data)
            _write_new(json_path(path), meta)
        else:
            files.write_pair(Path(path), data, Path(json_path(path)), meta)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error


def npy_bytes(values: np.ndarray) -> bytes:
    """As `np.save` writes it."""
    return _npy_header(values.dtype.str, values.shape) + values.tobytes()


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
def _meta_of_none(frames: int) -> bytes:
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
    if values.ndim != 2 or values.dtype.name not in DTYPES:
        raise BadClip(
            f"{name_of(path)} is {values.dtype.name} {list(values.shape)}; float16 or float32 [T, D] is wanted"
        )
    names: Any = meta.get("names")
    if not is_names(names) or len(names) != values.shape[1] or len(set(names)) != len(names):
        raise BadClip(
            f"{name_of(json_path(path))}: names is {_short(names)}; {values.shape[1]} different ones are wanted"
        )
    if meta.get("fps") != FRAMES_PER_S:
        raise BadClip(f"{name_of(json_path(path))}: fps is {_short(meta.get('fps'))}; {FRAMES_PER_S} is wanted")
    known = {"schema_version", "fps", "source_rate", "names", "norm"}
    return Sidecar(values, tuple(names), {key: value for key, value in meta.items() if key not in known})


def is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) and name for name in value)


def read_values(path: str) -> np.ndarray:
    """The array of an npy file of plain numbers; its size is compared with the header before anything is allocated.

    Raises:
        BadClip: when the file is absent, no npy file, of pickled objects, or of another size than its header says.
    """
    try:
        with open(path, "rb", buffering=0) as stream:
            head = stream.read(_FIRST_READ_BYTES)
            dtype, fortran, shape, offset = _parse_header(head)
            promised = math.prod(shape) * dtype.itemsize
            there = os.fstat(stream.fileno()).st_size - offset
            if promised != there:
                raise BadClip(f"header promises {promised} bytes of numbers, {there} are there")
            values = np.frombuffer(head[offset:] + stream.read(), dtype)
            return values.reshape(shape[::-1]).T if fortran else values.reshape(shape)
    except OSError as error:
        raise BadClip(f"{name_of(path)}: {error.strerror}") from error
    except ValueError as error:  # BadClip too; numpy's where a shape with a 0 has a product beyond all bounds
        raise BadClip(f"{name_of(path)}: {error}") from error


def read_meta(path: str) -> dict[str, Any]:
    """The object in a sidecar's json.

    Raises:
        BadClip: when the file is absent, not strict JSON (NaN, 1e999, a key twice), or of another schema version.
    """
    try:
        with open(path, "rb", buffering=0) as stream:
            if os.fstat(stream.fileno()).st_size > _MAX_META_BYTES:
                raise BadClip(f"{name_of(path)}: far larger than sidecars need")
            data = stream.read()
    except OSError as error:
        raise BadClip(f"{name_of(path)}: {error.strerror}") from error
    try:
        meta = _parse_meta(data)
    except (ValueError, RecursionError) as error:
        raise BadClip(f"{name_of(path)}: not strict JSON: {error}") from error
    if not isinstance(meta, dict):
        raise BadClip(f"{name_of(path)}: not a JSON object")
    version = meta.get("schema_version")
    if type(version) is not int or version != SCHEMA_VERSION:
        raise BadClip(f"{name_of(path)}: schema_version is {_short(version)}; {SCHEMA_VERSION} is known")
    return meta


def name_of(path: str) -> str:
    return os.path.basename(path)


def _write_new(path: str, data: bytes) -> None:
    """A new file in few system calls: they are what writing thousands of small files costs."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(handle, rest) :]
    finally:
        os.close(handle)


@lru_cache(maxsize=4096)
def _npy_header(descr: str, shape: tuple[int, ...]) -> bytes:
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"
    padding = -(len(_MAGIC) + 4 + len(text) + 1) % 64  # the numbers start at a multiple of 64 bytes
    header = (text + " " * padding + "\n").encode("latin-1")
    return _MAGIC + struct.pack("<BBH", 1, 0, len(header)) + header


def _parse_header(head: bytes) -> tuple[np.dtype, bool, tuple[int, ...], int]:
    """(dtype, Fortran order, shape, offset of the numbers)."""
    if not head.startswith(_MAGIC) or len(head) < 12:
        raise BadClip("not an npy file")
    start, length = (10, "<H") if head[6] == 1 else (12, "<I")
    offset = start + struct.unpack_from(length, head, 8)[0]
    if head[6] not in (1, 2, 3) or offset > len(head):
        raise BadClip("npy header is cut short or of an unknown version")
    return *_parse_header_text(head[start:offset]), offset


@lru_cache(maxsize=4096)
def _parse_header_text(text: bytes) -> tuple[np.dtype, bool, tuple[int, ...]]:
    match = _HEADER.fullmatch(text)
    if match is None:
        raise BadClip("npy header is malformed, or its content is no array of plain little-endian numbers")
    order, kind, size, fortran, shape = (part.decode() for part in match.groups())
    try:
        dtype = np.dtype(f"{order}{kind}{size}")
    except TypeError as error:
        raise BadClip("npy header names an unknown number format") from error
    return dtype, fortran == "True", tuple(int(length) for length in shape.replace(",", " ").split())


@lru_cache(maxsize=4)
def _parse_meta(data: bytes) -> Any:
    """Cached, since the sidecars that s3 made are all alike: nobody may change what it returns."""
    meta = json.loads(
        data.decode("utf-8"), parse_constant=_refuse, parse_float=_finite, object_pairs_hook=_without_twins
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


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("a key stands twice")
    return content


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
