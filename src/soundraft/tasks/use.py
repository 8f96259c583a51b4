"""A trained model in use: measured, asked for its answers, timed. It is of a run, of a folder, or of the hub."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundraft import files, runtime
from soundraft.clips.base import Clips, Reading
from soundraft.clips.opening import Source, open_clips
from soundraft.corpora import CORPORA
from soundraft.evaluation import report
from soundraft.evaluation.predictions import answers_table
from soundraft.evaluation.results import MAJORITY, START_MODEL, Result
from soundraft.evaluation.scores import METRICS, Estimate, Scores, majority
from soundraft.manifest import QUARANTINE_NAME, SPLITS, Rejected, Split
from soundraft.metrics.resampling import Bootstrap
from soundraft.models.base import Model
from soundraft.params import changed, check_keywords, defaults
from soundraft.params.tasks import TASKS
from soundraft.runtime import UserError
from soundraft.tasks import measure
from soundraft.tasks.base import Data, Task, task_class, task_of
from soundraft.tasks.measure import Speed
from soundraft.tasks.run import RECORD, SPLITS_NAME, RunResult, free_folder, model_in, read_record

if TYPE_CHECKING:
    import pandas

AnyModel = Path | str | RunResult
Numbers = Mapping[str, Any]


@dataclass(frozen=True)
class TrainedModel:
    """A model, and what is known of the run that made it.

    Attributes:
        reading: what it takes of each clip, its target included.
        splits: of the clips of its run, by id and by a hash of their audio; empty where there is no run.
        train_targets: one a training clip of that run.
    """

    task: Task
    model: Model
    reading: Reading
    splits: Mapping[str, str] = field(default_factory=dict)
    train_targets: Sequence[str] = ()

    def used(self, clips: Clips) -> list[str | None]:
        """For what its run used each clip: that split, by the clip's id or its audio, which comes first of `SPLITS`."""
        contents = clips.contents() if self.splits else [None] * len(clips)
        found = [
            {self.splits.get(name), self.splits.get(content or "")}
            for name, content in zip(clips.ids, contents, strict=True)
        ]
        return [next((split for split in SPLITS if split in each), None) for each in found]


def open_model(
    model: AnyModel, params: Numbers | None = None, columns: Mapping[str, str] | None = None
) -> TrainedModel:
    """The model of a run (of its last cycle, or the one whose folder is named), or one by its folder or hub id.

    Args:
        params: keys of params.yaml with other values than those of the run.
        columns: of a table that names them otherwise: its column by the name of the target, of an input, of `audio` or
            of `split`.

    Raises:
        UserError: when there is no such model, or it reads no such column.
    """
    check_keywords(params=params, columns=columns)
    if not isinstance(model, AnyModel):
        raise UserError(f"model: got {model!r}; give the folder of a run or of a model, a hub id, or a run's result")
    place = Path(model.last_model if isinstance(model, RunResult) else model)
    root = next((each for each in (place, *list(place.parents)[:2]) if (each / RECORD).is_file()), None)
    found = _without_run(str(model), params or {}) if root is None else _of_run(root, place, params or {})
    known = dict.fromkeys([found.task.target, *found.reading.columns, "audio", "split"])
    odd = [name for name in columns or {} if name not in known]
    if odd:
        raise UserError(f"columns: {odd[0]} is none that this model reads; it reads {', '.join(known)}")
    named = {"columns": dict(found.reading.columns), "audio": found.reading.audio, "split": found.reading.split}
    for name, column in (columns or {}).items():
        (named if name in ("audio", "split") else named["columns"])[name] = column  # type: ignore[index]
    return replace(found, reading=replace(found.reading, **named))  # type: ignore[arg-type]


def _of_run(root: Path, place: Path, params: Numbers) -> TrainedModel:
    record = read_record(root)
    task = task_of(changed(defaults(), {**record["params"], **params}))
    try:
        with (root / SPLITS_NAME).open(encoding="utf-8", newline="") as stream:
            table = csv.DictReader(stream)
            rows = [(row["id"], row["content"], row["split"], row["target"]) for row in table]
        if not table.fieldnames:
            raise ValueError("no header")
    except (OSError, KeyError, ValueError, csv.Error) as error:
        raise UserError(
            f"{root / SPLITS_NAME} is missing or damaged: training goes on in its folder and writes it anew"
        ) from error
    # train stands first, so it stays where one recording is in several splits
    splits = {key: split for name, content, split, _ in reversed(rows) for key in (content, name) if key}
    targets = [target for _, _, split, target in rows if split == "train" and target]
    return TrainedModel(task, task.load_model(Path(model_in(place))), Reading(**record["reading"]), splits, targets)


