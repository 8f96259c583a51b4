"""`soundraft inspect`: what a dataset, or a folder of token files, holds."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from soundraft.cli.command import Command, count
from soundraft.runtime import UserError


def inspect_options(options: argparse.ArgumentParser) -> None:
    add = options.add_argument
    add("dataset", type=Path, nargs="?", metavar="DATASET", help="a dataset that s5 built")
    add("--hf-ds", type=Path, metavar="DATASET", help="the same, as an option")
    add("--split", metavar="NAME", help="of the dataset (train, or its only one)")
    add("--tokens-root", type=Path, metavar="FOLDER", help="instead of a dataset: a folder of token files")
    add("--cond-root", type=Path, metavar="FOLDER", help="where its sidecars are (beside the token files)")
    add("--recursive", action=argparse.BooleanOptionalAction, help="nested folders too (yes)")
    add("--show", type=count, default=3, metavar="N", help="show the first N clips (3)")
    add("--indices", type=_indices, metavar="I,J", help="show these clips instead, counted from 0")
    add("--verify", action="store_true", help="open every file and compare it with what is stated")
    add("--plot", type=Path, metavar="FILE.png", help="draw the first clip shown: waveform, codes, conditioning")


def inspect(given: argparse.Namespace) -> None:
    """What is in a dataset, or in folders of token files and sidecars."""
    if [given.dataset, given.hf_ds, given.tokens_root].count(None) != 2:
        raise UserError("name a DATASET or --tokens-root FOLDER, one of them")
    given.dataset = given.dataset or given.hf_ds
    if given.plot is not None and given.plot.suffix.lower() != ".png":
        raise UserError(f"--plot writes a .png, not {given.plot}")
    view = _dataset_view(given) if given.dataset is not None else _folders_view(given)
    indices = list(range(min(given.show, len(view.tokens)))) if given.indices is None else given.indices
    beyond = [index for index in indices if index >= len(view.tokens)]
    if beyond:
        raise UserError(f"there is no clip {beyond[0]}: {len(view.tokens)} clips, counted from 0")
    print("\n".join(view.head))
    for index in indices:
        print("\n" + "\n".join(view.lines(index)))
    if given.verify:
        print(f"\nverified {view.verify()} clips: all is as stated")
    if given.plot:
        _plot(view, indices, given.plot)


@dataclass(frozen=True)
class _View:
    """What `inspect` shows, whatever it is of."""

    head: list[str]
    tokens: Any
    lines: Callable[[int], list[str]]
    verify: Callable[[], int]
    audio: Callable[[int], bytes | None]


def _dataset_view(given: argparse.Namespace) -> _View:
    from soundraft.dataset import table

    if given.cond_root is not None or given.recursive is not None:
        raise UserError("--cond-root and --recursive go with --tokens-root; a dataset knows where its files are")
    splits = table.read_splits(given.dataset)
    split = given.split or (splits[0] if len(splits) == 1 else "train")

    from soundraft.dataset import describe, loader, verify  # torch, a second: after what can be told without
    from soundraft.dataset.tokens import TokenDataset

    tokens = TokenDataset.from_dataset(given.dataset, split)
    rows = loader.open_split(given.dataset, split)
    shown = rows.select_columns(["id", "text", "label", "speaker"])
    return _View(
        [str(given.dataset), *describe.splits_table(given.dataset), "", f"{split}:"],
        tokens,
        lambda index: describe.clip_lines(index, tokens[index], shown[index]),
        lambda: verify.check(given.dataset),
        lambda index: (rows[index]["wav"] or {}).get("bytes"),
    )


def _folders_view(given: argparse.Namespace) -> _View:
    from soundraft.dataset import describe, verify
    from soundraft.dataset.tokens import TokenDataset

    if given.split is not None:
        raise UserError("--split goes with a DATASET; folders of token files have no splits")
    cond = given.cond_root or given.tokens_root
    tokens = TokenDataset.from_folders(given.tokens_root, cond, recursive=given.recursive is not False)
    return _View(
        [describe.folders_line(tokens, given.tokens_root, cond)],
        tokens,
        lambda index: describe.clip_lines(index, tokens[index], None),
        lambda: verify.check_items(len(tokens), tokens.__getitem__),
        lambda _: None,
    )


def _plot(view: _View, indices: Sequence[int], path: Path) -> None:
    from soundraft.evaluation import plots

    if not indices:
        raise UserError("--plot draws the first clip shown, and none is")
    item = view.tokens[indices[0]]
    plots.plot_clip(
        path, item["codes"].numpy(), item["cond"].numpy(), item["names"], audio=view.audio(indices[0]),
        title=Path(item["path"]).name,
    )  # fmt: skip
    print(f"\n{path}: clip {indices[0]}")


def _indices(text: str) -> list[int]:
    return [count(word.strip()) for word in text.split(",")]


COMMAND = Command("Show what a dataset, or a folder of token files, holds.", inspect_options, inspect)
