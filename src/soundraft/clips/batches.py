"""Clips as a model takes them, in batches of similar length; and a model over all of them, each encoded once."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from soundraft import distributed, runtime
from soundraft.models.base import Answer, Model, length_batches
from soundraft.parallel import progress_over
from soundraft.params.sections import Decoding


@dataclass(frozen=True)
class Utterances:
    """Clips with features; parallel.

    Attributes:
        targets: what the model is to answer, of each clip, such as a text.
        features: of each clip, `[T, F]` (or `[T]` for raw samples).
    """

    ids: list[str]
    targets: list[Any]
    features: list[torch.Tensor]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def lengths(self) -> list[int]:
        return [len(feature) for feature in self.features]

    def add(self, name: str, target: Any, features: torch.Tensor) -> None:
        self.ids.append(name)
        self.targets.append(target)
        self.features.append(features)

    def __add__(self, others: "Utterances") -> "Utterances":
        return Utterances(self.ids + others.ids, self.targets + others.targets, self.features + others.features)

    def part(self, indices: Sequence[int]) -> "Utterances":
        """These clips, in this order."""
        return Utterances(
            [self.ids[index] for index in indices],
            [self.targets[index] for index in indices],
            [self.features[index] for index in indices],
        )


def shuffled_batches(lengths: Sequence[int], batch_size: int, *, seed: int) -> list[list[int]]:
    """Every index once, in batches of similar length whose make-up and order depend on the seed.

    Lengths are jittered by ±10 % before sorting, so that no two epochs have the same batches.
    """
    rng = random.Random(runtime.derive_seed("batches", seed))
    jittered = [length * rng.uniform(0.9, 1.1) for length in lengths]
    order = sorted(range(len(lengths)), key=lambda index: (jittered[index], index))
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    rng.shuffle(batches)
    return batches


Decoded = TypeVar("Decoded")


def batch_clips(model: Model, decoding: Decoding) -> int:
    """How many clips are decoded at once."""
    on_cpu = next(model.model.parameters()).device.type == "cpu"
    return decoding.batch_clips if on_cpu else decoding.batch_clips_gpu


def decode(
    model: Model,
    clips: Utterances,
    decoder: Callable[[Any, list[str]], Sequence[Decoded]],
    decoding: Decoding,
    *,
    title: str,
) -> list[Decoded]:
    """Encode every clip once and decode it; results in the clips' order.

    Args:
        decoder: (encoded batch, clip ids) → one result a clip.
    """
    model.model.eval()
    results: list[tuple[int, Decoded]] = []
    batches = distributed.share(length_batches(clips.lengths, batch_clips(model, decoding)))
    for batch in progress_over(batches, total=len(batches), title=title, unit="batch"):
        encoded = model.encode([clips.features[index] for index in batch])
        results += zip(batch, decoder(encoded, [clips.ids[index] for index in batch]), strict=True)
    return _in_order(results)


def best_answers(model: Model, clips: Utterances, decoding: Decoding, *, title: str = "decode") -> list[Any]:
    """The most likely answer of every clip, in the clips' order."""
    return decode(model, clips, lambda encoded, _: model.best(encoded), decoding, title=title)


def answer_log_probs(
    model: Any, clips: Utterances, answers: Sequence[Sequence[Answer]], decoding: Decoding
) -> list[tuple[float, ...]]:
    """Log-probability of each of a clip's answers, for every clip, without gradient.

    Args:
        model: one with a likelihood.
    """
    model.model.eval()
    results: list[tuple[int, tuple[float, ...]]] = []
    for batch in distributed.share(length_batches(clips.lengths, batch_clips(model, decoding))):
        with torch.inference_mode():
            scored = model.loss([clips.features[index] for index in batch], [answers[index] for index in batch])
        results += [(index, tuple(scores.log_probs.tolist())) for index, scores in zip(batch, scored, strict=True)]
    return _in_order(results)


def _in_order(results: list[tuple[int, Decoded]]) -> list[Decoded]:
    """Of all processes, by the clips' indices."""
    return [result for _, result in sorted(distributed.gather(results), key=lambda pair: pair[0])]
