"""Audio files and arrays in: each container whole or refused, with the length and rate that its header says."""

import io as memory
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from soundraft.audio import io
from soundraft.runtime import BadClip, UserError
from tests.conftest import tone

KINDS = [
    ("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "FLOAT"), ("WAV", "GSM610"), ("WAVEX", "PCM_16"), ("RF64", "PCM_16"),
    ("W64", "PCM_16"), ("AIFF", "PCM_16"), ("AU", "ULAW"), ("CAF", "PCM_16"), ("CAF", "ALAC_16"), ("SVX", "PCM_16"),
    ("NIST", "PCM_16"), ("NIST", "ULAW"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"),
    ("MP3", "MPEG_LAYER_III"),
]  # fmt: skip


def encoded(kind: str = "WAV", subtype: str = "PCM_16", channels: int = 1, seconds: float = 2.0) -> bytes:
    samples = 0.2 * np.random.default_rng(0).standard_normal((round(8000 * seconds), channels))
    stream = memory.BytesIO()
    soundfile.write(stream, samples, 8000, format=kind, subtype=subtype)
    return stream.getvalue()


def tag(size: int, footer: bytes = b"") -> bytes:
    """ID3v2: the bytes of the size have 7 bits."""
    sizes = bytes(size >> 7 * place & 127 for place in (3, 2, 1, 0))
    return b"ID3\4\0" + (b"\x10" if footer else b"\0") + sizes + b"\0" * size + footer


def changed(data: bytes, mark: bytes, offset: int, size: str, value: int) -> bytes:
    """With another number so many bytes after a mark."""
    out = bytearray(data)
    struct.pack_into(size, out, data.index(mark) + offset, value)
    return bytes(out)


@pytest.mark.parametrize(("kind", "subtype"), KINDS)
def test_a_container_is_read_whole_or_refused(tmp_path: Path, kind: str, subtype: str) -> None:
    data, path = encoded(kind, subtype), tmp_path / "clip"
    path.write_bytes(data)
    expected = soundfile.SoundFile(path).frames
    with soundfile.SoundFile(path) as theirs:
        samples = theirs.read(expected, dtype="float32", always_2d=True)
    for begin in (b"", tag(3000), tag(7) + tag(200), tag(99, b"3DI\4\0\x10\0\0\0\x63")):
        got, rate_hz = io.parse(begin + data)
        assert rate_hz == 8000
        np.testing.assert_allclose(got, samples, atol=1e-7)
        path.write_bytes(begin + data)
        assert io.read_header(path) == (expected / 8000, 8000)
        for end in (len(data) // 2, len(data) * 3 // 4):
            with pytest.raises(BadClip, match="truncated"):
                io.parse(begin + data[:end])


WAV, FLAC = encoded(), encoded("FLAC")
AU, CAF, RF64 = encoded("AU"), encoded("CAF"), encoded("RF64")
STREAMED = {
    "WAV 0": changed(WAV, b"data", 4, "<I", 0), "WAV −1": changed(WAV, b"data", 4, "<i", -1),
    "24 bits": changed(encoded("WAV", "PCM_24"), b"data", 4, "<I", 0), 
    "tagged": tag(50) + changed(WAV, b"data", 4, "<I", 0),
    "AIFF 0": changed(encoded("AIFF"), b"SSND", 4, ">I", 0), "AIFF 8": changed(encoded("AIFF"), b"SSND", 4, ">I", 8),
    "AU 0": changed(AU, b".snd", 8, ">I", 0), "AU −1": changed(AU, b".snd", 8, ">i", -1),
    "CAF 0": changed(CAF, b"data", 4, ">q", 0), "CAF −1": changed(CAF, b"data", 4, ">q", -1),
    "RF64 0": changed(RF64, b"ds64", 16, "<q", 0), "RF64 −1": changed(RF64, b"ds64", 16, "<q", -1),
    "W64 0": changed(encoded("W64"), b"data\xf3", 16, "<q", 0), 
    "FLAC": changed(changed(FLAC, b"fLaC", 21, "B", FLAC[21] & 240), b"fLaC", 22, ">I", 0),
}  # fmt: skip


@pytest.mark.parametrize("name", STREAMED)
def test_a_length_that_a_streaming_writer_left_open_is_what_is_there(name: str) -> None:
    assert len(io.parse(STREAMED[name])[0]) == 16000
    assert io.duration_s(STREAMED[name]) == 2.0


def bad_files(folder: Path) -> dict[str, str]:
    """A file for each way to be bad, by name, with the reason."""
    stream, good = memory.BytesIO(), io.wav_bytes(tone(), 8000)
    soundfile.write(stream, np.array([0.1, np.nan, 0.1]), 8000, format="WAV", subtype="FLOAT")
    contents = {
        "empty": (b"", "empty file"),
        "text": (b"this is not audio, whatever its name says\n" * 20, "not readable as audio"),
        "truncated": (good[: len(good) // 2], "truncated: header promises 8000 bytes"),
        "header only": (good[:44], "truncated: header promises 8000 bytes"),
        "half a header": (good[:20], "truncated: no data chunk"),
        "tag only": (tag(100), "not readable as audio"),
        "no samples": (good[:40] + bytes(4), "no samples"),
        "other chunks": (good[:40] + bytes(4) + b"LIST" + struct.pack("<I", 4) + b"INFO", "no samples"),
        "nan": (stream.getvalue(), "NaN or infinite samples"),
        "1 Hz": (changed(WAV, b"fmt ", 12, "<I", 1), "a sampling rate of 1 Hz"),
        "1 Hz AU": (changed(AU, b".snd", 16, ">I", 1), "a sampling rate of 1 Hz"),
        "4 GHz": (changed(WAV, b"fmt ", 12, "<I", 2**32 - 1), "a sampling rate of"),
        "days": (changed(FLAC, b"fLaC", 22, ">I", 10**9), "hours long"),
    }
    for name, (content, _) in contents.items():
        (folder / f"{name}.wav").write_bytes(content)
    return {f"{name}.wav": reason for name, (_, reason) in contents.items()} | {"absent.wav": "no such file"}


def test_each_bad_file_has_its_own_reason(tmp_path: Path) -> None:
    for name, reason in bad_files(tmp_path).items():
        with pytest.raises(BadClip, match=reason):
            io.read(tmp_path / name)
        if name not in ("nan.wav", "4 GHz.wav"):
            with pytest.raises(BadClip, match=reason):
                io.read_header(tmp_path / name)


def test_our_wav_is_what_soundfile_reads_back_and_rounds_without_bias(tmp_path: Path) -> None:
    io.write_wav(tmp_path / "a.wav", np.float32([0.0, 0.5, -0.5, 1.0, -1.0, 1.7]), 24000)
    values, rate_hz = soundfile.read(tmp_path / "a.wav", dtype="int16")
    assert (rate_hz, values.tolist()) == (24000, [0, 16384, -16384, 32767, -32768, 32767])
    samples = np.random.default_rng(0).uniform(-0.9, 0.9, 100_000).astype(np.float32)
    error = io.parse(io.wav_bytes(samples, 8000))[0][:, 0] - samples
    assert abs(error.mean()) < 1e-7
    assert np.abs(error).max() <= 0.5 / 32768 + 1e-7
    both = np.stack([samples, -samples], axis=1)
    np.testing.assert_array_equal(io.parse(io.float_wav_bytes(both, 8000))[0], both)


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "AIFF"])
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_channels_become_their_mean(kind: str, channels: int) -> None:
    samples, _ = io.parse(encoded(kind, channels=channels))
    assert samples.shape == (16000, channels)
    np.testing.assert_allclose(io.to_mono(samples), samples.mean(axis=1), atol=1e-6)


def test_resampling_keeps_a_tone() -> None:
    there = io.resample(tone(rate_hz=8000), 8000, 24000)
    np.testing.assert_allclose(there[2000:-2000], tone(rate_hz=24000)[2000:-2000], atol=1e-3)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.int8([-128, -64, 0, 64]), [-1, -0.5, 0, 0.5]),
        (np.int16([-(2**15), -(2**14), 0, 2**14]), [-1, -0.5, 0, 0.5]),
        (np.int32([-(2**31), -(2**30), 0, 2**30]), [-1, -0.5, 0, 0.5]),
        (np.uint8([0, 64, 128, 192]), [-1, -0.5, 0, 0.5]),
        (np.float64([-1, 0.25]), [-1, 0.25]),
        ([0.5, -1.5], [0.5, -1.5]),
    ],
)
def test_the_type_of_an_array_says_what_full_scale_is(array: Any, expected: list[float]) -> None:
    assert io.from_array(array)[:, 0].tolist() == expected
    two = np.stack([np.resize(array, 20)] * 2)
    assert io.from_array(two).shape == io.from_array(two.T).shape == (20, 2)


@pytest.mark.parametrize(
    "array",
    [
        np.int64([100, -20000]), [100, -20000], np.int32([100, -32768]), np.uint32([1, 40000]), np.uint64([1]),
        np.float32([100, -20000]), np.zeros((2, 3)), np.zeros((100, 100)), np.zeros((1, 2, 100)), np.zeros(0),
        np.zeros((0, 2)), np.array([0.0, np.nan]), np.array([0.0, -np.inf]), np.array(["a"]), np.array([True, False]),
        np.array([1j]), np.array(0.5),
    ],
)  # fmt: skip
def test_arrays_that_are_no_audio_or_of_unclear_scale(array: Any) -> None:
    with pytest.raises(UserError, match="array"):
        io.from_array(array)
