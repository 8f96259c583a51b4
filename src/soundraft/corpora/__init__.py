"""Where recordings come from: one dict names every corpus."""

from pathlib import Path

from soundraft.corpora import anyhub, espeak, folder, fsdd, sounds, speech
from soundraft.corpora.base import Corpus, CorpusError, Fetched, Request, check_options

CORPORA: dict[str, Corpus] = {
    "espeak": espeak.CORPUS,
    "fsdd": fsdd.CORPUS,
    "librispeech": speech.LIBRISPEECH.corpus(),
    "common_voice": speech.COMMON_VOICE.corpus(),
    "fleurs": speech.FLEURS.corpus(),
    "voxceleb": speech.VOXCELEB.corpus(),
    "audioset": sounds.AUDIOSET.corpus(),
    "speech_commands": sounds.SPEECH_COMMANDS.corpus(),
    "esc50": sounds.ESC50.corpus(),
    "urbansound8k": sounds.URBANSOUND8K.corpus(),
    "emodb": sounds.EMODB.corpus(),
    "minds14": speech.MINDS14.corpus(),
    "speech_massive": speech.SPEECH_MASSIVE.corpus(),
    "folder": folder.CORPUS,
    "hub": anyhub.CORPUS,
}


def fetch(name: str, request: Request, out: Path) -> Fetched:
    """The clips of a corpus; what has to be made or unpacked for it goes to `out`.

    Raises:
        CorpusError: when an option is not the corpus's, or it cannot be had.
    """
    corpus = CORPORA[name]
    check_options(name, corpus.info, request)
    return corpus.fetch(request, out)


__all__ = ["CORPORA", "Corpus", "CorpusError", "Fetched", "Request", "fetch"]
