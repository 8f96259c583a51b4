"""`soundraft compare`: whether one run is better than another, or only luckier in its test clips."""

import argparse
from pathlib import Path
from typing import Any

from soundraft import files
from soundraft.cli.command import Command, count, positive
from soundraft.params import defaults
from soundraft.runtime import UserError

NAME = "predictions.parquet"
PIPELINE = Path("reports/evaluate")
_WHICH = (
    "a run of `soundraft train`, what `soundraft evaluate --output` wrote, reports/evaluate of the pipeline, a "
    "repository with one, or a predictions.parquet"
)


def compare_options(options: argparse.ArgumentParser) -> None:
    add, usual = options.add_argument, defaults().evaluate.bootstrap_samples
    add("run_a", type=Path, metavar="RUN_A", help=_WHICH)
    add("run_b", type=Path, metavar="RUN_B", help="the same; RUN_A again, to compare two of its models")
    for run in ("a", "b"):
        name = run.upper()
        add(
            f"--cycle-{run}",
            type=count,
            metavar="N",
            help=f"which model of RUN_{name}, where it has several; 0 is its start model (the last)",
        )
        control = f"the trained one or a control of RUN_{name}, where it has several models (the trained one)"
        add(f"--algorithm-{run}", metavar="NAME", help=control)
    add("--samples", type=positive, default=usual, metavar="N", help=f"test sets to draw ({usual})")
    add("--seed", type=count, default=0, metavar="N", help="of the drawing (0)")
    add("--json", type=Path, metavar="FILE.json", help="write the numbers too")


def compare(given: argparse.Namespace) -> None:
    from soundraft.evaluation import compare, compare_labels

    paths = [_predictions(run) for run in (given.run_a, given.run_b)]
    labels = [compare.tells_labels(path) for path in paths]
    if labels[0] != labels[1]:
        classifier, recogniser = paths if labels[0] else paths[::-1]
        raise UserError(f"{classifier} is of a classifier and {recogniser} of speech recognition: nothing is common")
    task: Any = compare_labels if labels[0] else compare
    first = task.read_predictions(paths[0], algorithm=given.algorithm_a, cycle=given.cycle_a)
    second = task.read_predictions(paths[1], algorithm=given.algorithm_b, cycle=given.cycle_b)
    compared = task.compare(first, second, samples=given.samples, seed=given.seed)
    print(task.table(compared))
    if given.json is not None:
        files.write_json(given.json, task.numbers(compared))
        print(f"{given.json}: the numbers")


def _predictions(run: Path) -> Path:
    if run.is_file():
        return run
    for place in (run / NAME, run / PIPELINE / NAME):
        if place.is_file():
            return place
    if not run.exists():
        raise UserError(f"no such run: {run}")
    raise UserError(f"{run}: no {NAME} in it, nor in {PIPELINE} below; a run that has ended has one")


COMMAND = Command(
    "Compare two runs on the same test clips by WER, or classifiers by accuracy and UAR: interval and p value.",
    compare_options,
    compare,
)
