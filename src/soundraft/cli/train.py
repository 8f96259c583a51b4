"""`soundraft train`: RAFT of a speech recogniser, or a classifier from a declaration, without the pipeline."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from soundraft.cli.options import MODEL_LANGUAGE, Command, add_choice, dataset_of, language_of, positive, tell
from soundraft.corpora.loading import CorpusDataset
from soundraft.params import defaults
from soundraft.params.sections import Train
from soundraft.runtime import UserError
from soundraft.tables import columns

if TYPE_CHECKING:
    from soundraft.tasks.run import AudioRAFTConfig, Run

DECLARATIONS = (".yaml", ".yml")
RAFT_ONLY = (
    "model", "replay", "algorithm", "cycles", "samples_per_prompt", "learning_rate", "wer_threshold", "settings",
    "dry_run",
)  # fmt: skip
CLASSIFIER_ONLY = ("target", "folds", "k", "subset", "extra")
_SOURCE = "a corpus by name, a folder or a list of recordings"


def train_options(options: argparse.ArgumentParser) -> None:
    add, usual = options.add_argument, defaults().train
    algorithms = get_args(Train.model_fields["algorithm"].annotation)
    add("--model", metavar="FOLDER_OR_ID", help="the recogniser to start from: a local folder or a hub id")
    add("--dataset", required=True, metavar="NAME_OR_PATH", dest="corpus", help=f"what to learn from: {_SOURCE}; "
        "for a classifier also any csv, tsv, jsonl or parquet with a column audio or audio_path")  # fmt: skip
    add("--output", required=True, type=Path, metavar="FOLDER", help="of the run; RAFT that was killed goes on there")
    add("--task", help="what the model does: asr; with a declaration classification (what it must be)")
    add("--validation", metavar="NAME_OR_PATH", help=f"in place of the dataset's own validation clips: {_SOURCE}")
    add("--test", metavar="NAME_OR_PATH", help=f"in place of the dataset's own test clips: {_SOURCE}")
    add("--replay", metavar="NAME_OR_PATH", help="what the model knew before, replayed against forgetting (nothing)")
    add("--algorithm", choices=algorithms, help=f"how a cycle improves the model ({usual.algorithm})")
    add("--cycles", type=positive, metavar="N", help=f"how many cycles ({usual.cycles})")
    add("--samples-per-prompt", type=positive, metavar="K", help=f"texts per clip ({usual.samples_per_prompt})")
    add("--learning-rate", type=float, metavar="RATE", help="peak of the first cycle (5e-5)")
    add("--wer-threshold", type=float, metavar="WER", help="a sample with at most this WER counts as solved, 0–1")
    add("--set", nargs="+", default=[], type=_setting, action="extend", metavar="KEY=VALUE", dest="settings",
        help="any other number by its key in params.yaml, such as train.rounds_per_cycle=4")  # fmt: skip
    add("--dry-run", action="store_true", help="check everything, measure one batch and one step here, tell the plan")
    _classifier_options(options)
    seed_of = "weights, splits, batches and samples (0); corpus.seed is that of what is drawn to make a corpus"
    config = "a declaration (.yaml, .yml) of a classifier, which is then trained; else the corpus's subset (its own)"
    add_choice(options, seed_of=seed_of, language_of=MODEL_LANGUAGE, texts={"config": config})


def _classifier_options(options: argparse.ArgumentParser) -> None:
    group = options.add_argument_group("with a declaration as --config", "the table, folder or corpus is --dataset")
    group.add_argument("--target", metavar="NAME", help="the column that is told, in place of the declared output")
    folds = "cross-validation by the column fold, by speaker, or drawn (the declaration's folds)"
    group.add_argument("--folds", choices=("official", "speaker", "k"), help=folds)
    group.add_argument("--k", type=positive, metavar="N", help="folds, for k (5), for speaker (one a speaker)")
    group.add_argument("--subset", metavar="NAME", help="the corpus's subset")
    group.add_argument("--extra", metavar="TABLE_OR_FOLDER",
                       help="more clips that are learned and never tested, such as synthetic voices")  # fmt: skip


def train(given: argparse.Namespace) -> None:
    if given.config is not None and given.config.lower().endswith(DECLARATIONS):
        from soundraft.cli.predict import train_classifier

        _refuse(
            given,
            RAFT_ONLY,
            "does not belong to a declaration: it is for RAFT; the numbers of a classifier stand in its file",
        )
        if given.task not in (None, "classification"):
            raise UserError(f"--task {given.task}: a declaration is of the task classification")
        declaration, given.config = Path(given.config), given.subset
        train_classifier(given, declaration)
        return
    _refuse(given, CLASSIFIER_ONLY, "needs a declaration: --config FILE.yaml")
    if given.model is None:
        raise UserError("name the recogniser to start from with --model, or a declaration with --config FILE.yaml")
    _train_raft(given)


def _refuse(given: argparse.Namespace, names: Sequence[str], reason: str) -> None:
    """Raise UserError when an option of the other way to train is given."""
    for name in names:
        if getattr(given, name) not in (None, False, []):
            shown = {"settings": "set"}.get(name, name).replace("_", "-")
            raise UserError(f"--{shown} {reason}")


def _train_raft(given: argparse.Namespace) -> None:
    from soundraft.tasks.run import reads_transcripts

    config = _config(given)
    unlabelled = not reads_transcripts(config.all_params())
    source = dataset_of(given, seed=dict(given.settings).get("corpus.seed"), unlabelled=unlabelled)
    if given.dry_run:
        _tell_plan(config, given, source)
        return
    from soundraft.tasks.run import AudioRAFTTrainer

    trainer = AudioRAFTTrainer(config, tell=tell)
    result = trainer.train(source, given.validation, given.test, replay_dataset=given.replay)
    written = "report.md, predictions.parquet, metrics.json" if result.measured_on else "report.md, metrics.json"
    tell(f"{result.folder}: {written}; the last model is {result.last_model}")
    tell(f"next: soundraft transcribe FILE --model {result.best_model}")


def _config(given: argparse.Namespace) -> "AudioRAFTConfig":
    from soundraft.tasks.run import AudioRAFTConfig

    settings = dict(given.settings)
    if language_of(given):
        settings.setdefault("model.language", language_of(given))
    return AudioRAFTConfig(
        model_name=given.model,
        output_dir=given.output,
        task=given.task or "asr",
        num_cycles=given.cycles,
        samples_per_prompt=given.samples_per_prompt,
        learning_rate=given.learning_rate,
        wer_threshold=given.wer_threshold,
        algorithm=given.algorithm,
        seed=given.seed,
        limit=given.limit,
        params=settings,
    )


def _tell_plan(config: "AudioRAFTConfig", given: argparse.Namespace, source: CorpusDataset) -> None:
    from soundraft.tasks.plan import make_plan
    from soundraft.tasks.run import open_run

    run: Run = open_run(config, source, given.validation, given.test, given.replay)
    plan = make_plan(run)
    tell("\n".join(columns(plan.rows())))
    for note in plan.notes:
        tell(f"- {note}")
    tell(
        "\nTime and memory are extrapolated from one batch of the longest clips, sampled, and one step, trained here; "
        "no weights were changed, nothing was written.\nnext: the same command without --dry-run"
    )


def _setting(text: str) -> tuple[str, Any]:
    import yaml

    key, sign, value = text.partition("=")
    if not (key and sign and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE, such as train.rounds_per_cycle=4")
    try:
        return key, yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise argparse.ArgumentTypeError(f"{value!r} cannot be read as a value") from error


TRAIN = Command(
    "Improve a speech recogniser by RAFT, or train the classifier that a declaration describes.", train_options, train
)
