"""`soundraft inspect`, `report`, `compare`, `visualize`, `stages`: what a dataset contains, what a run has reached."""

import argparse
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundraft import files, packs
from soundraft.cli.options import add_key, count, keys_given, params_given
from soundraft.runtime import UserError
from soundraft.tables import columns

if TYPE_CHECKING:
    import numpy as np

    from soundraft.dataset.tokens import Item, TokenDataset
    from soundraft.evaluation.page.run import Run


def inspect_options(options: argparse.ArgumentParser) -> None:
    add = options.add_argument
    add("dataset", type=Path, nargs="?", metavar="DATASET", help="A dataset that s5 built.")
    add("--hf-ds", type=Path, metavar="DATASET", help="The same, as an option.")
    add("--split", metavar="NAME", help="Split of the dataset (default: train, or its only one).")
    add("--tokens-root", type=Path, metavar="FOLDER", help="Instead of a dataset, a folder of token files.")
    add("--cond-root", type=Path, metavar="FOLDER", help="Where its sidecars are (default: beside the token files).")
    add("--recursive", action=argparse.BooleanOptionalAction, help="Nested folders too (default: yes).")
    add("--show", type=count, default=3, metavar="N", help="Show the first N clips (default: 3).")
    add("--indices", type=_indices, metavar="I,J", help="Show these clips instead, counted from 0; 0:10:2 is a range.")
    add("--verify", action="store_true", help="Open every file and compare it with its description.")
    add(
        "--extract",
        type=Path,
        metavar="OUT",
        help="Write token files and sidecars, packed or not, as loose files to OUT.",
    )
    add("--plot", type=Path, metavar="FILE.png", help="Draw the first clip shown: waveform, codes, conditioning.")


def inspect(given: argparse.Namespace) -> None:
    """What a dataset contains, or folders of token files and sidecars."""
    if [given.dataset, given.hf_ds, given.tokens_root].count(None) != 2:
        raise UserError("name a DATASET or --tokens-root FOLDER, one of them")
    given.dataset = given.dataset or given.hf_ds
    if given.plot is not None and given.plot.suffix.lower() != ".png":
        raise UserError(f"--plot writes a .png, not {given.plot}")
    if given.extract is not None:
        _check_extract(given)
    head, tokens, rows = _opened_folders(given) if given.dataset is None else _opened_dataset(given)
    every, wanted = range(len(tokens)), [slice(given.show)] if given.indices is None else given.indices
    indices = [index for each in wanted for index in (every[each] if isinstance(each, slice) else [each])]
    beyond = [index for index in indices if index >= len(tokens)]
    if beyond:
        raise UserError(f"there is no clip {beyond[0]}: {len(tokens)} clips, counted from 0")
    if given.plot and not indices:
        raise UserError("--plot draws the first clip shown, and none is")

    from soundraft.dataset import verify

    print("\n".join(head))
    for index in indices:
        print("\n" + "\n".join(_clip_lines(index, tokens[index], None if rows is None else rows[index])))
    if given.verify:
        clips = verify.check_items(tokens, head[0]) if rows is None else verify.check(given.dataset)
        print(f"\nverified {clips} clips: all files are as described")
    if given.extract:
        count = sum(packs.unpack(root, given.extract) for root in _roots(given))
        print(f"\n{given.extract}: {count} files")
    if given.plot:
        wav = None if rows is None else rows[indices[0]].get("wav")
        _plot(tokens[indices[0]], wav if isinstance(wav, dict) else None, given.plot)
        print(f"\n{given.plot}: clip {indices[0]}")


def _check_extract(given: argparse.Namespace) -> None:
    if given.tokens_root is None:
        raise UserError("--extract takes packs apart: name their folder with --tokens-root, such as data/tokens/start")
    if given.extract.exists() and any(given.extract.iterdir()):
        raise UserError(f"{given.extract} is there and not empty: name a new folder for --extract")
    for root in _roots(given):
        files.check_apart(root, given.extract)


def _roots(given: argparse.Namespace) -> list[Path]:
    """The folders of token files and of sidecars, which may be one."""
    return sorted({given.tokens_root, given.cond_root or given.tokens_root})


