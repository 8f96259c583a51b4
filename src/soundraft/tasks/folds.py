"""Cross-validation of a classifier: one training a fold, each clip told by a model that never heard it.

The folder: folds.md for a person, folds.json, predictions.parquet (of all folds together; the column `held_out` says
of which), and of each fold its classifier in models/FOLD.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from soundraft import files
from soundraft.clips.opening import Source, open_clips
from soundraft.clips.splitting import FOLDS, Fold, folds_of
from soundraft.evaluation.predictions import write_predictions
from soundraft.evaluation.scores import Scores, check_labels, score_labels
from soundraft.manifest import QUARANTINE_NAME, Rejected, check_bad_fraction
from soundraft.runtime import UserError
from soundraft.tables import markdown
from soundraft.tasks.classification import speakers_shared
from soundraft.tasks.classifier_run import (
    FOLD_MODELS,
    FOLDS_NAME,
    PREDICTIONS,
    Division,
    Tell,
    free_folder,
    open_extra,
    train_and_test,
    wanted_of,
)
from soundraft.tasks.declaration import Declared, read_declaration

HELD_OUT = "held_out"
_BY = {"official": "the column fold", "speaker": "speaker", "k": "drawing"}


@dataclass(frozen=True)
class FoldScore:
    """One fold: clips by split, and rates of the model and of the statistics SVM on its test clips."""

    name: str
    train: int
    validation: int
    test: int
    accuracy: float
    uar: float
    svm_accuracy: float
    svm_uar: float
    epochs: int
    best_epoch: int


@dataclass(frozen=True)
class Mean:
    """A mean over folds, with its 95 % t-interval; folds share training clips, so that it is a little too narrow."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.1%} ± {(self.high - self.low) / 2:.1%}"


@dataclass(frozen=True, repr=False)
class FoldsResult:
    """What `cross_validate` returns.

    Attributes:
        means: of accuracy, uar, svm_accuracy and svm_uar, and of what the model has more than the SVM on the same
            folds, `accuracy_gain` and `uar_gain`.
        predicted: the answers on every clip, each by the model that had not heard it.
    """

    kind: str
    scores: list[FoldScore]
    means: dict[str, Mean]
    predicted: Scores
    rejected: list[Rejected]
    folder: Path | None = None

    def __repr__(self) -> str:
        means = ", ".join(f"{name} {mean}" for name, mean in self.means.items())
        return f"FoldsResult({len(self.scores)} folds by {_BY[self.kind]}: {means}; folder {self.folder})"


def cross_validate(
    config: Path | str | Mapping[str, Any] | Declared,
    data: Any,
    *,
    folds: str | None = None,
    k: int | None = None,
    extra: Any = None,
    output_dir: Path | str | None = None,
    seed: int = 0,
    tell: Tell | None = None,
) -> FoldsResult:
    """Train once for each fold and test on it.

    Args:
        config, data, output_dir, seed, tell: as of `fit`; splits of the data are passed over.
        folds: official (the column `fold`), speaker (the column `speaker`), k (drawn, each label in its share). `None`:
            what the declaration says, and its k.
        k: how many, for k (5) and speaker (each speaker is a fold).
        extra: more clips to learn from in every fold, never tested; what `open_clips` takes.

    Raises:
        UserError: when the declaration, the data or the folder cannot be used, or there are too few folds.
    """
    say = tell or (lambda line: None)
    declared = config if isinstance(config, Declared) else read_declaration(config)
    folder = None if output_dir is None else free_folder(Path(output_dir))
    if folds is None:
        folds, k = declared.folds, declared.k
    if folds is None:
        raise UserError(f"folds: none are asked for, here or in the declaration; there are {', '.join(FOLDS)}")
    if declared.split.said:
        raise UserError("the declaration says how clips are split, and folds divide them otherwise: leave one out")
    source = open_clips(data, wanted_of(declared))
    check_bad_fraction(len(source.clips), source.rejected, declared.max_bad_fraction)
    more = open_extra(extra, wanted_of(declared), max_bad_fraction=declared.max_bad_fraction)
    trainings = folds_of(source.clips, folds, target=declared.options.target, k=k, seed=seed)
    for fold in trainings:  # before the first training, not after those of other folds
        learned, tested = (fold.parts[split].known_labels(declared.options.target) for split in ("train", "test"))
        check_labels(learned, tested, split=f"fold {fold.name}")
    for note in [*declared.notes, *source.notes, *(more.notes if more else [])]:
        say(f"note: {note}")
    say(f"{declared.options.target}: {len(source.clips):,} clips in {len(trainings)} folds by {_BY[folds]}")
    unused = [*source.rejected, *source.dropped]
    if folder is None:
        measured, told, rejected = _run(declared, trainings, more, None, seed, say)
    else:
        with files.building(folder) as place:
            measured, told, rejected = _run(declared, trainings, more, place, seed, say)
            _write(place, folds, measured, told, [*unused, *rejected], declared)
    return FoldsResult(folds, measured, means_of(measured), told, [*unused, *rejected], folder)


def means_of(measured: Sequence[FoldScore]) -> dict[str, Mean]:
    names = ("accuracy", "uar", "svm_accuracy", "svm_uar")
    values = {name: np.array([getattr(each, name) for each in measured]) for name in names}
    gains = {f"{name}_gain": values[name] - values[f"svm_{name}"] for name in ("accuracy", "uar")}
    return {name: t_interval(each) for name, each in (values | gains).items()}


def t_interval(values: np.ndarray) -> Mean:
    """Mean ± t(0.975, n − 1) · s / √n."""
    from scipy.stats import t

    half = float(t.ppf(0.975, len(values) - 1)) * float(values.std(ddof=1)) / math.sqrt(len(values))
    return Mean(float(values.mean()), float(values.mean()) - half, float(values.mean()) + half)


