"""Whisper: an encoder over 30 s windows and a decoder that writes text."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from soundraft import runtime
from soundraft.models import whisper_long
from soundraft.models.base import ModelError, TextScores, describe_extractor, split_scores
from soundraft.models.whisper_noise import Part, SeededNoise, in_groups
from soundraft.runtime import derive_seed

GENERATED_ROWS = 32
NO_TOKEN = -1  # fills up the rows of shorter texts
BROKEN = "\N{REPLACEMENT CHARACTER}"  # what bytes that are no character are read as
# written without spaces (openai/whisper `tokenizer.py`, `split_to_word_tokens`), so none stands in front either
SPACELESS = ("zh", "ja", "th", "lo", "my", "yue")


class WhisperAdapter:
    """Adapter for `WhisperForConditionalGeneration`; it transcribes one language, without timestamps.

    Whisper was trained on texts that begin with a space, and writes them so. The texts given and taken here have none;
    it is put in front of what is scored, which thus has the tokens that were drawn.

    Args:
        language: code of the language, such as `en`; kept in the model's generation config when it is saved.

    Raises:
        ModelError: when a multilingual model has no language yet, or does not know the one given.
    """

    takes_masking = False  # its features are padded to a whole window, and 0 is not their mean

    def __init__(self, model: Any, processor: Any, language: str | None = None) -> None:
        self.device = runtime.device()
        self.model = model.to(self.device)
        self.processor = processor
        self.extractor = processor.feature_extractor
        self.tokenizer = processor.tokenizer
        self.sample_rate_hz: int = self.extractor.sampling_rate
        self.window_s: float = self.extractor.chunk_length
        self.prompt = _set_prompt(model.generation_config, language)
        self.lead = "" if getattr(model.generation_config, "language", None) in SPACELESS else " "

    def extract(self, samples: np.ndarray) -> torch.Tensor:
        """Mono `[N]` → log-mel `[T, F]` of one window, padded to its full length as Whisper wants it.

        Raises:
            ModelError: when the clip is longer than the window; the rest would be lost.
        """
        seconds = len(samples) / self.sample_rate_hz
        if seconds > self.window_s:
            raise ModelError(f"clip of {seconds:.1f} s; this model's window is {self.window_s} s")
        values = self.extractor(samples, sampling_rate=self.sample_rate_hz, return_tensors="pt")
        return values["input_features"][0].T.contiguous()

    def features_depend_on(self) -> dict[str, Any]:
        return describe_extractor(self.extractor)

    def encode(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        """The encoder's last hidden states `[B, T, D]`."""
        with torch.inference_mode():
            return self.model.get_encoder()(self._batch(features)).last_hidden_state

    def greedy(self, encoded: torch.Tensor) -> list[str]:
        return self.read(self.write(encoded))

    def careful(self, encoded: torch.Tensor) -> list[str]:
        return whisper_long.with_fallback(self, encoded)

    def sample(self, encoded: torch.Tensor, count: int, *, temperature: float, seeds: Sequence[int]) -> list[list[str]]:
        """As the protocol says; texts of several clips are written at once, `GENERATED_ROWS` at most.

        Each clip draws from generators of its own: one for every `GENERATED_ROWS` of its texts.
        """
        parts = [
            Part(clip, min(GENERATED_ROWS, count - start), derive_seed(seed, start))
            for clip, seed in enumerate(seeds)
            for start in range(0, count, GENERATED_ROWS)
        ]
        texts: list[list[str]] = [[] for _ in seeds]
        for group in in_groups(parts, GENERATED_ROWS):
            clips = [part.clip for part in group for _ in range(part.rows)]
            noise = SeededNoise(group, temperature, self.device)
            for clip, text in zip(clips, self.read(self.write(encoded[clips], noise)), strict=True):
                texts[clip].append(text)
        return texts

    def can_score(self, text: str) -> bool:
        return self._obstacle(text, self._text_tokens(text)) is None

    def score(self, features: Sequence[torch.Tensor], texts: Sequence[Sequence[str]]) -> list[TextScores]:
        """As the protocol says; the token that ends a text counts with it, the prompt is given.

        Raises:
            ModelError: when a text is longer than the decoder can write, or has characters that are none.
        """
        labels = [self._tokens(text) for group in texts for text in group]
        rows = torch.repeat_interleave(torch.tensor([len(group) for group in texts])).to(self.device)  # row → clip
        hidden = self.model.get_encoder()(self._batch(features)).last_hidden_state
        log_probs, tokens = self.log_probs(hidden.index_select(0, rows), labels)
        return split_scores(TextScores(log_probs, tokens, torch.ones_like(tokens, dtype=torch.bool)), texts)

    def log_probs(self, encoded: torch.Tensor, labels: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """For each row `[R, T, D]` the logarithm of the probability of its tokens, and how many they are, `[R]`."""
        prompt = torch.tensor(self.prompt)
        rows = [torch.tensor(label) for label in labels]
        sequence = torch.nn.utils.rnn.pad_sequence
        inputs = sequence([torch.cat([prompt, row[:-1]]) for row in rows], batch_first=True).to(self.device)
        targets = sequence(rows, batch_first=True, padding_value=NO_TOKEN).to(self.device)
        logits = self.model(encoder_outputs=(encoded,), decoder_input_ids=inputs, use_cache=False).logits
        each = torch.log_softmax(logits[:, len(prompt) - 1 :].float(), dim=-1)
        real = targets != NO_TOKEN
        chosen = each.gather(2, targets.clamp(min=0)[..., None])[..., 0]
        return (chosen * real).sum(1), real.sum(1)

    def write(self, encoded: torch.Tensor, noise: SeededNoise | None = None) -> list[list[int]]:
        """The tokens of each row's text, without prompt and end; the likeliest, or drawn by the noise."""
        from transformers import LogitsProcessorList
        from transformers.modeling_outputs import BaseModelOutput

        with torch.inference_mode():
            rows = self.model.generate(
                encoder_outputs=BaseModelOutput(encoded),
                do_sample=False,
                logits_processor=LogitsProcessorList([noise] if noise else []),
            )
        special = set(self.tokenizer.all_special_ids)
        return [[token for token in row if token not in special] for row in rows.tolist()]

    def read(self, rows: Sequence[Sequence[int]]) -> list[str]:
        return [text.strip() for text in self.tokenizer.batch_decode(rows, skip_special_tokens=True)]

    def save(self, folder: Path) -> None:
        self.model.save_pretrained(folder)
        self.processor.save_pretrained(folder)

    def _tokens(self, text: str) -> list[int]:
        """Token ids of a text and the token that ends it."""
        tokens = self._text_tokens(text)
        obstacle = self._obstacle(text, tokens)
        if obstacle:
            raise ModelError(obstacle)
        return [*tokens, self.tokenizer.eos_token_id]

    def _text_tokens(self, text: str) -> list[int]:
        stripped = text.strip()
        tokens: list[int] = self.tokenizer(self.lead + stripped, add_special_tokens=False).input_ids if stripped else []
        return tokens

    def _obstacle(self, text: str, tokens: Sequence[int]) -> str | None:
        """Why a text cannot be scored."""
        most = self.model.config.max_target_positions - len(self.prompt)
        if len(tokens) > most:
            return f"text of {len(tokens)} tokens; this model takes {most}: {text[:60]!r}"
        if BROKEN in text:  # its tokens are not those that were drawn
            return f"text with {BROKEN}, which stands for bytes that are no character: {text[:60]!r}"
        return None

    def _batch(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        """`[T, F]` each → `[B, F, T]`, the layout of Whisper's convolutions."""
        return torch.stack(list(features)).transpose(1, 2).to(self.device)


def _set_prompt(config: Any, language: str | None) -> list[int]:
    """Fix language and task in a generation config; the tokens that every transcript then begins with."""
    prompt = [config.decoder_start_token_id]
    if getattr(config, "is_multilingual", False):
        config.language = language or getattr(config, "language", None)
        token = config.lang_to_id.get(f"<|{config.language}|>")
        if token is None:
            known = " ".join(sorted(name.strip("<|>") for name in config.lang_to_id))
            raise ModelError(
                f"a multilingual Whisper must be told its language (model.language in the params, or --language): "
                f"got {config.language!r}; it knows: {known}"
            )
        config.task = "transcribe"
        prompt += [token, config.task_to_id[config.task]]
    return [*prompt, config.no_timestamps_token_id]
