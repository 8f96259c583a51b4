"""A straight line over the clip, from its first frame to its last."""

import argparse
from pathlib import Path

import numpy as np


def add_cli_args(parser: argparse.ArgumentParser) -> None:
    help_text = "a feature, its value in the first frame and in the last; repeatable"
    parser.add_argument("--lin", type=_ramp, action="append", default=[], metavar="NAME=START:END", help=help_text)


def produce(ecdc_path: Path, T: int, *, args: argparse.Namespace) -> dict[str, np.ndarray]:  # noqa: N803
    """One frame alone has the start value."""
    with np.errstate(over="ignore", invalid="ignore"):  # what is beyond float32 is refused as not finite
        unit = np.arange(T) / max(T - 1, 1)
        return {name: ((1 - unit) * start + unit * end).astype(np.float32) for name, start, end in args.lin}


def _ramp(text: str) -> tuple[str, float, float]:
    name, equals, values = text.partition("=")
    start, colon, end = values.partition(":")
    if not name or not equals or not colon:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=START:END")
    try:
        return name, float(start), float(end)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {values!r} are not two numbers") from error
