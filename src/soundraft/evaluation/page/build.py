"""From what a run has left to its page: numbers, charts and clips for the template."""

import base64
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from soundraft import files
from soundraft.evaluation.compare import compare, read_candidate
from soundraft.evaluation.page import charts, clips
from soundraft.evaluation.page.charts import Bar, Series
from soundraft.evaluation.page.clips import Sounds
from soundraft.evaluation.page.run import Model, Run
from soundraft.evaluation.results import MAJORITY, START, TRAINED
from soundraft.evaluation.scores import METRICS, Metric, Scores
from soundraft.metrics.resampling import Comparison
from soundraft.metrics.text import confusions

ASSETS = Path(__file__).parent
CHAINS = (TRAINED, "sft", "self_training", "random", START)  # the order of colours
REWARD_BINS = 24
GROUPS_MOST, NUMBER_PARTS = 24, 5
WORDS_SHOWN, LABELS_SHOWN, CANDIDATE_CLIPS = 30, 40, 8


def write(path: Path, run: Run, against: Run | None = None) -> None:
    """The page of a run, in one file; with `against`, compared with the last model of another run."""
    files.write_text(path, render(run, against))


def render(run: Run, against: Run | None = None) -> str:
    """The page as text; equal runs make equal texts."""
    sounds, script = Sounds(), (ASSETS / "page.js").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ASSETS), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["percent"] = "{:.1%}".format
    verdict, rows = _verdict(run), _clip_rows(run, sounds)
    return environment.get_template("page.html").render(
        run=run,
        verdict=verdict,
        style=Markup((ASSETS / "page.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash="sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        curves=_curves(run),
        table=_table(run),
        rewards=_rewards(run),
        clips=rows,
        speakers=sorted({str(row["facts"]["speaker"]) for row in rows if "speaker" in row["facts"]}),
        candidates=_candidates(run, sounds),
        groups=_groups(run),
        words=_words(run),
        confusion=_confusion(run),
        forgetting=_forgetting(run),
        corpus=_corpus(run),
        against=None if against is None else _against(run, against),
        sounds=sounds.data,
        left_out=sounds.left_out,
    )


def p_text(value: float) -> str:
    """`p < .001` or `p = .012`."""
    return "p < .001" if value < 0.001 else f"p = {value:.3f}".replace("0.", ".", 1)


def _difference(run: Run, first: Model, second: Model) -> Comparison:
    return run.scores(first).difference(run.scores(second), run.metric.key, run.bootstrap)


def _verdict(run: Run) -> dict[str, Any]:
    """The headline in figures, and in a sentence beside the start and each control."""
    metric, start, last = run.metric, run.start, run.last
    now = run.scores(last).estimate(metric.key, run.bootstrap)
    numbers = {
        "before": metric.show(run.scores(start).value(metric.key)), "after": metric.show(now.value),
        "low": metric.show(now.low), "high": metric.show(now.high), "title": metric.title, "better": 0, "said": [],
    }  # fmt: skip
    if last is start:
        return numbers | {"name": start.label, "p": ""}
    found = _difference(run, last, start)
    words = {1: "better than", 0: "not distinguishable from", -1: "worse than"}
    said = []
    for control in run.controls:
        beside = _difference(run, last, control)
        said.append((words[metric.sign(beside)], control.label.removeprefix("control: "), p_text(beside.p_value)))
    better = metric.sign(found)
    return numbers | {"name": last.label, "p": p_text(found.p_value), "better": better, "said": said}


def _color(chain: str) -> int:
    return CHAINS.index(chain) if chain in CHAINS else len(CHAINS)


def _line(run: Run, chain: str, key: str) -> Series | None:
    """A column of a chain by cycle, from the start model on; `None` where it has less than two points."""
    own = [run.start, *sorted((m for m in run.models if m.id.chain == chain), key=lambda m: m.id.cycle)]
    there = [model for model in own if model.cells.get(key, {}).get("value") is not None]
    if len(there) < 2:
        return None
    cells = [model.cells[key] for model in there]
    low, high = ([cell[end] for cell in cells if end in cell] for end in ("low", "high"))
    whole = len(low) == len(cells)
    return Series(
        own[-1].label.removeprefix("control: "), _color(chain), [model.id.cycle for model in there],
        [cell["value"] for cell in cells], low if whole else [], high if whole else [],
    )  # fmt: skip


def _chart(run: Run, column: Mapping[str, Any]) -> Markup | None:
    """A column by cycle: every chain, and the baselines as levels."""
    chains = list(dict.fromkeys(m.id.chain for m in run.models if m.id.chain != START and not m.id.is_baseline))
    found = [line for chain in sorted(chains, key=_color) if (line := _line(run, chain, column["key"]))]
    if not found:
        return None
    for model in run.models:
        value = model.cells.get(column["key"], {}).get("value")
        if model.id.is_baseline and model.id.chain != MAJORITY and value is not None:
            found.append(Series(model.label.removeprefix("control: "), len(CHAINS), [0], [value], dashed=True))
    metric = METRICS[column["metric"]]
    return charts.lines(found, show=metric.show, x_title="cycle", y_title=column["title"])


def _curves(run: Run) -> list[tuple[str, Markup]]:
    """A chart for each column that is a metric, the headline first."""
    measured = [column for column in run.about["columns"] if column["metric"]]
    return [(column["title"], chart) for column in measured if (chart := _chart(run, column)) is not None]


def _table(run: Run) -> dict[str, Any]:
    metric, last = run.metric, run.last
    rows = []
    for model in (model for model in run.models if model.shown):
        rows.append({
            "model": model.label, "cycle": model.id.cycle if not model.id.is_baseline else "–",
            "color": _color(model.id.chain), "last": model is last,
            "cells": [model.cells[column["key"]]["shown"].partition(" [") for column in run.about["columns"]],
            "start": None if model is run.start else _shown(metric, _difference(run, model, run.start)),
            "own": None if model is last or last is run.start else _shown(metric, _difference(run, last, model)),
        })  # fmt: skip
    return {"heads": [column["title"] for column in run.about["columns"]], "rows": rows, "last": last}


def _shown(metric: Metric, found: Comparison) -> dict[str, Any]:
    middle, low, high = metric.show_difference(found)
    return {"text": middle, "interval": f"{low} to {high}", "p": p_text(found.p_value), "sign": metric.sign(found)}


def _rollouts(folder: Path) -> dict[str, list[Any]] | None:
    import pyarrow.parquet as pq

    path = folder / "rollouts.parquet"
    columns = ["id", "text", "reward", "success", "selected", "reason"]
    found: dict[str, list[Any]] = pq.read_table(path, columns=columns).to_pydict() if path.is_file() else {}
    return found or None


def _rewards(run: Run) -> dict[str, Any] | None:
    """Histograms, quantiles and counts of what each cycle sampled."""
    cycles = {number: found for number, place in run.cycles.items() if (found := _rollouts(place))}
    kinds = {number: _kinds(found) for number, found in cycles.items()}
    every = [value for parts in kinds.values() for value in parts[0]]
    if not every:
        return None
    steps = charts.ticks(min(every), max(every))
    edges = np.linspace(steps[0], steps[-1], REWARD_BINS + 1)
    bins = [(f"cycle {n}", [np.histogram(v, edges)[0].tolist() for v in parts]) for n, parts in kinds.items()]
    names = ("all samples", "best of each clip", "learned")
    levels = [[float(q) for q in np.quantile(parts[0], (0.05, 0.25, 0.5, 0.75, 0.95))] for parts in kinds.values()]
    over = [
        Series(name, color, [n for n, parts in kinds.items() if parts[color]],
               [fmean(parts[color]) for parts in kinds.values() if parts[color]])
        for color, name in enumerate(("mean of all", "mean of the best", "mean of the learned"))
    ]  # fmt: skip
    over = [each for each in over[1:] if each.x]
    return {
        "histograms": charts.histograms(bins, edges.tolist(), names, x_title="reward"),
        "ribbon": charts.ribbon(list(kinds), levels, over, y_title="reward"),
        "rows": [_reward_row(number, found, kinds[number]) for number, found in cycles.items()],
    }


def _kinds(found: Mapping[str, list[Any]]) -> tuple[list[float], list[float], list[float]]:
    """Rewards of all samples, of the best of each clip, of those that were learned."""
    best: dict[str, float] = {}
    for name, reward in zip(found["id"], found["reward"], strict=True):
        if reward is not None:
            best[name] = max(best.get(name, reward), reward)
    pairs = zip(found["reward"], found["selected"], strict=True)
    kept = [reward for reward, selected in pairs if selected and reward is not None]
    return [reward for reward in found["reward"] if reward is not None], list(best.values()), kept


def _reward_row(number: int, found: Mapping[str, list[Any]], kinds: Sequence[Sequence[float]]) -> dict[str, Any]:
    drawn: dict[str, Counter[Any]] = {}
    for name, text in zip(found["id"], found["text"], strict=True):
        drawn.setdefault(name, Counter())[text] += 1
    kept = {name for name, selected in zip(found["id"], found["selected"], strict=True) if selected}
    means = [f"{fmean(values):.3f}" if values else "–" for values in kinds]
    distinct = fmean(len(counts) / counts.total() for counts in drawn.values())
    entropy = fmean(_entropy(counts) for counts in drawn.values())
    left = Counter(reason for reason in found["reason"] if reason and reason != "kept")
    return {
        "cycle": number, "clips": len(drawn), "samples": len(found["id"]), "means": means,
        "kept": len(kept) / len(drawn), "success": fmean(map(bool, found["success"])), "distinct": distinct,
        "entropy": entropy, "unscored": found["reward"].count(None),
        "left": [f"{reason}: {count:,}" for reason, count in left.most_common()],
    }  # fmt: skip


def _entropy(counts: Counter[Any]) -> float:
    shares = np.array(list(counts.values())) / counts.total()
    return float(-(shares * np.log2(shares)).sum()) + 0.0


def _clip_rows(run: Run, sounds: Sounds) -> list[dict[str, Any]]:
    """The chosen clips, with what each model says of them and how they sound."""
    heard = clips.by_clip((folder, sample) for folder, sample in run.samples if sample.role != "candidate")
    first = run.scores(run.start)
    places = {name: place for place, name in enumerate(first.ids)}
    errors = {model.id: np.nan_to_num(run.scores(model).clip_errors) for model in (run.start, run.last)}
    named = {str(model.id): model.name for model in run.models}
    names = [name for name in ("speaker", "snr_db", "noise") if any(name in row["facts"] for row in run.clips)]
    rows = []
    for row in (row for row in run.clips if (row["shown"] or row["id"] in heard) and row["id"] in places):
        place = places[row["id"]]
        players = [
            sounds.player(sample.reason or named.get(sample.model, sample.model) or sample.role, folder, sample)
            for folder, sample in heard.get(row["id"], [])
        ]
        rows.append({
            "id": row["id"], "why": row["shown"] or [HEARD],
            "facts": row["facts"], "about": clips.shown_facts(row, names),
            "seconds": row["seconds"], "players": players, "reference": _in_words(first.known[place]),
            "lines": [_answer(run, model, place) for model in run.compared],
            "before": float(errors[run.start.id][place]), "after": float(errors[run.last.id][place]),
        })  # fmt: skip
    return sorted(rows, key=lambda row: (_KINDS.index(row["why"][0]), -row["after"], row["id"]))


HEARD = "with sounds"  # of a clip that a task has chosen itself
_KINDS = (HEARD, "worst", "best", "most improved", "newly broken", "random")


def _answer(run: Run, model: Model, place: int) -> dict[str, Any]:
    """What a model says of a clip, beside its reference."""
    scores = run.scores(model)
    answer, reference = scores.predictions[place], scores.known[place]
    line: dict[str, Any] = {"model": model.name, "color": _color(model.id.chain), "right": answer == reference}
    if scores.labels:
        order = np.argsort(-scores.probabilities[place], kind="stable")[:3]
        line["bars"] = [(scores.labels[n], float(scores.probabilities[place, n])) for n in order.tolist()]
        line["text"] = _in_words(answer)
    else:
        metric = scores.metrics[0]
        line["text"] = clips.aligned(reference, answer) if metric.clip_error else answer
        line["number"] = f"{metric.title} {metric.show(float(metric.value(scores.counts[metric.counts][place])))}"
    return line


def _candidates(run: Run, sounds: Sounds) -> list[dict[str, Any]]:
    """All samples of a few clips of the last cycle: those that can be heard, else those of a few clips by id."""
    heard = clips.by_clip((folder, sample) for folder, sample in run.samples if sample.role == "candidate")
    if heard:
        return [
            {"id": name, "cycle": found[0][1].cycle, "rows": [
                {"player": sounds.player("", folder, sample), "text": sample.text, "transcript": sample.transcript,
                 "numbers": sample.numbers, "kept": sample.kept, "reason": sample.reason} for folder, sample in found]}
            for name, found in sorted(heard.items())[:CANDIDATE_CLIPS]
        ]  # fmt: skip
    if not run.cycles or (found_last := _rollouts(run.cycles[max(run.cycles)])) is None:
        return []
    rows: dict[str, list[dict[str, Any]]] = {}
    for name, text, reward, kept, reason in zip(
        *(found_last[key] for key in ("id", "text", "reward", "selected", "reason")), strict=True
    ):
        own = {"player": None, "text": text, "transcript": "", "numbers": {} if reward is None else {"reward": reward}}
        rows.setdefault(name, []).append(own | {"kept": kept, "reason": reason})
    spread = sorted(rows, key=lambda name: (-len({row["text"] for row in rows[name]}), name))
    chosen = spread[:: max(1, len(spread) // CANDIDATE_CLIPS)][:CANDIDATE_CLIPS]
    return [{"id": name, "cycle": max(run.cycles), "rows": _distinct(rows[name])} for name in chosen]


def _distinct(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Equal answers of one clip once, with how often they were drawn; the best first."""
    found: dict[Any, dict[str, Any]] = {}
    for row in rows:
        seen = found.setdefault(row["text"], row | {"times": 0})
        seen["times"] += 1
        if row["kept"]:
            seen |= {"kept": True, "reason": row["reason"]}
    ranked = sorted(found.values(), key=lambda row: (-row["numbers"].get("reward", -np.inf), str(row["text"])))
    return ranked[:10]


def _groups(run: Run) -> list[dict[str, Any]]:
    """The headline metric of start and last model by what is known of the clips: by value, or by ranges of a number."""
    seen = {row["id"]: row for row in run.clips}
    rows = [seen[name] for name in run.scores(run.start).ids]
    if len(rows) < 2 * NUMBER_PARTS:
        return []
    names = sorted({name for row in rows for name in row["facts"]} - {run.about["target"]})
    columns = {"length": [row["seconds"] for row in rows]}
    columns |= {name: [row["facts"].get(name) for row in rows] for name in names}
    found = []
    for name, values in columns.items():
        parts = _parts(values, " s" if name == "length" else " dB" if name.endswith("_db") else "")
        if len(parts) > 1:
            bars = [_bar(run, label, places) for label, places in parts]
            title = {"snr_db": "signal-to-noise ratio"}.get(name, name.replace("_", " "))
            own = list(dict.fromkeys((run.start, run.last)))
            shown, colors = [model.name for model in own], [_color(model.id.chain) for model in own]
            found.append({"title": title, "chart": charts.pairs(bars, shown, colors, show=run.metric.show)})
    return found


def _parts(values: Sequence[Any], unit: str) -> list[tuple[str, list[int]]]:
    """Places by value of a fact, or by five ranges of a number with as many clips in each."""
    numbers = [value for value in values if isinstance(value, int | float)]
    if numbers and len({*numbers}) > NUMBER_PARTS * 2:
        edges = np.quantile(numbers, np.linspace(0, 1, NUMBER_PARTS + 1))
        parts = []
        for place, (low, high) in enumerate(pairwise(edges.tolist())):
            top = np.inf if place == NUMBER_PARTS - 1 else high
            own = [n for n, value in enumerate(values) if isinstance(value, int | float) and low <= value < top]
            parts.append((f"{low:.3g} to {high:.3g}{unit}", own))
        return [(label, own) for label, own in parts if own]
    known = {str(value) for value in values if value is not None}
    if not 1 < len(known) <= GROUPS_MOST:
        return []
    return [(value, [n for n, each in enumerate(values) if str(each) == value]) for value in sorted(known)]


def _bar(run: Run, label: str, places: list[int]) -> Bar:
    points = []
    for model in dict.fromkeys((run.start, run.last)):
        found = run.scores(model).part(places).estimate(run.metric.key, run.bootstrap)
        points.append((found.value, found.low, found.high))
    return Bar(label, f"{len(places):,} clips", points)


def _words(run: Run) -> list[dict[str, Any]]:
    """Words that are taken for others, added or left out: by the last model, beside the start model."""
    scores = [run.scores(model) for model in (run.start, run.last)]
    if not run.metric.clip_error:
        return []
    before, after = (confusions(each.known, each.predictions, top=10**6) for each in scores)
    earlier = {(reference, answer): times for reference, answer, times in before}
    return [
        {"reference": reference, "answer": answer, "times": times, "before": earlier.get((reference, answer), 0),
         "find": reference or answer}
        for reference, answer, times in after[:WORDS_SHOWN]
    ]  # fmt: skip


def _confusion(run: Run) -> dict[str, Any] | None:
    scores = run.scores(run.last)
    if not scores.labels or scores.sets or len(scores.labels) > LABELS_SHOWN:
        return None
    lines = zip(scores.labels, scores.confusions, strict=True)
    rows = [(label, line.tolist(), max(int(line.sum()), 1)) for label, line in lines]
    return {"labels": scores.labels, "rows": rows}


def _forgetting(run: Run) -> dict[str, Any] | None:
    """What the start model had learned: its corpus, by cycle."""
    column = next((each for each in run.about["columns"] if each["of"] == "start_corpus" and each["metric"]), None)
    chart = None if column is None else _chart(run, column)
    if column is None or chart is None:
        return None
    values = [model.cells[column["key"]]["shown"] for model in (run.start, run.last)]
    return {"chart": chart, "before": values[0], "after": values[1], "title": column["title"]}


def _corpus(run: Run) -> list[dict[str, Any]]:
    found = []
    for name, corpus in run.corpus.items():
        splits = [split for split, _ in corpus["lengths"]]
        counts = [list(bins) for _, bins in corpus["lengths"]]
        rows = [(split, [bins]) for split, bins in zip(splits, counts, strict=True)]
        chart = charts.histograms(rows, corpus["edges"], [""], x_title="length, s") if rows else None
        found.append({"name": name, "chart": chart, **corpus})
    return found


def _against(run: Run, other: Run) -> dict[str, Any]:
    """The last model of this run beside that of another on the same clips."""
    found = [read_candidate(each.folder / "predictions.parquet") for each in (run, other)]
    compared = compare(found[0], found[1], run.bootstrap)
    rows = [
        {"metric": METRICS[key].title, **_shown(METRICS[key], difference),
         "both": [METRICS[key].show(each.scores.value(key)) for each in found]}
        for key, difference in compared.differences.items()
    ]  # fmt: skip
    gain = found[1].scores.clip_errors - found[0].scores.clip_errors
    order = sorted(np.flatnonzero(gain).tolist(), key=lambda clip: (-abs(gain[clip]), found[0].scores.ids[clip]))
    differing = [
        {"id": found[0].scores.ids[clip], "better": bool(gain[clip] > 0),
         "reference": _in_words(found[0].scores.known[clip]),
         "answers": [_said(each.scores, clip) for each in found]}
        for clip in order[:20]
    ]  # fmt: skip
    names = [each.model for each in found]
    return {"rows": rows, "title": other.title, "models": names, "clips": differing, "changed": len(order)}


def _said(scores: Scores, clip: int) -> Markup | str:
    align = not scores.labels and scores.metrics[0].clip_error
    answer = scores.predictions[clip]
    return clips.aligned(scores.known[clip], answer) if align else _in_words(answer)


def _in_words(answer: Any) -> str:
    """An answer or a reference; of a set of labels each of them."""
    return "; ".join(map(str, answer)) or "none" if isinstance(answer, tuple) else str(answer)
