"""What training and evaluation ask of a model, whatever its task and architecture.

Letters in shapes: B clips of a batch, K answers of a clip, T frames, F features, V vocabulary, N samples of audio.
"""

from abc import abstractmethod
from bisect import bisect_left, bisect_right
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from soundraft import runtime
from soundraft.params.sections import Fallback
from soundraft.runtime import UserError

Answer = Hashable  # what a model gives for a clip, such as a text or a label
Span = tuple[float, float]  # from, to, seconds
BROKEN = "\N{REPLACEMENT CHARACTER}"  # what bytes that are no character are read as


class ModelError(UserError):
    """The model cannot be used."""


class Losses(Protocol):
    """The answers of one clip under a model."""

    @property
    def losses(self) -> torch.Tensor:
        """`[K]`, of learning each answer, with gradient."""
        ...


@dataclass(frozen=True)
class LogProbs:
    """The losses of a model with a likelihood, which policy gradients need.

    Attributes:
        log_probs: `[K]`, natural logarithms; for CTC over all alignments.
        tokens: `[K]`, of how many tokens each answer consists, at least 1.
        possible: `[K]`, whether the clip can have the answer at all. Where a CTC text needs more frames than there are,
            `log_probs` has 0 without gradient, so that a mean loss stays finite: leave it out of comparisons.
    """

    log_probs: torch.Tensor
    tokens: torch.Tensor
    possible: torch.Tensor

    @property
    def losses(self) -> torch.Tensor:
        """The negative log-probability per token."""
        return -self.log_probs / self.tokens


class Model(Protocol):
    """A model of any task. `encode` runs the network once; `best` and `sample` reuse what it returns."""

    model: torch.nn.Module
    sample_rate_hz: int
    takes_masking: bool  # whether masks of zeros suit its features

    def extract(self, samples: np.ndarray) -> torch.Tensor:
        """Samples `[N]` at `sample_rate_hz` → features `[T, F]`, or ModelError when the clip is too short or long."""
        ...

    def features_depend_on(self) -> dict[str, Any]:
        """What beside the samples decides the features, as values of JSON."""
        ...

    def encode(self, features: Sequence[torch.Tensor]) -> Any:
        """Run the encoder on a padded batch, without gradient."""
        ...

    def best(self, encoded: Any) -> Sequence[Answer]:
        """The most likely answer of each clip."""
        ...

    def sample(self, encoded: Any, count: int, *, temperature: float, seeds: Sequence[int]) -> Sequence[list[Any]]:
        """`count` random answers of each clip, in the order drawn; `seeds` has one seed a clip."""
        ...

    def can_learn(self, answer: Any) -> bool:
        """Whether `loss` takes this answer; cheap."""
        ...

    def loss(self, features: Sequence[torch.Tensor], answers: Sequence[Sequence[Any]]) -> Sequence[Losses]:
        """The loss of each of a clip's answers, for every clip; the network runs once. ModelError as `can_learn`."""
        ...

    def save(self, folder: Path) -> None: ...


class Recognizer(Model):
    """A speech recogniser of transformers with its processor; its answers are texts."""

    takes_masking = False  # such as Whisper, whose features are padded to a window, and 0 is not their mean
    window_s: float | None = None

    def __init__(self, model: Any, processor: Any) -> None:
        self.device = runtime.device()
        # with channels side by side torch's convolutions over bands are twice as fast on a CPU
        self.model = model.to(self.device, memory_format=torch.channels_last)
        self.processor = processor
        self.extractor = processor.feature_extractor
        self.tokenizer = processor.tokenizer
        self.sample_rate_hz: int = self.extractor.sampling_rate
        _check_vocabulary(model.config.vocab_size, self.tokenizer)

    @property
    def learned_clip_s(self) -> float | None:
        """All but one in a hundred of its training clips are at most so long, s; `None` for other people's models."""
        found: float | None = getattr(self.model.config, "learned_clip_s", None)
        return found

    def note_learned(self, durations_s: Sequence[float]) -> None:
        """Keep with the checkpoint how long the learned clips are; of what was learned elsewhere that is not known."""
        if self.learned_clip_s is not None:
            longest = round(float(np.quantile(durations_s, 0.99)), 3)
            self.model.config.learned_clip_s = max(self.learned_clip_s, longest)

    def features_depend_on(self) -> dict[str, Any]:
        return describe_extractor(self.extractor)

    @abstractmethod
    def best(self, encoded: Any) -> list[str]: ...

    def best_with_fallback(self, encoded: Any, options: Fallback) -> list[str]:
        """As `best`, but texts that look like hallucinations are decoded again: for unchecked recordings."""
        return self.best(encoded)

    @abstractmethod
    def word_times(self, encoded: Any, texts: Sequence[str], durations_s: Sequence[float]) -> list[list[Span]]:
        """Where each of `words_of` a text begins and ends in its clip."""
        ...

    def save(self, folder: Path) -> None:
        """Write model and processor so that `AutoModelFor…` and `AutoProcessor` load them."""
        from transformers import logging

        logging.disable_progress_bar()
        self.model.save_pretrained(folder)
        self.processor.save_pretrained(folder)


