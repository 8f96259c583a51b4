"""`soundraft inspect`, `compare` and `visualize`: what a dataset contains, and what a run has reached."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from soundraft import files
from soundraft.cli.options import count, positive
from soundraft.params import defaults
from soundraft.runtime import UserError


def inspect_options(options: argparse.ArgumentParser) -> None:
    add = options.add_argument
    add("dataset", type=Path, nargs="?", metavar="DATASET", help="a dataset that s5 built")
    add("--hf-ds", type=Path, metavar="DATASET", help="the same, as an option")
    add("--split", metavar="NAME", help="of the dataset (train, or its only one)")
    add("--tokens-root", type=Path, metavar="FOLDER", help="instead of a dataset: a folder of token files")
    add("--cond-root", type=Path, metavar="FOLDER", help="where its sidecars are (beside the token files)")
    add("--recursive", action=argparse.BooleanOptionalAction, help="nested folders too (yes)")
    add("--show", type=count, default=3, metavar="N", help="show the first N clips (3)")
    add("--indices", type=_indices, metavar="I,J", help="show these clips instead, counted from 0")
    add("--verify", action="store_true", help="open every file and compare it with what is stated")
    add("--plot", type=Path, metavar="FILE.png", help="draw the first clip shown: waveform, codes, conditioning")


def inspect(given: argparse.Namespace) -> None:
    """What is in a dataset, or in folders of token files and sidecars."""
    if [given.dataset, given.hf_ds, given.tokens_root].count(None) != 2:
        raise UserError("name a DATASET or --tokens-root FOLDER, one of them")
    given.dataset = given.dataset or given.hf_ds
    if given.plot is not None and given.plot.suffix.lower() != ".png":
        raise UserError(f"--plot writes a .png, not {given.plot}")
    view = _dataset_view(given) if given.dataset is not None else _folders_view(given)
    indices = list(range(min(given.show, len(view.tokens)))) if given.indices is None else given.indices
    beyond = [index for index in indices if index >= len(view.tokens)]
    if beyond:
        raise UserError(f"there is no clip {beyond[0]}: {len(view.tokens)} clips, counted from 0")
    print("\n".join(view.head))
    for index in indices:
        print("\n" + "\n".join(view.lines(index)))
    if given.verify:
        print(f"\nverified {view.verify()} clips: all is as stated")
    if given.plot:
        _plot(view, indices, given.plot)


@dataclass(frozen=True)
class _View:
    """What `inspect` shows, whatever it is of."""

    head: list[str]
    tokens: Any
    lines: Callable[[int], list[str]]
    verify: Callable[[], int]
    audio: Callable[[int], bytes | None]


def _dataset_view(given: argparse.Namespace) -> _View:
    from soundraft.dataset import table

    if given.cond_root is not None or given.recursive is not None:
        raise UserError("--cond-root and --recursive go with --tokens-root; a dataset knows where its files are")
    splits = table.read_splits(given.dataset)
    split = given.split or (splits[0] if len(splits) == 1 else "train")

    from soundraft.dataset import tokens as describe
    from soundraft.dataset import verify  # torch, a second: after what can be told without
    from soundraft.dataset.tokens import TokenDataset

    tokens = TokenDataset.from_dataset(given.dataset, split)
    rows = table.open_split(given.dataset, split)
    shown = rows.select_columns(["id", "text", "label", "speaker"])
    return _View(
        [str(given.dataset), *describe.splits_table(given.dataset), "", f"{split}:"],
        tokens,
        lambda index: describe.clip_lines(index, tokens[index], shown[index]),
        lambda: verify.check(given.dataset),
        lambda index: (rows[index]["wav"] or {}).get("bytes"),
    )


def _folders_view(given: argparse.Namespace) -> _View:
    from soundraft.dataset import tokens as describe
    from soundraft.dataset import verify
    from soundraft.dataset.tokens import TokenDataset

    if given.split is not None:
        raise UserError("--split goes with a DATASET; folders of token files have no splits")
    cond = given.cond_root or given.tokens_root
    tokens = TokenDataset.from_folders(given.tokens_root, cond, recursive=given.recursive is not False)
    return _View(
        [f"{len(tokens)} token files in {given.tokens_root}, sidecars in {cond}"],
        tokens,
        lambda index: describe.clip_lines(index, tokens[index], None),
        lambda: verify.check_items(len(tokens), tokens.__getitem__),
        lambda _: None,
    )


def _plot(view: _View, indices: Sequence[int], path: Path) -> None:
    from soundraft.evaluation import data_plots

    if not indices:
        raise UserError("--plot draws the first clip shown, and none is")
    item = view.tokens[indices[0]]
    data_plots.plot_clip(
        path, item["codes"].numpy(), item["cond"].numpy(), item["names"], audio=view.audio(indices[0]),
        title=Path(item["path"]).name,
    )  # fmt: skip
    print(f"\n{path}: clip {indices[0]}")


def _indices(text: str) -> list[int]:
    return [count(word.strip()) for word in text.split(",")]


# `soundraft compare`: whether one run is better than another, or only luckier in its test clips.


PREDICTIONS = ("predictions.parquet", "reports/evaluate/predictions.parquet")
LEARNING_CURVES = ("learning_curves.csv", "start/learning_curves.csv", "models/base/learning_curves.csv")
_WHICH = (
    "a run of `soundraft train`, what `soundraft evaluate --output` wrote, reports/evaluate of the pipeline, a "
    "repository with one, or a predictions.parquet"
)


def compare_options(options: argparse.ArgumentParser) -> None:
    add, usual = options.add_argument, defaults().evaluate.bootstrap_samples
    add("run_a", type=Path, metavar="RUN_A", help=_WHICH)
    add("run_b", type=Path, metavar="RUN_B", help="the same; RUN_A again, to compare two of its models")
    for run in ("a", "b"):
        name = f"RUN_{run.upper()}"
        add(f"--cycle-{run}", type=count, metavar="N",
            help=f"which model of {name}, where it has several; 0 is its start model (the last)")  # fmt: skip
        add(f"--algorithm-{run}", metavar="NAME",
            help=f"the trained one or a control of {name}, where it has several models (the trained one)")  # fmt: skip
    add("--samples", type=positive, default=usual, metavar="N", help=f"test sets to draw ({usual})")
    add("--seed", type=count, default=0, metavar="N", help="of the drawing (0)")
    add("--json", type=Path, metavar="FILE.json", help="write the numbers too")


def compare(given: argparse.Namespace) -> None:
    from soundraft.evaluation import compare
    from soundraft.metrics.resampling import Bootstrap

    runs = ((given.run_a, given.algorithm_a, given.cycle_a), (given.run_b, given.algorithm_b, given.cycle_b))
    first, second = (
        compare.read_candidate(_found(run, PREDICTIONS), algorithm=algorithm, cycle=cycle)
        for run, algorithm, cycle in runs
    )
    compared = compare.compare(first, second, Bootstrap(given.samples, given.seed))
    print(compare.table(compared))
    if given.json is not None:
        files.write_json(given.json, compare.numbers(compared))
        print(f"{given.json}: the numbers")


# `soundraft visualize`: pictures of the predictions of a classifier, and of its training.


NAMES = ("confusion_matrix", "learning_curves", "roc_curves", "precision_recall", "calibration", "frequency_vs_f1",
         "confidence_thresholding")  # fmt: skip


def visualize_options(options: argparse.ArgumentParser) -> None:
    add = options.add_argument
    add("--visualization", required=True, choices=NAMES, metavar="NAME", help=f"one of {', '.join(NAMES)}")
    add("--from", required=True, type=Path, dest="source", metavar="RUN_OR_FILE",
        help="a run of `soundraft train --config`, what `evaluate --output` wrote, a repository of the pipeline, or a "
        "predictions.parquet (for learning_curves: a learning_curves.csv)")  # fmt: skip
    add("--output", type=Path, metavar="FILE", help="a .png, .pdf or .svg file (NAME.png)")


def visualize(given: argparse.Namespace) -> None:
    from soundraft.evaluation import label_plots, plots
    from soundraft.evaluation.predictions import read_predictions

    out = given.output or Path(f"{given.visualization}.png")
    plots.check_suffix(out)
    if given.visualization == "learning_curves":
        history = label_plots.read_history(_found(given.source, LEARNING_CURVES))
        plots.save_figure(label_plots.learning_curves(history), out)
        print(f"{out}: {given.visualization} of {len(history)} epochs")
        return
    scores = read_predictions(_found(given.source, PREDICTIONS))
    note = label_plots.draw(given.visualization, out, scores)
    if note:
        print(f"note: {note}")
    print(f"{out}: {given.visualization} of {len(scores):,} clips")


def _found(source: Path, names: tuple[str, ...]) -> Path:
    """The file itself, or the first of these in the folder of a run or a repository."""
    if source.is_file():
        return source
    if not source.exists():
        raise UserError(f"no such run or file: {source}")
    found = next((source / name for name in names if (source / name).is_file()), None)
    if found is None and (source / "folds.json").is_file():
        raise UserError(f"{source} is a cross-validation: the epochs of its folds are not kept")
    if found is None:
        raise UserError(f"{source}: no {names[0]} in it, nor {names[1]}; a run that has ended has one")
    return found
