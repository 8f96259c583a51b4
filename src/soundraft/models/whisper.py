"""Whisper: an encoder over 30 s windows and a decoder that writes text."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from soundraft import runtime
from soundraft.models.base import ModelError

GENERATED_ROWS = 32
IGNORED_LABEL = -100  # what transformers' loss leaves out


class WhisperRecognizer:
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

    def loss(self, features: Sequence[torch.Tensor], texts: Sequence[str]) -> torch.Tensor:
        inputs, labels = [], []
        for text in texts:
            tokens = self.tokenizer(text, add_special_tokens=False).input_ids
            most = self.model.config.max_target_positions - len(self.prompt)
            if len(tokens) > most:
                raise ModelError(f"text of {len(tokens)} tokens; this model takes {most}: {text[:60]!r}")
            inputs.append(torch.tensor(self.prompt + tokens))
            # the prompt is given, not learned
            labels.append(
                torch.tensor([IGNORED_LABEL] * (len(self.prompt) - 1) + tokens + [self.tokenizer.eos_token_id])
            )
        pad = torch.nn.utils.rnn.pad_sequence
        return self.model(
            input_features=self._batch(features),
            decoder_input_ids=pad(inputs, batch_first=True).to(self.device),
            labels=pad(labels, batch_first=True, padding_value=IGNORED_LABEL).to(self.device),
        ).loss

    def save(self, folder: Path) -> None:
        self.model.save_pretrained(folder)
        self.processor.save_pretrained(folder)

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
