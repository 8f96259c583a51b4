"""Recognisers trained with connectionist temporal classification: wav2vec2, HuBERT, WavLM, Parakeet, Lasr, …"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from soundraft import runtime
from soundraft.models.base import ModelError, TextScores, length_mask, pad, split_scores

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


@dataclass(frozen=True)
class Frames:
    """Log-probabilities `[B, T, V]` on the CPU, and how many of the T frames are real, `[B]`."""

    log_probs: torch.Tensor
    lengths: torch.Tensor


class CTCAdapter:
    """Adapter for `AutoModelForCTC`."""

    takes_masking = True

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
        self._silent = {self.tokenizer.unk_token_id, self.tokenizer.bos_token_id, self.tokenizer.eos_token_id}
        letters = {token for token in self.tokenizer.get_vocab() if len(token) == 1 and token.isalpha()}
        self._upper = bool(letters) and all(letter == letter.upper() for letter in letters)
        self._texts: dict[tuple[int, ...], str] = {}

    def extract(self, samples: np.ndarray) -> torch.Tensor:
        values = self.extractor(
            samples, sampling_rate=self.sample_rate_hz, return_attention_mask=True, return_tensors="pt"
        )
        features = values[self.model.main_input_name][0]
        return features[: int(values["attention_mask"][0].sum())].clone()

    def encode(self, features: Sequence[torch.Tensor]) -> Frames:
        with torch.inference_mode():
            log_probs, lengths = self._log_probs(features)
        return Frames(log_probs.float().cpu(), lengths.cpu())

    def greedy(self, encoded: Frames) -> list[str]:
        paths = encoded.log_probs.argmax(-1).numpy()
        return [self._text(path[:length]) for path, length in zip(paths, encoded.lengths.tolist(), strict=True)]

    def sample(self, encoded: Frames, count: int, *, temperature: float, seeds: Sequence[int]) -> list[list[str]]:
        texts = []
        for log_probs, length, seed in zip(encoded.log_probs, encoded.lengths.tolist(), seeds, strict=True):
            generator = torch.Generator().manual_seed(seed)
            probabilities = torch.softmax(log_probs[:length] / temperature, dim=-1)  # [T, V]
            paths = torch.multinomial(probabilities, count, replacement=True, generator=generator)  # [T, K]
            texts.append([self._text(path) for path in paths.T.contiguous().numpy()])
        return texts

    def score(self, features: Sequence[torch.Tensor], texts: Sequence[Sequence[str]]) -> list[TextScores]:
        """As the protocol says. A text too long for its clip has no alignment: it gets 0 and no gradient."""
        log_probs, lengths = self._log_probs(features)
        labels = [self._tokens(text) for group in texts for text in group]
        sizes = torch.tensor([len(label) for label in labels])
        rows = torch.repeat_interleave(torch.tensor([len(group) for group in texts]))  # row → clip
        frames = log_probs.float().cpu().transpose(0, 1)  # [T, B, V]; the CUDA kernel is not deterministic
        if len(rows) != len(texts) or any(len(group) != 1 for group in texts):
            frames = frames.index_select(1, rows)
        losses = F.ctc_loss(
            frames,
            torch.tensor([token for label in labels for token in label], dtype=torch.long),
            lengths.cpu()[rows],
            sizes,
            blank=self.blank_id,
            reduction="none",
            zero_infinity=True,
        )
        return split_scores(-losses, sizes.clamp(min=1), texts)

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
        return torch.log_softmax(logits, dim=-1), self._output_lengths(lengths).clamp(max=logits.shape[1])

    def _tokens(self, text: str) -> list[int]:
        """Token ids of a text, in the letter case that the vocabulary has.

        Raises:
            ModelError: when the vocabulary lacks a character; learning `<unk>` for it would spoil the model.
        """
        cased = text.upper() if self._upper else text
        tokens: list[int] = self.tokenizer(cased, add_special_tokens=False).input_ids
        if self.tokenizer.unk_token_id in tokens:
            raise ModelError(f"the model's vocabulary cannot spell {cased!r}; reward.normalizer: basic may help")
        return tokens

    def _text(self, path: np.ndarray) -> str:
        """The text of one path `[T]` of token ids."""
        tokens = collapse(path, self.blank_id)
        if tokens not in self._texts:
            # The tokenizer merges repeats once more: a blank between them keeps "three" from becoming "thre".
            # It drops the blanks itself, and only after merging; `skip_special_tokens` would drop them before.
            separated = [part for token in tokens if token not in self._silent for part in (token, self.blank_id)]
            self._texts[tokens] = self.tokenizer.decode(separated).strip()
        return self._texts[tokens]


def collapse(path: np.ndarray, blank_id: int) -> tuple[int, ...]:
    """CTC's rule: merge repeats, then drop blanks. `a a _ a b b` → `a a b`."""
    first_of_run = np.ones(len(path), dtype=bool)
    first_of_run[1:] = path[1:] != path[:-1]
    return tuple(path[first_of_run & (path != blank_id)].tolist())
