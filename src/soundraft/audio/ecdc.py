"""The token file `.ecdc`, read without torch and never unpickled into anything but numbers, and its index.

Two containers have that suffix:

- `esf`: what `torch.save` writes for {"audio_codes": int64 [1, K, T], "audio_scales": None, "audio_length": samples}.
  Codes [K, T] or [1, 1, K, T] of any type of whole numbers are read too, also where the tensor is a part of a larger
  one or transposed; scales that are empty or 1; and files without a length, which then is that of all frames.
- `encodec`: the binary of the `encodec` package: the bytes `ECDC`, a version, a JSON header, then K codes a frame,
  10 bits each, lowest bit first (its `binary.py` and `compress.py`). Streams packed by its language model are refused.

The index of a folder, `tokens.jsonl`, is written at encode time, so that no file is opened to count frames.
K codebooks, T frames.
"""

import io
import json
import math
import pickle
import pickletools
import posixpath
import re
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from soundraft import files
from soundraft.runtime import BadClip, UserError

SUFFIX = ".ecdc"
Container = Literal["esf", "encodec"]

BITS_PER_CODE = 10
CODEBOOK_SIZE = 2**BITS_PER_CODE
SAMPLE_RATE_HZ = 24000
SAMPLES_PER_FRAME = 320
FRAMES_PER_S = SAMPLE_RATE_HZ // SAMPLES_PER_FRAME
INDEX_NAME = "tokens.jsonl"

_MAGIC = b"ECDC"
_HEADER = struct.Struct("!4sBI")
_MAX_HEADER_BYTES = 1 << 16
_UNSIGNED = {"torch uint16": "<u2", "torch uint32": "<u4", "torch uint64": "<u8"}
_NAMES: dict[str, Any] = {  # all that a pickled tensor may name
    "torch LongStorage": "<i8", "torch IntStorage": "<i4", "torch ShortStorage": "<i2", "torch CharStorage": "|i1",
    "torch ByteStorage": "|u1", "torch DoubleStorage": "<f8", "torch FloatStorage": "<f4", "torch HalfStorage": "<f2",
    "torch.storage UntypedStorage": "|u1", **_UNSIGNED, "collections OrderedDict": OrderedDict,
}  # fmt: skip
# all that torch.save needs for a dict of tensors; whatever could build another object is missing
_OPCODES = {
    *("PROTO", "FRAME", "MARK", "STOP", "BINPUT", "LONG_BINPUT", "MEMOIZE", "BINGET", "LONG_BINGET"),
    *("EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
    *("SETITEM", "SETITEMS", "APPEND", "APPENDS", "BINUNICODE", "SHORT_BINUNICODE"),
    *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "NONE", "NEWTRUE", "NEWFALSE"),
    *("GLOBAL", "STACK_GLOBAL", "BINPERSID", "REDUCE"),
}
_MAX_MEMO = 1000
# the pickle of a file that `esf_bytes` makes, # for a number; opcodes decide where each ends, as for the unpickler
_USUAL = re.compile(
    re.escape(
        b"\x80\x02}q\0(X\x0b\0\0\0audio_codesq\x01ctorch._utils\n_rebuild_tensor_v2\nq\x02((X\x07\0\0\0storageq\x03"
        b"ctorch\nLongStorage\nq\x04X\x01\0\0\x000q\x05X\x03\0\0\0cpuq\x06#tq\x07Q####\x87q\x08###\x87q\t\x89"
        b"ccollections\nOrderedDict\nq\n)Rq\x0btq\x0cRq\rX\x0c\0\0\0audio_scalesq\x0eNX\x0c\0\0\0audio_lengthq\x0f#u."
    ).replace(re.escape(b"#"), b"(?:K.|M..|J....)"),
    re.DOTALL,
)


@dataclass(frozen=True)
class Tokens:
    """The codes of one clip.

    Attributes:
        codes: int64 `[K, T]`, each in 0…1023.
        samples: length of the audio, at 24 kHz; the last frame may be part empty.
    """

    codes: np.ndarray
    samples: int

    @property
    def frames(self) -> int:
        return int(self.codes.shape[1])


def frames_of(samples: int) -> int:
    return math.ceil(samples / SAMPLES_PER_FRAME)


def read(path: Path) -> Tokens:
    """A token file of either container.

    Raises:
        BadClip: when it is absent, cut short, corrupt, of a foreign shape, or holds codes outside the codebook.
    """
    return parse(files.read_file(path))


def parse(data: bytes) -> Tokens:
    """The tokens in the bytes of a token file; raises as `read` does."""
    try:
        tokens = _parse_encodec(data) if data.startswith(_MAGIC) else _parse_esf(data)
    except BadClip:
        raise
    except (
        ValueError, TypeError, KeyError, IndexError, AttributeError, EOFError, RecursionError, MemoryError,
        NotImplementedError, OverflowError, pickle.UnpicklingError, struct.error, zipfile.BadZipFile, RuntimeError,
    ) as error:  # fmt: skip
        raise BadClip(f"not a token file: {type(error).__name__}: {error}") from error
    if not 0 <= tokens.codes.min() <= tokens.codes.max() < CODEBOOK_SIZE:
        raise BadClip(f"codes outside 0…{CODEBOOK_SIZE - 1}")
    if frames_of(tokens.samples) != tokens.frames:
        raise BadClip(
            f"a length of {tokens.samples} samples is stated, that of {frames_of(tokens.samples)} frames, "
            f"and codes of {tokens.frames} are there"
        )
    return tokens


