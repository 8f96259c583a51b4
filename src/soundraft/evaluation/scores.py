"""Scoring a set of transcripts against its references, and the tables and files that come of it."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from soundraft.metrics import labels as metric
from soundraft.metrics import resampling
from soundraft.metrics import text as text_metric
from soundraft.metrics.labels import LabelScores
from soundraft.metrics.resampling import Comparison, Interval
from soundraft.metrics.text import Counts
from soundraft.models.longform import Segment
from soundraft.runtime import UserError


@dataclass(frozen=True)
class Scored:
    """Normalised references and hypotheses of one set of clips, with their edit counts; parallel lists."""

    ids: list[str]
    references: list[str]
    hypotheses: list[str]
    words: list[Counts]
    characters: list[Counts]

    @property
    def wer(self) -> float:
        return text_metric.pooled_rate(self.words)

    @property
    def cer(self) -> float:
        return text_metric.pooled_rate(self.characters)


def score(
    *, ids: Sequence[str], references: Sequence[str], hypotheses: Sequence[str], normalizer: text_metric.Normalizer
) -> Scored:
    """Normalise both sides and count the edits of each pair."""
    said = [normalizer(text) for text in references]
    heard = [normalizer(text) for text in hypotheses]
    pairs = list(zip(said, heard, strict=True))
    return Scored(
        list(ids),
        said,
        heard,
        [text_metric.word_counts(reference=a, hypothesis=b) for a, b in pairs],
        [text_metric.character_counts(reference=a, hypothesis=b) for a, b in pairs],
    )


def snapped(scored: Scored, snapper: text_metric.VocabularySnapper) -> Scored:
    """The same clips with every output word replaced by the nearest vocabulary word."""
    return score(
        ids=scored.ids,
        references=scored.references,
        hypotheses=[snapper(text) for text in scored.hypotheses],
        normalizer=text_metric.NORMALIZERS["none"],
    )


# Segments of a transcript as plain text, JSON or SubRip subtitles.


def txt(segments: Sequence[Segment]) -> str:
    """A line for each segment."""
    return "".join(f"{segment.text}\n" for segment in segments)


def to_json(segments: Sequence[Segment]) -> str:
    """The whole text, and each segment with its times in seconds, to the millisecond."""
    rows = [
        {"start_s": round(segment.start_s, 3), "end_s": round(segment.end_s, 3), "text": segment.text}
        for segment in segments
    ]
    whole = " ".join(segment.text for segment in segments)
    return json.dumps({"text": whole, "segments": rows}, indent=2, ensure_ascii=False) + "\n"


def srt(segments: Sequence[Segment]) -> str:
    """SubRip: numbered from 1, times as `hh:mm:ss,mmm`, a blank line between.

    An arrow in a text would be taken for times.
    """
    return "\n".join(
        f"{number}\n{clock(segment.start_s)} --> {clock(segment.end_s)}\n{segment.text.replace('-->', '->')}\n"
        for number, segment in enumerate(segments, start=1)
    )


def clock(seconds: float) -> str:
    """`hh:mm:ss,mmm`, rounded to the millisecond; hours go on above 99."""
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d},{rest % 1000:03d}"


WRITERS: dict[str, Callable[[Sequence[Segment]], str]] = {"txt": txt, "json": to_json, "srt": srt}


# What a classifier says of a set of clips: kept in a file, scored, by group, with intervals, with its worst clips.


NOT_KNOWN = "not known"
SHOWN_LABELS = 10


@dataclass(frozen=True, eq=False)  # arrays have no one truth value
class Predicted:
    """The answers of one model; parallel lists.

    Attributes:
        probabilities: [N, C], columns in the order of `labels`.
        target: what is told, such as "emotion"; names the columns of the file.
        references: `None` for clips whose label is not known.
        paths: of the audio files; `None` where they are not known.
        groups: what else is known of each clip, by name, such as speaker, gender, fold; `None` where it is not.
    """

    ids: list[str]
    predictions: list[str]
    probabilities: np.ndarray
    labels: list[str]
    target: str = "label"
    references: list[str] | None = None
    paths: list[str] | None = None
    groups: dict[str, list[str | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lengths = {"predictions": len(self.predictions), "probabilities": len(self.probabilities)}
        lengths |= {} if self.references is None else {"references": len(self.references)}
        lengths |= {} if self.paths is None else {"paths": len(self.paths)}
        lengths |= {name: len(values) for name, values in self.groups.items()}
        wrong = [f"{count} {name}" for name, count in lengths.items() if count != len(self.ids)]
        if wrong:
            raise ValueError(f"{len(self.ids)} clips, but {', '.join(wrong)}")
        if self.probabilities.shape != (len(self.ids), len(self.labels)):
            raise ValueError(f"probabilities {list(self.probabilities.shape)} of {len(self.labels)} labels")

    @property
    def known(self) -> list[str]:
        """The references.

        Raises:
            UserError: when there are no clips, or no references, or one that is none of the labels.
        """
        if not self.ids:
            raise UserError("no clips: there is nothing to measure")
        if self.references is None:
            raise UserError(f"the {len(self.ids)} clips have no {self.target}: there is nothing to measure against")
        check_labels(self.labels, self.references, split="the clips")
        return self.references

    @property
    def confidence(self) -> np.ndarray:
        """The probability of each prediction, [N]."""
        return self.probabilities[np.arange(len(self.ids)), metric.codes(self.predictions, self.labels)]

    @property
    def correct(self) -> np.ndarray:
        """Whether each prediction is right, bool [N]."""
        return np.array(self.known) == np.array(self.predictions)


@dataclass(frozen=True)
class GroupScore:
    """The clips of one speaker, one gender, one fold, …; `uar` is over the labels that these clips have."""

    value: str
    clips: int
    accuracy: float
    uar: float
    labels: int


@dataclass(frozen=True)
class Worst:
    """A clip that was told wrongly, and how surely."""

    id: str
    path: str | None
    reference: str
    prediction: str
    confidence: float
    reference_probability: float


@dataclass(frozen=True)
class Differences:
    """Of two models on the same clips: the first's rate less the second's; above 0 the first is better."""

    accuracy: Comparison
    uar: Comparison


def predicted(
    ids: Sequence[str],
    probabilities: np.ndarray,
    labels: Sequence[str],
    *,
    target: str = "label",
    references: Sequence[str] | None = None,
    paths: Sequence[str] | None = None,
    groups: Mapping[str, Sequence[str | None]] | None = None,
) -> Predicted:
    """The most likely label of each clip; of equally likely ones the earlier column.

    Args:
        probabilities: [N, C].
    """
    return Predicted(
        list(ids),
        [labels[place] for place in probabilities.argmax(1)] if len(probabilities) else [],
        probabilities,
        list(labels),
        target,
        None if references is None else list(references),
        None if paths is None else list(paths),
        {name: list(values) for name, values in (groups or {}).items()},
    )


def majority(train_labels: Sequence[str], like: Predicted) -> Predicted:
    """The answers of a model that heard nothing: the shares of the labels in training, for each clip of `like`.

    Raises:
        UserError: when there is no training clip.
    """
    if not train_labels:
        raise UserError("training has no clips")
    counts = np.bincount(metric.codes(train_labels, like.labels), minlength=len(like.labels))
    shares = np.tile(counts / counts.sum(), (len(like.ids), 1))
    return predicted(
        like.ids, shares, like.labels, target=like.target, references=like.references, paths=like.paths,
        groups=like.groups,
    )  # fmt: skip


def check_training(train: Sequence[str]) -> None:
    """Raise UserError when these training labels are nothing to learn from."""
    if not train:
        raise UserError("training has no clips")
    if len(set(train)) == 1:
        raise UserError(f"all {len(train)} training clips are {train[0]!r}: a classifier needs two labels or more")


class UnseenLabels(UserError):
    """Clips have labels that training never saw."""


def check_labels(train: Sequence[str], other: Sequence[str], *, split: str = "test") -> None:
    """Raise UnseenLabels when clips have labels that training never saw: no model could tell them.

    Args:
        train: labels of the training clips, or the labels that a model knows.
        other: labels of the clips to be told.
        split: what to call those.
    """
    unseen = Counter(label for label in other if label not in set(train))
    if unseen:
        named = shortened(f"{label!r} ({count})" for label, count in sorted(unseen.items()))
        raise UnseenLabels(
            f"{split}: {unseen.total()} of {len(other)} clips have labels that training never saw: {named}; "
            f"training has {shortened(map(repr, sorted(set(train))))}"
        )


def shortened(names: Iterable[str], *, joint: str = ", ") -> str:
    """As many as a person reads, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - SHOWN_LABELS} more" if len(listed) > SHOWN_LABELS else ""
    return joint.join(listed[:SHOWN_LABELS]) + more


