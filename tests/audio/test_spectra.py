"""Features against a frame-by-frame second implementation, librosa and scipy; and what is refused."""

import json
from dataclasses import replace
from typing import Any

import librosa
import numpy as np
import pytest
import scipy.signal
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from soundraft.audio import spectra as audio_spectra
from soundraft.audio import spectra as mel_filters
from soundraft.audio.spectra import Spectra, cut, select_channel
from soundraft.runtime import UserError

PLAIN = Spectra(
    type="fbank",
    sample_rate_hz=16000,
    window_length_in_s=0.04,
    window_shift_in_s=0.02,
    num_fft_points=0,
    window_type="hamming",
    num_filter_bands=80,
    num_coefficients=20,
    norm="none",
)
FRAMED = ("fbank", "stft", "stft_phase", "group_delay", "mel", "mfcc")


def noise(samples: int, channels: int | None = None, seed: int = 0) -> np.ndarray:
    shape = (samples,) if channels is None else (samples, channels)
    return (0.1 * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


# --- the second implementation: one frame after the other, one filter after the other -------------------------------


def peer_filters(bands: int, points: int, rate_hz: int) -> np.ndarray:
    bins = points // 2 + 1
    top = 2595 * np.log10(1 + rate_hz / 2 / 700)
    corners = [
        int(np.floor((points + 1) / rate_hz * 700 * (10 ** (top * k / (bands + 1) / 2595) - 1)))
        for k in range(bands + 2)
    ]
    matrix = np.zeros((bands, bins))
    for band in range(bands):
        start, middle, end = corners[band : band + 3]
        for at in range(start, middle):
            matrix[band, at] = (at - start) / (middle - start)
        for at in range(middle, end):
            matrix[band, at] = (end - at) / (end - middle)
    return matrix


def frame_by_frame(samples: np.ndarray, spectra: Spectra) -> np.ndarray:
    rate_hz = spectra.sample_rate_hz
    width, step = round(spectra.window_length_in_s * rate_hz), round(spectra.window_shift_in_s * rate_hz)
    points = spectra.num_fft_points or width
    window = scipy.signal.get_window(spectra.window_type, width, fftbins=False)
    signal = scipy.signal.lfilter([1, -0.97], 1, samples.astype(np.float64))
    rows = []
    for index in range(int(np.ceil((len(samples) - width) / step + 1))):
        heard = signal[index * step : index * step + width]
        if spectra.type == "fbank":
            heard = heard - heard.mean()
        frame = np.zeros(width)
        frame[: len(heard)] = heard
        spectrum = np.fft.fft(frame * window, points)[: points // 2 + 1]
        if spectra.type == "stft":
            row = np.abs(spectrum)
        elif spectra.type == "stft_phase":
            row = np.concatenate([np.angle(spectrum), np.abs(spectrum)])
        elif spectra.type == "group_delay":
            ramped = np.fft.fft(frame * window * np.arange(width), points)[: points // 2 + 1]
            row = np.real(spectrum * np.conj(ramped)) / (np.abs(spectrum) ** 2 + 1e-10)
        else:
            filters = peer_filters(spectra.num_filter_bands, points, rate_hz)
            row = np.log(np.abs(spectrum) ** 2 @ filters.T + 1e-10)
        rows.append(row)
    out = np.array(rows)
    if spectra.norm == "per_file":
        for column in range(out.shape[1]):
            values = out[:, column].copy()
            out[:, column] = (values - values.mean()) / (values.std() + 1e-10)
    return out


@pytest.mark.parametrize("norm", ["none", "per_file"])
@pytest.mark.parametrize("kind", ["fbank", "stft", "stft_phase", "group_delay"])
@pytest.mark.parametrize(
    "choice",
    [
        {},
        {"window_type": "hann", "window_length_in_s": 0.025, "window_shift_in_s": 0.01, "num_filter_bands": 40},
        {"window_type": "blackman", "num_fft_points": 1024},
        {"window_type": "bartlett", "num_fft_points": 701, "num_filter_bands": 23, "window_shift_in_s": 0.04},
        {"sample_rate_hz": 8000, "window_length_in_s": 0.032, "window_shift_in_s": 0.0125, "num_filter_bands": 26},
    ],
)
def test_each_type_against_the_loop(kind: str, norm: str, choice: dict[str, Any]) -> None:
    spectra = replace(PLAIN, type=kind, norm=norm, **choice)
    for samples in (
        spectra.window,
        spectra.window + 1,
        spectra.window + 7 * spectra.shift,
        spectra.window + 7 * spectra.shift - 3,
    ):
        clip = noise(samples, seed=samples)
        got, expected = spectra(clip), frame_by_frame(clip, spectra)
        assert got.dtype == np.float32
        assert got.shape == expected.shape == (spectra.frames(samples), spectra.columns())
        if kind == "stft_phase":  # the first and the last angle are 0, −π or π, the last two by how zero is rounded
            bins = expected.shape[1] // 2
            keep = [*range(1, bins - 1), *range(bins, 2 * bins)]
            got, expected = got[:, keep], expected[:, keep]
        np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("block_bytes", [1, 3 * 640 * 8, 1 << 18])
@pytest.mark.parametrize("kind", ["fbank", "stft", "group_delay"])
def test_blocks_of_frames_do_not_show(kind: str, block_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio_spectra, "BLOCK_BYTES", block_bytes)
    spectra = replace(PLAIN, type=kind)
    for samples in (640 + 51 * 320, 640 + 51 * 320 + 1, 640 + 102 * 320 - 319):  # about blocks of 51
        clip = noise(samples)
        np.testing.assert_allclose(spectra(clip), frame_by_frame(clip, spectra), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("norm", ["none", "per_file"])
def test_raw_are_the_samples(norm: str) -> None:
    clip = noise(1001)
    got = replace(PLAIN, type="raw", norm=norm)(clip)
    assert (got.shape, got.dtype) == ((1001,), np.float32)
    expected = clip if norm == "none" else scipy.stats.zscore(clip.astype(np.float64))
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    assert (replace(PLAIN, type="raw").columns(), replace(PLAIN, type="raw").frames(1001)) == (1, 1001)


def padded_for_librosa(clip: np.ndarray, spectra: Spectra) -> np.ndarray:
    """With zeros to the end of the last frame, and around it: librosa puts a window in the middle of the transform."""
    spare = spectra.fft_points - spectra.window
    end = (spectra.frames(len(clip)) - 1) * spectra.shift + spectra.window
    return np.pad(clip, (spare // 2, end - len(clip) + spare - spare // 2))


@pytest.mark.parametrize("window", ["hamming", "hann", "blackman", "bartlett"])
@pytest.mark.parametrize(
    "choice",
    [{}, {"num_fft_points": 1024, "num_filter_bands": 64}, {"sample_rate_hz": 8000, "num_filter_bands": 40}],
)
def test_mel_and_mfcc_are_librosas(window: str, choice: dict[str, Any]) -> None:
    spectra = replace(PLAIN, type="mel", window_type=window, **choice)
    clip = noise(40001) * np.linspace(0, 1, 40001, dtype=np.float32) ** 6  # from far below the 80 dB on
    options: dict[str, Any] = {
        "y": padded_for_librosa(clip, spectra).astype(np.float64),
        "sr": spectra.sample_rate_hz,
        "n_fft": spectra.fft_points,
        "hop_length": spectra.shift,
        "win_length": spectra.window,
        "window": window,
        "center": False,
        "n_mels": spectra.num_filter_bands,
        "htk": True,
        "norm": None,
    }
    mel = librosa.power_to_db(librosa.feature.melspectrogram(**options)).T
    got = spectra(clip)
    assert got.max() - got.min() == pytest.approx(80, abs=1e-4)
    np.testing.assert_allclose(got, mel, rtol=1e-5, atol=1e-3)
    mfcc = librosa.feature.mfcc(S=mel.T, n_mfcc=20).T
    np.testing.assert_allclose(replace(spectra, type="mfcc")(clip), mfcc, rtol=1e-5, atol=1e-3)


@pytest.mark.filterwarnings("ignore:Empty filters detected")
@pytest.mark.parametrize("bands", [1, 2, 40, 58, 80, 300])
@pytest.mark.parametrize("points", [400, 401, 512, 1024])
def test_filters_against_the_loop_and_librosa(bands: int, points: int) -> None:
    """Also where some are empty: those are counted, and the advice is the smallest that works."""
    snapped = mel_filters.triangles(bands, fft_points=points, rate_hz=16000, snapped=True)
    np.testing.assert_allclose(snapped, peer_filters(bands, points, 16000), atol=1e-12)
    with np.errstate(all="ignore"):
        theirs = librosa.filters.mel(sr=16000, n_fft=points, n_mels=bands, htk=True, norm=None, dtype=np.float64)
    exact = mel_filters.triangles(bands, fft_points=points, rate_hz=16000, snapped=False)
    np.testing.assert_allclose(exact, theirs, atol=1e-9)
    for matrix, kind in ((snapped, True), (exact, False)):
        empty = mel_filters.empty_bands(bands, fft_points=points, rate_hz=16000, snapped=kind)
        assert empty == np.count_nonzero(matrix.sum(axis=1) < 1e-9)


def has_empty(bands: int, points: int) -> bool:
    return bool((peer_filters(bands, points, 16000).sum(axis=1) == 0).any())


@pytest.mark.parametrize(
    ("bands", "window_s", "empty", "points", "fewer"),
    [(80, 0.025, 4, 566, 58), (40, 0.01, 4, 256, 27), (128, 0.04, 7, 953, 89)],
)
def test_empty_filters_are_told_with_what_works(
    bands: int, window_s: float, empty: int, points: int, fewer: int
) -> None:
    window = round(16000 * window_s)
    message = (
        f"num_filter_bands {bands}: with {window} points of the transform at 16000 Hz {empty} of the filters are "
        f"empty; set num_fft_points to {points}, or num_filter_bands to {fewer}"
    )
    with pytest.raises(UserError, match=message):
        replace(PLAIN, window_length_in_s=window_s, window_shift_in_s=0.01, num_filter_bands=bands)
    assert not has_empty(bands, points)
    assert all(has_empty(bands, n) for n in range(window, points))
    assert not has_empty(fewer, window)
    assert all(has_empty(n, window) for n in range(fewer + 1, bands))
    short = replace(PLAIN, window_length_in_s=window_s, window_shift_in_s=0.01, num_filter_bands=1)
    assert replace(short, num_filter_bands=bands, num_fft_points=points).columns() == bands
    assert replace(short, num_filter_bands=fewer).columns() == fewer
    assert replace(short, type="stft", num_filter_bands=bands).columns() == window // 2 + 1  # it has no filters


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"type": "plp"}, "type 'plp': give raw, fbank, stft, stft_phase, group_delay, mel, mfcc"),
        ({"window_type": "kaiser"}, "window_type 'kaiser': give hamming, hann, blackman, bartlett"),
        ({"norm": "global"}, "norm 'global': give none, per_file"),
        ({"sample_rate_hz": 0}, "sample_rate_hz 0: give a rate"),
        ({"window_length_in_s": 0.0}, "window_length_in_s 0.0: give seconds"),
        ({"window_length_in_s": -0.04}, "window_length_in_s -0.04: give seconds"),
        ({"window_length_in_s": float("nan")}, "window_length_in_s nan: give seconds"),
        ({"window_length_in_s": float("inf")}, "window_length_in_s inf: give seconds"),
        ({"window_length_in_s": 2 / 16000}, "0.00019 or more, 3 samples at 16000 Hz"),
        ({"window_shift_in_s": 0.0}, "window_shift_in_s 0.0: give seconds"),
        ({"window_shift_in_s": -1.0}, "window_shift_in_s -1.0: give seconds"),
        ({"window_shift_in_s": 0.041}, r"to window_length_in_s \(0.04\), or samples would be skipped"),
        ({"num_fft_points": 512}, r"num_fft_points 512: the window has 640 samples \(0.04 s at 16000 Hz\); give 640"),
        ({"num_fft_points": -1}, "num_fft_points -1: the window has 640 samples"),
        ({"num_filter_bands": 0}, "num_filter_bands 0: give 1 to 4096"),
        ({"num_filter_bands": 5000}, "num_filter_bands 5000: give 1 to 4096"),
        ({"type": "mfcc", "num_coefficients": 81}, "num_coefficients 81: give 1 to 80, the num_filter_bands"),
        ({"type": "mfcc", "num_coefficients": 0}, "num_coefficients 0: give 1 to 80"),
        ({"type": "mel", "num_filter_bands": 200}, "num_filter_bands 200: with 640 points .* filters are empty"),
    ],
)
def test_settings_that_cannot_be(choice: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        replace(PLAIN, **choice)


def test_clips_that_cannot_be() -> None:
    for kind in FRAMED:
        spectra = replace(PLAIN, type=kind)
        assert spectra(noise(640)).shape == (1, spectra.columns())
        with pytest.raises(UserError, match=r"639 samples \(0.03994 s\) is shorter than one window of 640 "):
            spectra(noise(639))
    for kind in (*FRAMED, "raw"):
        spectra = replace(PLAIN, type=kind)
        with pytest.raises(UserError, match="a clip without samples"):
            spectra(np.zeros(0))
        for bad in (np.nan, np.inf, -np.inf):
            clip = noise(1000)
            clip[[70, 900]] = bad
            with pytest.raises(UserError, match="the clip has 2 NaN or infinite samples, the first at 70"):
                spectra(clip)
        with pytest.raises(UserError, match=r"samples of shape \(1000, 0\)"):
            spectra(np.zeros((1000, 0)))
        with pytest.raises(UserError, match=r"samples of shape \(\)"):
            spectra(np.array(1.0))


@pytest.mark.parametrize("norm", ["none", "per_file"])
@pytest.mark.parametrize("kind", [*FRAMED, "raw"])
def test_silence_gives_finite_numbers(kind: str, norm: str) -> None:
    features = replace(PLAIN, type=kind, norm=norm)(np.zeros(4000, np.float32))
    assert np.isfinite(features).all()
    if norm == "per_file":
        np.testing.assert_allclose(features, 0, atol=1e-3)


@settings(max_examples=25, deadline=None)
@given(
    kind=st.sampled_from(FRAMED), samples=st.integers(640, 4000), silence=st.integers(1, 3000), seed=st.integers(0, 99)
)
def test_silence_after_a_clip_leaves_its_full_frames(kind: str, samples: int, silence: int, seed: int) -> None:
    spectra = replace(PLAIN, type=kind)
    clip = noise(samples, seed=seed)
    longer = spectra(np.pad(clip, (0, silence)))
    full = (samples - spectra.window) // spectra.shift + 1
    np.testing.assert_allclose(longer[:full], spectra(clip)[:full], rtol=1e-5, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(samples=st.integers(640, 6000))
def test_every_sample_is_in_a_frame_and_no_frame_is_beyond_them(samples: int) -> None:
    count = PLAIN.frames(samples)
    last_end = (count - 1) * PLAIN.shift + PLAIN.window
    assert samples <= last_end < samples + PLAIN.shift


def test_a_clips_features_do_not_depend_on_what_came_before() -> None:
    clip = noise(5000)
    for kind in (*FRAMED, "raw"):
        spectra = replace(PLAIN, type=kind, norm="per_file")
        alone = spectra(clip)
        spectra(noise(9000, seed=5))
        before = clip.copy()
        np.testing.assert_array_equal(spectra(clip), alone)
        np.testing.assert_array_equal(clip, before)


def test_per_file_makes_each_feature_mean_0_deviation_1() -> None:
    features = replace(PLAIN, norm="per_file")(3 * noise(16000))
    np.testing.assert_allclose(features.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(features.std(axis=0), 1, atol=1e-5)


@pytest.mark.parametrize("kind", [*FRAMED, "raw"])
def test_channels_stand_side_by_side(kind: str) -> None:
    spectra = replace(PLAIN, type=kind, norm="per_file")
    stereo = noise(3000, channels=2)
    both = spectra(select_channel(stereo, "all"))
    parts = [spectra(select_channel(stereo, name)).reshape(len(both), -1) for name in ("0", "1")]
    np.testing.assert_array_equal(both, np.concatenate(parts, axis=1))
    assert both.shape[1] == spectra.columns(2) == 2 * spectra.columns()
    mono = noise(3000)
    np.testing.assert_array_equal(spectra(select_channel(mono, "all")), spectra(mono))


def test_a_channel_is_chosen() -> None:
    stereo = noise(100, channels=2)
    np.testing.assert_array_equal(select_channel(stereo, "1"), stereo[:, 1])
    np.testing.assert_allclose(select_channel(stereo, "average"), stereo.mean(axis=1), atol=1e-7)
    for name in ("0", "average"):
        np.testing.assert_array_equal(select_channel(stereo[:, 0], name), stereo[:, 0])
        np.testing.assert_array_equal(select_channel(stereo[:, :1], name), stereo[:, 0])
    with pytest.raises(UserError, match="channel 2: this clip has 2; give 0 to 1, average or all"):
        select_channel(stereo, "2")
    with pytest.raises(UserError, match="channel 1: this clip has 1; give 0, average or all"):
        select_channel(stereo[:, 0], "1")
    for name in ("left", "-1", "", "1.0", "²"):
        with pytest.raises(UserError, match="give average, all, or a number from 0"):
            select_channel(stereo, name)


def test_a_clip_is_cut() -> None:
    clip = noise(16000, channels=2)
    assert cut(clip, 0.29, sample_rate_hz=16000).shape == (4640, 2)
    np.testing.assert_array_equal(cut(clip, 0.29, sample_rate_hz=16000), clip[:4640])
    for limit_s in (0, 1.0, 7.5, float("inf")):
        assert cut(clip, limit_s, sample_rate_hz=16000) is clip or limit_s in (1.0, 7.5)
        assert len(cut(clip, limit_s, sample_rate_hz=16000)) == 16000
    for limit_s in (-1, float("nan"), 1e-6):
        with pytest.raises(UserError, match=r"audio_file_length_limit_in_s .*: give seconds above 0"):
            cut(clip, limit_s, sample_rate_hz=16000)


def test_every_setting_decides_the_key() -> None:
    others: dict[str, Any] = {
        "type": "mel",
        "sample_rate_hz": 15999,
        "window_length_in_s": 0.041,
        "window_shift_in_s": 0.01,
        "num_fft_points": 1024,
        "window_type": "hann",
        "num_filter_bands": 79,
        "num_coefficients": 19,
        "norm": "per_file",
    }
    keys = {json.dumps(replace(PLAIN, **{name: value}).depends()) for name, value in others.items()}
    keys.add(json.dumps(PLAIN.depends()))
    assert len(keys) == len(others) + 1
    assert PLAIN.depends() == Spectra(**{name: getattr(PLAIN, name) for name in others}).depends()
    assert PLAIN.depends()["numpy"] == np.__version__
