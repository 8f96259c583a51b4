"""Keys of params.yaml as options: name, type, choices, range, default and help are those of the section's field."""

import argparse
import functools
from collections.abc import Callable
from typing import Annotated, Any, get_args, get_origin

import yaml
from pydantic import TypeAdapter, ValidationError

from soundraft.params import by_key, changed, defaults, explain
from soundraft.params.base import about, fields_of, is_section
from soundraft.params.sections import Params

FIELDS = {key: field for key, field in fields_of(Params) if not is_section(field)}
Options = argparse._ActionsContainer  # a parser, or a group of its options


def add_keys(options: Options, *keys: str) -> None:
    for key in keys:
        add_key(options, key)


def add_key(
    options: Options, key: str, *, flag: str = "", dest: str = "", text: str = "", default: Any = None, comma: str = ""
) -> None:
    """An option for a key of params.yaml; where it is not given its value is `None`.

    Args:
        flag: its name, where that is not the last part of the key.
        dest: its name among the parsed options, where that is not the key.
        text: its help, where it means more or less than in params.yaml.
        default: as the help shows it, where it is not that of params.yaml.
        comma: what separates the items of a list; without it they are words of their own.
    """
    field = FIELDS[key]
    kind, flag = field.annotation, flag or f"--{key.rsplit('.', 1)[-1].replace('_', '-')}"
    form: dict[str, Any] = {"metavar": "A,B,C" if comma else flag[2:].upper().replace("-", "_")}
    if kind is bool:
        form = {"action": argparse.BooleanOptionalAction}
    elif get_origin(kind) is list:
        form |= {"type": _reader(get_args(kind)[0], comma), "nargs": None if comma else "+"}
    else:
        form["type"] = _reader(Annotated[kind, field])
    value = functools.reduce(getattr, key.split("."), defaults()) if default is None else default
    shown = (comma or " ").join(map(str, value)) if isinstance(value, list) else str(value)
    help_text = (text or about(field)) + (f" (default: {shown})" if shown and value is not None else "")
    options.add_argument(flag, dest=dest or key, default=None, help=help_text.replace("%", "%%"), **form)


def add_set(options: Options) -> None:
    """`--set KEY=VALUE`, for the keys that have no option."""
    options.add_argument(
        "--set", nargs="+", default=[], type=_setting, action="extend", metavar="KEY=VALUE", dest="settings",
        help="Any other key of params.yaml, such as train.rounds_per_cycle=4.",
    )  # fmt: skip


def keys_given(given: argparse.Namespace) -> dict[str, Any]:
    """The keys of params.yaml that were given, and their values.

    Raises:
        ParamsError: when one is given twice.
    """
    named = [(key, value) for key, value in vars(given).items() if key in FIELDS]
    return by_key([*named, *getattr(given, "settings", ())])


def params_given(given: argparse.Namespace) -> Params:
    """params.yaml with the keys that were given.

    Raises:
        ParamsError: naming every problem.
    """
    return changed(defaults(), keys_given(given))


def _reader(kind: Any, comma: str = "") -> Callable[[str], Any]:
    """What reads an option's text; argparse names the option when the field does not allow it."""

    def read(text: str) -> Any:
        try:
            if comma:
                return [TypeAdapter(kind).validate_strings(word.strip()) for word in text.split(comma) if word.strip()]
            return TypeAdapter(kind).validate_strings(text)
        except ValidationError as error:
            raise argparse.ArgumentTypeError("; ".join(explain(item) for item in error.errors())) from error

    return read


def _setting(text: str) -> tuple[str, Any]:
    key, sign, value = text.partition("=")
    if not (key and sign and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE, such as train.rounds_per_cycle=4")
    try:
        return key, yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise argparse.ArgumentTypeError(f"{value!r} cannot be read as a value") from error
