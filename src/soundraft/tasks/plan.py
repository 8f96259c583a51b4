"""`--dry-run`: what a run would do, and about what it would cost here: one batch and one step of its longest clips."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import torch

from soundraft import runtime
from soundraft.audio import io
from soundraft.clips.base import Clips, Loaded
from soundraft.clips.batches import batch_clips, best_answers
from soundraft.models.base import Model, length_batches
from soundraft.models.tuning import tuned
from soundraft.parallel import progress
from soundraft.params.sections import Train
from soundraft.runtime import UserError
from soundraft.tasks.base import Task
from soundraft.tasks.run import Run, check_goes_on
from soundraft.training import raft, selection
from soundraft.training.objectives import POLICY_GRADIENTS
from soundraft.training.raft import Rollouts, Shards, Target
from soundraft.training.selection import CANNOT_LEARN, KEPT, Round, Sample


@dataclass(frozen=True)
class Plan:
    """What a run would do.

    Attributes:
        splits: clips and seconds of audio of each split.
        cycles_done: how many of the cycles the run's folder has already.
        rounds, steps: of one cycle.
        trainable: how many of the parameters are trained.
        seconds: of all that is left to do, by what they are spent on; extrapolated.
        memory_bytes: most resident memory, the features of all clips among it; extrapolated.
        gpu_memory_bytes: the same on the GPU; `None` without one.
    """

    run: Run
    splits: dict[str, tuple[int, float]]
    cycles_done: int
    rounds: int
    steps: int
    parameters: int
    trainable: int
    seconds: dict[str, float]
    memory_bytes: float
    gpu_memory_bytes: float | None

    def rows(self) -> list[tuple[str, str]]:
        """Names and values for the user."""
        splits = ", ".join(f"{name} {clips:,} ({duration(seconds)})" for name, (clips, seconds) in self.splits.items())
        done = f", {self.cycles_done} of them done before" if self.cycles_done else ""
        gpu = "" if self.gpu_memory_bytes is None else f", {self.gpu_memory_bytes / 2**30:.1f} GiB on the GPU"
        spent = ", ".join(f"{name} {duration(seconds)}" for name, seconds in self.seconds.items())
        train, model = self.run.task.train, self.run.task.params.model.checkpoint
        presented = f"{train.presentations_per_cycle:,} presentations"
        made = f"start, cycles/01 to cycles/{train.cycles:02d}, report.md, predictions.parquet"
        return [
            ("model", f"{model}: {self.parameters:,} parameters, {self.trainable:,} of them trained"),
            ("clips", splits),
            ("cycles", f"{train.cycles} of {train.algorithm}{done}"),
            ("in each", f"{self.rounds} rounds, {presented}, {self.steps:,} optimiser steps"),
            ("output", f"{self.run.folder}/: {made}"),
            ("time", f"about {duration(sum(self.seconds.values()))} on {runtime.device()} ({spent})"),
            ("memory", f"about {self.memory_bytes / 2**30:.1f} GiB{gpu}"),
        ]


def make_plan(run: Run) -> Plan:
    """Measure one batch and one step of the run's longest clips, which need the most memory, and multiply.

    Nothing is written, and the weights stay as they are.

    Raises:
        UserError: when the run's folder holds another run.
    """
    check_goes_on(run.folder, run.record())
    model = run.task.initial_model()
    task, train, decoding = run.task, run.task.train, run.task.params.decoding
    parts: dict[str, Clips] = {str(name): clips for name, clips in run.data.target.items()}
    parts |= {f"replay {name}": clips for name, clips in run.data.start.items()}
    durations = {name: [_duration_s(clips, index) for index in range(len(clips))] for name, clips in parts.items()}
    probe, features_per_s = _probe(run, model, durations["train"])
    sampling, training, greedy = measure(task, model, probe, run)
    lengths, size = _lengths(probe, durations), batch_clips(model, decoding)
    plan = selection.plan_rounds(
        len(run.data.target["train"]), round(train.presentations_per_cycle * train.replay_fraction), train, seed=0
    )
    learner = raft.learner_of(model, plan, train, 0.0)
    done = sum(run.model_of(cycle).is_dir() for cycle in range(1, train.cycles + 1))
    left = train.cycles - done
    measured = [name for name in ("validation", "test", "replay validation") if name in lengths]
    seconds = {
        "features": features_per_s * sum(map(sum, durations.values())),
        "sampling": left * sampling * padded_frames(lengths["train"], size),
        "training": left * training * train.presentations_per_cycle * fmean(lengths["train"]),
        "measuring": (left + 1) * greedy * sum(padded_frames(lengths[name], size) for name in measured),
    }
    weights = list(model.model.parameters())
    # the start model stays loaded beside the one that is trained, and where a divergence is asked for, a third
    beside = sum(each.nbytes for each in weights) * (2 if train.kl_weight else 1)
    bytes_per_frame = sum(each.nbytes for each in probe.utterances.features) / sum(probe.utterances.lengths)
    gpu = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None
    with tuned(model, train):
        trainable = sum(each.numel() for each in model.model.parameters() if each.requires_grad)
    return Plan(
        run=run,
        splits={name: (len(each), sum(each)) for name, each in durations.items()},
        cycles_done=done,
        rounds=len(plan),
        steps=learner.steps,
        parameters=sum(each.numel() for each in weights),
        trainable=trainable,
        seconds=seconds,
        memory_bytes=runtime.peak_memory_bytes()
        + bytes_per_frame * sum(map(sum, lengths.values()))
        + (beside if gpu is None else 0),
        gpu_memory_bytes=None if gpu is None else gpu + beside,
    )


def measure(task: Task, model: Model, clips: Loaded, run: Run) -> tuple[float, float, float]:
    """Seconds a frame, padding included, to sample and score a clip's answers, to learn it once, and to answer it.

    A pass over the shortest clip goes first, for what happens once. The learning rate is 0, and running means are put
    back: the weights stay as they are.
    """
    lengths = clips.utterances.lengths
    shortest = min(range(len(lengths)), key=lambda index: lengths[index])
    before = [buffer.clone() for buffer in model.model.buffers()]
    with tuned(model, task.train):
        _work(task, model, clips, [shortest], run)
        costs = _work(task, model, clips, list(range(len(lengths))), run)
    for buffer, value in zip(model.model.buffers(), before, strict=True):
        buffer.copy_(value)
    return costs


def padded_frames(lengths: Sequence[float], batch_size: int) -> float:
    """Frames of all clips, in batches of similar length, each as long as its longest."""
    batches = length_batches([round(length) for length in lengths], batch_size)
    return sum(len(batch) * max(lengths[index] for index in batch) for batch in batches)


def _work(task: Task, model: Model, clips: Loaded, indices: list[int], run: Run) -> tuple[float, float, float]:
    train, decoding = task.train, task.params.decoding
    size = batch_clips(model, decoding)
    target = Target(clips.utterances, clips.durations_s, clips.copies).part(indices[:size])
    frames = padded_frames(target.clips.lengths, size)
    began = time.monotonic()
    rollouts = Rollouts(model, target, task.verifier(run.data), train, decoding, task.params.seed, Shards(None))
    samples = _as_if_good(raft.ALGORITHMS[train.algorithm](rollouts), train, target.clips.targets)
    anchor = model if train.kl_weight else None
    learned = selection.examples_of_samples(
        samples, target.clips, algorithm=train.algorithm, train=train, decoding=decoding, model=model, anchor=anchor
    )
    sampled = time.monotonic()
    best_answers(model, target.clips, decoding)
    answered = time.monotonic()
    wanted = train.batch_size * train.gradient_accumulation_steps
    examples = selection.presented(learned, wanted, seed=0)
    batches = [list(range(start, start + train.batch_size)) for start in range(0, wanted, train.batch_size)]
    learner = raft.learner_of(model, [Round([], wanted, [])], train, 0.0)
    with progress(learner.steps, title="one step", unit="step") as bar:
        learning = time.monotonic()
        learner.learn(examples, batches, bar)
    trained = time.monotonic() - learning
    longest = max(len(example.features) for example in examples)
    return (sampled - began) / frames, trained / (wanted * longest), (answered - sampled) / frames


def _as_if_good(samples: Sequence[Sample], train: Train, targets: Sequence[str]) -> list[Sample]:
    """Of each clip as many kept as the algorithm keeps of a good one, whatever this model's samples are worth.

    Where that is nothing, as of one sample a clip there is nothing to compare, the first one is kept: a step to time.
    In place of one that the model cannot learn stands the target.
    """
    graded = [
        replace(
            sample,
            answer=targets[sample.clip] if sample.reason.endswith(CANNOT_LEARN) else sample.answer,
            reward=1 / (1 + sample.number),
            reason="",
        )
        for sample in samples
    ]
    if train.algorithm in POLICY_GRADIENTS:
        contrasted = selection.groups(graded, group_size=train.group_size)
        if any(sample.kept for sample in contrasted):
            return contrasted
    return [replace(sample, reason=KEPT if sample.number == 0 else "") for sample in graded]


def _probe(run: Run, model: Model, durations: Sequence[float]) -> tuple[Loaded, float]:
    """The longest training clips, the shortest one last, with features; and the seconds that a second of audio took."""
    order = sorted(range(len(durations)), key=lambda index: (-durations[index], index))
    size = batch_clips(model, run.task.params.decoding)
    chosen = [*order[: max(size, run.task.train.batch_size)], order[-1]]
    clips = run.data.target["train"].part(list(dict.fromkeys(chosen)))
    began = time.monotonic()
    probe = run.task.load(clips, model, title="longest clips", sampled=True, max_bad_fraction=1.0)
    return probe, (time.monotonic() - began) / sum(probe.durations_s)


def _duration_s(clips: Clips, index: int) -> float:
    """Seconds, without decoding; 0 of a clip that cannot be read."""
    known = clips.facts[index].get("duration")
    try:
        return float(known) if known else io.duration_s(clips.audio(index))
    except (ValueError, UserError, OSError):
        return 0.0


def _lengths(probe: Loaded, durations: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    """About how many frames each clip has: linear between the longest and the shortest that were measured.

    A Whisper pads every clip to its window: there the slope is 0.
    """
    frames, seconds = probe.utterances.lengths, probe.durations_s
    low, high = (pick(range(len(seconds)), key=lambda index: seconds[index]) for pick in (min, max))
    spread = seconds[high] - seconds[low]
    slope = (frames[high] - frames[low]) / spread if spread else frames[high] / seconds[high]
    return {
        name: [max(1.0, frames[low] + slope * (each - seconds[low])) for each in part]
        for name, part in durations.items()
    }


def duration(seconds: float) -> str:
    """Such as `45 s`, `12 min`, `3.4 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
