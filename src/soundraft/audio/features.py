"""A clip for a model: its waveform, a mel spectrogram or cepstral coefficients; and perturbed copies of it.

The numbers of the mel spectrogram are those of torchaudio's `MelSpectrogram` with its defaults: Hann window, frames
centred on multiples of the hop, power, HTK mel scale from 0 Hz to half the rate, triangles of height 1, no logarithm.
The cepstral coefficients are torchaudio's `MFCC` of that: decibels (80 of range below the loudest), orthonormal cosine
transform.
"""

import warnings
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import soxr
import torch

from soundraft import runtime
from soundraft.audio import io
from soundraft.params.sections import Perturbation
from soundraft.runtime import BadClip, UserError

FFT_SAMPLES = 400
HOP_SAMPLES = 160
MEL_BINS = 80
COEFFICIENTS = 40
RESAMPLING_STEPS = 1000  # a speed is a ratio of whole numbers for the resampler


@dataclass(frozen=True)
class ProcessedAudio:
    """
    Attributes:
        waveform: float32, `[N]` when mono was asked for, else `[C, N]`.
        duration: of the waveform, in seconds.
        features: `[C, 80, T]` for mel, `[C, 40, T]` for mfcc, with C = 1 for mono and T = 1 + N // 160; for raw the
            waveform itself.
        full_duration: seconds that the clip had before `max_duration` cut it.
    """

    waveform: torch.Tensor
    duration: float
    sample_rate: int
    features: torch.Tensor
    full_duration: float


@dataclass(frozen=True)
class AudioProcessor:
    """Brings any audio to one form. A file and an array with the same audio give the same numbers.

    In this order: channels become their mean, the rate changes (soxr, high quality), what is beyond `max_duration` is
    cut off, with a warning, and the rest is scaled to a peak of 1 (silence stays as it is, with a warning).

    Attributes:
        sample_rate: of the result, Hz.
        normalize: scale to a peak of 1.
        mono: mix the channels down.
        max_duration: seconds; `None` keeps all.
    """

    sample_rate: int = 16000
    _: KW_ONLY
    normalize: bool = True
    mono: bool = True
    max_duration: float | None = 30.0
    feature_type: Literal["raw", "mel", "mfcc"] = "raw"

    def __post_init__(self) -> None:
        io.check_rate("sample_rate", self.sample_rate)
        for name, value in (("normalize", self.normalize), ("mono", self.mono)):
            if not isinstance(value, bool | np.bool_):
                raise UserError(f"{name} {value!r}: give True or False")
        if self.feature_type not in ("raw", "mel", "mfcc"):
            raise UserError(f"feature_type {self.feature_type!r}: give raw, mel, mfcc")
        limit = self.max_duration
        if limit is not None and (isinstance(limit, bool | str) or not limit * self.sample_rate >= 1):
            raise UserError(f"max_duration {limit!r}: give seconds above 0, or None for no limit")

    def load(self, path: Path | str) -> ProcessedAudio:
        """Raises BadClip when the file is not there, not audio, or too short for the features."""
        return self._process(*io.read(Path(path)), name=str(path))

    def load_array(self, array: np.ndarray | torch.Tensor, original_sr: int) -> ProcessedAudio:
        """
        Args:
            array: see `io.from_array`.
            original_sr: the rate of `array`, Hz.

        Raises:
            UserError: as `io.from_array`.
            BadClip: when it is too short for the features.
        """
        io.check_rate("original_sr", original_sr)
        return self._process(io.from_array(array), original_sr, name="the array")

    def _process(self, samples: np.ndarray, source_hz: int, *, name: str) -> ProcessedAudio:
        """`samples` [N, C]."""
        if self.mono:
            samples = io.to_mono(samples)[:, None]
        samples = io.resample(np.ascontiguousarray(samples), source_hz, self.sample_rate)
        full_s = len(samples) / self.sample_rate
        if self.max_duration is not None and full_s > self.max_duration:
            warnings.warn(f"{name}: {full_s:.2f} s are cut to max_duration {self.max_duration:g} s", stacklevel=3)
            samples = samples[: round(self.max_duration * self.sample_rate)]
        io.warn_if_silent(samples, name)
        peak = float(np.abs(samples).max(initial=0.0))
        if self.normalize and peak > 0:
            samples = samples / np.float32(peak)
        channels = torch.from_numpy(np.ascontiguousarray(samples.T))
        waveform = channels[0] if self.mono else channels
        features = waveform if self.feature_type == "raw" else self._spectrum(channels)
        return ProcessedAudio(waveform, channels.shape[1] / self.sample_rate, self.sample_rate, features, full_s)

    def _spectrum(self, channels: torch.Tensor) -> torch.Tensor:
        if channels.shape[1] <= FFT_SAMPLES // 2:  # the edges are reflected
            few = f"{channels.shape[1]} samples at {self.sample_rate} Hz"
            raise BadClip(f"{few} are too few for a spectrum of {FFT_SAMPLES}")
        return self._transform(channels)

    @cached_property
    def _transform(self) -> Any:
        from torchaudio import transforms

        spectrogram = {"n_fft": FFT_SAMPLES, "hop_length": HOP_SAMPLES, "n_mels": MEL_BINS}
        if self.feature_type == "mel":
            return transforms.MelSpectrogram(self.sample_rate, **spectrogram)
        return transforms.MFCC(self.sample_rate, n_mfcc=COEFFICIENTS, melkwargs=spectrogram)


@dataclass(frozen=True)
class AudioPerturbation:
    """A change of the samples `[N]` of a clip, and its name."""

    name: str
    apply: Callable[[np.ndarray], np.ndarray]


def perturbations(options: Perturbation) -> list[AudioPerturbation]:
    """One for each speed, and one that adds noise."""
    speeds = [AudioPerturbation(f"speed {speed:g}", partial(change_speed, speed=speed)) for speed in options.speeds]
    noise = partial(add_noise, snr_db=options.noise_snr_db)
    return [*speeds, AudioPerturbation(f"noise {options.noise_snr_db:g} dB", noise)]


def change_speed(samples: np.ndarray, *, speed: float) -> np.ndarray:
    """`[N]` → `[N / speed]`: faster and higher above 1, as a record played at another rate."""
    return soxr.resample(samples, round(speed * RESAMPLING_STEPS), RESAMPLING_STEPS).astype(samples.dtype)


def add_noise(samples: np.ndarray, *, snr_db: float) -> np.ndarray:
    """White noise at a signal-to-noise ratio over the whole clip; the same clip always gets the same noise."""
    noise = np.random.default_rng(runtime.derive_seed("noise", len(samples))).standard_normal(len(samples))
    level = np.sqrt(np.mean(np.square(samples, dtype=np.float64))) * 10 ** (-snr_db / 20)
    return (samples + level * noise).astype(samples.dtype)
