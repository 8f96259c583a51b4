"""Two classifiers on the same clips: how often each is right, and whether the difference is more than luck."""

from dataclasses import dataclass, replace
from pathlib import Path

from soundraft.evaluation import predictions, scores
from soundraft.evaluation.classification_report import markdown_table
from soundraft.evaluation.compare import check_each_once, check_same_clips, verdict
from soundraft.evaluation.scores import Differences, Predicted
from soundraft.metrics import resampling
from soundraft.metrics.labels import codes
from soundraft.runtime import UserError

_ALONE = "classifier"  # what the only model of a file is called


@dataclass(frozen=True, eq=False)
class Answers:
    """One classifier of a predictions.parquet, clips in the order of their ids."""

    path: Path
    model: str
    predicted: Predicted
    references: list[str]

    @property
    def ids(self) -> list[str]:
        return self.predicted.ids

    @property
    def rates(self) -> tuple[float, float]:
        """Accuracy and UAR."""
        return resampling.rates(codes(self.references, self.predicted.labels), self.predicted.correct)


@dataclass(frozen=True)
class Compared:
    """Two classifiers on the same clips, and how sure their differences are: the first's rates less the second's."""

    first: Answers
    second: Answers
    differences: Differences
    samples: int


def read_predictions(path: Path, *, algorithm: str | None = None, cycle: int | None = None) -> Answers:
    """One classifier of the predictions that a run or an evaluation left.

    Args:
        algorithm, cycle: as of `label_files.choose`; a file of one model has neither.

    Raises:
        UserError: when the file is none of these, has no such model, or clips whose label is not known.
    """
    model, found = predictions.read_model(path, algorithm=algorithm, cycle=cycle)
    name = str(model or _ALONE)
    nameless = sum(label is None for label in found.references or [])
    if nameless:
        raise UserError(f"{path}: {nameless} of {len(found.ids)} clips have no {found.target}")
    order = sorted(range(len(found.ids)), key=found.ids.__getitem__)
    told = replace(
        found,
        ids=[found.ids[place] for place in order],
        predictions=[found.predictions[place] for place in order],
        probabilities=found.probabilities[order],
        references=None if found.references is None else [found.references[place] for place in order],
        paths=None,
        groups={},
    )
    check_each_once(path, name, told.ids)
    try:
        return Answers(path, name, told, told.known)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def compare(first: Answers, second: Answers, *, samples: int, seed: int) -> Compared:
    """The paired bootstrap of two classifiers' accuracy and UAR.

    Raises:
        UserError: when they are not about the same clips with the same references.
    """
    targets = f"They tell {first.predicted.target} and {second.predicted.target}"
    check_same_clips(first, second, advice=f"{targets}: the labels of both must be the same")
    found = scores.differences(first.predicted, second.predicted, samples=samples, seed=seed)
    return Compared(first, second, found, samples)


def table(compared: Compared) -> str:
    """Both models as a table in markdown, and their differences as sentences."""
    cells = [
        (str(run.path), run.model, f"{len(run.ids):,}", *(f"{rate:.2%}" for rate in run.rates))
        for run in (compared.first, compared.second)
    ]
    of = {"clips": len(compared.first.ids), "samples": compared.samples}
    accuracy = verdict("Accuracy, first", compared.differences.accuracy, **of)
    uar = verdict("UAR, first", compared.differences.uar, **of)
    return f"{markdown_table(('run', 'model', 'clips', 'accuracy', 'UAR'), cells)}\n\n{accuracy}\n{uar}"


def numbers(compared: Compared) -> dict[str, float]:
    """All rates, and their differences; flat."""
    found: dict[str, float] = {"clips": len(compared.first.ids)}
    for run, of in ((compared.first, "a"), (compared.second, "b")):
        found[f"accuracy_{of}"], found[f"uar_{of}"] = run.rates
    for rate, difference in vars(compared.differences).items():
        found |= {f"{rate}_{name}": value for name, value in vars(difference).items()}
    return found
