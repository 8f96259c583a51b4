"""The baseline of every classifier: a support vector machine on the statistics of a clip's spectrum.

It has no notion of time, is fitted in seconds, and is hard to beat with a few hundred clips; a network that does not
beat it has learned too little.
"""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from soundraft.evaluation.scores import check_training
from soundraft.metrics.labels import indicators, tempered
from soundraft.runtime import UserError

WINDOW_S = 0.032
SHIFT_S = 0.010
MEL_BANDS = 64
COEFFICIENTS = 20
PENALTY = 10.0  # C of the support vector machine
COLUMNS = 4 * (MEL_BANDS + COEFFICIENTS)
_RANGE_DB = 80.0  # what lies further below the loudest counts as silence


@dataclass(frozen=True)
class FittedSVM:
    """`labels` are the columns of the probabilities."""

    labels: list[str]
    sample_rate_hz: int
    _pipeline: Any
    _sets: bool = False

    def probabilities(self, clips: Iterable[np.ndarray], groups: Sequence[str] | None = None) -> np.ndarray:
        """[N, C]; the most likely label is the one that the SVM predicts, a label without training clips has 0.

        They are the softmax of the one-against-rest decision values, which rank the labels but are not calibrated:
        scikit-learn's own probabilities come of a random division of the clips and may contradict the prediction.
        Of sets of labels they are the sigmoid of these values: a label is predicted from 0.5.

        Raises:
            UserError: when a clip is empty or not finite.
        """
        found = z_scored(statistics_of(clips, self.sample_rate_hz), groups)
        probabilities = np.zeros((len(found), len(self.labels)))
        if len(found):
            values = self._pipeline.decision_function(found)
            if self._sets:
                return 1 / (1 + np.exp(-values))
            if values.ndim == 1:  # two labels: above 0 it is the second
                values = np.stack([np.zeros(len(values)), values], axis=1)
            columns = [self.labels.index(label) for label in self._pipeline.classes_]
            probabilities[:, columns] = tempered(values, 1.0)
        return probabilities


def fit_svm(
    train_clips: Iterable[np.ndarray],
    train_labels: Sequence[Any],
    *,
    labels: Sequence[str],
    sample_rate_hz: int,
    groups: Sequence[str] | None = None,
) -> FittedSVM:
    """Fit it to mono samples [N] of each clip; there are no random numbers, the same clips give the same SVM.

    Args:
        train_labels: of each clip its label, or its set of labels: then each label has an SVM of its own.
        labels: in the order of the probabilities' columns.
        groups: of each clip the group, such as its speaker, by which statistics are z-scored first; so must be those
            of the clips that are asked about.

    Raises:
        UserError: when there is no training clip, or one label only, or a clip that is empty or not finite.
    """
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    check_training(train_labels)
    found = z_scored(statistics_of(train_clips, sample_rate_hz), groups)
    if len(found) != len(train_labels):
        raise ValueError(f"{len(found)} training clips, but {len(train_labels)} labels")
    # break_ties: the prediction is the largest decision value, also where labels win as many of their pairs
    svm: Any = SVC(C=PENALTY, kernel="rbf", gamma="scale", decision_function_shape="ovr", break_ties=True)
    sets, targets = isinstance(train_labels[0], tuple), list(train_labels)
    if sets:
        svm, targets = OneVsRestClassifier(svm), indicators(train_labels, labels).astype(int)  # type: ignore[assignment]
    pipeline = make_pipeline(StandardScaler(), svm)
    with warnings.catch_warnings():  # few clips a label: scikit-learn asks whether the labels are numbers to regress to
        warnings.filterwarnings("ignore", message="The number of unique classes is greater than 50%")
        warnings.filterwarnings("ignore", message="Label .* is present in all training examples")
        pipeline.fit(found, targets)
    return FittedSVM(list(labels), sample_rate_hz, pipeline, sets)


def statistics_of(clips: Iterable[np.ndarray], sample_rate_hz: int) -> np.ndarray:
    """`statistics` of each clip, float64 [N, 336]."""
    found = []
    for place, samples in enumerate(clips):
        if samples.ndim != 1 or not len(samples):
            raise UserError(f"clip {place}: samples of shape {list(samples.shape)}; give mono audio that is not empty")
        if not np.isfinite(samples).all():
            raise UserError(f"clip {place}: a sample is not a finite number")
        found.append(statistics(samples, sample_rate_hz))
    return np.stack(found) if found else np.zeros((0, COLUMNS))


def z_scored(found: np.ndarray, groups: Sequence[str] | None) -> np.ndarray:
    """Each column over the clips of a group."""
    scored = found.copy()
    for group in set(groups or ()):
        places = [place for place, each in enumerate(groups or ()) if each == group]
        spread = found[places].std(0)
        scored[places] = (found[places] - found[places].mean(0)) / np.where(spread > 0, spread, 1.0)
    return scored


def statistics(samples: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """Mean, deviation, 10th and 90th percentile over time of 64 mel bands (dB) and 20 cepstral coefficients, [336].

    The loudest value of a clip is 0 dB: how loudly it was recorded does not matter. A clip shorter than a window is
    padded with silence.
    """
    import librosa
    import scipy.fft

    window, shift = round(WINDOW_S * sample_rate_hz), round(SHIFT_S * sample_rate_hz)
    fft = 1 << (window - 1).bit_length()
    padded = np.pad(samples.astype(np.float32), (0, max(0, fft - len(samples))))
    spectrum = librosa.stft(padded, n_fft=fft, win_length=window, hop_length=shift, pad_mode="constant")
    power = _mel_filters(sample_rate_hz, fft) @ (spectrum.real**2 + spectrum.imag**2)
    bands = librosa.power_to_db(power, ref=np.max, amin=1e-10, top_db=_RANGE_DB)
    rows = np.concatenate([bands, scipy.fft.dct(bands, axis=0, type=2, norm="ortho")[:COEFFICIENTS]])
    low, high = np.percentile(rows, [10, 90], axis=1)
    return np.concatenate([rows.mean(1), rows.std(1), low, high]).astype(np.float64)


@lru_cache(maxsize=8)
def _mel_filters(sample_rate_hz: int, fft: int) -> np.ndarray:
    """[64, fft // 2 + 1]."""
    from librosa.filters import mel

    return mel(sr=sample_rate_hz, n_fft=fft, n_mels=MEL_BANDS)