def esf_bytes(tokens: Tokens) -> bytes:
    """The file as `torch.save` writes it; from a buffer, because a path's name would get into the bytes."""
    import torch

    stream = io.BytesIO()
    content = {
        "audio_codes": torch.from_numpy(tokens.codes.astype(np.int64))[None].contiguous(),
        "audio_scales": None,
        "audio_length": tokens.samples,
    }
    torch.save(content, stream)
    return stream.getvalue()


def encodec_bytes(tokens: Tokens, *, model_name: str = "encodec_24khz") -> bytes:
    """The file as `encodec.compress(model, wav, use_lm=False)` writes it."""
    meta = {"m": model_name, "al": tokens.samples, "nc": tokens.codes.shape[0], "lm": False}
    header = json.dumps(meta).encode("utf-8")
    values = tokens.codes.T.astype("<u2").reshape(-1, 1)  # frame by frame, all codebooks of each
    bits = np.unpackbits(values.view(np.uint8), axis=1, bitorder="little")[:, :BITS_PER_CODE]
    return _HEADER.pack(_MAGIC, 0, len(header)) + header + np.packbits(bits, bitorder="little").tobytes()


def _parse_encodec(data: bytes) -> Tokens:
    if len(data) < _HEADER.size:
        raise BadClip("truncated: no whole header")
    _, version, size = _HEADER.unpack_from(data)
    if version != 0:
        raise BadClip(f"version {version} of the encodec container is not known")
    if len(data) < _HEADER.size + size:
        raise BadClip("truncated: no whole header")
    meta = json.loads(data[_HEADER.size : _HEADER.size + size].decode("utf-8"))
    if meta.get("lm"):
        raise BadClip("packed by the language model of the encodec package: unpack it with that package first")
    samples, codebooks = meta["al"], meta["nc"]
    if not (type(samples) is int and type(codebooks) is int and samples > 0 and 0 < codebooks <= 32):
        raise BadClip(f"impossible header: {samples!r} samples, {codebooks!r} codebooks")
    count = frames_of(samples) * codebooks
    body = np.frombuffer(data, np.uint8, offset=_HEADER.size + size)
    promised = math.ceil(count * BITS_PER_CODE / 8)
    if len(body) != promised:
        raise BadClip(f"header promises {promised} bytes of codes, {len(body)} are there")
    bits = np.unpackbits(body, bitorder="little", count=count * BITS_PER_CODE).reshape(count, BITS_PER_CODE)
    codes = bits.astype(np.int64) @ (1 << np.arange(BITS_PER_CODE, dtype=np.int64))
    return Tokens(np.ascontiguousarray(codes.reshape(-1, codebooks).T), samples)


def _parse_esf(data: bytes) -> Tokens:
    content = _read_torch_zip(data)
    if not isinstance(content, dict) or "audio_codes" not in content:
        raise BadClip("no dict with audio_codes")
    codes = given = content["audio_codes"]
    if not isinstance(codes, np.ndarray) or codes.dtype.kind not in "iu":
        raise BadClip("audio_codes is no tensor of whole numbers")
    if not _are_unit(content.get("audio_scales")):
        raise BadClip("audio_scales are not 1: tokens of a normalising model are not supported")
    while codes.ndim > 2 and codes.shape[0] == 1:
        codes = codes[0]
    if codes.ndim != 2 or 0 in codes.shape:
        raise BadClip(f"audio_codes has shape {list(given.shape)}; [K, T] is wanted")
    samples = content.get("audio_length")
    if samples is None:
        samples = codes.shape[1] * SAMPLES_PER_FRAME
    if isinstance(samples, np.ndarray) and samples.size == 1:
        samples = samples.item()
    if isinstance(samples, bool) or not isinstance(samples, int | float) or samples < 1 or samples % 1:
        raise BadClip(f"audio_length is {samples!r}")
    # a copy: the storage is read-only
    return Tokens(np.array(codes, dtype=np.int64, order="C"), int(samples))


def _are_unit(scales: Any) -> bool:
    """Whether they change nothing; transformers gives a list, one entry a chunk."""
    if isinstance(scales, list | tuple):
        return all(map(_are_unit, scales))
    return scales is None or bool(np.all(scales == 1))


