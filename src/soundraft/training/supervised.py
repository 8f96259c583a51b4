"""The one training loop: the supervised start, every RAFT cycle and every control go through it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torchaudio

from soundraft import distributed
from soundraft.models.base import Recognizer
from soundraft.parallel import progress
from soundraft.training.objectives import Group, Strengths, clip_loss


@dataclass(frozen=True)
class Example:
    """Features `[T, F]` of one clip, and what to learn of which texts."""

    features: torch.Tensor
    group: Group
    objective: str = "likelihood"


def spoken(features: Sequence[torch.Tensor], texts: Sequence[str]) -> list[Example]:
    """Examples of clips whose texts are known."""
    return [Example(clip, Group((text,))) for clip, text in zip(features, texts, strict=True)]


Augment = Callable[[Sequence[Example]], list[Example]]  # a batch as it is → as it is learned this time


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up, then half a cosine down to `final_share` of the peak."""

    peak: float
    warmup_share: float
    final_share: float

    def at(self, step: int, steps: int) -> float:
        warmup = max(1, round(self.warmup_share * steps))
        if step < warmup:
            return self.peak * (step + 1) / warmup
        progressed = (step - warmup) / max(1, steps - warmup)
        floor = self.peak * self.final_share
        return floor + (self.peak - floor) * 0.5 * (1 + math.cos(math.pi * progressed))


@dataclass(frozen=True)
class Masking:
    """SpecAugment (Park et al., arXiv 1904.08779): stripes of the features set to 0, their mean after normalisation.

    Attributes:
        frequency_bins, time_share: the widest stripe, in bins and as a share of the clip.
        stripes: how many of each kind a clip gets.
    """

    frequency_bins: int
    time_share: float
    stripes: int

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        """`[T, F]` → `[T, F]`; raw samples `[T]` pass unchanged."""
        if features.ndim != 2:
            return features
        spectrogram = features.T[None]  # [1, F, T]
        widest = min(self.frequency_bins, spectrogram.shape[1])
        for _ in range(self.stripes):
            spectrogram = torchaudio.functional.mask_along_axis(spectrogram, widest, 0.0, axis=1)
            spectrogram = torchaudio.functional.mask_along_axis(
                spectrogram, spectrogram.shape[2], 0.0, axis=2, p=self.time_share
            )
        return spectrogram[0].T


@dataclass(frozen=True)
class Optimizing:
    """AdamW and its limits.

    Attributes:
        accumulation: batches per optimiser step.
        strengths: of the terms of a policy gradient, or of a reference that is learned beside the best sample.
    """

    weight_decay: float
    max_grad_norm: float
    accumulation: int
    strengths: Strengths = field(default_factory=lambda: Strengths(0.2, 0.0, 0.0, 0.0))


@dataclass(frozen=True)
class FitReport:
    """What a fit did: optimiser steps, mean loss over all and over the last tenth of the batches."""

    steps: int
    presentations: int
    mean_loss: float
    final_loss: float


