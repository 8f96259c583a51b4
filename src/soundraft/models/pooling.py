"""Frames of a clip → one vector, over its real frames alone; and a vector of statistics of the features themselves.

Letters as in `encoder_parts`. Statistics pooling: Snyder et al., x-vectors, ICASSP 2018; attention: Lin et al., arXiv
1703.03130, with one head.
"""

import math

import torch
from torch import nn

from soundraft.models.base import ModelError
from soundraft.models.encoder_parts import blank

POOLINGS = ("statistics", "attention", "mean", "max")
VARIANCE_FLOOR = 1e-6  # keeps the gradient of a deviation finite where a clip is constant
CEPSTRA = 20
WIDEST = 5.0  # standard deviations of the training clips; what lies beyond is cut to it


class Pooling(nn.Module):
    """`[B, T, H]` → `[B, width]`."""

    def __init__(self, kind: str, columns: int) -> None:
        super().__init__()
        if kind not in POOLINGS:
            raise ModelError(f"encoder.pooling: got {kind!r}; there are: {', '.join(POOLINGS)}")
        self.kind = kind
        self.width = 3 * columns if kind == "statistics" else columns
        if kind == "attention":
            self.weigh = nn.Sequential(nn.Linear(columns, columns), nn.Tanh(), nn.Linear(columns, 1))

    def forward(self, frames: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        if self.kind == "mean":
            return mean(frames, lengths)
        if self.kind == "max":
            return blank(frames, lengths, -math.inf).amax(1)
        if self.kind == "attention":
            weights = torch.softmax(blank(self.weigh(frames), lengths, -math.inf), dim=1)
            return (weights * blank(frames, lengths)).sum(1)
        largest = blank(frames, lengths, -math.inf).amax(1)
        return torch.cat([mean(frames, lengths), deviation(frames, lengths), largest], dim=-1)


def mean(frames: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """`[B, T, H]` → `[B, H]`."""
    return blank(frames, lengths).sum(1) / lengths[:, None]


def deviation(frames: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Standard deviation over time, `[B, T, H]` → `[B, H]`."""
    centred = frames - mean(frames, lengths)[:, None]
    return (mean(centred**2, lengths) + VARIANCE_FLOOR).sqrt()


class InputStatistics(nn.Module):
    """What a classifier on statistics sees of features `[B, T, F]`, z-scored over the training clips: `[B, width]`.

    Mean and deviation of every bin and of the first cepstra (the cosine transform across bins), and how far both move
    from frame to frame. On few clips these carry a task that a network cannot yet learn from frames.
    """

    def __init__(self, columns: int) -> None:
        super().__init__()
        cepstra = min(CEPSTRA, columns)
        rows = (torch.arange(columns) + 0.5)[:, None] * torch.arange(cepstra) * (math.pi / columns)
        self.cosines: torch.Tensor
        self.centre: torch.Tensor
        self.spread: torch.Tensor
        self.register_buffer("cosines", torch.cos(rows) * math.sqrt(2 / columns), persistent=False)
        self.width = 3 * (columns + cepstra)
        self.register_buffer("centre", torch.zeros(self.width))
        self.register_buffer("spread", torch.ones(self.width))

    def fit(self, raw: torch.Tensor) -> None:
        """Take centre and spread of each statistic from the training clips' `measure`, `[clips, width]`."""
        self.centre.copy_(raw.mean(0))
        self.spread.copy_(spread_of(raw))

    def measure(self, frames: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """The statistics as they are, `[B, width]`."""
        values = torch.cat([frames, frames @ self.cosines], dim=-1)
        steps = (values[:, 1:] - values[:, :-1]).abs()
        moved = blank(steps, lengths - 1).sum(1) / (lengths - 1).clamp(min=1)[:, None]
        return torch.cat([mean(values, lengths), deviation(values, lengths), moved], dim=-1)

    def forward(self, frames: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        return ((self.measure(frames, lengths) - self.centre) / self.spread).clamp(-WIDEST, WIDEST)


def spread_of(rows: torch.Tensor) -> torch.Tensor:
    """Standard deviation `[columns]` of rows; 1 where a column is constant, so that it becomes 0 and stays finite."""
    spread = rows.std(0, correction=0)
    return torch.where(spread > 1e-5, spread, torch.ones_like(spread))
