"""Audio files and arrays in, WAV files out, through soundfile and soxr; every fault has its own message."""

import io
import mmap
import struct
import warnings
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile
import soxr

from soundraft import files
from soundraft.audio import containers
from soundraft.audio.containers import Data
from soundraft.runtime import BadClip, UserError

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif", ".opus")
PCM16_SCALE = 32768
MIN_RATE_HZ, MAX_RATE_HZ = 1000, 1_000_000  # a header that says 1 Hz makes hours of 16 kB
MAX_DURATION_S = 12 * 3600
MAX_CHANNELS = 8  # a 2-D array with more rows and more columns than this is no audio
MAX_FLOAT_PEAK = 8.0  # of an array in −1…1: processing overshoots, but not so far
SILENT_PEAK = 1e-4  # −80 dBFS, three steps of 16 bits

_UNKNOWN_FRAMES = 1 << 62  # libsndfile's largest number, where a FLAC does not say how many
_BLOCK_FRAMES = 1 << 20
WHOLE_S = 600.0  # longer files are read in parts, where that is enough
_WAV_BYTES = 4_000_000_000
_MP3_SLACK = 2304  # samples: the first and the last frame of an MP3 may decode to nothing


def read(path: Path) -> tuple[np.ndarray, int]:
    """Decode a file whole: float32 `[N, C]` in −1…1, and its rate in Hz; raises as `parse` does."""
    return parse(files.read_file(path))


def parse(data: bytes) -> tuple[np.ndarray, int]:
    """Decode the bytes of an audio file, as libsndfile does from a path: float32 `[N, C]` in −1…1, and its rate in Hz.

    Raises:
        BadClip: when they are empty, not audio, cut short, of a rate or length that no recording has, or hold NaN or
            infinite samples.
    """
    if not data:
        raise BadClip("empty file")
    data = bytes(containers.whole(data))
    samples, rate_hz = _plain_wav(data) or _decoded(data)
    if len(samples) == 0:
        raise BadClip("no samples")
    return samples, rate_hz


def decode(data: bytes, rate_hz: int) -> np.ndarray:
    """Mono samples `[N]` at `rate_hz` from the bytes of an audio file."""
    samples, source_hz = parse(data)
    return resample(to_mono(samples), source_hz, rate_hz)


def read_header(path: Path) -> tuple[float, int]:
    """Duration in seconds and rate in Hz of a file, without decoding it; raises as `parse` does."""
    with _file(path) as sound:
        return _length(sound)


def duration_s(data: bytes) -> float:
    """Seconds of an audio file, as its header has them; raises as `parse` does."""
    if not data:
        raise BadClip("empty file")
    with _opened(containers.whole(data)) as sound:
        return _length(sound)[0]


def blocks(path: Path) -> Iterator[np.ndarray]:
    """The samples of a file as `read` has them, a long one in parts `[n, C]`, so that it costs little memory."""
    if read_header(path)[0] <= WHOLE_S:
        yield read(path)[0]
        return
    with _file(path) as sound:
        promised, frames = 0 if sound.format == "MP3" else sound.known_frames or 0, 0
        while len(block := _next(sound, _BLOCK_FRAMES)):
            frames += len(block)
            _check_size(frames, sound.samplerate)
            yield block
        _check_whole(frames, promised)


def read_part(path: Path, start_s: float, length_s: float) -> tuple[np.ndarray, int]:
    """A part of a file, less where it ends before: float32 `[n, C]` in −1…1, and the rate in Hz; raises as `parse`."""
    with _file(path) as sound:
        if not sound.seekable():
            samples = _samples_of(sound)
            start = round(start_s * sound.samplerate)
            part = samples[start : start + round(length_s * sound.samplerate)]
        else:
            frames = sound.known_frames or 0
            sound.seek(min(round(start_s * sound.samplerate), frames))
            part = _next(sound, round(length_s * sound.samplerate))
        if len(part) == 0:
            raise BadClip(f"nothing at {start_s:g} s: it ends before")
        return part, sound.samplerate


@contextmanager
def _file(path: Path) -> Iterator["_Sound"]:
    if not path.is_file() or path.stat().st_size == 0:
        files.read_file(path)  # says what is there in its place
        raise BadClip("empty file")
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        whole = containers.whole(data)
        with _opened(whole, stream if whole is data else None) as sound:
            yield sound


def container(data: bytes) -> str:
    """libsndfile's name of what a file is, such as FLAC; raises as `parse` does."""
    with _opened(containers.whole(data)) as sound:
        return str(sound.format)


