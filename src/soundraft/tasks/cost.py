"""What a run's work costs on this machine: one batch of its longest clips is sampled, and one step trained."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from soundraft.dataset.loader import length_batches
from soundraft.models import Recognizer
from soundraft.models.decoding import batch_clips, transcribe
from soundraft.models.options import Tuning, tuned
from soundraft.parallel import progress
from soundraft.tasks.cycle import Rules
from soundraft.tasks.recordings import Loaded
from soundraft.training import lessons, raft, selection
from soundraft.training.lessons import Round
from soundraft.training.objectives import POLICY_GRADIENTS
from soundraft.training.raft import Rollouts, Target
from soundraft.training.selection import KEPT, Sample
from soundraft.training.shards import Shards


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
