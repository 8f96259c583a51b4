"""Token files: both containers there and back, torch and the `encodec` package as second readers, what is refused."""

import io
import json
import os
import pickle
import struct
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import encodec.binary
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch._utils import _rebuild_tensor_v2

from soundraft.audio import ecdc
from soundraft.audio.ecdc import Tokens
from soundraft.runtime import BadClip

CODES = np.arange(12).reshape(2, 6)
SAMPLES = 6 * 320 - 9


@st.composite
def any_tokens(draw: st.DrawFn) -> Tokens:
    codebooks, frames = draw(st.integers(1, 32)), draw(st.integers(1, 200))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    codes = rng.integers(0, draw(st.sampled_from([1, 2, 1024])), (codebooks, frames))
    codes[-1, -1] = 1023
    return Tokens(codes, frames * 320 - draw(st.integers(0, 319)))


def same(one: Tokens, other: Tokens) -> bool:
    return one.samples == other.samples and one.codes.dtype == np.int64 and np.array_equal(one.codes, other.codes)


@given(any_tokens())
def test_torch_reads_what_we_write(tokens: Tokens) -> None:
    assert same(ecdc.parse(ecdc.esf_bytes(tokens)), tokens)
    content = torch.load(io.BytesIO(ecdc.esf_bytes(tokens)), weights_only=True)
    assert content.keys() == {"audio_codes", "audio_scales", "audio_length"}
    assert content["audio_codes"].dtype == torch.int64
    assert np.array_equal(content["audio_codes"][0].numpy(), tokens.codes)
    assert (content["audio_scales"], content["audio_length"]) == (None, tokens.samples)


@given(any_tokens())
def test_the_other_container_is_that_of_the_encodec_package(tokens: Tokens) -> None:
    stream = io.BytesIO()
    meta = {"m": "encodec_24khz", "al": tokens.samples, "nc": len(tokens.codes), "lm": False}
    encodec.binary.write_ecdc_header(stream, meta)
    bits = encodec.binary.BitPacker(10, stream)
    for value in tokens.codes.T.ravel().tolist():
        bits.push(value)
    bits.flush()
    assert same(ecdc.parse(stream.getvalue()), tokens)
    assert ecdc.encodec_bytes(tokens) == stream.getvalue()


def saved(codes: Any, **more: Any) -> bytes:
    """What `torch.save` writes."""
    stream = io.BytesIO()
    torch.save({"audio_codes": codes, "audio_scales": None, "audio_length": SAMPLES} | more, stream)
    return stream.getvalue()


