"""From the results of a run to its report: a table, sentences that compare, and files for every detail."""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from soundraft import files
from soundraft.clips.base import Facts, Loaded
from soundraft.evaluation.predictions import write_results
from soundraft.evaluation.results import (
    MAJORITY,
    START,
    TRAINED,
    Column,
    ModelId,
    Result,
    curves,
    last_trained,
    shown,
    summary,
)  # fmt: skip
from soundraft.evaluation.scores import CHARACTERS, METRICS, Scores
from soundraft.metrics.labels import LabelScores, every_label, row_entropy
from soundraft.metrics.resampling import Bootstrap
from soundraft.metrics.text import confusions
from soundraft.tables import markdown
from soundraft.tracking import Tracker

FURTHER_LABEL_COLUMNS = (
    Column("precision", "macro precision", lambda scores: scores.label_scores.macro.precision),
    Column("f1_weighted", "weighted F1", lambda scores: scores.label_scores.weighted.f1),
    Column("auc", "AUC", lambda scores: scores.label_scores.roc_auc, "{:.3f}"),
    Column("kappa", "kappa", lambda scores: scores.label_scores.kappa, "{:.3f}"),
    Column("mcc", "MCC", lambda scores: scores.label_scores.mcc, "{:.3f}"),
    Column("log_loss", "log loss", lambda scores: scores.label_scores.log_loss, "{:.3f}"),
)
FURTHER_SET_COLUMNS = (
    *FURTHER_LABEL_COLUMNS[:2],
    Column("exact", "sets right as a whole", lambda scores: scores.label_scores.accuracy),
    Column("size", "labels predicted a clip", lambda scores: scores.set_scores.predicted_per_clip, "{:.2f}"),
    Column("ece", "ECE", lambda scores: scores.label_scores.ece, "{:.3f}"),
    FURTHER_LABEL_COLUMNS[-1],
)
CLIPS_NAME = "clips.jsonl"
CHOSEN = 6  # clips for each reason
_LONGEST_FACT = 100
_OTHERWISE = {1: "In its favour speaks", 0: "Not told apart by", -1: "Against it speaks"}
_GROUPS_SHOWN = 40
_WORST_HEADS = {"id": "clip", "reference": "reference", "prediction": "prediction", "confidence": "its probability",
                "reference_probability": "that of the reference"}  # fmt: skip


def write(
    folder: Path,
    results: Sequence[Result],
    columns: Sequence[Column],
    bootstrap: Bootstrap,
    *,
    split: str,
    top: int,
    division: str = "",
    notes: Sequence[str] = (),
    sections: Sequence[str] = (),
) -> None:
    """report.md, metrics.json, curves.csv, predictions.parquet, and of the last model confusions and worst clips.

    Args:
        results: the start model first.
        split: whose clips they are.
        top: rows of the tables of confusions of words, of worst clips, and of a group where there are very many.
        division: how the clips came into their splits, in words.
        notes: more for the user.
        sections: more of report.md, below the sentences.
    """
    last = last_trained(results).scores
    head = f"{_capital(last.target)}: {len(last):,} {split} clips, {len(last.labels)} labels"
    sentences = [*verdicts(results, bootstrap), *(_notes(last) if last.labels else []), *notes]
    if last.metrics[0].counts == CHARACTERS:
        sentences.append("Words have no spaces in these texts: what counts is the CER, also for the reward.")
    parts = [
        f"# {head}" if last.labels else f"# {split.capitalize()} split, {len(last):,} clips",
        f"Division into splits: {division}." if division else "",
        table(results, columns, bootstrap),
        _bullets(sentences),
        *sections,
        *(_label_sections(results, bootstrap, top) if last.labels else []),
        *(part for name in last.groups for part in _group_section(last, name, top)),
    ]
    files.write_text(folder / "report.md", "\n\n".join(filter(None, parts)) + "\n")
    files.write_json(folder / "metrics.json", summary(results, columns, bootstrap))
    files.write_csv(folder / "curves.csv", curves(results, columns, bootstrap))
    write_results(folder / "predictions.parquet", results)
    files.write_csv(folder / "worst_clips.csv", worst(last, top=top))
    if "words" in last.counts:
        names = ("reference", "prediction", "times")
        taken = confusions(last.known, last.predictions, top=top)
        files.write_csv(folder / "confusions.csv", (dict(zip(names, row, strict=True)) for row in taken))
    if last.labels and not last.sets:
        files.write_csv(folder / "confusions.csv", label_confusions(last))
    if last.labels:
        files.write_csv(folder / "classes.csv", map(vars, last.label_scores.classes))
        files.write_json(folder / "statistics.json", statistics(results, bootstrap))


