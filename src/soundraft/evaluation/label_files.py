"""predictions.parquet of a classifier: one line a clip, and in a report's file one line a model and clip.

Columns: `id`, `path` and `reference` where they are known, `<target>_predictions`, `<target>_probability`,
`<target>_probabilities_<label>` for each label, then the groups (speaker, gender, fold, …). A file of several models
begins with `chain`, `algorithm` and `cycle`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from soundraft import files
from soundraft.evaluation.classification import Predicted
from soundraft.evaluation.report import START, TRAINED
from soundraft.runtime import UserError

_MODEL = ("chain", "algorithm", "cycle")
_CLIP = ("id", "path", "reference")
_ANSWER, _SURE, _EACH = "_predictions", "_probability", "_probabilities_"


@dataclass(frozen=True)
class Model:
    """Which model of a run: its chain ("start", "trained" or a control), its algorithm, its cycle."""

    chain: str
    algorithm: str
    cycle: int

    def __str__(self) -> str:
        return f"{self.chain} {self.cycle}"


def write_predictions(path: Path, given: Predicted) -> None:
    """The answers of one model.

    Raises:
        UserError: when a group has the name of another column.
    """
    _write(path, _columns(given))


def write_models(path: Path, given: Sequence[tuple[Model, Predicted]]) -> None:
    """The answers of several models of one run."""
    tables = []
    for model, each in given:
        about = {name: [getattr(model, name)] * len(each.ids) for name in _MODEL}
        tables.append(about | _columns(each))
    _write(path, {name: [value for table in tables for value in table[name]] for name in tables[0]})


def read_predictions(path: Path, *, chain: str | None = None, cycle: int | None = None) -> Predicted:
    """The answers of one model.

    Args:
        path: a file that one of the writers above wrote, or one with the same columns.
        chain: in a file of several models; without one the trained chain, or the start model where there is none.
        cycle: in such a file; without one the chain's last.

    Raises:
        UserError: when the file is none of these, or has no such model, or numbers that are no probabilities.
    """
    import pyarrow.compute as pc

    found = _read(path)
    target = _target(path, found.column_names)
    if "chain" in found.column_names:
        model = _choose(path, found, chain, cycle)
        found = found.filter((pc.field("chain") == model.chain) & (pc.field("cycle") == model.cycle))
        found = found.drop_columns([name for name in _MODEL if name in found.column_names])
    elif chain is not None or cycle is not None:
        raise UserError(f"{path} has the answers of one model: give neither a chain nor a cycle")
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


def _columns(given: Predicted) -> dict[str, list[Any]]:
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


def _read(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise UserError(f"there is no file {path}: evaluating or predicting writes predictions.parquet")
    try:
        return pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise UserError(f"{path} is not a parquet file: {error}") from error


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


def _choose(path: Path, found: Any, chain: str | None, cycle: int | None) -> Model:
    models = {Model(line["chain"], "", line["cycle"]) for line in found.select(["chain", "cycle"]).to_pylist()}
    chains = {model.chain for model in models}
    wanted = chain or next((name for name in (TRAINED, START) if name in chains), None)
    meant = [model for model in models if model.chain == wanted and cycle in (None, model.cycle)]
    if not meant:
        there = ", ".join(map(str, sorted(models, key=lambda model: (model.chain, model.cycle))))
        raise UserError(
            f"{path}: no model for chain {wanted or 'not named'}, cycle {'not named' if cycle is None else cycle}; "
            f"it has {there or 'none'}"
        )
    return max(meant, key=lambda model: model.cycle)
