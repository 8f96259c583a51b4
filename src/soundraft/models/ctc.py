"""Recognisers trained with connectionist temporal classification: wav2vec2, HuBERT, WavLM, Parakeet, Lasr, …"""

import warnings
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F

from soundraft import runtime
from soundraft.models import ctc_paths
from soundraft.models.base import ModelError, TextScores, describe_extractor, length_mask, pad, split_scores
from soundraft.models.spelling import Spelling

if TYPE_CHECKING:
    from soundraft.models.beam import ScoreNext

# transformers names the same thing, "frames out for frames in", differently per family
_OUTPUT_LENGTHS = {
    "wav2vec2": "_get_feat_extract_output_lengths",
    "wav2vec2-bert": "_get_feat_extract_output_lengths",
    "hubert": "_get_feat_extract_output_lengths",
    "wavlm": "_get_feat_extract_output_lengths",
    "parakeet_ctc": "_get_subsampling_output_length",
    "lasr_ctc": "_get_subsampling_output_length",
}
CTC_MODEL_TYPES = tuple(_OUTPUT_LENGTHS)

ENOUGH_S = 1.0  # a clip this long is never too short
BEAM_TOKENS_PER_FRAME = 16  # in a trained model's frames the 17th is below 1e-4


@dataclass(frozen=True)
class Frames:
    """Log-probabilities `[B, T, V]` on the CPU, and how many of the T frames are real, `[B]`."""

    log_probs: torch.Tensor
    lengths: torch.Tensor