def _without_run(name: str, params: Numbers) -> TrainedModel:
    place = Path(name)
    folds = sorted(place.glob("models/*"))
    if (place / "folds.json").is_file() and folds:
        raise UserError(f"{place}: a cross-validation has one model a fold; name one, such as {folds[0]}")
    if place.is_dir() and not (place / "config.json").is_file():
        raise UserError(f"{place}: neither a run ({RECORD}) nor a model (config.json)")
    # the first task that recognises it; speech recognition takes whatever transformers loads
    for task_name in sorted(TASKS, key=lambda each: each == "asr"):
        found = task_class(task_name).recognizes(name)
        if found is not None:
            task = task_of(changed(defaults(), {**found, **params}))
            model = task.open_model(name)
            task = task_of(changed(defaults(), {**found, **task.usual(model), **params}))
            return TrainedModel(task, model, task.reading())
    raise UserError(f"{name}: no task has such a model")


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` returns.

    Attributes:
        results: the model, and on the same clips ways that learn nothing, such as the Wiener filter.
        notes: which clips were measured, for the user.
        rejected: clips that could not be used, with the reason.
    """

    task: Task
    results: Sequence[Result]
    notes: list[str]
    rejected: list[Rejected]

    @property
    def scores(self) -> Scores:
        """Those of the model."""
        return self.results[0].scores

    def estimates(self, seed: int = 0, *, of: Result | None = None) -> dict[str, Estimate]:
        """The task's metrics with their intervals, the headline first; of the model, or of another result."""
        bootstrap, scores = Bootstrap(self.task.params.evaluate.bootstrap_samples, seed), (of or self.results[0]).scores
        return {key: scores.estimate(key, bootstrap) for key in self.task.ranked(scores.known)}


def evaluate(
    model: AnyModel,
    data: Any,
    *,
    split: str | None = None,
    columns: Mapping[str, str] | None = None,
    limit: int | None = None,
    output_dir: Path | str | None = None,
    params: Numbers | None = None,
    seed: int = 0,
) -> Evaluation:
    """Measure a model on clips whose targets are known.

    Args:
        model: the folder of a run or of a model, a hub id, or what a training returned.
        data: what `open_clips` takes.
        split: train, validation, test or all. `None`: the test clips where the data has splits and the run used none
            of these, else those that the run did not train or validate on, whatever their files are called now.
        columns, params: as of `open_model`.
        limit: at most so many clips.
        output_dir: gets report.md, metrics.json, predictions.parquet and quarantine.jsonl, or nothing.
        seed: of the bootstrap.

    Raises:
        UserError: when there is no such model, or clips lack what it needs.
    """
    check_keywords(limit=limit, output_dir=output_dir, seed=seed)
    folder = None if output_dir is None else free_folder(Path(output_dir))
    opened = open_model(model, params, columns)
    task, source = opened.task, _listed(opened, data, limit, seed, split)
    chosen, notes = _chosen(source, opened, split)
    loaded = task.load(chosen.limited(limit, seed).clips, opened.model, title=source.title)
    scores = task.score(opened.model, loaded, title="evaluate")
    notes = [*source.notes, *notes, *task.notes(opened.model, loaded), *task.hints(scores)]
    beside = task.untrained(loaded)
    if scores.labels and opened.train_targets:
        beside[MAJORITY] = majority([task.target_of({task.target: label}) for label in opened.train_targets], scores)
    results = [Result(START_MODEL, scores, task.others(Data({}), scores), name="model")]
    results += [Result.baseline(name, each, task.others(Data({}), each)) for name, each in beside.items()]
    evaluation = Evaluation(task, results, notes, [*source.rejected, *loaded.rejected, *source.dropped])
    if folder is not None:
        options = task.params.evaluate
        bootstrap = Bootstrap(options.bootstrap_samples, seed)
        with files.building(folder) as out:
            shown, top = task.columns_of(scores), options.table_rows
            report.write(out, results, shown, bootstrap, split=split or "test", notes=notes, top=top)
            files.write_jsonl(out / QUARANTINE_NAME, map(vars, evaluation.rejected))
    return evaluation


def _opened(opened: TrainedModel, data: Any, limit: int | None, seed: int, *, split: Split | None = None) -> Source:
    # a corpus by name is downloaded no further than the limit; of other data it counts the clips that are measured
    limit = limit if isinstance(data, str) and data in CORPORA else None
    target = None if opened.task.makes_targets else opened.task.target
    return open_clips(data, replace(opened.reading, target=target), split=split, limit=limit, seed=seed)


def _listed(opened: TrainedModel, data: Any, limit: int | None, seed: int, split: str | None) -> Source:
    """All clips, or of a corpus by name those of the one split that is measured, where that is known beforehand."""
    wanted = next((each for each in SPLITS if each == (split or "test")), None)
    if wanted and isinstance(data, str) and data in CORPORA and (split or not opened.splits):
        source = _opened(opened, data, limit, seed, split=wanted)
        if source.has_splits and wanted in source.splits:
            return source
    return _opened(opened, data, limit, seed)


def _chosen(source: Source, opened: TrainedModel, split: str | None) -> tuple[Source, list[str]]:
    """The clips that are measured, as one split, and which these are in words."""
    count, where = len(source.clips), opened.used(source.clips)
    if split not in (None, "all", *SPLITS):
        raise UserError(f"there is no split {split!r}; there are {', '.join(SPLITS)}, all")
    if split == "all":
        return _whole(source, range(count)), ["all clips, whatever they were used for"]
    trained = [each in ("train", "validation") for each in where]
    of_split = source.splits if source.has_splits else where
    places = [place for place, each in enumerate(of_split) if each == (split or "test")]
    seen = sum(trained[place] for place in places) if split in (None, "test") else 0
    unknown = "the model's training clips are not known: clips that it was trained on are not left out"
    notes = [] if opened.splits else [unknown]
    if split is not None or (source.has_splits and not seen):
        if not places:
            known = ", ".join(sorted({str(each) for each in of_split if each})) or "none that is known"
            wanted = f"no clip is of the split {split or 'test'}"
            raise UserError(f"{source.title}: {wanted}; splits: {known}; --split all takes all")
        if seen:
            notes.append(f"{seen:,} of these were trained or validated on, whatever their split says")
        return _whole(source, places), [f"the {len(places):,} {split or 'test'} clips of {count:,}", *notes]
    free = [place for place in range(count) if not trained[place]]
    if len(free) == count:
        return _whole(source, free), notes
    if not free:
        raise UserError(f"{source.title}: the model was trained on all {count} clips; --split all measures it on them")
    found = f"{count - len(free):,} of {count:,} clips were trained or validated on, and are left out"
    if seen:  # the run was divided otherwise
        found += f"; {seen:,} of them are among the data's own {len(places):,} test clips, which --split test measures"
    return _whole(source, free), [found]


def _whole(source: Source, places: Sequence[int]) -> Source:
    """These clips, without their splits: a limit then counts all of them."""
    return replace(source.part(places), splits=[None] * len(places))


def predict(
    model: AnyModel,
    data: Any,
    *,
    columns: Mapping[str, str] | None = None,
    limit: int | None = None,
    params: Numbers | None = None,
) -> "pandas.DataFrame":
    """A model's answers on clips whose targets need not be known.

    Args:
        model, data, columns, limit, params: as of `evaluate`.

    Returns:
        A row a clip: id, path and prediction; of a classifier `<target>_predictions`, `<target>_probability`, and for
        each label `<target>_probabilities_<label>`. Clips that cannot be used are left out; `.attrs["rejected"]` has
        them, `.attrs["notes"]` what the user should know of the others.

    Raises:
        UserError: as `evaluate`; when no clip can be used.
    """
    scores, rejected, notes = answers(model, data, columns=columns, limit=limit, params=params)
    table = answers_table(scores)
    table.attrs |= {"rejected": [vars(item) for item in rejected], "notes": notes}
    return table


def answers(
    model: AnyModel,
    data: Any,
    *,
    columns: Mapping[str, str] | None = None,
    limit: int | None = None,
    params: Numbers | None = None,
) -> tuple[Scores, list[Rejected], list[str]]:
    """What `predict` makes its table of, the clips that cannot be used, and what to know of the others."""
    check_keywords(limit=limit)
    opened = open_model(model, params, columns)
    beside = {name: column for name, column in opened.reading.columns.items() if name != opened.task.target}
    source = open_clips(data, replace(opened.reading, target=None, columns=beside, drop=()), limit=limit)
    clips = _whole(source, range(len(source.clips))).limited(limit, 0).clips
    loaded = opened.task.load(clips, opened.model, title=source.title, targets=False)
    scores = opened.task.score(opened.model, loaded, title="predict")
    notes = [*source.notes, *opened.task.notes(opened.model, loaded)]
    return scores, [*source.rejected, *loaded.rejected], notes


@dataclass(frozen=True)
class Benchmark:
    """What `benchmark` returns: quality on the clips of a split (or all), and speed on the first `timed` of them."""

    evaluation: Evaluation
    split: str
    audio_s: float
    speed: Speed
    timed: int
    parameters: int
    device: str

    def numbers(self) -> dict[str, Any]:
        """Flat, for a file."""
        found: dict[str, Any] = {"clips": len(self.evaluation.scores), "audio_s": self.audio_s}
        for key, estimate in self.evaluation.estimates().items():
            found |= {key: estimate.value, f"{key}_low": estimate.low, f"{key}_high": estimate.high}
        found |= {**vars(self.speed), "batched_throughput": 1 / self.speed.batched_real_time_factor}
        found |= {"timed_clips": self.timed, "parameters": self.parameters, "device": self.device}
        return found | {"peak_memory_gib": runtime.peak_memory_bytes() / 2**30}

    def rows(self) -> list[tuple[str, str]]:
        """Names and values for the user."""
        speed, rejected = self.speed, len(self.evaluation.rejected)
        estimates = self.evaluation.estimates().items()
        throughput = f"{1 / speed.batched_real_time_factor:.1f} s of audio a second, in batches of {speed.batch_clips}"
        return [
            ("clips", f"{len(self.evaluation.scores):,}, {self.audio_s:,.0f} s of audio, {rejected} rejected"),
            *((f"{METRICS[key].title} [95 % interval]", str(estimate)) for key, estimate in estimates),
            ("real-time factor", f"{speed.real_time_factor:.4f} one by one, {self.timed} clips, on {self.device}"),
            ("latency", f"p50 {1000 * speed.latency_p50_s:.0f} ms, p95 {1000 * speed.latency_p95_s:.0f} ms a clip"),
            ("throughput", throughput),
            ("peak memory", f"{runtime.peak_memory_bytes() / 2**30:.2f} GiB"),
            ("parameters", f"{self.parameters:,}"),
        ]


def benchmark(
    model: AnyModel,
    data: Any,
    *,
    columns: Mapping[str, str] | None = None,
    limit: int | None = None,
    params: Numbers | None = None,
    seed: int = 0,
) -> Benchmark:
    """Score and time a model on test clips, else on validation, else on training clips; on all without splits.

    Args:
        model, data, columns, limit, params, seed: as of `evaluate`.

    Raises:
        UserError: as `evaluate`.
    """
    check_keywords(limit=limit, seed=seed)
    opened = open_model(model, params, columns)
    task, source = opened.task, _opened(opened, data, limit, seed, split="test")
    split = next((split for split in reversed(SPLITS) if source.has_splits and split in source.splits), "all")
    places = [place for place, each in enumerate(source.splits) if split in ("all", each)]
    loaded = task.load(_whole(source, places).limited(limit, seed).clips, opened.model, title=split)
    scores = task.score(opened.model, loaded, title="benchmark")
    speed, timed = measure.time_model(task, opened.model, loaded.clips)
    rejected = [*source.rejected, *loaded.rejected, *source.dropped]
    evaluation = Evaluation(task, [Result(START_MODEL, scores)], [*source.notes, *task.hints(scores)], rejected)
    return Benchmark(
        evaluation, split, sum(loaded.durations_s), speed, timed,
        sum(weights.numel() for weights in opened.model.model.parameters()), str(runtime.device()),
    )  # fmt: skip