class _Memory(io.BytesIO):
    """A damaged header makes libsndfile seek before the beginning; the stack trace of that goes to stderr."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        try:
            return super().seek(offset, whence)
        except ValueError:
            return self.tell()


class _Sound(soundfile.SoundFile):
    """An open file. A FLAC that does not say how long it is (a streaming writer's) cannot be sought in to its end."""

    @property
    def known_frames(self) -> int | None:
        return self.frames if self.frames < _UNKNOWN_FRAMES else None

    def seekable(self) -> bool:
        return self.known_frames is not None and bool(super().seekable())


def _length(sound: _Sound) -> tuple[float, int]:
    frames = len(_samples_of(sound)) if sound.known_frames is None else sound.known_frames
    if frames == 0:
        raise BadClip("no samples")
    return frames / sound.samplerate, sound.samplerate


def _plain_wav(data: bytes) -> tuple[np.ndarray, int] | None:
    """Decode a 16-bit PCM WAV, the common case, without libsndfile's 0.05 ms; `None` for every other file."""
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        return None
    found = {name: (place, length) for name, place, length in containers.chunks(data)}
    (layout, layout_bytes), (start, length) = found.get(b"fmt ", (0, 0)), found.get(b"data", (0, 0))
    if layout_bytes < 16 or not 0 < length <= len(data) - start:
        return None
    kind, channels, rate_hz, _, block, bits = struct.unpack_from("<HHIIHH", data, layout)
    if (kind, bits) != (1, 16) or channels < 1 or block != 2 * channels or length < block:
        return None
    _check_size(length // block, rate_hz)
    pcm = np.frombuffer(data, "<i2", count=length // block * channels, offset=start)
    return (pcm * np.float32(1 / PCM16_SCALE)).reshape(-1, channels), rate_hz


def _decoded(data: bytes) -> tuple[np.ndarray, int]:
    with _opened(data) as sound:
        samples, rate_hz = _samples_of(sound), sound.samplerate
        if sound.format == "MP3":  # it says how much it has only in a frame of that name, and else libsndfile guesses
            promised = sound.frames - _MP3_SLACK if b"Xing" in data[:4096] or b"Info" in data[:4096] else 0
        else:
            promised = sound.known_frames or 0
    _check_whole(len(samples), promised)
    return samples, rate_hz


def _check_whole(frames: int, promised: int) -> None:
    if frames < promised:
        raise BadClip(f"truncated: header promises {promised} samples, {frames} are there")


def _opened(data: Data, stream: BinaryIO | None = None) -> _Sound:
    """Of the stream, where its bytes are `data`."""
    try:
        sound = _Sound(stream or _Memory(data))
    except soundfile.LibsndfileError as error:
        reason = "truncated: no data chunk" if containers.lacks_samples(data) else "not readable as audio"
        raise BadClip(f"{reason}: {error.error_string}") from error
    _check_size(sound.known_frames or 0, sound.samplerate)
    return sound


def _check_size(frames: int, rate_hz: int) -> None:
    """Before anything is allocated."""
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise BadClip(f"a sampling rate of {rate_hz} Hz; recordings have {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz")
    if frames > MAX_DURATION_S * rate_hz:
        hours = f"{frames / rate_hz / 3600:.1f} hours"
        raise BadClip(f"{hours} long; {MAX_DURATION_S // 3600} hours are the most: cut it into pieces")


def _samples_of(sound: _Sound) -> np.ndarray:
    """`[N, C]`, as `soundfile.read` gives them."""
    parts: list[np.ndarray] = []
    frames, wanted = 0, _BLOCK_FRAMES if sound.known_frames is None else sound.known_frames
    if sound.seekable():
        sound.seek(0)  # without it an MP3 decodes to other last bits
    while not parts or (sound.known_frames is None and len(parts[-1]) == wanted):
        parts.append(_next(sound, wanted))
        frames += len(parts[-1])
        _check_size(frames, sound.samplerate)
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _next(sound: _Sound, frames: int) -> np.ndarray:
    try:
        samples = sound.read(frames, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise BadClip(f"truncated or damaged: {error.error_string}") from error
    except MemoryError as error:
        raise BadClip(f"{frames} samples of {sound.channels} channels: more than the memory holds") from error
    if not np.isfinite(samples).all():
        raise BadClip("NaN or infinite samples")
    return samples


def from_array(array: Any) -> np.ndarray:
    """Samples of an array as those of a file: float32 `[N, C]` in −1…1.

    Args:
        array: or a tensor, `[N]`, `[N, C]` or `[C, N]`: the axis with at most 8 entries is the channels. Floats are
            −1…1, integers of 8, 16 and 32 bits are full scale by their type (int16: 32768, uint8 around 128).

    Raises:
        UserError: when it is not clear which axis is time or what full scale is, there are no samples, or some are not
            finite.
    """
    given = np.asarray(array.detach().cpu() if hasattr(array, "detach") else array)  # a tensor, also one on the GPU
    if given.dtype.kind not in "fiu" or (given.dtype.kind in "iu" and given.itemsize > 4):
        raise UserError(
            f"an array of {given.dtype}: samples are floats in −1…1, or integers of 8, 16 or 32 bits at full scale; "
            "give 16-bit values as array.astype('int16')"
        )
    if given.size == 0:
        raise UserError(f"an array of shape {given.shape} has no samples")
    return _columns(_unit_floats(given))


def _unit_floats(array: np.ndarray) -> np.ndarray:
    """float32 in −1…1 from the samples of any number format."""
    kind, half = array.dtype.kind, 2.0 ** (8 * array.itemsize - 1)
    peak = max(abs(float(array.max())), abs(float(array.min())))
    if not np.isfinite(peak):
        raise UserError("the array has NaN or infinite samples")
    if kind == "f" and peak > MAX_FLOAT_PEAK:
        raise UserError(f"an array of {array.dtype} with a peak of {peak:g}: floats are in −1…1; divide by full scale")
    if array.itemsize == 4 and kind in "iu" and 0 < peak < 1 << 16:
        raise UserError(
            f"an array of {array.dtype} with a peak of {peak:.0f}, of {half:.0f} at full scale: give 16-bit values as "
            "array.astype('int16')"
        )
    if kind == "f":
        return array.astype(np.float32, copy=False)
    return ((array - half if kind == "u" else array) / half).astype(np.float32)


def check_rate(name: str, rate_hz: Any) -> None:
    """Raise UserError when it is no sampling rate."""
    number = isinstance(rate_hz, int | float | np.number) and not isinstance(rate_hz, bool)
    if not number or not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ or rate_hz % 1:
        raise UserError(f"{name} {rate_hz!r}: give a rate in Hz, a whole number from {MIN_RATE_HZ} to {MAX_RATE_HZ}")


def warn_if_silent(samples: np.ndarray, name: str) -> None:
    if is_silent(samples):
        peak = float(np.abs(samples).max(initial=0.0))
        warnings.warn(f"{name} is practically silent: its peak is {peak:.2g} of 1", stacklevel=4)


def is_silent(samples: np.ndarray) -> bool:
    """Whether a clip is practically silent."""
    return float(np.abs(samples).max(initial=0.0)) < SILENT_PEAK


def _columns(array: np.ndarray) -> np.ndarray:
    """`[N, C]` from `[N]`, `[N, C]` or `[C, N]`."""
    if array.ndim == 1:
        return array[:, None]
    shorter = [axis for axis, length in enumerate(array.shape) if length <= MAX_CHANNELS]
    if array.ndim != 2 or len(shorter) != 1:
        raise UserError(
            f"an array of shape {array.shape}: which axis is time? Give [N], or [N, C] or [C, N] with at most "
            f"{MAX_CHANNELS} channels and more than {MAX_CHANNELS} samples"
        )
    return array if shorter == [1] else array.T


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
    """A 16-bit mono WAV file of `[N]`. Rounds to nearest (soundfile's own conversion floors), clips at full scale."""
    return _wav(_pcm16(samples), rate_hz, kind=1, channels=1)


def _pcm16(samples: np.ndarray) -> np.ndarray:
    pcm: np.ndarray = np.clip(np.rint(samples * PCM16_SCALE), -PCM16_SCALE, PCM16_SCALE - 1).astype("<i2")
    return pcm


def float_wav_bytes(samples: np.ndarray, rate_hz: int) -> bytes:
    """A 32-bit float WAV file of `[N, C]`, without loss; equal samples give equal bytes, as libsndfile's do not."""
    return _wav(np.ascontiguousarray(samples, dtype="<f4"), rate_hz, kind=3, channels=samples.shape[1])


def _wav(samples: np.ndarray, rate_hz: int, *, kind: int, channels: int) -> bytes:
    data, block = samples.tobytes(), channels * samples.itemsize
    header = struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF", 36 + len(data), b"WAVE",
        b"fmt ", 16, kind, channels, rate_hz, block * rate_hz, block, 8 * samples.itemsize,
        b"data", len(data),
    )  # fmt: skip
    return header + data


def write_wav_parts(path: Path, parts: Iterable[np.ndarray], rate_hz: int, *, seconds: float) -> None:
    """A 16-bit WAV file of `[n, C]` part by part, whole or not at all; rounded and clipped as by `wav_bytes`.

    Args:
        seconds: its length; RF64 takes the place of WAV where that has more than 4 GB.
    """
    with files.replacing(path) as temporary, ExitStack() as opened:
        sound: soundfile.SoundFile | None = None
        for part in parts:
            if sound is None:
                large = 2 * part.shape[1] * seconds * rate_hz > _WAV_BYTES
                form = {"format": "RF64" if large else "WAV", "subtype": "PCM_16"}
                sound = opened.enter_context(soundfile.SoundFile(temporary, "w", rate_hz, part.shape[1], **form))
            sound.write(_pcm16(part))


def write_wav(path: Path, samples: np.ndarray, rate_hz: int) -> None:
    files.write_bytes(path, wav_bytes(samples, rate_hz))
