"""Which clips a classifier learns, is validated on and is tested on, as the data and the declaration say."""

import csv
import importlib.metadata
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundraft import files
from soundraft.clips.base import LabelledClips, cut_short, hear
from soundraft.clips.opening import Source, Wanted, open_clips
from soundraft.clips.splitting import Parts, advice, draw
from soundraft.evaluation import report
from soundraft.evaluation.predictions import columns_of, write_predictions
from soundraft.evaluation.report import write_csv
from soundraft.evaluation.results import MAJORITY, START, SVM, Model, Result
from soundraft.evaluation.scores import Scores, UnseenLabels, check_labels, majority
from soundraft.manifest import QUARANTINE_NAME, SPLITS, Rejected, Split, check_bad_fraction
from soundraft.metrics.labels import LabelScores
from soundraft.metrics.resampling import Bootstrap
from soundraft.models.base import ModelError
from soundraft.models.classifier import AudioClassifier, is_classifier, load_classifier
from soundraft.params import defaults
from soundraft.runtime import UserError
from soundraft.tasks import classification
from soundraft.tasks.classification import CURVES, speakers_shared, svm
from soundraft.tasks.declaration import Declared, read_declaration
from soundraft.training.learner import EpochsReport

if TYPE_CHECKING:
    pass
    import pandas


@dataclass(frozen=True)
class Division:
    """Clips by split, and in words how they came there.

    Attributes:
        how: the kind of split, and whether speakers are shared.
        advice: what to declare where drawing at random lost a label.
        rejected: lines of the data that are no clips, or that were to be dropped.
    """

    parts: Parts
    how: str
    notes: list[str]
    rejected: list[Rejected]
    advice: str = ""

    def ordered(self) -> "Division":
        """The same with what is learned sorted by id: then the order of a table's rows changes no weight."""
        parts = dict(self.parts)
        for split in ("train", "validation"):
            clips = parts[split]
            parts[split] = clips.part(sorted(range(len(clips)), key=lambda place: clips.ids[place]))
        return replace(self, parts=parts)

    def with_extra(self, extra: Source | None, target: str) -> "Division":
        """The same with more clips in train, as `join_extra` has them."""
        if extra is None:
            return self
        parts, words = join_extra(self.parts, extra, target=target)
        notes, rejected = [*self.notes, *extra.notes], [*self.rejected, *extra.rejected, *extra.dropped]
        return replace(self, parts=parts, how=f"{self.how}; {words}", notes=notes, rejected=rejected)


def wanted_of(declared: Declared) -> Wanted:
    """What must be read of each clip."""
    kinds = dict(item.rsplit(":", 1) for item in declared.options.inputs)
    numbers = [name for name, kind in kinds.items() if kind == "number"]
    split = declared.split.column if declared.split.kind == "fixed" else None
    return Wanted(
        declared.audio, declared.columns, numbers, declared.options.target, split or "split", declared.dropped
    )