class CTCAdapter:
    """Adapter for `AutoModelForCTC`."""

    takes_masking = True
    window_s = 20.0  # hub models were trained on clips up to about this long, and attention costs its square

    def __init__(self, model: Any, processor: Any) -> None:
        self.device = runtime.device()
        self.model = model.to(self.device)
        self.processor = processor
        self.extractor = processor.feature_extractor
        self.tokenizer = processor.tokenizer
        self.sample_rate_hz: int = self.extractor.sampling_rate
        self.blank_id: int = model.config.pad_token_id
        encoder = model if hasattr(model, _OUTPUT_LENGTHS[model.config.model_type]) else model.encoder
        self._output_lengths: Callable = getattr(encoder, _OUTPUT_LENGTHS[model.config.model_type])
        self.spelling = Spelling(self.tokenizer, self.blank_id)

    def extract(self, samples: np.ndarray) -> torch.Tensor:
        """As the protocol says; for models of raw waves the features are the samples, `[N]`.

        Raises:
            ModelError: when the clip is too short for a single frame.
        """
        if len(samples) < self.least_samples:
            got_ms, least_ms = (1000 * count / self.sample_rate_hz for count in (len(samples), self.least_samples))
            raise ModelError(f"clip of {got_ms:.1f} ms; this model takes {least_ms:.1f} ms or more")
        return self._features(samples)

    @cached_property
    def least_samples(self) -> int:
        """The shortest clip that gives a frame, found by halving: every family's extractor counts in its own way."""
        return 1 + bisect_left(range(1, round(ENOUGH_S * self.sample_rate_hz)), True, key=self._gives_a_frame)

    def _gives_a_frame(self, count: int) -> bool:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of means over nothing
                features = self._features(np.sin(np.arange(count, dtype=np.float32)))
        except (RuntimeError, ValueError):  # what extractors raise when not even their first window fits
            return False
        frames = int(self._output_lengths(torch.tensor([len(features)])))
        # Parakeet's extractor divides by the frames less one, and gives NaN for one frame
        return frames >= 1 and bool(features.isfinite().all())

    def _features(self, samples: np.ndarray) -> torch.Tensor:
        values = self.extractor(
            samples, sampling_rate=self.sample_rate_hz, return_attention_mask=True, return_tensors="pt"
        )
        features = values[self.model.main_input_name][0]
        return features[: int(values["attention_mask"][0].sum())].clone()

    def features_depend_on(self) -> dict[str, Any]:
        return describe_extractor(self.extractor)

    def encode(self, features: Sequence[torch.Tensor]) -> Frames:
        with torch.inference_mode():
            log_probs, lengths = self._log_probs(features)
        return Frames(log_probs.cpu(), lengths.cpu())

    def greedy(self, encoded: Frames) -> list[str]:
        return self._texts(ctc_paths.best(encoded.log_probs, encoded.lengths, blank=self.blank_id))

    def careful(self, encoded: Frames) -> list[str]:
        return self.greedy(encoded)

    def sample(self, encoded: Frames, count: int, *, temperature: float, seeds: Sequence[int]) -> list[list[str]]:
        paths = ctc_paths.draw(
            encoded.log_probs, encoded.lengths, count, temperature=temperature, seeds=seeds, blank=self.blank_id
        )
        texts = self._texts(paths.reshape(-1, paths.shape[-1]))
        return [texts[start : start + count] for start in range(0, len(texts), count)]

    def beam(
        self,
        encoded: Frames,
        *,
        width: int,
        language: "ScoreNext | None" = None,
        language_weight: float = 0.0,
        word_bonus: float = 0.0,
    ) -> list[str]:
        """The best text of each clip by prefix beam search.

        Args:
            language: (the words before, a word) → natural logarithm of its probability.
        """
        from soundraft.models.beam import Words, search

        worded = word_bonus != 0 or (language is not None and language_weight != 0)
        words = Words(self.spelling.text, language, language_weight, word_bonus) if worded else None
        texts = []
        for log_probs, length in zip(encoded.log_probs.numpy(), encoded.lengths.tolist(), strict=True):
            hypotheses = search(
                log_probs[:length],
                blank=self.blank_id,
                width=width,
                tokens_per_frame=BEAM_TOKENS_PER_FRAME,
                words=words,
            )
            texts.append(self.spelling.text(hypotheses[0].tokens))
        return texts

    def can_score(self, text: str) -> bool:
        return self.spelling.can_spell(text)

    def score(self, features: Sequence[torch.Tensor], texts: Sequence[Sequence[str]]) -> list[TextScores]:
        """As the protocol says. A text too long for its clip has no alignment: it is marked as not possible."""
        log_probs, lengths = self._log_probs(features)
        labels = [self.spelling.tokens(text) for group in texts for text in group]
        sizes = torch.tensor([len(label) for label in labels])
        rows = torch.repeat_interleave(torch.tensor([len(group) for group in texts]))  # row → clip
        frames = log_probs.cpu().transpose(0, 1)  # [T, B, V]; the CUDA kernel is not deterministic
        if len(rows) != len(texts) or any(len(group) != 1 for group in texts):
            frames = frames.index_select(1, rows)
        real_frames = lengths.cpu()[rows]
        losses = F.ctc_loss(
            frames,
            torch.tensor([token for label in labels for token in label], dtype=torch.long),
            real_frames,
            sizes,
            blank=self.blank_id,
            reduction="none",
            zero_infinity=True,
        )
        possible = torch.tensor([_least_frames(label) for label in labels]) <= real_frames
        return split_scores(TextScores(-losses, sizes.clamp(min=1), possible), texts)

    def save(self, folder: Path) -> None:
        self.model.save_pretrained(folder)
        self.processor.save_pretrained(folder)

    def _log_probs(self, features: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """`[B, T, V]` with gradient, and the real frames `[B]`."""
        padded, lengths = pad(features)
        inputs = {self.model.main_input_name: padded.to(self.device)}
        # models whose features were normalised over groups were trained without a mask: leave it out as they do
        if getattr(self.extractor, "return_attention_mask", True):
            inputs["attention_mask"] = length_mask(lengths, padded.shape[1]).to(self.device)
        logits = self.model(**inputs).logits
        return torch.log_softmax(logits.float(), dim=-1), self._output_lengths(lengths).clamp(max=logits.shape[1])

    def _texts(self, paths: np.ndarray) -> list[str]:
        """The text of each path `[R, T]` of token ids."""
        return [self.spelling.text(tokens) for tokens in ctc_paths.collapse(paths, self.blank_id)]


def _least_frames(label: Sequence[int]) -> int:
    """How many frames an alignment needs: one a token, and a blank between two that are the same."""
    return len(label) + sum(one == other for one, other in pairwise(label))
