"""What training and evaluation ask of a speech recogniser, whatever its architecture.

Letters in shapes: B clips of a batch, K samples of a clip, T frames, F features, V vocabulary, N samples of audio.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from soundraft.runtime import UserError


@dataclass(frozen=True)
class TextScores:
    """The texts of one clip under a model.

    Attributes:
        log_probs: `[K]`, natural logarithm of each text's probability; for CTC over all its alignments.
        tokens: `[K]`, of how many tokens each text consists, at least 1.
        possible: `[K]`, whether the clip can have the text at all. Where a CTC text needs more frames than there are,
            its probability is 0, but `log_probs` has 0 without gradient: a mean loss stays finite and learns nothing
            from it. Leave such texts out where probabilities are compared.
    """

    log_probs: torch.Tensor
    tokens: torch.Tensor
    possible: torch.Tensor


class Recognizer(Protocol):
    """A speech recogniser. `encode` runs the network once; `greedy` and `sample` reuse what it returns."""

    model: torch.nn.Module
    sample_rate_hz: int
    window_s: float  # the longest clip that it takes, or takes well
    takes_masking: bool  # whether SpecAugment of ours suits its features

    def extract(self, samples: np.ndarray) -> torch.Tensor:
        """Mono samples `[N]` at `sample_rate_hz` → the features of one clip, `[T, F]`, unpadded.

        Raises:
            ModelError: when the model cannot take a clip of this length.
        """
        ...

    def features_depend_on(self) -> dict[str, Any]:
        """What beside the samples decides what `extract` gives, as values of JSON: the key to features kept on disk."""
        ...

    def encode(self, features: Sequence[torch.Tensor]) -> Any:
        """Run the encoder on a padded batch, without gradient."""
        ...

    def greedy(self, encoded: Any) -> list[str]:
        """The most likely text of each clip, by greedy decoding."""
        ...

    def careful(self, encoded: Any) -> list[str]:
        """As `greedy`, but what shows the marks of a hallucination is tried again: for recordings nobody checked."""
        ...

    def sample(self, encoded: Any, count: int, *, temperature: float, seeds: Sequence[int]) -> list[list[str]]:
        """`count` random texts of each clip, in the order drawn; `seeds` has one seed a clip."""
        ...

    def can_score(self, text: str) -> bool:
        """Whether `score` takes this text; cheap."""
        ...

    def score(self, features: Sequence[torch.Tensor], texts: Sequence[Sequence[str]]) -> list[TextScores]:
        """How likely each clip makes each of its texts, with gradient; the network runs once a clip.

        Raises:
            ModelError: when `can_score` says no to a text.
        """
        ...

    def save(self, folder: Path) -> None:
        """Write model and processor so that `AutoModelFor…` and `AutoProcessor` load them."""
        ...


class ModelError(UserError):
    """The model cannot be used; the message says why and what can."""


def describe_extractor(extractor: Any) -> dict[str, Any]:
    """The class and settings of a feature extractor of transformers, and the libraries that it computes with."""
    import transformers

    settings = {name: value for name, value in extractor.to_dict().items() if not isinstance(value, np.ndarray)}
    versions = {"transformers": transformers.__version__, "torch": torch.__version__, "numpy": np.__version__}
    return {"extractor": type(extractor).__name__, "settings": settings, **versions}


def pad(features: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """`[T_i, F]` each → `[B, T, F]` padded with zeros, and the lengths `[B]`."""
    lengths = torch.tensor([len(feature) for feature in features])
    return torch.nn.utils.rnn.pad_sequence(list(features), batch_first=True), lengths


def length_mask(lengths: torch.Tensor, size: int) -> torch.Tensor:
    """Lengths `[B]` → `[B, size]`, true where a frame is real."""
    return torch.arange(size, device=lengths.device)[None, :] < lengths[:, None]


def split_scores(rows: TextScores, texts: Sequence[Sequence[str]]) -> list[TextScores]:
    """One row a text, `[B·K]` → one `TextScores` a clip."""
    counts = [len(group) for group in texts]
    columns = (column.split(counts) for column in (rows.log_probs, rows.tokens, rows.possible))
    return [TextScores(*parts) for parts in zip(*columns, strict=True)]
