"""Features against a frame-by-frame second implementation, librosa and scipy; and what is refused."""

import json
from typing import Any

import librosa
import numpy as np
import pytest
import scipy.signal
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from soundraft.audio import spectra as module
from soundraft.audio.spectra import Spectra, cut, select_channel
from soundraft.params.classification import SpectraParams
from soundraft.runtime import UserError

PLAIN: dict[str, Any] = {
    "type": "fbank", "sample_rate_hz": 16000, "window_length_in_s": 0.04, "window_shift_in_s": 0.02,
    "num_fft_points": 0, "window_type": "hamming", "num_filter_bands": 80, "num_coefficients": 20, "norm": "none",
}  # fmt: skip
FRAMED = ("fbank", "stft", "stft_phase", "group_delay", "mel", "mfcc")


def make(**choice: Any) -> Spectra:
    return Spectra(SpectraParams(**PLAIN | choice))


def noise(samples: int, channels: int | None = None, seed: int = 0) -> np.ndarray:
    shape = (samples,) if channels is None else (samples, channels)
    return (0.1 * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def peer_filters(bands: int, points: int, rate_hz: int) -> np.ndarray:
    top = 2595 * np.log10(1 + rate_hz / 2 / 700)
    edges_hz = 700 * (10 ** (top * np.arange(bands + 2) / (bands + 1) / 2595) - 1)
    corners = np.floor((points + 1) / rate_hz * edges_hz).astype(int)
    matrix = np.zeros((bands, points // 2 + 1))
    for band in range(bands):
        start, middle, end = corners[band : band + 3]
        for at in range(start, middle):
            matrix[band, at] = (at - start) / (middle - start)
        for at in range(middle, end):
            matrix[band, at] = (end - at) / (end - middle)
    return matrix


def frame_by_frame(samples: np.ndarray, params: SpectraParams) -> np.ndarray:
    """The second implementation: one frame after the other, one filter after the other."""
    rate_hz, kind = params.sample_rate_hz, params.type
    width, step = round(params.window_length_in_s * rate_hz), round(params.window_shift_in_s * rate_hz)
    points = params.num_fft_points or width
    window = scipy.signal.get_window(params.window_type, width, fftbins=False)
    filters = peer_filters(params.num_filter_bands, points, rate_hz).T
    signal = scipy.signal.lfilter([1, -0.97], 1, samples.astype(np.float64))
    rows = []
    for index in range(int(np.ceil((len(samples) - width) / step + 1))):
        part = signal[index * step : index * step + width]
        frame = np.pad(part - part.mean() if kind == "fbank" else part, (0, width - len(part)))
        spectrum = np.fft.fft(frame * window, points)[: points // 2 + 1]
        ramped = np.fft.fft(frame * window * np.arange(width), points)[: points // 2 + 1]
        power = np.abs(spectrum) ** 2
        rows.append(
            {
                "stft": np.abs(spectrum),
                "stft_phase": np.concatenate([np.angle(spectrum), np.abs(spectrum)]),
                "group_delay": np.real(spectrum * np.conj(ramped)) / (power + 1e-10),
                "fbank": np.log(power @ filters + 1e-10),
            }[kind]
        )
    out = np.array(rows)
    return out if params.norm == "none" else (out - out.mean(axis=0)) / (out.std(axis=0) + 1e-10)


@pytest.mark.parametrize("norm", ["none", "per_file"])
@pytest.mark.parametrize("kind", ["fbank", "stft", "stft_phase", "group_delay"])
@pytest.mark.parametrize(
    "choice",
    [
        {"window_type": "hann", "window_length_in_s": 0.025, "window_shift_in_s": 0.01, "num_filter_bands": 40},
        {"window_type": "blackman", "num_fft_points": 1024},
        {"window_type": "bartlett", "num_fft_points": 701, "num_filter_bands": 23, "window_shift_in_s": 0.04},
        {"sample_rate_hz": 8000, "window_length_in_s": 0.032, "window_shift_in_s": 0.0125, "num_filter_bands": 26},
    ],
)
def test_each_type_against_the_loop(kind: str, norm: str, choice: dict[str, Any]) -> None:
    spectra = make(type=kind, norm=norm, **choice)
    for samples in (spectra.window + more for more in (0, 1, 7 * spectra.shift, 7 * spectra.shift - 3)):
        clip = noise(samples, seed=samples)
        got, expected = spectra(clip), frame_by_frame(clip, spectra.params)
        assert got.dtype == np.float32
        assert got.shape == expected.shape == (spectra.frames(samples), spectra.columns())
        if kind == "stft_phase":  # the first and the last angle are 0, −π or π, the last two by how zero is rounded
            bins = expected.shape[1] // 2
            keep = [*range(1, bins - 1), *range(bins, 2 * bins)]
            got, expected = got[:, keep], expected[:, keep]
        np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("kind", ["fbank", "group_delay"])
def test_blocks_of_frames_do_not_show(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spectra = make(type=kind)
    for samples in (640 + 51 * 320, 640 + 51 * 320 + 1, 640 + 102 * 320 - 319):  # about blocks of 51
        clip = noise(samples)
        for block_bytes in (1, 3 * 640 * 8, 1 << 18):
            monkeypatch.setattr(module, "BLOCK_BYTES", block_bytes)
            np.testing.assert_allclose(spectra(clip), frame_by_frame(clip, spectra.params), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("norm", ["none", "per_file"])
def test_raw_are_the_samples(norm: str) -> None:
    clip, raw = noise(1001), make(type="raw", norm=norm)
    got = raw(clip)
    assert (got.shape, got.dtype) == ((1001,), np.float32)
    expected = clip if norm == "none" else scipy.stats.zscore(clip.astype(np.float64))
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    assert (raw.columns(), raw.frames(1001)) == (1, 1001)


@pytest.mark.parametrize("window", ["hamming", "hann", "blackman", "bartlett"])
@pytest.mark.parametrize(
    "choice", [{"num_fft_points": 1024, "num_filter_bands": 64}, {"sample_rate_hz": 8000, "num_filter_bands": 40}]
)
def test_mel_and_mfcc_are_librosas(window: str, choice: dict[str, Any]) -> None:
    spectra = make(type="mel", window_type=window, **choice)
    clip = noise(20001) * np.linspace(0, 1, 20001, dtype=np.float32) ** 6  # from far below the 80 dB on
    # zeros to the end of the last frame, and around it: librosa puts a window in the middle of the transform
    spare = spectra.fft_points - spectra.window
    end = (spectra.frames(len(clip)) - 1) * spectra.shift + spectra.window
    padded = np.pad(clip, (spare // 2, end - len(clip) + spare - spare // 2)).astype(np.float64)
    power = librosa.feature.melspectrogram(
        y=padded, sr=spectra.params.sample_rate_hz, n_fft=spectra.fft_points, hop_length=spectra.shift,
        win_length=spectra.window, window=window, center=False, n_mels=spectra.params.num_filter_bands, htk=True,
        norm=None,
    )  # fmt: skip
    mel, got = librosa.power_to_db(power).T, spectra(clip)
    assert got.max() - got.min() == pytest.approx(80, abs=1e-4)
    np.testing.assert_allclose(got, mel, rtol=1e-5, atol=1e-3)
    mfcc = librosa.feature.mfcc(S=mel.T, n_mfcc=20).T
    np.testing.assert_allclose(make(type="mfcc", window_type=window, **choice)(clip), mfcc, rtol=1e-5, atol=1e-3)


@pytest.mark.filterwarnings("ignore:Empty filters detected")
@pytest.mark.parametrize("bands", [1, 40, 58, 80, 300])
@pytest.mark.parametrize("points", [400, 401, 1024])
def test_filters_against_the_loop_and_which_are_empty(bands: int, points: int) -> None:
    for snapped in (True, False):
        scale: dict[str, Any] = {"fft_points": points, "rate_hz": 16000, "snapped": snapped}
        matrix = module.triangles(bands, **scale)
        if snapped:
            np.testing.assert_allclose(matrix, peer_filters(bands, points, 16000), atol=1e-12)
        assert module.empty_bands(bands, **scale) == np.count_nonzero(matrix.sum(axis=1) < 1e-9)


def has_empty(bands: int, points: int) -> bool:
    return bool((peer_filters(bands, points, 16000).sum(axis=1) == 0).any())


@pytest.mark.parametrize(
    ("bands", "window_s", "points", "fewer"), [(80, 0.025, 566, 58), (40, 0.01, 256, 27), (128, 0.04, 953, 89)]
)
def test_the_advice_for_empty_filters_is_the_least_that_works(
    bands: int, window_s: float, points: int, fewer: int
) -> None:
    window, lengths = round(16000 * window_s), {"window_length_in_s": window_s, "window_shift_in_s": 0.01}
    with pytest.raises(UserError, match=f"num_fft_points to {points}, or num_filter_bands to {fewer}$"):
        make(**lengths, num_filter_bands=bands)
    assert not has_empty(bands, points)
    assert all(has_empty(bands, n) for n in range(window, points))
    assert not has_empty(fewer, window)
    assert all(has_empty(n, window) for n in range(fewer + 1, bands))
    assert make(**lengths, num_filter_bands=bands, num_fft_points=points).columns() == bands
    assert make(**lengths, num_filter_bands=fewer).columns() == fewer
    assert make(**lengths, type="stft", num_filter_bands=bands).columns() == window // 2 + 1  # it has no filters


@pytest.mark.parametrize(
    "choice",
    [
        {"window_length_in_s": 2 / 16000}, {"window_shift_in_s": 0.041},
        {"window_shift_in_s": 1e-9}, {"num_fft_points": 512}, {"num_filter_bands": 5000},
        {"num_coefficients": 81, "type": "mfcc"}, {"num_filter_bands": 200, "type": "mel"},
    ],
)  # fmt: skip
def test_settings_that_contradict_each_other_are_named(choice: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=f"^{next(iter(choice))} "):
        make(**choice)


@pytest.mark.parametrize("kind", [*FRAMED, "raw"])
def test_clips_that_cannot_be(kind: str) -> None:
    spectra, spoiled = make(type=kind), noise(1000)
    spoiled[[70, 900]] = np.nan, np.inf
    for bad, word in (
        (spoiled, "2 NaN or infinite samples, the first at 70"), (np.zeros(0), "without samples"),
        (np.zeros((1000, 0)), "shape"), (np.array(1.0), "shape"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=word):
            spectra(bad)
    if kind != "raw":
        assert spectra(noise(640)).shape == (1, spectra.columns())
        with pytest.raises(UserError, match="window_length_in_s"):
            spectra(noise(639))


@pytest.mark.parametrize("norm", ["none", "per_file"])
@pytest.mark.parametrize("kind", [*FRAMED, "raw"])
def test_silence_gives_finite_numbers(kind: str, norm: str) -> None:
    features = make(type=kind, norm=norm)(np.zeros(4000, np.float32))
    assert np.isfinite(features).all()
    if norm == "per_file":
        np.testing.assert_allclose(features, 0, atol=1e-3)


@settings(max_examples=25, deadline=None)
@given(
    kind=st.sampled_from(FRAMED), samples=st.integers(640, 4000), silence=st.integers(1, 3000), seed=st.integers(0, 99)
)
def test_silence_after_a_clip_leaves_its_full_frames(kind: str, samples: int, silence: int, seed: int) -> None:
    spectra, clip = make(type=kind), noise(samples, seed=seed)
    full = (samples - spectra.window) // spectra.shift + 1
    np.testing.assert_allclose(spectra(np.pad(clip, (0, silence)))[:full], spectra(clip)[:full], rtol=1e-5, atol=1e-5)
    last_end = (spectra.frames(samples) - 1) * spectra.shift + spectra.window
    assert samples <= last_end < samples + spectra.shift, "every sample is in a frame, and no frame is beyond them"


@pytest.mark.parametrize("kind", [*FRAMED, "raw"])
def test_features_depend_on_their_clip_alone_and_channels_stand_side_by_side(kind: str) -> None:
    spectra = make(type=kind, norm="per_file")
    stereo = noise(3000, channels=2)
    before = stereo.copy()
    both = spectra(select_channel(stereo, "all"))
    parts = [spectra(select_channel(stereo, name)).reshape(len(both), -1) for name in ("0", "1")]
    np.testing.assert_array_equal(both, np.concatenate(parts, axis=1))
    np.testing.assert_array_equal(stereo, before)
    assert both.shape[1] == spectra.columns(2) == 2 * spectra.columns()
    np.testing.assert_array_equal(spectra(select_channel(stereo[:, 0], "all")), spectra(stereo[:, 0]))


def test_a_channel_is_chosen_and_a_clip_is_cut() -> None:
    stereo = noise(16000, channels=2)
    np.testing.assert_array_equal(select_channel(stereo, "1"), stereo[:, 1])
    np.testing.assert_allclose(select_channel(stereo, "average"), stereo.mean(axis=1), atol=1e-7)
    for name in ("0", "average"):
        for mono in (stereo[:, 0], stereo[:, :1]):
            np.testing.assert_array_equal(select_channel(mono, name), stereo[:, 0])
    for name in ("2", "left", "-1", "", "1.0", "²"):
        with pytest.raises(UserError, match="channel"):
            select_channel(stereo, name)
    np.testing.assert_array_equal(cut(stereo, 0.29, sample_rate_hz=16000), stereo[:4640])
    for limit_s in (0, 1.0, 7.5, float("inf")):
        assert len(cut(stereo, limit_s, sample_rate_hz=16000)) == 16000
    for limit_s in (-1, float("nan"), 1e-6):
        with pytest.raises(UserError, match="audio_file_length_limit_in_s"):
            cut(stereo, limit_s, sample_rate_hz=16000)


def test_every_setting_decides_the_key() -> None:
    others: dict[str, Any] = {
        "type": "mel", "sample_rate_hz": 15999, "window_length_in_s": 0.041, "window_shift_in_s": 0.01,
        "num_fft_points": 1024, "window_type": "hann", "num_filter_bands": 79, "num_coefficients": 19,
        "norm": "per_file",
    }  # fmt: skip
    keys = {json.dumps(make(**{name: value}).depends()) for name, value in others.items()}
    assert others.keys() == PLAIN.keys()
    assert len(keys | {json.dumps(make().depends())}) == len(others) + 1
