"""Where recordings come from: one dict names every corpus family."""

from collections.abc import Callable
from pathlib import Path

from soundraft.corpora import espeak, folder, fsdd
from soundraft.corpora.base import CorpusError, Fetched, Request

CORPORA: dict[str, Callable[[Request, Path], Fetched]] = {
    "espeak": espeak.fetch,
    "fsdd": fsdd.fetch,
    "folder": folder.fetch,
}

__all__ = ["CORPORA", "CorpusError", "Fetched", "Request"]
