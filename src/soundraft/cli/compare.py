"""`soundraft compare`: whether one run is better than another, or only luckier in its test clips."""

import argparse
from pathlib import Path

from soundraft import files
from soundraft.cli.command import Command, count, positive
from soundraft.params import defaults
from soundraft.runtime import UserError

NAME = "predictions.parquet"
PIPELINE = Path("reports/evaluate")
_WHICH = "a run of `soundraft train`, reports/evaluate of the pipeline, a repository with one, or a predictions.parquet"


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
            help=f"which model of RUN_{name}; 0 is its start model (the last)",
        )
        add(f"--algorithm-{run}", metavar="NAME", help=f"the trained one or a control of RUN_{name} (the trained one)")
    add("--samples", type=positive, default=usual, metavar="N", help=f"test sets to draw ({usual})")
    add("--seed", type=count, default=0, metavar="N", help="of the drawing (0)")
    add("--json", type=Path, metavar="FILE.json", help="write the numbers too")


def compare(given: argparse.Namespace) -> None:
    from soundraft.evaluation import compare as comparison

    first, second = (
        comparison.read_predictions(_predictions(run), algorithm=algorithm, cycle=cycle)
        for run, algorithm, cycle in (
            (given.run_a, given.algorithm_a, given.cycle_a),
            (given.run_b, given.algorithm_b, given.cycle_b),
        )
    )
    compared = comparison.compare(first, second, samples=given.samples, seed=given.seed)
    print(comparison.table(compared))
    if given.json is not None:
        numbers = {"wer_a": first.wer, "wer_b": second.wer, "clips": len(first.ids), **vars(compared.difference)}
        files.write_json(given.json, numbers)
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
    "Compare the error rates of two runs on the same test clips: difference, interval, p value.",
    compare_options,
    compare,
)
