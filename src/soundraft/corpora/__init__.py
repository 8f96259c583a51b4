"""Where recordings come from: one dict names every corpus."""

import importlib
from pathlib import Path
from typing import Any

from soundraft import files
from soundraft.corpora import espeak, folder, fsdd
from soundraft.corpora.base import SOURCE_NAME, Corpus, CorpusError, Fetched, Request, check_options, copy_in
from soundraft.corpora.samples import AudioDataset, AudioSample
from soundraft.manifest import check_bad_fraction, write_manifest

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


def bring_in(name: str, request: Request, out: Path, *, max_bad_fraction: float) -> Fetched:
    """A corpus as a folder: its audio, `manifest.jsonl`, `quarantine.jsonl`, and `source.json`, which says what it is.

    Raises:
        UserError: as `fetch`, and when a larger share of it is bad.
    """
    fetched = copy_in(fetch(name, request, out), out)
    check_bad_fraction(fetched.usable, fetched.rejected, max_bad_fraction)
    write_manifest(out, fetched.clips, fetched.rejected)
    files.write_json(out / SOURCE_NAME, {"corpus": name, **fetched.source})
    return fetched


def __getattr__(name: str) -> Any:
    """`load_audio_dataset` and `list_audio_datasets`: imported when asked for: fetch does not depend on them."""
    if name in ("load_audio_dataset", "list_audio_datasets"):
        return getattr(importlib.import_module("soundraft.corpora.loading"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["CORPORA", "AudioDataset", "AudioSample", "Corpus", "CorpusError", "Fetched", "Request", "bring_in", "fetch"]
