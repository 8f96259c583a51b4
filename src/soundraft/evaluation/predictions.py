"""predictions.parquet of a classifier: one line a clip, and in a report's file one line a model and clip.

Columns: `id`, `path` and `reference` where they are known, `<target>_predictions`, `<target>_probability`,
`<target>_probabilities_<label>` for each label, then the groups (speaker, gender, fold, …). A file of several models
begins with `chain`, `algorithm` and `cycle`.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from soundraft import files
from soundraft.evaluation.report import START, TRAINED
from soundraft.evaluation.scores import Predicted
from soundraft.runtime import UserError

_MODEL = ("chain", "algorithm", "cycle")
_CLIP = ("id", "path", "reference")
_ANSWER, _SURE, _EACH = "_predictions", "_probability", "_probabilities_"


@dataclass(frozen=True, order=True)
class Model:
    """Which model of a run: its chain ("start", "trained" or a control), its algorithm, its cycle."""

    chain: str
    algorithm: str
    cycle: int

    def __str__(self) -> str:
        return f"{self.algorithm} {self.cycle}"


def write_predictions(path: Path, given: Predicted) -> None:
    """The answers of one model.

    Raises:
        UserError: when a group has the name of another column.
    """
    _write(path, columns_of(given))


def write_models(path: Path, given: Sequence[tuple[Model, Predicted]]) -> None:
    """The answers of several models of one run."""
    tables = []
    for model, each in given:
        about = {name: [getattr(model, name)] * len(each.ids) for name in _MODEL}
        tables.append(about | columns_of(each))
    _write(path, {name: [value for table in tables for value in table[name]] for name in tables[0]})


def read_predictions(path: Path, *, algorithm: str | None = None, cycle: int | None = None) -> Predicted:
    """The answers of one model; arguments and errors as `read_model`."""
    return read_model(path, algorithm=algorithm, cycle=cycle)[1]


def read_model(path: Path, *, algorithm: str | None = None, cycle: int | None = None) -> tuple[Model | None, Predicted]:
    """The answers of one model, and which it is where the file has several.

    Args:
        path: a file that one of the writers above wrote, or one with the same columns.
        algorithm, cycle: in a file of several models; as of `choose`.

    Raises:
        UserError: when the file is none of these, or has no such model, or numbers that are no probabilities.
    """
    found = read_table(path)
    target = _target(path, found.column_names)
    model = None
    if "chain" in found.column_names:
        model, found = _part(path, found, algorithm, cycle)
    elif algorithm is not None or cycle is not None:
        raise UserError(f"{path} has the answers of one model: give neither an algorithm nor a cycle")
    return model, _predicted(path, found, target)


def choose(path: Path, models: Collection[Model], algorithm: str | None, cycle: int | None) -> Model:
    """The model that is meant, of those of a file; the run's own cycles go before its controls.

    Args:
        algorithm: the model's; without one, that of the run's cycles, and the start model where there is none, or for
            cycle 0.
        cycle: the model's; without one, the algorithm's last.

    Raises:
        UserError: when there is no such model, or several.
    """
    if algorithm is not None:
        meant = [model for model in models if model.algorithm == algorithm]
    else:
        meant = [model for model in models if model.chain == TRAINED and cycle != 0]
        meant = meant or [model for model in models if model.chain == START]
    meant = [model for model in meant if model.chain == TRAINED] or meant
    last = max((model.cycle for model in meant), default=0) if cycle is None else cycle
    meant = [model for model in meant if model.cycle == last]
    if len(meant) != 1:
        found = f"{len(meant)} models" if meant else "no model"
        wanted = f"algorithm {algorithm or 'not named'}, cycle {'not named' if cycle is None else cycle}"
        raise UserError(f"{path}: {found} for {wanted}; it has {', '.join(map(str, sorted(models))) or 'none'}")
    return meant[0]


def read_table(path: Path) -> Any:
    """A parquet file with predictions of whatever task.

    Raises:
        UserError: when it is not there, or not parquet.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise UserError(f"there is no file {path}: evaluating or predicting writes predictions.parquet")
    try:
        return pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise UserError(f"{path} is not a parquet file: {error}") from error


def _part(path: Path, found: Any, algorithm: str | None, cycle: int | None) -> tuple[Model, Any]:
    """The lines of one model, without the columns that name it."""
    import pyarrow.compute as pc

    missing = [name for name in _MODEL if name not in found.column_names]
    if missing:
        raise UserError(f"{path} has several models and no column {', '.join(missing)}")
    models = {Model(**line) for line in found.select(list(_MODEL)).to_pylist()}
    model = choose(path, models, algorithm, cycle)
    for name in _MODEL:
        found = found.filter(pc.field(name) == getattr(model, name))
    return model, found.drop_columns(list(_MODEL))


def _predicted(path: Path, found: Any, target: str) -> Predicted:
    names = found.column_names
    each = [name for name in names if name.startswith(target + _EACH)]
    texts = {name: found[name].to_pylist() for name in names if name not in each and name != target + _SURE}
    probabilities = np.stack([found[name].to_numpy().astype(np.float64) for name in each], axis=1)
    if not ((probabilities >= 0) & (probabilities <= 1 + 1e-6)).all():
        raise UserError(f"{path}: a value of {target}{_EACH}… is missing or lies outside 0–1")
    groups = {name: values for name, values in texts.items() if name not in (*_CLIP, target + _ANSWER)}
    return Predicted(
        texts["id"],
        texts[target + _ANSWER],
        probabilities,
        [name.removeprefix(target + _EACH) for name in each],
        target,
        texts.get("reference"),
        texts.get("path"),
        {name: [None if value is None else str(value) for value in values] for name, values in groups.items()},
    )


def columns_of(given: Predicted) -> dict[str, list[Any]]:
    """What a file with the answers of one model has; errors as `write_predictions`."""
    target = given.target
    columns: dict[str, list[Any]] = {"id": given.ids}
    columns |= {} if given.paths is None else {"path": given.paths}
    columns |= {} if given.references is None else {"reference": given.references}
    columns[target + _ANSWER] = given.predictions
    columns[target + _SURE] = given.confidence.tolist() if given.ids else []
    columns |= {
        f"{target}{_EACH}{label}": given.probabilities[:, place].tolist() for place, label in enumerate(given.labels)
    }
    taken = [name for name in given.groups if name in {*columns, *_MODEL, *_CLIP}]
    if taken:
        raise UserError(f"a group cannot be called {', '.join(map(repr, taken))}: the predictions have such a column")
    return columns | given.groups


def _write(path: Path, columns: dict[str, list[Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), buffer, compression="zstd")
    files.write_bytes(path, buffer.getvalue().to_pybytes())


def _target(path: Path, names: Sequence[str]) -> str:
    """What the file tells of each clip: the X that has X_predictions, X_probability and X_probabilities_…"""
    targets = [name.removesuffix(_ANSWER) for name in names if name.endswith(_ANSWER)]
    whole = [
        target
        for target in targets
        if target + _SURE in names and any(name.startswith(target + _EACH) for name in names)
    ]
    if len(whole) != 1 or "id" not in names:
        raise UserError(
            f"{path} is no table of predictions: it needs the columns id, <target>{_ANSWER}, <target>{_SURE} and "
            f"<target>{_EACH}<label> of one target; it has {', '.join(names)}"
        )
    return whole[0]
