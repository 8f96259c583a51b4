"""Parameters that stand in the file's name: foo_pitch_64.00_amp_.75.wav has pitch 64.0 and amp 0.75 in every frame.

A clip whose name holds none gets none: `--require` of the audit finds it.
"""

import argparse
import re
from pathlib import Path

import numpy as np

from soundraft.audio.ecdc import SUFFIX
from soundraft.parallel import BadClip
from soundraft.runtime import UserError

# The name is as short as can be, so that `_pitch_64_amp_3` holds two; the value ends where no letter or digit follows,
# so that `_take_12b` holds none.
DEFAULT_REGEX = (
    r"_(?P<name>[A-Za-z]\w*?)_(?P<value>-?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?)(?![^\W_]|\.\d)"
)  # fmt: skip


def add_cli_args(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--from-filename", action=argparse.BooleanOptionalAction, default=True,
        help="take parameters from file names; on wherever the producer is named",
    )  # fmt: skip
    help_text = f"pattern with the groups name and value, for each parameter ({DEFAULT_REGEX})"
    parser.add_argument(
        "--filename-regex", default=DEFAULT_REGEX, metavar="REGEX", help=help_text.replace("%", "%%")
    )  # fmt: skip


def init(args: argparse.Namespace) -> None:
    try:
        pattern = re.compile(args.filename_regex)
    except re.error as error:
        raise UserError(f"--filename-regex is no regular expression: {error}") from error
    if not {"name", "value"} <= pattern.groupindex.keys():
        raise UserError("--filename-regex needs the groups (?P<name>…) and (?P<value>…)")


def produce(ecdc_path: Path, T: int, *, args: argparse.Namespace) -> dict[str, np.ndarray]:  # noqa: N803
    if not args.from_filename:
        return {}
    values: dict[str, float] = {}
    for match in re.finditer(args.filename_regex, ecdc_path.name.removesuffix(SUFFIX)):
        name, value = match["name"], _number(match["value"])
        if values.setdefault(name, value) != value:
            raise BadClip(f"{name} stands twice in the name, as {values[name]:g} and as {value:g}")
    return {name: np.full(T, value, np.float32) for name, value in values.items()}


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise BadClip(f"{text!r} in the name is no number") from error
