"""`soundraft visualize`: pictures of what a classifier says, and of how it learned."""

import argparse
from pathlib import Path

from soundraft.cli.command import Command
from soundraft.runtime import UserError

NAMES = (
    "confusion_matrix",
    "learning_curves",
    "roc_curves",
    "precision_recall",
    "calibration",
    "frequency_vs_f1",
    "confidence_thresholding",
)
_ANSWERS = ("predictions.parquet", "reports/evaluate/predictions.parquet")
_CURVES = ("learning_curves.csv", "models/base/learning_curves.csv")


def visualize_options(options: argparse.ArgumentParser) -> None:
    add = options.add_argument
    add("--visualization", required=True, choices=NAMES, metavar="NAME", help=f"one of {', '.join(NAMES)}")
    add("--from", required=True, type=Path, dest="source", metavar="RUN_OR_FILE",
        help="a run of `soundraft train --config`, what `evaluate --output` wrote, a repository of the pipeline, or a "
        "predictions.parquet (for learning_curves: a learning_curves.csv)")  # fmt: skip
    add("--output", type=Path, metavar="FILE", help="a .png, .pdf or .svg file (NAME.png)")


def visualize(given: argparse.Namespace) -> None:
    from soundraft.evaluation import classification_plots
    from soundraft.evaluation.label_files import read_predictions

    out = given.output or Path(f"{given.visualization}.png")
    if given.visualization == "learning_curves":
        from soundraft.tasks.classification_evaluate import read_curves

        history = read_curves(_found(given.source, _CURVES))
        classification_plots.visualize(given.visualization, out, history=history)
        print(f"{out}: {given.visualization} of {len(history)} epochs")
        return
    predicted = read_predictions(_found(given.source, _ANSWERS))
    note = classification_plots.visualize(given.visualization, out, given=predicted)
    if note:
        print(f"note: {note}")
    print(f"{out}: {given.visualization} of {len(predicted.ids):,} clips")


def _found(source: Path, names: tuple[str, ...]) -> Path:
    """The file itself, or in a run's folder the one that is there."""
    if source.is_file():
        return source
    if not source.exists():
        raise UserError(f"no such run or file: {source}")
    found = next((source / name for name in names if (source / name).is_file()), None)
    if found is None and (source / "folds.json").is_file():
        raise UserError(f"{source} is a cross-validation: what each fold learned by epochs is not kept")
    if found is None:
        raise UserError(f"{source}: no {names[0]} in it, nor {names[1]}")
    return found


COMMAND = Command("Draw what a classifier says, and how it learned, as png, pdf or svg.", visualize_options, visualize)
