"""Inputs beside the audio: categories and numbers of a clip, as columns of floats and as a vector of the network.

A category is one column: its index from 1 in the training vocabulary, 0 when it is missing or was never seen. A number
is two: its z-score by the training clips, and 1 where it is missing (its z-score is then 0).
"""

import math
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import torch
from torch import nn

from soundraft.models.base import ModelError, pad
from soundraft.models.encoders import Sized, WaveFilters, blank, build_encoder

TYPES = ("category", "number")
WIDEST_EMBEDDING = 50


@dataclass(frozen=True)
class SideInput:
    """One input, with what is known of it from the training clips.

    Attributes:
        type: category or number.
        vocabulary: of a category, sorted.
        mean, std: of a number.
    """

    name: str
    type: str
    vocabulary: tuple[str, ...] = ()
    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "vocabulary", tuple(self.vocabulary))
        if self.type not in TYPES:
            raise ModelError(f"input {self.name}: type is {self.type!r}; beside audio there are: {', '.join(TYPES)}")
        if self.type == "category" and not self.vocabulary:
            raise ModelError(f"input {self.name}: no training clip has a value")
        if not (math.isfinite(self.mean) and math.isfinite(self.std) and self.std > 0):
            raise ModelError(f"input {self.name}: mean {self.mean} and std {self.std} are no z-score")

    @property
    def columns(self) -> int:
        return 1 if self.type == "category" else 2

    @property
    def width(self) -> int:
        """Of its part of the vector."""
        return min(WIDEST_EMBEDDING, len(self.vocabulary)) if self.type == "category" else 2

    def encode(self, value: Any) -> list[float]:
        """A raw value → its columns; `None`, NaN and an empty text are missing.

        Raises:
            ModelError: when a number is none, or infinite.
        """
        if self.type == "category":
            known = {_word(word): index for index, word in enumerate(self.vocabulary, start=1)}
            return [0.0 if _missing(value) else float(known.get(_word(value), 0))]
        if _missing(value):
            return [0.0, 1.0]
        return [(_number(self.name, value) - self.mean) / self.std, 0.0]


def fit_side_input(name: str, kind: str, values: Sequence[Any]) -> SideInput:
    """Learn vocabulary, or mean and deviation, from the training clips' raw values.

    Raises:
        ModelError: when there is no value at all, a number is none, or the type is unknown.
    """
    present = [value for value in values if not _missing(value)]
    if kind == "category":
        return SideInput(name, kind, vocabulary=tuple(sorted({_word(value) for value in present})))
    if kind != "number":
        return SideInput(name, kind)  # says which types there are
    if not present:
        raise ModelError(f"input {name}: no training clip has a value")
    numbers = torch.tensor([_number(name, value) for value in present], dtype=torch.float64)
    # of equal numbers rounding may leave a deviation of 1e-17, by which any other number would be divided
    spread = float(numbers.std(correction=0)) if len(numbers.unique()) > 1 else 1.0
    return SideInput(name, kind, mean=float(numbers.mean()), std=spread)


def is_number_or_missing(value: Any) -> bool:
    """Whether a raw value can be that of an input of type number."""
    try:
        return _missing(value) or math.isfinite(_number("", value))
    except ModelError:
        return False


def encode_row(inputs: Sequence[SideInput], row: Mapping[str, Any]) -> torch.Tensor:
    """The columns `[S]` of one clip, all inputs side by side.

    Raises:
        ModelError: when the row lacks an input (missing is `None`), or a number is none.
    """
    lacking = [item.name for item in inputs if item.name not in row]
    if lacking:
        raise ModelError(f"input {lacking[0]} is not in the row; it has: {', '.join(sorted(row)) or 'nothing'}")
    return torch.tensor([value for item in inputs for value in item.encode(row[item.name])], dtype=torch.float32)


def with_columns(features: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Features `[T, F]` or samples `[N]`, and side columns `[S]` → `[T, F + S]`, where these are constant over time."""
    frames = features[:, None] if features.ndim == 1 else features
    return torch.cat([frames, columns.expand(len(frames), -1)], dim=1) if len(columns) else features


class SideEncoder(nn.Module):
    """Columns `[B, S]` → `[B, width]`. An unknown category is the mean of the known ones, so nothing random."""

    def __init__(self, inputs: Sequence[SideInput]) -> None:
        super().__init__()
        self.inputs = list(inputs)
        self.columns = sum(item.columns for item in inputs)
        self.width = sum(item.width for item in inputs)
        self.tables = nn.ParameterList(
            torch.randn(len(item.vocabulary), item.width) for item in inputs if item.type == "category"
        )

    def forward(self, columns: torch.Tensor) -> torch.Tensor:
        parts, start, tables = [], 0, iter(self.tables)
        for item in self.inputs:
            part = columns[:, start : start + item.columns]
            start += item.columns
            parts.append(_embed(next(tables), part[:, 0].long()) if item.type == "category" else part)
        return torch.cat(parts, dim=1) if parts else columns.new_zeros(len(columns), 0)


def to_json(inputs: Sequence[SideInput]) -> list[dict[str, Any]]:
    return [asdict(item) for item in inputs]


def _embed(weight: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    return torch.cat([weight.mean(0, keepdim=True), weight])[index]


def _missing(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, numbers.Real) and math.isnan(value))


def _word(value: Any) -> str:
    """A category as text; 1.0, as tables write the number 1 in a column with empty cells, is 1."""
    text = str(value)
    whole, _, rest = text.partition(".")
    return whole if rest and not rest.strip("0") and whole.removeprefix("-").isdecimal() else text


def _number(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ModelError(f"input {name}: {value!r} is no number") from None
    if math.isnan(number):
        raise ModelError(f"input {name}: {value!r} is no number")
    if math.isinf(number):
        raise ModelError(f"input {name}: {value!r} is infinite")
    return number


# Frames of a clip → one vector, over its real frames alone; and a vector of statistics of the features themselves.
#
# Letters as in `encoder_parts`. Statistics pooling: Snyder et al., x-vectors, ICASSP 2018; attention: Lin et al., arXiv
# 1703.03130, with one head.


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
        self.spread.copy_(usable(raw.std(0, correction=0)))

    def measure(self, frames: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """The statistics as they are, `[B, width]`."""
        values = torch.cat([frames, frames @ self.cosines], dim=-1)
        steps = (values[:, 1:] - values[:, :-1]).abs()
        moved = blank(steps, lengths - 1).sum(1) / (lengths - 1).clamp(min=1)[:, None]
        return torch.cat([mean(values, lengths), deviation(values, lengths), moved], dim=-1)

    def forward(self, frames: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        return ((self.measure(frames, lengths) - self.centre) / self.spread).clamp(-WIDEST, WIDEST)


def usable(spread: torch.Tensor) -> torch.Tensor:
    """Standard deviations `[columns]`, but 1 where a column is constant, so that it becomes 0 and stays finite."""
    return torch.where(spread > 1e-5, spread, torch.ones_like(spread))


# The network of a classifier: features are normalised, encoded, pooled and joined with side inputs → logits.
#
# Letters: B clips, T frames, F columns of a clip's features, S columns of its side inputs, C labels.


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
