"""The one training loop: the supervised start, every RAFT cycle and every control go through it."""

import math
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
import torchaudio

from soundraft import distributed, runtime
from soundraft.clips.batches import shuffled_batches
from soundraft.models.base import Recognizer
from soundraft.parallel import progress
from soundraft.runtime import UserError
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
    """SpecAugment (Park et al., arXiv 1904.08779): masks of the features set to 0, their mean after normalisation.

    Attributes:
        frequency_bins, time_share: the widest mask, in bins and as a share of the clip.
        masks: how many of each kind a clip gets.
    """

    frequency_bins: int
    time_share: float
    masks: int

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        """`[T, F]` → `[T, F]`; raw samples `[T]` pass unchanged."""
        if features.ndim != 2:
            return features
        spectrogram = features.T[None]  # [1, F, T]
        widest = min(self.frequency_bins, spectrogram.shape[1])
        for _ in range(self.masks):
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


# Training by epochs with early stopping: the last weights that validation calls as good as the best remain.


CLASS_WEIGHTS = ("none", "balanced", "sqrt")
SAMPLINGS = ("shuffled", "balanced")

Batches = Callable[[int], list[list[int]]]  # of an epoch, counted from 1


@dataclass(frozen=True)
class EpochRow:
    """One epoch.

    Attributes:
        loss: mean of its batches.
        learning_rate: at its end.
        validation, validation_loss: the measure after it, and the loss.
        seconds: with validation.
    """

    epoch: int
    loss: float
    learning_rate: float
    validation: float
    validation_loss: float
    seconds: float

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


@dataclass(frozen=True)
class EpochsReport:
    """What was learned.

    Attributes:
        best_epoch: whose weights the model has now.
        stopped_early: whether it ended before the last epoch.
    """

    history: list[EpochRow]
    best_epoch: int
    best: float
    stopped_early: bool


class Averaged:
    """The moving average of a model's trained weights (Polyak & Juditsky, 1992), one update an optimiser step.

    Over `k` steps it keeps `min(decay, (1 + k) / (10 + k))` of what it was, so that it soon forgets the start.
    """

    def __init__(self, model: torch.nn.Module, decay: float) -> None:
        self.model = model
        self.decay = decay
        self.steps = 0
        self.average = {name: weight.detach().clone() for name, weight in self._learned()}

    def update(self) -> None:
        self.steps += 1
        kept = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for name, weight in self._learned():
            self.average[name].lerp_(weight.detach(), 1 - kept)

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """Inside, the model has the average for its weights."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for name, weight in self._learned():
            now = weight.detach().clone()
            weight.data.copy_(self.average[name])
            self.average[name] = now

    def _learned(self) -> list[tuple[str, torch.nn.Parameter]]:
        return [(name, weight) for name, weight in self.model.named_parameters() if weight.requires_grad]


@dataclass(frozen=True)
class Judgement:
    """What validation says: a measure, the higher the better, its standard error, and the loss of each clip, `[N]`."""

    measure: float
    error: float
    losses: np.ndarray

    @property
    def loss(self) -> float:
        return float(self.losses.mean())

    def excess(self, other: "Judgement") -> tuple[float, float]:
        """How much greater its loss is than another's on the same clips, and the standard error of that."""
        differences = self.losses - other.losses
        error = differences.std(ddof=1) / math.sqrt(len(differences)) if len(differences) > 1 else 0.0
        return float(differences.mean()), float(error)


