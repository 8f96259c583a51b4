"""What encoders are made of. Every part gives a clip the same result however far its batch is padded.

Letters: B clips, T frames, F columns, of spectra bands, H width. Padded frames are 0 before each convolution, as beyond
the ends of a clip that is alone, and nothing is normalised over time.
"""

import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.functional import gelu, max_pool1d, max_pool2d

from soundraft.models.base import length_mask

Padded = tuple[torch.Tensor, torch.Tensor]  # frames [B, T, H] and how many are real, [B]


class Sized(nn.Module):
    """A module that says how wide what it gives is."""

    width: int


def blank(frames: torch.Tensor, lengths: torch.Tensor, value: float = 0.0) -> torch.Tensor:
    """`[B, T, H]` with padded frames set to a value."""
    return frames.masked_fill(~length_mask(lengths, frames.shape[1])[..., None], value)


def pool(frames: torch.Tensor, lengths: torch.Tensor, size: int) -> Padded:
    """The largest of each `size` frames; the last ones may be fewer: `[B, T, H]` → `[B, ceil(T / size), H]`."""
    if size == 1:
        return frames, lengths
    pooled = max_pool1d(blank(frames, lengths, -math.inf).transpose(1, 2), size, ceil_mode=True).transpose(1, 2)
    lengths = -(-lengths // size)
    return blank(pooled, lengths), lengths


class Convolution(nn.Module):
    """A convolution over time that keeps the number of frames, layer norm of each frame, GELU, pooling, dropout.

    Dropout takes whole channels of a clip (Tompson et al., arXiv 1411.4280): neighbouring frames are too much alike for
    single ones to be missed.
    """

    def __init__(self, columns: int, filters: int, size: int, *, pool_size: int, dropout: float) -> None:
        super().__init__()
        # an even kernel sees one frame more of the past
        self.around = (size // 2, (size - 1) // 2)
        self.conv = nn.Conv1d(columns, filters, size)
        self.norm = nn.LayerNorm(filters)
        self.dropout = nn.Dropout1d(dropout)
        self.pool_size = pool_size

    def forward(self, frames: torch.Tensor, lengths: torch.Tensor) -> Padded:
        inputs = nn.functional.pad(blank(frames, lengths).transpose(1, 2), self.around)
        outputs, lengths = pool(gelu(self.norm(self.conv(inputs).transpose(1, 2))), lengths, self.pool_size)
        return self.dropout(outputs.transpose(1, 2)).transpose(1, 2), lengths


class Convolution2D(nn.Module):
    """A convolution over time and bands of the same size, pooling, layer norm of each place, ReLU and dropout.

    It works on planes `[B, H, T, F]`, and wants those that it gets to be 0 in padded frames; so are those it gives. A
    sound that moves up or down with the speaker's vocal tract meets the same weights there. The norm sets each place to
    one loudness; it and ReLU stand behind the pooling, where fewer places are left.
    """

    def __init__(
        self, planes: int, filters: int, size: int, *, pool_size: int, band_pool_size: int, dropout: float
    ) -> None:
        super().__init__()
        # an even kernel sees one place more of the past, and of the lower bands
        self.around = (size // 2, (size - 1) // 2) * 2
        self.conv = nn.Conv2d(planes, filters, size)
        self.norm = nn.LayerNorm(filters)
        self.dropout = nn.Dropout2d(dropout)
        self.pool_sizes = (pool_size, band_pool_size)

    def forward(self, planes: torch.Tensor, lengths: torch.Tensor) -> Padded:
        outputs = self.conv(nn.functional.pad(planes, self.around))
        if self.pool_sizes[0] > 1:  # a padded frame must not be the largest
            outputs = outputs.masked_fill(self._padding(outputs, lengths), -math.inf)
        if self.pool_sizes != (1, 1):
            outputs = max_pool2d(outputs, self.pool_sizes, ceil_mode=True)
        lengths = -(-lengths // self.pool_sizes[0])
        outputs = outputs.masked_fill(self._padding(outputs, lengths), 0.0)
        outputs = torch.relu(self.norm(outputs.movedim(1, -1)).movedim(-1, 1))
        return self.dropout(outputs).masked_fill(self._padding(outputs, lengths), 0.0), lengths

    @staticmethod
    def _padding(planes: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        return ~length_mask(lengths, planes.shape[2])[:, None, :, None]


class ParallelConvolutions(nn.Module):
    """Convolutions with kernels of several sizes over the same frames, side by side."""

    def __init__(self, columns: int, filters: int, sizes: Sequence[int], *, pool_size: int, dropout: float) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            Convolution(columns, filters, size, pool_size=pool_size, dropout=dropout) for size in sizes
        )

    def forward(self, frames: torch.Tensor, lengths: torch.Tensor) -> Padded:
        outputs = [branch(frames, lengths) for branch in self.branches]
        return torch.cat([frames for frames, _ in outputs], dim=-1), outputs[0][1]


def positions(frames: int, width: int, device: torch.device) -> torch.Tensor:
    """Sines and cosines `[T, H]` of Vaswani et al., arXiv 1706.03762, section 3.5."""
    rates = torch.exp(torch.arange(0, width, 2, device=device) * (-math.log(10000.0) / width))
    angles = torch.arange(frames, device=device)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=-1).reshape(frames, -1)[:, :width]


class WaveFilters(nn.Module):
    """A learned filter bank over raw samples, logarithms of its energies: `[B, N]` → `[B, T, filters]`.

    Frames as in the computed features: T = ceil((N − window) / shift) + 1, at least 1, zeros behind the clip's end.
    """

    def __init__(self, filters: int, window: int, shift: int) -> None:
        super().__init__()
        self.window, self.shift = window, shift
        self.conv = nn.Conv1d(1, 2 * filters, window, stride=shift, bias=False)
        self.norm = nn.LayerNorm(filters)

    def forward(self, samples: torch.Tensor, lengths: torch.Tensor) -> Padded:
        frames = (-(-(lengths - self.window) // self.shift) + 1).clamp(min=1)
        wanted = self.window + (int(frames.max()) - 1) * self.shift
        heard = samples * length_mask(lengths, samples.shape[1])  # what was padded may have become other than 0
        padded = nn.functional.pad(heard, (0, max(0, wanted - samples.shape[1])))[:, :wanted]
        even, odd = self.conv(padded[:, None]).transpose(1, 2).chunk(2, dim=-1)
        return blank(self.norm(torch.log(even**2 + odd**2 + 1e-6)), frames), frames
