import io as memory
from pathlib import Path

import numpy as np
import pytest
import soundfile

from soundraft.audio import io
from soundraft.parallel import BadClip
from tests.conftest import tone


def test_our_wav_is_what_soundfile_reads_back(tmp_path: Path) -> None:
    samples = np.array([0.0, 0.5, -0.5, 1.0, -1.0, 1.7], dtype=np.float32)
    io.write_wav(tmp_path / "a.wav", samples, 24000)
    values, rate_hz = soundfile.read(tmp_path / "a.wav", dtype="int16")
    assert rate_hz == 24000
    assert values.tolist() == [0, 16384, -16384, 32767, -32768, 32767]


def test_rounding_has_no_bias(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).uniform(-0.9, 0.9, 100_000).astype(np.float32)
    io.write_wav(tmp_path / "a.wav", samples, 8000)
    back, _ = io.read(tmp_path / "a.wav")
    error = back[:, 0] - samples
    assert abs(error.mean()) < 1e-7
    assert np.abs(error).max() <= 0.5 / 32768 + 1e-7


def bad_files(folder: Path) -> dict[str, Path]:
    """One file for each way to be bad."""
    good = io.wav_bytes(tone(), 8000)
    contents = {
        "empty": b"",
        "text": b"this is not audio, whatever its name says\n" * 20,
        "truncated": good[: len(good) // 2],
        "header only": good[:44],
        "half a header": good[:20],
    }
    paths = {}
    for name, content in contents.items():
        paths[name] = folder / f"{name}.wav"
        paths[name].write_bytes(content)
    paths["nan"] = folder / "nan.wav"
    soundfile.write(paths["nan"], np.array([0.1, np.nan, 0.1]), 8000, subtype="FLOAT")
    paths["absent"] = folder / "absent.wav"
    return paths


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("empty", "empty file"),
        ("text", "not readable as audio"),
        ("truncated", "truncated: header promises 8000 bytes"),
        ("header only", "truncated: header promises 8000 bytes"),
        ("half a header", "truncated: no data chunk"),
        ("nan", "NaN or infinite samples"),
        ("absent", "no such file"),
    ],
)
def test_each_bad_file_has_its_own_reason(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(BadClip, match=reason):
        io.read(bad_files(tmp_path)[name])


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".aiff"])
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_containers_and_channels(tmp_path: Path, suffix: str, channels: int) -> None:
    path = tmp_path / f"x_120.0{suffix}"
    soundfile.write(path, np.tile(tone(rate_hz=44100)[:, None], channels), 44100)
    samples, _rate_hz = io.read(path)
    assert samples.shape == (22050, channels)
    np.testing.assert_allclose(io.to_mono(samples), tone(rate_hz=44100), atol=0.02)


def test_resampling_keeps_a_tone() -> None:
    there = io.resample(tone(rate_hz=8000), 8000, 24000)
    np.testing.assert_allclose(there[2000:-2000], tone(rate_hz=24000)[2000:-2000], atol=1e-3)


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG"])
def test_the_header_says_how_long_a_clip_is(kind: str) -> None:
    stream = memory.BytesIO()
    soundfile.write(stream, np.zeros((1234, 2), np.float32), 8000, format=kind)
    assert io.duration_s(stream.getvalue()) == 1234 / 8000
    with pytest.raises(BadClip, match="not readable as audio"):
        io.duration_s(b"no audio")
