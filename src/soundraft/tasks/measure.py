"""The steps of a run that measure models, whatever the task: evaluate and benchmark."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from soundraft import distributed, files, runtime
from soundraft.audio import io
from soundraft.clips.base import Clips, Featurizer
from soundraft.clips.batches import batch_clips
from soundraft.evaluation import label_plots, plots, report, samples
from soundraft.evaluation.results import MODELS_NAME, TRAINED, Column, ModelId, Result, described, last_trained
from soundraft.evaluation.scores import METRICS
from soundraft.manifest import QUARANTINE_NAME, Split
from soundraft.metrics.resampling import Bootstrap
from soundraft.models.base import Model
from soundraft.parallel import progress_over
from soundraft.params.sections import Decoding
from soundraft.tasks.base import Data, Task
from soundraft.tasks.steps import SOUNDS, load_validation, measured_corpora, validate
from soundraft.tracking import Tracker


@dataclass(frozen=True)
class Speed:
    """Medians over the repeats.

    Attributes:
        latency_p50_s, latency_p95_s: seconds from file to answer for one clip alone.
        real_time_factor: seconds of work per second of audio, one clip at a time.
        batched_real_time_factor: the same in batches of `batch_clips`, as many as training and evaluation take at once.
    """

    latency_p50_s: float
    latency_p95_s: float
    real_time_factor: float
    batched_real_time_factor: float
    batch_clips: int


def measure_speed(
    model: Model, featurizer: Featurizer, clips: Clips, decoding: Decoding, *, warmup: int, repeats: int
) -> Speed:
    """Time a model; `warmup` passes run before the clock starts."""
    model.model.eval()
    files = [clips.audio(index) for index in range(len(clips))]
    audio_s = sum(io.duration_s(file) for file in files)

    def seconds(indices: Sequence[int]) -> float:
        began = time.perf_counter()
        features = [featurizer.finish(featurizer.compute(*io.parse(files[n])), clips.facts[n]) for n in indices]
        model.best(model.encode(features))
        return time.perf_counter() - began

    size, runs = batch_clips(model, decoding), []
    batches = [range(start, min(start + size, len(files))) for start in range(0, len(files), size)]
    for number in progress_over(range(warmup + repeats), total=warmup + repeats, title="benchmark", unit="pass"):
        alone = np.array([seconds([index]) for index in range(len(files))])
        together = sum(seconds(batch) for batch in batches)
        if number >= warmup:
            runs.append((*np.quantile(alone, (0.5, 0.95)), alone.sum() / audio_s, together / audio_s))
    p50, p95, factor, batched_factor = np.median(runs, axis=0).tolist()
    return Speed(p50, p95, factor, batched_factor, size)


def measure(task: Task, data: Data, models: Sequence[tuple[ModelId, Path]], split: Split) -> list[Result]:
    """Every model, the start model first, and the task's baselines on the clips of a split."""
    results = []
    for which, folder in models:
        model = task.load_model(folder)
        scores, *others = (
            task.score(model, data.load(task, model, corpus, split), title=f"{split} {corpus}, {which}")
            for corpus in measured_corpora(task, data, split)
        )
        ways = dict(zip((f"{corpus}_corpus" for corpus in task.corpora[1:]), others, strict=False))
        results.append(Result(which, scores, task.others(data, scores) | ways))
    start = task.load_model(models[0][1])
    tested = data.load(task, start, "target", split)
    found = task.baselines(data, tested, start, results[0].scores)
    return results + [Result.baseline(name, scores, task.others(data, scores)) for name, scores in found.items()]


