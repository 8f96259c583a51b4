"""The one training loop: the supervised start, every RAFT cycle, every control and classifiers go through it."""

import math
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torchaudio

from soundraft import distributed, runtime
from soundraft.clips.batches import shuffled_batches
from soundraft.models.base import Answer, Model
from soundraft.parallel import progress
from soundraft.params.classification import TrainerParams
from soundraft.params.sections import Masking, Train
from soundraft.runtime import UserError
from soundraft.training.objectives import Group, Objective, likelihood

Batches = Sequence[Sequence[int]]  # indices of examples


@dataclass(frozen=True)
class Example:
    """Features `[T, F]` of one clip, and what to learn of which answers."""

    features: torch.Tensor
    group: Group
    objective: Objective = likelihood


Augment = Callable[[Sequence[Example]], list[Example]]  # a batch as it is → as it is learned this time


def examples_of(features: Sequence[torch.Tensor], answers: Sequence[Answer]) -> list[Example]:
    return [Example(clip, Group((answer,))) for clip, answer in zip(features, answers, strict=True)]


def learning_rate(step: int, steps: int, *, peak: float, warmup_share: float, final_share: float) -> float:
    """Linear warm-up, then half a cosine down to `final_share` of the peak."""
    warmup = max(1, round(warmup_share * steps))
    if step < warmup:
        return peak * (step + 1) / warmup
    progressed = (step - warmup) / max(1, steps - warmup)
    floor = peak * final_share
    return floor + (peak - floor) * 0.5 * (1 + math.cos(math.pi * progressed))


def masked(features: torch.Tensor, options: Masking) -> torch.Tensor:
    """SpecAugment (Park et al., arXiv 1904.08779): masks of 0, the features' mean after normalisation.

    `[T, F]` → `[T, F]`; raw samples `[T]` pass unchanged.
    """
    if features.ndim != 2:
        return features
    spectrogram = features.T[None]  # [1, F, T]
    widest = min(options.frequency_bins, spectrogram.shape[1])
    for _ in range(options.masks):
        spectrogram = torchaudio.functional.mask_along_axis(spectrogram, widest, 0.0, axis=1)
        spectrogram = torchaudio.functional.mask_along_axis(
            spectrogram, spectrogram.shape[2], 0.0, axis=2, p=options.time_share
        )
    return spectrogram[0].T


@dataclass(frozen=True)
class FitReport:
    """What a fit did: optimiser steps, mean loss over all and over the last tenth of the batches."""

    steps: int
    presentations: int
    mean_loss: float
    final_loss: float


