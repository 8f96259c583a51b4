"""How well labels are predicted: over all clips, class by class, as probabilities, and how to calibrate these.

A label that no reference has is left out of every mean over classes and named in `LabelScores.absent`; as 0 it would
punish a model for the choice of the test clips. A label that references have but that is never predicted stays in:
its recall and F1 are 0, and its precision counts as 0 in the means, as in scikit-learn, while the table of classes
says that it has none.

Where a clip may have several labels, its answer is a sorted tuple of them, and each label a yes or no of its own.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

LabelSet = tuple[str, ...]
HITS_AT = (3, 5)
BINS = 15
_LEAST_PROBABILITY = 1e-15  # a right label with probability 0 costs 34.5, not infinity
_COLDEST, _HOTTEST = 0.01, 100.0


def wilson(share: float, trials: float) -> tuple[float, float]:
    """95 % score interval of a share (Wilson 1927), which stays wider than 0 where all or none are right."""
    z = 1.959964
    middle = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return max(0.0, min(middle - half, share)), min(1.0, max(middle + half, share))


def trials_of(counts: np.ndarray, key: str) -> float:
    """How many clips a share of right answers is worth: of accuracy all, of UAR as many as give its variance.

    The variance of a mean of C recalls is Σ p(1 − p)/n / C²; where it is 0, that of equal recalls counts.

    Args:
        counts: `label_counts` of all clips summed.
    """
    hits, clips = np.split(counts.astype(np.float64), 2)
    if key == "accuracy":
        return float(clips.sum())
    recalls, clips = hits[clips > 0] / clips[clips > 0], clips[clips > 0]
    mean, variance = float(recalls.mean()), float((recalls * (1 - recalls) / clips).sum()) / len(clips) ** 2
    return mean * (1 - mean) / variance if variance else len(clips) ** 2 / float((1 / clips).sum())


@dataclass(frozen=True)
class Average:
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class ClassScore:
    """One label against all others.

    Attributes:
        support: references with this label.
        predicted: predictions of it.
        precision: `None` when it is never predicted.
        recall, f1: `None` when no reference has it.
        mcc, roc_auc: `None` when no reference has it, or every one.
    """

    label: str
    support: int
    predicted: int
    precision: float | None
    recall: float | None
    f1: float | None
    mcc: float | None
    roc_auc: float | None


@dataclass(frozen=True)
class LabelScores:
    """All that is measured on one set of clips.

    Attributes:
        macro: means over the labels that references have; `macro.recall` is the unweighted average recall, UAR.
        micro: over all decisions; with one label a clip its three numbers are the accuracy.
        weighted: means over classes weighted by support.
        hits: share of clips whose label is among the k most likely, by k; only k below the number of labels.
        roc_auc: mean of the one-against-rest areas over the labels that have one; `None` when none has.
        kappa, mcc: Cohen's and the multi-class one of Gorodkin (2004); `None` when all references are one label.
        ece: expected calibration error.
        log_loss: mean of −ln of the right label's probability.
        absent: labels that no reference has.
        missing: why a number above is `None`, by its name.
    """

    clips: int
    accuracy: float
    macro: Average
    micro: Average
    weighted: Average
    hits: dict[int, float]
    roc_auc: float | None
    kappa: float | None
    mcc: float | None
    ece: float
    log_loss: float
    classes: list[ClassScore]
    absent: list[str]
    missing: dict[str, str]


@dataclass(frozen=True)
class SetClassScore(ClassScore):
    """One label of sets. `average_precision`: `None` when no reference has it."""

    average_precision: float | None


@dataclass(frozen=True)
class SetScores(LabelScores):
    """All that is measured where a clip has a set of labels; there are no hits, kappa or mcc of these.

    `accuracy` is the share of sets that are right as a whole; `micro` is over all labels of all clips, `ece` over all
    probabilities, `log_loss` the mean of −ln of the probability of the right set.

    Attributes:
        mean_average_precision: over the labels that references have; `None` when there are none.
        jaccard: mean over clips of the labels that both sets have by those that either has; 1 where both are empty.
        labels_per_clip, predicted_per_clip: mean sizes of the sets.
    """

    classes: list[SetClassScore]  # type: ignore[assignment]
    mean_average_precision: float | None
    jaccard: float
    labels_per_clip: float
    predicted_per_clip: float


def measure(
    *, references: Sequence[str], predictions: Sequence[str], probabilities: np.ndarray, labels: Sequence[str]
) -> LabelScores:
    """Score one prediction a clip; `probabilities` [N, C], columns in the order of `labels`.

    Raises:
        ValueError: when there are no clips, the inputs do not belong together, or some label is not in `labels`.
    """
    from sklearn.metrics import cohen_kappa_score, matthews_corrcoef

    right, predicted = codes(references, labels), codes(predictions, labels)
    if probabilities.shape != (len(right), len(labels)) or len(predicted) != len(right):
        shape = f"{len(right)} references, {len(predicted)} predictions, probabilities {list(probabilities.shape)}"
        raise ValueError(f"{shape} and {len(labels)} labels do not belong together")
    if not len(right):
        raise ValueError("no clips: nothing to measure")
    correct = right == predicted
    share = float(correct.mean())
    areas = roc_areas(right, probabilities)
    classes = _classes(right, predicted, areas, labels)
    single = (right == right[0]).all()
    reason = f"all references are {references[0]!r}"
    return LabelScores(
        clips=len(right),
        accuracy=share,
        macro=_average(right, predicted, "macro"),
        micro=Average(share, share, share),
        weighted=_average(right, predicted, "weighted"),
        hits={k: hits_at_k(right, probabilities, k) for k in HITS_AT if k < len(labels)},
        roc_auc=_mean_of_known(areas),
        kappa=None if single else float(cohen_kappa_score(right, predicted)),
        mcc=None if single else float(matthews_corrcoef(right, predicted)),
        ece=expected_calibration_error(probabilities.max(1), correct),
        log_loss=float(log_losses(right, probabilities).mean()),
        classes=classes,
        absent=[score.label for score in classes if not score.support],
        missing=dict.fromkeys(("roc_auc", "kappa", "mcc"), reason) if single else {},
    )


def measure_sets(
    *, references: Sequence[LabelSet], predictions: Sequence[LabelSet], probabilities: np.ndarray, labels: Sequence[str]
) -> SetScores:
    """Score a set of labels a clip; `probabilities` [N, C] of each label, which need not sum to 1.

    Raises:
        ValueError: as `measure`.
    """
    right, predicted = indicators(references, labels), indicators(predictions, labels)
    if probabilities.shape != right.shape or right.shape != predicted.shape:
        shape = f"{len(right)} references, {len(predicted)} predictions, probabilities {list(probabilities.shape)}"
        raise ValueError(f"{shape} and {len(labels)} labels do not belong together")
    if not len(right):
        raise ValueError("no clips: nothing to measure")
    precisions, areas = (_defined(each[0]) for each in ranking_areas(right, probabilities, np.ones((1, len(right)))))
    classes = [
        SetClassScore(**vars(score), average_precision=precision)
        for score, precision in zip(_classes(right, predicted, areas, labels), precisions, strict=True)
    ]
    return SetScores(
        clips=len(right),
        accuracy=float((right == predicted).all(1).mean()),
        macro=_average(right, predicted, "macro"),
        micro=_average(right, predicted, "micro", over=np.arange(len(labels))),  # also what is predicted for nothing
        weighted=_average(right, predicted, "weighted"),
        hits={},
        roc_auc=_mean_of_known(areas),
        kappa=None,
        mcc=None,
        ece=expected_calibration_error(probabilities.ravel(), right.ravel()),
        log_loss=float(-log_probability_of_sets(right, probabilities).mean()),
        classes=classes,
        absent=[score.label for score in classes if not score.support],
        missing={},
        mean_average_precision=_mean_of_known(precisions),
        jaccard=float(jaccard(set_counts(right, predicted).sum(0))),
        labels_per_clip=float(right.sum(1).mean()),
        predicted_per_clip=float(predicted.sum(1).mean()),
    )


def every_label(answers: Iterable[str | LabelSet]) -> list[str]:
    """All labels of these answers, those of a set one by one."""
    return [label for answer in answers for label in ((answer,) if isinstance(answer, str) else answer)]


def indicators(answers: Sequence[str | LabelSet], labels: Sequence[str]) -> np.ndarray:
    """Whether each answer, a label or a set of them, has each label, bool [N, C]; ValueError as `codes`."""
    rows = np.repeat(np.arange(len(answers)), [1 if isinstance(each, str) else len(each) for each in answers])
    found = np.zeros((len(answers), len(labels)), dtype=bool)
    found[rows.astype(np.int64), codes(every_label(answers), labels)] = True
    return found


def codes(names: Sequence[str], labels: Sequence[str]) -> np.ndarray:
    """The place of each name in `labels`, int64 [N]; ValueError when a name is none of them."""
    places = {label: place for place, label in enumerate(labels)}
    unknown = sorted(set(names) - places.keys())
    if unknown:
        raise ValueError(f"{', '.join(map(repr, unknown))} is none of the labels {', '.join(map(repr, labels))}")
    return np.array([places[name] for name in names], dtype=np.int64)


def label_counts(right: np.ndarray, correct: np.ndarray) -> np.ndarray:
    """Right answers and clips of each label, additive over clips, `[N, 2L]`, of codes [N] and bool [N]."""
    clips = np.eye(right.max() + 1, dtype=np.uint8)[right]
    return np.concatenate([clips * correct[:, None], clips], axis=1)


def accuracy(counts: np.ndarray) -> np.ndarray:
    """Share of right answers, of sums of `label_counts`: `[..., 2L]` → `[...]`."""
    hits, clips = np.split(counts, 2, axis=-1)
    return hits.sum(-1) / clips.sum(-1)


def mean_recall(counts: np.ndarray) -> np.ndarray:
    """Unweighted average recall (UAR) of the labels that occur, of sums of `label_counts`: `[..., 2L]` → `[...]`."""
    hits, clips = np.split(counts, 2, axis=-1)
    if counts.ndim == 1:  # labels left out before the mean, as scikit-learn has it
        return (hits[clips > 0] / clips[clips > 0]).mean()
    return (hits / np.maximum(clips, 1)).sum(-1) / (clips > 0).sum(-1)


def set_counts(right: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """What sums over clips with sets of labels are made of, `[N, 3C + 2]`, of bool `[N, C]` each.

    Of each label whether it is rightly predicted, wrongly predicted, missed; the Jaccard index of the two sets, which
    is 1 where both are empty; and 1.
    """
    both = (right & predicted).sum(1)
    either = (right | predicted).sum(1)
    alike = np.where(either > 0, both / np.maximum(either, 1), 1.0)
    parts = [right & predicted, ~right & predicted, right & ~predicted, alike[:, None], np.ones((len(right), 1))]
    return np.concatenate([part.astype(np.float64) for part in parts], axis=1)


def f1_micro(counts: np.ndarray) -> np.ndarray:
    """F1 of all labels of all clips, of sums of `set_counts`, `[..., 3C + 2]` → `[...]`; NaN where there are none."""
    true, false, missed = (each.sum(-1) for each in np.split(counts[..., :-2], 3, axis=-1))
    with np.errstate(invalid="ignore"):
        return 2 * true / (2 * true + false + missed)


def f1_macro(counts: np.ndarray) -> np.ndarray:
    """Mean F1 of the labels that references have, of sums of `set_counts`, `[..., 3C + 2]` → `[...]`; NaN if none."""
    true, false, missed = np.split(counts[..., :-2], 3, axis=-1)
    occurs = true + missed > 0
    with np.errstate(invalid="ignore"):
        return np.where(occurs, 2 * true / (2 * true + false + missed), 0.0).sum(-1) / occurs.sum(-1)


def jaccard(counts: np.ndarray) -> np.ndarray:
    """Mean Jaccard index of the clips, of sums of `set_counts`, `[..., 3C + 2]` → `[...]`."""
    return counts[..., -2] / counts[..., -1]


def ranking_areas(right: np.ndarray, probabilities: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Average precision and area under the ROC curve of each label, `[R, C]` both.

    Neither is a sum over clips, so the bootstrap computes them anew for each drawn set: clips that were drawn k times
    count k times. NaN where no clip has the label, and for ROC where every one has it. As in scikit-learn, equal
    probabilities are one step.

    Args:
        right: bool [N, C].
        times: how often each clip counts in each of R sets, [R, N].
    """
    precisions, areas = np.full((2, len(times), right.shape[1]), np.nan)
    for label in np.flatnonzero(right.any(0)):
        order = np.argsort(-probabilities[:, label], kind="stable")
        steps = np.flatnonzero(np.diff(probabilities[order, label], append=-np.inf))
        drawn = times[:, order]
        true = np.cumsum(drawn * right[order, label], axis=1)[:, steps]
        taken = np.cumsum(drawn, axis=1)[:, steps]
        found, wrong = np.diff(true, axis=1, prepend=0), np.diff(taken - true, axis=1, prepend=0)
        with np.errstate(invalid="ignore"):
            precisions[:, label] = (found * true / np.maximum(taken, 1)).sum(1) / true[:, -1]
            pairs = true[:, -1] * (taken - true)[:, -1]
            areas[:, label] = (wrong * (true - found / 2)).sum(1) / pairs  # a tie is half a pair in the right order
    return precisions, areas