def divide(declared: Declared, data: Mapping[Split, Any], *, seed: int) -> Division:
    """The clips of each split: what is not given is what the training data says, else drawn from it."""
    rule, target = declared.split, declared.options.target
    wanted = wanted_of(declared)
    sources = {split: open_clips(each, wanted) for split, each in data.items() if each is not None}
    if "train" not in sources:
        raise UserError("there is nothing to train on")
    train = sources["train"]
    notes = [note for source in sources.values() for note in source.notes]
    rejected = [item for source in sources.values() for item in source.rejected]
    clips = sum(len(source.clips) for source in sources.values())
    check_bad_fraction(clips, rejected, declared.max_bad_fraction)
    rejected += [item for source in sources.values() for item in source.dropped]
    parts: Parts = {split: source.clips for split, source in sources.items()}
    _check_apart(parts)
    absent: list[Split] = [split for split in SPLITS if split not in sources]
    said = train.splits if len(absent) == 2 and (rule.kind == "fixed" or not rule.said) else None
    if rule.kind == "fixed" and train.splits is None and absent:
        raise UserError(f"{train.title}: no clip has a split, and the declaration says that they have (fixed)")
    how = [train.split_by if absent else "splits given"]
    if said is not None:
        places = {split: [n for n, each in enumerate(said) if each == split] for split in SPLITS}
        parts = {split: train.clips.part(found) for split, found in places.items() if found}
        absent = [split for split in SPLITS if split not in parts]
        if "train" not in parts:
            raise UserError(f"{train.title}: no clip is of the split train")
    elif absent and len(sources) > 1:
        how = [f"{' and '.join(sources)} given"]
    better = ""
    if absent:
        drawn = draw(parts["train"], rule, target=target, seed=seed, among=("train", *absent))
        better = advice(parts["train"], drawn, rule, target=target, seed=seed)
        notes += [better] if better else []
        parts |= {split: drawn[split] for split in ("train", *absent)}
        words = f"{rule}, seed {seed}"
        how = [words] if len(absent) == 2 else [*how, f"{absent[0]} {words}"]
        if train.splits is not None and said is None:
            notes.append(f"{train.title}: its column split is passed over; the declaration asks for another division")
    how.append(speakers_shared(parts["train"], parts["test"]))
    return Division(parts, "; ".join(how), notes, rejected, better)


def same_audio(used: Mapping[str, str], tested: Mapping[str, str]) -> list[str]:
    """How many test clips are also learned from under another name, in words; nothing where none is.

    Args:
        used, tested: id → `content_of` the audio, of training and validation and of the test clips.
    """
    owners = {content: name for name, content in used.items()}
    twice = [name for name, content in tested.items() if content in owners]
    if not twice:
        return []
    first, have = twice[0], "has" if len(twice) == 1 else "have"
    return [
        f"{len(twice):,} of {len(tested):,} test clips {have} the very audio of a training or validation clip ({first} "
        f"that of {owners[tested[first]]}): too easy a test"
    ]


def _check_apart(parts: Parts) -> None:
    """Raise UserError when a clip is in two splits: what is tested must not be learned."""
    seen: dict[str, Split] = {}
    for split, clips in parts.items():
        shared = [name for name in clips.ids if name in seen]
        if shared:
            raise UserError(
                f"{len(shared)} names are in {seen[shared[0]]} and {split}, {shared[0]} first: a clip belongs to one "
                "split (clips with the same name need an id of their own)"
            )
        seen |= dict.fromkeys(clips.ids, split)


# More clips to learn from: other voices, other rooms, synthetic speech. They are never validated on or tested.


def open_extra(data: Any, wanted: Wanted, *, max_bad_fraction: float) -> Source | None:
    """What `open_clips` takes, all of it, whatever its splits; `None` where there is nothing.

    Raises:
        UserError: as `open_clips`, and when more lines are bad than `max_bad_fraction` allows.
    """
    if data is None:
        return None
    source = open_clips(data, wanted)
    check_bad_fraction(len(source.clips), source.rejected, max_bad_fraction)
    return source


def join_extra(parts: Parts, extra: Source, *, target: str) -> tuple[Parts, str]:
    """The same splits with the extra clips in train, and how many these are in words.

    Clips with a label that train does not have are left out: they would widen what is to be told.

    Raises:
        UserError: when none is left, or one is already in a split.
    """
    known = set(parts["train"].known_labels(target))
    labels = extra.clips.labels(target)
    places = [place for place, label in enumerate(labels) if label in known]
    if not places:
        raise UserError(
            f"{extra.title}: no clip has a {target} that the training clips have; they have {', '.join(sorted(known))}"
        )
    more = extra.clips.part(places)
    for split, clips in parts.items():
        shared = sorted(set(clips.ids) & set(more.ids))
        if shared:
            raise UserError(
                f"{extra.title}: {len(shared)} of its clips are in {split} already, {shared[0]} first (clips with the "
                "same name need an id of their own)"
            )
    left_out = f" ({len(labels) - len(places):,} with other labels left out)" if len(labels) > len(places) else ""
    words = f"{len(places):,} more training clips of {extra.title}{left_out}"
    return {**parts, "train": parts["train"].joined(more)}, words