def write_unmeasured(folder: Path, cycles: Sequence[Mapping[str, Any]], notes: Sequence[str]) -> None:
    """report.md and metrics.json of a run that has no clips to measure on: the rewards of its cycles."""
    head = ("cycle", "reward of all samples", "of the kept ones", "clips with a kept one")
    keys = ("reward_mean", "reward_kept", "kept_share")
    rows = [
        (str(number), *(_number(numbers[key], "{:.3f}") for key in keys)) for number, numbers in enumerate(cycles, 1)
    ]
    parts = ["# Nothing was measured: no clips with references", markdown(head, rows), _bullets(notes)]
    files.write_text(folder / "report.md", "\n\n".join(filter(None, parts)) + "\n")
    files.write_json(folder / "metrics.json", {"cycles": len(cycles), **(cycles[-1] if cycles else {})})


def _label_sections(results: Sequence[Result], bootstrap: Bootstrap, top: int) -> list[str]:
    last = last_trained(results)
    hits, wrong = last.scores.label_scores.hits, worst(last.scores, top=top)
    columns = FURTHER_SET_COLUMNS if last.scores.sets else FURTHER_LABEL_COLUMNS
    further = [*columns, *(Column(f"hits_{k}", f"hits@{k}", partial(_hits, k=k)) for k in hits)]
    return [
        "## Further measures",
        table(results, further, bootstrap),
        f"## Classes, by {last.in_words}",
        _set_classes_table(last.scores) if last.scores.sets else _classes_table(last.scores),
        f"## Worst clips of {last.in_words}",
        _rows_table(wrong, _WORST_HEADS) if wrong else "None: every clip is predicted rightly.",
    ]


def statistics(results: Sequence[Result], bootstrap: Bootstrap) -> dict[str, Any]:
    """All measures of every classifier and baseline, those of the last model also by group."""
    last = last_trained(results).scores
    found: dict[str, Any] = {"target": last.target, "labels": last.labels}
    for result in results:
        estimates = {metric.key: result.scores.estimate(metric.key, bootstrap) for metric in result.scores.metrics}
        intervals = {f"{key}_interval": {"low": each.low, "high": each.high} for key, each in estimates.items()}
        found[result.label] = {**asdict(result.scores.label_scores), **intervals}
    return found | {"by_group": {name: group_rows(last, name) for name in last.groups}}


def _bullets(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)


def track(
    tracker: Tracker, results: Sequence[Result], columns: Sequence[Column], rewards: Mapping[ModelId, float | None]
) -> None:
    """The numbers of each model that curves.csv has, by cycle; first of all headline and mean reward of each chain."""
    for result in results:
        model, head = result.model, columns[0]
        name = "raft" if model.of_run else model.chain
        shown = [column for column in columns if column is head or "curve" in column.entries]
        tracker.metrics({f"{name}/{column.key}": column.number(result) for column in shown}, step=model.cycle)
        headline = {head.key: head.number(result), "reward": rewards.get(model)}
        chains = [each for each in results if each.model.chain == model.chain or model.chain == START]
        names = {each.label.removeprefix("control: "): each.model for each in chains if not each.model.is_baseline}
        for chain, each in names.items():
            if each.chain != START:  # every chain begins with the start model
                tracker.chain(chain, headline, step=model.cycle, own=each.chain == TRAINED)


def table(results: Sequence[Result], columns: Sequence[Column], bootstrap: Bootstrap) -> str:
    """In markdown: start and every cycle, then each control after its last cycle, and the baselines."""
    columns = [column for column in columns if column.scores(results[0]) is not None]
    rows = [(each.label, each.cycle, *(column.cell(each, bootstrap) for column in columns)) for each in shown(results)]
    return markdown(("model", "cycle", *(column.title for column in columns)), rows)


def worst(scores: Scores, *, top: int) -> list[dict[str, Any]]:
    """The clips with the most errors; of a classifier the wrong predictions, the surest first. Ties by id."""
    if scores.labels:
        own = {"confidence": scores.confidence, "reference_probability": scores.probability_of(scores.known)}
        wanted, rank = np.flatnonzero(~scores.correct).tolist(), scores.confidence
    else:
        metric = scores.metrics[0]
        counts = scores.counts[metric.counts]
        name, rank = ("errors", metric.clip_error(counts)) if metric.clip_error else (metric.key, -metric.value(counts))
        own = {name: rank if metric.clip_error else -rank + 0.0}  # + 0.0: no −0
        wanted = list(range(len(scores)))
    places = sorted(wanted, key=lambda clip: (-rank[clip], scores.ids[clip]))[:top]
    columns = {"id": scores.ids} | ({} if scores.paths is None else {"path": scores.paths})
    answers = {"reference": scores.known, "prediction": scores.predictions}
    columns |= {name: ["; ".join(each) for each in own] if scores.sets else own for name, own in answers.items()}
    columns |= {name: values.tolist() for name, values in own.items()}
    return [{name: values[clip] for name, values in columns.items()} for clip in places]


