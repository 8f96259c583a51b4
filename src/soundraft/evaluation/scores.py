"""The predictions of one model on a set of clips and what they are worth: one type for every task."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from soundraft.metrics import labels as label_metrics
from soundraft.metrics import text as text_metrics
from soundraft.metrics.labels import LabelScores
from soundraft.metrics.resampling import Bootstrap, Comparison, compare, interval
from soundraft.metrics.signal import mean_of_known
from soundraft.runtime import UserError
from soundraft.tables import shortened

UNKNOWN_GROUP = "not known"


@dataclass(frozen=True)
class Metric:
    """A number of a set of clips, made of sums over them wherever it can be.

    Attributes:
        counts: which of `Scores.counts` it is made of, `[N, M]`.
        value: sums `[..., M]` → `[...]`.
        best: of a perfect model: 0 for an error rate, 1 for a share of right answers, infinite for decibels.
        error: what a curve over cycles shows; of a share of right answers it is the share of wrong ones.
        columns: names of the M counts in predictions.parquet; empty where they follow from the predictions.
        clip_error: counts → `[N]`, by which the worst clips are found; without it the value of each clip counts.
        unit: % for a share of 1.
        additive: whether it is made of sums. Else `value` takes what a ranking is made of: bool references `[N, C]`,
            probabilities `[N, C]` and how often each clip counts, `[R, N]` → `[R]`; NaN where it is not defined.
    """

    key: str
    title: str
    counts: str
    value: Callable[..., np.ndarray]
    best: float
    error: str
    columns: tuple[str, ...] = ()
    clip_error: Callable[[np.ndarray], np.ndarray] | None = None
    unit: str = "%"
    additive: bool = True

    @property
    def higher_is_better(self) -> bool:
        return self.best > 0

    def show(self, value: float, *, digits: int = 1) -> str:
        """Never as −0."""
        return f"{value:z.{digits}%}" if self.unit == "%" else f"{value:z.{digits}f} {self.unit}"

    def sign(self, found: Comparison) -> int:
        """1 when the first is better by more than chance, −1 when the second is, else 0."""
        sign = (found.low > 0) - (found.high < 0)
        return sign if self.higher_is_better else -sign

    def show_difference(self, found: Comparison, *, digits: int = 1) -> tuple[str, str, str]:
        """Difference and ends of its interval; shares as points (hundredths)."""
        scale, unit = (100, "points") if self.unit == "%" else (1, self.unit)
        middle, low, high = (f"{scale * value:+.{digits}f}" for value in (found.difference, found.low, found.high))
        return f"{middle} {unit}", low, high


def _of_signal(key: str, title: str, best: float, error: str, unit: str = "%") -> Metric:
    """The mean of those clips for which it is defined."""
    return Metric(key, title, key, mean_of_known, best, error, (f"{key}_known", key), unit=unit)


WORDS, CHARACTERS, LABELS, SETS = "words", "characters", "labels", "sets"
RAW = ("reference_raw", "prediction_raw")
METRICS = {
    metric.key: metric  # in the order in which a report shows those that a model has
    for metric in (
        Metric("wer", "WER", WORDS, text_metrics.error_rate, 0, "word error rate", text_metrics.Counts._fields,
               clip_error=lambda counts: counts[:, 1:].sum(1)),
        Metric("cer", "CER", CHARACTERS, text_metrics.error_rate, 0, "character error rate",
               clip_error=lambda counts: counts[:, 1:].sum(1)),
        Metric("accuracy", "accuracy", LABELS, label_metrics.accuracy, 1, "share of wrong labels"),
        Metric("uar", "UAR", LABELS, label_metrics.mean_recall, 1, "1 − UAR"),
        Metric("map", "mAP", SETS, label_metrics.mean_average_precision, 1, "1 − mAP", additive=False),
        Metric("auc_macro", "macro AUC", SETS, label_metrics.mean_roc_area, 1, "1 − macro AUC", additive=False),
        Metric("f1_micro", "micro F1", SETS, label_metrics.f1_micro, 1, "1 − micro F1"),
        Metric("f1_macro", "macro F1", SETS, label_metrics.f1_macro, 1, "1 − macro F1"),
        Metric("jaccard", "Jaccard", SETS, label_metrics.jaccard, 1, "1 − Jaccard"),
        _of_signal("si_sdri", "ΔSI-SDR", math.inf, "ΔSI-SDR (dB)", "dB"),
        _of_signal("estoi", "ESTOI", 1, "1 − ESTOI"),
        _of_signal("worse", "clips made worse", 0, "share of clips made worse"),
        _of_signal("sdr", "SDR", math.inf, "SDR (dB)", "dB"),
        _of_signal("stoi", "STOI", 1, "1 − STOI"),
        _of_signal("pesq", "PESQ", math.inf, "PESQ", "MOS"),
        _of_signal("dnsmos", "DNSMOS", math.inf, "DNSMOS", "MOS"),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Estimate:
    """With its 95 % interval."""

    value: float
    low: float
    high: float
    metric: Metric

    def __str__(self) -> str:
        value, low, high = (self.metric.show(each) for each in (self.value, self.low, self.high))
        return f"{value} [{low}–{high}]"


@dataclass(frozen=True, eq=False)  # arrays have no one truth value
class Scores:
    """A row per clip; lists and arrays are parallel.

    Attributes:
        references: `None` where they are not known; then there are no counts and no metrics.
        counts: by name, `[N, M]`, additive over clips.
        target: what a classifier predicts, such as "emotion"; empty for other tasks.
        labels: all that a classifier can predict.
        probabilities: of each label, `[N, C]`, for a classifier.
        sets: whether its predictions and references are sets of labels, sorted tuples.
        paths: of the audio files; `None` where they are not known.
        groups: what else is known of each clip, by name, such as speaker, gender, fold; `None` where it is not.
        raw: by `RAW`, transcripts as they were before their normalisation; empty for other tasks.
    """

    ids: list[str]
    predictions: list[Any]
    references: list[Any] | None = None
    counts: Mapping[str, np.ndarray] = field(default_factory=dict)
    target: str = ""
    labels: list[str] = field(default_factory=list)
    probabilities: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    paths: list[str] | None = None
    groups: Mapping[str, list[str | None]] = field(default_factory=dict)
    sets: bool = False
    raw: Mapping[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        columns: dict[str, Any] = {"predictions": self.predictions, "references": self.references, "paths": self.paths}
        columns |= {**self.counts, **self.groups, **self.raw} | (
            {"probabilities": self.probabilities} if self.labels else {}
        )
        wrong = [f"{len(rows)} {name}" for name, rows in columns.items() if rows is not None and len(rows) != len(self)]
        if wrong:
            raise ValueError(f"{len(self)} clips, but {', '.join(wrong)}")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def metrics(self) -> list[Metric]:
        """Those that the clips have, the headline first: CER before WER where words have no spaces."""
        found = [metric for metric in METRICS.values() if metric.counts in self.counts and self._defines(metric)]
        unspaced = CHARACTERS in self.counts and text_metrics.are_unspaced(self.references or [])
        return sorted(found, key=lambda metric: metric.counts != CHARACTERS) if unspaced else found

    @property
    def known(self) -> list[Any]:
        """The references.

        Raises:
            UserError: when there are no clips, or no references.
        """
        if not self.ids:
            raise UserError("no clips: there is nothing to measure")
        if self.references is None:
            what = self.target or "reference"
            raise UserError(f"the {len(self)} clips have no {what}: there is nothing to measure against")
        return self.references

    def value(self, key: str) -> float:
        """A metric of all clips; NaN where these have none, as an AUC of a single clip; UserError as `known`."""
        metric, counts = METRICS[key], self._of(key)
        return float(
            metric.value(counts.sum(0)) if metric.additive else self._ranked(metric, np.ones((1, len(self))))[0]
        )

    def estimate(self, key: str, bootstrap: Bootstrap) -> Estimate:
        """The same with its interval: of a share of right labels Wilson's, which is not empty where all are right."""
        metric, value = METRICS[key], self.value(key)
        if metric.counts == LABELS:
            trials = label_metrics.trials_of(self._of(key).sum(0), key)
            return Estimate(value, *label_metrics.wilson(value, trials), metric)
        drawn = self._drawn(key, bootstrap)
        tail = 0.025 if metric.higher_is_better else 1 - 0.975  # they differ in the last bit, as in earlier reports
        return Estimate(value, *interval(drawn, tail=tail), metric)

    def difference(self, other: "Scores", key: str, bootstrap: Bootstrap) -> Comparison:
        """This metric less that of another model on the same clips in the same order, by the paired bootstrap."""
        if self.ids != other.ids or self.known != other.known:
            raise ValueError("the two models did not predict the same clips in the same order")
        drawn = self._drawn(key, bootstrap) - other._drawn(key, bootstrap)
        return compare(self.value(key) - other.value(key), drawn)

    def part(self, places: Sequence[int]) -> "Scores":
        """Some of the clips, in this order."""

        def pick(rows: list | None) -> Any:
            return None if rows is None else [rows[place] for place in places]

        return replace(
            self,
            ids=pick(self.ids),
            predictions=pick(self.predictions),
            references=pick(self.references),
            counts={name: counts[places] for name, counts in self.counts.items()},
            probabilities=self.probabilities[places] if self.labels else self.probabilities,
            paths=pick(self.paths),
            groups={name: pick(values) for name, values in self.groups.items()},
            raw={name: pick(values) for name, values in self.raw.items()},
        )

    def by(self, group: str) -> "dict[str, Scores]":
        """The clips of each value of a group, values in alphabetical order, clips without one last."""
        values = self.groups[group]
        return {
            UNKNOWN_GROUP if value is None else value: self.part([n for n, each in enumerate(values) if each == value])
            for value in sorted(set(values), key=lambda value: (value is None, value or ""))
        }

    @property
    def confidence(self) -> np.ndarray:
        """Of a classifier the probability of each prediction, `[N]`."""
        return self.probability_of(self.predictions)

    def probability_of(self, names: Sequence[Any]) -> np.ndarray:
        """Of a classifier the probability of a label for each clip, or of a set of them as a whole, `[N]`."""
        if self.sets:
            own = label_metrics.indicators(names, self.labels)
            return np.exp(label_metrics.log_probability_of_sets(own, self.probabilities))
        return self.probabilities[np.arange(len(self)), label_metrics.codes(names, self.labels)]

    @property
    def correct(self) -> np.ndarray:
        """Whether each prediction is the reference, bool `[N]`."""
        return np.array([one == other for one, other in zip(self.known, self.predictions, strict=True)])

    @property
    def confusions(self) -> np.ndarray:
        """Clips by reference and prediction, of a classifier, `[C, C]`; each time an array of its own."""
        return label_metrics.confusion_counts(references=self.known, predictions=self.predictions, labels=self.labels)

    @property
    def clip_errors(self) -> np.ndarray:
        """How wrong each prediction is, the higher the worse, `[N]`: 1 less the probability of the right label, the
        number of wrong words, or what the headline metric says of the clip alone.
        """
        if self.labels:
            return 1 - self.probability_of(self.known)
        metric = self.metrics[0]
        counts = self.counts[metric.counts]
        if metric.clip_error:
            return metric.clip_error(counts)
        return -metric.value(counts) if metric.higher_is_better else metric.value(counts)

    @cached_property
    def label_scores(self) -> LabelScores:
        """All that is measured of a classifier; UserError as `known`."""
        measure = label_metrics.measure_sets if self.sets else label_metrics.measure
        return measure(
            references=self.known, predictions=self.predictions, probabilities=self.probabilities, labels=self.labels
        )

    @property
    def set_scores(self) -> label_metrics.SetScores:
        """The same where clips have sets of labels."""
        found = self.label_scores
        assert isinstance(found, label_metrics.SetScores)
        return found

    def _defines(self, metric: Metric) -> bool:
        return metric.counts != SETS or not np.isnan(self.value(metric.key))

    def _ranked(self, metric: Metric, times: np.ndarray) -> np.ndarray:
        return metric.value(label_metrics.indicators(self.known, self.labels), self.probabilities, times)

    def _drawn(self, key: str, bootstrap: Bootstrap) -> np.ndarray:
        """A metric of each drawn set of clips, `[samples]`."""
        metric, counts = METRICS[key], self._of(key)
        if metric.additive:
            return metric.value(bootstrap.sums(counts))
        return np.concatenate([self._ranked(metric, times) for times in bootstrap.times(len(self))])

    def _of(self, key: str) -> np.ndarray:
        assert len(self.known) == len(self)
        return self.counts[METRICS[key].counts]