class Learner:
    """A model in training: takes batches as they come, until its schedule of `steps` steps is at its end.

    A batch that does not fit into a GPU's memory is computed in halves, then quarters, …, and on several processes each
    computes its share. The gradient stays the same, but where batch normalisation sees the smaller parts.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        *,
        schedule: Schedule,
        steps: int,
        optimizing: Optimizing,
        masking: Masking | None,
        augment: Augment | None = None,
    ) -> None:
        self.recognizer = recognizer
        self.schedule = schedule
        self.steps = steps
        self.optimizing = optimizing
        self.masking = masking if recognizer.takes_masking else None
        self.augment = augment
        self.parameters = [parameter for parameter in recognizer.model.parameters() if parameter.requires_grad]
        self.optimizer: Any = torch.optim.AdamW(self.parameters, lr=schedule.peak, weight_decay=optimizing.weight_decay)
        self.pieces = 1  # in how many a batch is computed
        self.losses: list[float] = []
        self.presentations = 0
        self.done = 0

    def learn(self, examples: Sequence[Example], batches: Sequence[Sequence[int]], bar: Any) -> None:
        """Take the batches in the order given; `accumulation` of them make one optimiser step.

        Args:
            bar: a progress bar that counts steps.

        Raises:
            FloatingPointError: when the loss is not finite.
        """
        self.recognizer.model.train()
        for step in steps_of(batches, self.optimizing.accumulation):
            losses = self._gradients([self._prepared([examples[index] for index in batch]) for batch in step])
            if not all(map(math.isfinite, losses)):
                raise FloatingPointError(f"loss is {losses} at step {self.done}: a smaller learning rate may help")
            torch.nn.utils.clip_grad_norm_(self.parameters, self.optimizing.max_grad_norm)
            for group in self.optimizer.param_groups:
                group["lr"] = self.schedule.at(self.done, self.steps)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            self.losses += losses
            self.presentations += sum(map(len, step))
            distributed.average_buffers(self.recognizer.model)
            self.done += 1
            bar.set_postfix(loss=f"{losses[-1]:.3f}", refresh=False)
            bar.update()
        self.recognizer.model.eval()

    def report(self) -> FitReport:
        tail = self.losses[-max(1, len(self.losses) // 10) :]
        return FitReport(self.done, self.presentations, sum(self.losses) / len(self.losses), sum(tail) / len(tail))

    def _gradients(self, step: Sequence[Sequence[Example]]) -> list[float]:
        """Fill the gradients of one step, summed over the processes; the mean loss of each batch."""
        while True:
            try:
                losses = [self._batch_gradient(batch, len(step)) for batch in step]
                break
            except torch.cuda.OutOfMemoryError:
                if self.pieces >= max(map(len, step)):
                    raise
                self.pieces *= 2
                self.optimizer.zero_grad(set_to_none=True)
                torch.cuda.empty_cache()
        distributed.sum_gradients(self.parameters)
        return [sum(parts) for parts in zip(*distributed.gather([losses]), strict=True)]

    def _batch_gradient(self, batch: Sequence[Example], batches: int) -> float:
        """Add the gradient of this process's share of a batch; what its clips add to the mean loss."""
        mine = distributed.share(batch)
        size = -(-len(mine) // self.pieces)
        total = 0.0
        for start in range(0, len(mine), max(1, size)):
            loss = self._loss(mine[start : start + size]) / len(batch)
            (loss / batches).backward()
            total += float(loss.detach())
        return total

    def _loss(self, examples: Sequence[Example]) -> torch.Tensor:
        """The sum over the clips."""
        scored = self.recognizer.score(
            [item.features for item in examples], [list(item.group.texts) for item in examples]
        )
        losses = [
            clip_loss(item.objective, scores, item.group, self.optimizing.strengths)
            for item, scores in zip(examples, scored, strict=True)
        ]
        return torch.stack(losses).sum()

    def _prepared(self, batch: Sequence[Example]) -> list[Example]:
        altered = batch if self.augment is None else self.augment(batch)
        return [self._masked(example) for example in altered]

    def _masked(self, example: Example) -> Example:
        if self.masking is None:
            return example
        return Example(self.masking(example.features), example.group, example.objective)


def steps_of(batches: Sequence[Sequence[int]], accumulation: int) -> list[Sequence[Sequence[int]]]:
    """The batches of each optimiser step."""
    return [batches[start : start + accumulation] for start in range(0, len(batches), accumulation)]


def fit(
    recognizer: Recognizer,
    examples: Sequence[Example],
    batches: Sequence[Sequence[int]],
    *,
    schedule: Schedule,
    optimizing: Optimizing,
    masking: Masking | None,
    title: str,
) -> FitReport:
    """Train on the batches in the order given.

    Raises:
        FloatingPointError: when the loss is not finite.
    """
    steps = len(steps_of(batches, optimizing.accumulation))
    learner = Learner(recognizer, schedule=schedule, steps=steps, optimizing=optimizing, masking=masking)
    with progress(steps, title=title, unit="step") as bar:
        learner.learn(examples, batches, bar)
    return learner.report()