def _opened_dataset(given: argparse.Namespace) -> tuple[list[str], "TokenDataset", Any]:
    """The lines about a dataset, the tokens of one split, and its table."""
    from soundraft.dataset import table

    if given.cond_root is not None or given.recursive is not None:
        raise UserError("--cond-root and --recursive go with --tokens-root; the files of a dataset are in its tables")
    splits = table.read_splits(given.dataset)
    split = given.split or (splits[0] if len(splits) == 1 else "train")

    from soundraft.dataset.tokens import TokenDataset  # torch, a second: after what is checked without

    tokens = TokenDataset.from_dataset(given.dataset, split)
    head = [str(given.dataset), *_splits_table({name: table.read_table(given.dataset / name) for name in splits})]
    return [*head, "", f"{split}:"], tokens, table.Rows(given.dataset / split)


def _opened_folders(given: argparse.Namespace) -> tuple[list[str], "TokenDataset", None]:
    from soundraft.dataset.tokens import TokenDataset

    if given.split is not None:
        raise UserError("--split goes with a DATASET; folders of token files have no splits")
    cond = given.cond_root or given.tokens_root
    tokens = TokenDataset.from_folders(given.tokens_root, cond, recursive=given.recursive is not False)
    return [f"{len(tokens)} token files in {given.tokens_root}, sidecars in {cond}"], tokens, None


def _splits_table(splits: dict[str, Any]) -> list[str]:
    """A line for the table of each split: clips, time, frames, codebooks, features."""
    lines = [("split", "clips", "hours", "frames", "codebooks", "features")]
    counted = ["duration", "frames", "codebooks", "features"]
    for split, whole in splits.items():
        if not set(counted) <= set(whole.column_names):  # of another program
            lines.append((split, str(len(whole)), "", "", "", f"columns: {', '.join(whole.column_names)}"))
            continue
        rows = whole.select(counted).to_pylist()
        codebooks = ", ".join(map(str, sorted({row["codebooks"] for row in rows})))
        features = ", ".join(dict.fromkeys(name for row in rows for name in row["features"])) or "none"
        hours, frames = sum(row["duration"] for row in rows) / 3600, sum(row["frames"] for row in rows)
        lines.append((split, str(len(rows)), f"{hours:.3f}", str(frames), codebooks, features))
    return columns(lines, right={1, 2, 3, 4})


def _clip_lines(index: int, item: "Item", row: dict[str, Any] | None) -> list[str]:
    """One clip: what it is called, the start of its codes, the range of each feature.

    Args:
        row: what the dataset's table says of it; `None` for files in folders.
    """
    from soundraft.audio.ecdc import FRAMES_PER_S

    frames, codebooks = item["codes"].shape
    name = (row or {}).get("id") or item["path"]
    known = {key: row[key] for key in ("text", "label", "speaker") if row.get(key)} if row else {}
    about = [f"{key}: {text if len(text) <= 48 else text[:47] + '…'}" for key, text in known.items()]
    details = [*about, *_codes_table(item["codes"].numpy()), *_features_table(item["cond"].numpy(), item["names"])]
    title = f"[{index}] {name}  {frames / FRAMES_PER_S:.2f} s, {frames} frames, {codebooks} codebooks"
    return [title, *(f"    {line}" for line in details)]


def _codes_table(codes: "np.ndarray") -> list[str]:
    """The first frames of codes [T, K], a line for each of the first codebooks."""
    shown = codes[:8, :4]
    more = " …" if len(codes) > len(shown) else ""
    lines = [f"codes k{k}  " + " ".join(f"{code:4d}" for code in book) + more for k, book in enumerate(shown.T)]
    return lines if codes.shape[1] <= 4 else [*lines, f"      … k{codes.shape[1] - 1}"]


def _features_table(cond: "np.ndarray", names: list[str]) -> list[str]:
    """The range of each column of cond [T, D]."""
    if not names:
        return ["no conditioning"]
    rows: list[tuple[str, ...]] = [("feature", "min", "mean", "max")]
    for name, values in zip(names, cond.T, strict=True):
        rows.append((name, *(f"{number:.4g}" for number in (values.min(), values.mean(), values.max()))))
    return columns(rows, right={1, 2, 3})


def _plot(item: "Item", wav: dict[str, bytes] | None, path: Path) -> None:
    from soundraft.evaluation import data_plots

    data_plots.plot_clip(
        path, item["codes"].numpy(), item["cond"].numpy(), item["names"], audio=(wav or {}).get("bytes"),
        title=Path(item["path"]).name,
    )  # fmt: skip