def score_texts(
    *, ids: Sequence[str], references: Sequence[str], hypotheses: Sequence[str], normalizer: text_metrics.Normalizer
) -> Scores:
    """Normalise transcripts and their references, and count the edits of each pair."""
    right, predicted = ([normalizer(each) for each in side] for side in (references, hypotheses))
    ways = {WORDS: text_metrics.word_counts, CHARACTERS: text_metrics.character_counts}
    counts = {name: text_metrics.counts_of(right, predicted, way) for name, way in ways.items()}
    return Scores(list(ids), predicted, right, counts)


def rescored(scores: Scores, normalizer: text_metrics.Normalizer) -> Scores:
    """The same transcripts by another text normalisation.

    Raises:
        UserError: when it is not known how they were written.
    """
    if not scores.raw:
        raise UserError(f"without {' and '.join(RAW)}: texts as they were written can be normalised anew, no others")
    right, predicted = (scores.raw[name] for name in RAW)
    found = score_texts(ids=scores.ids, references=right, hypotheses=predicted, normalizer=normalizer)
    return replace(found, raw=scores.raw, paths=scores.paths, groups=scores.groups)


def snapped(scores: Scores, snapper: text_metrics.VocabularySnapper) -> Scores:
    """The same clips with every output word replaced by the nearest vocabulary word."""
    hypotheses = list(map(snapper, scores.predictions))
    return score_texts(ids=scores.ids, references=scores.known, hypotheses=hypotheses, normalizer=str)


