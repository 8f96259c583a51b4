"""Encoders that learn from scratch: padded frames `[B, T, F]` and their lengths → `[B, T', H]` and lengths.

Every part gives a clip the same result however far its batch is padded: padded frames are 0 before each convolution, as
beyond the ends of a clip that is alone, and nothing is normalised over time.

Letters: B clips, T frames, F columns, of spectra bands, H width.
"""

import math
from typing import Any

import torch
from torch import nn
from torch.nn.functional import gelu, max_pool1d, max_pool2d
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from soundraft.models.base import ModelError, length_mask
from soundraft.params.classification import (
    CNNRNNParams,
    ParallelCNNParams,
    RNNParams,
    StackedCNN2DParams,
    StackedCNNParams,
    StackedParallelCNNParams,
    TransformerParams,
)

Padded = tuple[torch.Tensor, torch.Tensor]  # frames [B, T, H] and how many are real, [B]


class Sized(nn.Module):
    """A module with the width of its output."""

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
    """A convolution over time, layer norm of each frame, GELU, pooling, dropout of whole channels.

    Neighbouring frames are too much alike for single ones to be missed (Tompson et al., arXiv 1411.4280).
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
    """A convolution over time and bands, pooling, layer norm of each place, ReLU and dropout, on planes `[B, H, T, F]`.

    Padded frames are 0 before and after. A sound that moves with the speaker's vocal tract meets the same weights.
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

    def __init__(self, columns: int, options: ParallelCNNParams | StackedParallelCNNParams) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            Convolution(columns, options.num_filters, size, pool_size=options.pool_size, dropout=options.dropout)
            for size in options.filter_sizes
        )

    def forward(self, frames: torch.Tensor, lengths: torch.Tensor) -> Padded:
        outputs = [branch(frames, lengths) for branch in self.branches]
        return torch.cat([frames for frames, _ in outputs], dim=-1), outputs[0][1]


