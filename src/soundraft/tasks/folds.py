"""Cross-validation: one training a fold, each clip answered by a model that was not trained on it.

The folder: folds.md for the user, folds.json, predictions.parquet (of all folds together; the column `held_out` names
the fold), and of each fold its model in models/FOLD. One that was killed goes on in its folder: folds whose model is
there, learned from the same clips by the same numbers, are measured and not trained again.
"""

import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from soundraft import distributed, files
from soundraft.clips.base import Clips
from soundraft.clips.division import Divided, add_extra, shared_audio
from soundraft.clips.opening import Source, open_clips
from soundraft.evaluation.predictions import write_predictions
from soundraft.evaluation.results import START_MODEL, SVM
from soundraft.evaluation.scores import Scores, check_labels, score_labels
from soundraft.manifest import QUARANTINE_NAME, Rejected, Split, check_bad_fraction
from soundraft.metrics.resampling import Bootstrap
from soundraft.params import check_keywords
from soundraft.runtime import UserError
from soundraft.splits import FOLDS, folds_of
from soundraft.tables import markdown
from soundraft.tasks import measure, steps
from soundraft.tasks.base import Data, Task, task_of
from soundraft.tasks.declaration import Declared, read_declaration
from soundraft.tasks.run import Tell, digest_of, free_folder
from soundraft.tracking import Tracker

HELD_OUT = "held_out"
MODELS, DONE = "models", "folds.json"  # the second is written last
LEARNED = "learned.json"  # the numbers and the clips that a fold's model was trained with
_BY = {"official": "the column fold", "speaker": "speaker", "k": "drawing"}


@dataclass(frozen=True)
class FoldScore:
    """One fold: clips by split, and rates of the model and of the SVM on its test clips."""

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
        pooled: the answers on every clip, each by the model that was not trained on it.
    """

    kind: str
    scores: list[FoldScore]
    means: dict[str, Mean]
    pooled: Scores
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
    limit: int | None = None,
    output_dir: Path | str | None = None,
    seed: int = 0,
    say: Tell | None = None,
) -> FoldsResult:
    """Train once for each fold and test on it.

    Args:
        config, data, limit, output_dir, seed, say: as of `fit`; splits of the data are not used.
        folds: official (the column `fold`), speaker (the column `speaker`), k (drawn, each label in its share). `None`:
            what the declaration has, and its k.
        k: how many, for k (5) and speaker (each speaker is a fold).
        extra: more clips to learn from in every fold, never tested; what `open_clips` takes.

    Raises:
        UserError: when the declaration, the data or the folder cannot be used, or there are too few folds.
    """
    check_keywords(limit=limit, k=k, output_dir=output_dir, seed=seed)
    declared = config if isinstance(config, Declared) else read_declaration(config)
    folder = None if output_dir is None else _free_or_begun(Path(output_dir))
    if folds is None:
        folds, k = declared.folds, declared.k
    if folds is None:
        raise UserError(f"folds: none are asked for, here or in the declaration; there are {', '.join(FOLDS)}")
    if declared.split is not None:
        raise UserError("the declaration divides the clips, and folds divide them otherwise: leave one out")
    if declared.options.output == "set":
        raise UserError("folds: a cross-validation is of one label a clip, and the output is of type set: use fit")
    task, reading = task_of(declared.params(seed)), declared.reading()
    source = open_clips(data, reading, limit=limit, seed=seed)
    check_bad_fraction(len(source.clips), source.rejected, declared.max_bad_fraction)
    more = None if extra is None else open_clips(extra, reading, seed=seed)
    drawn = folds_of(source.clips, folds, target=task.target, k=k, seed=seed)
    trainings, contents, notes = _divide(source, drawn, more, task)
    tell = say or (lambda line: None)
    notes += task.findings([], Bootstrap(task.params.evaluate.bootstrap_samples, seed))
    for note in dict.fromkeys([*declared.notes, *source.notes, *notes]):
        tell(f"note: {note}")
    tell(f"{task.target}: {len(source.clips):,} clips in {len(trainings)} folds by {_BY[folds]}")
    unused = [bad for each in (source, more) if each is not None for bad in (*each.rejected, *each.dropped)]
    with tempfile.TemporaryDirectory() as scratch:
        place = folder or Path(scratch)
        scores, answers, bad = zip(
            *(_train(task, *each, contents, place, tell) for each in trainings.items()), strict=True
        )
        lost = {(each.id, each.path): each for fold in bad for each in fold}
        result = FoldsResult(
            folds, list(scores), means_of(scores), _pooled(dict(zip(trainings, answers, strict=True))),
            [*unused, *lost.values()], folder,
        )  # fmt: skip
        _write(place, result, declared)
    return result


def _divide(
    source: Source, folds: Mapping[str, Sequence[Split]], more: Source | None, task: Task
) -> tuple[dict[str, dict[Split, Clips]], dict[str, str | None], list[str]]:
    """The clips of each fold by split, with more of them to learn from; the hash of each clip's audio by its id; and
    what the user should know of them.

    Raises:
        UserError: when a fold tests a label that it does not learn: before the first training.
    """
    trainings, notes = dict[str, dict[Split, Clips]](), list[str]()
    every = source.clips if more is None else source.clips.joined(more.clips)
    contents = dict(zip(every.ids, every.contents(), strict=True))
    for name, splits in folds.items():
        parts = source.clips.by_split(splits)
        labels, tested = (parts[split].known_labels(task.target) for split in ("train", "test"))
        check_labels(labels, tested, split=f"fold {name}")
        if more is not None:
            found = Divided(parts, source.title)
            add_extra(task, more, found)
            notes += found.notes
        known = {split: (clips.ids, [contents[clip] for clip in clips.ids]) for split, clips in parts.items()}
        notes += [f"fold {name}: {note}" for note in shared_audio(known)]
        trainings[name] = parts
    return trainings, contents, notes


def _free_or_begun(folder: Path) -> Path:
    """Raise UserError when there is something in the folder but folds of a cross-validation that was killed."""
    begun = (folder / MODELS).is_dir() and not (folder / DONE).exists()
    return folder if begun else free_folder(folder)


def _train(
    task: Task, name: str, parts: Mapping[Split, Clips], contents: Mapping[str, str | None], place: Path, tell: Tell
) -> tuple[FoldScore, Scores, list[Rejected]]:
    """One fold: its rates, the answers on its test clips, and clips that could not be used.

    Args:
        contents: by id the hash of a clip's audio.
    """
    data = Data({split: clips.sorted() for split, clips in parts.items()})
    folder = place / MODELS / name.replace("/", "_")
    digests = {split: digest_of(task, clips, [contents[clip] for clip in clips.ids]) for split, clips in parts.items()}
    learned = json.loads(json.dumps({"params": task.params.leaves(), "clips": digests}))
    try:
        if (folder / LEARNED).is_file():
            if files.read_json(folder / LEARNED) != learned:
                raise UserError(f"{folder} is of other clips or other numbers: name another folder, or remove this one")
            tell(f"fold {name}: trained before")
        else:
            with distributed.building(folder) as out:
                steps.start(task, data, out, Tracker())
                files.write_json(out / LEARNED, learned)
        results = measure.measure(task, data, [(START_MODEL, folder)], "test")
    except UserError as error:
        raise UserError(f"fold {name}: {error}") from error
    model, svm = results[0].scores, next(each.scores for each in results if each.model.chain == SVM)
    training = files.read_json(folder / "metrics.json")
    score = FoldScore(
        name, len(parts["train"]), len(parts["validation"]), len(parts["test"]),
        model.value("accuracy"), model.value("uar"),
        svm.value("accuracy"), svm.value("uar"), training["epochs"], training["best_epoch"],
    )  # fmt: skip
    tell(
        f"fold {name}: accuracy {score.accuracy:.1%}, UAR {score.uar:.1%}; statistics SVM {score.svm_accuracy:.1%}, "
        f"{score.svm_uar:.1%}"
    )
    return score, model, data.rejected


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


def _pooled(answers: Mapping[str, Scores]) -> Scores:
    """The answers of all folds; a label that a fold's training lacks has probability 0 there."""
    parts = list(answers.values())
    labels = sorted({label for each in parts for label in each.labels})
    blocks = []
    for each in parts:
        block = np.zeros((len(each), len(labels)))
        block[:, [labels.index(label) for label in each.labels]] = each.probabilities
        blocks.append(block)
    names = sorted({name for each in parts for name in each.groups})
    groups = {name: [value for each in parts for value in each.groups.get(name, [None] * len(each))] for name in names}
    return score_labels(
        [name for each in parts for name in each.ids],
        np.concatenate(blocks),
        labels,
        target=parts[0].target,
        references=[label for each in parts for label in each.known],
        paths=[path for each in parts for path in each.paths or [""] * len(each)],
        groups=groups | {HELD_OUT: [fold for fold, each in answers.items() for _ in each.ids]},
    )


