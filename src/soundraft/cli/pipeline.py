"""`soundraft stages`: the pipeline as a list that fits a screen; `dvc dag` draws every cycle beside the others."""

import argparse
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from soundraft import files
from soundraft.runtime import UserError
from soundraft.tables import columns

_OF_ALL = ("check", "imports")  # every stage waits for these


def stages_options(options: argparse.ArgumentParser) -> None:
    options.add_argument("file", type=Path, nargs="?", default=Path("dvc.yaml"), metavar="FILE", help="A dvc.yaml.")


def stages(given: argparse.Namespace) -> None:
    """Each stage with the stages that it waits for, what it makes, and what it is for."""
    if not given.file.is_file():
        raise UserError(f"no {given.file}: the pipeline is described there, in the repository's folder")
    found = {name: entry.get("do", entry) for name, entry in files.read_yaml(given.file)["stages"].items()}
    cycles = files.read_yaml(given.file.with_name("cycles.yaml"))["cycles"]
    first = {**next(iter(cycles.values())), "cycle": "NN"}
    outs = {name: [_path(out, first) for out in body.get("outs", [])] for name, body in found.items()}
    rows: list[Sequence[str]] = [("stage", "after", "makes", "what it does")]
    for name, body in found.items():
        after = [other for other in _after(body, outs, first) if name in _OF_ALL or other not in _OF_ALL]
        rows.append((name, ", ".join(after), ", ".join(outs[name]), body["desc"]))
    print("\n".join(columns(rows, width=shutil.get_terminal_size().columns)))
    print(f"\n{', '.join(_OF_ALL)}: before all others. NN: one stage for each cycle.")


def _after(body: Mapping[str, Any], outs: Mapping[str, Sequence[str]], cycle: Mapping[str, str]) -> list[str]:
    """The stages whose outs a stage depends on."""
    wanted = [_path(dep, cycle) for dep in body.get("deps", [])]

    def meets(out: str) -> bool:
        return any(f"{one}/".startswith(f"{other}/") for dep in wanted for one, other in ((dep, out), (out, dep)))

    return [name for name, made in outs.items() if any(map(meets, made))]


def _path(entry: str | Mapping[str, Any], cycle: Mapping[str, str]) -> str:
    """A path of dvc.yaml, of the first cycle; its number is NN."""
    path = entry if isinstance(entry, str) else next(iter(entry))
    return re.sub(r"\$\{item\.(\w+)\}", lambda found: cycle[found[1]], path)
