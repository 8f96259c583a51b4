"""Where recordings come from: one dict names every corpus."""

from pathlib import Path

from soundraft.corpora import custom, espeak, folder, fsdd
from soundraft.corpora.base import Corpus, CorpusError, Fetched, Request, check_options
from soundraft.corpora.samples import AudioDataset, AudioSample

CORPORA: dict[str, Corpus] = {
    "espeak": espeak.CORPUS,
    "fsdd": fsdd.CORPUS,
    "folder": folder.CORPUS,
    "jsonl": folder.JSONL,
    "python": custom.CORPUS,
}


def fetch(name: str, request: Request, out: Path) -> Fetched:
    """The clips of a corpus; what has to be made or unpacked for it goes to `out`.

    Raises:
        CorpusError: when an option is not the corpus's, or it cannot be had.
    """
    corpus = CORPORA[name]
    check_options(name, corpus.info, request)
    return corpus.fetch(request, out)


__all__ = ["CORPORA", "AudioDataset", "AudioSample", "Corpus", "CorpusError", "Fetched", "Request", "fetch"]
