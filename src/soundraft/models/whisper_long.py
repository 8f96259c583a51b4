"""Whisper's guards against hallucination, as openai/whisper `transcribe.py` has them (`decode_with_fallback`)."""

import zlib
from typing import TYPE_CHECKING

import torch

from soundraft.models.whisper_noise import Part, SeededNoise
from soundraft.runtime import derive_seed

if TYPE_CHECKING:
    from soundraft.models.whisper import WhisperAdapter

TEMPERATURES = (0.2, 0.4, 0.6, 0.8, 1.0)
MOST_COMPRESSION = 2.4  # a text that says the same again and again
LEAST_MEAN_LOG_PROB = -1.0


def with_fallback(recognizer: "WhisperAdapter", encoded: torch.Tensor) -> list[str]:
    """The greedy text of each window `[B, T, D]`; a doubtful one is drawn anew at rising temperatures.

    The last draw stands when all are doubtful, as openai/whisper has it. A window's draws are seeded by temperature.
    """
    written = recognizer.write(encoded)
    doubtful = list(range(len(written)))
    for temperature in TEMPERATURES:
        doubtful = [row for row in doubtful if _is_doubtful(recognizer, encoded[row], written[row])]
        for row in doubtful:
            noise = SeededNoise([Part(row, 1, derive_seed("fallback", temperature))], temperature, recognizer.device)
            (written[row],) = recognizer.write(encoded[row : row + 1], noise)
    return recognizer.read(written)


def compression_ratio(text: str) -> float:
    data = text.encode()
    return len(data) / len(zlib.compress(data))


def _is_doubtful(recognizer: "WhisperAdapter", hidden: torch.Tensor, tokens: list[int]) -> bool:
    (text,) = recognizer.read([tokens])
    if compression_ratio(text) > MOST_COMPRESSION:
        return True
    with torch.inference_mode():
        total, count = recognizer.log_probs(hidden[None], [[*tokens, recognizer.tokenizer.eos_token_id]])
    return float(total / count) < LEAST_MEAN_LOG_PROB
