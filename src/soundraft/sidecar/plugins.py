"""Producers: how one is named, found, loaded, started, asked and stopped.

A producer is a Python module with `produce(ecdc_path, T, *, args) -> {name: float32 [T]}`, and optionally
`add_cli_args(parser)`, `init(args)` and `shutdown(args)`. It is named by one of

- the name of a shipped one: `lin`;
- the name of a file in the producers' folder: `slope` or `slope.py`;
- the path of a file: `../mine/slope.py`;
- a dotted module: `mypackage.slope`.

Only the file that is named is executed; listing reads the others without running them.
"""

import argparse
import ast
import difflib
import importlib
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np

from soundraft import runtime
from soundraft.parallel import BadClip, Failure, attempt
from soundraft.runtime import UserError
from soundraft.sidecar.producers import SHIPPED


@dataclass(frozen=True)
class Producer:
    """A loaded producer, and what the user called it."""

    name: str
    module: ModuleType


def load(name: str, folder: Path) -> Producer:
    """Find and execute the producer that is named; see the module's text for how.

    Raises:
        UserError: when there is none, it cannot be executed, or it has no `produce`.
    """
    try:
        module = _module(name, folder)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"producer {name} cannot be loaded: {type(error).__name__}: {error}") from error
    if not callable(getattr(module, "produce", None)):
        raise UserError(f"producer {name} has no function produce(ecdc_path, T, *, args)")
    return Producer(name, module)


def _module(name: str, folder: Path) -> ModuleType:
    if name in SHIPPED:
        return SHIPPED[name]
    for path in (folder / name, folder / f"{name}.py", Path(name)):
        if path.suffix == ".py" and path.is_file():
            return runtime.from_file(path.resolve())
    if re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)+", name) and not name.endswith(".py"):
        return importlib.import_module(name)
    known = [entry.name for entry in listed(folder)]
    close = difflib.get_close_matches(name, known, n=1)
    nearest = f"; did you mean {close[0]}?" if close else ""
    raise UserError(f"there is no producer {name}; there are {', '.join(known)}{nearest}")


@dataclass(frozen=True)
class Entry:
    """One line of `--list-producers`."""

    name: str
    place: str
    about: str


def listed(folder: Path) -> list[Entry]:
    """The shipped producers and the files of the folder; nothing of the folder is executed."""
    shipped = [Entry(name, "shipped", _first_line(inspect.getdoc(module))) for name, module in SHIPPED.items()]
    paths = sorted(path for path in folder.glob("*.py") if not path.name.startswith(("_", ".")))
    return shipped + [Entry(path.stem, str(path), _first_line(_docstring(path))) for path in paths]


def described(producer: Producer) -> str:
    """`--show-producer`: its docstring and its options."""
    parser = argparse.ArgumentParser(prog=producer.name, usage=argparse.SUPPRESS, add_help=False, allow_abbrev=False)
    add_options(parser, [producer])
    return f"{producer.name}: {inspect.getdoc(producer.module) or 'no docstring'}\n\n{parser.format_help()}".rstrip()


def add_options(parser: argparse.ArgumentParser, producers: Sequence[Producer]) -> None:
    """Each producer's own options.

    Raises:
        UserError: when two producers have an option of one name.
    """
    for producer in producers:
        if hasattr(producer.module, "add_cli_args"):
            try:
                producer.module.add_cli_args(parser)
            except argparse.ArgumentError as error:
                raise UserError(f"producer {producer.name}: its option clashes with another one: {error}") from error


@contextmanager
def session(producers: Sequence[Producer], args: argparse.Namespace) -> Iterator[argparse.Namespace]:
    """Start the producers in this process, and stop them in any case, the last one first.

    Yields:
        a copy of `args` that belongs to this session: producers may keep what they need in it.
    """
    own = argparse.Namespace(**vars(args))
    with ExitStack() as stack:
        for producer in producers:
            if hasattr(producer.module, "shutdown"):
                stack.callback(producer.module.shutdown, own)
            if hasattr(producer.module, "init"):
                _init(producer, own)
        yield own


def _init(producer: Producer, args: argparse.Namespace) -> None:
    try:
        producer.module.init(args)
    except Exception as error:
        kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
        raise UserError(f"producer {producer.name} does not start: {kind}{error}") from error


def ask(
    producers: Sequence[Producer], path: Path, frames: int, args: argparse.Namespace
) -> dict[str, tuple[str, np.ndarray]]:
    """feature → (name of its producer, values `[T]`); of two with one name the last producer wins.

    Whether the numbers are finite is looked at where they are stored, all at once.

    Raises:
        BadClip: naming the producer that failed, or gave something else than T numbers.
    """
    features: dict[str, tuple[str, np.ndarray]] = {}
    for producer in producers:
        made = attempt(partial(producer.module.produce, T=frames, args=args), path)
        if isinstance(made, Failure):
            raise BadClip(f"producer {producer.name}: {made.reason}")
        if not isinstance(made, Mapping):
            raise BadClip(f"producer {producer.name} gave {type(made).__name__}, not a dict of arrays")
        for name, values in made.items():
            fault = _fault(name, values, frames)
            if fault:
                raise BadClip(f"producer {producer.name}: feature {name!r} {fault}")
            features[name] = producer.name, values
    return features


def _fault(name: object, values: object, frames: int) -> str:
    """Why this is no feature; empty when it is one."""
    if not isinstance(name, str) or not name:
        return "has no name: a text with a letter or more is wanted"
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu":
        kind = f"array of {values.dtype}" if isinstance(values, np.ndarray) else type(values).__name__
        return f"is {kind}, not a numpy array of float32"
    if values.shape != (frames,):
        return f"has shape {list(values.shape)}; the clip has {frames} frames"
    return ""


def _docstring(path: Path) -> str | None:
    try:
        return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    except (SyntaxError, ValueError, RecursionError) as error:
        return f"cannot be read: {type(error).__name__}"


def _first_line(text: str | None) -> str:
    return (text or "no docstring").splitlines()[0]
