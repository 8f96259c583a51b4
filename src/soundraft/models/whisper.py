"""Whisper: an encoder over 30 s windows and a decoder that writes text."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from soundraft import runtime
from soundraft.models.base import ModelError, TextScores, describe_extractor, split_scores

GENERATED_ROWS = 32
NO_TOKEN = -1  # fills up the rows of shorter texts


class WhisperAdapter:
    """Adapter for `WhisperForConditionalGeneration`; it transcribes one language, without timestamps.

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
        return self._generate(encoded, do_sample=False)

    def sample(self, encoded: torch.Tensor, count: int, *, temperature: float, seeds: Sequence[int]) -> list[list[str]]:
        """Clip by clip, each from its own seed; at most `GENERATED_ROWS` texts at a time, for the decoder's cache."""
        texts = []
        for hidden, seed in zip(encoded, seeds, strict=True):
            drawn: list[str] = []
            with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
                torch.manual_seed(seed)
                while len(drawn) < count:
                    rows = hidden.expand(min(GENERATED_ROWS, count - len(drawn)), -1, -1)
                    drawn += self._generate(rows, do_sample=True, temperature=temperature, top_k=0)
            texts.append(drawn)
        return texts

    def score(self, features: Sequence[torch.Tensor], texts: Sequence[Sequence[str]]) -> list[TextScores]:
        """As the protocol says; the token that ends a text counts with it, the prompt is given.

        Raises:
            ModelError: when a text is longer than the decoder can write.
        """
        labels = [torch.tensor(self._tokens(text)) for group in texts for text in group]
        rows = torch.repeat_interleave(torch.tensor([len(group) for group in texts])).to(self.device)  # row → clip
        prompt = torch.tensor(self.prompt)
        sequence = torch.nn.utils.rnn.pad_sequence
        inputs = sequence([torch.cat([prompt, label[:-1]]) for label in labels], batch_first=True)
        targets = sequence(labels, batch_first=True, padding_value=NO_TOKEN).to(self.device)
        hidden = self.model.get_encoder()(self._batch(features)).last_hidden_state
        logits = self.model(
            encoder_outputs=(hidden.index_select(0, rows),), decoder_input_ids=inputs.to(self.device), use_cache=False
        ).logits[:, len(prompt) - 1 :]
        real = targets != NO_TOKEN
        log_probs = torch.log_softmax(logits.float(), dim=-1).gather(2, targets.clamp(min=0)[..., None])[..., 0]
        return split_scores((log_probs * real).sum(1), real.sum(1), texts)

    def save(self, folder: Path) -> None:
        self.model.save_pretrained(folder)
        self.processor.save_pretrained(folder)

    def _tokens(self, text: str) -> list[int]:
        """Token ids of a text and the token that ends it."""
        tokens: list[int] = self.tokenizer(text, add_special_tokens=False).input_ids
        most = self.model.config.max_target_positions - len(self.prompt)
        if len(tokens) > most:
            raise ModelError(f"text of {len(tokens)} tokens; this model takes {most}: {text[:60]!r}")
        return [*tokens, self.tokenizer.eos_token_id]

    def _batch(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        """`[T, F]` each → `[B, F, T]`, the layout of Whisper's convolutions."""
        return torch.stack(list(features)).transpose(1, 2).to(self.device)

    def _generate(self, encoded: torch.Tensor, **options: Any) -> list[str]:
        from transformers.modeling_outputs import BaseModelOutput

        with torch.inference_mode():
            tokens = self.model.generate(encoder_outputs=BaseModelOutput(encoded), **options)
        return [text.strip() for text in self.tokenizer.batch_decode(tokens, skip_special_tokens=True)]


def _set_prompt(config: Any, language: str | None) -> list[int]:
    """Fix language and task in a generation config; the tokens that every transcript then begins with."""
    prompt = [config.decoder_start_token_id]
    if getattr(config, "is_multilingual", False):
        config.language = language or getattr(config, "language", None)
        token = config.lang_to_id.get(f"<|{config.language}|>")
        if token is None:
            known = " ".join(sorted(name.strip("<|>") for name in config.lang_to_id))
            raise ModelError(f"model.language: got {config.language!r}; this Whisper knows: {known}")
        config.task = "transcribe"
        prompt += [token, config.task_to_id[config.task]]
    return [*prompt, config.no_timestamps_token_id]
