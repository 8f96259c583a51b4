import functools
import warnings
from collections.abc import Sequence

import librosa
import numpy as np
import pytest

from soundraft.evaluation import svm
from soundraft.evaluation.svm import FittedSVM, fit_svm, statistics
from soundraft.runtime import UserError

RATE_HZ = 8000
LABELS = ["high", "low", "noise"]


def sound(label: str, seed: int, seconds: float = 0.5) -> np.ndarray:
    """A tone with some noise, or noise; of any loudness."""
    rng = np.random.default_rng(seed)
    times = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    pitch_hz = {"high": 1500.0, "low": 300.0, "noise": 0.0}[label] * rng.uniform(0.9, 1.1)
    loudness = rng.uniform(0.01, 0.5)
    return (loudness * (np.sin(2 * np.pi * pitch_hz * times) + 0.3 * rng.normal(size=len(times)))).astype(np.float32)


def corpus(clips: int, seed: int, labels: Sequence[str] = LABELS) -> tuple[list[np.ndarray], list[str]]:
    right = [labels[number % len(labels)] for number in range(clips)]
    return [sound(label, seed + number) for number, label in enumerate(right)], right


@functools.cache
def fitted(*labels: str, columns: tuple[str, ...] = ()) -> FittedSVM:
    return fit_svm(*corpus(15, 0, labels or LABELS), labels=columns or labels or LABELS, sample_rate_hz=RATE_HZ)


def test_it_predicts_what_a_spectrum_shows_the_same_each_time() -> None:
    clips, right = corpus(15, 1000)
    found = fitted().probabilities(clips)
    assert found.sum(1) == pytest.approx(1.0)
    assert [LABELS[place] for place in found.argmax(1)] == right
    assert (fitted.__wrapped__().probabilities(iter(clips)) == found).all()
    assert fitted().probabilities([]).shape == (0, 3)


@pytest.mark.parametrize("labels", [LABELS, ["high", "low"]])
def test_the_most_likely_label_is_the_choice_of_the_svm(labels: list[str]) -> None:
    clips = [sound("noise", seed)[:900] * np.linspace(0, 1, 900, dtype=np.float32) for seed in range(40)]
    found = fitted(*labels)
    choice = found._pipeline.predict(svm.statistics_of(clips, RATE_HZ)).tolist()
    assert [labels[place] for place in found.probabilities(clips).argmax(1)] == choice


def test_columns_have_the_order_that_was_asked_for() -> None:
    clips, _ = corpus(15, 0)
    back = fitted(columns=("noise", "none", "low", "high")).probabilities(clips)
    assert (back[:, [3, 2, 0]] == fitted().probabilities(clips)).all()
    assert (back[:, 1] == 0).all()


def test_the_statistics_are_those_of_librosa() -> None:
    samples = sound("high", 3)
    mel = librosa.feature.melspectrogram(
        y=samples, sr=RATE_HZ, n_fft=256, hop_length=80, n_mels=64, pad_mode="constant"
    )
    bands = librosa.power_to_db(mel, ref=np.max)
    rows = np.concatenate([bands, librosa.feature.mfcc(S=bands, n_mfcc=20)])
    parts = [rows.mean(1), rows.std(1), np.quantile(rows, 0.1, axis=1), np.quantile(rows, 0.9, axis=1)]
    assert statistics(samples, RATE_HZ) == pytest.approx(np.concatenate(parts), abs=1e-3)


def test_loudness_does_not_matter_and_short_and_silent_clips_have_statistics() -> None:
    samples = sound("low", 4)
    assert statistics(samples * 0.1, RATE_HZ) == pytest.approx(statistics(samples, RATE_HZ), abs=1e-2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for odd in (samples[:20], np.zeros(4000, dtype=np.float32), samples[:1]):
            assert np.isfinite(statistics(odd, RATE_HZ)).sum() == svm.COLUMNS


def test_what_cannot_be_learned_is_refused() -> None:
    clips, right = corpus(4, 0)
    odd = [clips[0], clips[1] * np.nan]
    for those, labels, word in (
        (clips, ["low"] * 4, "'low'"),
        ([], [], "no clips"),
        (odd, right[:2], "clip 1: .*fini"),
    ):
        with pytest.raises(UserError, match=word):
            fit_svm(those, labels, labels=LABELS, sample_rate_hz=RATE_HZ)
    with pytest.raises(UserError, match=r"clip 0: samples of shape \[0\]"):
        fitted().probabilities([clips[0][:0]])
    with pytest.raises(ValueError, match="4 training clips, but 3 labels"):
        fit_svm(clips, right[:3], labels=LABELS, sample_rate_hz=RATE_HZ)


def test_few_clips_of_many_labels_are_learned_without_complaint() -> None:
    labels = [f"label {number}" for number in range(16)]
    right = (labels * 2)[:24]
    clips = [sound("noise", seed, 0.1) for seed in range(len(right))]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = fit_svm(clips, right, labels=labels, sample_rate_hz=RATE_HZ)
        assert found.probabilities(clips).shape == (24, 16)
