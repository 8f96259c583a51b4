"""The folder of a classifier's run: written whole or not at all, and read again to evaluate and to predict."""

import csv
import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundraft import files
from soundraft.evaluation import classification
from soundraft.evaluation import classification_report as report
from soundraft.evaluation.label_files import write_predictions
from soundraft.evaluation.report import Bootstrap, write_csv
from soundraft.manifest import QUARANTINE_NAME, SPLITS
from soundraft.models.base import ModelError
from soundraft.models.classifier import AudioClassifier
from soundraft.models.classifier_files import is_classifier, load_classifier
from soundraft.params import defaults
from soundraft.runtime import UserError
from soundraft.tasks.classification_start import CURVES
from soundraft.tasks.clip_tables import Wanted
from soundraft.tasks.labelled import LabelledClips
from soundraft.training.epochs import EpochsReport

if TYPE_CHECKING:
    from soundraft.tasks.classifier_run import ClassifierResult

FORMAT, VERSION = "soundraft-classifier-run", 1
MODEL, DESCRIPTION, SPLITS_NAME = "model", "description.json", "splits.csv"
FOLDS_NAME, FOLD_MODELS = "folds.json", "models"  # of a cross-validation: a classifier a fold
TRAINING, TEST, PREDICTIONS = "training_statistics.json", "test_statistics.json", "predictions.parquet"
_PACKAGES = ("soundraft", "torch", "numpy", "scikit-learn", "soxr", "transformers")


@dataclass(frozen=True)
class Opened:
    """A classifier and what is known of the data that it wants.

    Attributes:
        wanted: without the target, and no row is dropped.
        dropped: of what is measured rows are dropped whose cell is empty in these, as the run asked: audio, target.
        splits: of the clips of its run, by id; empty where the run is not there.
        contents: the same by `content_of` their audio; empty for runs of before it was written.
        train_labels: one a training clip of that run.
    """

    classifier: AudioClassifier
    wanted: Wanted
    target_column: str
    splits: Mapping[str, str] = field(default_factory=dict)
    contents: Mapping[str, str] = field(default_factory=dict)
    train_labels: list[str] = field(default_factory=list)
    dropped: Sequence[str] = ()

    def knowing(self, clips: Sequence[Mapping[str, str]]) -> "Opened":
        """The same with what the run did with each clip: the lines of its splits.csv."""
        return replace(
            self,
            splits={row["id"]: row["split"] for row in clips},
            # train stands first, so it stays where one recording is in several splits
            contents={row["content"]: row["split"] for row in reversed(clips) if row.get("content")},
            train_labels=[row["label"] for row in clips if row["split"] == "train" and row["label"]],
        )

    def renamed(self, columns: Mapping[str, str]) -> "Opened":
        """The same for a table that names its columns otherwise.

        Args:
            columns: by the name of the target, of an input, of `audio` or of `split`, the table's column.

        Raises:
            UserError: when there is no such name.
        """
        target, wanted = self.classifier.target, self.wanted
        known = [target, *wanted.columns, "audio", "split"]
        odd = [name for name in columns if name not in known]
        if odd:
            raise UserError(f"columns: {odd[0]} is none that this model reads; it reads {', '.join(known)}")
        beside = {name: columns.get(name, column) for name, column in wanted.columns.items()}
        audio, split = columns.get("audio", wanted.audio), columns.get("split", wanted.split)
        return replace(
            self,
            wanted=replace(wanted, columns=beside, audio=audio, split=split),
            target_column=columns.get(target, self.target_column),
        )

    def used(self, clips: LabelledClips) -> list[str | None]:
        """For what the run used each clip: that split, by the clip's id or its audio, which comes first of `SPLITS`."""
        contents = clips.contents() if self.contents else [None] * len(clips)
        found = [
            {self.splits.get(name), self.contents.get(content or "")}
            for name, content in zip(clips.ids, contents, strict=True)
        ]
        return [next((split for split in SPLITS if split in each), None) for each in found]


def write_run(folder: Path, result: "ClassifierResult", bootstrap: Bootstrap, *, seed: int) -> None:
    """Everything that `classifier_run` names."""
    result.classifier.save(folder / MODEL)
    files.write_json(folder / DESCRIPTION, describe(result, seed=seed))
    write_training(folder, result.training)
    write_csv(folder / SPLITS_NAME, splits_of(result))
    write_evaluation(folder, result.rows, bootstrap, result.division.how)
    files.write_jsonl(folder / QUARANTINE_NAME, map(vars, result.rejected))


def write_training(folder: Path, training: EpochsReport) -> None:
    rows = [row.as_dict() for row in training.history]
    facts = {"best_epoch": training.best_epoch, "best": training.best, "stopped_early": training.stopped_early}
    files.write_json(folder / TRAINING, {"validation": "macro recall", **facts, "epochs": rows})
    write_csv(folder / CURVES, rows)


