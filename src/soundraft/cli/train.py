"""`soundraft train`: a start model and its cycles, or what a file declares, without the pipeline."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundraft.cli.options import (
    OF_MODELS,
    OPTIONS,
    add_corpus,
    add_key,
    add_keys,
    add_set,
    data_of,
    keys_given,
    language_of,
    positive,
    print_each,
    show,
)
from soundraft.params.sections import ALONE
from soundraft.runtime import UserError

if TYPE_CHECKING:
    from soundraft.tasks.declaration import Declared
    from soundraft.tasks.run import Run, RunResult

_SOURCE = "a corpus by name, a folder or a list of recordings"
_RAFT = (
    "train.algorithm", "train.cycles", "train.samples_per_prompt", "train.learning_rate", "reward.wer_threshold",
)  # fmt: skip
_ONLY_RAFT = (*_RAFT, "model", "replay", "settings", "dry_run")
LUDWIG = "ludwig://"  # in front of the name of a dataset there
_ONLY_DECLARED = ("target", "folds", "k", "extra")


def train_options(options: argparse.ArgumentParser) -> None:
    add = options.add_argument
    add("--dataset", metavar="NAME_OR_PATH", dest="corpus", help=f"What to learn: {_SOURCE}, or a "
        "table (csv, tsv, jsonl, parquet) with a column audio or audio_path.")  # fmt: skip
    add("overrides", nargs="*", metavar="KEY=VALUE", help="With a configuration of an enhancer: its keys, or those of "
        "params.yaml, such as trainer.max_epochs=50.")  # fmt: skip
    add("--output", "--output_directory", type=Path, metavar="FOLDER", help="Of the run; one that was killed goes on "
        "there (default: runs/DATASET).")  # fmt: skip
    add("--validation", metavar="NAME_OR_PATH", help=f"Instead of the dataset's own validation clips: {_SOURCE}.")
    add("--test", metavar="NAME_OR_PATH", help=f"Instead of the dataset's own test clips: {_SOURCE}.")
    add_keys(options, "task", "seed")
    group = options.add_argument_group("RAFT")
    group.add_argument("--model", metavar="FOLDER_OR_ID", help="The model to start from, a folder or a hub id: a "
        f"recogniser (default: {ALONE['model.checkpoint']}), or of --task classification an encoder.")  # fmt: skip
    group.add_argument("--replay", metavar="NAME_OR_PATH", help=f"Replayed against forgetting: {_SOURCE}.")
    for key in _RAFT:
        add_key(group, key, default=ALONE.get(key))
    add_set(group)
    group.add_argument("--dry-run", action="store_true", help="Check everything, time one batch and one step, and show "
                       "the plan.")  # fmt: skip
    group = options.add_argument_group("A classifier, or an enhancer")
    group.add_argument("--config", metavar="FILE.yaml", type=Path, help="The declaration of a classifier, or the "
                       "configuration of an enhancer, which names its data.")  # fmt: skip
    group.add_argument("--target", metavar="NAME", help="The column to predict, instead of the declared output.")
    group.add_argument("--folds", choices=("official", "speaker", "k"), help="Cross-validation by the column fold, by "
                       "speaker, or drawn (default: the declaration's).")  # fmt: skip
    group.add_argument("--k", type=positive, metavar="N", help="Folds, of k (default: 5) or speaker (default: all).")
    group.add_argument("--extra", metavar="TABLE_OR_FOLDER", help="More training clips, such as synthetic voices.")
    names = [name for name in OPTIONS if name != "seed"]
    add_corpus(options.add_argument_group("Which part of the dataset"), names, texts={"language": OF_MODELS})


def train(given: argparse.Namespace) -> None:
    given.corpus = given.corpus and given.corpus.removeprefix(LUDWIG)
    if given.config is not None and _is_configuration(given.config):
        _train_configured(given)
        return
    if given.overrides:
        raise UserError(f"{given.overrides[0]} goes with the --config of an enhancer; for a key of params.yaml: --set")
    if given.corpus is None:
        raise UserError(f"--dataset is missing: {_SOURCE}, or a table")
    given.output = given.output or Path("runs") / (Path(given.corpus).resolve().name.split(".")[0] or "run")
    if given.config is None:
        _refuse(given, _ONLY_DECLARED, "needs a declaration: --config FILE.yaml")
    else:
        _refuse(given, _ONLY_RAFT, "does not go with a declaration, which has the numbers of a classifier")
        if given.task not in (None, "classification"):
            raise UserError(f"--task {given.task}: a declaration is of the task classification")
    from soundraft.tasks.run import check_is_place

    check_is_place(given.output)
    (_train if given.config is None else _train_declared)(given)


def _refuse(given: argparse.Namespace, names: tuple[str, ...], reason: str) -> None:
    """Raise UserError when an option of the other way to train is given."""
    for name in names:
        if getattr(given, name) not in (None, False, []):
            option = {"settings": "set", "corpus": "dataset"}.get(name, name.rsplit(".", 1)[-1]).replace("_", "-")
            raise UserError(f"--{option} {reason}")


def _train(given: argparse.Namespace) -> None:
    from soundraft.tasks.base import task_of
    from soundraft.tasks.run import AudioRAFTConfig, AudioRAFTTrainer

    params = keys_given(given)
    task = params.pop("task", "asr")
    if language_of(given) and task == "asr":
        params.setdefault("model.language", language_of(given))
    config = AudioRAFTConfig(
        output_dir=given.output, model_name=given.model, task=task, limit=given.limit or None, params=params
    )
    task_given = task_of(config.all_params())
    unlabelled = task_given.makes_targets or not task_given.needs_targets
    data = data_of(given, seed=params.get("corpus.seed"), unlabelled=unlabelled)
    trainer = AudioRAFTTrainer(config, say=show)
    run = trainer.open(data, given.validation, given.test, replay_dataset=given.replay)
    if given.dry_run:
        _show_plan(run)
    else:
        _show_result(run.train(), given)


def _show_plan(run: "Run") -> None:
    from soundraft.tables import columns
    from soundraft.tasks.plan import make_plan

    plan = make_plan(run)
    show("\n".join([*columns(plan.rows()), *(f"- {note}" for note in run.notes)]))
    show(
        "\nTime and memory are extrapolated from sampling one batch of the longest clips and training one step here; "
        "no weights were changed, nothing was written.\nnext: the same command without --dry-run"
    )


def _train_declared(given: argparse.Namespace) -> None:
    from soundraft.tasks.declaration import read_declaration
    from soundraft.tasks.run import fit

    if given.config.suffix not in (".yaml", ".yml"):
        raise UserError(f"--config {given.config}: a declaration is a .yaml file; the subset of a corpus is --subset")
    declared = read_declaration(given.config, target=given.target)
    if given.k and given.folds not in ("k", "speaker"):
        raise UserError("--k is the number of folds: it goes with --folds k or --folds speaker")
    data = data_of(given)
    if given.columns and isinstance(data, str):
        raise UserError(f"--columns: those of {given.corpus} are named in the declaration, each with the key column")
    if given.folds or declared.folds:
        _cross_validate(given, declared, data)
        return
    result = fit(
        declared, data, given.validation, given.test, extra_df=given.extra, limit=given.limit or None,
        output_dir=given.output, seed=given.seed or 0, say=show,
    )  # fmt: skip
    _show_result(result, given)


def _is_configuration(path: Path) -> bool:
    from soundraft.tasks.enhancement_config import is_configuration

    return path.suffix in (".yaml", ".yml") and path.is_file() and is_configuration(path)


def _train_configured(given: argparse.Namespace) -> None:
    """Train an enhancer as a configuration describes it."""
    from soundraft.clips.division import Sources
    from soundraft.tasks.enhancement_config import read_configuration
    from soundraft.tasks.run import check_is_place, open_run

    named = ("corpus", "validation", "test", *_ONLY_RAFT, *_ONLY_DECLARED)
    _refuse(given, named, "does not go with the configuration of an enhancer: give its keys as KEY=VALUE")
    if given.task not in (None, "enhancement"):
        raise UserError(f"--task {given.task}: the configuration is of the task enhancement")
    configured = read_configuration(given.config, given.overrides)
    params = configured.params(given.seed or 0)
    given.output = given.output or Path("runs") / configured.name
    check_is_place(given.output)
    sources = Sources(*(configured.source(split) for split in ("train_ds", "validation_ds", "test_ds")))
    run = open_run(params, sources, given.output, limit=given.limit or None, notes=configured.notes, say=show)
    _show_result(run.train(), given)


def _show_result(result: "RunResult", given: argparse.Namespace) -> None:
    """Every model beside the baselines, which is better, what was written and what to do next."""
    from soundraft.evaluation.report import verdicts
    from soundraft.evaluation.results import shown
    from soundraft.evaluation.scores import METRICS
    from soundraft.metrics.resampling import Bootstrap
    from soundraft.tables import columns

    print_each("rejected", result.rejected)
    if result.results:
        metrics = [METRICS[key] for key in result.task.ranked(result.scores.known)]
        head = f"{result.measured_on}, {len(result.scores):,} clips"
        cells = [(head, "cycle", *(metric.title for metric in metrics))]
        for each in shown(result.results):
            rates = (metric.show(each.scores.value(metric.key)) for metric in metrics)
            cells.append((each.label, each.cycle, *rates))
        params = result.task.params
        sentences = verdicts(result.results, Bootstrap(params.evaluate.bootstrap_samples, params.seed))
        show("\n".join([*columns(cells, right=range(1, 2 + len(metrics))), *sentences]).replace("**", ""))
    else:
        show("nothing was measured: no clips with a target beside the training clips")
    show(f"{result.folder}: report.md, metrics.json, predictions.parquet; the last model is {result.last_model}")
    show(f"next: soundraft predict --model {result.best_model} --dataset NEW")


def _cross_validate(given: argparse.Namespace, declared: "Declared", data: Any) -> None:
    from soundraft.tasks.folds import cross_validate, verdict

    for name in ("validation", "test"):
        if getattr(given, name):
            raise UserError(f"--{name} does not go with --folds: every clip is tested once")
    result = cross_validate(
        declared, data, folds=given.folds, k=given.k, extra=given.extra, limit=given.limit or None,
        output_dir=given.output, seed=given.seed or 0, say=show,
    )  # fmt: skip
    print_each("rejected", result.rejected)
    means = result.means
    show(
        f"mean of {len(result.scores)} folds: accuracy {means['accuracy']}, UAR {means['uar']}; statistics SVM "
        f"{means['svm_accuracy']}, {means['svm_uar']}"
    )
    show(verdict(means).replace("**", ""))
    show(f"{given.output}: folds.md, folds.json, predictions.parquet, models/FOLD")
    show(f"next: soundraft visualize --visualization confusion_matrix --from {given.output}")
