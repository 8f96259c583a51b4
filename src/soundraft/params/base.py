"""What all sections of params.yaml are made of."""

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

Natural = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
BelowOne = Annotated[float, Field(ge=0, lt=1)]
NotNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Text = Annotated[str, Field(min_length=1)]


def _percent(value: float) -> float:
    if value < 1:
        share = f" (percent: for a share of {value:g} write {100 * value:g})" if value > 0 else ""
        raise ValueError(f"got {value:g}; allowed: 1 to 100{share}")
    return value


Percent = Annotated[float, Field(le=100), AfterValidator(_percent)]
LeastMost = Annotated[list[float], Field(min_length=2, max_length=2)]
Revision = Annotated[
    str, Field(description="Commit, tag or branch of a hub id; empty: the latest. A commit makes the run repeatable.")
]


def _pair(text: str) -> str:
    if not re.fullmatch("[^=]+=[^=]+", text):
        raise ValueError(f"got {text!r}; allowed: two words with = between them")
    return text


Pair = Annotated[str, AfterValidator(_pair)]


class Section(BaseModel):
    """A part of params.yaml. No key has a default: the file holds every number."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    def leaves(self, *below: str) -> dict[str, Any]:
        """Leaf keys, with dots, and their values; only those of these keys and sections, where some are given."""
        starts = tuple(f"{key}." for key in below) or ("",)
        return {leaf: value for leaf, value in _leaves(self, "") if f"{leaf}.".startswith(starts)}


def fields_of(section: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every key below a section with dots, sections before their keys, and its field."""
    for name, field in section.model_fields.items():
        yield prefix + name, field
        if is_section(field):
            yield from fields_of(field.annotation, f"{prefix}{name}.")  # type: ignore[arg-type]


def is_section(field: FieldInfo) -> bool:
    return isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)


def about(field: FieldInfo) -> str:
    """What a key means and what it may be: its comment in params.yaml, and its help on the command line."""
    text = field.description or ""
    values = [str(value) for value in _choices(field.annotation)]
    if not all(value in text for value in values):
        return f"{text} Allowed: {', '.join(values)}."
    return f"{text} {_range(field)}".rstrip()


def _choices(annotation: Any) -> Sequence[Any]:
    """The values of a Literal, or of a list of them."""
    if get_origin(annotation) is list:
        annotation = get_args(annotation)[0]
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def _range(field: FieldInfo) -> str:
    """Such as `0 to 1.` or `Above 0, or null.`; empty where a number has no limits."""
    optional = type(None) in get_args(field.annotation)
    inner = getattr(get_args(field.annotation)[0], "__metadata__", ()) if optional else ()
    metadata = [*field.metadata, *(each for item in inner for each in item.metadata)]
    limit = {name: getattr(item, name) for item in metadata for name in ("ge", "gt", "le", "lt") if hasattr(item, name)}
    words = {"ge": "from", "gt": "above", "le": "up to", "lt": "below"}
    text = ", ".join(f"{words[name]} {value}" for name, value in limit.items()) + (", or null" if optional else "")
    if limit.keys() == {"ge", "le"}:
        text = text.removeprefix("from ").replace(", up to", " to")
    return f"{text[0].upper()}{text[1:]}." if limit else ""


def flat(values: Any, prefix: str = "") -> dict[str, Any]:
    """The values of a tree of dicts by their keys with dots."""
    if not isinstance(values, dict):
        return {prefix: values}
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{prefix}.{key}" if prefix else str(key))
    return found


def _leaves(section: BaseModel, prefix: str) -> Iterator[tuple[str, Any]]:
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