# The folder of a classifier's run: written whole or not at all, and read again to evaluate and to predict.


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
    write_evaluation(folder, result.results, bootstrap, result.division.how)
    files.write_jsonl(folder / QUARANTINE_NAME, map(vars, result.rejected))


def write_training(folder: Path, training: EpochsReport) -> None:
    rows = [row.as_dict() for row in training.history]
    facts = {"best_epoch": training.best_epoch, "best": training.best, "stopped_early": training.stopped_early}
    files.write_json(folder / TRAINING, {"validation": "macro recall", **facts, "epochs": rows})
    write_csv(folder / CURVES, rows)


def write_evaluation(folder: Path, results: Sequence[Result], bootstrap: Bootstrap, division: str) -> None:
    """report.md, test_statistics.json and predictions.parquet of the first row's model."""
    top = defaults().evaluate.table_rows
    files.write_text(folder / "report.md", report.label_report(results, bootstrap, top=top, division=division or None))
    files.write_json(folder / TEST, statistics(results, bootstrap))
    write_predictions(folder / PREDICTIONS, results[0].scores)


def statistics(results: Sequence[Result], bootstrap: Bootstrap) -> dict[str, Any]:
    """All measures of every model, those of the first also by group."""
    first = results[0].scores
    found: dict[str, Any] = {"target": first.target, "labels": first.labels}
    for result in results:
        measured = asdict(result.scores.label_scores)
        for metric in result.scores.metrics:
            estimate = result.scores.estimate(metric.key, bootstrap)
            measured[f"{metric.key}_interval"] = {"low": estimate.low, "high": estimate.high}
        found[result.name or result.model.chain] = measured
    found["by_group"] = {name: report.group_rows(first, name) for name in first.groups}
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


# A classifier without the pipeline: fit, evaluate, predict, from a declaration and a table, a corpus or data frames.
#
# The folder of a run:
#
#     model/                    the classifier (config.json, model.safetensors)
#     description.json          the declaration as it was understood, data, division, versions
#     training_statistics.json  every epoch, and learning_curves.csv, the same as a table
#     test_statistics.json      all measures of the model and of its controls on the test clips
#     predictions.parquet       the model's answers on the test clips
#     splits.csv                id, split, label and a hash of the audio file of every clip
#     report.md                 for a person; the model beside the statistics SVM and the majority class
#     quarantine.jsonl          clips that could not be used, with the reason


NAME = "classifier"
_HEARD = ("train", "validation")  # what a model is not measured on
_UNKNOWN = "what the model learned from is not known: clips that it was trained on are not left out"
Tell = Callable[[str], None]


@dataclass(frozen=True, repr=False)
class ClassifierResult:
    """What `fit` returns.

    Attributes:
        classifier: with the weights of the best epoch, calibrated on validation.
        declared: the declaration as it was understood.
        division: the clips of each split.
        training: every epoch, and which was the best.
        validation, test: the classifier's answers on these clips.
        svm, majority: those of the controls on the test clips.
        rejected: clips that could not be used, with the reason.
        contents: of the others, id → `content_of` their audio.
        notes: what a person should know of how the clips were heard.
        folder: of the run; `None` when nothing was written.
    """

    classifier: AudioClassifier
    declared: Declared
    division: Division
    training: EpochsReport
    validation: Scores
    test: Scores
    svm: Scores
    majority: Scores
    rejected: list[Rejected]
    contents: dict[str, str]
    notes: list[str]
    folder: Path | None = None

    def __repr__(self) -> str:
        found, machine = self.scores, self.svm.label_scores
        return (
            f"ClassifierResult({found.clips} test clips: accuracy {found.accuracy:.1%}, UAR {found.macro.recall:.1%}; "
            f"statistics SVM {machine.accuracy:.1%}, {machine.macro.recall:.1%}; folder {self.folder})"
        )

    @property
    def scores(self) -> LabelScores:
        """All that is measured on the test clips."""
        return self.test.label_scores

    @property
    def predictions(self) -> "pandas.DataFrame":
        """The answers on the test clips, as `predict` returns them."""
        return table_of(self.test)

    @property
    def results(self) -> list[Result]:
        """The model and its controls, for a report."""
        return [named(self.test), Result.baseline(SVM, self.svm), Result.baseline(MAJORITY, self.majority)]