def _indices(text: str) -> list[int | slice]:
    """`0,5,10:20:2` as Python's own indices and ranges."""
    found: list[int | slice] = []
    for word in text.split(","):
        start, *others = word.strip().split(":")
        try:
            ends = [int(each) if each.strip() else None for each in (start, *others)]
            found.append(slice(*ends) if others else count(start))
            range(1)[slice(*ends)]  # a step of 0 is none
        except (ValueError, TypeError) as error:
            raise argparse.ArgumentTypeError(f"{word!r} is no index, and no range such as 0:10:2") from error
    return found


# `soundraft compare`: whether one run is better than another, or only luckier in its test clips.


PREDICTIONS = ("predictions.parquet", "reports/evaluate/predictions.parquet")
LEARNING_CURVES = ("learning_curves.csv", "start/learning_curves.csv", "models/base/learning_curves.csv")
_WHICH = (
    "A run of `soundraft train`, what `soundraft evaluate --output` wrote, a repository with reports/evaluate, or a "
    "predictions.parquet."
)


def report_options(options: argparse.ArgumentParser) -> None:
    add = options.add_argument
    add("run", type=Path, nargs="?", default=Path(), metavar="RUN", help="Folder of a run (default: the pipeline's).")
    add("--against", type=Path, metavar="RUN", help="Compare its last model with that of another run.")
    add("--output", type=Path, metavar="FILE.html", help="The page (default: index.html in the run's folder).")


def report(given: argparse.Namespace) -> None:
    """The page of a run."""
    from soundraft.evaluation.page import build

    run = run_at(given.run)
    against = None if given.against is None else run_at(given.against)
    out = given.output or (run.folder / "index.html" if run.folder == given.run else given.run / "reports/report.html")
    build.write(out, run, against)
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB; open it in a browser, no server or network is needed")


def run_at(place: Path) -> "Run":
    """The run in a folder, the pipeline with what is known of this machine.

    Raises:
        UserError: when nothing there was measured.
    """
    from soundraft.evaluation.page.run import EVALUATED, Run, of_pipeline
    from soundraft.evaluation.results import MODELS_NAME
    from soundraft.tasks.run import RECORD

    if (place / RECORD).is_file():
        return _of_folder(place)
    if (place / EVALUATED / MODELS_NAME).is_file():
        return of_pipeline(place, here=True)
    if (place / MODELS_NAME).is_file():
        return Run(place, {}, place.name)
    raise UserError(
        f"{place}: no run ({RECORD}), no repository whose pipeline has evaluated ({EVALUATED}/{MODELS_NAME}), "
        f"and no {MODELS_NAME}: `soundraft train` and `dvc repro` make them"
    )


def _of_folder(folder: Path) -> "Run":
    """A run without the pipeline."""
    from soundraft.evaluation.page.run import Run, cycles_in
    from soundraft.params import defaults
    from soundraft.tasks.run import CORPUS_NAME, read_record

    record = read_record(folder)
    usual = defaults().leaves()
    facts = {"task": record["task"], "data": record["data"]["title"], "division": record["data"]["division"]}
    facts |= {"model": record["model"]} | {name: str(value) for name, value in record["versions"].items()}
    facts["seed"] = str(record["params"].get("seed", ""))
    params = {key: (value, usual[key]) for key, value in record["params"].items() if value != usual.get(key, value)}
    path = folder / CORPUS_NAME
    return Run(
        folder,
        cycles_in(folder / "cycles"),
        folder.name,
        {name: value for name, value in facts.items() if value},
        commands=[command] if (command := record.get("command")) else [],
        params=params,
        corpus=files.read_json(path) if path.is_file() else {},
    )


def compare_options(options: argparse.ArgumentParser) -> None:
    add = options.add_argument
    add("run_a", type=Path, metavar="RUN_A", help=_WHICH)
    add("run_b", type=Path, metavar="RUN_B", help="The same; RUN_A again, to compare two of its models.")
    for run in ("a", "b"):
        name = f"RUN_{run.upper()}"
        add(f"--cycle-{run}", type=count, metavar="N",
            help=f"Which model of {name}, where it has several; 0 is its start model (default: the last).")  # fmt: skip
        add(f"--algorithm-{run}", metavar="NAME",
            help=f"The trained model of {name}, or a control, such as sft (default: the trained one).")  # fmt: skip
    add_key(options, "reward.normalizer", default="that of the runs")
    add_key(options, "evaluate.bootstrap_samples", flag="--samples")
    add("--seed", type=count, default=0, metavar="N", help="Seed of the resampling (default: 0).")
    add("--json", type=Path, metavar="FILE.json", help="Write the numbers there as well.")