def label_scores(given: Predicted) -> LabelScores:
    """All that is measured; UserError as `Predicted.known`."""
    return metric.measure(
        references=given.known, predictions=given.predictions, probabilities=given.probabilities, labels=given.labels
    )


def intervals(given: Predicted, *, samples: int, seed: int) -> tuple[Interval, Interval]:
    """95 % intervals of accuracy and UAR, clips drawn with replacement."""
    right = metric.codes(given.known, given.labels)
    drawn = resampling.drawn_rates(right, given.correct, samples=samples, seed=seed)
    return resampling.interval(drawn.accuracy), resampling.interval(drawn.uar)


def differences(first: Predicted, second: Predicted, *, samples: int, seed: int) -> Differences:
    """The paired bootstrap: the same clips are drawn for both models.

    Raises:
        ValueError: when the models were not asked about the same clips in the same order.
    """
    if first.ids != second.ids or first.known != second.known:
        raise ValueError("the two models were not asked about the same clips in the same order")
    right = metric.codes(first.known, first.labels)
    here, there = (resampling.rates(right, each.correct) for each in (first, second))
    one, other = (resampling.drawn_rates(right, each.correct, samples=samples, seed=seed) for each in (first, second))
    return Differences(
        resampling.compared(here[0] - there[0], one.accuracy - other.accuracy),
        resampling.compared(here[1] - there[1], one.uar - other.uar),
    )


