"""The network of a classifier: features are normalised, encoded, pooled and joined with side inputs → logits.

Letters: B clips, T frames, F columns of a clip's features, S columns of its side inputs, C labels.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import nn

from soundraft.models.base import ModelError, pad
from soundraft.models.encoder_parts import Sized, WaveFilters
from soundraft.models.encoders import build_encoder
from soundraft.models.pooling import InputStatistics, Pooling, usable
from soundraft.models.side_inputs import SideEncoder

MIXED = ("statistics", "attention", "max")
MEASURED_CLIPS = 16  # whose statistics are taken at once


@dataclass(frozen=True)
class Head:
    """What stands behind an encoder.

    Attributes:
        pooling: statistics, attention, mean or max of the encoder's output over time. statistics takes those of the
            computed features as well, so that the network has from the start what a classifier on statistics has.
            mixed: the members of a committee take statistics, attention and max in turn.
        num_fc_layers, output_size: fully connected layers before the output, and their width.
        fc_dropout: in front of each of them and of the output.
    """

    pooling: str = "statistics"
    num_fc_layers: int = 1
    output_size: int = 128
    fc_dropout: float = 0.3

    def __post_init__(self) -> None:
        if self.num_fc_layers < 0 or self.output_size < 1 or not 0 <= self.fc_dropout < 1:
            raise ModelError(f"encoder: num_fc_layers from 0, output_size from 1, 0 <= fc_dropout < 1; got {self}")

    def of_member(self, number: int) -> "Head":
        return replace(self, pooling=MIXED[number % len(MIXED)]) if self.pooling == "mixed" else self


HEAD_KEYS = tuple(field.name for field in fields(Head))


@dataclass(frozen=True)
class Waves:
    """How a network reads raw samples: a learned filter bank of so many bands, its window and shift in samples."""

    bands: int
    window: int
    shift: int


class SpectraReader(Sized):
    """Padded features `[B, T, F]`, or raw samples `[B, N]`, and lengths → a vector a clip, `[B, width]`."""

    def __init__(
        self,
        name: str,
        columns: int,
        settings: Mapping[str, Any],
        *,
        pooling: str,
        waves: Waves | None,
        planes: int,
        of_levels: bool,
    ) -> None:
        super().__init__()
        self.of_levels = of_levels  # columns are levels of bands: they keep one scale
        self.mean: torch.Tensor
        self.std: torch.Tensor
        self.register_buffer("mean", torch.zeros(columns))
        self.register_buffer("std", torch.ones(columns))
        self.waves = WaveFilters(waves.bands, waves.window, waves.shift) if waves else None
        self.encoder = build_encoder(name, waves.bands if waves else columns, settings, planes=planes)
        self.pooling = Pooling(pooling, self.encoder.width)
        self.statistics = InputStatistics(columns) if pooling == "statistics" and not waves else None
        self.width = self.pooling.width + (self.statistics.width if self.statistics else 0)

    def forward(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        frames, lengths = self._normalised(features)
        statistics = self.statistics(frames, lengths) if self.statistics else None
        if self.waves:
            frames, lengths = self.waves(frames, lengths)
        pooled = self.pooling(*self.encoder(frames, lengths))
        return pooled if statistics is None else torch.cat([pooled, statistics], dim=-1)

    def fit(self, features: Sequence[torch.Tensor]) -> None:
        """Take mean and deviation of every bin, and of every statistic of a clip, from the training clips."""
        clips = [clip.reshape(len(clip), -1) for clip in features]
        frames = sum(map(len, clips))
        mean = torch.stack([clip.double().sum(0) for clip in clips]).sum(0) / frames
        self.mean.copy_(mean)
        squares = torch.stack([((clip.double() - mean) ** 2).sum(0) for clip in clips]).sum(0)
        spread = usable((squares / frames).sqrt())
        # a band that is silent in all training clips must not become the loudest where there is some noise
        self.std.copy_(spread.mean().expand_as(spread) if self.of_levels else spread)
        if self.statistics:
            starts = range(0, len(features), MEASURED_CLIPS)
            parts = [self._normalised(features[start : start + MEASURED_CLIPS]) for start in starts]
            self.statistics.fit(torch.cat([self.statistics.measure(*part) for part in parts]))

    def _normalised(self, features: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        padded, lengths = pad(features)
        padded, lengths = padded.to(self.mean.device), lengths.to(self.mean.device)
        return (padded - self.mean) / self.std, lengths


class ClassifierNetwork(nn.Module):
    """A reader, side inputs and fully connected layers."""

    def __init__(self, reader: Sized, side: SideEncoder, head: Head, classes: int) -> None:
        super().__init__()
        self.reader = reader
        self.side = side
        widths = [reader.width + side.width] + [head.output_size] * head.num_fc_layers
        self.layers = nn.Sequential(*(_connected(width, head) for width in widths[:-1]))
        self.output = nn.Sequential(nn.Dropout(head.fc_dropout), nn.Linear(widths[-1], classes))

    def forward(self, features: Sequence[torch.Tensor], side: torch.Tensor) -> torch.Tensor:
        """Features of each clip and side columns `[B, S]` → logarithms of probabilities `[B, C]`."""
        vector = self.reader(features)
        vector = torch.cat([vector, self.side(side.to(vector.device))], dim=-1)
        return torch.log_softmax(self.output(self.layers(vector)).float(), dim=-1)


class Committee(nn.Module):
    """Several networks that learn the same clips from other initial weights, and vote with their mean probabilities.

    Deep ensembles: Lakshminarayanan et al., arXiv 1612.01474. What is learned are the averaged logarithms: their loss
    is the mean of the members' own losses, and none learns what another one did.
    """

    def __init__(self, members: Sequence[ClassifierNetwork]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, features: Sequence[torch.Tensor], side: torch.Tensor, *, apart: bool = False) -> torch.Tensor:
        """As of one member: their vote, or, `apart`, the mean of their logarithms, which do not sum to 1."""
        votes = torch.stack([member(features, side) for member in self.members])
        return votes.mean(0) if apart else votes.logsumexp(0) - math.log(len(votes))


def _connected(width: int, head: Head) -> nn.Module:
    return nn.Sequential(
        nn.Dropout(head.fc_dropout), nn.Linear(width, head.output_size), nn.LayerNorm(head.output_size), nn.GELU()
    )
