"""What every subcommand is, and how its numbers are read."""

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from soundraft import corpora, distributed
from soundraft.corpora import Request, loading
from soundraft.corpora.base import Fetched, Role
from soundraft.corpora.loading import CorpusDataset
from soundraft.manifest import MANIFEST_NAME, Clip, Rejected, read_manifest
from soundraft.runtime import UserError

if TYPE_CHECKING:
    from soundraft.models import Recognizer


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


# How a corpus is named on the command line: the options of `corpus.target` in params.yaml, or a folder.


_TEXTS = {
    "split": "train, validation, test, or a split of the source by its own name (all)",
    "revision": "commit, tag or branch of a hub repository (where the corpus publishes today)",
    "config": "the corpus's subset (its own choice)",
    "language": "code of the language, for {}",
    "path": "folder, file or archive of the recordings; for hub a hub id, for python module:Class",
}
_OWN = ("folder", "jsonl")  # the person's own recordings
OPTIONS = (*_TEXTS, "limit", "columns", "labels", "fold", "seed", "role")


@dataclass(frozen=True)
class Chosen:
    """A corpus that was named: its clips, and the folder that their paths count from."""

    title: str
    clips: list[Clip]
    root: Path
    rejected: list[Rejected]


def add_choice(
    options: argparse.ArgumentParser,
    *,
    limited: bool = False,
    seed_of: str = "everything that is drawn (0)",
    language_of: str = "corpora in several",
    texts: Mapping[str, str] | None = None,
) -> None:
    """The options that say which part of a corpus is meant.

    Args:
        limited: the command itself says how many clips.
        seed_of, language_of: what the command takes `--seed` and `--language` for.
        texts: help of options that mean something else for the command.
    """
    add = options.add_argument
    for name, about in (_TEXTS | dict(texts or {})).items():
        add(f"--{name}", metavar=name.upper(), help=about.format(language_of))
    if not limited:
        add("--limit", type=positive, metavar="N", help="at most N clips of each split (all)")
    add_columns(options)
    add("--fold", type=positive, metavar="N", help="the official fold, or speaker, that is test, from 1 (1)")
    add("--seed", type=int, metavar="N", help=f"of {seed_of}")
    add("--role", choices=get_args(Role), help="whose voices espeak speaks with (target)")


def add_columns(options: argparse.ArgumentParser) -> None:
    """The options that say how a list is to be read."""
    add = options.add_argument
    add("--columns", nargs="+", metavar="OURS=THEIRS", type=_column, help="columns that the source names otherwise")
    add("--labels", nargs="+", metavar="LABEL", help="the labels that may occur (all)")


def request(given: argparse.Namespace, name: str, *, path: Path | None = None, unlabelled: bool = False) -> Request:
    """What the options ask of a corpus."""
    options = {"split": None, "limit": None, **_options(given, path)}
    return loading.make_request(name, **options, asked_as="--", unlabelled=unlabelled and name in _OWN)


def chosen(given: argparse.Namespace, *, unlabelled: bool = False) -> Chosen:
    """The corpus that `given.corpus` names: one of the registry, a folder with a manifest, or a person's recordings.

    Args:
        unlabelled: a person's recordings may lack texts, as of `Request`.

    Raises:
        UserError: when it is none of these.
    """
    place = Path(given.corpus)
    if given.corpus in corpora.CORPORA:
        try:
            fetched = loading.fetch_to_cache(given.corpus, request(given, given.corpus, unlabelled=unlabelled))
        except UserError as error:
            hint = f"; for the folder of that name write ./{place}" if place.is_dir() else ""
            raise UserError(f"{error}{hint}") from error
    elif (place / MANIFEST_NAME).is_file() and not _options(given, None):
        return Chosen(str(place), read_manifest(place / MANIFEST_NAME), place, [])
    elif place.exists():
        _refuse_folder_of_corpora(place)
        fetched = loading.fetch_to_cache("folder", request(given, "folder", path=place, unlabelled=unlabelled))
    else:
        raise UserError(f"{given.corpus}: neither a folder nor a corpus; there are {', '.join(corpora.CORPORA)}")
    return Chosen(given.corpus, fetched.clips, fetched.root, fetched.rejected)


def _options(given: argparse.Namespace, path: Path | None) -> dict[str, Any]:
    """The options that were given."""
    found = {name: getattr(given, name) for name in OPTIONS if getattr(given, name) is not None}
    if given.columns:
        found["columns"] = dict(given.columns)
    if path is not None:
        if "path" in found:
            raise UserError("--path goes with the name of a corpus; here the folder is named already")
        found["path"] = path
    return found


def _refuse_folder_of_corpora(place: Path) -> None:
    """`data/raw` holds two corpora: one of them must be named."""
    inside = sorted(path.parent.name for path in place.glob(f"*/{MANIFEST_NAME}"))
    if inside and not (place / MANIFEST_NAME).is_file():
        raise UserError(f"{place} holds several corpora; name one of them: {', '.join(inside)}")


def _column(text: str) -> tuple[str, str]:
    ours, sign, theirs = text.partition("=")
    if not (ours and sign and theirs):
        raise argparse.ArgumentTypeError(f"{text!r} is not OURS=THEIRS, such as text=sentence")
    return ours, theirs


# What several commands are given: a corpus or recordings, and a model with its language.


MODEL_LANGUAGE = "corpora in several, and what a multilingual Whisper transcribes"


def tell(line: str) -> None:
    """Print at once, from one of several processes."""
    if distributed.is_main():
        print(line, flush=True)


def dataset_of(
    given: argparse.Namespace, *, seed: int | None, unlabelled: bool = False, quiet: bool = False
) -> CorpusDataset:
    """The corpus or the recordings that `given.corpus` names, with the options that say which part of them.

    Args:
        seed: of what is drawn to make it.
        unlabelled: recordings may lack texts.
        quiet: what is set aside is not told here: it is told later, with what else is.
    """
    takes = corpora.CORPORA[given.corpus].info.takes if given.corpus in corpora.CORPORA else ()
    part = argparse.Namespace(**vars(given))
    part.seed = seed
    part.language = given.language if "language" in takes else None  # else it is the model's alone
    which = chosen(part, unlabelled=unlabelled)
    if not which.clips:
        raise UserError(f"{which.title}: no clips")
    if distributed.is_main() and not quiet:
        print_each("set aside", which.rejected)
    return CorpusDataset(which.title, Fetched(which.clips, len(which.clips), which.rejected, which.root))


def language_of(given: argparse.Namespace) -> str:
    """What a multilingual model shall transcribe: of the codes en_us and zh-CN the first part; else the corpus's own.

    Empty where neither says one.
    """
    if given.language:
        return str(given.language).replace("_", "-").split("-")[0].lower()
    name = getattr(given, "corpus", None)
    known = corpora.CORPORA[name].info.languages if name in corpora.CORPORA else ""
    return known if len(known) == 2 else ""


def load_model(name: str, given: argparse.Namespace) -> "Recognizer":
    from soundraft import models

    return models.load_recognizer(name, language=language_of(given) or None)
