"""Where the letters of a recording's text are, by the best path of a CTC recogniser through that text."""

import numpy as np
import torch

from soundraft.audio import io
from soundraft.corpora.espeak import WORD_BREAK
from soundraft.models.base import ModelError
from soundraft.models.ctc import CTCAdapter
from soundraft.models.reading import PAUSE, letters

BREAK_S = 1 / 75  # of a break between words: a frame


def align(recognizer: CTCAdapter, wave: np.ndarray, rate_hz: int, text: str) -> tuple[list[str], list[float]]:
    """Letters, breaks and pauses, and where each begins, seconds.

    The path says where words begin (`torchaudio.functional.forced_align`); within a word, the letters share its time,
    for CTC knows the time of a letter but roughly.

    Args:
        wave: `[N]`.

    Raises:
        ModelError: when the text cannot be spelled, or is longer than its recording.
    """
    words = "".join(letters(text)[1:-1]).split(WORD_BREAK)
    features = recognizer.extract(io.resample(wave, rate_hz, recognizer.sample_rate_hz))
    frames = recognizer.encode([features])
    log_probs = frames.log_probs[0, : int(frames.lengths[0])]
    starts_s, end_s = _word_starts(recognizer, log_probs, words, len(wave) / rate_hz)
    units, begins = [PAUSE], [0.0]
    for place, (word, start_s) in enumerate(zip(words, starts_s, strict=True)):
        last = place + 1 == len(words)
        until_s = end_s if last else max(start_s, starts_s[place + 1] - BREAK_S)
        units += [*word, PAUSE if last else WORD_BREAK]
        begins += [*np.linspace(start_s, until_s, len(word) + 1).tolist()]
    return units, begins


def _word_starts(
    recognizer: CTCAdapter, log_probs: torch.Tensor, words: list[str], duration_s: float
) -> tuple[list[float], float]:
    """Where each word begins and where the last one ends, seconds, by log-probabilities `[T, V]`."""
    tokens = recognizer.spelling.tokens(" ".join(words))
    counts = [len(recognizer.spelling.tokens(word)) for word in words]
    if sum(counts) + len(words) - 1 != len(tokens):
        raise ModelError("letters are found by a recogniser whose tokens are letters")
    try:
        begins_s, ends_s = recognizer.spans(log_probs, tokens, duration_s)
    except ModelError as error:
        raise ModelError(f"{duration_s:.1f} s are too short for {' '.join(words)[:40]!r}") from error
    firsts = np.cumsum([0, *(count + 1 for count in counts[:-1])])
    return [begins_s[first] for first in firsts], ends_s[-1]
