"""s5 alone: its options, and where a dataset may go: nothing that it does not replace is lost."""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from soundraft import files
from soundraft.dataset import table
from soundraft.dataset.rows import Sources
from soundraft.params.sections import Materialize
from soundraft.runtime import UserError
from soundraft.sidecar import format


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


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of s5 alone."""
    add = parser.add_argument
    add("tokens", type=Path, metavar="TOKENS_DIR", help="folder of token files, as s2 makes it")
    add("out", type=Path, metavar="OUT_DIR", help="the dataset; one that is there is replaced")
    add("--split", type=split_name, default="train", help="of all clips, or of those whose manifest names none")
    add("--suffix", default=".ecdc", help="ending of the token files")
    add("--recursive", action=argparse.BooleanOptionalAction, default=True, help="nested folders too")
    add("--tokens-subdir", default="tokens", metavar="NAME", help="folder in the dataset that takes the token files")
    add(
        "--materialize",
        choices=get_args(Materialize),
        default="link",
        help="how token files and sidecars come into the dataset",
    )
    add("--verify", action="store_true", help="afterwards compare every file with what the tables and the card say")
    add("--cond-root", type=Path, metavar="FOLDER", help="where the sidecars are; else beside the token files")
    add("--cond-suffix", type=format.check_suffix, default=format.SUFFIX, help="ending of the sidecars")
    add("--no-cond", action="store_true", help="make the dataset without sidecars")
    add("--wav-root", type=Path, metavar="FOLDER", help="audio for the tables; else the manifest's folder")
    add("--manifest", type=Path, metavar="FILE", help="manifest.jsonl of the audio: texts, speakers, splits")
    add("--codec", default="", metavar="NAME", help="the codec's checkpoint, for the card")
