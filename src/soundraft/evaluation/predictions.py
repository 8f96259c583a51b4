"""predictions.parquet: a line per clip, and in the file of a run a line per model and clip.

Columns: of a run's file `chain`, `algorithm`, `cycle`; then `id`, `path` and `reference` where they are known,
`prediction`, of speech recognition `reference_raw` and `prediction_raw` (before normalisation), the counts of the
metrics (hits, substitutions, …), and the groups (speaker, gender, fold, …). Of a classifier that predicts X the
prediction is called `X_predictions`, and `X_probability` (its own) and `X_probabilities_<label>` follow it.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from soundraft import files
from soundraft.evaluation.results import START, TRAINED, ModelId, Result
from soundraft.evaluation.scores import CHARACTERS, METRICS, RAW, WORDS, Scores, score_labels
from soundraft.metrics.text import are_unspaced, character_counts, counts_of
from soundraft.runtime import UserError

if TYPE_CHECKING:
    import pandas

_MODEL = ("chain", "algorithm", "cycle")
_CLIP = ("id", "path", "reference", "prediction", *RAW)
_PREDICTION, _PROBABILITY, _EACH = "_predictions", "_probability", "_probabilities_"


def write_predictions(path: Path, scores: Scores) -> None:
    """The predictions of one model; UserError when a group has the name of another column."""
    files.write_parquet(path, columns_of(scores))


def write_results(path: Path, results: Sequence[Result]) -> None:
    """The predictions of the models of a run."""
    tables = [
        {name: [value] * len(result.scores) for name, value in vars(result.model).items()} | columns_of(result.scores)
        for result in results
    ]
    files.write_parquet(path, {name: [value for table in tables for value in table[name]] for name in tables[0]})


def answers_table(scores: Scores) -> "pandas.DataFrame":
    """What a model has answered, whether or not the references are known; a row a clip, with a column `path`."""
    import pandas

    table = pandas.DataFrame(columns_of(replace(scores, references=None, counts={}, groups={})))
    if "path" not in table:
        table.insert(1, "path", None)
    return table


def columns_of(scores: Scores) -> dict[str, list[Any]]:
    """What a file with the predictions of one model has; errors as `write_predictions`."""
    columns: dict[str, list[Any]] = {"id": scores.ids}
    columns |= {} if scores.paths is None else {"path": scores.paths}
    columns |= {} if scores.references is None else {"reference": _cells(scores.references)}
    if not scores.labels:
        columns |= {"prediction": scores.predictions, **scores.raw}
    else:
        columns[scores.target + _PREDICTION] = _cells(scores.predictions)
        columns[scores.target + _PROBABILITY] = scores.confidence.tolist() if scores.ids else []
        for label, column in zip(scores.labels, scores.probabilities.T, strict=True):
            columns[scores.target + _EACH + label] = column.tolist()
    for metric in scores.metrics:
        columns |= dict(zip(metric.columns, scores.counts[metric.counts].T.tolist(), strict=False))
    taken = [name for name in scores.groups if name in {*columns, *_MODEL, *_CLIP}]
    if taken:
        raise UserError(f"a group cannot be called {', '.join(map(repr, taken))}: the predictions have such a column")
    return {**columns, **scores.groups}


def _cells(answers: Sequence[Any]) -> list[Any]:
    """Sets of labels as lists."""
    return [list(each) if isinstance(each, tuple) else each for each in answers]


def read_model(path: Path, *, algorithm: str | None = None, cycle: int | None = None) -> tuple[ModelId | None, Scores]:
    """The predictions of one model, and which it is where the file has several.

    Args:
        path: a file that one of the writers above wrote, or one with the same columns.
        algorithm, cycle: in a file of several models; as of `choose`.

    Raises:
        UserError: when the file is none of these, or has no such model, or a value that cannot be.
    """
    import pyarrow.compute as pc

    if not path.is_file():
        raise UserError(f"there is no file {path}: evaluating or predicting writes predictions.parquet")
    found = files.read_parquet(path)
    if "chain" not in found.column_names:
        if algorithm is not None or cycle is not None:
            raise UserError(f"{path} has the predictions of one model: give neither an algorithm nor a cycle")
        return None, _scores(path, found)
    missing = [name for name in _MODEL if name not in found.column_names]
    if missing:
        raise UserError(f"{path} has several models and no column {', '.join(missing)}")
    model = choose(path, {ModelId(**line) for line in found.select(_MODEL).to_pylist()}, algorithm, cycle)
    for name, value in vars(model).items():
        found = found.filter(pc.field(name) == value)
    return model, _scores(path, found.drop_columns(list(_MODEL)))


def choose(path: Path, models: Collection[ModelId], algorithm: str | None, cycle: int | None) -> ModelId:
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


def _scores(path: Path, found: Any) -> Scores:
    import pyarrow as pa

    names = found.column_names
    target = _target(path, names)
    metrics = [metric for metric in METRICS.values() if metric.columns and set(metric.columns) <= set(names)]
    labels = [name for name in names if target and name.startswith(target + _EACH)]
    texts = {name: found[name].to_pylist() for name in names if name not in labels}
    own = [*_CLIP, target + _PREDICTION, target + _PROBABILITY, *(name for each in metrics for name in each.columns)]
    references = texts.get("reference")
    unknown = sum(reference is None for reference in references or [])
    if unknown:
        raise UserError(f"{path}: {unknown} of {len(found)} clips have no {target or 'reference'}")
    groups = {name: values for name, values in texts.items() if name not in own}
    groups = {name: [None if value is None else str(value) for value in values] for name, values in groups.items()}
    about: dict[str, Any] = {"references": references, "paths": texts.get("path"), "groups": groups}
    if not target:
        about["raw"] = {name: texts[name] for name in RAW if name in names}
        counts = {metric.counts: _numbers(path, found, metric.columns, -np.inf, np.inf) for metric in metrics}
        if WORDS in counts and are_unspaced(references or []):
            counts[CHARACTERS] = counts_of(references or [], texts["prediction"], character_counts)
        return Scores(texts["id"], texts["prediction"], counts=counts, **about)
    probabilities = _numbers(path, found, labels, 0, 1 + 1e-6).astype(np.float64)
    predictions, sets = texts[target + _PREDICTION], pa.types.is_list(found.schema.field(target + _PREDICTION).type)
    if sets:
        predictions = [tuple(each) for each in predictions]
        about["references"] = None if references is None else [tuple(each) for each in references]
    about |= {"target": target, "predictions": predictions, "sets": sets}
    return score_labels(texts["id"], probabilities, [name.removeprefix(target + _EACH) for name in labels], **about)


def _numbers(path: Path, found: Any, names: Sequence[str], low: float, high: float) -> np.ndarray:
    """Columns side by side, [N, M]."""
    numbers = np.stack([found[name].to_numpy() for name in names], axis=1)
    if not ((numbers >= low) & (numbers <= high)).all():
        raise UserError(f"{path}: a value of {', '.join(names)} is missing or lies outside {low:.0f} to {high:.0f}")
    return numbers


def _target(path: Path, names: Sequence[str]) -> str:
    """What a classifier predicts: the X that has X_predictions and X_probability; of another task empty."""
    targets = [name.removesuffix(_PREDICTION) for name in names if name.endswith(_PREDICTION)]
    targets = [
        target
        for target in targets
        if target + _PROBABILITY in names and any(name.startswith(target + _EACH) for name in names)
    ] or [""] * ("prediction" in names)
    if len(targets) != 1 or "id" not in names:
        raise UserError(
            f"{path} is no table of predictions: it needs the columns id and prediction, or of one target id, "
            f"<target>{_PREDICTION}, <target>{_PROBABILITY} and <target>{_EACH}<label>; it has {', '.join(names)}"
        )
    return targets[0]