WHOLE = torch.from_numpy(CODES)
WIDE = torch.arange(40).reshape(4, 10)  # 12…17 and 22…27 lie in it
FORMS: dict[str, tuple[Any, dict[str, Any]]] = {
    **{f"{list(shape)}": (WHOLE.reshape(shape), {}) for shape in ((2, 6), (1, 2, 6), (1, 1, 2, 6))},
    **{str(kind): (WHOLE.to(kind), {}) for kind in (torch.int32, torch.int16, torch.uint8, torch.uint16, torch.uint32)},
    "columns of a larger tensor": (torch.cat([WHOLE + 20, WHOLE], 1)[None, :, 6:], {}),
    "every other frame": (WHOLE.repeat_interleave(2, 1)[:, ::2], {}),
    "transposed": (WHOLE.T.contiguous().T[None], {}),
    "transposed part, 16 bits": (torch.cat([WHOLE.T, WHOLE.T]).to(torch.uint16)[6:].T, {}),
    **{f"length {length!r}": (WHOLE, {"audio_length": length}) for length in (1911.0, torch.tensor([1911]))},
    "no length": (WHOLE, {"audio_length": None}),
    **{f"scales {scales!r}": (WHOLE, {"audio_scales": scales})
       for scales in ([], (), (None,), [None], [[None]], 1.0, torch.ones(1, 1), [torch.ones(1)], torch.zeros(0))},
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_forms_that_others_write(form: str) -> None:
    codes, more = FORMS[form]
    expected = Tokens(CODES, 1920 if form == "no length" else SAMPLES)
    assert same(ecdc.parse(saved(codes, **more, anything="else")), expected)
    if form == "no length":
        stream = io.BytesIO()
        torch.save({"audio_codes": codes}, stream)
        assert same(ecdc.parse(stream.getvalue()), expected)


@pytest.mark.parametrize("frames", [1, 255, 256, 70_000])  # each in another width of number
def test_what_we_write_needs_no_second_look(frames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pickle is recognised as a whole; any other one is looked through."""
    data = ecdc.esf_bytes(Tokens(np.zeros((2, frames), np.int64), frames * 320))
    looked: list[bytes] = []
    monkeypatch.setattr(ecdc, "_check_opcodes", looked.append)
    assert ecdc.parse(data).frames == frames
    assert looked == []
    stream = io.BytesIO()
    torch.save({"audio_length": frames * 320, "audio_codes": torch.zeros((1, 2, frames), dtype=torch.int64)}, stream)
    assert ecdc.parse(stream.getvalue()).frames == frames
    assert len(looked) == 1


def test_bytes_do_not_depend_on_where_they_are_written(tmp_path: Path) -> None:
    tokens = Tokens(CODES, SAMPLES)
    assert ecdc.esf_bytes(tokens) == ecdc.esf_bytes(Tokens(np.asfortranarray(CODES), SAMPLES))
    for name in ("a", "another.name"):
        (tmp_path / name).write_bytes(ecdc.esf_bytes(tokens))
        assert same(ecdc.read(tmp_path / name), tokens)
    torch.save({"audio_codes": torch.from_numpy(CODES)}, tmp_path / "theirs")
    assert b"theirs/data.pkl" in (tmp_path / "theirs").read_bytes()  # the trap


@dataclass(frozen=True)
class Storage:
    """What a file says about a tensor's numbers."""

    count: int
    dtype: Any = torch.LongStorage
    kind: str = "storage"
    key: str = "0"


@dataclass(frozen=True)
class Tensor:
    """A tensor as `torch.save` pickles it, with every field open to lies."""

    size: Any = (2, 6)
    stride: Any = (6, 1)
    offset: Any = 0
    storage: Any = Storage(12)

    def __reduce__(self) -> tuple:
        return _rebuild_tensor_v2, (self.storage, self.offset, self.size, self.stride, False, OrderedDict())


class _Pickler(pickle.Pickler):
    def persistent_id(self, thing: Any) -> Any:
        if isinstance(thing, Storage):
            return (thing.kind, thing.dtype, thing.key, "cpu", thing.count)
        return None


def archive(
    program: bytes, *, numbers: bytes = CODES.tobytes(), order: bytes = b"little", method: int = zipfile.ZIP_STORED
) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as made:
        for name, data in (("data.pkl", program), ("byteorder", order), ("data/0", numbers), ("version", b"3\n")):
            made.writestr(f"archive/{name}", data)
    return stream.getvalue()


def pickled(content: Any) -> bytes:
    stream = io.BytesIO()
    _Pickler(stream, protocol=2).dump(content)
    return stream.getvalue()


def crafted(codes: Any = Tensor(), samples: Any = SAMPLES, **options: Any) -> bytes:
    return archive(pickled({"audio_codes": codes, "audio_scales": None, "audio_length": samples}), **options)


def test_what_is_crafted_here_is_a_token_file() -> None:
    assert same(ecdc.parse(crafted()), Tokens(CODES, SAMPLES))
    assert torch.load(io.BytesIO(crafted()), weights_only=True)["audio_codes"].tolist() == CODES.tolist()


def binary(meta: Any, body: bytes = b"\0" * 15, version: int = 0, size: int | None = None) -> bytes:
    header = json.dumps(meta).encode()
    return struct.pack("!4sBI", b"ECDC", version, len(header) if size is None else size) + header + body


META = {"m": "encodec_24khz", "al": SAMPLES, "nc": 2, "lm": False}
GOOD_ESF, GOOD_BINARY = ecdc.esf_bytes(Tokens(CODES, SAMPLES)), ecdc.encodec_bytes(Tokens(CODES, SAMPLES))
REFUSED: dict[str, list[bytes]] = {
    "not a token file": [
        b"", b"no tokens here\n" * 50, GOOD_ESF[: len(GOOD_ESF) // 2], crafted(numbers=b"\0" * 91),
        crafted(Tensor(storage=Storage(12, key="7"))), crafted(Tensor(size=("a", "b"))),
        crafted(Tensor(stride=(1,))),
        archive(b"\x80\x02X\xff\xff\xff\x7fa."), archive(b"\x80\x04\x95" + b"\xff" * 8 + b"}."),
        archive(b"\x80\x02R."), archive(b"\x80\x02}"), binary({"nc": 2}), binary([1]), binary("{", size=1),
    ],
    "no dict with audio_codes": [
        archive(pickled([1])), archive(pickled({"codes": 1})),
        archive(b"\x80\x02" + b"(" * 30_000 + b"t" * 30_000 + b"."),
    ],
    "audio_scales": [saved(WHOLE, audio_scales=scales) for scales in (torch.ones(1) / 2, [0.5], "one", {1: 1})],
    "codes outside": [saved(torch.full((2, 6), 1024)), saved(torch.full((2, 6), -1))],
    "whole numbers": [saved(torch.zeros(2, 6)), saved([[1, 2]])],
    "shape .*wanted": [saved(torch.zeros(shape).long()) for shape in ((2, 2, 6), (1, 2, 0), (6,))],
    "audio_length is": [saved(WHOLE, audio_length=length) for length in ("long", 0, True, 1911.5, float("nan"))],
    "samples is stated": [saved(WHOLE, audio_length=length) for length in (100, 1600, 1921, 10**9)],
    "compressed": [crafted(method=zipfile.ZIP_DEFLATED)],
    "little-endian": [crafted(order=b"big")],
    "no data.pkl": [b"PK\x05\x06" + b"\0" * 18],
    "header is far larger": [archive(pickled("x" * 70_000))],
    "another size than promised": [
        crafted(numbers=b"\0" * 8), crafted(Tensor(storage=Storage(10**12))),
        crafted(Tensor(storage=Storage(12, kind="module"))),
    ],
    "torch.ComplexFloatStorage": [crafted(Tensor(storage=Storage(12, torch.ComplexFloatStorage)))],
    "does not fit its storage": [
        crafted(Tensor(size=(2, 7), stride=(7, 1))), crafted(Tensor(size=(2**40, 2**40), stride=(2**40, 1))),
        crafted(Tensor(size=(-2, -6), stride=(-6, 1))), crafted(Tensor(offset=-1)), crafted(Tensor(offset=1)),
        crafted(Tensor(stride=(1, 12))), crafted(Tensor(stride=(-6, 1))), crafted(Tensor(storage="nothing")),
        crafted(Tensor(size=(2, 2**40), stride=(6, 0))), saved(torch.zeros(1).long().expand(2, 6)),
    ],
    "memo out of bounds": [archive(b"\x80\x02}r\xff\xff\xff\x7f.")],
    "version 1": [binary(META, version=1)],
    "language model": [binary(META | {"lm": True})],
    "truncated": [GOOD_BINARY[:7], GOOD_BINARY[:20], binary(META, size=2**32 - 1)],
    "header promises": [GOOD_BINARY[:-1], GOOD_BINARY + b"\0", binary(META | {"al": 2**62})],
    "impossible header": [binary(META | change) for change in ({"al": 0}, {"al": -5}, {"al": 5.5}, {"nc": 10**9})],
}  # fmt: skip


@pytest.mark.parametrize("reason", REFUSED)
def test_refused_with_a_reason(reason: str) -> None:
    for data in REFUSED[reason]:
        with pytest.raises(BadClip, match=reason):
            ecdc.parse(data)


@given(st.integers(0, len(GOOD_ESF) - 1), st.integers(0, len(GOOD_BINARY) - 1))
def test_every_truncation_is_refused(esf_bytes: int, binary_bytes: int) -> None:
    for data in (GOOD_ESF[:esf_bytes], GOOD_BINARY[:binary_bytes]):
        with pytest.raises(BadClip):
            ecdc.parse(data)


class Calls:
    """Unpickled, it calls a function."""

    def __init__(self, function: Callable, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple:
        return self.function, self.arguments


def evil_programs(marker: Path) -> dict[str, bytes]:
    """Pickles that would make the file `marker`."""
    command = f"touch '{marker}'"
    text = b"X" + struct.pack("<I", len(command)) + command.encode()
    call = Calls(os.system, command)
    good = {"audio_codes": Tensor(), "audio_scales": None, "audio_length": SAMPLES}
    return {
        "alone": pickled(call),
        "among the tokens": pickled(good | {"audio_scales": call}),
        "as the codes": pickled(good | {"audio_codes": call}),
        "as the storage": pickled(good | {"audio_codes": Tensor(storage=call)}),
        "by eval": pickled(Calls(eval, f"open({str(marker)!r}, 'w')")),
        "by open": pickled(Calls(open, str(marker), "w")),
        "by opcode INST": b"(" + text + b"ios\nsystem\n.",
        "by opcode OBJ": b"(cos\nsystem\n" + text + b"o.",
        "by an attribute": b"\x80\x04\x8c\x0ctorch._utils\x8c\x0bsys.modules\x93.",
        "by BUILD": b"\x80\x02ccollections\nOrderedDict\n)R}b.",
    }  # fmt: skip


WATCHED = {"os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "open", "exec", "compile", "import",
           "pickle.find_class"}  # fmt: skip


def test_nothing_in_a_file_is_executed(tmp_path: Path) -> None:
    marker = tmp_path / "it ran"
    events: list[str] = []
    listening = True
    sys.addaudithook(lambda event, _: events.append(event) if listening and event in WATCHED else None)
    for name, program in evil_programs(marker).items():
        with pytest.raises(BadClip, match=r"has no place in a token file"):
            ecdc.parse(archive(program))
        assert events == [], name
    listening = False
    assert not marker.exists()
    pickle.loads(evil_programs(marker)["alone"])
    assert marker.exists()  # it would have run
