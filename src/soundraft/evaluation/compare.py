"""Two models on the same test clips: how good each is, and whether the difference is more than chance."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from soundraft.evaluation.predictions import read_model
from soundraft.evaluation.scores import METRICS, Metric, Scores, rescored
from soundraft.metrics.resampling import Bootstrap, Comparison
from soundraft.metrics.text import Normalizer
from soundraft.runtime import UserError
from soundraft.tables import markdown


@dataclass(frozen=True)
class Candidate:
    """One model of a predictions.parquet, its clips sorted by id."""

    path: Path
    model: str
    scores: Scores


@dataclass(frozen=True)
class Compared:
    """Two models on the same clips, and by metric the first's value less the second's."""

    first: Candidate
    second: Candidate
    differences: dict[str, Comparison]
    samples: int


def read_candidate(
    path: Path, *, algorithm: str | None = None, cycle: int | None = None, normalize: Normalizer | None = None
) -> Candidate:
    """One model of the predictions that a run or an evaluation left.

    Args:
        algorithm, cycle: as of `predictions.read_model`.
        normalize: the text normalisation; None: the one by which they were scored.

    Raises:
        UserError: when the file has no such model, a clip twice, clips without reference, or no raw texts to normalise.
    """
    model, scores = read_model(path, algorithm=algorithm, cycle=cycle)
    name = str(model or "model")
    scores = scores.part(sorted(range(len(scores)), key=scores.ids.__getitem__))
    twice = [one for one, following in pairwise(scores.ids) if one == following]
    if twice:
        raise UserError(f"{path}: {name} has the clip {twice[0]} twice")
    try:
        if normalize:
            scores = rescored(scores, normalize)
        if not any(scores.known):
            raise UserError("all references are empty: there is nothing to compare")
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return Candidate(path, name, scores)


def compare(first: Candidate, second: Candidate, bootstrap: Bootstrap) -> Compared:
    """The paired bootstrap of every metric that both have.

    Raises:
        UserError: when they have none in common, or not the same clips with the same references.
    """
    metrics = [metric for metric in first.scores.metrics if metric in second.scores.metrics]
    if not metrics:
        has = (f"{each.path} has {', '.join(m.title for m in each.scores.metrics)}" for each in (first, second))
        raise UserError(f"{' and '.join(has)}: nothing is common")
    _check_same_clips(first, second)
    found = {metric.key: first.scores.difference(second.scores, metric.key, bootstrap) for metric in metrics}
    return Compared(first, second, found, bootstrap.samples)


def table(compared: Compared) -> str:
    """Both models as a table in markdown, and their differences as sentences."""
    metrics = [METRICS[key] for key in compared.differences]
    # the counts say what an error rate is made of
    counted = [metric for metric in metrics if metric.columns]
    head = ["run", "model", "clips", *(metric.title for metric in metrics), *(c for m in counted for c in m.columns)]
    rows = []
    for each in (compared.first, compared.second):
        row = [str(each.path), each.model, f"{len(each.scores):,}"]
        row += [metric.show(each.scores.value(metric.key), digits=2) for metric in metrics]
        rows.append(row + [f"{total:,}" for metric in counted for total in each.scores.counts[metric.counts].sum(0)])
    sentences = [_sentence(metric, compared, compared.differences[metric.key]) for metric in metrics]
    return markdown(head, rows) + "\n\n" + "\n".join(sentences)


def numbers(compared: Compared) -> dict[str, float]:
    """All values and their differences; flat. Those of the only metric are not named after it."""
    found: dict[str, float] = {"clips": len(compared.first.scores)}
    for key, difference in compared.differences.items():
        found |= {f"{key}_a": compared.first.scores.value(key), f"{key}_b": compared.second.scores.value(key)}
        prefix = f"{key}_" if len(compared.differences) > 1 else ""
        found |= {f"{prefix}{name}": value for name, value in vars(difference).items()}
    return found


def _check_same_clips(first: Candidate, second: Candidate) -> None:
    ids = [set(each.scores.ids) for each in (first, second)]
    for missing, owner, lacking in ((ids[0] - ids[1], first, second), (ids[1] - ids[0], second, first)):
        if missing:
            raise UserError(
                f"{len(missing)} of {len(owner.scores)} clips of {owner.path} are not in {lacking.path}, "
                f"{min(missing)} among them: only runs on the same test clips can be compared"
            )
    rows = zip(first.scores.ids, first.scores.known, second.scores.known, strict=True)
    differing = [row for row in rows if row[1] != row[2]]
    if differing:
        name, one, other = differing[0]
        targets = [each.scores.target for each in (first, second)]
        advice = "Runs of different reward.normalizer can be compared by --normalizer"
        if any(targets):
            advice = f"They predict {targets[0]} and {targets[1]}: the labels of both must be the same"
        raise UserError(
            f"{len(differing)} of {len(first.scores)} references differ between {first.path} and {second.path}, such "
            f"as {name}: {one!r} and {other!r}. {advice}"
        )


def _sentence(metric: Metric, compared: Compared, found: Comparison) -> str:
    difference, low, high = metric.show_difference(found, digits=2)
    title = f"{metric.title[:1].upper()}{metric.title[1:]}, first less second"
    drawn = f"paired bootstrap over {len(compared.first.scores)} clips, {compared.samples} samples"
    return f"{title}: {difference}, 95 % interval [{low}, {high}], p = {found.p_value:.2g} ({drawn})."
