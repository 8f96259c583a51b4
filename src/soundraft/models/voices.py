"""Whose voice it is: embeddings of speakers by the package resemblyzer, an extra, and how similar they are.

Its network is the generalised end-to-end encoder of Wan et al., arXiv 1710.10467, trained on recorded speech.
"""

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from soundraft import runtime
from soundraft.runtime import UserError

LEAST_S = 2.0  # of shorter clips the similarity says little
MISSING = "the package resemblyzer is not installed: pip install 'soundraft[speech]'"


class VoiceEncoder:
    """Raises UserError when resemblyzer is not installed."""

    def __init__(self) -> None:
        try:
            resemblyzer: Any = importlib.import_module("resemblyzer")
        except ImportError as error:
            raise UserError(f"speaker similarity: {MISSING}") from error
        self._prepare = resemblyzer.preprocess_wav
        self._encoder = resemblyzer.VoiceEncoder(runtime.device(), verbose=False)

    def embed(self, samples: np.ndarray, rate_hz: int) -> np.ndarray:
        """An embedding `[256]` of length 1 of samples `[N]`.

        Raises:
            UserError: when they are shorter than `LEAST_S` or silent.
        """
        if len(samples) < LEAST_S * rate_hz:
            raise UserError(f"{len(samples) / rate_hz:.2f} s of speech; a voice takes {LEAST_S:g} s or more")
        if not np.any(samples):
            raise UserError("silence has no voice")
        prepared = self._prepare(np.asarray(samples, np.float32), source_sr=rate_hz)
        if not len(prepared):
            raise UserError("no speech in which to hear a voice")
        return np.asarray(self._encoder.embed_utterance(prepared))


def similarities(embeddings: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> np.ndarray:
    """Cosine similarities `[N, M]` of embeddings of length 1."""
    return np.stack(list(embeddings)) @ np.stack(list(others)).T
