"""The audio processor: one result from a file and from an array, features that a second implementation confirms,
and perturbed copies."""

from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest
import scipy.fft
import soundfile
import torch

from soundraft.audio.features import AudioProcessor, ProcessedAudio, add_noise, change_speed, perturbations
from soundraft.parallel import BadClip
from soundraft.params.sections import Perturbation
from soundraft.runtime import UserError
from tests.conftest import tone


def noise(seconds: float, rate_hz: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    """[N, C], 16 bit, a rising level: so that what is cut off matters."""
    count = round(seconds * rate_hz)
    drawn = np.random.default_rng(seed).normal(size=(count, channels)) * np.linspace(0.02, 0.2, count)[:, None]
    return np.rint(np.clip(drawn, -1, 0.999) * 32768).astype(np.int16)


def same(one: ProcessedAudio, other: ProcessedAudio) -> None:
    assert torch.equal(one.waveform, other.waveform)
    assert torch.equal(one.features, other.features)
    assert (one.duration, one.sample_rate) == (other.duration, other.sample_rate)


@pytest.mark.parametrize("feature_type", ["raw", "mel", "mfcc"])
@pytest.mark.parametrize("rate_hz", [16000, 44100, 8000])
@pytest.mark.parametrize(("mono", "channels"), [(True, 1), (True, 2), (False, 2)])
def test_a_file_and_an_array_give_the_same_numbers(
    tmp_path: Path, feature_type: Any, rate_hz: int, mono: bool, channels: int
) -> None:
    samples = noise(1.3, rate_hz, channels)
    soundfile.write(tmp_path / "x.wav", samples, rate_hz)
    soundfile.write(tmp_path / "x.flac", samples, rate_hz)
    processor = AudioProcessor(mono=mono, max_duration=0.9, feature_type=feature_type)
    loaded = processor.load(tmp_path / "x.wav")
    assert loaded.duration == 0.9
    assert loaded.waveform.shape == ((14400,) if mono else (channels, 14400))
    same(loaded, processor.load(str(tmp_path / "x.flac")))
    as_float = samples.astype(np.float64) / 32768
    with_gradient = torch.from_numpy(as_float).requires_grad_()
    for array in (samples, samples.T, as_float, as_float.astype(np.float32).T, with_gradient):
        same(loaded, processor.load_array(array, rate_hz))
    if channels == 1:
        same(loaded, processor.load_array(samples[:, 0], rate_hz))


def test_the_order_rate_length_peak() -> None:
    samples = noise(2.0, 8000)[:, 0]
    done = AudioProcessor(max_duration=1.0).load_array(samples, 8000)
    assert done.waveform.dtype == torch.float32
    assert done.waveform.shape == (16000,)
    assert float(done.waveform.abs().max()) == 1.0
    plain = AudioProcessor(max_duration=None, normalize=False).load_array(samples, 8000)
    assert plain.duration == 2.0
    assert float(plain.waveform.abs().max()) < 1
    cut = plain.waveform[:16000]
    torch.testing.assert_close(done.waveform, cut / cut.abs().max())
    assert plain.features is plain.waveform


def test_channels_become_their_mean() -> None:
    left, right = tone(0.1, 16000), tone(0.1, 16000, frequency_hz=1000)
    mixed = AudioProcessor(normalize=False).load_array(np.stack([left, right]), 16000)
    np.testing.assert_allclose(mixed.waveform, (left + right) / 2, atol=1e-7)
    silent = AudioProcessor().load_array(np.zeros(1600), 16000)
    assert not silent.waveform.any()


def test_every_integer_width_means_its_full_scale() -> None:
    expected = [-1.0, -0.5, 0.0, 0.5]
    processor = AudioProcessor(normalize=False)
    for array in (
        np.array([-128, -64, 0, 64], np.int8),
        np.array([-(2**15), -(2**14), 0, 2**14], np.int16),
        np.array([-(2**31), -(2**30), 0, 2**30], np.int32),
        np.array([0, 64, 128, 192], np.uint8),
    ):
        assert processor.load_array(array, 16000).waveform.tolist() == expected


def own_power_mel(waveform: np.ndarray, rate_hz: int) -> np.ndarray:
    """[80, T] by numpy alone: reflected edges, periodic Hann window, HTK triangles."""
    padded = np.pad(waveform.astype(np.float64), 200, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, 400)[::160]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    power = np.abs(np.fft.rfft(frames * window)) ** 2
    top = 2595 * np.log10(1 + rate_hz / 2 / 700)
    corners_hz = 700 * (10 ** (np.linspace(0, top, 82) / 2595) - 1)
    bins_hz = np.linspace(0, rate_hz / 2, 201)
    rising = (bins_hz[:, None] - corners_hz[:-2]) / np.diff(corners_hz)[:-1]
    falling = (corners_hz[2:] - bins_hz[:, None]) / np.diff(corners_hz)[1:]
    return (power @ np.maximum(0, np.minimum(rising, falling))).T


@pytest.mark.parametrize("rate_hz", [16000, 8000])
def test_mel_against_numpy_and_librosa(rate_hz: int) -> None:
    done = AudioProcessor(rate_hz, feature_type="mel").load_array(noise(1.0, rate_hz), rate_hz)
    assert done.features.shape == (1, 80, 1 + rate_hz // 160)
    waveform = done.waveform.numpy()
    expected = own_power_mel(waveform, rate_hz)
    np.testing.assert_allclose(done.features[0], expected, rtol=1e-3, atol=1e-5 * expected.max())
    theirs = librosa.feature.melspectrogram(
        y=waveform, sr=rate_hz, n_fft=400, hop_length=160, n_mels=80, htk=True, norm=None, pad_mode="reflect"
    )
    np.testing.assert_allclose(done.features[0], theirs, rtol=1e-3, atol=1e-5 * expected.max())


def test_mfcc_against_numpy() -> None:
    done = AudioProcessor(feature_type="mfcc").load_array(noise(1.0, 16000), 16000)
    assert done.features.shape == (1, 40, 101)
    decibels = 10 * np.log10(np.maximum(own_power_mel(done.waveform.numpy(), 16000), 1e-10))
    decibels = np.maximum(decibels, decibels.max() - 80)
    expected = scipy.fft.dct(decibels, type=2, norm="ortho", axis=0)[:40]
    np.testing.assert_allclose(done.features[0], expected, atol=0.05)


def test_stereo_has_features_of_each_channel() -> None:
    samples = noise(0.5, 16000, channels=2)
    both = AudioProcessor(mono=False, normalize=False, feature_type="mel").load_array(samples, 16000)
    assert both.features.shape == (2, 80, 51)
    right = AudioProcessor(normalize=False, feature_type="mel").load_array(samples[:, 1], 16000)
    torch.testing.assert_close(both.features[1:], right.features)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((2, 3)), np.zeros((100, 100)), np.zeros((1, 2, 100)), np.zeros(0), np.array([0.0, np.nan]),
        np.array(["a"]), np.array([True, False]),
    ],
)  # fmt: skip
def test_arrays_that_are_no_audio(array: np.ndarray) -> None:
    with pytest.raises(UserError, match="array"):
        AudioProcessor().load_array(array, 16000)