def mean_average_precision(right: np.ndarray, probabilities: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Mean over labels of `ranking_areas`' average precision, `[R]`, without those that no clip has; NaN if none."""
    return _mean_of_defined(ranking_areas(right, probabilities, times)[0])


def mean_roc_area(right: np.ndarray, probabilities: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Mean over labels of `ranking_areas`' area under the ROC curve, `[R]`, as `mean_average_precision`."""
    return _mean_of_defined(ranking_areas(right, probabilities, times)[1])


def log_probability_of_sets(sets: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """ln of the probability of each set as a whole, `[N]`, of bool and independent probabilities `[N, C]`."""
    own = np.where(sets, probabilities, 1 - probabilities)
    return np.log(np.maximum(own, _LEAST_PROBABILITY)).sum(1)


def best_threshold(right: np.ndarray, probabilities: np.ndarray) -> float:
    """The probability from which a label is predicted so that `f1_micro` is highest; of equal ones the highest.

    It lies in the middle between two probabilities that occur; 0.5 where no clip has a label.
    """
    wanted, order = right.sum(), np.argsort(-probabilities, axis=None, kind="stable")
    values = probabilities.ravel()[order]
    if not wanted:
        return 0.5
    true = np.cumsum(right.ravel()[order])
    steps = np.flatnonzero(np.diff(values, append=-np.inf))
    best = steps[np.argmax(2 * true[steps] / (steps + 1 + wanted))]
    following = values[best + 1] if best + 1 < len(values) else 0.0
    return float((values[best] + following) / 2)


def recall_error(counts: np.ndarray) -> float:
    """The standard error of the mean recall: those of the labels' recalls, binomial, joined; of sums `[2L]`.

    Each recall p of n clips counts as (np + 1)/(n + 2), so that a few right answers are no certainty (Laplace).
    """
    hits, clips = np.split(counts.astype(np.float64), 2)
    n, k = clips[clips > 0], hits[clips > 0]
    p = (k + 1) / (n + 2)
    return float(np.sqrt((p * (1 - p) / n).sum()) / len(n))


def confusion_counts(*, references: Sequence[str], predictions: Sequence[str], labels: Sequence[str]) -> np.ndarray:
    """Clips by reference (row) and prediction (column), int64 [C, C]."""
    from sklearn.metrics import confusion_matrix

    pairs = codes(references, labels), codes(predictions, labels)
    return np.asarray(confusion_matrix(*pairs, labels=range(len(labels))), dtype=np.int64)


def row_entropy(counts: np.ndarray) -> np.ndarray:
    """How scattered the predictions of each label are, in bits, [C]; NaN for a label that no reference has.

    0: always the same prediction, right or wrong; log2(C): anything. `counts` as of `confusion_counts`.
    """
    support = counts.sum(1, keepdims=True)
    shares = counts / np.maximum(support, 1)
    bits = -(shares * np.log2(np.where(shares > 0, shares, 1.0))).sum(1) + 0.0  # -0.0 would be printed
    return np.where(support[:, 0] > 0, bits, np.nan)


def hits_at_k(right: np.ndarray, probabilities: np.ndarray, k: int) -> float:
    """Share of clips (codes [N]) whose label is among the k most likely; of equally likely ones earlier columns win."""
    most = np.argsort(-probabilities, axis=1, kind="stable")[:, :k]
    return float((most == right[:, None]).any(1).mean())


def log_losses(right: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """−ln p of each clip's right label, `[N]`, each p at least 1e-15; rows are divided by their sum."""
    own = probabilities[np.arange(len(right)), right] / probabilities.sum(1)
    return -np.log(np.maximum(own, _LEAST_PROBABILITY))


def roc_areas(right: np.ndarray, probabilities: np.ndarray) -> list[float | None]:
    """Area under the ROC curve of each label against the rest; `None` where references have it never or always."""
    from sklearn.metrics import roc_auc_score

    return [
        float(roc_auc_score(mine, column)) if 0 < (mine := _of_label(right, place)).sum() < len(right) else None
        for place, column in enumerate(probabilities.T)
    ]


def _classes(
    right: np.ndarray, predicted: np.ndarray, areas: Sequence[float | None], labels: Sequence[str]
) -> list[ClassScore]:
    from sklearn.metrics import matthews_corrcoef, precision_recall_fscore_support

    every = range(len(labels))
    found = precision_recall_fscore_support(right, predicted, labels=every, average=None, zero_division=0)
    times = [int(_of_label(predicted, place).sum()) for place in every]
    return [
        ClassScore(
            labels[place],
            support=int(support),
            predicted=times[place],
            precision=float(precision) if times[place] else None,
            recall=float(recall) if support else None,
            f1=float(f1) if support else None,
            mcc=None
            if areas[place] is None
            else float(matthews_corrcoef(_of_label(right, place), _of_label(predicted, place))),
            roc_auc=areas[place],
        )
        for place, precision, recall, f1, support in zip(every, *found, strict=True)
    ]


def _of_label(answers: np.ndarray, place: int) -> np.ndarray:
    """Which clips have a label, bool [N], of codes [N] or of bool [N, C]."""
    found: np.ndarray = answers == place if answers.ndim == 1 else answers[:, place]
    return found


def _defined(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]


def _mean_of_known(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _mean_of_defined(values: np.ndarray) -> np.ndarray:
    """`[R, C]` → `[R]`, without NaN; NaN where a row has nothing else."""
    defined = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(defined, values, 0.0).sum(1) / defined.sum(1)


def _average(right: np.ndarray, predicted: np.ndarray, kind: str, over: np.ndarray | None = None) -> Average:
    """Over the labels that references have, or those given."""
    from sklearn.metrics import precision_recall_fscore_support

    if over is None:
        over = np.unique(right) if right.ndim == 1 else np.flatnonzero(right.any(0))
    found: tuple[Any, ...] = precision_recall_fscore_support(
        right, predicted, labels=over, average=kind, zero_division=0
    )
    return Average(*map(float, found[:3]))


def reliability_bins(confidence: np.ndarray, correct: np.ndarray, *, bins: int = BINS) -> np.ndarray:
    """Clips, their mean confidence and the share of right ones, in bins of equal width, [bins, 3]; NaN without clips.

    A bin has the clips above its lower end and not above its upper one; the first has those of 0 too. ValueError when
    there are no clips, or a confidence (probability of the predicted label) is not in 0–1.
    """
    if not len(confidence):
        raise ValueError("no clips: nothing to measure")
    if not ((confidence >= 0) & (confidence <= 1 + 1e-6)).all():
        raise ValueError(f"a confidence lies outside 0–1: {confidence.min()} to {confidence.max()}")
    places = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], confidence, side="left")
    found = np.full((bins, 3), np.nan)
    found[:, 0] = np.bincount(places, minlength=bins)
    for place in set(places.tolist()):
        found[place, 1:] = confidence[places == place].mean(), correct[places == place].mean()
    return found


def expected_calibration_error(confidence: np.ndarray, correct: np.ndarray, *, bins: int = BINS) -> float:
    """Mean distance of confidence and accuracy over the bins, weighted by their clips.

    Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, equation 3.
    """
    found = reliability_bins(confidence, correct, bins=bins).tolist()
    return sum(clips * abs(right - sure) for clips, sure, right in found if clips) / len(confidence)


def fit_temperature(log_probs: np.ndarray, right: np.ndarray) -> float:
    """The T for which softmax(log_probs / T) fits the right labels best; above 1 the model was too sure.

    Guo et al. (2017), section 4.2, on clips not seen in training. The loss is convex in 1/T, with one minimum. Where
    the model is always right, T would fall to 0 and every probability become 1; so each right label counts
    1 − 1/(N + 2), and the rest is spread over the others (Platt 1999, section 2.2).

    Args:
        log_probs: [N, C], logits or log-probabilities.
        right: codes of the right labels, [N].
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