def compare(given: argparse.Namespace) -> None:
    from soundraft.evaluation import compare
    from soundraft.metrics.resampling import Bootstrap
    from soundraft.metrics.text import normalizer

    runs = ((given.run_a, given.algorithm_a, given.cycle_a), (given.run_b, given.algorithm_b, given.cycle_b))
    chosen = keys_given(given).get("reward.normalizer")
    normalize = normalizer(chosen) if chosen else None
    first, second = (
        compare.read_candidate(_found(run, PREDICTIONS), algorithm=algorithm, cycle=cycle, normalize=normalize)
        for run, algorithm, cycle in runs
    )
    compared = compare.compare(first, second, Bootstrap(params_given(given).evaluate.bootstrap_samples, given.seed))
    print(compare.table(compared))
    if given.json is not None:
        files.write_json(given.json, compare.numbers(compared))
        print(f"{given.json}: the numbers")


# `soundraft visualize`: pictures of the predictions of a classifier, and of its training.


NAMES = ("confusion_matrix", "learning_curves", "roc_curves", "precision_recall", "calibration", "frequency_vs_f1",
         "confidence_thresholding")  # fmt: skip


def visualize_options(options: argparse.ArgumentParser) -> None:
    add = options.add_argument
    add("--visualization", required=True, choices=NAMES, metavar="NAME", help=f"One of {', '.join(NAMES)}")
    add("--from", required=True, type=Path, dest="source", metavar="RUN_OR_FILE",
        help="A run of `soundraft train`, what `evaluate --output` wrote, a repository with reports/evaluate, or a "
        "predictions.parquet (for learning_curves a learning_curves.csv).")  # fmt: skip
    add("--output", type=Path, metavar="FILE", help="A .png, .pdf or .svg file (default: NAME.png).")


def visualize(given: argparse.Namespace) -> None:
    from soundraft.evaluation import label_plots, plots
    from soundraft.evaluation.predictions import read_model

    out = given.output or Path(f"{given.visualization}.png")
    plots.check_suffix(out)
    if given.visualization == "learning_curves":
        found = _found(given.source, LEARNING_CURVES)
        history = label_plots.read_history(found)
        plots.save_figure(label_plots.learning_curves(history, label_plots.kept_epoch(found.parent)), out)
        print(f"{out}: {given.visualization} of {len(history)} epochs")
        return
    _, scores = read_model(_found(given.source, PREDICTIONS))
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


_OF_ALL = ("check", "imports")  # every stage waits for these


def stages_options(options: argparse.ArgumentParser) -> None:
    options.add_argument("file", type=Path, nargs="?", default=Path("dvc.yaml"), metavar="FILE", help="A dvc.yaml.")


def stages(given: argparse.Namespace) -> None:
    """Each stage with the stages that it waits for, what it makes, and what it is for."""
    if not given.file.is_file():
        raise UserError(f"no {given.file}: the pipeline is described there, in the repository's folder")
    found = {name: entry.get("do", entry) for name, entry in files.read_yaml(given.file)["stages"].items()}
    cycles = files.read_yaml(given.file.with_name("cycles.yaml"))["cycles"]
    first = {**next(iter(cycles.values())), "cycle": "NN"}
    outs = {name: [_path(out, first) for out in body.get("outs", [])] for name, body in found.items()}
    rows: list[Sequence[str]] = [("stage", "after", "makes", "what it does")]
    for name, body in found.items():
        after = [other for other in _after(body, outs, first) if name in _OF_ALL or other not in _OF_ALL]
        rows.append((name, ", ".join(after), ", ".join(outs[name]), body["desc"]))
    print("\n".join(columns(rows, width=shutil.get_terminal_size().columns)))
    print(f"\n{', '.join(_OF_ALL)}: before all others. NN: one stage for each cycle.")


def _after(body: Mapping[str, Any], outs: Mapping[str, Sequence[str]], cycle: Mapping[str, str]) -> list[str]:
    """The stages whose outs a stage depends on."""
    wanted = [_path(dep, cycle) for dep in body.get("deps", [])]

    def meets(out: str) -> bool:
        return any(f"{one}/".startswith(f"{other}/") for dep in wanted for one, other in ((dep, out), (out, dep)))

    return [name for name, made in outs.items() if any(map(meets, made))]


def _path(entry: str | Mapping[str, Any], cycle: Mapping[str, str]) -> str:
    """A path of dvc.yaml, of the first cycle; its number is NN."""
    path = entry if isinstance(entry, str) else next(iter(entry))
    return re.sub(r"\$\{item\.(\w+)\}", lambda found: cycle[found[1]], path)
