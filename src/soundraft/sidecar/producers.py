"""Producers of features: the built-in ones, and how one is named, found, loaded, started, called and stopped.

A producer has `produce(ecdc_path, T, *, args) -> {name: T numbers}`, and optionally `add_cli_args(parser)`,
`init(args)` and `shutdown(args)`. One of the user's own is a Python module with these functions. It is named by

- the name of a file in the producers' folder: `slope` or `slope.py`, which may import other files of its folder;
- the name of a built-in one: `lin`;
- the path of a file: `../mine/slope.py`;
- a dotted module: `mypackage.slope`.

Only the file that is named is executed; listing reads the others without running them.
"""

import argparse
import ast
import difflib
import importlib
import inspect
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from soundraft import runtime
from soundraft.audio.ecdc import SUFFIX
from soundraft.manifest import Clip, read_manifest
from soundraft.parallel import Failure, attempt
from soundraft.runtime import BadClip, UserError
from soundraft.sidecar import from_audio
from soundraft.sidecar.listing import WavNames

Features = dict[str, np.ndarray]  # by name, float32 [T]

# The name is as short as can be, so that `_pitch_64_amp_3` holds two; the value ends where no letter or digit follows,
# so that `_take_12b` holds none.
DEFAULT_REGEX = (
    r"_(?P<name>[A-Za-z]\w*?)_(?P<value>-?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?)(?![^\W_]|\.\d)"
)  # fmt: skip


class Const:
    """The same value in every frame of every clip."""

    @staticmethod
    def add_cli_args(parser: argparse.ArgumentParser) -> None:
        _add_named_numbers(parser, "--const", "NAME=VALUE", "a feature and its value; repeatable")

    @staticmethod
    def produce(ecdc_path: Path, T: int, *, args: argparse.Namespace) -> Features:  # noqa: N803
        with np.errstate(over="ignore"):  # a value beyond float32 becomes infinite, and is refused as such
            return {name: np.full(T, value, np.float32) for name, value in args.const}


class Lin:
    """A straight line over the clip, from its first frame to its last."""

    @staticmethod
    def add_cli_args(parser: argparse.ArgumentParser) -> None:
        help_text = "a feature, its value in the first frame and in the last; repeatable"
        _add_named_numbers(parser, "--lin", "NAME=START:END", help_text)

    @staticmethod
    def produce(ecdc_path: Path, T: int, *, args: argparse.Namespace) -> Features:  # noqa: N803
        """One frame alone has the start value."""
        with np.errstate(over="ignore", invalid="ignore"):  # what is beyond float32 is refused as not finite
            unit = np.arange(T) / max(T - 1, 1)
            return {name: ((1 - unit) * start + unit * end).astype(np.float32) for name, start, end in args.lin}


def _add_named_numbers(parser: argparse.ArgumentParser, option: str, form: str, help_text: str) -> None:
    kind = partial(_named_numbers, form=form)
    parser.add_argument(option, type=kind, action="append", default=[], metavar=form, help=help_text)


def _named_numbers(text: str, *, form: str) -> tuple[str | float, ...]:
    name, _, values = text.partition("=")
    numbers = values.split(":")
    try:
        if not name or len(numbers) != form.count(":") + 1:
            raise ValueError
        return name, *map(float, numbers)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not {form}") from error


class FromFilename:
    """Parameters that stand in the file's name: foo_pitch_64.00_amp_.75.wav has pitch 64.0 and amp 0.75 in every frame.

    A clip whose name holds none gets none: `--require` of the audit finds it.
    """

    @staticmethod
    def add_cli_args(parser: argparse.ArgumentParser) -> None:
        help_text = "take parameters from file names; on wherever the producer is named"
        parser.add_argument("--from-filename", action=argparse.BooleanOptionalAction, default=True, help=help_text)
        help_text = f"pattern with the groups name and value, for each parameter ({DEFAULT_REGEX})".replace("%", "%%")
        parser.add_argument("--filename-regex", default=DEFAULT_REGEX, metavar="REGEX", help=help_text)

    @staticmethod
    def init(args: argparse.Namespace) -> None:
        try:
            pattern = re.compile(args.filename_regex)
        except re.error as error:
            raise UserError(f"--filename-regex is no regular expression: {error}") from error
        if not {"name", "value"} <= pattern.groupindex.keys():
            raise UserError("--filename-regex needs the groups (?P<name>…) and (?P<value>…)")

    @staticmethod
    def produce(ecdc_path: Path, T: int, *, args: argparse.Namespace) -> Features:  # noqa: N803
        values: dict[str, float] = {}
        stem = ecdc_path.name.removesuffix(SUFFIX)
        for match in re.finditer(args.filename_regex, stem) if args.from_filename else ():
            try:
                name, value = match["name"], float(match["value"])
            except ValueError as error:
                raise BadClip(f"{match['value']!r} in the name is no number") from error
            if values.setdefault(name, value) != value:
                raise BadClip(f"{name} stands twice in the name, as {values[name]:g} and as {value:g}")
        return {name: np.full(T, value, np.float32) for name, value in values.items()}


