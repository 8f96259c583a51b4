"""What several commands are given: a corpus or recordings, and a model with its language."""

import argparse
from typing import TYPE_CHECKING

from soundraft import corpora, distributed
from soundraft.cli.choice import chosen
from soundraft.cli.command import print_each
from soundraft.corpora.base import Fetched
from soundraft.corpora.loading import CorpusDataset
from soundraft.runtime import UserError

if TYPE_CHECKING:
    from soundraft.models import Recognizer


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
