"""The network of a classifier: features are normalised, encoded, pooled and joined with side inputs → logits.

A side input is a category or a number of a clip. A category is one column: its index from 1 in the training vocabulary,
0 when it is missing or unknown. A number is two: its z-score by the training clips, and 1 where it is missing (its
z-score is then 0).

Letters: B clips, T frames, F columns of a clip's features, S columns of its side inputs, H width, C labels.
"""

import math
import numbers
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from pydantic import ConfigDict, Field
from torch import nn

from soundraft.audio.loudness import NEPER_DB
from soundraft.audio.spectra import Spectra
from soundraft.models.base import ModelError, pad
from soundraft.models.encoders import Sized, WaveFilters, blank, build_encoder
from soundraft.params.base import Positive, Section
from soundraft.params.classification import EncoderChoice

WIDEST_EMBEDDING = 50


class SideInput(Section):
    """A category with its vocabulary, or a number with mean and deviation, of the training clips."""

    model_config = ConfigDict(allow_inf_nan=False)

    name: str
    type: Literal["category", "number"]
    vocabulary: list[str] = Field(default_factory=list)
    mean: float = 0.0
    std: Positive = 1.0

    @property
    def columns(self) -> int:
        return 1 if self.type == "category" else 2

    @property
    def width(self) -> int:
        """Of its part of the vector."""
        return min(WIDEST_EMBEDDING, len(self.vocabulary)) if self.type == "category" else 2

    def encode(self, value: Any) -> list[float]:
        """A raw value → its columns; `None`, NaN and an empty text are missing; ModelError for no finite number."""
        if self.type == "category":
            known = {_word(word): index for index, word in enumerate(self.vocabulary, start=1)}
            return [0.0 if _missing(value) else float(known.get(_word(value), 0))]
        if _missing(value):
            return [0.0, 1.0]
        return [(_number(self.name, value) - self.mean) / self.std, 0.0]


def fit_side_input(name: str, kind: str, values: Sequence[Any]) -> SideInput:
    """Learn vocabulary, or mean and deviation, from the training clips' raw values; ModelError when there is none."""
    present = [value for value in values if not _missing(value)]
    if not present:
        raise ModelError(f"input {name}: no training clip has a value")
    if kind == "category":
        return SideInput(name=name, type="category", vocabulary=sorted({_word(value) for value in present}))
    found = torch.tensor([_number(name, value) for value in present], dtype=torch.float64)
    # of equal numbers rounding may leave a deviation of 1e-17, by which any other number would be divided
    spread = float(found.std(correction=0)) if len(found.unique()) > 1 else 1.0
    return SideInput(name=name, type="number", mean=float(found.mean()), std=spread)


def is_number_or_missing(value: Any) -> bool:
    try:
        return _missing(value) or math.isfinite(_number("", value))
    except ModelError:
        return False


def encode_row(inputs: Sequence[SideInput], row: Mapping[str, Any]) -> torch.Tensor:
    """The columns `[S]` of one clip; ModelError when the row lacks an input, or a number is none."""
    lacking = [item.name for item in inputs if item.name not in row]
    if lacking:
        raise ModelError(f"input {lacking[0]} is not in the row; it has: {', '.join(sorted(row)) or 'nothing'}")
    return torch.tensor([value for item in inputs for value in item.encode(row[item.name])], dtype=torch.float32)


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
            if item.type == "category":
                table = next(tables)
                part = torch.cat([table.mean(0, keepdim=True), table])[part[:, 0].long()]
            parts.append(part)
        return torch.cat(parts, dim=1) if parts else columns.new_zeros(len(columns), 0)


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
        number = math.nan
    if not math.isfinite(number):
        raise ModelError(f"input {name}: {value!r} is no number")
    return number


# Frames of a clip → one vector, over its real frames alone; and a vector of statistics of the features themselves.
# Statistics pooling: Snyder et al., x-vectors, ICASSP 2018; attention: Lin et al., arXiv 1703.03130, with one head.


MIXED = ("statistics", "attention", "max")  # the poolings of an ensemble's members in turn
VARIANCE_FLOOR = 1e-6  # keeps the gradient of a deviation finite where a clip is constant
CEPSTRA = 20
WIDEST = 5.0  # standard deviations of the training clips; what lies beyond is cut to it


class Pooling(nn.Module):
    def __init__(self, kind: str, columns: int) -> None:
        super().__init__()
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
    return blank(frames, lengths).sum(1) / lengths[:, None]