def _check_vocabulary(outputs: int, tokenizer: Any) -> None:
    """Raise ModelError where a text may have tokens for which the network has no output, or there are none."""
    special = set(tokenizer.all_special_ids)
    tokens = {id_: token for token, id_ in tokenizer.get_vocab().items() if id_ not in special}
    last = max(tokens, default=-1)
    if not tokens:
        raise ModelError("its tokenizer is empty: tokenizer.json or vocab.json is missing")
    if last >= outputs:
        raise ModelError(f"its network has {outputs} outputs, but its tokenizer has token {last}, {tokens[last]!r}")


def words_of(text: str) -> tuple[list[str], str]:
    """The words of a text, or its characters where it has no spaces, and what stands between them."""
    words = text.split()
    return (words, " ") if len(words) > 1 else (list(text), "")


def spans_of_words(text: str, read: Sequence[str], begins_s: Sequence[float], ends_s: Sequence[float]) -> list[Span]:
    """The times of the words of a text from those of its tokens.

    Args:
        read: the text up to each token and with it.
        begins_s, ends_s: of each token.
    """
    written = [_letters(part) for part in read]
    begun = [count + part.endswith(BROKEN) for count, part in zip(written, read, strict=True)]
    found, letters, last = [], 0, len(written) - 1
    for word in words_of(text)[0]:
        first = bisect_right(begun, letters)
        letters += _letters(word)
        found.append((begins_s[min(first, last)], ends_s[min(bisect_left(written, letters), last)]))
    return found


def _letters(text: str) -> int:
    return len("".join(text.replace(BROKEN, "").split()))


def describe_extractor(extractor: Any) -> dict[str, Any]:
    import transformers

    settings = {name: value for name, value in extractor.to_dict().items() if not isinstance(value, np.ndarray)}
    versions = {"transformers": transformers.__version__, "torch": torch.__version__, "numpy": np.__version__}
    return {"extractor": type(extractor).__name__, "settings": settings, **versions}


def pad(features: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """`[T_i, F]` each → `[B, T, F]` padded with zeros, and the lengths `[B]`."""
    lengths = torch.tensor([len(feature) for feature in features])
    return torch.nn.utils.rnn.pad_sequence(list(features), batch_first=True), lengths


def alike(features: Sequence[torch.Tensor]) -> list[list[int]]:
    """The clips in groups of one length, by index: where a model takes no mask, padding would change its answers."""
    groups: dict[int, list[int]] = {}
    for index, clip in enumerate(features):
        groups.setdefault(len(clip), []).append(index)
    return list(groups.values())


def length_mask(lengths: torch.Tensor, size: int) -> torch.Tensor:
    """Lengths `[B]` → `[B, size]`, true where a frame is real."""
    return torch.arange(size, device=lengths.device)[None, :] < lengths[:, None]


def rows_of_clips(answers: Sequence[Sequence[Any]]) -> torch.Tensor:
    """The clip of each answer, `[B·K]`."""
    return torch.repeat_interleave(torch.tensor([len(group) for group in answers]))


def by_clip(rows: LogProbs, answers: Sequence[Sequence[Any]]) -> list[LogProbs]:
    """One row an answer, `[B·K]` → one `LogProbs` a clip."""
    counts = [len(group) for group in answers]
    columns = (column.split(counts) for column in (rows.log_probs, rows.tokens, rows.possible))
    return [LogProbs(*parts) for parts in zip(*columns, strict=True)]


def length_batches(lengths: Sequence[int], batch_size: int) -> list[list[int]]:
    """Indices in batches of similar length, for inference: sorted, so that padding costs little."""
    order = sorted(range(len(lengths)), key=lambda index: (lengths[index], index))
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