def _read_torch_zip(data: bytes) -> Any:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {info.filename.split("/", 1)[-1]: info for info in archive.infolist()}
        if "data.pkl" not in members:
            raise BadClip("no data.pkl: not written by torch.save")
        if any(info.compress_type != zipfile.ZIP_STORED for info in members.values()):
            raise BadClip("compressed members: not written by torch.save")
        if "byteorder" in members and archive.read(members["byteorder"]) != b"little":
            raise BadClip("not little-endian")
        if members["data.pkl"].file_size > _MAX_HEADER_BYTES:
            raise BadClip("the header is far larger than token files need")
        program = archive.read(members["data.pkl"])
        if not _USUAL.fullmatch(program):
            _check_opcodes(program)
        return _TensorUnpickler(io.BytesIO(program), archive, members).load()


def _check_opcodes(program: bytes) -> None:
    """Refuse what token files do not need, before anything is executed; a huge memo index would take all memory."""
    for opcode, argument, _ in pickletools.genops(program):
        if opcode.name not in _OPCODES:
            raise BadClip(f"pickle opcode {opcode.name} has no place in a token file")
        if "PUT" in opcode.name and not (isinstance(argument, int) and argument <= _MAX_MEMO):
            raise BadClip("pickle memo out of bounds")


class _TensorUnpickler(pickle.Unpickler):
    """Builds dicts, numbers and numpy arrays, and refuses every other name."""

    def __init__(self, stream: io.BytesIO, archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo]) -> None:
        super().__init__(stream)
        self._archive, self._members = archive, members

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch._utils" and name in ("_rebuild_tensor_v2", "_rebuild_tensor_v3"):
            return _rebuild
        if f"{module} {name}" in _NAMES:
            return _NAMES[f"{module} {name}"]
        raise BadClip(f"names {module}.{name}, which has no place in a token file")

    def persistent_load(self, reference: Any) -> np.ndarray:
        kind, dtype, key, _device, count = reference
        storage = np.frombuffer(self._archive.read(self._members[f"data/{key}"]), dtype)
        if kind != "storage" or len(storage) != count:
            raise BadClip("a tensor's storage has another size than promised")
        return storage


def _rebuild(
    storage: np.ndarray, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *rest: Any
) -> np.ndarray:
    """The tensor as an array, every index of which is inside the storage."""
    named = rest[2] if len(rest) > 2 else None  # the type, where the storage has none
    if named not in (None, *_UNSIGNED.values()):
        raise BadClip("a tensor's type is no number format")
    values = storage.view(named) if named else storage
    count, last = math.prod(size), sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    fits = count == 0 or offset + last < len(values) >= count  # more numbers than there are would be repetitions
    if min((offset, *size, *stride)) < 0 or not fits:
        raise BadClip("a tensor's shape does not fit its storage")
    steps = [step * values.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(values[offset:], size, steps, writeable=False)


@dataclass(frozen=True)
class TokenFile:
    """A row of the index. `path` is relative to the folder, `wav` (the audio it was made from) to the audio folder.

    Attributes:
        problem: why the file cannot be read; then `frames`, `codebooks` and `samples` are 0.
    """

    path: str
    wav: str
    frames: int
    codebooks: int
    samples: int
    problem: str = ""

    @cached_property
    def name(self) -> str:
        """The path without the suffix: what its sidecar and the clip share."""
        return posixpath.splitext(self.path)[0]


def token_path(wav: str, suffix: str = SUFFIX) -> str:
    """`a.wav` becomes `a.ecdc`; any other ending stays, so that neighbours do not collide: `a.WAV` → `a.WAV.ecdc`."""
    return wav.removesuffix(".wav") + suffix


def wav_of(token_file: str) -> str:
    """`a.ecdc` → `a.wav`: the name of the audio where no index has it."""
    return posixpath.splitext(token_file)[0] + ".wav"


def open_token_file(folder: Path, relative: str) -> TokenFile:
    """The row of a file that no index lists."""
    wav = wav_of(relative)
    try:
        tokens = read(folder / relative)
    except BadClip as error:
        return TokenFile(relative, wav, 0, 0, 0, str(error))
    return TokenFile(relative, wav, tokens.frames, tokens.codes.shape[0], tokens.samples)


def write_index(folder: Path, rows: Iterable[TokenFile]) -> None:
    good = sorted(rows, key=lambda row: row.path)
    files.write_jsonl(folder / INDEX_NAME, ({k: v for k, v in asdict(row).items() if k != "problem"} for row in good))


def read_index(folder: Path) -> list[TokenFile]:
    """The rows of `tokens.jsonl`; none when there is no such file.

    Raises:
        UserError: when a line is malformed.
    """
    path = folder / INDEX_NAME
    rows = []
    # split as bytes: names may hold U+2028 and others that end a line of text
    for number, line in enumerate(path.read_bytes().splitlines() if path.is_file() else [], start=1):
        try:
            row = TokenFile(**json.loads(line))
            if not all(type(text) is str for text in (row.path, row.wav, row.problem)):
                raise TypeError("path and wav must be texts")
            if not all(type(count) is int and count >= 0 for count in (row.frames, row.codebooks, row.samples)):
                raise TypeError("frames, codebooks and samples must be whole numbers from 0")
        except (ValueError, TypeError) as error:
            raise UserError(f"{path}:{number}: not a row of the token index: {error}") from error
        rows.append(row)
    return rows
