"""Audio files in and out, through soundfile and soxr; every way a file can be bad has its own message."""

import io
import struct
from pathlib import Path

import numpy as np
import soundfile
import soxr

from soundraft import files
from soundraft.runtime import BadClip

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif", ".opus")
PCM16_SCALE = 32768


def read(path: Path) -> tuple[np.ndarray, int]:
    """Decode a file whole: float32 `[N, C]` in −1…1, and its rate in Hz; raises as `parse` does."""
    return parse(files.read_file(path))


def parse(data: bytes) -> tuple[np.ndarray, int]:
    """Decode the bytes of an audio file: float32 `[N, C]` in −1…1, and its rate in Hz.

    Raises:
        BadClip: when they are empty, not audio, cut short, or hold NaN or infinite samples.
    """
    if not data:
        raise BadClip("empty file")
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        plain = _plain_wav(data)
        if plain is not None:
            return plain
    try:
        samples, rate_hz = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise BadClip(f"not readable as audio: {error.error_string}") from error
    if len(samples) == 0:
        raise BadClip("no samples")
    if not np.isfinite(samples).all():
        raise BadClip("NaN or infinite samples")
    return samples, rate_hz


def duration_s(data: bytes) -> float:
    """Seconds of an audio file, as its header has them; BadClip where it has none."""
    try:
        return float(soundfile.info(io.BytesIO(data)).duration)
    except soundfile.LibsndfileError as error:
        raise BadClip(f"not readable as audio: {error.error_string}") from error


def _plain_wav(data: bytes) -> tuple[np.ndarray, int] | None:
    """Decode a 16-bit PCM WAV, the common case, without libsndfile's 0.05 ms; `None` for every other kind of WAV.

    It also refuses what libsndfile reads silently: a file that is shorter than its `data` chunk says.
    """
    place, layout = 12, None
    while place + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, place)
        place += 8
        if name == b"fmt " and place + 16 <= len(data):
            layout = struct.unpack_from("<HHIIHH", data, place)
        if name == b"data":
            streamed = length == 0 or length >= 0x7FFF0000  # a writer that could not seek back
            if not streamed and place + length > len(data):
                raise BadClip(f"truncated: header promises {length} bytes, {len(data) - place} are there")
            return None if streamed or layout is None else _plain_pcm(data, place, length, *layout)
        place += length + length % 2
    raise BadClip("truncated: no data chunk")


def _plain_pcm(
    data: bytes, place: int, length: int, kind: int, channels: int, rate_hz: int, _rate: int, block: int, bits: int
) -> tuple[np.ndarray, int] | None:
    if (kind, bits) != (1, 16) or channels < 1 or block != 2 * channels or length < block or rate_hz < 1:
        return None
    pcm = np.frombuffer(data, "<i2", count=length // block * channels, offset=place)
    return (pcm * np.float32(1 / PCM16_SCALE)).reshape(-1, channels), rate_hz


def to_mono(samples: np.ndarray) -> np.ndarray:
    """`[N, C]` → `[N]`, the mean of the channels."""
    channels = samples.shape[1]
    if channels == 1:
        return samples[:, 0]
    return samples @ np.full(channels, 1 / channels, dtype=np.float32)


def resample(samples: np.ndarray, source_hz: int, target_hz: int) -> np.ndarray:
    """`[N]` at `source_hz` → `[N · target/source]` at `target_hz` (soxr, high quality)."""
    return samples if source_hz == target_hz else soxr.resample(samples, source_hz, target_hz)


def wav_bytes(samples: np.ndarray, rate_hz: int) -> bytes:
    """A 16-bit mono WAV file. Rounds to nearest (soundfile's own conversion floors) and clips at full scale."""
    pcm = np.clip(np.rint(samples * PCM16_SCALE), -PCM16_SCALE, PCM16_SCALE - 1).astype("<i2").tobytes()
    header = struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF", 36 + len(pcm), b"WAVE",
        b"fmt ", 16, 1, 1, rate_hz, 2 * rate_hz, 2, 16,
        b"data", len(pcm),
    )  # fmt: skip
    return header + pcm


def float_wav_bytes(samples: np.ndarray, rate_hz: int) -> bytes:
    """A 32-bit float WAV file of `[N, C]`, without loss; equal samples give equal bytes, as libsndfile's do not."""
    channels, data = samples.shape[1], np.ascontiguousarray(samples, dtype="<f4").tobytes()
    header = struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF", 36 + len(data), b"WAVE",
        b"fmt ", 16, 3, channels, rate_hz, 4 * channels * rate_hz, 4 * channels, 32,
        b"data", len(data),
    )  # fmt: skip
    return header + data


def write_wav(path: Path, samples: np.ndarray, rate_hz: int) -> None:
    files.write_bytes(path, wav_bytes(samples, rate_hz))


def decode(data: bytes, rate_hz: int) -> np.ndarray:
    """Mono samples `[N]` at `rate_hz` from the bytes of an audio file."""
    samples, source_hz = parse(data)
    return resample(to_mono(samples), source_hz, rate_hz)