@pytest.mark.parametrize(
    "options", [{"feature_type": "fbank"}, {"sample_rate": 0}, *({"max_duration": s} for s in (0, -1, float("nan")))]
)
def test_options_that_cannot_be(options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(options))):
        AudioProcessor(**options)


def test_clips_that_cannot_be(tmp_path: Path) -> None:
    for feature_type in ("mel", "mfcc"):
        short = AudioProcessor(feature_type=feature_type)  # type: ignore[arg-type]
        assert short.load_array(np.ones(201), 16000).features.shape[-1] == 2
        with pytest.raises(BadClip, match="200 samples"):
            short.load_array(np.ones(200), 16000)
    with pytest.raises(UserError, match="original_sr"):
        AudioProcessor().load_array(np.zeros(9), 0)
    with pytest.raises(BadClip, match="no such file"):
        AudioProcessor().load(tmp_path / "x.wav")


@pytest.mark.parametrize("speed", [0.9, 1.1])
def test_speed_changes_length_and_pitch(speed: float) -> None:
    changed = change_speed(tone(1.0), speed=speed)
    assert (len(changed), changed.dtype) == (pytest.approx(8000 / speed, abs=2), np.float32)
    peak_hz = np.abs(np.fft.rfft(changed)).argmax() * 8000 / len(changed)
    assert peak_hz == pytest.approx(440 * speed, rel=0.01)


def test_noise_has_the_level_asked_for_and_is_repeatable() -> None:
    clean = tone(1.0)
    noisy = add_noise(clean, snr_db=10.0)
    assert 10 * np.log10(np.mean(clean**2) / np.mean((noisy - clean) ** 2)) == pytest.approx(10, abs=0.2)
    assert np.array_equal(noisy, add_noise(clean, snr_db=10.0))


def test_perturbations_are_named_by_what_they_do() -> None:
    slow, fast, noise = perturbations(Perturbation(speeds=[0.9, 1.1], noise_snr_db=20.0))
    assert [slow.name, fast.name, noise.name] == ["speed 0.9", "speed 1.1", "noise 20 dB"]
    assert len(slow.apply(tone(0.5))) > len(noise.apply(tone(0.5))) == 4000 > len(fast.apply(tone(0.5)))