def chosen_clips(results: Sequence[Result], seed: int) -> dict[str, list[str]]:
    """The clips that a report shows, by id, each with why: worst, best, most improved, newly broken, random."""
    first, last = results[0].scores, last_trained(results).scores
    # of a clip that has no error, such as one that is not measured, nothing is known
    before, errors = (np.nan_to_num(each.clip_errors, posinf=0.0, neginf=0.0) for each in (first, last))
    gain = before - errors
    length = [len(str(reference)) for reference in last.known]

    def ranked(rank: Sequence[float] | np.ndarray, wanted: np.ndarray) -> list[int]:
        return sorted(np.flatnonzero(wanted).tolist(), key=lambda clip: (-rank[clip], last.ids[clip]))[:CHOSEN]

    everyone = np.ones(len(last), bool)
    places = {
        "worst": ranked(errors, everyone),
        "best": ranked(length, errors == errors.min()),
        "most improved": ranked(gain, (last.correct & ~first.correct) if last.labels else gain > 0),
        "newly broken": ranked(-gain, (first.correct & ~last.correct) if last.labels else gain < 0),
        "random": random.Random(seed).sample(range(len(last)), min(CHOSEN, len(last))),
    }
    why: dict[str, list[str]] = {}
    for reason, clips in places.items():
        for clip in clips:
            why.setdefault(last.ids[clip], []).append(reason)
    return why


def write_clips(folder: Path, loaded: Loaded, chosen: Mapping[str, Sequence[str]]) -> None:
    """clips.jsonl: of every measured clip its length in seconds, what is known of it, and why the report shows it."""
    rows = zip(loaded.clips.ids, loaded.clips.facts, loaded.durations_s, strict=True)
    files.write_jsonl(
        folder / CLIPS_NAME,
        (
            {"id": name, "seconds": round(seconds, 3), "facts": _plain(facts), "shown": list(chosen.get(name, []))}
            for name, facts, seconds in rows
        ),
    )


def _plain(facts: Facts) -> dict[str, str | float]:
    """Short texts and finite numbers, but for the transcript and the length."""
    found: dict[str, str | float] = {}
    for name, value in facts.items():
        if name in ("text", "duration"):
            continue
        if isinstance(value, str) and len(value) <= _LONGEST_FACT:
            found[name] = value
        elif isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value):
            found[name] = float(value)
    return found


def label_confusions(scores: Scores) -> list[dict[str, Any]]:
    """Pairs of labels that were taken for each other, the most frequent first."""
    counts = scores.confusions
    np.fill_diagonal(counts, 0)
    pairs = [
        {"reference": scores.labels[i], "prediction": scores.labels[j], "clips": int(counts[i, j])}
        for i, j in np.argwhere(counts)
    ]
    return sorted(pairs, key=lambda pair: -pair["clips"])


def verdicts(results: Sequence[Result], bootstrap: Bootstrap) -> list[str]:
    """In sentences: the last model beside the baselines, the controls and the start model, by the first metric. Better
    is what an interval without 0 says.
    """
    last = last_trained(results)
    sentences = []
    for result in shown(results):
        if result.model.of_run:
            continue
        sign, gain = _compare(last, result, bootstrap)
        other, model = result.in_words, f"the model ({last.in_words})"
        if sign < 0:
            _, gain = _compare(result, last, bootstrap)
            sentences.append(f"**{_capital(other)} is better than {model}**: {gain}")
        elif sign == 0:
            sentences.append(f"**{_capital(model)} is not clearly better than {other}**: {gain}")
        elif result.model.chain != MAJORITY and result.model.is_baseline:
            sentences.append(f"{_capital(model)} is better than {other}: {gain}")
    cycles = [result for result in results if result.model.chain == TRAINED]
    return [*sentences, _beside_start(results[0], cycles, bootstrap)] if cycles else sentences


