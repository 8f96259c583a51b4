"""Two recognisers on the same test clips: what each gets wrong, and whether the difference is more than luck.

What every task needs for this stands here too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

from soundraft.evaluation.classification_report import markdown_table
from soundraft.evaluation.predictions import Model, choose, read_table
from soundraft.metrics import text as metric
from soundraft.metrics.resampling import Comparison, paired_bootstrap
from soundraft.metrics.text import Counts
from soundraft.runtime import UserError

_COUNTS = ("hits", "substitutions", "deletions", "insertions")
_COLUMNS = ("chain", "algorithm", "cycle", "id", "reference", *_COUNTS)


class Answered(Protocol):
    """What a model was asked, whatever it told."""

    @property
    def path(self) -> Path: ...

    @property
    def ids(self) -> Sequence[str]: ...

    @property
    def references(self) -> Sequence[str]: ...


@dataclass(frozen=True)
class Predictions:
    """One model of a predictions.parquet, clips in the order of their ids; parallel lists."""

    path: Path
    model: str
    ids: list[str]
    references: list[str]
    words: list[Counts]

    @property
    def wer(self) -> float:
        return metric.pooled_rate(self.words)


@dataclass(frozen=True)
class Compared:
    """Two models on the same clips, and how sure their difference is; it is the first's WER less the second's."""

    first: Predictions
    second: Predictions
    difference: Comparison
    samples: int


def read_predictions(path: Path, *, algorithm: str | None = None, cycle: int | None = None) -> Predictions:
    """One model of the predictions that `evaluate` left.

    Args:
        path: a predictions.parquet.
        algorithm, cycle: of the model; as of `choose`.

    Raises:
        UserError: when the file is none of these, or has no such model, or several.
    """
    lines = _read(path)
    chosen = choose(path, {_model(line) for line in lines}, algorithm, cycle)
    own = sorted((line for line in lines if _model(line) == chosen), key=lambda x: x["id"])
    ids = [line["id"] for line in own]
    check_each_once(path, str(chosen), ids)
    counts = [Counts(*(line[kind] for kind in _COUNTS)) for line in own]
    return Predictions(path, str(chosen), ids, [line["reference"] for line in own], counts)


def compare(first: Predictions, second: Predictions, *, samples: int, seed: int) -> Compared:
    """The paired bootstrap of two models' WER.

    Raises:
        UserError: when they are not about the same clips with the same references.
    """
    check_same_clips(first, second, advice="Do the runs have the same reward.normalizer?")
    if not any(first.references):
        raise UserError(f"{first.path}: all references are empty: there is no error rate to compare")
    difference = paired_bootstrap(first.words, second.words, samples=samples, seed=seed)
    return Compared(first, second, difference, samples)


def table(compared: Compared) -> str:
    """Both models as a table in markdown, and their difference as a sentence."""
    cells = [
        (
            str(run.path),
            run.model,
            f"{run.wer:.2%}",
            *(str(sum(getattr(count, kind) for count in run.words)) for kind in _COUNTS[1:]),
        )
        for run in (compared.first, compared.second)
    ]
    sentence = verdict("First", compared.difference, clips=len(compared.first.ids), samples=compared.samples)
    return f"{markdown_table(('run', 'model', 'WER', 'sub', 'del', 'ins'), cells)}\n\n{sentence}"


def numbers(compared: Compared) -> dict[str, float]:
    """Both rates, and their difference; flat."""
    first, second = compared.first, compared.second
    return {"wer_a": first.wer, "wer_b": second.wer, "clips": len(first.ids), **vars(compared.difference)}


def check_each_once(path: Path, model: str, ids: Sequence[str]) -> None:
    """Raise UserError when a model has a clip twice; `ids` are sorted."""
    twice = [name for name, following in pairwise(ids) if name == following]
    if twice:
        raise UserError(f"{path}: {model} has the clip {twice[0]} twice")


def check_same_clips(first: Answered, second: Answered, *, advice: str) -> None:
    """Raise UserError when two models were not asked about the same clips with the same references; ids are sorted.

    Args:
        advice: where references may differ from.
    """
    other = [sorted(set(first.ids) - set(second.ids)), sorted(set(second.ids) - set(first.ids))]
    for missing, owner, lacking in ((other[0], first, second), (other[1], second, first)):
        if missing:
            raise UserError(
                f"{len(missing)} of {len(owner.ids)} clips of {owner.path} are not in {lacking.path}, {missing[0]} "
                "among them: only runs on the same test clips can be compared"
            )
    differing = [
        (name, said, also)
        for name, said, also in zip(first.ids, first.references, second.references, strict=True)
        if said != also
    ]
    if differing:
        name, said, also = differing[0]
        raise UserError(
            f"{len(differing)} of {len(first.ids)} references differ between {first.path} and {second.path}, such as "
            f"{name}: {said!r} and {also!r}. {advice}"
        )


def verdict(first: str, found: Comparison, *, clips: int, samples: int) -> str:
    """A difference as a sentence.

    Args:
        first: how it begins, such as "First", "Accuracy, first".
    """
    return (
        f"{first} less second: {100 * found.difference:+.2f} points, 95 % interval [{100 * found.low:+.2f}, "
        f"{100 * found.high:+.2f}], p = {found.p_value:.2g} (paired bootstrap over {clips} clips, {samples} samples)."
    )


def tells_labels(path: Path) -> bool:
    """Whether a file has a classifier's answers, and not a recogniser's.

    Raises:
        UserError: when it has neither.
    """
    names = read_table(path).column_names
    if any(name.endswith("_predictions") for name in names):
        return True
    if not set(_COUNTS) & set(names):
        raise UserError(
            f"{path} has the answers of neither a recogniser (hits, substitutions, …) nor a classifier "
            f"(<target>_predictions, …); it has {', '.join(names)}"
        )
    return False


def _model(line: dict[str, Any]) -> Model:
    return Model(line["chain"], line["algorithm"], line["cycle"])


def _read(path: Path) -> list[dict[str, Any]]:
    found = read_table(path)
    missing = [name for name in _COLUMNS if name not in found.column_names]
    if missing:
        raise UserError(f"{path} has no column {', '.join(missing)}; it has {', '.join(found.column_names)}")
    if found.num_rows == 0:
        raise UserError(f"{path} has no predictions")
    lines: list[dict[str, Any]] = found.select(_COLUMNS).to_pylist()
    return lines