class Learner:
    """A model in training: takes batches as they come, until its schedule of `steps` steps is at its end.

    A batch that does not fit into a GPU's memory is computed in halves, then quarters, …; of several processes each
    computes its share. The gradient stays the same, but for batch normalisation.
    """

    def __init__(
        self, model: Model, options: Train | TrainerParams, *, peak: float, steps: int, augment: Augment | None = None
    ) -> None:
        self.model, self.options, self.peak, self.steps, self.augment = model, options, peak, steps, augment
        # batches per optimiser step
        self.accumulation = options.gradient_accumulation_steps if isinstance(options, Train) else 1
        self.masking = options.masking if isinstance(options, Train) and model.takes_masking else None
        self.parameters = [parameter for parameter in model.model.parameters() if parameter.requires_grad]
        self.optimizer: Any = torch.optim.AdamW(self.parameters, lr=peak, weight_decay=options.weight_decay, fused=True)
        self.pieces = 1  # in how many a batch is computed
        self.losses: list[float] = []
        self.presentations = 0
        self.done = 0

    def learning_rate(self, step: int) -> float:
        shares = {"warmup_share": self.options.warmup_share, "final_share": self.options.final_lr_share}
        return learning_rate(step, self.steps, peak=self.peak, **shares)

    def learn(self, examples: Sequence[Example], batches: Batches, bar: Any) -> None:
        """Take the batches in the order given; FloatingPointError when the loss is not finite."""
        self.model.model.train()
        for start in range(0, len(batches), self.accumulation):
            step = batches[start : start + self.accumulation]
            losses = self._gradients([self._prepared([examples[index] for index in batch]) for batch in step])
            if not all(map(math.isfinite, losses)):
                raise FloatingPointError(f"loss is {losses} at step {self.done}: a smaller learning rate may help")
            torch.nn.utils.clip_grad_norm_(self.parameters, self.options.max_grad_norm)
            for group in self.optimizer.param_groups:
                group["lr"] = self.learning_rate(self.done)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            self.losses += losses
            self.presentations += sum(map(len, step))
            distributed.average_buffers(self.model.model)
            self.done += 1
            bar.set_postfix(loss=f"{losses[-1]:.3f}", refresh=False)
            bar.update()
        self.model.model.eval()

    def report(self) -> FitReport:
        tail = self.losses[-max(1, len(self.losses) // 10) :]
        return FitReport(self.done, self.presentations, sum(self.losses) / len(self.losses), sum(tail) / len(tail))

    def _prepared(self, batch: Sequence[Example]) -> Sequence[Example]:
        examples = batch if self.augment is None else self.augment(batch)
        if self.masking is None:
            return examples
        return [replace(example, features=masked(example.features, self.masking)) for example in examples]

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
            part = mine[start : start + size]
            found = self.model.loss([item.features for item in part], [item.group.answers for item in part])
            losses = [item.objective(scores, item.group) for item, scores in zip(part, found, strict=True)]
            loss = torch.stack(losses).sum() / len(batch)
            (loss / batches).backward()
            total += float(loss.detach())
        return total


def fit(model: Model, examples: Sequence[Example], options: Train, *, seed: int, title: str) -> FitReport:
    """The supervised start: `epochs` passes over the examples, in batches of similar length."""
    lengths, size = [len(example.features) for example in examples], options.supervised.batch_size
    seeds = [runtime.derive_seed(seed, "epoch", epoch) for epoch in range(options.epochs)]
    batches = [batch for each in seeds for batch in shuffled_batches(lengths, size, seed=each)]
    steps = math.ceil(len(batches) / options.gradient_accumulation_steps)
    learner = Learner(model, options, peak=options.supervised.learning_rate, steps=steps)
    with progress(learner.steps, title=title, unit="step") as bar:
        learner.learn(examples, batches, bar)
    return learner.report()


# Training by epochs with early stopping: the last weights that validation calls as good as the best remain.


@dataclass(frozen=True)
class EpochRow:
    """One epoch: mean loss of its batches, learning rate at its end, measure and loss on validation clips."""

    epoch: int
    loss: float
    learning_rate: float
    validation: float
    validation_loss: float
    seconds: float


@dataclass(frozen=True)
class EpochsReport:
    """The epochs; the model has the weights of `best_epoch`."""

    history: list[EpochRow]
    best_epoch: int
    best: float
    stopped_early: bool


class Averaged:
    """The moving average of a model's trained weights (Polyak & Juditsky, 1992), one update an optimiser step.

    Over `k` steps it keeps `min(decay, (1 + k) / (10 + k))` of what it was, so that it soon forgets the start.
    """

    def __init__(self, model: torch.nn.Module, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self.learned = [weight for weight in model.parameters() if weight.requires_grad]
        self.average = [weight.detach().clone() for weight in self.learned]

    def update(self) -> None:
        self.steps += 1
        kept = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for average, weight in zip(self.average, self.learned, strict=True):
            average.lerp_(weight.detach(), 1 - kept)

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """Inside, the model has the average for its weights."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for average, weight in zip(self.average, self.learned, strict=True):
            now = weight.detach().clone()
            weight.data.copy_(average)
            average.copy_(now)


@dataclass(frozen=True)
class Validation:
    """Of N validation clips: a measure, the higher the better, its standard error, and the losses `[N]`."""

    measure: float
    error: float
    losses: np.ndarray

    @property
    def loss(self) -> float:
        return float(self.losses.mean())

    def excess(self, other: "Validation") -> tuple[float, float]:
        """How much greater its loss is than another's on the same clips, and the standard error of that."""
        differences = self.losses - other.losses
        error = differences.std(ddof=1) / math.sqrt(len(differences)) if len(differences) > 1 else 0.0
        return float(differences.mean()), float(error)


class Best:
    """The weights of the last epoch that is as good as the best one.

    Best is the least loss where the measure is within one standard error of the highest; as good are epochs whose loss
    is within one of that, on the same clips: the one-standard-error rule of Breiman et al., "Classification and
    Regression Trees" (1984), section 3.4.3. On few clips the very best is mostly luck, and the last epochs, with small
    learning rates, differ less from one to the next.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self.model = model
        self.epoch, self.measure = 0, -math.inf  # of the weights that are kept
        self.better = 0  # the last epoch that was better than all before
        self.highest = -math.inf
        self.weights: dict[str, torch.Tensor] = {}
        self._best: Validation | None = None

    def see(self, epoch: int, found: Validation) -> None:
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


def fit_epochs(
    model: Model,
    examples: Sequence[Example],
    options: TrainerParams,
    *,
    seed: int,
    validate: Callable[[], Validation],
    augment: Augment | None = None,
    after_epoch: Callable[[EpochRow], None] | None = None,
) -> EpochsReport:
    """Train until validation has not become better for `early_stop` epochs; the weights that `Best` keeps remain.

    Args:
        validate: called with the weights that would be kept.

    Raises:
        UserError: when there is nothing to learn from.
    """
    if not examples:
        raise UserError("nothing to learn: no clips")
    steps = options.epochs * math.ceil(len(examples) / options.batch_size)
    learner = Learner(model, options, peak=options.learning_rate, steps=steps, augment=augment)
    average = Averaged(model.model, options.average_decay) if options.average_decay else None
    kept = Best(model.model)
    history: list[EpochRow] = []
    with progress(steps, title="train", unit="step") as bar:
        for epoch in range(1, options.epochs + 1):
            began, before = time.monotonic(), len(learner.losses)
            for batch in epoch_batches(examples, options, seed=seed, epoch=epoch):
                learner.learn(examples, [batch], bar)
                if average:
                    average.update()
            losses = learner.losses[before:]
            loss = sum(losses) / len(losses)
            with average.swapped() if average else nullcontext():
                found = validate()
                kept.see(epoch, found)
            rate = learner.learning_rate(learner.done - 1)
            history.append(EpochRow(epoch, loss, rate, found.measure, found.loss, time.monotonic() - began))
            shown = f"train, epoch {epoch} of {options.epochs}: loss {loss:.3f}, validation {found.measure:.3f}"
            bar.set_description(shown, refresh=False)
            if after_epoch:
                after_epoch(history[-1])
            if options.early_stop and epoch - kept.better >= options.early_stop:
                break
    model.model.load_state_dict(kept.weights)
    return EpochsReport(history, kept.epoch, kept.measure, len(history) < options.epochs)


def class_weights(labels: Sequence[str], kind: str) -> dict[str, float]:
    """The weight of each label in the loss, by its frequency; their mean over the clips is 1."""
    power = {"none": 0.0, "balanced": 1.0, "sqrt": 0.5}[kind]
    raw = {label: count**-power for label, count in sorted(Counter(labels).items())}
    mean = sum(raw[label] for label in labels) / len(labels)
    return {label: value / mean for label, value in raw.items()}


def epoch_batches(examples: Sequence[Example], options: TrainerParams, *, seed: int, epoch: int) -> list[list[int]]:
    """The batches of an epoch, counted from 1."""
    epoch_seed = runtime.derive_seed(seed, "epoch", epoch)
    if options.sampling == "balanced":
        labels = [example.group.answers[0] for example in examples]
        return balanced_batches(labels, options.batch_size, seed=epoch_seed)
    return shuffled_batches([len(example.features) for example in examples], options.batch_size, seed=epoch_seed)


def balanced_batches(labels: Sequence[Any], batch_size: int, *, seed: int) -> list[list[int]]:
    """As many clips as there are, each label equally often in every batch; frequent ones are left out by turns."""
    rng = random.Random(runtime.derive_seed("balanced", seed))
    of_label: dict[Any, list[int]] = defaultdict(list)
    for index, label in enumerate(labels):
        of_label[label].append(index)
    decks: dict[Any, list[int]] = {label: [] for label in of_label}
    names = sorted(of_label)
    order: list[int] = []
    while len(order) < len(labels):
        for label in rng.sample(names, len(names)):
            if not decks[label]:
                decks[label] = rng.sample(of_label[label], len(of_label[label]))
            order.append(decks[label].pop())
    order = order[: len(labels)]
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
