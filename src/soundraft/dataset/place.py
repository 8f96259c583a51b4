"""Where a dataset that is built alone may go: nothing that it does not replace is lost."""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from soundraft import files
from soundraft.dataset import table
from soundraft.dataset.rows import Sources
from soundraft.runtime import UserError


def check_replaceable(out: Path, sources: Sources) -> None:
    """Raise UserError when `out` holds something else than a dataset, or what the dataset is made of."""
    for source in filter(None, (sources.tokens, sources.cond)):
        if not source.is_dir():
            raise UserError(f"no such folder: {source}")
        files.check_apart(source, out)
    if sources.wavs is not None and sources.wavs.resolve().is_relative_to(out.resolve()):
        raise UserError(f"{sources.wavs} lies in {out}, which would be replaced")
    if out.exists() and not (out.is_dir() and (not any(out.iterdir()) or (out / table.DICT_NAME).is_file())):
        raise UserError(f"{out} is there and is no dataset: name a new or an empty folder")


def check_keeps_splits(out: Path, splits: Sequence[str]) -> None:
    """Raise UserError when the dataset in `out` has a split that the new one lacks."""
    if not (out / table.DICT_NAME).is_file():
        return
    lost = [split for split in table.read_splits(out) if split not in splits]
    if lost:
        raise UserError(
            f"{out} has the split {lost[0]}, which this build does not make: name another folder, remove that one, or "
            "give a --manifest that says which clip belongs to which split"
        )


def split_name(text: str) -> str:
    """A split's name as `datasets` allows it."""
    if not re.fullmatch(r"\w+(\.\w+)*", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a split: letters, digits and _")
    return text