def score_labels(
    ids: Sequence[str],
    probabilities: np.ndarray,
    labels: Sequence[str],
    *,
    target: str = "label",
    predictions: Sequence[Any] | None = None,
    references: Sequence[Any] | None = None,
    paths: Sequence[str] | None = None,
    groups: Mapping[str, Sequence[str | None]] | None = None,
    sets: bool = False,
) -> Scores:
    """The predictions of a classifier.

    Args:
        probabilities: [N, C], columns in the order of the labels.
        predictions: without them the most likely label of each clip, of equally likely ones the earlier column; of sets
            the labels from probability 0.5.
        sets: whether predictions and references are sets of labels.

    Raises:
        UserError: when a reference has a label that is none of these, or all are empty sets.
    """
    if probabilities.shape != (len(ids), len(labels)):
        raise ValueError(f"probabilities {list(probabilities.shape)} of {len(ids)} clips and {len(labels)} labels")
    if predictions is None and sets:
        predictions = label_sets(probabilities >= 0.5, labels)
    elif predictions is None:
        predictions = [labels[place] for place in probabilities.argmax(1)] if len(ids) else []
    counts = {}
    if references:
        check_labels(labels, references, split="the clips")
    if references and sets:
        if not any(references):
            raise UserError(f"none of the {len(references)} clips has a {target}: there is nothing to measure")
        right, predicted = (label_metrics.indicators(each, labels) for each in (references, predictions))
        counts[SETS] = label_metrics.set_counts(right, predicted)
    elif references:
        right = label_metrics.codes(references, sorted(set(references)))
        counts[LABELS] = label_metrics.label_counts(right, np.array(references) == np.array(predictions))
    own = {name: list(values) for name, values in (groups or {}).items()}
    return Scores(
        list(ids), list(predictions), None if references is None else list(references), counts, target, list(labels),
        probabilities, None if paths is None else list(paths), own, sets,
    )  # fmt: skip