class Best:
    """The weights, kept in memory, of the last epoch that is as good as the best one.

    Best is the least loss where the measure is within one standard error of the highest. As good are epochs whose loss
    is within one standard error of that, on the same clips: after the one-standard-error rule of Breiman et al.,
    "Classification and Regression Trees" (1984), section 3.4.3. On few clips the very best is mostly luck, and the last
    epochs have the small learning rates, which make weights that differ less from one epoch to the next.

    Attributes:
        epoch, measure: of the weights that are kept.
        better: the epoch in which something better than before was found last.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self.model = model
        self.epoch, self.measure, self.better, self.highest = 0, -math.inf, 0, -math.inf
        self.weights: dict[str, torch.Tensor] = {}
        self._best: Judgement | None = None

    def see(self, epoch: int, found: Judgement) -> None:
        self.highest = max(self.highest, found.measure)
        least = self.highest - found.error
        if found.measure < least:  # also where its smaller error now leaves out the one that is kept
            return
        if self._best is None or self._best.measure < least or found.loss < self._best.loss:
            self._best, self.better = found, epoch
        excess, error = found.excess(self._best)
        if excess <= error:
            self.epoch, self.measure = epoch, found.measure
            self.weights = {name: value.clone() for name, value in self.model.state_dict().items()}

    def restore(self) -> None:
        self.model.load_state_dict(self.weights)
        self.model.eval()


def fit_epochs(
    recognizer: Recognizer,
    examples: Sequence[Example],
    *,
    epochs: int,
    batches: Batches,
    schedule: Schedule,
    optimizing: Optimizing,
    validate: Callable[[], Judgement],
    patience: int,
    augment: Augment | None = None,
    average_decay: float = 0.0,
    after_epoch: Callable[[EpochRow], None] | None = None,
    title: str = "train",
) -> EpochsReport:
    """Train until validation has not become better for `patience` epochs; the weights that `Best` keeps remain.

    Args:
        batches: those of each epoch, always as many as in the first.
        schedule: reaches its end with the last epoch, whether or not the training does.
        validate: called with the weights that would be kept.
        patience: epochs; 0 never stops early.
        average_decay: above 0, the moving average of the weights is validated and kept, not the weights.
        after_epoch: called with each epoch's row, to log it.

    Raises:
        FloatingPointError: when the loss is not finite.
        UserError: when there is nothing to learn from, or no epoch.
    """
    first = batches(1)
    if not first or epochs < 1:
        raise UserError(f"nothing to learn: {len(examples)} clips, {epochs} epochs")
    steps = len(steps_of(first, optimizing.accumulation))
    learner = Learner(
        recognizer, schedule=schedule, steps=epochs * steps, optimizing=optimizing, masking=None, augment=augment
    )
    average = Averaged(recognizer.model, average_decay) if average_decay else None
    kept = Best(recognizer.model)
    history: list[EpochRow] = []
    with progress(learner.steps, title=title, unit="step") as bar:
        for epoch in range(1, epochs + 1):
            began = time.monotonic()
            loss = _learn_epoch(learner, examples, batches(epoch), average, bar)
            with average.swapped() if average else nullcontext():
                found = validate()
                kept.see(epoch, found)
            rate = schedule.at(learner.done - 1, learner.steps)
            history.append(EpochRow(epoch, loss, rate, found.measure, found.loss, time.monotonic() - began))
            shown = f"{title}, epoch {epoch} of {epochs}: loss {loss:.3f}, validation {found.measure:.3f}"
            bar.set_description(shown, refresh=False)
            if after_epoch:
                after_epoch(history[-1])
            if patience and epoch - kept.better >= patience:
                break
    kept.restore()
    return EpochsReport(history, kept.epoch, kept.measure, len(history) < epochs)


def _learn_epoch(
    learner: Learner, examples: Sequence[Example], batches: list[list[int]], average: Averaged | None, bar: Any
) -> float:
    """The mean loss of the epoch's batches."""
    before = len(learner.losses)
    for step in steps_of(batches, learner.optimizing.accumulation):
        learner.learn(examples, step, bar)
        if average:
            average.update()
    losses = learner.losses[before:]
    return sum(losses) / len(losses)


def class_weights(labels: Sequence[str], kind: str) -> dict[str, float]:
    """The weight of each label in the loss; their mean over the clips is 1.

    Args:
        labels: one a training clip.
        kind: none; balanced: inverse to how often a label occurs; sqrt: to the root of that.

    Raises:
        UserError: when there is no such kind.
    """
    if kind not in CLASS_WEIGHTS:
        raise UserError(f"class_weights: got {kind!r}; there are: {', '.join(CLASS_WEIGHTS)}")
    power = {"none": 0.0, "balanced": 1.0, "sqrt": 0.5}[kind]
    counts = Counter(labels)
    raw = {label: count**-power for label, count in sorted(counts.items())}
    mean = sum(raw[label] for label in labels) / len(labels)
    return {label: value / mean for label, value in raw.items()}


def epoch_batches(kind: str, *, lengths: Sequence[int], labels: Sequence[str], batch_size: int, seed: int) -> Batches:
    """The batches of every epoch.

    Args:
        kind: shuffled: every clip once, clips of similar length together; balanced: see `balanced_batches`.
        lengths: of the clips, in frames.

    Raises:
        UserError: when there is no such kind.
    """
    if kind not in SAMPLINGS:
        raise UserError(f"sampling: got {kind!r}; there are: {', '.join(SAMPLINGS)}")

    def of(epoch: int) -> list[list[int]]:
        epoch_seed = runtime.derive_seed(seed, "epoch", epoch)
        if kind == "balanced":
            return balanced_batches(labels, batch_size, seed=epoch_seed)
        return shuffled_batches(lengths, batch_size, seed=epoch_seed)

    return of


def balanced_batches(labels: Sequence[str], batch_size: int, *, seed: int) -> list[list[int]]:
    """As many clips as there are, each label as often as any other, also within each batch (but for a rest).

    Clips of a frequent label are left out by turns, those of a rare one come several times.
    """
    rng = random.Random(runtime.derive_seed("balanced", seed))
    of_label: dict[str, list[int]] = defaultdict(list)
    for index, label in enumerate(labels):
        of_label[label].append(index)
    decks: dict[str, list[int]] = {label: [] for label in of_label}
    names = sorted(of_label)
    order: list[int] = []
    while len(order) < len(labels):
        for label in rng.sample(names, len(names)):
            if not decks[label]:
                decks[label] = rng.sample(of_label[label], len(of_label[label]))
            order.append(decks[label].pop())
    order = order[: len(labels)]
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
