"""From the results of a run to its report: a table, sentences that compare, and files for every detail."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from soundraft import files
from soundraft.evaluation.predictions import write_results
from soundraft.evaluation.results import MAJORITY, TRAINED, Column, Result, curves, last_trained, shown, summary
from soundraft.evaluation.scores import METRICS, Scores
from soundraft.metrics.labels import LabelScores, confusion_counts, row_entropy
from soundraft.metrics.resampling import Bootstrap
from soundraft.metrics.text import confusions
from soundraft.tables import markdown
from soundraft.tracking import Tracker

LABEL_COLUMNS = (
    Column("accuracy", "accuracy [95 % interval]", "accuracy", interval=True,
           entries=("before", "after", "interval", "svm", "majority")),
    Column("uar", "UAR [95 % interval]", "uar", interval=True, entries=("before", "after", "svm")),
    Column("f1_macro", "macro F1", lambda scores: scores.label_scores.macro.f1, entries=("after",)),
    Column("ece", "ECE", lambda scores: scores.label_scores.ece, "{:.3f}", entries=("after",)),
)  # fmt: skip
FURTHER_LABEL_COLUMNS = (
    Column("precision", "macro precision", lambda scores: scores.label_scores.macro.precision),
    Column("f1_weighted", "weighted F1", lambda scores: scores.label_scores.weighted.f1),
    Column("auc", "AUC", lambda scores: scores.label_scores.roc_auc, "{:.3f}"),
    Column("kappa", "kappa", lambda scores: scores.label_scores.kappa, "{:.3f}"),
    Column("mcc", "MCC", lambda scores: scores.label_scores.mcc, "{:.3f}"),
    Column("log_loss", "log loss", lambda scores: scores.label_scores.log_loss, "{:.3f}"),
)
TEXT_COLUMNS = (
    Column("wer", "WER [95 % interval]", "wer", interval=True, entries=("before", "after", "interval", "reduction")),
    Column("cer", "CER", "cer", entries=("after", "curve")),
    Column("sub", "sub", lambda scores: scores.counts["words"][:, 1].sum(), "{}", entries=()),
    Column("del", "del", lambda scores: scores.counts["words"][:, 2].sum(), "{}", entries=()),
    Column("ins", "ins", lambda scores: scores.counts["words"][:, 3].sum(), "{}", entries=()),
    Column("wer_snapped", "WER, words snapped", "wer", of="snapped", interval=True,
           entries=("before", "after", "curve")),
    Column("wer_start", "start corpus WER", "wer", of="start_corpus", entries=("before", "after", "curve")),
)  # fmt: skip
_GROUPS_SHOWN = 40
_WORST_HEADS = {"id": "clip", "reference": "reference", "prediction": "prediction", "confidence": "its probability",
                "reference_probability": "that of the reference"}  # fmt: skip


def write(
    folder: Path,
    results: Sequence[Result],
    columns: Sequence[Column],
    bootstrap: Bootstrap,
    *,
    text: str,
    top: int,
    numbers: Mapping[str, Any] | None = None,
) -> None:
    """report.md, metrics.json, curves.csv, predictions.parquet, and of the last model confusions and worst clips.

    Args:
        results: the start model first.
        text: of the report.
        top: rows of the tables of confusions of words and of worst clips.
        numbers: more entries of metrics.json.
    """
    last = last_trained(results).scores
    files.write_text(folder / "report.md", text)
    files.write_json(folder / "metrics.json", {**summary(results, columns, bootstrap), **(numbers or {})})
    write_csv(folder / "curves.csv", curves(results, columns, bootstrap))
    write_results(folder / "predictions.parquet", results)
    write_csv(folder / "worst_clips.csv", worst(last, top=top))
    if "words" in last.counts:
        write_csv(folder / "confusions.csv", text_confusions(last, top=top))
    if last.labels:
        write_csv(folder / "confusions.csv", label_confusions(last))
        write_csv(folder / "classes.csv", map(vars, last.label_scores.classes))


def track(tracker: Tracker, results: Sequence[Result], columns: Sequence[Column]) -> None:
    """The numbers of each model that curves.csv has, by cycle."""
    for result in results:
        name = "raft" if result.model.of_run else result.model.chain
        shown = [column for column in columns if column is columns[0] or "curve" in column.entries]
        tracker.metrics({f"{name}/{column.key}": column.number(result) for column in shown}, step=result.model.cycle)


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    stream = io.StringIO()
    rows = list(rows)
    if rows:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    files.write_text(path, stream.getvalue())


def table(results: Sequence[Result], columns: Sequence[Column], bootstrap: Bootstrap) -> str:
    """In markdown: start and every cycle, then each control after its last cycle, and the baselines."""
    columns = [column for column in columns if column.scores(results[0]) is not None]
    rows = [(each.label, each.cycle, *(column.cell(each, bootstrap) for column in columns)) for each in shown(results)]
    return markdown(("model", "cycle", *(column.title for column in columns)), rows)


def worst(scores: Scores, *, top: int) -> list[dict[str, Any]]:
    """The clips with the most errors; of a classifier the wrong predictions, the surest first. Ties by id."""
    if scores.labels:
        own = {"confidence": scores.confidence, "reference_probability": scores.reference_probability}
        wanted, rank = np.flatnonzero(~scores.correct).tolist(), scores.confidence
    else:
        metric = scores.metrics[0]
        counts = scores.counts[metric.counts]
        name, rank = ("errors", metric.clip_error(counts)) if metric.clip_error else (metric.key, -metric.value(counts))
        own, wanted = {name: abs(rank)}, list(range(len(scores)))
    places = sorted(wanted, key=lambda clip: (-rank[clip], scores.ids[clip]))[:top]
    columns = {"id": scores.ids} | ({} if scores.paths is None else {"path": scores.paths})
    columns |= {"reference": scores.known, "prediction": scores.predictions}
    columns |= {name: values.tolist() for name, values in own.items()}
    return [{name: values[clip] for name, values in columns.items()} for clip in places]


def text_confusions(scores: Scores, *, top: int) -> list[dict[str, Any]]:
    found = confusions(scores.known, scores.predictions, top=top)
    return [{"reference": left, "prediction": right, "times": times} for left, right, times in found]


def label_confusions(scores: Scores) -> list[dict[str, Any]]:
    """Pairs of labels that were taken for each other, the most frequent first."""
    counts = _confusion_counts(scores)
    np.fill_diagonal(counts, 0)
    pairs = [
        {"reference": scores.labels[i], "prediction": scores.labels[j], "clips": int(counts[i, j])}
        for i, j in np.argwhere(counts)
    ]
    return sorted(pairs, key=lambda pair: -pair["clips"])


def verdicts(results: Sequence[Result], bootstrap: Bootstrap) -> list[str]:
    """In sentences: the last model beside the baselines, the controls and the start model, by the first metric."""
    last = last_trained(results)
    sentences = []
    for result in shown(results):
        ahead = _lead(result, last)
        if result.model.chain == MAJORITY:
            if ahead >= 0:
                sentences.append(f"**The model is no better than {result.in_words}**: {_gain(result, last, bootstrap)}")
        elif result.model.is_baseline:
            sentences.append(_beside_baseline(last, result, bootstrap))
        elif not result.model.of_run and ahead >= 0:
            name = _capital(result.in_words)
            sentences.append(f"{name} is as good as {last.in_words}, or better: {_gain(result, last, bootstrap)}")
    cycles = [result for result in results if result.model.chain == TRAINED]
    if cycles:
        sentences.append(_beside_start(results[0], cycles, bootstrap))
    return sentences


def _lead(first: Result, second: Result) -> float:
    """How far the first is ahead by the first metric; below 0 it is behind."""
    metric = first.scores.metrics[0]
    values = [each.scores.value(metric.key) for each in (first, second)]
    return values[0] - values[1] if metric.higher_is_better else values[1] - values[0]


def _beside_baseline(model: Result, baseline: Result, bootstrap: Bootstrap) -> str:
    name, ahead = model.in_words, _lead(model, baseline)
    if ahead < 0:
        other = _capital(baseline.in_words)
        return f"**{other} is better than the model** ({name}): {_gain(baseline, model, bootstrap)}"
    if ahead == 0:
        return f"The model ({name}) and {baseline.in_words} are equally good: {_gain(model, baseline, bootstrap)}"
    return f"The model ({name}) is better than {baseline.in_words}: {_gain(model, baseline, bootstrap)}"


def _beside_start(start: Result, cycles: Sequence[Result], bootstrap: Bootstrap) -> str:
    best = max(cycles, key=lambda each: (_lead(each, start), -each.model.cycle))
    last = max(cycles, key=lambda each: each.model.cycle)
    metric = start.scores.metrics[0]
    value = metric.show(best.scores.value(metric.key))
    gain = _gain(last, start, bootstrap)
    if _lead(best, start) <= 0:
        other = "" if best is last else f" The best, cycle {best.model.cycle}, has {value}."
        return f"**No cycle beats the supervised start.** Of the last: {gain}{other}"
    name = f"{_capital(last.in_words)}, the last,"
    if _lead(last, start) > 0:
        return f"{name} is better than the start model: {gain}"
    return f"{name} is not better than the start model: {gain} The best on these clips, {best.in_words}, has {value}."


def _gain(first: Result, second: Result, bootstrap: Bootstrap) -> str:
    """`accuracy 78.1% against 75.0%, +3.1 points [+0.2 to +6.0], p = 0.03 (the interval excludes 0: …); UAR …`."""
    parts = []
    for metric in first.scores.metrics:
        one, other = (metric.show(each.scores.value(metric.key)) for each in (first, second))
        found = first.scores.difference(second.scores, metric.key, bootstrap)
        middle, low, high = metric.show_difference(found)
        clear = found.low > 0 or found.high < 0
        sure = "the interval excludes 0: more than luck" if clear else "the interval holds 0: it may be luck"
        difference = f"{middle} [{low} to {high}], p = {found.p_value:.2g} ({sure})"
        parts.append(f"{metric.title} {one} against {other}, {difference}")
    return "; ".join(parts) + "."


def label_report(results: Sequence[Result], bootstrap: Bootstrap, *, top: int, division: str | None = None) -> str:
    """The report of classifiers.

    Args:
        top: rows of the table of worst clips, and of a group's table where there are very many groups.
        division: how the clips were put into splits, such as "no speaker in train and test".
    """
    last = last_trained(results)
    scores, found, wrong = last.scores, last.scores.label_scores, worst(last.scores, top=top)
    further = [*FURTHER_LABEL_COLUMNS, *(Column(f"hits_{k}", f"hits@{k}", partial(_hits, k=k)) for k in found.hits)]
    parts = [
        f"# {_capital(scores.target)}: {found.clips} test clips, {len(scores.labels)} labels",
        *([f"Division into splits: {division}."] if division else []),
        table(results, LABEL_COLUMNS, bootstrap),
        "\n".join(f"- {sentence}" for sentence in [*verdicts(results, bootstrap), *_notes(found)]),
        "## Further measures",
        table(results, further, bootstrap),
        f"## Classes, by {last.in_words}",
        _classes_table(scores),
        *(part for name in scores.groups for part in _group_section(scores, name, top)),
        f"## Worst clips of {last.in_words}",
        _rows_table(wrong, _WORST_HEADS) if wrong else "None: every clip is predicted rightly.",
    ]
    return "\n\n".join(parts) + "\n"


def _hits(scores: Scores, k: int) -> float:
    return scores.label_scores.hits[k]


def _notes(found: LabelScores) -> list[str]:
    notes = ["Intervals: 95 %, bootstrap over the clips; of differences the same clips are drawn for both models."]
    if found.absent:
        notes.append(
            f"Labels without a test clip, {len(found.absent)}, are left out of UAR, macro F1 and AUC: "
            f"{', '.join(found.absent)}."
        )
    return notes + [f"No {name}: {reason}." for name, reason in found.missing.items()]


def _classes_table(scores: Scores) -> str:
    counts = _confusion_counts(scores)
    entropies = row_entropy(counts).tolist()
    np.fill_diagonal(counts, 0)
    rows = []
    for score, bits, wrong in zip(scores.label_scores.classes, entropies, counts, strict=True):
        shares = (_number(value, "{:.1%}") for value in (score.precision, score.recall, score.f1))
        numbers = (_number(score.mcc), _number(score.roc_auc), _number(bits if score.support else None, "{:.2f}"))
        taken = f"{scores.labels[wrong.argmax()]} ({wrong.max()})" if wrong.any() else "–"
        rows.append((score.label, str(score.support), *shares, *numbers, taken))
    head = ("label", "clips", "precision", "recall", "F1", "MCC", "AUC", "entropy (bits)", "most often taken for")
    return markdown(head, rows)


def group_rows(scores: Scores, group: str) -> list[dict[str, Any]]:
    """The metrics of each value of a group: speaker, gender, fold, …"""
    rows = []
    for value, part in scores.by(group).items():
        row: dict[str, Any] = {"value": value, "clips": len(part)}
        row |= {metric.key: part.value(metric.key) for metric in scores.metrics}
        rows.append(row | ({"labels": len(set(part.known))} if scores.labels else {}))
    return rows


def _group_section(scores: Scores, name: str, top: int) -> list[str]:
    """Heading and table; nothing where all clips are one group, and of very many groups the worst."""
    rows, first = group_rows(scores, name), scores.metrics[0]
    if len(rows) < 2:
        return []
    heading = f"## By {name}"
    if len(rows) > max(top, _GROUPS_SHOWN):
        heading += f": the {top} with the worst {first.title} of {len(rows)}"
        sign = 1 if first.higher_is_better else -1
        rows = sorted(rows, key=lambda row: (sign * row[first.key], row["value"]))[:top]
    heads = {"value": name, "clips": "clips"} | ({"labels": "labels"} if scores.labels else {})
    return [heading, _rows_table(rows, heads | {metric.key: metric.title for metric in scores.metrics})]


def _rows_table(rows: Sequence[Mapping[str, Any]], heads: Mapping[str, str]) -> str:
    """The values of these keys in markdown."""

    def cell(key: str, value: Any) -> str:
        return (
            METRICS[key].show(value) if key in METRICS else _number(value) if isinstance(value, float) else str(value)
        )

    return markdown(list(heads.values()), [[cell(key, row[key]) for key in heads] for row in rows])


def _confusion_counts(scores: Scores) -> np.ndarray:
    return confusion_counts(references=scores.known, predictions=scores.predictions, labels=scores.labels)


def _number(value: float | None, form: str = "{:.3f}") -> str:
    return "–" if value is None else form.format(value)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
