"""Where recordings come from: one dict names every corpus."""

import importlib
from pathlib import Path
from typing import Any

from soundraft import files
from soundraft.corpora import anyhub, custom, espeak, folder, fsdd, hub, originals, sounds, speech
from soundraft.corpora.base import SOURCE_NAME, Corpus, CorpusError, Fetched, Request, check_options, copy_in
from soundraft.corpora.samples import AudioDataset, AudioSample
from soundraft.manifest import check_bad_fraction, write_manifest

CORPORA: dict[str, Corpus] = {
    "espeak": espeak.CORPUS,
    "fsdd": fsdd.CORPUS,
    "librispeech": speech.LIBRISPEECH.corpus(),
    "common_voice": speech.COMMON_VOICE.corpus(),
    "fleurs": speech.FLEURS.corpus(),
    "voxceleb": speech.VOXCELEB.corpus(),
    "audioset": sounds.AUDIOSET.corpus(),
    "speech_commands": sounds.SPEECH_COMMANDS.corpus(),
    "esc50": sounds.ESC50.corpus(hub.Original(originals.is_esc50, originals.fetch_esc50)),
    "urbansound8k": sounds.URBANSOUND8K.corpus(hub.Original(originals.is_urbansound8k, originals.fetch_urbansound8k)),
    "emodb": sounds.EMODB.corpus(hub.Original(originals.is_emodb, originals.fetch_emodb)),
    "minds14": speech.MINDS14.corpus(),
    "speech_massive": speech.SPEECH_MASSIVE.corpus(),
    "folder": folder.CORPUS,
    "jsonl": folder.JSONL,
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
