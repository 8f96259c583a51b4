"""Where recordings come from: one dict names every corpus."""

import importlib
from pathlib import Path
from typing import Any

from soundraft import files
from soundraft.corpora import catalog, custom, espeak, fsdd, hub, originals, recordings
from soundraft.corpora import hub as anyhub
from soundraft.corpora.base import (
    SOURCE_NAME,
    AudioDataset,
    AudioSample,
    Corpus,
    CorpusError,
    Fetched,
    Request,
    check_options,
    copy_in,
)
from soundraft.manifest import check_bad_fraction, write_manifest

CORPORA: dict[str, Corpus] = {
    "espeak": espeak.CORPUS,
    "fsdd": fsdd.CORPUS,
    "librispeech": catalog.LIBRISPEECH.corpus(),
    "common_voice": catalog.COMMON_VOICE.corpus(),
    "fleurs": catalog.FLEURS.corpus(),
    "voxceleb": catalog.VOXCELEB.corpus(),
    "audioset": catalog.AUDIOSET.corpus(),
    "speech_commands": catalog.SPEECH_COMMANDS.corpus(),
    "esc50": catalog.ESC50.corpus(hub.Original(originals.is_esc50, originals.fetch_esc50)),
    "urbansound8k": catalog.URBANSOUND8K.corpus(hub.Original(originals.is_urbansound8k, originals.fetch_urbansound8k)),
    "emodb": catalog.EMODB.corpus(hub.Original(originals.is_emodb, originals.fetch_emodb)),
    "minds14": catalog.MINDS14.corpus(),
    "speech_massive": catalog.SPEECH_MASSIVE.corpus(),
    "folder": recordings.CORPUS,
    "jsonl": recordings.JSONL,
    "hub": anyhub.CORPUS,
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


def bring_in(name: str, request: Request, out: Path, *, max_bad_fraction: float, link: bool = False) -> Fetched:
    """A corpus as a folder: its audio, `manifest.jsonl`, `quarantine.jsonl`, and `source.json`, which says what it is.

    Args:
        link: as of `copy_in`.

    Raises:
        UserError: as `fetch`, and when a larger share of it is bad.
    """
    fetched = copy_in(fetch(name, request, out), out, link=link)
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
