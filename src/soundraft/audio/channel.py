"""What happens to a recording on its way: another speed, a low-pass, clipping, a lossy codec. Mono `[N]` in and out."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import soundfile
import soxr

from soundraft.audio import noise

LOWPASS_ORDER = 8
OPUS_RATES_HZ = (8000, 12000, 16000, 24000, 48000)
# format and subtype of libsndfile, and its compression levels, 0 (best) to 1: opus so has 10 to 40 kbps
CODECS: Mapping[str, tuple[str, str, tuple[float, float] | None]] = {
    "opus": ("OGG", "OPUS", (0.88, 0.99)),
    "vorbis": ("OGG", "VORBIS", (0.0, 0.99)),
    "mp3": ("MP3", "MPEG_LAYER_III", (0.0, 0.99)),
    "mulaw": ("WAV", "ULAW", None),
}
_PEAK = 0.9  # what the codec is given, so that its overshoot does not clip


def at_speed(samples: np.ndarray, speed: float) -> np.ndarray:
    """`[N]` → about `[N / speed]`: pitch and tempo change."""
    found: np.ndarray = soxr.resample(samples, speed, 1.0)
    return found


def lowpassed(samples: np.ndarray, rate_hz: int, cutoff_hz: float) -> np.ndarray:
    """Butterworth's amplitudes, 48 dB an octave, without delay."""
    return noise.filtered(
        samples, rate_hz, lambda hz: 1 / np.sqrt(1 + (hz / np.float32(cutoff_hz)) ** (2 * LOWPASS_ORDER))
    )


def clipped(samples: np.ndarray, below_peak_db: float) -> np.ndarray:
    limit = float(np.abs(samples).max(initial=0.0)) * 10 ** (-below_peak_db / 20)
    return np.clip(samples, -limit, limit)


def coded(samples: np.ndarray, rate_hz: int, codec: str, quality: float) -> np.ndarray:
    """Encoded and decoded again; level, length and place stay.

    Args:
        quality: 0, the worst, to 1.
    """
    peak = float(np.abs(samples).max(initial=0.0))
    if peak == 0:
        return samples
    container, subtype, levels = CODECS[codec]
    own_hz = next(hz for hz in OPUS_RATES_HZ if hz >= min(rate_hz, OPUS_RATES_HZ[-1])) if codec == "opus" else rate_hz
    options: dict[str, Any] = {}
    if levels is not None:
        options["compression_level"] = levels[1] - quality * (levels[1] - levels[0])
    given = samples * np.float32(_PEAK / peak)
    stream = io.BytesIO()
    soundfile.write(stream, soxr.resample(given, rate_hz, own_hz), own_hz, subtype=subtype, format=container, **options)
    stream.seek(0)
    decoded, _ = soundfile.read(stream, dtype="float32")
    back = soxr.resample(decoded, own_hz, rate_hz)[: len(samples)] * np.float32(peak / _PEAK)
    return np.pad(back, (0, len(samples) - len(back)))
