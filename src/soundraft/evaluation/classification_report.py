"""From the answers of a chain of classifiers to what a person reads: one table, plain sentences, and every detail."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from soundraft import files
from soundraft.evaluation import scores as classification
from soundraft.evaluation.predictions import Model, write_models
from soundraft.evaluation.report import ALGORITHMS, START, TRAINED, Bootstrap, write_csv
from soundraft.evaluation.scores import Predicted
from soundraft.metrics.labels import LabelScores, confusion_counts, row_entropy
from soundraft.metrics.resampling import Comparison, Interval

SVM = "svm"
MAJORITY = "majority"
_NAMES = ALGORITHMS | {SVM: "statistics SVM", MAJORITY: "majority class"}
_ORDER = (START, TRAINED, *_NAMES)
_NONE = "–"
_GROUPS_SHOWN = 40


@dataclass(frozen=True)
class Row:
    """One model on the test clips; all rows of a report have the same clips in the same order.

    Attributes:
        chain: "start", "trained", the name of a control, "svm" or "majority".
        algorithm: by which the model was trained; of a control its name again.
        name: what a person calls a model that belongs to no chain of cycles; else it is called by its chain.
    """

    chain: str
    algorithm: str
    cycle: int
    predicted: Predicted
    name: str = ""

    @property
    def label(self) -> str:
        """What a person calls the model."""
        if self.name:
            return self.name
        if self.chain == START:
            return "start model"
        return _NAMES[self.algorithm] if self.chain == TRAINED else f"control: {_NAMES[self.chain]}"

    @property
    def in_words(self) -> str:
        """The same, in a sentence."""
        if self.chain in (START, SVM, MAJORITY):
            return f"the {self.label.removeprefix('control: ')}"
        return f"cycle {self.cycle}" if self.chain == TRAINED else f"the control “{_NAMES[self.chain]}”"

    @property
    def accuracy(self) -> float:
        return float(self.predicted.correct.mean())


@dataclass(frozen=True)
class _Measured:
    row: Row
    scores: LabelScores
    accuracy: Interval
    uar: Interval


def write(folder: Path, rows: Sequence[Row], bootstrap: Bootstrap, *, top: int, division: str | None = None) -> None:
    """report.md, metrics.json, predictions.parquet, and of the last model classes, confusions and worst clips as csv.

    Args:
        rows: the start model first.
        top: rows of the table of worst clips, and of a group's table where there are very many groups.
        division: how the test clips were set apart, such as "no speaker in two splits".
    """
    last = last_trained(rows).predicted
    files.write_text(folder / "report.md", report(rows, bootstrap, top=top, division=division))
    files.write_json(folder / "metrics.json", summary(rows, bootstrap))
    models = [(Model(row.chain, row.algorithm, row.cycle), row.predicted) for row in rows]
    write_models(folder / "predictions.parquet", models)
    write_csv(folder / "classes.csv", [vars(score) for score in classification.label_scores(last).classes])
    counts = confusion_counts(references=last.known, predictions=last.predictions, labels=last.labels)
    pairs = [
        {"reference": said, "prediction": told, "clips": int(counts[i, j])}
        for i, said in enumerate(last.labels)
        for j, told in enumerate(last.labels)
        if counts[i, j] and i != j
    ]
    write_csv(folder / "confusions.csv", sorted(pairs, key=lambda pair: -pair["clips"]))
    write_csv(folder / "worst_clips.csv", [vars(clip) for clip in classification.worst(last, top=top)])


def report(rows: Sequence[Row], bootstrap: Bootstrap, *, top: int, division: str | None = None) -> str:
    """The whole report in markdown; arguments as `write`."""
    measured = _measured(rows, bootstrap)
    last = last_trained(rows)
    found = next(each.scores for each in measured if each.row is last)
    clips = last.predicted
    parts = [
        f"# {_first(clips.target)}: {found.clips} test clips, {len(clips.labels)} labels",
        *([f"Division into splits: {division}."] if division else []),
        _main_table(measured),
        "\n".join(f"- {sentence}" for sentence in [*verdicts(rows, bootstrap), *_notes(found)]),
        "## Further measures",
        _further_table(measured),
        f"## Classes, by {last.in_words}",
        _classes_table(found, clips),
        *(part for name in clips.groups for part in _group(clips, name, top)),
        f"## Worst clips of {last.in_words}",
        _worst_table(clips, top),
    ]
    return "\n\n".join(parts) + "\n"


def summary(rows: Sequence[Row], bootstrap: Bootstrap) -> dict[str, Any]:
    """Flat metrics of the whole run: before, after, and the bars to clear."""
    last = last_trained(rows)
    chosen = [row for row in rows if row in (rows[0], last) or row.chain in (SVM, MAJORITY)]
    by_row = {id(each.row): each for each in _measured(chosen, bootstrap)}
    before, after = by_row[id(rows[0])], by_row[id(last)]
    numbers: dict[str, Any] = {
        "cycles": last.cycle,
        "accuracy_before": before.scores.accuracy,
        "accuracy_after": after.scores.accuracy,
        "accuracy_after_low": after.accuracy.low,
        "accuracy_after_high": after.accuracy.high,
        "uar_before": before.scores.macro.recall,
        "uar_after": after.scores.macro.recall,
        "f1_macro_after": after.scores.macro.f1,
        "ece_after": after.scores.ece,
    }
    for each in by_row.values():
        if each.row.chain == SVM:
            numbers |= {"svm_accuracy": each.scores.accuracy, "svm_uar": each.scores.macro.recall}
        if each.row.chain == MAJORITY:
            numbers["majority_accuracy"] = each.scores.accuracy
    return numbers


def shown_rows(rows: Sequence[Row]) -> list[Row]:
    """Start, every cycle, of a control only its last cycle, then the machine and the majority class."""
    last = {row.chain: row.cycle for row in sorted(rows, key=lambda row: row.cycle)}
    shown = [row for row in rows if row.chain in (START, TRAINED) or row.cycle == last[row.chain]]
    return sorted(shown, key=lambda row: (_ORDER.index(row.chain), row.cycle))


def last_trained(rows: Sequence[Row]) -> Row:
    """The model of the last cycle; the start model when no cycle was trained."""
    return max((row for row in rows if row.chain in (START, TRAINED)), key=lambda row: row.cycle)


def verdicts(rows: Sequence[Row], bootstrap: Bootstrap) -> list[str]:
    """In plain sentences: what the last model is worth beside the start model, the machine and the controls."""
    last = last_trained(rows)
    told = []
    for row in shown_rows(rows):
        if row.chain == SVM:
            told.append(_beside_svm(last, row, bootstrap))
        elif row.chain == MAJORITY and row.accuracy >= last.accuracy:
            told.append(f"**The model is no better than the majority class**: {_gain(row, last, bootstrap)}")
        elif row.chain not in (START, TRAINED, MAJORITY) and row.accuracy >= last.accuracy:
            told.append(
                f"{_first(row.in_words)} is as good as {last.in_words}, or better: {_gain(row, last, bootstrap)}"
            )
    cycles = [row for row in rows if row.chain == TRAINED]
    if cycles:
        told.append(_beside_start(rows[0], cycles, bootstrap))
    return told


def _beside_svm(model: Row, svm: Row, bootstrap: Bootstrap) -> str:
    name = model.in_words
    if svm.accuracy > model.accuracy:
        return f"**The statistics SVM is better than the model** ({name}): {_gain(svm, model, bootstrap)}"
    if svm.accuracy == model.accuracy:
        return f"The model ({name}) and the statistics SVM are equally accurate: {_gain(model, svm, bootstrap)}"
    return f"The model ({name}) is better than the statistics SVM: {_gain(model, svm, bootstrap)}"


def _beside_start(start: Row, cycles: Sequence[Row], bootstrap: Bootstrap) -> str:
    best = max(cycles, key=lambda row: (row.accuracy, -row.cycle))
    last = max(cycles, key=lambda row: row.cycle)
    if best.accuracy <= start.accuracy:
        other = "" if best is last else f" The best, cycle {best.cycle}, has {best.accuracy:.1%}."
        return f"**No cycle beats the supervised start.** Of the last: {_gain(last, start, bootstrap)}{other}"
    if last.accuracy > start.accuracy:
        return f"{_first(last.in_words)}, the last, is better than the start model: {_gain(last, start, bootstrap)}"
    return (
        f"{_first(last.in_words)}, the last, is not better than the start model: {_gain(last, start, bootstrap)} "
        f"The best on these clips, cycle {best.cycle}, has {best.accuracy:.1%}."
    )


def _gain(first: Row, second: Row, bootstrap: Bootstrap) -> str:
    """`accuracy 78.1% against 75.0%, +3.1 points [+0.2 to +6.0], p = 0.03 (the interval excludes 0: …); UAR …`."""
    found = classification.differences(
        first.predicted, second.predicted, samples=bootstrap.samples, seed=bootstrap.seed
    )
    uars = [classification.label_scores(row.predicted).macro.recall for row in (first, second)]
    return (
        f"accuracy {first.accuracy:.1%} against {second.accuracy:.1%}, {_points(found.accuracy)}; "
        f"UAR {uars[0]:.1%} against {uars[1]:.1%}, {_points(found.uar)}."
    )


def _points(found: Comparison) -> str:
    clear = found.low > 0 or found.high < 0
    sure = "the interval excludes 0: more than luck" if clear else "the interval holds 0: it may be luck"
    middle, low, high = (f"{100 * value:+.1f}" for value in (found.difference, found.low, found.high))
    return f"{middle} points [{low} to {high}], p = {found.p_value:.2g} ({sure})"


def _notes(found: LabelScores) -> list[str]:
    notes = ["Intervals: 95 %, bootstrap over the clips; of differences the same clips are drawn for both models."]
    if found.absent:
        notes.append(
            f"Labels without a test clip, {len(found.absent)}, are left out of UAR, macro F1 and AUC: "
            f"{', '.join(found.absent)}."
        )
    return notes + [f"No {name}: {reason}." for name, reason in found.missing.items()]


def _main_table(measured: Sequence[_Measured]) -> str:
    head = ("model", "cycle", "accuracy [95 % interval]", "UAR [95 % interval]", "macro F1", "ECE")
    return markdown_table(
        head,
        [
            (
                each.row.label,
                _cycle(each.row),
                _rate(each.scores.accuracy, each.accuracy),
                _rate(each.scores.macro.recall, each.uar),
                f"{each.scores.macro.f1:.1%}",
                f"{each.scores.ece:.3f}",
            )
            for each in measured
        ],
    )


def _further_table(measured: Sequence[_Measured]) -> str:
    hits = list(measured[0].scores.hits)
    head = (
        "model", "cycle", "macro precision", "weighted F1", "AUC", "kappa", "MCC", "log loss",
        *(f"hits@{k}" for k in hits),
    )  # fmt: skip
    return markdown_table(
        head,
        [
            (
                each.row.label,
                _cycle(each.row),
                f"{each.scores.macro.precision:.1%}",
                f"{each.scores.weighted.f1:.1%}",
                *(_number(value) for value in (each.scores.roc_auc, each.scores.kappa, each.scores.mcc)),
                f"{each.scores.log_loss:.3f}",
                *(f"{each.scores.hits[k]:.1%}" for k in hits),
            )
            for each in measured
        ],
    )


def _classes_table(found: LabelScores, clips: Predicted) -> str:
    counts = confusion_counts(references=clips.known, predictions=clips.predictions, labels=clips.labels)
    scattered = row_entropy(counts)
    np.fill_diagonal(counts, 0)
    head = ("label", "clips", "precision", "recall", "F1", "MCC", "AUC", "entropy (bits)", "most often taken for")
    return markdown_table(
        head,
        [
            (
                score.label,
                str(score.support),
                *(_share(value) for value in (score.precision, score.recall, score.f1)),
                *(_number(value) for value in (score.mcc, score.roc_auc)),
                _number(bits, digits=2) if score.support else _NONE,
                f"{clips.labels[wrong.argmax()]} ({wrong.max()})" if wrong.any() else _NONE,
            )
            for score, bits, wrong in zip(found.classes, scattered.tolist(), counts, strict=True)
        ],
    )


def _group(clips: Predicted, name: str, top: int) -> list[str]:
    """Heading and table; nothing where all clips are one group, and of very many groups the worst."""
    found = classification.by_group(clips, name)
    if len(found) < 2:
        return []
    heading = f"## By {name}"
    if len(found) > max(top, _GROUPS_SHOWN):
        heading = f"## By {name}: the {top} least accurate of {len(found)}"
        found = sorted(found, key=lambda group: (group.accuracy, group.value))[:top]
    lines = [
        (group.value, str(group.clips), str(group.labels), f"{group.accuracy:.1%}", f"{group.uar:.1%}")
        for group in found
    ]
    return [heading, markdown_table((name, "clips", "labels", "accuracy", "UAR"), lines)]


def _worst_table(clips: Predicted, top: int) -> str:
    found = classification.worst(clips, top=top)
    if not found:
        return "None: every clip is told rightly."
    lines = [
        (clip.id, clip.reference, clip.prediction, f"{clip.confidence:.3f}", f"{clip.reference_probability:.3f}")
        for clip in found
    ]
    return markdown_table(("clip", "reference", "prediction", "its probability", "that of the reference"), lines)


def _measured(rows: Sequence[Row], bootstrap: Bootstrap) -> list[_Measured]:
    return [
        _Measured(
            row,
            classification.label_scores(row.predicted),
            *classification.intervals(row.predicted, samples=bootstrap.samples, seed=bootstrap.seed),
        )
        for row in shown_rows(rows)
    ]


def markdown_table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Head and lines, their columns under each other."""
    cells = [[cell.replace("|", "\\|") for cell in line] for line in (head, *lines)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    cells.insert(1, ["-" * width for width in widths])
    return "\n".join("| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in cells)


def _cycle(row: Row) -> str:
    return _NONE if row.name or row.chain in (SVM, MAJORITY) else str(row.cycle)


def _rate(value: float, bounds: Interval) -> str:
    return f"{value:.1%} [{bounds.low:.1%}–{bounds.high:.1%}]"


def _share(value: float | None) -> str:
    return _NONE if value is None else f"{value:.1%}"


def _number(value: float | None, digits: int = 3) -> str:
    return _NONE if value is None else f"{value:.{digits}f}"


def _first(text: str) -> str:
    return text[:1].upper() + text[1:]
