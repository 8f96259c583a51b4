"""`soundraft train`: RAFT of a speech recogniser, or a classifier from a declaration, without the pipeline."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundraft.cli.options import (
    OF_MODELS,
    OPTIONS,
    add_corpus,
    data_of,
    dataset_of,
    language_of,
    positive,
    print_each,
    show,
)
from soundraft.params.options import add_key, add_keys, add_set, keys_given
from soundraft.runtime import UserError

if TYPE_CHECKING:
    from soundraft.corpora import CorpusDataset
    from soundraft.tasks.classifier_run import ClassifierResult
    from soundraft.tasks.run import AudioRAFTConfig

_SOURCE = "a corpus by name, a folder or a list of recordings"
_RAFT = ("train.algorithm", "train.cycles", "train.samples_per_prompt", "reward.wer_threshold")
_ONLY_RAFT = (*_RAFT, "train.learning_rate", "model", "replay", "settings", "dry_run")
_ONLY_DECLARED = ("target", "folds", "k", "extra")


def train_options(options: argparse.ArgumentParser) -> None:
    add = options.add_argument
    add("--dataset", required=True, metavar="NAME_OR_PATH", dest="corpus", help=f"What to learn: {_SOURCE}; for a "
        "classifier also any csv, tsv, jsonl or parquet with a column audio or audio_path.")  # fmt: skip
    add("--output", type=Path, metavar="FOLDER", help="Of the run; a RAFT run that was killed goes on there "
        "(default: runs/DATASET).")  # fmt: skip
    add("--validation", metavar="NAME_OR_PATH", help=f"Instead of the dataset's own validation clips: {_SOURCE}.")
    add("--test", metavar="NAME_OR_PATH", help=f"Instead of the dataset's own test clips: {_SOURCE}.")
    add_keys(options, "task", "seed")
    group = options.add_argument_group("RAFT of a speech recogniser")
    group.add_argument("--model", metavar="FOLDER_OR_ID", help="The recogniser to start from: a folder or a hub id.")
    group.add_argument("--replay", metavar="NAME_OR_PATH", help=f"Replayed against forgetting: {_SOURCE}.")
    add_keys(group, *_RAFT)
    add_key(group, "train.learning_rate", text="Peak learning rate of cycle 1.", default=5e-5)
    add_set(group)
    group.add_argument("--dry-run", action="store_true", help="Check everything, time one batch and one step, and show "
                       "the plan.")  # fmt: skip
    group = options.add_argument_group("A classifier")
    group.add_argument("--config", metavar="FILE.yaml", type=Path, help="Its declaration.")
    group.add_argument("--target", metavar="NAME", help="The column to predict, instead of the declared output.")
    group.add_argument("--folds", choices=("official", "speaker", "k"), help="Cross-validation by the column fold, by "
                       "speaker, or drawn (default: the declaration's).")  # fmt: skip
    group.add_argument("--k", type=positive, metavar="N", help="Folds, of k (default: 5) or speaker (default: all).")
    group.add_argument("--extra", metavar="TABLE_OR_FOLDER", help="More training clips, such as synthetic voices.")
    names = [name for name in OPTIONS if name != "seed"]
    add_corpus(options.add_argument_group("Which part of the dataset"), names, texts={"language": OF_MODELS})


def train(given: argparse.Namespace) -> None:
    given.output = given.output or Path("runs") / (Path(given.corpus).resolve().name.split(".")[0] or "run")
    if given.config is None:
        _refuse(given, _ONLY_DECLARED, "needs a declaration: --config FILE.yaml")
        if given.model is None or given.task == "classification":
            raise UserError("name the recogniser to start from with --model, or a declaration with --config FILE.yaml")
        _train_raft(given)
    else:
        _refuse(
            given, _ONLY_RAFT, "is for RAFT and does not go with a declaration, which has the numbers of a classifier"
        )
        if given.task == "asr":
            raise UserError("--task asr: a declaration is of the task classification")
        _train_classifier(given)


def _refuse(given: argparse.Namespace, names: tuple[str, ...], reason: str) -> None:
    """Raise UserError when an option of the other way to train is given."""
    for name in names:
        if getattr(given, name) not in (None, False, []):
            option = {"settings": "set"}.get(name, name.rsplit(".", 1)[-1]).replace("_", "-")
            raise UserError(f"--{option} {reason}")


def _train_raft(given: argparse.Namespace) -> None:
    from soundraft.tasks.run import AudioRAFTConfig, AudioRAFTTrainer, reads_transcripts

    params = keys_given(given)
    if language_of(given):
        params.setdefault("model.language", language_of(given))
    config = AudioRAFTConfig(model_name=given.model, output_dir=given.output, limit=given.limit or None, params=params)
    unlabelled = not reads_transcripts(config.all_params())
    source = dataset_of(given, seed=params.get("corpus.seed"), unlabelled=unlabelled)
    if given.dry_run:
        _show_plan(config, given, source)
        return
    result = AudioRAFTTrainer(config, tell=show).train(
        source, given.validation, given.test, replay_dataset=given.replay
    )
    written = "report.md, predictions.parquet, metrics.json" if result.measured_on else "report.md, metrics.json"
    show(f"{result.folder}: {written}; the last model is {result.last_model}")
    show(f"next: soundraft transcribe FILE --model {result.best_model}")


def _show_plan(config: "AudioRAFTConfig", given: argparse.Namespace, source: "CorpusDataset") -> None:
    from soundraft.tables import columns
    from soundraft.tasks.plan import make_plan
    from soundraft.tasks.run import open_run

    plan = make_plan(open_run(config, source, given.validation, given.test, given.replay))
    show("\n".join([*columns(plan.rows()), *(f"- {note}" for note in plan.notes)]))
    show(
        "\nTime and memory are extrapolated from sampling one batch of the longest clips and training one step here; "
        "no weights were changed, nothing was written.\nnext: the same command without --dry-run"
    )


def _train_classifier(given: argparse.Namespace) -> None:
    from soundraft.tasks.declaration import read_declaration

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
    else:
        _fit(given, declared, data)
    show(f"next: soundraft visualize --visualization confusion_matrix --from {given.output}")


def _fit(given: argparse.Namespace, declared: Any, data: Any) -> None:
    from soundraft.tasks.classifier_run import fit

    seed = given.seed or 0
    result = fit(
        declared, data, given.validation, given.test, extra_df=given.extra, output_dir=given.output, seed=seed,
        tell=show,
    )  # fmt: skip
    print_each("rejected", result.rejected)
    show("\n".join(_results(result, seed)))
    show(f"{given.output}: model, report.md, predictions.parquet, test_statistics.json, description.json")
    show(f"next: soundraft predict --model {given.output} --dataset NEW.csv")


def _cross_validate(given: argparse.Namespace, declared: Any, data: Any) -> None:
    from soundraft.tasks.folds import cross_validate, verdict

    for name in ("validation", "test"):
        if getattr(given, name):
            raise UserError(f"--{name} does not go with --folds: every clip is tested once")
    result = cross_validate(
        declared, data, folds=given.folds, k=given.k, extra=given.extra, output_dir=given.output,
        seed=given.seed or 0, tell=show,
    )  # fmt: skip
    print_each("rejected", result.rejected)
    means = result.means
    show(
        f"mean of {len(result.scores)} folds: accuracy {means['accuracy']}, UAR {means['uar']}; statistics SVM "
        f"{means['svm_accuracy']}, {means['svm_uar']}"
    )
    show(verdict(means).replace("**", ""))
    show(f"{given.output}: folds.md, folds.json, predictions.parquet, models/FOLD")


def _results(result: "ClassifierResult", seed: int) -> list[str]:
    """The model and its baselines on the test clips, and which is better."""
    from soundraft.evaluation.report import verdicts
    from soundraft.metrics.resampling import Bootstrap
    from soundraft.params import defaults
    from soundraft.tables import columns

    training = result.training
    stopped = "stopped early" if training.stopped_early else "all"
    cells = [(f"test, {len(result.test.ids):,} clips", "accuracy", "UAR")]
    for each in result.results:
        cells.append((each.label, f"{each.scores.value('accuracy'):.1%}", f"{each.scores.value('uar'):.1%}"))
    bootstrap = Bootstrap(defaults().evaluate.bootstrap_samples, seed)
    sentences = [sentence.replace("**", "") for sentence in verdicts(result.results, bootstrap)]
    epochs = f"best epoch {training.best_epoch} of {len(training.history)} ({stopped})"
    head = f"{epochs}, macro recall {training.best:.1%} on {len(result.validation.ids):,} validation clips"
    return [head, *columns(cells, right=(1, 2)), *sentences]
