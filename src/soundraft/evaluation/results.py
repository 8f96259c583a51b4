"""The models of a run on the same test clips: their names and order, metrics.json and curves.csv."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from soundraft.evaluation.scores import METRICS, Metric, Scores
from soundraft.metrics.resampling import Bootstrap

START = "start"
TRAINED = "trained"  # the chain of cycles, whatever its algorithm
ALGORITHMS = {
    "raft": "RAFT",
    "grpo": "GRPO",
    "mwer": "MWER",
    "sft": "supervised on references",
    "self_training": "greedy self-training",
    "random": "a random one of K, no reward",
}
SVM, MAJORITY = "svm", "majority"
NOISY, WIENER = "noisy", "wiener"
ORIGINAL, CODEC, BEST_OF = "original", "codec", "best_of"
BASELINES = {
    SVM: "statistics SVM",
    MAJORITY: "majority class",
    NOISY: "noisy input",
    WIENER: "Wiener filter",
    ORIGINAL: "recordings as they are",
    CODEC: "recordings through the codec",
    BEST_OF: "best of several without training",
}
MODELS_NAME = "models.json"
_ORDER = (START, TRAINED, *ALGORITHMS, *BASELINES)


@dataclass(frozen=True, order=True)
class ModelId:
    """Which model of a run.

    Attributes:
        chain: "start", "trained", the name of a control, or that of a baseline that needs no cycle.
        algorithm: of the chain "trained" the one that trained it, else the chain's name again.
    """

    chain: str
    algorithm: str
    cycle: int

    def __str__(self) -> str:
        return f"{self.algorithm} {self.cycle}"

    @property
    def of_run(self) -> bool:
        """Whether it is the start model or a cycle, and no control or baseline."""
        return self.chain in (START, TRAINED)

    @property
    def is_baseline(self) -> bool:
        return not self.of_run and self.chain not in ALGORITHMS


START_MODEL = ModelId(START, START, 0)


@dataclass(frozen=True)
class Result:
    """One model on the test clips; all results of a report have the same clips in the same order.

    Attributes:
        others: the same model in another way, such as "snapped" (its words replaced by the nearest vocabulary words)
            and "start_corpus" (its clips, to see what was forgotten).
        name: of a model that belongs to no chain of cycles; else it is named by its chain.
    """

    model: ModelId
    scores: Scores
    others: Mapping[str, Scores] = field(default_factory=dict)
    name: str = ""

    @classmethod
    def baseline(cls, name: str, scores: Scores, others: Mapping[str, Scores] | None = None) -> "Result":
        return cls(ModelId(name, name, 0), scores, others or {})

    @property
    def label(self) -> str:
        chain = self.model.chain
        if self.name or chain == START:
            return self.name or "start model"
        if chain == TRAINED:
            return ALGORITHMS[self.model.algorithm]
        return f"control: {self._title}"

    @property
    def in_words(self) -> str:
        """The label in a sentence."""
        if self.model.chain == TRAINED:
            return f"cycle {self.model.cycle}"
        if self.model.chain == START:
            return f"the {self.label}"
        return f"the {self._title}" if self.model.is_baseline else f"the control “{self._title}”"

    @property
    def cycle(self) -> str:
        return "–" if self.name or self.model.is_baseline else str(self.model.cycle)

    @property
    def _title(self) -> str:
        chain = self.model.chain
        return (ALGORITHMS | BASELINES).get(chain) or chain.replace("_", " ")


@dataclass(frozen=True)
class Column:
    """A number of each model: a column of the report's table, and entries of metrics.json and curves.csv.

    Attributes:
        value: a metric's key, or a function of the scores.
        of: which of `Result.others` is measured; empty: the scores.
        interval: whether the table shows the metric's 95 % interval.
        entries: in metrics.json "before" (the start model) and "after" (the last cycle), the "interval" of "after",
            the relative "reduction" of an error rate, and baselines by name; "curve": in curves.csv, too.
    """

    key: str
    title: str
    value: str | Callable[[Scores], float | None]
    format: str = "{:.1%}"
    of: str = ""
    interval: bool = False
    entries: Sequence[str] = ("before", "after")

    def scores(self, result: Result) -> Scores | None:
        return result.others.get(self.of) if self.of else result.scores

    def number(self, result: Result) -> float | None:
        scores = self.scores(result)
        if scores is None:
            return None
        number = scores.value(self.value) if isinstance(self.value, str) else self.value(scores)
        return None if number is None or math.isnan(number) else number

    def cell(self, result: Result, bootstrap: Bootstrap) -> str:
        scores, number = self.scores(result), self.number(result)
        if self.interval and number is not None and scores is not None and isinstance(self.value, str):
            return str(scores.estimate(self.value, bootstrap))
        return "–" if number is None else self.format.format(number)


def model_folders(chains: Path, algorithm: str) -> list[tuple[ModelId, Path]]:
    """Every model of the pipeline, the start model first; cycles that were not asked for have no folder.

    Args:
        algorithm: of the cycles.
    """
    found = [(START_MODEL, chains / "base")]
    for path in sorted(chains.glob("raft/[0-9][0-9]/config.json")):
        found.append((ModelId(TRAINED, algorithm, int(path.parent.name)), path.parent))
    for path in sorted(chains.glob("controls/[0-9][0-9]/*/config.json")):
        chain = path.parent.name
        found.append((ModelId(chain, chain, int(path.parents[1].name)), path.parent))
    return found


def shown(results: Sequence[Result]) -> list[Result]:
    """Start, every cycle, of a control only its last cycle, then the baselines."""
    last = {each.model.chain: each.model.cycle for each in sorted(results, key=lambda each: each.model.cycle)}
    kept = [each for each in results if each.model.of_run or each.model.cycle == last[each.model.chain]]
    order = {chain: place for place, chain in enumerate(_ORDER)}
    return sorted(kept, key=lambda each: (order.get(each.model.chain, len(order)), each.model.cycle))


def last_trained(results: Sequence[Result]) -> Result:
    """The model of the last cycle; the start model when no cycle was trained."""
    return max((each for each in results if each.model.of_run), key=lambda each: each.model.cycle)


def summary(results: Sequence[Result], columns: Sequence[Column], bootstrap: Bootstrap) -> dict[str, Any]:
    """metrics.json: numbers before and after the cycles, and of the baselines; flat."""
    first, last = results[0], last_trained(results)
    numbers: dict[str, Any] = {"cycles": last.model.cycle}
    for column in columns:
        before, after = column.number(first), column.number(last)
        if before is None or after is None:
            continue
        found = {"before": before, "after": after}
        if "interval" in column.entries:
            estimate = last.scores.estimate(column.key, bootstrap)
            found |= {"after_low": estimate.low, "after_high": estimate.high}
        if "reduction" in column.entries:
            found["relative_reduction"] = 1 - after / before if before else 0.0
        wanted = (*column.entries, "after_low", "after_high", "relative_reduction")
        numbers |= {f"{column.key}_{name}": value for name, value in found.items() if name in wanted}
    for result in results:
        chain = result.model.chain
        numbers |= {f"{chain}_{column.key}": column.number(result) for column in columns if chain in column.entries}
    return numbers


def described(results: Sequence[Result], columns: Sequence[Column], bootstrap: Bootstrap) -> dict[str, Any]:
    """models.json: every model with the numbers of every column; where a metric has one, with its interval."""
    columns = [column for column in columns if column.scores(results[0]) is not None]
    rows = [
        vars(each.model)
        | {"label": each.label, "in_words": each.in_words, "shown": each in shown(results)}
        | {"cells": {column.key: _cell(column, each, bootstrap) for column in columns}}
        for each in results
    ]
    heads = [
        {"key": column.key, "title": column.title.partition(" [")[0], "of": column.of,
         "metric": column.value if isinstance(column.value, str) else ""}
        for column in columns
    ]  # fmt: skip
    target = results[0].scores.target
    return {"metric": results[0].scores.metrics[0].key, "target": target, "columns": heads, "models": rows}


def _cell(column: Column, result: Result, bootstrap: Bootstrap) -> dict[str, Any]:
    number, scores = column.number(result), column.scores(result)
    cell: dict[str, Any] = {"value": number}
    if isinstance(column.value, str) and scores is not None:
        estimate = scores.estimate(column.value, bootstrap)
        cell |= {"low": estimate.low, "high": estimate.high}
    known = {key: float(value) for key, value in cell.items() if value is not None and math.isfinite(value)}
    return {"value": None, **known, "shown": column.cell(result, bootstrap)}


def error(metric: Metric, value: float) -> float:
    """What a curve over cycles shows: of a share of right answers that of the wrong ones."""
    return 1 - value if metric.best == 1 else value


def curves(results: Sequence[Result], columns: Sequence[Column], bootstrap: Bootstrap) -> list[dict[str, Any]]:
    """curves.csv, for `dvc plots`: by cycle the first column of the trained chain and of each control, as errors."""
    metric, others = METRICS[columns[0].key], columns[1:]
    models = {(each.model.chain, each.model.cycle): each for each in results}
    controls = sorted({each.model.chain for each in results if not (each.model.of_run or each.model.is_baseline)})
    rows = []
    for cycle in sorted({each.model.cycle for each in results}):
        trained = models.get((TRAINED, cycle), results[0])
        estimate = trained.scores.estimate(metric.key, bootstrap)
        low, high = sorted(error(metric, bound) for bound in (estimate.low, estimate.high))
        row: dict[str, Any] = {"cycle": cycle, "trained": error(metric, estimate.value)}
        row |= {"trained_low": low, "trained_high": high}
        for column in others:
            if "curve" in column.entries and column.scores(trained) is not None:
                row[f"trained_{column.of or column.key}"] = column.number(trained)
        for control in controls:
            row[control] = error(metric, models.get((control, cycle), results[0]).scores.value(metric.key))
        rows.append(row)
    return rows