def label_sets(chosen: np.ndarray, labels: Sequence[str]) -> list[label_metrics.LabelSet]:
    """The set of labels of each row, of bool `[N, C]`."""
    return [tuple(sorted(labels[place] for place in np.flatnonzero(row).tolist())) for row in chosen]


def majority(train_labels: Sequence[Any], like: Scores) -> Scores:
    """A model without input: the shares of the labels in training, for each clip of `like`.

    Of sets the share of the clips that have each label: so it predicts those that more than half of the clips have.
    """
    if not train_labels:
        raise UserError("training has no clips")
    if like.sets:
        shares = label_metrics.indicators(train_labels, like.labels).mean(0)
    else:
        counts = np.bincount(label_metrics.codes(train_labels, like.labels), minlength=len(like.labels))
        shares = counts / counts.sum()
    shares = np.tile(shares, (len(like), 1))
    scores = score_labels(like.ids, shares, like.labels, target=like.target, references=like.references, sets=like.sets)
    return replace(scores, paths=like.paths, groups=like.groups)


def check_training(train: Sequence[Any]) -> None:
    """Raise UserError when nothing can be learned from these training labels, or sets of them."""
    if not train:
        raise UserError("training has no clips")
    labels, needs = sorted(set(label_metrics.every_label(train))), "a classifier needs two labels or more"
    if len(set(train)) == 1:
        raise UserError(f"all {len(train)} training clips are {train[0]!r}: {needs}")
    if len(labels) < 2:
        raise UserError(f"the {len(train)} training clips have {labels[0]!r} or no label: {needs}")


def check_labels(train: Sequence[Any], other: Sequence[Any], *, split: str = "test") -> None:
    """Raise UserError when clips (of a split) have labels that were not seen in training: no model predicts them."""
    seen = set(label_metrics.every_label(train))
    unseen = Counter(label for label in label_metrics.every_label(other) if label not in seen)
    if unseen:
        named = shortened(f"{label!r} ({count})" for label, count in sorted(unseen.items()))
        clips = sum(not seen.issuperset(label_metrics.every_label([each])) for each in other)
        raise UserError(
            f"{split}: {clips} of {len(other)} clips have labels that were not seen in training: {named}; "
            f"training has {shortened(map(repr, sorted(seen)))}"
        )