def _write(place: Path, result: FoldsResult, declared: Declared) -> None:
    files.write_text(place / "folds.md", report(result))
    write_predictions(place / "predictions.parquet", result.pooled)
    files.write_jsonl(place / QUARANTINE_NAME, map(vars, result.rejected))
    files.write_json(
        place / DONE,
        {
            "target": result.pooled.target,
            "folds": result.kind,
            "means": {name: asdict(mean) for name, mean in result.means.items()},
            "scores": [asdict(each) for each in result.scores],
            "classification": declared.options.model_dump(),
        },
    )


def report(result: FoldsResult) -> str:
    """folds.md."""
    means, pooled = result.means, result.pooled
    head = ("fold", "train", "validation", "test", "accuracy", "UAR", "SVM accuracy", "SVM UAR", "epochs (best)")
    lines = [
        (
            each.name,
            *(f"{count:,}" for count in (each.train, each.validation, each.test)),
            *(f"{rate:.1%}" for rate in (each.accuracy, each.uar, each.svm_accuracy, each.svm_uar)),
            f"{each.epochs} ({each.best_epoch})",
        )
        for each in result.scores
    ]
    means_shown = (str(means[name]) for name in ("accuracy", "uar", "svm_accuracy", "svm_uar"))
    lines.append(("mean ± 95 %", "", "", "", *means_shown, ""))
    found = pooled.label_scores
    return (
        f"# {pooled.target.capitalize()}: {len(pooled):,} clips, {len(result.scores)} folds by {_BY[result.kind]}\n\n"
        f"{markdown(head, lines)}\n\n"
        f"- {verdict(means)}\n- All clips pooled: accuracy {found.accuracy:.1%}, UAR {found.macro.recall:.1%}, "
        f"macro F1 {found.macro.f1:.1%}.\n"
        "- ± is a 95 % t-interval over the folds. Folds share training clips, so that it is a little too narrow.\n"
    )


def verdict(means: Mapping[str, Mean]) -> str:
    """Whether the model beats the SVM over the folds, in a sentence."""
    gain = means["uar_gain"]
    points = f"UAR {100 * gain.mean:+.1f} points [{100 * gain.low:+.1f} to {100 * gain.high:+.1f}] over the same folds"
    if gain.low > 0:
        return f"The model is better than the statistics SVM: {points}."
    if gain.high < 0:
        return f"**The statistics SVM is better than the model**: {points}."
    return f"The model and the statistics SVM cannot be told apart: {points}, the interval includes 0."
