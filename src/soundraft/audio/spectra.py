"""Features of a clip for a classifier: samples, spectra, filterbanks, group delay, cepstra.

Letters in shapes: N samples, C channels, T frames (t of them at a time), F features, W samples of a window, S of a
shift.

All but `raw` cut the clip into T = ceil((N − W)/S + 1) frames, the last one filled with zeros, and transform each
frame times a window to X:

    raw          the samples
    stft         |X|
    stft_phase   angle(X), then |X|
    group_delay  Re(X · conj(Y)) / (|X|² + 1e-10), Y of the frame times window · (0 … W − 1)
    fbank        ln(|X|² · triangles + 1e-10); each frame less the mean of its samples
    mel          10 · log10(max(|X|² · triangles, 1e-10)), and nothing 80 dB below the clip's loudest value
    mfcc         the orthonormal cosine transform (DCT-II) of mel along the bands

For all of these but the last two the clip is pre-emphasised as a whole, y[n] = x[n] − 0.97 x[n − 1], and windows are
symmetric. `mel` and `mfcc` are those of librosa (`power_to_db(melspectrogram(…, htk=True, norm=None))`, not Slaney's
scale or areas): no pre-emphasis, periodic windows, frames not centred.

The triangles have height 1 and corners that are evenly spaced on the mel scale, 2595 · log10(1 + f / 700). Those of
fbank are `snapped`: corners are rounded down to bins of the transform, as speech features have long been made.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from soundraft.audio import io
from soundraft.params.classification import SpectraParams
from soundraft.runtime import UserError

FORMAT = 2  # of the numbers: another one when the same settings give other features
FLOOR = 1e-10
PRE_EMPHASIS = 0.97
RANGE_DB = 80.0
MAX_BANDS = 4096
LEAST_WINDOW = 3  # samples; shorter windows are all zeros for most window types
LIBROSA_TYPES = ("mel", "mfcc")
BLOCK_BYTES = 1 << 18  # of frames at a time: they stay in the processor's cache, and a long clip needs little memory
BANDS_AT_ONCE = 16
WINDOWS: dict[str, Callable[[int], np.ndarray]] = {
    "hamming": np.hamming,
    "hann": np.hanning,
    "blackman": np.blackman,
    "bartlett": np.bartlett,
}


class Spectra:
    """Makes features of one type; what it makes of a clip depends on that clip and `params` alone.

    Raises:
        UserError: when settings contradict each other, or some filters would be empty.
    """

    def __init__(self, params: SpectraParams) -> None:
        self.params = params
        if params.type != "raw":
            self._check_frames()
        if params.type in ("fbank", *LIBROSA_TYPES):
            self._check_bands()

    def _check_frames(self) -> None:
        rate_hz, window_s = self.params.sample_rate_hz, self.params.window_length_in_s
        shift_s = self.params.window_shift_in_s
        if not LEAST_WINDOW / rate_hz <= window_s < float("inf"):
            least_s = f"{LEAST_WINDOW / rate_hz:.2g} or more, {LEAST_WINDOW} samples at {rate_hz} Hz"
            raise UserError(f"window_length_in_s {window_s}: give seconds, {least_s}")
        if not 1 / rate_hz <= shift_s <= window_s:
            limits = f"from one sample (1/{rate_hz}) to window_length_in_s ({window_s}), or samples would be skipped"
            raise UserError(f"window_shift_in_s {shift_s}: give seconds {limits}")
        if self.fft_points < self.window:
            raise UserError(
                f"num_fft_points {self.fft_points}: the window has {self.window} samples "
                f"({window_s} s at {rate_hz} Hz); give {self.window} or more, or 0 for the window's length"
            )

    def _check_bands(self) -> None:
        bands = self.params.num_filter_bands
        if bands > MAX_BANDS:
            raise UserError(f"num_filter_bands {bands}: give 1 to {MAX_BANDS}")
        if self.params.type == "mfcc" and self.params.num_coefficients > bands:
            raise UserError(f"num_coefficients {self.params.num_coefficients}: give 1 to {bands}, the num_filter_bands")
        scale: dict[str, Any] = {"rate_hz": self.params.sample_rate_hz, "snapped": self.params.type == "fbank"}
        empty = empty_bands(bands, fft_points=self.fft_points, **scale)
        if empty:
            points = fewest_fft_points(bands, at_least=self.fft_points, **scale)
            fewer = most_bands(bands, fft_points=self.fft_points, **scale)
            raise UserError(
                f"num_filter_bands {bands}: with {self.fft_points} points of the transform at {scale['rate_hz']} Hz "
                f"{empty} of the filters are empty; set num_fft_points to {points}, or num_filter_bands to {fewer}"
            )

    @property
    def window(self) -> int:
        """W."""
        return whole_samples(self.params.window_length_in_s, self.params.sample_rate_hz)

    @property
    def shift(self) -> int:
        """S."""
        return whole_samples(self.params.window_shift_in_s, self.params.sample_rate_hz)

    @property
    def fft_points(self) -> int:
        return self.params.num_fft_points or self.window

    def columns(self, channels: int = 1) -> int:
        """How many numbers a frame has, F; 1 a channel for raw."""
        bins = self.fft_points // 2 + 1 if self.params.type != "raw" else 1
        per_channel = {"stft_phase": 2 * bins, "mfcc": self.params.num_coefficients}
        per_channel |= dict.fromkeys(("fbank", "mel"), self.params.num_filter_bands)
        return channels * per_channel.get(self.params.type, bins)

    def frames(self, samples: int) -> int:
        """T of a clip of so many samples; the samples themselves for raw."""
        return samples if self.params.type == "raw" else -(-(samples - self.window) // self.shift) + 1

    def depends(self) -> dict[str, Any]:
        """What beside the samples decides the features, as values of JSON: the key to features kept on disk."""
        return {"spectra": FORMAT, "numpy": np.__version__, **self.params.model_dump()}

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """`[N]` or `[N, C]` → float32 `[T, F]`, with C channels side by side `[T, C · F]`; raw: `[N]`, `[N, C]`.

        Raises:
            UserError: when the clip is shorter than one window, or has NaN or infinite samples.
        """
        clip, raw = self._checked(samples), self.params.type == "raw"
        parts = [clip] if raw else [self._of_channel(signal) for signal in clip.T]
        features = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
        if self.params.norm == "per_file":
            wide = features.astype(np.float64, copy=False)
            features = (wide - wide.mean(axis=0)) / (wide.std(axis=0) + FLOOR)
        out = features.astype(np.float32)
        return out[:, 0] if raw and out.shape[1] == 1 else out

    def _checked(self, samples: np.ndarray) -> np.ndarray:
        """`[N, C]`."""
        clip = np.asarray(samples)
        if clip.ndim not in (1, 2) or clip.shape[1:] == (0,):
            raise UserError(f"samples of shape {clip.shape}: give [N], or [N, C] for C channels")
        if len(clip) == 0:
            raise UserError("a clip without samples: leave it out")
        if self.params.type != "raw" and len(clip) < self.window:
            rate_hz = self.params.sample_rate_hz
            raise UserError(
                f"a clip of {len(clip)} samples ({len(clip) / rate_hz:.4g} s) is shorter than one window "
                f"of {self.window} (window_length_in_s {self.params.window_length_in_s} at {rate_hz} Hz): "
                "give a window that fits into it, or leave the clip out"
            )
        clip = clip.reshape(len(clip), -1)
        bad = np.flatnonzero(~np.isfinite(clip).all(axis=1))
        if len(bad):
            raise UserError(f"the clip has {len(bad)} NaN or infinite samples, the first at {bad[0]}: leave it out")
        return clip

    def _of_channel(self, signal: np.ndarray) -> np.ndarray:
        """`[N]` → float64 `[T, F]`."""
        count = self.frames(len(signal))
        step = max(1, BLOCK_BYTES // (8 * self.fft_points))
        blocks = [self._of_frames(self._framed(signal, at, min(at + step, count))) for at in range(0, count, step)]
        features = np.concatenate(blocks)
        if self.params.type in LIBROSA_TYPES:
            features = np.maximum(features, features.max() - RANGE_DB)
        if self.params.type == "mfcc":
            features = features @ _cosines(self.params.num_filter_bands, self.params.num_coefficients)
        return features

    def _framed(self, signal: np.ndarray, first: int, last: int) -> np.ndarray:
        """`[N]` → frames `first` to `last - 1`, `[t, W]`, pre-emphasised for some types; the end is filled."""
        start, final = self.shift * first, self.shift * (last - 1)
        end = final + self.window
        part = signal[start:end].astype(np.float64)
        out = np.zeros(end - start)
        out[: len(part)] = part
        if self.params.type not in LIBROSA_TYPES:
            out[1 : len(part)] -= PRE_EMPHASIS * part[:-1]
            out[0] -= PRE_EMPHASIS * float(signal[start - 1]) if start else 0.0
        if self.params.type == "fbank" and len(part) < len(out):
            # each frame loses the mean of its samples: of such a filling zeros are left
            out[len(part) :] = out[final - start : len(part)].mean()
        return np.lib.stride_tricks.sliding_window_view(out, self.window)[:: self.shift]

    def _of_frames(self, frames: np.ndarray) -> np.ndarray:
        """`[t, W]` → float64 `[t, F]`; of mfcc the mel spectrum."""
        kind = self.params.type
        if kind in LIBROSA_TYPES:
            return 10.0 * np.log10(np.maximum(self.band_power(frames), FLOOR))
        if kind == "fbank":
            return np.log(self.band_power(frames - frames.mean(axis=1, keepdims=True)) + FLOOR)
        spectrum = self.transform(frames)
        if kind == "group_delay":  # −dφ/dω in samples (Oppenheim and Schafer, Discrete-Time Signal Processing)
            ramped = self.transform(frames, ramp=True)
            return (spectrum.real * ramped.real + spectrum.imag * ramped.imag) / (_power(spectrum) + FLOOR)
        magnitude = np.abs(spectrum)
        return np.concatenate([np.angle(spectrum), magnitude], axis=1) if kind == "stft_phase" else magnitude

    def transform(self, frames: np.ndarray, *, ramp: bool = False) -> np.ndarray:
        """`[t, W]` → complex `[t, bins]`; with `ramp` each sample also weighs its place in the frame."""
        periodic = self.params.type in LIBROSA_TYPES
        return np.fft.rfft(frames * _window(self.params.window_type, self.window, periodic, ramp), n=self.fft_points)

    def band_power(self, frames: np.ndarray) -> np.ndarray:
        """`[t, W]` → `[t, bands]`."""
        power, snapped = _power(self.transform(frames)), self.params.type == "fbank"
        bands = _parts(self.params.num_filter_bands, self.fft_points, self.params.sample_rate_hz, snapped)
        return np.concatenate([power[:, bins] @ weights for bins, weights in bands], axis=1)


@cache
def _window(name: str, length: int, periodic: bool, ramp: bool) -> np.ndarray:
    weights = WINDOWS[name](length + 1)[:-1] if periodic else WINDOWS[name](length)
    return weights * np.arange(length) if ramp else weights


def _power(spectrum: np.ndarray) -> np.ndarray:
    power = spectrum.real**2
    power += spectrum.imag**2
    return power


@cache
def _cosines(bands: int, coefficients: int) -> np.ndarray:
    """`[bands, coefficients]`: the orthonormal DCT-II."""
    angles = np.pi / bands * (np.arange(bands)[:, None] + 0.5) * np.arange(coefficients)
    matrix = np.sqrt(2.0 / bands) * np.cos(angles)
    matrix[:, 0] = np.sqrt(1.0 / bands)
    return matrix


@cache
def _parts(bands: int, fft_points: int, rate_hz: int, snapped: bool) -> list[tuple[slice, np.ndarray]]:
    """The triangles some at a time, each time with the bins that they reach: of 80 × 321 weights 98 % are 0."""
    weights = triangles(bands, fft_points=fft_points, rate_hz=rate_hz, snapped=snapped)
    parts = []
    for first in range(0, bands, BANDS_AT_ONCE):
        some = weights[first : first + BANDS_AT_ONCE]
        reached = np.flatnonzero(some.any(axis=0))
        bins = slice(reached[0], reached[-1] + 1)
        parts.append((bins, np.ascontiguousarray(some[:, bins].T)))
    return parts


def triangles(bands: int, *, fft_points: int, rate_hz: int, snapped: bool) -> np.ndarray:
    """`[bands, fft_points // 2 + 1]`: the weight of each bin in each band."""
    if not snapped:
        from librosa.filters import mel  # takes more than a second

        return mel(sr=rate_hz, n_fft=fft_points, n_mels=bands, htk=True, norm=None, dtype=np.float64)
    corners = _corners(bands, fft_points=fft_points, rate_hz=rate_hz, snapped=True)[:, None]
    start, middle, end = corners[:-2], corners[1:-1], corners[2:]
    bins = np.arange(fft_points // 2 + 1)
    # corners may fall together: such a side has no bin, and its width does not matter
    rising, falling = (bins - start) / np.maximum(middle - start, 1), (end - bins) / np.maximum(end - middle, 1)
    return np.select([(bins >= start) & (bins < middle), (bins >= middle) & (bins < end)], [rising, falling])


def empty_bands(bands: int, *, fft_points: int, rate_hz: int, snapped: bool) -> int:
    """How many of the bands have no bin with a weight: their feature would be the same for every clip."""
    corners = _corners(bands, fft_points=fft_points, rate_hz=rate_hz, snapped=snapped)
    start, middle, end = corners[:-2], corners[1:-1], corners[2:]
    if snapped:  # bin `middle` weighs 1 unless the falling side is empty; bin `start` weighs 0 on a rising side
        return int(np.count_nonzero((middle == end) & (middle - start <= 1)))
    return int(np.count_nonzero(np.floor(start) + 1 >= end))


def fewest_fft_points(bands: int, *, at_least: int, rate_hz: int, snapped: bool) -> int:
    """The smallest transform, from `at_least` on, that leaves none of the bands empty."""
    second_hz = _hz(_mel(rate_hz / 2) / (bands + 1) * 2)  # the lowest band ends there: a bin must lie below it
    points = max(at_least, int(rate_hz / second_hz) - 1)
    while empty_bands(bands, fft_points=points, rate_hz=rate_hz, snapped=snapped):
        points += 1
    return points


def most_bands(below: int, *, fft_points: int, rate_hz: int, snapped: bool) -> int:
    """The largest number of bands under `below` of which none is empty."""
    numbers = range(below - 1, 1, -1)
    full = (n for n in numbers if not empty_bands(n, fft_points=fft_points, rate_hz=rate_hz, snapped=snapped))
    return next(full, 1)


def _corners(bands: int, *, fft_points: int, rate_hz: int, snapped: bool) -> np.ndarray:
    """`[bands + 2]`, in bins: band i rises from corner i to i + 1 and falls to i + 2."""
    corners_hz = _hz(np.linspace(0, _mel(rate_hz / 2), bands + 2))
    if snapped:
        return np.floor((fft_points + 1) / rate_hz * corners_hz)
    return fft_points / rate_hz * corners_hz


def _mel(hz: float) -> float:
    return 2595.0 * float(np.log10(1 + hz / 700.0))


def _hz(mel: np.ndarray | float) -> np.ndarray:
    return 700.0 * (10.0 ** (np.asarray(mel) / 2595.0) - 1)


def select_channel(samples: np.ndarray, channel: str) -> np.ndarray:
    """One channel of a clip, their mean, or all.

    Args:
        samples: `[N]` or `[N, C]`.
        channel: average (their mean), all (as they are), or the number of one, from 0.

    Returns:
        `[N]`; with all `[N, C]`, of which `Spectra` sets the channels' features side by side.

    Raises:
        UserError: when the clip lacks that channel, or there is no such choice.
    """
    columns = samples.reshape(len(samples), -1)
    count = columns.shape[1]
    if channel == "all":
        return columns
    if channel == "average":
        return io.to_mono(columns)
    if not (channel.isascii() and channel.isdecimal()):
        raise UserError(f"channel {channel!r}: give average, all, or a number from 0")
    if int(channel) >= count:
        there = "0" if count == 1 else f"0 to {count - 1}"
        raise UserError(f"channel {channel}: this clip has {count}; give {there}, average or all")
    return columns[:, int(channel)]


def cut(samples: np.ndarray, limit_s: float, *, sample_rate_hz: int) -> np.ndarray:
    """The first `limit_s` seconds (`audio_file_length_limit_in_s`) of `[N]` or `[N, C]`; all when it is 0.

    Raises:
        UserError: when the limit is negative, not a number, or less than one sample.
    """
    if limit_s == 0:
        return samples
    if not limit_s * sample_rate_hz >= 1:
        raise UserError(f"audio_file_length_limit_in_s {limit_s}: give seconds above 0, or 0 for no limit")
    return samples if limit_s == float("inf") else samples[: whole_samples(limit_s, sample_rate_hz)]


def whole_samples(seconds: float, rate_hz: int) -> int:
    """How many whole samples fit: 0.025 s at 11,025 Hz are 275.6, so 275; 0.29 s at 100 Hz are 29, not 28.999…"""
    return int(seconds * rate_hz + 1e-6)
