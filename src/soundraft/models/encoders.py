"""Encoders that learn from scratch: padded frames `[B, T, F]` and their lengths → `[B, T', H]` and lengths.

Names and knobs are those that declarative configurations use. Letters as in `encoder_parts`.
"""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from soundraft.models.base import ModelError, length_mask
from soundraft.models.encoder_parts import (
    Convolution,
    Convolution2D,
    Padded,
    ParallelConvolutions,
    Sized,
    blank,
    positions,
)

RNNS = {"lstm": nn.LSTM, "gru": nn.GRU}


class StackedCNN(Sized):
    """Convolutions one after another, each with its own kernel and pooling (1 pools nothing)."""

    def __init__(
        self,
        columns: int,
        *,
        num_filters: int = 64,
        filter_sizes: Sequence[int] = (5, 3, 3, 3),
        pool_sizes: Sequence[int] = (2, 2, 2, 1),
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        _check_same_length(filter_sizes=filter_sizes, pool_sizes=pool_sizes)
        widths = [columns] + [num_filters] * len(filter_sizes)
        self.layers = nn.ModuleList(
            Convolution(width, num_filters, size, pool_size=pool_size, dropout=dropout)
            for width, size, pool_size in zip(widths, filter_sizes, pool_sizes, strict=False)
        )
        self.width = num_filters

    def forward(self, frames: torch.Tensor, lengths: torch.Tensor) -> Padded:
        for layer in self.layers:
            frames, lengths = layer(frames, lengths)
        return frames, lengths


class StackedCNN2D(Sized):
    """Convolutions over time and bands, one after another; then one over time sees all bands that are left.

    For columns that stand in the order of their frequencies. On few speakers it knows a new one's words better than
    convolutions over time alone, which learn each band by itself.

    Args:
        columns: F, of all planes together.
        planes: how many spectra stand side by side in the columns, such as those of several channels.
    """

    def __init__(
        self,
        columns: int,
        planes: int = 1,
        *,
        num_filters: Sequence[int] = (16, 32, 48, 64),
        filter_sizes: Sequence[int] = (3, 3, 3, 3),
        pool_sizes: Sequence[int] = (2, 2, 1, 1),
        band_pool_sizes: Sequence[int] = (2, 2, 2, 2),
        width: int = 96,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        _check_same_length(
            num_filters=num_filters, filter_sizes=filter_sizes, pool_sizes=pool_sizes, band_pool_sizes=band_pool_sizes
        )
        self.planes = planes
        widths, bands = [planes, *num_filters], columns // planes
        self.layers = nn.ModuleList()
        for place, size in enumerate(filter_sizes):
            self.layers.append(
                Convolution2D(
                    widths[place], widths[place + 1], size, pool_size=pool_sizes[place],
                    band_pool_size=band_pool_sizes[place], dropout=dropout,
                )
            )  # fmt: skip
            bands = -(-bands // band_pool_sizes[place])
        self.last = Convolution(bands * widths[-1], width, 3, pool_size=1, dropout=dropout)
        self.width = width

    def forward(self, frames: torch.Tensor, lengths: torch.Tensor) -> Padded:
        planes = blank(frames, lengths).unflatten(2, (self.planes, -1)).transpose(1, 2)
        planes = planes.contiguous(memory_format=torch.channels_last)  # a tenth faster
        for layer in self.layers:
            planes, lengths = layer(planes, lengths)
        return self.last(planes.transpose(1, 2).flatten(2), lengths)


class ParallelCNN(Sized):
    """One layer of convolutions side by side."""

    def __init__(
        self,
        columns: int,
        *,
        num_filters: int = 64,
        filter_sizes: Sequence[int] = (2, 3, 4, 5),
        pool_size: int = 1,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.layer = ParallelConvolutions(columns, num_filters, filter_sizes, pool_size=pool_size, dropout=dropout)
        self.width = num_filters * len(filter_sizes)

    def forward(self, frames: torch.Tensor, lengths: torch.Tensor) -> Padded:
        return self.layer(frames, lengths)


class StackedParallelCNN(Sized):
    """Layers of convolutions side by side, one after another."""

    def __init__(
        self,
        columns: int,
        *,
        num_stacks: int = 3,
        num_filters: int = 32,
        filter_sizes: Sequence[int] = (2, 3, 4, 5),
        pool_size: int = 2,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.width = num_filters * len(filter_sizes)
        widths = [columns] + [self.width] * (num_stacks - 1)
        self.layers = nn.ModuleList(
            ParallelConvolutions(width, num_filters, filter_sizes, pool_size=pool_size, dropout=dropout)
            for width in widths
        )

    def forward(self, frames: torch.Tensor, lengths: torch.Tensor) -> Padded:
        for layer in self.layers:
            frames, lengths = layer(frames, lengths)
        return frames, lengths


class RNN(Sized):
    """LSTM or GRU, both ways unless told otherwise."""

    def __init__(
        self,
        columns: int,
        *,
        cell_type: str = "lstm",
        num_layers: int = 2,
        hidden_size: int = 96,
        bidirectional: bool = True,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if cell_type not in RNNS:
            raise ModelError(f"encoder.cell_type: got {cell_type!r}; there are: {', '.join(RNNS)}")
        self.rnn = RNNS[cell_type](
            columns,
            hidden_size,
            num_layers,
            batch_first=True,
            dropout=dropout if num_layers > 1 else 0.0,
            bidirectional=bidirectional,
        )
        self.width = hidden_size * (2 if bidirectional else 1)

    def forward(self, frames: torch.Tensor, lengths: torch.Tensor) -> Padded:
        packed = pack_padded_sequence(frames, lengths.cpu(), batch_first=True, enforce_sorted=False)
        outputs, _ = pad_packed_sequence(self.rnn(packed)[0], batch_first=True, total_length=frames.shape[1])
        return outputs, lengths


class CNNRNN(Sized):
    """Stacked convolutions, then an RNN over what they leave."""

    def __init__(
        self,
        columns: int,
        *,
        num_filters: int = 96,
        filter_sizes: Sequence[int] = (5, 3),
        pool_sizes: Sequence[int] = (2, 2),
        cell_type: str = "lstm",
        num_layers: int = 1,
        hidden_size: int = 96,
        bidirectional: bool = True,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.cnn = StackedCNN(
            columns, num_filters=num_filters, filter_sizes=filter_sizes, pool_sizes=pool_sizes, dropout=dropout
        )
        self.rnn = RNN(
            num_filters,
            cell_type=cell_type,
            num_layers=num_layers,
            hidden_size=hidden_size,
            bidirectional=bidirectional,
            dropout=dropout,
        )
        self.width = self.rnn.width

    def forward(self, frames: torch.Tensor, lengths: torch.Tensor) -> Padded:
        return self.rnn(*self.cnn(frames, lengths))


class Transformer(Sized):
    """A convolution that pools frames, positions, and blocks of self-attention with the norm in front.

    Pooled by 4 first: attention costs the square of the frames.
    """

    def __init__(
        self,
        columns: int,
        *,
        num_layers: int = 2,
        hidden_size: int = 96,
        num_heads: int = 4,
        transformer_output_size: int = 192,
        pool_size: int = 4,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if hidden_size % num_heads:
            raise ModelError(f"encoder.hidden_size {hidden_size} is no multiple of encoder.num_heads {num_heads}")
        self.reader = Convolution(columns, hidden_size, 5, pool_size=pool_size, dropout=dropout)
        layer = nn.TransformerEncoderLayer(
            hidden_size,
            num_heads,
            transformer_output_size,
            dropout,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.blocks = nn.TransformerEncoder(
            layer, num_layers, norm=nn.LayerNorm(hidden_size), enable_nested_tensor=False
        )
        self.width = hidden_size

    def forward(self, frames: torch.Tensor, lengths: torch.Tensor) -> Padded:
        frames, lengths = self.reader(frames, lengths)
        frames = frames + positions(frames.shape[1], self.width, frames.device)
        padding = ~length_mask(lengths, frames.shape[1])
        return blank(self.blocks(frames, src_key_padding_mask=padding), lengths), lengths


ENCODERS: dict[str, type[Sized]] = {
    "stacked_cnn_2d": StackedCNN2D,
    "stacked_cnn": StackedCNN,
    "parallel_cnn": ParallelCNN,
    "stacked_parallel_cnn": StackedParallelCNN,
    "rnn": RNN,
    "cnnrnn": CNNRNN,
    "stacked_cnn_rnn": CNNRNN,
    "transformer": Transformer,
}


def options(name: str) -> dict[str, Any]:
    """The knobs of an encoder and their defaults.

    Raises:
        ModelError: when there is no such encoder.
    """
    if name not in ENCODERS:
        raise ModelError(f"encoder.type: got {name!r}; there are: {', '.join(ENCODERS)}")
    parameters = inspect.signature(ENCODERS[name].__init__).parameters.values()
    return {item.name: item.default for item in parameters if item.kind is item.KEYWORD_ONLY}


def build_encoder(name: str, columns: int, settings: Mapping[str, Any], *, planes: int = 1) -> Sized:
    """An encoder with random weights from torch's global seed; `.width` is H.

    Args:
        planes: how many spectra stand side by side in the columns; only convolutions over bands ask.

    Raises:
        ModelError: when there is no such encoder or knob.
    """
    known = options(name)
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise ModelError(f"encoder.{unknown[0]}: {name} has no such key; there are: {', '.join(sorted(known))}")
    encoder = ENCODERS[name]
    return encoder(columns, planes, **settings) if encoder is StackedCNN2D else encoder(columns, **settings)


def _check_same_length(**lists: Sequence[int]) -> None:
    if len({len(each) for each in lists.values()}) > 1:
        found = ", ".join(f"encoder.{name} {len(each)}" for name, each in lists.items())
        raise ModelError(f"one entry each for every layer is needed (1 pools nothing); got {found}")
