"""Clips as a model takes them, and how they are put into batches."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from soundraft import runtime


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


def length_batches(lengths: Sequence[int], batch_size: int) -> list[list[int]]:
    """Indices in batches of similar length, for inference: sorted, so that padding costs little."""
    order = sorted(range(len(lengths)), key=lambda index: (lengths[index], index))
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


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
