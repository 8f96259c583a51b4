"""Two runs on the same test clips: what each gets wrong, and whether the difference is more than luck."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from soundraft.evaluation.report import START, TRAINED
from soundraft.metrics import text as metric
from soundraft.metrics.significance import Comparison, paired_bootstrap
from soundraft.metrics.text import Counts
from soundraft.runtime import UserError

Model = tuple[str, str, int]  # chain, algorithm, cycle
_COUNTS = ("hits", "substitutions", "deletions", "insertions")
_COLUMNS = ("chain", "algorithm", "cycle", "id", "reference", *_COUNTS)


@dataclass(frozen=True)
class Predictions:
    """One model of a predictions.parquet, clips in the order of their ids; parallel lists."""

    path: Path
    algorithm: str
    cycle: int
    ids: list[str]
    references: list[str]
    words: list[Counts]

    @property
    def wer(self) -> float:
        return metric.pooled_rate(self.words)

    @property
    def model(self) -> str:
        return f"{self.algorithm} {self.cycle}"


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
        algorithm: the model's; without one, that of the run's cycles, not of its controls, and the start model where
            there is none, or for cycle 0.
        cycle: the model's; without one, the algorithm's last.

    Raises:
        UserError: when the file is none of these, or has no such model, or several.
    """
    lines = _read(path)
    models = sorted({_model(line) for line in lines})
    chosen = _choose(models, algorithm, cycle)
    if len(chosen) != 1:
        found = f"{len(chosen)} models" if chosen else "no model"
        wanted = f"algorithm {algorithm or 'not named'}, cycle {'not named' if cycle is None else cycle}"
        there = ", ".join(f"{name} {number}" for _, name, number in models)
        raise UserError(f"{path}: {found} for {wanted}; it has {there}")
    own = sorted((line for line in lines if _model(line) == chosen[0]), key=lambda x: x["id"])
    ids = [line["id"] for line in own]
    twice = [name for name, following in pairwise(ids) if name == following]
    if twice:
        raise UserError(f"{path}: {chosen[0][1]} {chosen[0][2]} has the clip {twice[0]} twice")
    counts = [Counts(*(line[kind] for kind in _COUNTS)) for line in own]
    return Predictions(path, *chosen[0][1:], ids, [line["reference"] for line in own], counts)


def compare(first: Predictions, second: Predictions, *, samples: int, seed: int) -> Compared:
    """The paired bootstrap of two models' WER.

    Raises:
        UserError: when they are not about the same clips with the same references.
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
            f"{name}: {said!r} and {also!r}. Do the runs have the same reward.normalizer?"
        )
    if not any(first.references):
        raise UserError(f"{first.path}: all references are empty: there is no error rate to compare")
    difference = paired_bootstrap(first.words, second.words, samples=samples, seed=seed)
    return Compared(first, second, difference, samples)


def table(compared: Compared) -> str:
    """Both models as a table in markdown, and their difference as a sentence."""
    head = ("run", "model", "WER", "sub", "del", "ins")
    cells = [
        (
            str(run.path),
            run.model,
            f"{run.wer:.2%}",
            *(str(sum(getattr(count, kind) for count in run.words)) for kind in _COUNTS[1:]),
        )
        for run in (compared.first, compared.second)
    ]
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    lines = [head, tuple("-" * width for width in widths), *cells]
    rows = ["| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines]
    return "\n".join([*rows, "", _verdict(compared)])


def _verdict(compared: Compared) -> str:
    found = compared.difference
    clips = len(compared.first.ids)
    return (
        f"First less second: {100 * found.difference:+.2f} points, 95 % interval [{100 * found.low:+.2f}, "
        f"{100 * found.high:+.2f}], p = {found.p_value:.2g} (paired bootstrap over {clips} clips, "
        f"{compared.samples} samples)."
    )


def _model(line: dict[str, Any]) -> Model:
    return line["chain"], line["algorithm"], line["cycle"]


def _choose(models: Sequence[Model], algorithm: str | None, cycle: int | None) -> list[Model]:
    """The models that are meant; one when the choice is clear. The run's own cycles go before a control's."""
    if algorithm is not None:
        meant = [model for model in models if model[1] == algorithm]
    else:
        meant = [model for model in models if model[0] == TRAINED and cycle != 0]
        meant = meant or [model for model in models if model[0] == START]
    meant = [model for model in meant if model[0] == TRAINED] or meant
    wanted = max((model[2] for model in meant), default=0) if cycle is None else cycle
    return [model for model in meant if model[2] == wanted]


def _read(path: Path) -> list[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise UserError(f"there is no file {path}: `dvc repro evaluate` writes predictions.parquet")
    try:
        found = pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise UserError(f"{path} is not a parquet file: {error}") from error
    missing = [name for name in _COLUMNS if name not in found.column_names]
    if missing:
        raise UserError(f"{path} has no column {', '.join(missing)}; it has {', '.join(found.column_names)}")
    if found.num_rows == 0:
        raise UserError(f"{path} has no predictions")
    return found.select(_COLUMNS).to_pylist()
