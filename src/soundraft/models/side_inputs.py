"""Inputs beside the audio: categories and numbers of a clip, as columns of floats and as a vector of the network.

A category is one column: its index from 1 in the training vocabulary, 0 when it is missing or was never seen. A number
is two: its z-score by the training clips, and 1 where it is missing (its z-score is then 0).
"""

import math
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from soundraft.models.base import ModelError

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
