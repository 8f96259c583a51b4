"""params.yaml: read and validated, with every problem named at once: its key, what was given and what is allowed."""

import difflib
import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from soundraft import files, runtime
from soundraft.params.base import Count, Natural, Section, fields_of
from soundraft.params.sections import Params
from soundraft.runtime import UserError

PARAMS_PATH = Path("params.yaml")
RENAMED = {
    "train.masking.stripes": "train.masking.masks",
    "classification.augment.time_stripes": "classification.augment.time_masks",
    "classification.augment.frequency_stripes": "classification.augment.frequency_masks",
}
NAMED = ("", "train.", "reward.", "model.")
SomeSection = TypeVar("SomeSection", bound=Section)


class ParamsError(UserError):
    """params.yaml cannot be used; the message lists every problem."""


def problems_in(source: object, problems: Sequence[str]) -> ParamsError:
    """The error that names every problem of a file, each on a line."""
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return ParamsError("\n".join([f"{count} in {source}", *(f"  {line}" for line in problems)]))


def load_params(path: Path = PARAMS_PATH, *, listed_cycles: int | None = None) -> Params:
    """Read and validate params.yaml.

    Args:
        listed_cycles: how many cycles cycles.yaml has; checked when given.

    Raises:
        ParamsError: naming every problem.
        UserError: when it is no YAML.
    """
    given = files.read_yaml(path)
    params, problems = _validated(given)
    train = given.get("train") if isinstance(given, dict) else None
    cycles = train.get("cycles") if isinstance(train, dict) else None
    if listed_cycles is not None and isinstance(cycles, int) and cycles > listed_cycles:
        problems.append(f"train.cycles: got {cycles}; cycles.yaml lists {listed_cycles} cycles: add more there")
    if params is None or problems:
        raise problems_in(path, problems)
    return params


@functools.cache
def defaults() -> Params:
    """The values of the repository's params.yaml: what holds where no option is given."""
    return load_params(runtime.shipped(str(PARAMS_PATH)))


def checked_section(section: type[SomeSection], **values: Any) -> SomeSection:
    """A section from values that do not stand in params.yaml.

    Raises:
        ParamsError: naming every problem.
    """
    try:
        return section(**values)
    except ValidationError as error:
        raise ParamsError("; ".join(explain(item) for item in error.errors())) from error


_KEYWORDS: dict[str, tuple[Any, str]] = {
    "limit": (Count, "a whole number from 1, or None for all"),
    "k": (Count, "a whole number of folds"),
    "seed": (Natural, "a whole number from 0"),
    "output_dir": (str | Path, "a folder"),
    "model_name": (str | Path, "a folder or a hub id"),
    "task": (str, "the name of a task"),
    "params": (Mapping[str, Any], "a dict by key of params.yaml"),
    "columns": (Mapping[str, str], "a dict of names of columns"),
}


def check_keywords(**given: Any) -> None:
    """Raise ParamsError for a keyword of Python of another type than its own; `None` is none."""
    for name, value in given.items():
        kind, words = _KEYWORDS[name]
        try:
            if value is not None:
                TypeAdapter(kind, config=ConfigDict(strict=True)).validate_python(value)
        except ValidationError as error:
            raise ParamsError(f"{name}: got {value!r}; allowed: {words}") from error


def changed(params: Params, values: Mapping[str, Any]) -> Params:
    """The same params with other values under some dotted keys, such as `{"train.cycles": 6}`.

    Raises:
        ParamsError: naming every problem.
    """
    tree = params.model_dump()
    unknown = values.keys() - _keys()
    for key in values.keys() - unknown:
        *sections, last = key.split(".")
        functools.reduce(dict.__getitem__, sections, tree)[last] = values[key]
    result, problems = _validated(tree)
    problems = [f"{key}: unknown key{_nearest(key)}" for key in sorted(unknown)] + problems
    if result is None or problems:
        raise ParamsError("; ".join(problems))
    return result


def by_key(options: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Options by their key in params.yaml: `cycles` is `train.cycles`, `wer_threshold` is `reward.wer_threshold`.

    A name is a whole key, or that of a key in one of `NAMED`; options that are `None` are left out.

    Raises:
        ParamsError: for a key that is given twice.
    """
    found: dict[str, Any] = {}
    for name, value in options:
        if value is not None:
            key = next((prefix + name for prefix in NAMED if prefix + name in _keys()), name)
            if key in found:
                raise ParamsError(f"{key} is given twice, as {found[key]!r} and as {value!r}")
            found[key] = value
    return found


def explain(item: Any) -> str:
    """One line for one problem that pydantic found: where, what was given, what is allowed."""
    key, given = ".".join(str(part) for part in item["loc"]), item["input"]
    message = item["msg"].removeprefix("Value error, ").removeprefix("Input should be ").removeprefix("a ")
    if item["type"] == "extra_forbidden":
        message = f"unknown key{_nearest(key)}"
    elif item["type"] == "missing":
        message = "missing"
    elif item["type"] != "value_error":
        message = f"got {given!r}; allowed: {message}{_likely_meant(given, item)}"
    return f"{key}: {message}" if key else message


def _likely_meant(given: Any, item: Any) -> str:
    """What the user probably wants to write, in brackets."""
    if item["type"] == "list_type" and isinstance(given, str | dict):
        pairs = [given] if isinstance(given, str) else [f"{name}={value}" for name, value in given.items()]
        return f" (a list: [{', '.join(pairs)}])"
    if item["type"] == "string_type" and isinstance(given, bool):
        return " (YAML reads yes, no, on and off as true and false: write them in quotation marks)"
    limits = item.get("ctx", {})
    if 1 in (limits.get("le"), limits.get("lt")) and 1 < float(given) <= 100:
        return f" (a share: for {float(given):g} % write {float(given) / 100:g})"
    return ""


def _validated(tree: Any) -> tuple[Params | None, list[str]]:
    try:
        return Params.model_validate(tree), []
    except ValidationError as error:
        return None, [explain(item) for item in error.errors()]


@functools.cache
def _keys() -> frozenset[str]:
    return frozenset(key for key, _ in fields_of(Params))


def _nearest(key: str) -> str:
    return f"; renamed to {RENAMED[key]}" if key in RENAMED else nearest(key, _keys())


def nearest(key: str, known: Iterable[str]) -> str:
    """The known key that is likely meant, by all of it or by its last part; else nothing."""
    name, names = key.rsplit(".", 1)[-1], sorted(known)
    close = difflib.get_close_matches(key, names, n=1, cutoff=0.75) or [
        other for other in names if difflib.SequenceMatcher(None, other.rsplit(".", 1)[-1], name).ratio() > 0.75
    ]
    return f"; did you mean {close[0]}?" if close else ""
