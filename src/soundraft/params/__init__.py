"""params.yaml: read, validated, with every problem named. No key has a default: the file holds every number.

`load_params` reports all problems at once, each with its dotted key, what was given and what is allowed.
"""

import difflib
import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from soundraft.params.base import Section
from soundraft.params.sections import Params
from soundraft.runtime import UserError

PARAMS_PATH = Path("params.yaml")
RENAMED = {
    "train.masking.stripes": "train.masking.masks",
    "classification.augment.time_stripes": "classification.augment.time_masks",
    "classification.augment.frequency_stripes": "classification.augment.frequency_masks",
}
SomeSection = TypeVar("SomeSection", bound=Section)


class ParamsError(UserError):
    """params.yaml cannot be used; the message lists every problem."""


def load_params(path: Path = PARAMS_PATH, *, listed_cycles: int | None = None) -> Params:
    """Read and validate params.yaml.

    Args:
        listed_cycles: how many cycles cycles.yaml has; checked when given.

    Raises:
        ParamsError: naming every problem.
    """
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ParamsError(f"cannot read {path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise ParamsError(f"{path} is not YAML: {error}") from error
    params, problems = None, []
    try:
        params = Params.model_validate(given)
    except ValidationError as error:
        problems = [explain(item) for item in error.errors()]
    problems += _too_many_cycles(given, listed_cycles)
    if params is None or problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise ParamsError("\n".join([f"{count} in {path}", *(f"  {line}" for line in problems)]))
    return params


@functools.cache
def defaults() -> Params:
    """The numbers of the repository's params.yaml: what is taken where no option is given."""
    return load_params(Path(__file__).resolve().parents[3] / PARAMS_PATH)


def checked_section(section: type[SomeSection], **values: Any) -> SomeSection:
    """A section from values that do not stand in params.yaml.

    Raises:
        ParamsError: naming every problem.
    """
    try:
        return section(**values)
    except ValidationError as error:
        raise ParamsError("; ".join(explain(item) for item in error.errors())) from error


def changed(params: Params, values: Mapping[str, Any]) -> Params:
    """The same params with other values under some dotted keys, such as `{"train.cycles": 6}`.

    Raises:
        ParamsError: naming every problem.
    """
    tree = params.model_dump()
    known = set(_all_keys(Params))
    problems = [f"{key}: unknown key{_nearest(key)}" for key in values if key not in known]
    for key in values.keys() & known:
        *sections, last = key.split(".")
        place = tree
        for section in sections:
            place = place[section]
        place[last] = values[key]
    try:
        result = Params.model_validate(tree)
    except ValidationError as error:
        problems += [explain(item) for item in error.errors()]
    if problems:
        raise ParamsError("; ".join(problems))
    return result


def _too_many_cycles(given: Any, listed: int | None) -> list[str]:
    train = given.get("train") if isinstance(given, dict) else None
    cycles = train.get("cycles") if isinstance(train, dict) else None
    if listed is None or not isinstance(cycles, int) or cycles <= listed:
        return []
    return [f"train.cycles: got {cycles}; cycles.yaml lists {listed} cycles: add more there"]


def explain(item: Any) -> str:
    """One line for one problem: where, what was given, what is allowed."""
    key = ".".join(str(part) for part in item["loc"])
    given = item["input"]
    if item["type"] == "extra_forbidden":
        return f"{key}: unknown key{_nearest(key)}"
    if item["type"] == "missing":
        return f"{key}: missing"
    message = item["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if item["type"] == "value_error":
        return f"{key}: {message}" if key else message
    hint = ""
    if isinstance(given, str) and re.fullmatch(r"[-+]?\d+e[-+]?\d+", given.strip(), re.IGNORECASE):
        mantissa, exponent = re.split("e", given.strip(), flags=re.IGNORECASE)
        hint = f" (YAML reads {given} as text: write {mantissa}.0e{exponent})"
    return f"{key}: got {given!r}; allowed: {message.removeprefix('a ')}{hint}"


def _nearest(key: str) -> str:
    if key in RENAMED:
        return f"; renamed to {RENAMED[key]}"
    known = _all_keys(Params)
    name = key.rsplit(".", 1)[-1]
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.75) or [
        other for other in known if difflib.SequenceMatcher(None, other.rsplit(".", 1)[-1], name).ratio() > 0.75
    ]
    return f"; did you mean {close[0]}?" if close else ""


def _all_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    keys: list[str] = []
    for name, field in model.model_fields.items():
        keys.append(prefix + name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            keys += _all_keys(field.annotation, f"{prefix}{name}.")
    return keys
