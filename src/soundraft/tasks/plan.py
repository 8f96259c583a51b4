"""What a run's work costs on this machine: one batch of its longest clips is sampled, and one step trained."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from time import monotonic

import torch

from soundraft import runtime
from soundraft.clips import recordings
from soundraft.clips.batches import length_batches
from soundraft.clips.decoding import batch_clips, transcribe
from soundraft.clips.recordings import Loaded
from soundraft.manifest import check_bad_fraction
from soundraft.metrics.text import NORMALIZERS
from soundraft.models import Recognizer
from soundraft.models.tuning import Tuning, tuned
from soundraft.parallel import progress
from soundraft.tasks import run as run_record
from soundraft.tasks.run import Run
from soundraft.tasks.steps import Rules
from soundraft.training import raft, selection
from soundraft.training import selection as lessons
from soundraft.training.objectives import POLICY_GRADIENTS
from soundraft.training.raft import Rollouts, Shards, Target
from soundraft.training.selection import KEPT, Round, Sample


@dataclass(frozen=True)
class Costs:
    """Seconds a frame of the features, padding included.

    Attributes:
        sampling: to draw and score the texts of a clip and to make its lesson.
        training: to learn it once.
        greedy: to transcribe it.
    """

    sampling: float
    training: float
    greedy: float


def measure(recognizer: Recognizer, clips: Loaded, rules: Rules, *, algorithm: str) -> Costs:
    """Time the three kinds of work on these clips; a pass over the shortest one goes first, for what happens once.

    The learning rate is 0, and running means are put back: the weights stay as they are.
    """
    lengths = clips.clips.lengths
    shortest = min(range(len(lengths)), key=lambda index: lengths[index])
    before = [buffer.clone() for buffer in recognizer.model.buffers()]
    with tuned(recognizer, rules.tuning):
        _work(recognizer, clips, [shortest], rules, algorithm)
        costs = _work(recognizer, clips, list(range(len(lengths))), rules, algorithm)
    for buffer, value in zip(recognizer.model.buffers(), before, strict=True):
        buffer.copy_(value)
    return costs


def trainable(recognizer: Recognizer, tuning: Tuning) -> int:
    """How many numbers learn."""
    with tuned(recognizer, tuning):
        return sum(weights.numel() for weights in recognizer.model.parameters() if weights.requires_grad)


def padded_frames(lengths: Sequence[float], batch_size: int) -> float:
    """Frames of all clips, in batches of similar length, each as long as its longest."""
    batches = length_batches([round(length) for length in lengths], batch_size)
    return sum(len(batch) * max(lengths[index] for index in batch) for batch in batches)


def _work(recognizer: Recognizer, clips: Loaded, indices: list[int], rules: Rules, algorithm: str) -> Costs:
    settings = rules.settings
    size = batch_clips(recognizer)
    target = Target(clips.clips, clips.durations_s, clips.perturbed).part(indices[:size])
    frames = padded_frames(target.clips.lengths, size)
    began = time.monotonic()
    rollouts = Rollouts(recognizer, target, rules.subject.verifier, settings, rules.seed, Shards(None))
    samples = _as_if_good(raft.ALGORITHMS[algorithm](rollouts), algorithm, settings.group_size)
    learned = lessons.make_lessons(
        samples,
        target.clips,
        algorithm=algorithm,
        settings=settings,
        recognizer=recognizer,
        anchor=recognizer if settings.kl_weight else None,
    )
    sampled = time.monotonic()
    transcribe(recognizer, target.clips)
    heard = time.monotonic()
    wanted = settings.batch_size * settings.gradient_accumulation_steps
    examples = lessons.presented(learned, wanted, seed=0)
    batches = [list(range(start, start + settings.batch_size)) for start in range(0, wanted, settings.batch_size)]
    learner = raft.make_learner(recognizer, [Round([], wanted, [])], settings, 0.0, rules.masking)
    with progress(learner.steps, title="one step", unit="step") as bar:
        learning = time.monotonic()
        learner.learn(examples, batches, bar)
    trained = time.monotonic() - learning
    longest = max(len(example.features) for example in examples)
    return Costs((sampled - began) / frames, trained / (wanted * longest), (heard - sampled) / frames)


def _as_if_good(samples: Sequence[Sample], algorithm: str, group_size: int) -> list[Sample]:
    """Of each clip as many kept as the algorithm keeps of a good one, whatever this model's samples are worth.

    Where that is nothing, as of one sample a clip there is nothing to compare, the first one is kept: a step to time.
    """
    graded = [replace(sample, reward=1 / (1 + sample.number), reason="") for sample in samples]
    if algorithm in POLICY_GRADIENTS:
        contrasted = selection.groups(graded, group_size=group_size)
        if any(sample.kept for sample in contrasted):
            return contrasted
    return [replace(sample, reason=KEPT if sample.number == 0 else "") for sample in graded]


def gpu_peak_bytes() -> int | None:
    """The most memory that torch had on the GPU; `None` without one."""
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None


# What a run would do, and about what it would cost here.


@dataclass(frozen=True)
class Plan:
    """What a run would do.

    Attributes:
        splits: clips and seconds of audio of each split.
        cycles_done: how many of the cycles the run's folder has already.
        rounds, presentations, steps: of one cycle.
        trainable: how many of the parameters learn.
        seconds: of all that is left to do, by what they are spent on; extrapolated.
        memory_bytes: most resident memory, the features of all clips among it; extrapolated.
        gpu_memory_bytes: the same on the GPU; `None` without one.
    """

    folder: str
    model_name: str
    device: str
    algorithm: str
    splits: dict[str, tuple[int, float]]
    cycles: int
    cycles_done: int
    rounds: int
    presentations: int
    steps: int
    parameters: int
    trainable: int
    seconds: dict[str, float]
    memory_bytes: float
    gpu_memory_bytes: float | None
    notes: list[str]

    def rows(self) -> list[tuple[str, str]]:
        """Names and values for a person."""
        splits = ", ".join(f"{name} {clips:,} ({duration(seconds)})" for name, (clips, seconds) in self.splits.items())
        done = f", {self.cycles_done} of them done before" if self.cycles_done else ""
        gpu = "" if self.gpu_memory_bytes is None else f", {self.gpu_memory_bytes / 2**30:.1f} GiB on the GPU"
        spent = ", ".join(f"{name} {duration(seconds)}" for name, seconds in self.seconds.items())
        return [
            ("model", f"{self.model_name}: {self.parameters:,} parameters, {self.trainable:,} of them learn"),
            ("clips", splits),
            ("cycles", f"{self.cycles} of {self.algorithm}{done}"),
            ("in each", f"{self.rounds} rounds, {self.presentations:,} presentations, {self.steps:,} optimiser steps"),
            ("output", f"{self.folder}/: start, cycles/01 to cycles/{self.cycles:02d}, report.md, predictions.parquet"),
            ("time", f"about {duration(sum(self.seconds.values()))} on {self.device} ({spent})"),
            ("memory", f"about {self.memory_bytes / 2**30:.1f} GiB{gpu}"),
        ]


def make_plan(run: Run) -> Plan:
    """Measure one batch and one step of the run's longest clips, which need the most memory, and multiply.

    Nothing is written, and the weights stay as they are.

    Raises:
        UserError: when the run's folder holds another run.
    """
    run_record.check_goes_on(run.folder, run.record())
    settings, splits = run.rules.settings, run.data.splits
    durations = {name: [recordings.duration_s(sample) for sample in samples] for name, samples in splits.items()}
    probe, features_per_s = _probe(run, durations["train"])
    costs = measure(run.recognizer, probe, run.rules, algorithm=run.params.train.algorithm)
    lengths, size = _lengths(probe, durations), batch_clips(run.recognizer)
    plan = selection.plan_rounds(len(splits["train"]), settings.replayed, settings, seed=0)
    learner = raft.make_learner(run.recognizer, plan, settings, 0.0, None)
    cycles = run.params.train.cycles
    done = sum(run.model_of(cycle).is_dir() for cycle in range(1, cycles + 1))
    left = cycles - done
    measured = [name for name in ("validation", "test", "replay_validation") if name in lengths]
    seconds = {
        "features": features_per_s * sum(map(sum, durations.values())),
        "sampling": left * costs.sampling * padded_frames(lengths["train"], size),
        "training": left * costs.training * settings.presentations_per_cycle * fmean(lengths["train"]),
        "measuring": (left + 1) * costs.greedy * sum(padded_frames(lengths[name], size) for name in measured),
    }
    weights = list(run.recognizer.model.parameters())
    # the start model stays loaded beside the one that learns, and where a divergence is asked for, a third
    beside = sum(each.nbytes for each in weights) * (2 if settings.kl_weight else 1)
    features = _bytes_per_frame(probe) * sum(map(sum, lengths.values()))
    gpu = gpu_peak_bytes()
    return Plan(
        folder=str(run.folder),
        model_name=run.model_name,
        device=str(runtime.device()),
        algorithm=run.params.train.algorithm,
        splits={name: (len(each), sum(each)) for name, each in durations.items()},
        cycles=cycles,
        cycles_done=done,
        rounds=len(plan),
        presentations=settings.presentations_per_cycle,
        steps=learner.steps,
        parameters=sum(each.numel() for each in weights),
        trainable=trainable(run.recognizer, run.rules.tuning),
        seconds=seconds,
        memory_bytes=runtime.peak_memory_bytes() + features + (beside if gpu is None else 0),
        gpu_memory_bytes=None if gpu is None else gpu + beside,
        notes=run.data.notes,
    )


def _probe(run: Run, durations: Sequence[float]) -> tuple[Loaded, float]:
    """The longest training clips, the shortest one last, with features; and the seconds that a second of audio took."""
    order = sorted(range(len(durations)), key=lambda index: (-durations[index], index))
    chosen = [*order[: max(batch_clips(run.recognizer), run.rules.settings.batch_size)], order[-1]]
    samples = [run.data.splits["train"][index] for index in dict.fromkeys(chosen)]
    began = monotonic()
    normalize, altered = NORMALIZERS[run.params.reward.normalizer], run.rules.subject.altered
    needs_texts = run.data.reads_transcripts
    probe = recordings.load(
        samples, run.recognizer, normalize, title="longest clips", altered=altered, needs_texts=needs_texts
    )
    took = monotonic() - began
    check_bad_fraction(len(probe.clips), probe.rejected, 1.0)  # longest clips may be too long; all of them may not
    return probe, took / sum(probe.durations_s)


def _lengths(probe: Loaded, durations: dict[str, list[float]]) -> dict[str, list[float]]:
    """About how many frames each clip has: linear between the longest and the shortest that were measured.

    A Whisper pads every clip to its window: there the slope is 0.
    """
    frames, seconds = probe.clips.lengths, probe.durations_s
    low, high = (pick(range(len(seconds)), key=lambda index: seconds[index]) for pick in (min, max))
    spread = seconds[high] - seconds[low]
    slope = (frames[high] - frames[low]) / spread if spread else frames[high] / seconds[high]
    return {
        name: [max(1.0, frames[low] + slope * (each - seconds[low])) for each in part]
        for name, part in durations.items()
    }


def _bytes_per_frame(probe: Loaded) -> float:
    return sum(feature.nbytes for feature in probe.clips.features) / sum(probe.clips.lengths)


def duration(seconds: float) -> str:
    """Such as `45 s`, `12 min`, `3.4 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