def named(scores: Scores) -> Result:
    """The only model of a run."""
    return Result(Model(START, START, 0), scores, name=NAME)


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` returns.

    Attributes:
        scores: all that is measured.
        notes: which clips were measured, for a person.
        rejected: clips that could not be used, with the reason.
    """

    predicted: Scores
    scores: LabelScores
    notes: list[str] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)


def fit(
    config: Path | str | Mapping[str, Any] | Declared,
    train_df: Any,
    val_df: Any = None,
    test_df: Any = None,
    *,
    extra_df: Any = None,
    output_dir: Path | str | None = None,
    seed: int = 0,
    tell: Tell | None = None,
) -> ClassifierResult:
    """Train and test a classifier that is declared in the form of `tasks.declared`.

    Args:
        config: the declaration: a yaml file, or what stands in one.
        train_df: clips: a data frame, a table's path, a corpus by name, a folder; what `open_clips` takes. Splits that
            are not given are those of its column `split`, else they are drawn from it as the declaration says.
        val_df, test_df: the same for validation and test.
        extra_df: more clips to learn from, all of them, never for validation or test.
        output_dir: of the run; without one nothing is written.
        seed: of drawn splits, weights and batches.
        tell: called with lines for a person.

    Raises:
        UserError: when the declaration, the data or the folder cannot be used; the message says why.
        FloatingPointError: when the loss is not finite.
    """
    say = tell or (lambda line: None)
    declared = config if isinstance(config, Declared) else read_declaration(config)
    if declared.folds:
        raise UserError(f"the declaration asks for folds ({declared.folds}): cross_validate does that, fit trains once")
    folder = None if output_dir is None else free_folder(Path(output_dir))
    division = divide(declared, {"train": train_df, "validation": val_df, "test": test_df}, seed=seed)
    more = open_extra(extra_df, wanted_of(declared), max_bad_fraction=declared.max_bad_fraction)
    division = division.with_extra(more, declared.options.target)
    for note in [*declared.notes, *division.notes]:
        say(f"note: {note}")
    sizes = ", ".join(f"{split} {len(division.parts[split]):,}" for split in SPLITS)
    say(f"{declared.options.target}: clips {sizes}; {division.how}")
    try:
        if folder is None:
            return train_and_test(declared, division, seed=seed, tell=say)
        with files.building(folder) as place:  # around the training: a place that cannot be written costs none
            result = train_and_test(declared, division, seed=seed, tell=say)
            write_run(place, result, Bootstrap(defaults().evaluate.bootstrap_samples, seed), seed=seed)
    except UnseenLabels as error:
        raise UserError("; ".join(filter(None, (str(error), division.advice)))) from error
    return replace(result, folder=folder)


def train_and_test(
    declared: Declared,
    division: Division,
    *,
    seed: int,
    tell: Tell | None = None,
) -> ClassifierResult:
    """One training, and its model and the controls on the test clips; the order of the clips changes nothing."""
    division = division.ordered()
    options, parts = declared.options, division.parts
    target, limit = options.target, declared.max_bad_fraction
    # before, not after a training that could not be measured; so are the test clips heard
    check_labels(parts["train"].known_labels(target), parts["test"].known_labels(target))
    prepared = classification.prepare(parts["train"], parts["validation"], options, seed=seed, max_bad_fraction=limit)
    heard = hear(parts["test"], prepared.classifier, target=target, title="features of test")
    check_bad_fraction(len(heard.clips), heard.rejected, limit)
    twice = same_audio(prepared.learned.contents | prepared.judged.contents, heard.contents)
    division = replace(division, how="; ".join([division.how, *twice]))
    notes = [*cut_short(prepared.classifier, prepared.learned, prepared.judged, heard), *twice]
    if tell is not None:
        for note in notes:
            tell(f"note: {note}")
    fitted = classification.learn(prepared, options, seed=seed)
    bad = {item.id for item in fitted.rejected}
    learned = parts["train"].part([place for place, name in enumerate(parts["train"].ids) if name not in bad])
    test = classification.predict(fitted.classifier, heard, target=target, title="test")
    return ClassifierResult(
        classifier=fitted.classifier,
        declared=declared,
        division=division,
        training=fitted.report,
        validation=fitted.validation,
        test=test,
        svm=svm(learned, heard, fitted.classifier, target=target),
        majority=majority(learned.known_labels(target), test),
        rejected=[*division.rejected, *fitted.rejected, *heard.rejected],
        contents=fitted.contents | heard.contents,
        notes=notes,
    )


def evaluate(
    model: Path | str | AudioClassifier | ClassifierResult,
    data: Any,
    *,
    split: str | None = None,
    columns: Mapping[str, str] | None = None,
    output_dir: Path | str | None = None,
    seed: int = 0,
) -> Evaluation:
    """Measure a classifier on clips whose labels are known.

    Args:
        model: the folder of a run or of a model, or what `fit` returned.
        data: what `open_clips` takes.
        split: train, validation, test or all. `None`: the test clips where the data has splits and the run heard none
            of these, else those that the run did not train or validate on, whatever their files are called now.
        columns: of a table that names them otherwise than the model's: its column by the name of the target, of an
            input, of `audio` or of `split`.
        output_dir: gets report.md, test_statistics.json, predictions.parquet and quarantine.jsonl, or nothing.
        seed: of the bootstrap.

    Raises:
        UserError: when there is no such model, clips lack what it needs, or have labels that it does not know.
    """
    opened = _opened(model).renamed(columns or {})
    folder = None if output_dir is None else free_folder(Path(output_dir))
    target = opened.classifier.target
    wanted = replace(
        opened.wanted,
        target=target,
        columns={**opened.wanted.columns, target: opened.target_column},
        drop=opened.dropped,
    )
    source = open_clips(data, wanted)
    chosen, notes = _chosen(source, opened, split)
    check_labels(opened.classifier.labels, chosen.known_labels(target), split="the clips")
    heard = hear(chosen, opened.classifier, target=target, title="features")
    rejected = [*source.rejected, *heard.rejected]
    check_bad_fraction(len(heard.clips), rejected, defaults().limits.max_bad_fraction)
    found = classification.predict(opened.classifier, heard, target=target)
    told = [*source.notes, *notes, *cut_short(opened.classifier, heard)]
    evaluation = Evaluation(found, found.label_scores, told, [*rejected, *source.dropped])
    if folder is not None:
        results = [named(found)]
        if opened.train_labels:
            results.append(Result.baseline(MAJORITY, majority(opened.train_labels, found)))
        bootstrap = Bootstrap(defaults().evaluate.bootstrap_samples, seed)
        with files.building(folder) as place:
            write_evaluation(place, results, bootstrap, "; ".join(notes))
            files.write_jsonl(place / QUARANTINE_NAME, map(vars, evaluation.rejected))
    return evaluation


def predict(
    model: Path | str | AudioClassifier | ClassifierResult, data: Any, *, columns: Mapping[str, str] | None = None
) -> "pandas.DataFrame":
    """Tell clips.

    Args:
        model, data, columns: as of `evaluate`; clips need no label.

    Returns:
        A row a clip: id, path, `<target>_predictions`, `<target>_probability`, and for each label
        `<target>_probabilities_<label>`. Clips that cannot be used are left out; `.attrs["rejected"]` has them,
        `.attrs["notes"]` what a person should know of the others.

    Raises:
        UserError: as `evaluate`; when no clip can be used.
    """
    found, rejected, notes = answers(model, data, columns=columns)
    table = table_of(found)
    table.attrs |= {"rejected": [vars(item) for item in rejected], "notes": notes}
    return table


def answers(
    model: Path | str | AudioClassifier | ClassifierResult, data: Any, *, columns: Mapping[str, str] | None = None
) -> tuple[Scores, list[Rejected], list[str]]:
    """What `predict` makes its table of, the clips that cannot be used, and what to know of the others."""
    opened = _opened(model).renamed(columns or {})
    source = open_clips(data, opened.wanted)
    heard = hear(source.clips, opened.classifier, target=None, title="features")
    rejected = [*source.rejected, *heard.rejected]
    check_bad_fraction(len(heard.clips), rejected, 1.0)  # what can be told is told
    found = classification.predict(opened.classifier, heard, target=opened.classifier.target)
    return found, rejected, [*source.notes, *cut_short(opened.classifier, heard)]


def table_of(found: Scores) -> "pandas.DataFrame":
    """The columns that `predict` promises."""
    import pandas

    table = pandas.DataFrame(columns_of(replace(found, references=None, counts={}, groups={})))
    if "path" not in table:
        table.insert(1, "path", None)
    return table


def free_folder(folder: Path) -> Path:
    """Raise UserError when there is something in the folder: a finished run is not overwritten."""
    if folder.is_file():
        raise UserError(f"{folder} is a file: name a folder")
    if not folder.name:
        raise UserError(f"{folder}: name a folder of its own, it is moved to its place when it is complete")
    if folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty: name another folder, or remove it")
    return folder


def _opened(model: Path | str | AudioClassifier | ClassifierResult) -> Opened:
    if isinstance(model, ClassifierResult):
        declared = model.declared
        columns = {name: column for name, column in declared.columns.items() if name != declared.options.target}
        wanted = replace(wanted_of(declared), columns=columns, target=None, drop=())
        opened = Opened(model.classifier, wanted, declared.columns[declared.options.target], dropped=declared.dropped)
        return opened.knowing(splits_of(model))
    return open_model(model)


def _chosen(source: Source, opened: Opened, split: str | None) -> tuple[LabelledClips, list[str]]:
    """The clips that are measured, and which these are in words."""
    clips = source.clips
    if split not in (None, "all", *SPLITS):
        raise UserError(f"there is no split {split!r}; there are {', '.join(SPLITS)}, all")
    if split == "all":
        return clips, ["all clips, whatever they were used for"]
    used = opened.used(clips)
    where: Sequence[str | None] = source.splits or used
    wanted = split or "test"
    places = [place for place, each in enumerate(where) if each == wanted]
    heard = sum(used[place] in _HEARD for place in places) if wanted == "test" else 0
    notes = [] if opened.splits else [_UNKNOWN]
    if split is not None or (source.splits is not None and not heard):
        if not places:
            known = ", ".join(sorted({str(each) for each in where if each})) or "none that is known"
            raise UserError(f"{source.title}: no clip is of the split {wanted}; splits: {known}; --split all takes all")
        if heard:
            notes.append(f"{heard:,} of these were trained or validated on, whatever their split says")
        return clips.part(places), [f"the {len(places):,} {wanted} clips of {len(clips):,}", *notes]
    free = [place for place, each in enumerate(used) if each not in _HEARD]
    if len(free) == len(clips):
        return clips, notes
    if not free:
        raise UserError(
            f"{source.title}: the model learned from all {len(clips)} clips; --split all measures it on them"
        )
    told = f"{len(clips) - len(free):,} of {len(clips):,} clips were trained or validated on, and are left out"
    if heard:  # the run was divided otherwise
        told += f"; {heard:,} of them are among the data's own {len(places):,} test clips, which --split test measures"
    return clips.part(free), [told]
