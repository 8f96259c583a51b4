"""The same value in every frame of every clip."""

import argparse
from pathlib import Path

import numpy as np


def add_cli_args(parser: argparse.ArgumentParser) -> None:
    help_text = "a feature and its value; repeatable"
    parser.add_argument("--const", type=_assignment, action="append", default=[], metavar="NAME=VALUE", help=help_text)


def produce(ecdc_path: Path, T: int, *, args: argparse.Namespace) -> dict[str, np.ndarray]:  # noqa: N803
    with np.errstate(over="ignore"):  # a value beyond float32 becomes infinite, and is refused as such
        return {name: np.full(T, value, np.float32) for name, value in args.const}


def _assignment(text: str) -> tuple[str, float]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    try:
        return name, float(value)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {value!r} is no number") from error
