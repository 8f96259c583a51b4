"""Options of the command line: those that are keys of params.yaml, and those that name a corpus or recordings."""

import argparse
import functools
import shlex
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_args, get_origin

from pydantic import TypeAdapter, ValidationError

from soundraft import files
from soundraft.manifest import MANIFEST_NAME, Rejected, find_clips, no_clips, read_manifest
from soundraft.params import by_key, changed, defaults, explain
from soundraft.params.base import about, fields_of, is_section
from soundraft.params.sections import Params, Role
from soundraft.runtime import UserError

if TYPE_CHECKING:
    from soundraft.corpora import CorpusDataset, Fetched, Request

SHOWN_ITEMS = 20
Result = TypeVar("Result")
FIELDS = {key: field for key, field in fields_of(Params) if not is_section(field)}
Options = argparse._ActionsContainer  # a parser, or a group of its options


def add_keys(options: Options, *keys: str) -> None:
    for key in keys:
        add_key(options, key)


def add_key(
    options: Options, key: str, *, flag: str = "", dest: str = "", text: str = "", default: Any = None, comma: str = ""
) -> None:
    """An option for a key of params.yaml; where it is not given its value is `None`.

    Args:
        flag: its name, where that is not the last part of the key.
        dest: its name among the parsed options, where that is not the key.
        text: its help, where it means more or less than in params.yaml.
        default: as the help shows it, where it is not that of params.yaml.
        comma: what separates the items of a list; without it they are words of their own.
    """
    field = FIELDS[key]
    kind, flag = field.annotation, flag or f"--{key.rsplit('.', 1)[-1].replace('_', '-')}"
    form: dict[str, Any] = {"metavar": "A,B,C" if comma else flag[2:].upper().replace("-", "_")}
    if kind is bool:
        form = {"action": argparse.BooleanOptionalAction}
    elif get_origin(kind) is list:
        form |= {"type": _reader(get_args(kind)[0], comma), "nargs": None if comma else "+"}
    else:
        form["type"] = _reader(Annotated[kind, field])
    value = functools.reduce(getattr, key.split("."), defaults()) if default is None else default
    shown = (comma or " ").join(map(str, value)) if isinstance(value, list) else str(value)
    help_text = (text or about(field)) + (f" (default: {shown})" if shown and value is not None else "")
    options.add_argument(flag, dest=dest or key, default=None, help=help_text.replace("%", "%%"), **form)


def add_set(options: Options) -> None:
    """`--set KEY=VALUE`, for the keys that have no option."""
    options.add_argument(
        "--set", nargs="+", default=[], type=_setting, action="extend", metavar="KEY=VALUE", dest="settings",
        help="Any other key of params.yaml, such as train.rounds_per_cycle=4.",
    )  # fmt: skip


def keys_given(given: argparse.Namespace) -> dict[str, Any]:
    """The keys of params.yaml that were given, and their values.

    Raises:
        ParamsError: when one is given twice.
    """
    named = [(key, value) for key, value in vars(given).items() if key in FIELDS]
    return by_key([*named, *getattr(given, "settings", ())])


def params_given(given: argparse.Namespace) -> Params:
    """params.yaml with the keys that were given.

    Raises:
        ParamsError: naming every problem.
    """
    return changed(defaults(), keys_given(given))


def _reader(kind: Any, comma: str = "") -> Callable[[str], Any]:
    """What reads an option's text; argparse names the option when the field does not allow it."""

    def read(text: str) -> Any:
        try:
            if comma:
                return [TypeAdapter(kind).validate_strings(word.strip()) for word in text.split(comma) if word.strip()]
            return TypeAdapter(kind).validate_strings(text)
        except ValidationError as error:
            raise argparse.ArgumentTypeError("; ".join(explain(item) for item in error.errors())) from error

    return read