def by_group(given: Predicted, name: str) -> list[GroupScore]:
    """The rates of each value of a group, values in alphabetical order, clips without one last.

    Raises:
        UserError: when there is no such group.
    """
    if name not in given.groups:
        raise UserError(f"no group {name!r}; there is {', '.join(sorted(given.groups)) or 'none'}")
    values = given.groups[name]
    right, correct = metric.codes(given.known, given.labels), given.correct
    found = []
    for value in sorted(set(values), key=lambda value: (value is None, value or "")):
        own = np.array([each == value for each in values])
        accuracy, uar = resampling.rates(right[own], correct[own])
        shown = NOT_KNOWN if value is None else value
        found.append(GroupScore(shown, int(own.sum()), accuracy, uar, len(set(right[own].tolist()))))
    return found


def worst(given: Predicted, *, top: int) -> list[Worst]:
    """The wrong answers, the surest first; equally sure ones by id."""
    own = given.probabilities[np.arange(len(given.ids)), metric.codes(given.known, given.labels)]
    confidence = given.confidence
    wrong = sorted(np.flatnonzero(~given.correct).tolist(), key=lambda clip: (-confidence[clip], given.ids[clip]))
    return [
        Worst(
            given.ids[clip],
            given.paths[clip] if given.paths else None,
            given.known[clip],
            given.predictions[clip],
            float(confidence[clip]),
            float(own[clip]),
        )
        for clip in wrong[:top]
    ]