def deviation(frames: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Standard deviation over time, `[B, T, H]` → `[B, H]`."""
    centred = frames - mean(frames, lengths)[:, None]
    return (mean(centred**2, lengths) + VARIANCE_FLOOR).sqrt()


class InputStatistics(nn.Module):
    """Statistics of features `[B, T, F]`, z-scored over the training clips: `[B, width]`.

    Mean and deviation of every bin and of the first cepstra, and how far both move from frame to frame. On few clips
    these carry a task that a network cannot yet learn from frames.
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
        """From the training clips' `measure`, `[clips, width]`."""
        self.centre.copy_(raw.mean(0))
        self.spread.copy_(usable(raw.std(0, correction=0)))

    def measure(self, frames: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        values = torch.cat([frames, frames @ self.cosines], dim=-1)
        steps = (values[:, 1:] - values[:, :-1]).abs()
        moved = blank(steps, lengths - 1).sum(1) / (lengths - 1).clamp(min=1)[:, None]
        return torch.cat([mean(values, lengths), deviation(values, lengths), moved], dim=-1)

    def forward(self, frames: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        return ((self.measure(frames, lengths) - self.centre) / self.spread).clamp(-WIDEST, WIDEST)


def usable(spread: torch.Tensor) -> torch.Tensor:
    """Standard deviations `[columns]`, but 1 where a column is constant, so that it becomes 0 and stays finite."""
    return torch.where(spread > 1e-5, spread, torch.ones_like(spread))


# Networks.


MEASURED_CLIPS = 16  # whose statistics are taken at once


class SpectraFront:
    """Features that `Spectra` computes: samples `[N]`, or `[N, C]` of C channels → `[T, F]`, or `[N]`.

    Attributes:
        columns: F; 0: the features are the samples.
        decibels: of one unit, where every column is the level of a band; else 0.
        bands: columns of a channel that stand in the order of their frequencies; 0: they do not.
    """

    def __init__(self, spectra: Spectra, channels: int) -> None:
        self.spectra = spectra
        kind = spectra.params.type
        self.sample_rate_hz = spectra.params.sample_rate_hz
        self.columns = 0 if kind == "raw" else spectra.columns(channels)
        self.planes = channels * (2 if kind == "stft_phase" else 1)  # spectra side by side
        self.decibels = {"fbank": NEPER_DB, "mel": 1.0}.get(kind, 0.0)
        self.bands = spectra.columns() if kind in ("fbank", "mel", "stft", "group_delay") else 0

    def __call__(self, samples: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(self.spectra(samples)))

    def depends_on(self) -> dict[str, Any]:
        return self.spectra.depends()


class SpectraReader(Sized):
    """Padded features `[B, T, F]`, or raw samples `[B, N]`, and lengths → a vector a clip, `[B, width]`."""

    def __init__(self, name: str, options: Any, front: SpectraFront, *, pooling: str) -> None:
        super().__init__()
        spectra, columns = front.spectra, max(1, front.columns)
        self.of_levels = front.decibels > 0  # columns are levels of bands: they keep one scale
        self.mean: torch.Tensor
        self.std: torch.Tensor
        self.register_buffer("mean", torch.zeros(columns))
        self.register_buffer("std", torch.ones(columns))
        self.waves = None
        if front.columns == 0:
            self.waves = WaveFilters(spectra.params.num_filter_bands, spectra.window, spectra.shift)
        bands = spectra.params.num_filter_bands if self.waves else columns
        self.encoder = build_encoder(name, bands, options, planes=front.planes)
        self.pooling = Pooling(pooling, self.encoder.width)
        self.statistics = InputStatistics(columns) if pooling == "statistics" and not self.waves else None
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


def log_probabilities(logits: torch.Tensor, *, sets: bool) -> torch.Tensor:
    """Logits `[B, C]` → logarithms of the labels' probabilities `[B, C]`; of sets those of yes and no, `[B, C, 2]`."""
    if sets:
        logits = torch.stack([logits, torch.zeros_like(logits)], dim=-1)
    return torch.log_softmax(logits.float(), dim=-1)


class ClassifierNetwork(nn.Module):
    def __init__(
        self, reader: Sized, side: SideEncoder, options: EncoderChoice, classes: int, *, sets: bool = False
    ) -> None:
        super().__init__()
        self.reader = reader
        self.sets = sets
        self.side = side
        width, layers = reader.width + side.width, []
        for _ in range(options.num_fc_layers):
            dropout, linear = nn.Dropout(options.fc_dropout), nn.Linear(width, options.output_size)
            width = options.output_size
            layers.append(nn.Sequential(dropout, linear, nn.LayerNorm(width), nn.GELU()))
        self.layers = nn.Sequential(*layers)
        self.output = nn.Sequential(nn.Dropout(options.fc_dropout), nn.Linear(width, classes))

    def forward(self, features: Sequence[torch.Tensor], side: torch.Tensor) -> torch.Tensor:
        """Features of each clip and side columns `[B, S]` → as `log_probabilities`."""
        vector = self.reader(features)
        vector = torch.cat([vector, self.side(side.to(vector.device))], dim=-1)
        return log_probabilities(self.output(self.layers(vector)), sets=self.sets)


class Ensemble(nn.Module):
    """Several networks that learn the same clips from different initial weights; their probabilities are averaged.

    Lakshminarayanan et al., arXiv 1612.01474. What is learned are the averaged logarithms, so each member learns alone.
    """

    def __init__(self, members: Sequence[ClassifierNetwork]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, features: Sequence[torch.Tensor], side: torch.Tensor, *, apart: bool = False) -> torch.Tensor:
        """As of one member: the mean probabilities, or, `apart`, the mean logarithms, which do not sum to 1."""
        outputs = torch.stack([member(features, side) for member in self.members])
        return outputs.mean(0) if apart else outputs.logsumexp(0) - math.log(len(outputs))