def _setting(text: str) -> tuple[str, Any]:
    key, sign, value = text.partition("=")
    if not (key and sign and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE, such as train.rounds_per_cycle=4")
    try:
        return key, files.parse_yaml(value, text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0")
    return int(text)


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1")
    return int(text)


def print_each(what: str, items: Sequence[Rejected]) -> None:
    """The first items with their reasons, and how many more there are."""
    for bad in items[:SHOWN_ITEMS]:
        print(f"{what}: {bad.path}: {bad.reason}")
    if len(items) > SHOWN_ITEMS:
        print(f"{what}: {len(items) - SHOWN_ITEMS:,} more")


def show(line: str) -> None:
    """Print at once, from one of several processes."""
    from soundraft import distributed

    if distributed.is_main():
        print(line, flush=True)


# Recordings by name, for commands that make a file of each.


def add_recordings(options: argparse.ArgumentParser) -> None:
    text = "Recordings of any length (wav, flac, ogg, mp3, …), or folders of them."
    options.add_argument("files", nargs="+", type=Path, metavar="FILE_OR_FOLDER", help=text)


def recordings(named: Sequence[Path]) -> dict[Path, PurePath]:
    """Each recording, and its name in the folder that takes what is made of it: of a folder's its path there.

    Raises:
        UserError: when a folder has none.
    """
    from soundraft.audio.io import AUDIO_SUFFIXES

    found: dict[Path, PurePath] = {}
    for place in named:
        if not place.is_dir():
            found[place] = PurePath(place.name)
            continue
        clips = find_clips(place, AUDIO_SUFFIXES)
        if not clips:
            raise UserError(f"{place}: no recordings in it ({', '.join(AUDIO_SUFFIXES)})")
        found |= {place / clip.audio_path: PurePath(clip.audio_path) for clip in clips}
    return found


def places(recordings: Mapping[Path, PurePath], folder: Path, ending: str) -> dict[Path, Path]:
    """The file that what is made of each recording goes to: `talk.v2.wav` → `talk.v2.srt`.

    Raises:
        UserError: when two would go to one, or the folder is a file.
    """
    from soundraft.audio.io import AUDIO_SUFFIXES

    if folder.exists() and not folder.is_dir():
        raise UserError(f"--output {folder} is a file: name a folder")
    owners: dict[Path, Path] = {}
    for file, name in recordings.items():
        suffix = next((each for each in AUDIO_SUFFIXES if name.name.lower().endswith(each)), "")
        stem = name.name[: len(name.name) - len(suffix)] or name.name
        other = owners.setdefault(folder / name.parent / f"{stem}.{ending}", file)
        if other != file:
            raise UserError(f"{other} and {file} would be written to one file: do them apart")
    return {file: place for place, file in owners.items()}


def attempted(function: Callable[[Path], Result], files: Iterable[Path]) -> Iterator[tuple[Path, Result]]:
    """Each file with what a function makes of it; where it fails the file is reported with the reason."""
    from soundraft.parallel import Failure, attempt

    for file in files:
        found = attempt(function, file)
        if isinstance(found, Failure):
            print(f"{file}: {found.reason}", file=sys.stderr)
        else:
            yield file, found


def readable(recordings: Iterable[Path]) -> list[Path]:
    """Those that are audio by their header; the others are reported with the reason."""
    from soundraft.audio import io

    return [file for file, _ in attempted(io.read_header, recordings)]


# A corpus or recordings: the keys of `corpus.target`, under their own names in the parsed options.

OPTIONS = ("path", "split", "limit", "revision", "subset", "language", "columns", "labels", "fold", "seed", "role")
_ANY_SPLITS = ("folder", "jsonl", "hub", "python")  # may come without splits
_KEYS = {"subset": "corpus.target.config", "seed": "corpus.seed"}
OF_MODELS = "Language code, for corpora in several languages, and for what a multilingual Whisper transcribes."


class _Refused(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        parser.error("--config is for a declaration, which this command does not read; a corpus's subset is --subset")


def option(name: str) -> str:
    """What an option of a corpus is called here: `config` is `subset`, as `--config` always is a declaration."""
    return "subset" if name == "config" else name


def add_corpus(options: Options, names: Collection[str] = OPTIONS, *, texts: Mapping[str, str] | None = None) -> None:
    """The options that say which part of a corpus is meant.

    Args:
        names: of `OPTIONS`.
        texts: help of options that mean more for the command.
    """
    for name in names:
        if name == "role":
            options.add_argument("--role", choices=get_args(Role), help="Whose voices espeak takes (default: target)")
        else:
            key = _KEYS.get(name, f"corpus.target.{name}")
            add_key(options, key, flag=f"--{name}", dest=name, text=(texts or {}).get(name, ""))
    if "--config" not in options._option_string_actions:
        options.add_argument("--config", action=_Refused, help=argparse.SUPPRESS)


def request(given: argparse.Namespace, name: str, *, path: Path | None = None, unlabelled: bool = False) -> "Request":
    """The part of a corpus that the options describe."""
    from soundraft import corpora

    found = _given(given)
    if path is not None and "path" in found:
        raise UserError("--path goes with the name of a corpus; here the folder is named already")
    others = {"path": path, **found, "asked_as": "--", "unlabelled": unlabelled and name in ("folder", "jsonl")}
    others["task"] = getattr(given, "task", None) or ""
    return corpora.make_request(name, others.pop("split", None), others.pop("limit", None) or None, **others)


def chosen(given: argparse.Namespace, *, unlabelled: bool = False) -> "Fetched":
    """The corpus that `given.corpus` names: one of the registry, a folder with a manifest, or the user's recordings.

    Args:
        unlabelled: the user's recordings may lack texts, as in `Request`.

    Raises:
        UserError: when it is none of these.
    """
    from soundraft import corpora

    name, place = given.corpus, Path(given.corpus)
    if name in corpora.CORPORA:
        try:
            return corpora.fetch_to_cache(name, request(given, name, unlabelled=unlabelled))
        except UserError as error:
            hint = f"; for the folder of that name write ./{place}" if place.is_dir() else ""
            raise UserError(f"{error}{hint}") from error
    if not place.exists():
        raise UserError(f"{name}: neither a folder nor a corpus; there are {', '.join(corpora.CORPORA)}")
    if (place / MANIFEST_NAME).is_file() and not _given(given):
        clips = read_manifest(place / MANIFEST_NAME)
        return corpora.Fetched(clips, len(clips), [], place)
    inside = sorted(path.parent.name for path in place.glob(f"*/{MANIFEST_NAME}"))
    if inside and not (place / MANIFEST_NAME).is_file():
        raise UserError(f"{place} holds several corpora; name one of them: {', '.join(inside)}")
    return corpora.fetch_to_cache("folder", request(given, "folder", path=place, unlabelled=unlabelled))


def columns_given(given: argparse.Namespace) -> dict[str, str]:
    """The source's column for each of ours that was named."""
    return dict(column.split("=", 1) for column in given.columns or ())


def _given(given: argparse.Namespace) -> dict[str, Any]:
    """The options that were given, as `corpora.make_request` calls them."""
    found = {name: getattr(given, name, None) for name in OPTIONS} | {"columns": columns_given(given)}
    return {"config" if name == "subset" else name: value for name, value in found.items() if value not in (None, {})}


def said(given: argparse.Namespace, *, but: Collection[str] = (), also: Collection[str] = ()) -> str:
    """The options of a corpus that were given, as they are typed, for the command to go on with.

    Args:
        also: keys of params.yaml whose options go with them.
    """
    words = []
    for name in (*OPTIONS, *also):
        value = getattr(given, name, None)
        if value is not None and name not in but:
            flag = given.flags.get(name, f"--{name}")
            words += [flag, *map(str, value if isinstance(value, list) else [value])]
    return "".join(f" {shlex.quote(word)}" for word in words)


def data_of(
    given: argparse.Namespace, *, seed: int | None = None, unlabelled: bool = False, whole: bool = True
) -> "CorpusDataset | str":
    """What `--dataset` names: the path of a table, a recording or a dataset that s5 built or `save_to_disk` wrote, or a
    corpus with the options that say which part.

    Args:
        seed: of what is drawn to make a corpus.
        unlabelled: as of `chosen`.
        whole: else of a corpus of the registry that has test clips of its own only these are read.
    """
    from soundraft import corpora
    from soundraft.audio.io import AUDIO_SUFFIXES
    from soundraft.clips.opening import TABLES
    from soundraft.dataset import table

    name = given.corpus
    is_file, is_dataset = name.lower().endswith((*TABLES, *AUDIO_SUFFIXES)), table.is_saved(Path(name))
    if name not in corpora.CORPORA and (is_file or is_dataset):
        for each in OPTIONS:
            if each not in ("seed", "columns", "limit") and getattr(given, each) is not None:
                raise UserError(
                    f"--{each} is for corpora and folders; {name} is a {'dataset' if is_dataset else 'file'}"
                )
        return str(name)
    takes = corpora.CORPORA[name].info.takes if name in corpora.CORPORA else ()
    language = given.language if "language" in takes else None  # else it is for the model alone
    asked = {**vars(given), "seed": seed, "language": language}
    if not whole and name in corpora.CORPORA and given.split is None and name not in _ANY_SPLITS:
        tested = corpora.fetch_to_cache(name, request(argparse.Namespace(**asked | {"split": "test"}), name))
        if tested.clips and not tested.drawn:
            return corpora.CorpusDataset(name, tested)
    fetched = chosen(argparse.Namespace(**asked), unlabelled=unlabelled)
    if not fetched.clips:
        raise no_clips(name, fetched.rejected)
    return corpora.CorpusDataset(name, fetched)


def language_of(given: argparse.Namespace) -> str:
    """The language that a multilingual model transcribes: the one given (of en_us and zh-CN the first part), else the
    only one of the corpus, else nothing.
    """
    from soundraft import corpora

    if given.language:
        return str(given.language).replace("_", "-").split("-")[0].lower()
    name = getattr(given, "corpus", None)
    known = corpora.CORPORA[name].info.languages if name in corpora.CORPORA else ""
    return known if len(known) == 2 else ""
