"""Samples as the answer of a model."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import xxhash


class Waveform:
    """Samples `[N]`, float32. Equal ones have one hash, whatever else is known of them."""

    def __init__(self, samples: np.ndarray) -> None:
        self.samples: np.ndarray = np.ascontiguousarray(samples, dtype=np.float32)

    @cached_property
    def digest(self) -> str:
        return xxhash.xxh3_128_hexdigest(self.samples.data)

    def __len__(self) -> int:
        return len(self.samples)

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, Waveform) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"Waveform({len(self)} samples, {self.digest})"


class CleanSpeech(Waveform):
    """The clean speech of a clip: what an enhancer is to answer.

    Attributes:
        name: of the clip.
        noisy: what the enhancer gets, `[N]`.
        facts: of the mixture (snr_db, noise, room) and the clip (text).
        source: the speech before it was mixed, `[N]`; `None` where the clip came with its noise.
    """

    def __init__(
        self, samples: np.ndarray, *, name: str, noisy: np.ndarray, facts: Mapping[str, Any],
        source: np.ndarray | None = None,
    ) -> None:  # fmt: skip
        super().__init__(samples)
        self.name, self.noisy, self.facts, self.source = name, noisy, facts, source