def _beside_start(start: Result, cycles: Sequence[Result], bootstrap: Bootstrap) -> str:
    metric = start.scores.metrics[0]
    best = (max if metric.higher_is_better else min)(cycles, key=lambda each: each.scores.value(metric.key))
    last = max(cycles, key=lambda each: each.model.cycle)
    sign, gain = _compare(last, start, bootstrap)
    name = f"{_capital(last.in_words)}, the last,"
    if sign > 0:
        return f"{name} is better than the start model: {gain}"
    found = f"{name} is {'worse' if sign < 0 else 'not clearly better'} than the start model: {gain}"
    if best is not last:
        found += f" The best on these clips, {best.in_words}, has {metric.show(best.scores.value(metric.key))}."
    return found if _compare(best, start, bootstrap)[0] > 0 else f"**No cycle beats the supervised start.** {found}"


def _compare(first: Result, second: Result, bootstrap: Bootstrap) -> tuple[int, str]:
    """1 when the first is better by the first metric and more than by chance, -1 when the second is, else 0; and
    `accuracy 78.1% against 75.0%, +3.1 points [+0.2 to +6.0], p = 0.03 (the interval excludes 0: …); UAR …`. Metrics
    that say something else than the first one get a sentence of their own.
    """
    parts: dict[int, list[str]] = {}
    signs = []
    for metric in first.scores.metrics:
        one, other = (metric.show(each.scores.value(metric.key)) for each in (first, second))
        found = first.scores.difference(second.scores, metric.key, bootstrap)
        middle, low, high = metric.show_difference(found)
        signs.append(metric.sign(found))
        sure = "the interval excludes 0: more than chance" if signs[-1] else "the interval includes 0: it may be chance"
        difference = f"{middle} [{low} to {high}], p = {found.p_value:.2g} ({sure})"
        parts.setdefault(signs[-1], []).append(f"{metric.title} {one} against {other}, {difference}")
    texts = {sign: "; ".join(part) for sign, part in parts.items()}
    others = [f" {_OTHERWISE[sign]}: {text}." for sign, text in texts.items() if sign != signs[0]]
    return signs[0], "".join([f"{texts[signs[0]]}.", *others])


def _hits(scores: Scores, k: int) -> float:
    return scores.label_scores.hits[k]


def _notes(scores: Scores) -> list[str]:
    found: LabelScores = scores.label_scores
    kind = "bootstrap over the clips" if scores.sets else "Wilson's, of UAR with the variance of its recalls"
    notes = [f"Intervals: 95 %, {kind}; of differences the bootstrap, the same clips drawn for both models."]
    if found.absent:
        notes.append(
            f"Labels without a test clip, {len(found.absent)}, are left out of {'mAP' if scores.sets else 'UAR'}, "
            f"macro F1 and AUC: {', '.join(found.absent)}."
        )
    return notes + [f"No {name}: {reason}." for name, reason in found.missing.items()]


def _classes_table(scores: Scores) -> str:
    counts = scores.confusions
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


def _set_classes_table(scores: Scores) -> str:
    rows = []
    for score in scores.set_scores.classes:
        shares = (_number(value, "{:.1%}") for value in (score.precision, score.recall, score.f1))
        numbers = (_number(value) for value in (score.average_precision, score.roc_auc, score.mcc))
        rows.append((score.label, str(score.support), str(score.predicted), *shares, *numbers))
    head = ("label", "clips", "predicted", "precision", "recall", "F1", "average precision", "AUC", "MCC")
    return markdown(head, rows)


def group_rows(scores: Scores, group: str) -> list[dict[str, Any]]:
    """The metrics of each value of a group: speaker, gender, fold, …"""
    rows = []
    for value, part in scores.by(group).items():
        row: dict[str, Any] = {"value": value, "clips": len(part)}
        row |= {metric.key: part.value(metric.key) for metric in scores.metrics}
        row = {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in row.items()}
        rows.append(row | ({"labels": len(set(every_label(part.known)))} if scores.labels else {}))
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
        known = [row for row in rows if row[first.key] is not None]
        rows = sorted(known, key=lambda row: (sign * row[first.key], row["value"]))[:top]
    heads = {"value": name, "clips": "clips"} | ({"labels": "labels"} if scores.labels else {})
    return [heading, _rows_table(rows, heads | {metric.key: metric.title for metric in scores.metrics})]


def _rows_table(rows: Sequence[Mapping[str, Any]], heads: Mapping[str, str]) -> str:
    """The values of these keys in markdown."""

    def cell(key: str, value: Any) -> str:
        if value is None:
            return "–"
        return (
            METRICS[key].show(value) if key in METRICS else _number(value) if isinstance(value, float) else str(value)
        )

    return markdown(list(heads.values()), [[cell(key, row[key]) for key in heads] for row in rows])


def _number(value: float | None, form: str = "{:.3f}") -> str:
    return "–" if value is None else form.format(value)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
