"""What every subcommand is, and how its numbers are read."""

import argparse
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from soundraft.manifest import Rejected

SHOWN_ITEMS = 20


@dataclass(frozen=True)
class Command:
    """One subcommand: a line of help, its options, and what it does with them."""

    about: str
    options: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], None]


def count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of clips")
    return int(text)


def share(text: str) -> float:
    if not re.fullmatch(r"\d*\.?\d+", text) or float(text) > 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share from 0 to 1")
    return float(text)


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1")
    return int(text)


def print_each(what: str, items: Sequence[Rejected]) -> None:
    """The items and their reasons, as many as a person reads."""
    for bad in items[:SHOWN_ITEMS]:
        print(f"{what}: {bad.path}: {bad.reason}")
    if len(items) > SHOWN_ITEMS:
        print(f"{what}: {len(items) - SHOWN_ITEMS:,} more")