def write_evaluation(folder: Path, rows: Sequence[report.Row], bootstrap: Bootstrap, division: str) -> None:
    """report.md, test_statistics.json and predictions.parquet of the first row's model."""
    top = defaults().evaluate.table_rows
    files.write_text(folder / "report.md", report.report(rows, bootstrap, top=top, division=division or None))
    files.write_json(folder / TEST, statistics(rows, bootstrap))
    write_predictions(folder / PREDICTIONS, rows[0].predicted)


def statistics(rows: Sequence[report.Row], bootstrap: Bootstrap) -> dict[str, Any]:
    """All measures of every row, those of the first also by group."""
    found: dict[str, Any] = {"target": rows[0].predicted.target, "labels": rows[0].predicted.labels}
    for row in rows:
        accuracy, uar = classification.intervals(row.predicted, samples=bootstrap.samples, seed=bootstrap.seed)
        measured = asdict(classification.scores(row.predicted))
        found[row.name or row.chain] = {**measured, "accuracy_interval": asdict(accuracy), "uar_interval": asdict(uar)}
    first = rows[0].predicted
    found["by_group"] = {name: [asdict(each) for each in classification.by_group(first, name)] for name in first.groups}
    return found


def describe(result: "ClassifierResult", *, seed: int) -> dict[str, Any]:
    declared, options = result.declared, result.declared.options.model_dump()
    kind = options["encoder"]["type"]
    encoder = {key: value for key, value in options["encoder"].items() if not isinstance(value, dict)}
    options["encoder"] = encoder | {kind: options["encoder"].get(kind, options["encoder"]["pretrained"])}
    del options["trainer"]["cycle_learning_rate"]
    return {
        "format": FORMAT,
        "version": VERSION,
        "target": declared.options.target,
        "labels": result.classifier.labels,
        "audio": declared.audio,
        "columns": dict(declared.columns),
        "dropped_rows_lack": declared.dropped,
        "clips": {split: len(result.division.parts[split]) for split in SPLITS},
        "division": result.division.how,
        "seed": seed,
        "rejected": len(result.rejected),
        "notes": [*declared.notes, *result.division.notes, *result.notes],
        "classification": options,
        "parameters": sum(weights.numel() for weights in result.classifier.model.parameters()),
        "temperature": result.classifier.temperature,
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}},
    }


def open_model(model: Path | str | AudioClassifier) -> Opened:
    """A classifier in memory, the folder of one, or of a run that has one.

    Raises:
        UserError: when there is none.
    """
    if isinstance(model, AudioClassifier):
        return Opened(model, _wanted(model, {}), model.target)
    folder = Path(model)
    place = next((each for each in (folder / MODEL, folder) if is_classifier(each)), None)
    if place is None:
        folds = sorted(each for each in folder.glob(f"{FOLD_MODELS}/*") if is_classifier(each))
        if (folder / FOLDS_NAME).is_file() and folds:
            raise UserError(f"{folder}: a cross-validation has one classifier a fold; name one, such as {folds[0]}")
        if folds:
            raise UserError(f"{folder}: it has several models; name one, such as {folds[0]}")
        raise UserError(f"{folder}: no classifier in it, nor in {MODEL} below; `soundraft train --config` makes one")
    try:
        classifier = load_classifier(place)
    except ModelError as error:
        raise UserError(str(error)) from error
    run = place.parent
    if not (run / DESCRIPTION).is_file():
        return Opened(classifier, _wanted(classifier, {}), classifier.target)
    try:
        description = files.read_json(run / DESCRIPTION)
    except ValueError as error:
        raise UserError(f"{run / DESCRIPTION} is not JSON: {error}") from error
    if description.get("format") != FORMAT or description.get("version") != VERSION:
        raise UserError(f"{run / DESCRIPTION} is of another program, or of another version of this one")
    columns = description["columns"]
    opened = Opened(
        classifier,
        _wanted(classifier, columns, description["audio"]),
        columns[classifier.target],
        dropped=description.get("dropped_rows_lack", ()),
    )
    return opened.knowing(_read_splits(run / SPLITS_NAME))


def _wanted(classifier: AudioClassifier, columns: dict[str, str], audio: str = "audio") -> Wanted:
    beside = {item.name: columns.get(item.name, item.name) for item in classifier.side}
    return Wanted(audio, beside, [item.name for item in classifier.side if item.type == "number"])


def splits_of(result: "ClassifierResult") -> list[dict[str, str]]:
    """The lines of splits.csv; a clip that could not be used has no content."""
    target, contents = result.declared.options.target, result.contents
    return [
        {"id": name, "split": split, "label": str(facts.get(target, "")), "content": contents.get(name, "")}
        for split in SPLITS
        for name, facts in zip(result.division.parts[split].ids, result.division.parts[split].facts, strict=True)
    ]


def _read_splits(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
