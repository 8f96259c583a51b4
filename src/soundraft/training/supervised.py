"""The one training loop: the supervised start, every RAFT cycle and every control go through it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torchaudio

from soundraft.models.base import Recognizer
from soundraft.parallel import progress


@dataclass(frozen=True)
class Example:
    """Features `[T, F]` of one clip and the text to learn."""

    features: torch.Tensor
    text: str


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
        for _ in range(self.stripes):
            spectrogram = torchaudio.functional.mask_along_axis(spectrogram, self.frequency_bins, 0.0, axis=1)
            spectrogram = torchaudio.functional.mask_along_axis(
                spectrogram, spectrogram.shape[2], 0.0, axis=2, p=self.time_share
            )
        return spectrogram[0].T


@dataclass(frozen=True)
class FitReport:
    """What a fit did: optimiser steps, mean loss over all and over the last tenth of the batches."""

    steps: int
    presentations: int
    mean_loss: float
    final_loss: float


def fit(
    recognizer: Recognizer,
    examples: Sequence[Example],
    batches: Sequence[Sequence[int]],
    *,
    schedule: Schedule,
    weight_decay: float,
    max_grad_norm: float,
    accumulation: int,
    masking: Masking | None,
    title: str,
) -> FitReport:
    """Train on the batches in the order given; `accumulation` batches make one optimiser step (AdamW).

    Raises:
        FloatingPointError: when the loss is not finite.
    """
    model = recognizer.model
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=schedule.peak, weight_decay=weight_decay)
    steps = [batches[start : start + accumulation] for start in range(0, len(batches), accumulation)]
    losses: list[float] = []
    model.train()
    with progress(len(steps), title=title, unit="step") as bar:
        for number, group in enumerate(steps):
            for batch in group:
                loss = _loss(recognizer, [examples[index] for index in batch], masking)
                (loss / len(group)).backward()
                losses.append(float(loss.detach()))
            if not math.isfinite(losses[-1]):
                raise FloatingPointError(f"loss is {losses[-1]} at step {number}: a smaller learning rate may help")
            torch.nn.utils.clip_grad_norm_(parameters, max_grad_norm)
            for group_ in optimizer.param_groups:
                group_["lr"] = schedule.at(number, len(steps))
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            bar.set_postfix(loss=f"{losses[-1]:.3f}", refresh=False)
            bar.update()
    model.eval()
    tail = losses[-max(1, len(losses) // 10) :]
    return FitReport(len(steps), sum(map(len, batches)), sum(losses) / len(losses), sum(tail) / len(tail))


def _loss(recognizer: Recognizer, examples: Sequence[Example], masking: Masking | None) -> torch.Tensor:
    mask = masking if recognizer.takes_masking else None
    features = [mask(item.features) if mask else item.features for item in examples]
    scores = recognizer.score(features, [[item.text] for item in examples])
    return -torch.cat([score.log_probs / score.tokens for score in scores]).mean()