class FromManifest:
    """A number that the manifest has for the clip, in every frame: its duration, or what metadata holds."""

    @staticmethod
    def add_cli_args(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--manifest", type=Path, metavar="FILE", help="manifest.jsonl of the audio")
        help_text = "a column with numbers, such as duration or metadata.snr_db (its feature is snr_db); repeatable"
        parser.add_argument("--manifest-column", action="append", default=[], metavar="NAME", help=help_text)

    @staticmethod
    def init(args: argparse.Namespace) -> None:
        if args.manifest is None or not args.manifest_column:
            raise UserError("from_manifest needs --manifest FILE and --manifest-column NAME")
        known = set(Clip.model_fields) - {"metadata"}
        unknown = [name for name in args.manifest_column if name not in known and not re.match(r"metadata\..", name)]
        if unknown:
            raise UserError(f"--manifest-column {unknown[0]}: there are {', '.join(sorted(known))} and metadata.NAME")
        args.clips_by_wav = {clip.audio_path: clip for clip in read_manifest(args.manifest)}
        args.manifest_wavs = WavNames(args.audio_root)

    @staticmethod
    def produce(ecdc_path: Path, T: int, *, args: argparse.Namespace) -> Features:  # noqa: N803
        wav = args.manifest_wavs(ecdc_path)
        if wav not in args.clips_by_wav:
            raise BadClip(f"{args.manifest} has no clip with audio_path {wav}")
        features = {}
        for column in args.manifest_column:
            value: Any = args.clips_by_wav[wav].model_dump()
            for part in column.split("."):
                value = value.get(part) if isinstance(value, dict) else None
            if value is None:
                raise BadClip(f"the manifest has no {column} for the clip {wav}")
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise BadClip(f"{column} of the clip {wav} is {value!r}, no number")
            features[column.removeprefix("metadata.")] = np.full(T, value, np.float32)
        return features


SHIPPED: dict[str, Any] = {
    "const": Const,
    "lin": Lin,
    "from_filename": FromFilename,
    "from_audio": from_audio,
    "from_manifest": FromManifest,
}


@dataclass(frozen=True)
class Producer:
    """A loaded producer, and what the user called it."""

    name: str
    module: Any


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


def load_all(names: Sequence[str], folder: Path) -> list[Producer]:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise UserError(f"producer {twice[0]} is named twice")
    return [load(name, folder) for name in names]


def _module(name: str, folder: Path) -> Any:
    if name in SHIPPED and not replaced(name, folder):
        return SHIPPED[name]
    for path in (folder / name, folder / f"{name}.py", Path(name)):
        if path.suffix == ".py" and path.is_file():
            return runtime.from_file(path.resolve())
        runtime.check_tracked(path)
    if re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)+", name) and not name.endswith(".py"):
        return importlib.import_module(name)
    known = [known for known, _, _ in listed(folder)]
    close = difflib.get_close_matches(name, known, n=1)
    nearest = f"; did you mean {close[0]}?" if close else ""
    raise UserError(f"there is no producer {name}; there are {', '.join(known)}{nearest}")


def replaced(name: str, folder: Path) -> bool:
    """Whether a file of the user's is taken instead of the built-in producer of its name."""
    return name in SHIPPED and (folder / f"{name}.py").is_file()


def notes(names: Sequence[str], folder: Path) -> list[str]:
    return [f"{name}: {folder}/{name}.py, not the built-in one" for name in names if replaced(name, folder)]


def listed(folder: Path) -> list[tuple[str, str, str]]:
    """(name, place, first line of its docstring) of the built-in producers and of the files of the folder.

    Nothing of the folder is executed.
    """
    paths = sorted(path for path in folder.glob("*.py") if not path.name.startswith(("_", ".")))
    found = [
        (
            name,
            f"built in; {name}.py is taken instead" if replaced(name, folder) else "built in",
            inspect.getdoc(module),
        )
        for name, module in SHIPPED.items()
    ]
    found += [(path.stem, str(path), _docstring(path)) for path in paths]
    return [(name, place, (about or "no docstring").splitlines()[0]) for name, place, about in found]


def _docstring(path: Path) -> str | None:
    try:
        return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    except (SyntaxError, ValueError, RecursionError) as error:
        return f"cannot be read: {type(error).__name__}"


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
            try:
                getattr(producer.module, "init", lambda _: None)(own)
            except Exception as error:
                kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
                raise UserError(f"producer {producer.name} does not start: {kind}{error}") from error
        yield own


def ask(
    producers: Sequence[Producer], path: Path, frames: int, args: argparse.Namespace
) -> dict[str, tuple[str, np.ndarray]]:
    """feature → (name of its producer, values `[T]`); of two with one name the last producer wins.

    A producer that has nothing for a clip gives `None`, for one feature or at all.

    Whether the numbers are finite is checked where they are stored, all at once.

    Raises:
        BadClip: naming the producer that failed, or gave something else than T numbers.
    """
    features: dict[str, tuple[str, np.ndarray]] = {}
    for producer in producers:
        made = attempt(partial(producer.module.produce, T=frames, args=args), path)
        if isinstance(made, Failure):
            raise BadClip(f"producer {producer.name}: {made.reason}")
        if not isinstance(made, Mapping | None):
            raise BadClip(f"producer {producer.name} gave {type(made).__name__}, not a dict of arrays")
        for name, values in (made or {}).items():
            if values is None:
                continue
            column = plain(values)
            wrong = fault(name, column, frames)
            if wrong:
                raise BadClip(f"producer {producer.name}: feature {name!r} {wrong}")
            features[name] = producer.name, column
    return features


def plain(values: Any) -> np.ndarray:
    """What a user gives for the values of a feature, as an array: an array, a tensor of torch, a list, one number."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = (values.float() if values.is_floating_point() else values).numpy()
    try:
        return np.asarray(values)
    except ValueError:  # lists of different lengths
        return np.asarray(values, dtype=object)


def fault(name: object, values: np.ndarray, frames: int) -> str:
    """Why this is no feature; empty when it is one."""
    if not isinstance(name, str) or not name:
        return "has no name: a text with a letter or more is wanted"
    if values.dtype.kind not in "fiub":
        return f"is made of {values.dtype}, not of numbers"
    if values.shape != (frames,):
        return f"has shape {list(values.shape)}; the clip has {frames} frames"
    return ""
