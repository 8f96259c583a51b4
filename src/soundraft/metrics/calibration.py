"""Whether a model is right as often as its probabilities say, and the one number that mends most of it."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

BINS = 15
_COLDEST, _HOTTEST = 0.01, 100.0


@dataclass(frozen=True)
class Bin:
    """Clips whose confidence lies above `low` and not above `high`; the first bin has those of 0 too.

    Attributes:
        confidence: their mean confidence; `None` without clips.
        accuracy: share of them that are right; `None` without clips.
    """

    low: float
    high: float
    clips: int
    confidence: float | None
    accuracy: float | None


def reliability_bins(confidence: np.ndarray, correct: np.ndarray, *, bins: int = BINS) -> list[Bin]:
    """Confidence against accuracy, in bins of equal width.

    Args:
        confidence: [N], the probability of the predicted label.
        correct: bool [N].

    Raises:
        ValueError: when there are no clips, or a confidence is not in 0–1.
    """
    if not len(confidence):
        raise ValueError("no clips: nothing to measure")
    if not ((confidence >= 0) & (confidence <= 1 + 1e-6)).all():
        raise ValueError(f"a confidence lies outside 0–1: {confidence.min()} to {confidence.max()}")
    edges = np.linspace(0, 1, bins + 1)
    places = np.searchsorted(edges[1:-1], confidence, side="left")
    found = []
    for place, (low, high) in enumerate(pairwise(edges)):
        inside = places == place
        clips = int(inside.sum())
        means = (float(confidence[inside].mean()), float(correct[inside].mean())) if clips else (None, None)
        found.append(Bin(float(low), float(high), clips, *means))
    return found


def expected_calibration_error(confidence: np.ndarray, correct: np.ndarray, *, bins: int = BINS) -> float:
    """Mean distance of confidence and accuracy over the bins, weighted by their clips.

    Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, equation 3.
    """
    found = reliability_bins(confidence, correct, bins=bins)
    gaps = [
        each.clips * abs(each.accuracy - each.confidence)
        for each in found
        if each.accuracy is not None and each.confidence is not None
    ]
    return sum(gaps) / len(confidence)


def fit_temperature(log_probs: np.ndarray, right: np.ndarray) -> float:
    """The T for which softmax(log_probs / T) fits the right labels best; above 1 the model was too sure.

    Guo et al. (2017), section 4.2, on clips that training has not seen. The loss is convex in 1/T, so there is one
    minimum. Where the model is right on all these clips, T would fall to 0 and every probability become 1; so each
    right label counts 1 − 1/(N + 2), and the rest is spread over the others (Platt 1999, section 2.2).

    Args:
        log_probs: [N, C], logits or log-probabilities.
        right: codes of the right labels, [N].

    Raises:
        ValueError: when there are no clips, fewer than two labels, or a number is not finite.
    """
    from scipy.optimize import minimize_scalar

    clips, labels = log_probs.shape
    if not clips or labels < 2:
        raise ValueError(f"{clips} clips and {labels} labels: a temperature needs clips, and two labels")
    logits = log_probs.astype(np.float64)
    if not np.isfinite(logits).all():
        raise ValueError("a logit is not finite")
    logits = logits - logits.max(1, keepdims=True)
    spare = 1 / (clips + 2)
    targets = np.full(logits.shape, spare / (labels - 1))
    targets[np.arange(clips), right] = 1 - spare
    wanted = float((targets * logits).sum())

    def loss(log_temperature: float) -> float:
        inverse = np.exp(-log_temperature)
        return float(np.log(np.exp(logits * inverse).sum(1)).sum() - wanted * inverse)

    found = minimize_scalar(
        loss, bounds=(np.log(_COLDEST), np.log(_HOTTEST)), method="bounded", options={"xatol": 1e-6}
    )
    return float(np.exp(found.x))


def tempered(log_probs: np.ndarray, temperature: float) -> np.ndarray:
    """softmax(log_probs / T), [N, C]; which label is the most likely does not change."""
    logits = log_probs.astype(np.float64) / temperature
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)
