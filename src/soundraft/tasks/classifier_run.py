"""A classifier without the pipeline: fit, evaluate, predict, from a declaration and a table, a corpus or data frames.

The folder of a run:

    model/                    the classifier (config.json, model.safetensors)
    description.json          the declaration as it was understood, data, division, versions
    training_statistics.json  every epoch, and learning_curves.csv, the same as a table
    test_statistics.json      all measures of the model and of its controls on the test clips
    predictions.parquet       the model's answers on the test clips
    splits.csv                id, split, label and a hash of the audio file of every clip
    report.md                 for a person; the model beside the statistics SVM and the majority class
    quarantine.jsonl          clips that could not be used, with the reason
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundraft import files
from soundraft.evaluation import classification_report as report
from soundraft.evaluation.classification import Predicted, UnseenLabels, check_labels, majority, scores
from soundraft.evaluation.label_files import columns_of
from soundraft.evaluation.report import START, Bootstrap
from soundraft.manifest import QUARANTINE_NAME, SPLITS, Rejected, check_bad_fraction
from soundraft.metrics.labels import LabelScores
from soundraft.models.classifier import AudioClassifier
from soundraft.params import defaults
from soundraft.runtime import UserError
from soundraft.tasks import classification
from soundraft.tasks.classification_evaluate import svm
from soundraft.tasks.classifier_files import Opened, open_model, splits_of, write_evaluation, write_run
from soundraft.tasks.clip_division import Division, divide, same_audio, wanted_of
from soundraft.tasks.clip_extra import open_extra
from soundraft.tasks.clip_tables import Source, open_clips
from soundraft.tasks.declared import Declared, read_declaration
from soundraft.tasks.labelled import LabelledClips, cut_short, hear
from soundraft.training.epochs import EpochsReport

if TYPE_CHECKING:
    import pandas

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
    validation: Predicted
    test: Predicted
    svm: Predicted
    majority: Predicted
    rejected: list[Rejected]
    contents: dict[str, str]
    notes: list[str]
    folder: Path | None = None

    def __repr__(self) -> str:
        found, machine = self.scores, scores(self.svm)
        return (
            f"ClassifierResult({found.clips} test clips: accuracy {found.accuracy:.1%}, UAR {found.macro.recall:.1%}; "
            f"statistics SVM {machine.accuracy:.1%}, {machine.macro.recall:.1%}; folder {self.folder})"
        )

    @property
    def scores(self) -> LabelScores:
        """All that is measured on the test clips."""
        return scores(self.test)

    @property
    def predictions(self) -> "pandas.DataFrame":
        """The answers on the test clips, as `predict` returns them."""
        return table_of(self.test)

    @property
    def rows(self) -> list[report.Row]:
        """The model and its controls, for a report."""
        return [
            report.Row(START, START, 0, self.test, NAME),
            report.Row(report.SVM, report.SVM, 0, self.svm),
            report.Row(report.MAJORITY, report.MAJORITY, 0, self.majority),
        ]


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` returns.

    Attributes:
        scores: all that is measured.
        notes: which clips were measured, for a person.
        rejected: clips that could not be used, with the reason.
    """

    predicted: Predicted
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
    evaluation = Evaluation(found, scores(found), told, [*rejected, *source.dropped])
    if folder is not None:
        rows = [report.Row(START, START, 0, found, NAME)]
        if opened.train_labels:
            rows.append(report.Row(report.MAJORITY, report.MAJORITY, 0, majority(opened.train_labels, found)))
        bootstrap = Bootstrap(defaults().evaluate.bootstrap_samples, seed)
        with files.building(folder) as place:
            write_evaluation(place, rows, bootstrap, "; ".join(notes))
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
) -> tuple[Predicted, list[Rejected], list[str]]:
    """What `predict` makes its table of, the clips that cannot be used, and what to know of the others."""
    opened = _opened(model).renamed(columns or {})
    source = open_clips(data, opened.wanted)
    heard = hear(source.clips, opened.classifier, target=None, title="features")
    rejected = [*source.rejected, *heard.rejected]
    check_bad_fraction(len(heard.clips), rejected, 1.0)  # what can be told is told
    found = classification.predict(opened.classifier, heard, target=opened.classifier.target)
    return found, rejected, [*source.notes, *cut_short(opened.classifier, heard)]


def table_of(found: Predicted) -> "pandas.DataFrame":
    """The columns that `predict` promises."""
    import pandas

    table = pandas.DataFrame(columns_of(replace(found, references=None, groups={})))
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