def _run(
    declared: Declared, trainings: Sequence[Fold], extra: Source | None, place: Path | None, seed: int, say: Tell
) -> tuple[list[FoldScore], Scores, list[Rejected]]:
    measured, answers = [], []
    tell = _once(say)
    rejected: dict[str, Rejected] = {}
    for number, fold in enumerate(trainings, start=1):
        how = speakers_shared(fold.parts["train"], fold.parts["test"])
        try:
            division = Division(fold.parts, how, [], []).with_extra(extra, declared.options.target)
            result = train_and_test(declared, division, seed=seed, tell=tell)
        except UserError as error:
            raise UserError(f"fold {fold.name}: {error}") from error
        rejected |= {item.id: item for item in result.rejected}
        model, machine = result.test.label_scores, result.svm.label_scores
        training = result.training
        measured.append(
            FoldScore(
                name=fold.name,
                train=len(division.parts["train"]),
                validation=len(fold.parts["validation"]),
                test=len(fold.parts["test"]),
                accuracy=model.accuracy,
                uar=model.macro.recall,
                svm_accuracy=machine.accuracy,
                svm_uar=machine.macro.recall,
                epochs=len(training.history),
                best_epoch=training.best_epoch,
            )
        )
        say(
            f"fold {fold.name} ({number} of {len(trainings)}): accuracy {model.accuracy:.1%}, UAR "
            f"{model.macro.recall:.1%}; statistics SVM {machine.accuracy:.1%}, {machine.macro.recall:.1%}"
        )
        answers.append((fold.name, result.test))
        if place is not None:
            result.classifier.save(place / FOLD_MODELS / fold.name.replace("/", "_"))
    return measured, _pooled(answers), list(rejected.values())


def _once(say: Tell) -> Tell:
    """Every fold hears the same clips, and has the same to say of them."""
    said: set[str] = set()

    def tell(line: str) -> None:
        if line not in said:
            said.add(line)
            say(line)

    return tell


def _pooled(answers: Sequence[tuple[str, Scores]]) -> Scores:
    """The answers of all folds; a label that a fold's training lacks has probability 0 there."""
    labels = sorted({label for _, each in answers for label in each.labels})
    blocks = []
    for _, each in answers:
        block = np.zeros((len(each.ids), len(labels)))
        block[:, [labels.index(label) for label in each.labels]] = each.probabilities
        blocks.append(block)
    names = {name for _, each in answers for name in each.groups}
    groups = {
        name: [value for _, each in answers for value in each.groups.get(name, [None] * len(each.ids))]
        for name in sorted(names)
    }
    return score_labels(
        [name for _, each in answers for name in each.ids],
        np.concatenate(blocks),
        labels,
        target=answers[0][1].target,
        references=[label for _, each in answers for label in each.known],
        paths=[path for _, each in answers for path in each.paths or [""] * len(each.ids)],
        groups=groups | {HELD_OUT: [fold for fold, each in answers for _ in each.ids]},
    )


def _write(
    place: Path, kind: str, measured: Sequence[FoldScore], told: Scores, rejected: Sequence[Rejected],
    declared: Declared,
) -> None:  # fmt: skip
    means = means_of(measured)
    files.write_text(place / "folds.md", report(kind, measured, told))
    files.write_json(
        place / FOLDS_NAME,
        {
            "target": told.target,
            "folds": kind,
            "means": {name: asdict(mean) for name, mean in means.items()},
            "scores": [asdict(each) for each in measured],
            "classification": declared.options.model_dump(),
        },
    )
    write_predictions(place / PREDICTIONS, told)
    files.write_jsonl(place / QUARANTINE_NAME, map(vars, rejected))


def report(kind: str, measured: Sequence[FoldScore], told: Scores) -> str:
    """folds.md."""
    means = means_of(measured)
    head = ("fold", "train", "validation", "test", "accuracy", "UAR", "SVM accuracy", "SVM UAR", "epochs (best)")
    lines = [
        (
            each.name,
            *(f"{count:,}" for count in (each.train, each.validation, each.test)),
            *(f"{rate:.1%}" for rate in (each.accuracy, each.uar, each.svm_accuracy, each.svm_uar)),
            f"{each.epochs} ({each.best_epoch})",
        )
        for each in measured
    ]
    means_shown = (str(means[name]) for name in ("accuracy", "uar", "svm_accuracy", "svm_uar"))
    lines.append(("mean ± 95 %", "", "", "", *means_shown, ""))
    pooled = told.label_scores
    return "\n\n".join(
        [
            f"# {told.target.capitalize()}: {len(told.ids):,} clips, {len(measured)} folds by {_BY[kind]}",
            markdown(head, lines),
            f"- {verdict(means)}\n- All clips pooled: accuracy {pooled.accuracy:.1%}, UAR {pooled.macro.recall:.1%}, "
            f"macro F1 {pooled.macro.f1:.1%}.\n"
            "- ± is a 95 % t-interval over the folds. Folds share training clips, so that it is a little too narrow.",
        ]
    ) + "\n"  # fmt: skip


def verdict(means: Mapping[str, Mean]) -> str:
    """Whether the model beats the statistics SVM over the folds, in a sentence."""
    gain = means["uar_gain"]
    points = f"UAR {100 * gain.mean:+.1f} points [{100 * gain.low:+.1f} to {100 * gain.high:+.1f}] over the same folds"
    if gain.low > 0:
        return f"The model is better than the statistics SVM: {points}."
    if gain.high < 0:
        return f"**The statistics SVM is better than the model**: {points}."
    return f"The model and the statistics SVM cannot be told apart: {points}, an interval that holds 0."
