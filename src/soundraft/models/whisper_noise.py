"""Random texts of several clips in one run of Whisper's decoder, each clip from its own seed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Part:
    """Rows of a batch that belong to one clip and draw from one generator."""

    clip: int
    rows: int
    seed: int


class SeededNoise:
    """A logits processor that makes the greedy choice a random one: the Gumbel-max trick.

    The token with the highest log p / temperature + g, with g from Gumbel's distribution, is a draw from the softmax
    (Maddison et al., arXiv 1411.0030). g of a row comes from its clip's generator, so neighbours do not matter.
    """

    def __init__(self, parts: Sequence[Part], temperature: float, device: torch.device) -> None:
        self._rows = [part.rows for part in parts]
        self._generators = [torch.Generator(device).manual_seed(part.seed) for part in parts]
        self._temperature = temperature

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores `[R, V]` of the next token → disturbed ones."""
        waits = torch.empty_like(scores, dtype=torch.float32)
        for rows, generator in zip(waits.split(self._rows), self._generators, strict=True):
            rows.exponential_(generator=generator)
        return scores.float() / self._temperature - waits.log()  # −log of an exponential is Gumbel's


def in_groups(parts: Sequence[Part], most_rows: int) -> Iterator[list[Part]]:
    """The parts in their order, in groups of at most so many rows."""
    group: list[Part] = []
    for part in parts:
        if group and sum(other.rows for other in group) + part.rows > most_rows:
            yield group
            group = []
        group.append(part)
    if group:
        yield group