def evaluate(
    task: Task,
    data: Data,
    models: Sequence[tuple[ModelId, Path]],
    out: Path,
    tracker: Tracker,
    *,
    split: Split = "test",
    division: str = "",
    notes: Sequence[str] = (),
) -> tuple[list[Result], str]:
    """Report, tables, curves, predictions and errors of all models, the start model first; the table, for the user."""
    options = task.params.evaluate
    results = measure(task, data, models, split)
    bootstrap = Bootstrap(options.bootstrap_samples, task.params.seed)
    if not distributed.is_main():
        return results, ""
    cycles = {which.cycle: files.read_json(place / "metrics.json") for which, place in models if which.chain == TRAINED}
    columns = task.columns_of(results[0].scores)
    notes = [*notes, *task.findings(results, bootstrap)]
    report.write(
        out, results, columns, bootstrap, split=split, top=options.table_rows, division=division, notes=notes,
        sections=task.sections(data, models, split, bootstrap),
    )  # fmt: skip
    files.write_jsonl(out / QUARANTINE_NAME, map(vars, data.rejected))
    chosen = report.chosen_clips(results, task.params.seed)
    tested = data.load(task, task.load_model(models[0][1]), "target", split)
    report.write_clips(out, tested, chosen)
    samples.write(out / SOUNDS, _sounds(task, data, models, split, list(chosen)))
    about = {"task": task.params.task, "split": split, "algorithm": task.train.algorithm, "seed": task.params.seed}
    about |= {"bootstrap_samples": bootstrap.samples, "division": division, "notes": list(notes)}
    files.write_json(out / MODELS_NAME, about | described(results, columns, bootstrap))
    missing = _plot(results, columns, bootstrap, models[0][1], cycles, out)
    rewards = {which: files.read_json(place / "metrics.json").get("reward_mean") for which, place in models}
    report.track(tracker, results, columns, rewards)
    tracker.describe("\n".join(f"- {sentence}" for sentence in report.verdicts(results, bootstrap)))
    for number, numbers in cycles.items():
        tracker.missing_metrics({f"raft/{key}": value for key, value in numbers.items()}, step=number)
    tracker.files(out, "evaluate")
    head = (out / "report.md").read_text(encoding="utf-8").partition("## ")[0].strip()
    return results, "\n\n".join([head, *(f"note: {note}" for note in missing)])


def _sounds(
    task: Task, data: Data, models: Sequence[tuple[ModelId, Path]], split: Split, chosen: Sequence[str]
) -> list[samples.Sound]:
    """What the task has made of some clips, and the audio of the chosen ones."""
    made = task.sounds(data, models, split)
    clips, heard = data.target[split], {sound.sample.id for sound in made}
    places = [place for place, name in enumerate(clips.ids) if name in set(chosen) - heard]

    def role(place: int) -> samples.Role:  # where targets are made of the clips, a clip that has one is an input
        return "input" if task.makes_targets and clips.facts[place].get(task.target) else task.clips_are

    return [*made, *(samples.of_clip(clips.ids[place], role(place), clips.audio(place)) for place in places)]


def _plot(
    results: Sequence[Result], columns: Sequence[Column], bootstrap: Bootstrap, start: Path,
    cycles: Mapping[int, Any], out: Path,
) -> list[str]:  # fmt: skip
    """Every picture that the results make; which characters no font has."""
    plots.plot_error(out / "error.png", results, columns, bootstrap)
    plots.plot_reward(out / "reward.png", cycles)
    last = last_trained(results).scores
    if not last.labels:
        return []
    history = label_plots.read_history(start / "learning_curves.csv")
    if history:
        curves = label_plots.learning_curves(history, label_plots.kept_epoch(start))
        plots.save_figure(curves, out / "learning_curves.png")
    return sorted({label_plots.draw(name, out / f"{name}.png", last) for name in label_plots.pictures_of(last)} - {""})


def time_model(task: Task, model: Model, clips: Clips) -> tuple[Speed, int]:
    """The speed on the first `benchmark.clips` of these clips, and how many they were."""
    options = task.params.benchmark
    timed = clips.part(range(min(options.clips, len(clips))))
    speed = measure_speed(
        model, task.featurizer(model), timed, task.params.decoding, warmup=options.warmup, repeats=options.repeats
    )
    return speed, len(timed)


def benchmark(task: Task, data: Data, folder: Path) -> tuple[dict[str, float], dict[str, float], str]:
    """Quality on validation clips, speed and memory on this machine, and both in a line for the user."""
    model = task.load_model(folder)
    validation = load_validation(task, data, model)
    quality = validate(task, model, validation)
    speed, _ = time_model(task, model, validation["target"].clips)
    machine = vars(speed) | {"peak_memory_gib": runtime.peak_memory_bytes() / 2**30}
    monitor = METRICS[task.ranked(validation["target"].utterances.targets)[0]]
    rates = ", ".join(f"{name} {monitor.show(quality[f'{monitor.key}_{name}_validation'])}" for name in validation)
    summary = (
        f"{monitor.title} {rates} (validation); "
        f"real-time factor {machine['real_time_factor']:.4f} one by one, "
        f"{machine['batched_real_time_factor']:.4f} batched; latency p50 {1000 * machine['latency_p50_s']:.0f} ms, "
        f"p95 {1000 * machine['latency_p95_s']:.0f} ms"
    )
    return quality, machine, summary
