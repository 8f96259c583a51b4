"""Where recordings come from: one dict names every corpus."""

import importlib
from pathlib import Path
from typing import Any

from soundraft.corpora import espeak, folder, fsdd
from soundraft.corpora.base import Corpus, CorpusError, Fetched, Request, check_options
from soundraft.corpora.samples import AudioDataset, AudioSample

CORPORA: dict[str, Corpus] = {
    "espeak": espeak.CORPUS,
    "fsdd": fsdd.CORPUS,
    "folder": folder.CORPUS,
}


def fetch(name: str, request: Request, out: Path) -> Fetched:
    """The clips of a corpus; what has to be made or unpacked for it goes to `out`.

    Raises:
        CorpusError: when an option is not the corpus's, or it cannot be had.
    """
    corpus = CORPORA[name]
    check_options(name, corpus.info, request)
    return corpus.fetch(request, out)


def __getattr__(name: str) -> Any:
    """`load_audio_dataset` and `list_audio_datasets`: imported when asked for: fetch does not depend on them."""
    if name in ("load_audio_dataset", "list_audio_datasets"):
        return getattr(importlib.import_module("soundraft.corpora.loading"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["CORPORA", "AudioDataset", "AudioSample", "Corpus", "CorpusError", "Fetched", "Request", "fetch"]
