"""The audio processor: one result from a file and from an array, features that a second implementation confirms,
and perturbed copies."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.fft
import soundfile
import torch

from soundraft.audio.features import AudioProcessor, ProcessedAudio, perturbations
from soundraft.params.sections import Perturbation
from soundraft.runtime import BadClip, UserError
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
@pytest.mark.parametrize(("mono", "channels", "rate_hz"), [(True, 1, 16000), (True, 2, 8000), (False, 2, 44100)])
def test_a_file_and_an_array_give_the_same_numbers(
    tmp_path: Path, feature_type: Any, rate_hz: int, mono: bool, channels: int
) -> None:
    samples = noise(1.3, rate_hz, channels)
    soundfile.write(tmp_path / "x.wav", samples, rate_hz)
    soundfile.write(tmp_path / "x.flac", samples, rate_hz)
    processor = AudioProcessor(mono=mono, max_duration=0.9, feature_type=feature_type)
    with pytest.warns(UserWarning, match=r"x.wav: 1.30 s are cut to max_duration 0.9 s"):
        loaded = processor.load(tmp_path / "x.wav")
    assert (loaded.duration, loaded.full_duration) == (0.9, pytest.approx(1.3))
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
    assert (done.waveform.dtype, done.waveform.shape) == (torch.float32, (16000,))
    assert float(done.waveform.abs().max()) == 1.0
    plain = AudioProcessor(max_duration=None, normalize=False).load_array(samples, 8000)
    assert plain.duration == plain.full_duration == 2.0
    cut = plain.waveform[:16000]
    torch.testing.assert_close(done.waveform, cut / cut.abs().max())
    assert plain.features is plain.waveform


def test_channels_become_their_mean_and_silence_stays_and_is_said() -> None:
    left, right = tone(0.1, 16000), tone(0.1, 16000, frequency_hz=1000)
    mixed = AudioProcessor(normalize=False).load_array(np.stack([left, right]), 16000)
    np.testing.assert_allclose(mixed.waveform, (left + right) / 2, atol=1e-7)
    with pytest.warns(UserWarning, match="silent"):
        assert not AudioProcessor().load_array(np.zeros(1600), 16000).waveform.any()
    with pytest.warns(UserWarning, match="silent"):
        AudioProcessor().load_array(np.stack([left, -left]), 16000)


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
def test_mel_against_numpy(rate_hz: int) -> None:
    done = AudioProcessor(rate_hz, feature_type="mel").load_array(noise(1.0, rate_hz), rate_hz)
    assert done.features.shape == (1, 80, 1 + rate_hz // 160)
    waveform = done.waveform.numpy()
    expected = own_power_mel(waveform, rate_hz)
    np.testing.assert_allclose(done.features[0], expected, rtol=1e-3, atol=1e-5 * expected.max())


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
    "options",
    [
        {"feature_type": "fbank"}, {"normalize": "mel"}, {"mono": 1}, {"max_duration": "30"},
        *({"sample_rate": rate} for rate in (0, 1, "mel", 16000.5, True, None)),
        *({"max_duration": seconds} for seconds in (0, -1, float("nan"), True)),
    ],
)  # fmt: skip
def test_options_that_cannot_be(options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(options))):
        AudioProcessor(**options)


def test_clips_that_cannot_be(tmp_path: Path) -> None:
    for feature_type in ("mel", "mfcc"):
        short = AudioProcessor(feature_type=feature_type)  # type: ignore[arg-type]
        assert short.load_array(np.ones(201), 16000).features.shape[-1] == 2
        with pytest.raises(BadClip, match="200 samples"):
            short.load_array(np.ones(200), 16000)
    for rate_hz in (0, 1, "16000"):
        with pytest.raises(UserError, match="original_sr"):
            AudioProcessor().load_array(np.ones(9), rate_hz)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="int64"):
        AudioProcessor().load_array(np.arange(900), 16000)
    with pytest.raises(TypeError):
        AudioProcessor(16000, "mel")  # type: ignore[misc]
    with pytest.raises(BadClip, match="no such file"):
        AudioProcessor().load(tmp_path / "x.wav")


def test_perturbations_change_what_they_say() -> None:
    clean = tone(1.0)
    slow, fast, noisy = perturbations(Perturbation(speeds=[0.9, 1.1], noise_snr_db=10.0))
    assert [slow.name, fast.name, noisy.name] == ["speed 0.9", "speed 1.1", "noise 10 dB"]
    for speed, perturbation in ((0.9, slow), (1.1, fast)):
        changed = perturbation.apply(clean)
        assert (len(changed), changed.dtype) == (pytest.approx(8000 / speed, abs=2), np.float32)
        peak_hz = np.abs(np.fft.rfft(changed)).argmax() * 8000 / len(changed)
        assert peak_hz == pytest.approx(440 * speed, rel=0.01)
    added = noisy.apply(clean) - clean
    assert 10 * np.log10(np.mean(clean**2) / np.mean(added**2)) == pytest.approx(10, abs=0.2)
    assert np.array_equal(noisy.apply(clean), noisy.apply(clean))