class WaveFilters(nn.Module):
    """A learned filter bank over raw samples, logarithms of its energies: `[B, N]` → `[B, T, filters]`.

    T as of computed features: ceil((N − window) / shift) + 1, at least 1, zeros behind the clip's end.
    """

    def __init__(self, filters: int, window: int, shift: int) -> None:
        super().__init__()
        self.window, self.shift = window, shift
        self.conv = nn.Conv1d(1, 2 * filters, window, stride=shift, bias=False)
        self.norm = nn.LayerNorm(filters)

    def forward(self, samples: torch.Tensor, lengths: torch.Tensor) -> Padded:
        frames = (-(-(lengths - self.window) // self.shift) + 1).clamp(min=1)
        wanted = self.window + (int(frames.max()) - 1) * self.shift
        real = samples * length_mask(lengths, samples.shape[1])  # what was padded may have become other than 0
        padded = nn.functional.pad(real, (0, max(0, wanted - samples.shape[1])))[:, :wanted]
        even, odd = self.conv(padded[:, None]).transpose(1, 2).chunk(2, dim=-1)
        return blank(self.norm(torch.log(even**2 + odd**2 + 1e-6)), frames), frames


# The encoders, with the knobs of their sections.


class Stack(Sized):
    layers: nn.ModuleList

    def forward(self, frames: torch.Tensor, lengths: torch.Tensor) -> Padded:
        for layer in self.layers:
            frames, lengths = layer(frames, lengths)
        return frames, lengths


class StackedCNN(Stack):
    """Convolutions one after another, each with its own kernel and pooling."""

    def __init__(self, columns: int, options: StackedCNNParams | CNNRNNParams) -> None:
        super().__init__()
        _check_same_length(options, "filter_sizes", "pool_sizes")
        self.width = options.num_filters
        widths = [columns] + [self.width] * len(options.filter_sizes)
        self.layers = nn.ModuleList(
            Convolution(width, self.width, size, pool_size=pool_size, dropout=options.dropout)
            for width, size, pool_size in zip(widths, options.filter_sizes, options.pool_sizes, strict=False)
        )


class StackedCNN2D(Sized):
    """Convolutions over time and bands, one after another; then one over time sees all bands that are left.

    For columns in the order of their frequencies. With few training speakers it recognises a new speaker's words better
    than convolutions over time alone. The columns are those of `planes` spectra side by side, such as of channels.
    """

    def __init__(self, columns: int, options: StackedCNN2DParams, planes: int = 1) -> None:
        super().__init__()
        _check_same_length(options, "num_filters", "filter_sizes", "pool_sizes", "band_pool_sizes")
        self.planes = planes
        self.width = options.width
        widths, bands = [planes, *options.num_filters], columns // planes
        self.layers = nn.ModuleList()
        for place, size in enumerate(options.filter_sizes):
            band_pool_size = options.band_pool_sizes[place]
            self.layers.append(
                Convolution2D(
                    widths[place], widths[place + 1], size, pool_size=options.pool_sizes[place],
                    band_pool_size=band_pool_size, dropout=options.dropout,
                )
            )  # fmt: skip
            bands = -(-bands // band_pool_size)
        self.last = Convolution(bands * widths[-1], self.width, 3, pool_size=1, dropout=options.dropout)

    def forward(self, frames: torch.Tensor, lengths: torch.Tensor) -> Padded:
        planes = blank(frames, lengths).unflatten(2, (self.planes, -1)).transpose(1, 2)
        planes = planes.contiguous(memory_format=torch.channels_last)  # a tenth faster
        for layer in self.layers:
            planes, lengths = layer(planes, lengths)
        return self.last(planes.transpose(1, 2).flatten(2), lengths)


class ParallelCNN(Sized):
    def __init__(self, columns: int, options: ParallelCNNParams) -> None:
        super().__init__()
        self.layer = ParallelConvolutions(columns, options)
        self.width = options.num_filters * len(options.filter_sizes)

    def forward(self, frames: torch.Tensor, lengths: torch.Tensor) -> Padded:
        return self.layer(frames, lengths)


class StackedParallelCNN(Stack):
    def __init__(self, columns: int, options: StackedParallelCNNParams) -> None:
        super().__init__()
        self.width = options.num_filters * len(options.filter_sizes)
        widths = [columns] + [self.width] * (options.num_stacks - 1)
        self.layers = nn.ModuleList(ParallelConvolutions(width, options) for width in widths)


class RNN(Sized):
    def __init__(self, columns: int, options: RNNParams | CNNRNNParams) -> None:
        super().__init__()
        self.rnn = {"lstm": nn.LSTM, "gru": nn.GRU}[options.cell_type](
            columns,
            options.hidden_size,
            options.num_layers,
            batch_first=True,
            dropout=options.dropout if options.num_layers > 1 else 0.0,
            bidirectional=options.bidirectional,
        )
        self.width = options.hidden_size * (2 if options.bidirectional else 1)

    def forward(self, frames: torch.Tensor, lengths: torch.Tensor) -> Padded:
        packed = pack_padded_sequence(frames, lengths.cpu(), batch_first=True, enforce_sorted=False)
        outputs, _ = pad_packed_sequence(self.rnn(packed)[0], batch_first=True, total_length=frames.shape[1])
        return outputs, lengths


class CNNRNN(Sized):
    def __init__(self, columns: int, options: CNNRNNParams) -> None:
        super().__init__()
        self.cnn = StackedCNN(columns, options)
        self.rnn = RNN(self.cnn.width, options)
        self.width = self.rnn.width

    def forward(self, frames: torch.Tensor, lengths: torch.Tensor) -> Padded:
        return self.rnn(*self.cnn(frames, lengths))


class Transformer(Sized):
    """A convolution that pools frames (attention costs their square), positions, and self-attention, norm in front."""

    def __init__(self, columns: int, options: TransformerParams) -> None:
        super().__init__()
        self.width = options.hidden_size
        if self.width % options.num_heads:
            raise ModelError(f"encoder.hidden_size {self.width} is no multiple of num_heads {options.num_heads}")
        self.reader = Convolution(columns, self.width, 5, pool_size=options.pool_size, dropout=options.dropout)
        layer = nn.TransformerEncoderLayer(
            self.width,
            options.num_heads,
            options.transformer_output_size,
            options.dropout,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.blocks = nn.TransformerEncoder(
            layer, options.num_layers, norm=nn.LayerNorm(self.width), enable_nested_tensor=False
        )

    def forward(self, frames: torch.Tensor, lengths: torch.Tensor) -> Padded:
        frames, lengths = self.reader(frames, lengths)
        # sines and cosines of Vaswani et al., arXiv 1706.03762, section 3.5
        rates = torch.exp(torch.arange(0, self.width, 2, device=frames.device) * (-math.log(10000.0) / self.width))
        angles = torch.arange(frames.shape[1], device=frames.device)[:, None] * rates
        positions = torch.stack([angles.sin(), angles.cos()], dim=-1).reshape(len(angles), -1)[:, : self.width]
        frames = frames + positions
        padding = ~length_mask(lengths, frames.shape[1])
        return blank(self.blocks(frames, src_key_padding_mask=padding), lengths), lengths


ENCODERS: dict[str, type[Sized]] = {
    "stacked_cnn_2d": StackedCNN2D,
    "stacked_cnn": StackedCNN,
    "parallel_cnn": ParallelCNN,
    "stacked_parallel_cnn": StackedParallelCNN,
    "rnn": RNN,
    "cnnrnn": CNNRNN,
    "transformer": Transformer,
}


def build_encoder(name: str, columns: int, options: Any, *, planes: int = 1) -> Sized:
    """An encoder of that section with random weights from torch's global seed; `.width` is H.

    Raises:
        ModelError: when the options do not fit together.
    """
    encoder: Any = ENCODERS[name]
    return encoder(columns, options, planes) if encoder is StackedCNN2D else encoder(columns, options)


def _check_same_length(options: Any, *names: str) -> None:
    lengths = {name: len(getattr(options, name)) for name in names}
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"encoder.{name} {length}" for name, length in lengths.items())
        raise ModelError(f"one entry each for every layer is needed (1 pools nothing); got {found}")
