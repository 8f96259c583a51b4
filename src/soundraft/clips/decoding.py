"""Decoding a whole set of clips: batches of similar length, each encoded once."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch

from soundraft import distributed
from soundraft.clips.batches import Utterances, length_batches
from soundraft.models.base import Recognizer
from soundraft.parallel import progress_over

Decoded = TypeVar("Decoded")

# a CPU is fastest with few clips of nearly one length, a GPU with many
BATCH_CLIPS = {"cpu": 8, "cuda": 32}


def batch_clips(recognizer: Recognizer) -> int:
    """How many clips are decoded at once."""
    return BATCH_CLIPS.get(next(recognizer.model.parameters()).device.type, BATCH_CLIPS["cuda"])


def decode(
    recognizer: Recognizer,
    clips: Utterances,
    decoder: Callable[[Any, list[str]], list[Decoded]],
    *,
    title: str,
) -> list[Decoded]:
    """Encode every clip once and decode it; results in the clips' order.

    Args:
        decoder: (encoded batch, clip ids) → one result a clip.
    """
    recognizer.model.eval()
    results: list[tuple[int, Decoded]] = []
    batches = distributed.share(length_batches(clips.lengths, batch_clips(recognizer)))
    for batch in progress_over(batches, total=len(batches), title=title, unit="batch"):
        encoded = recognizer.encode([clips.features[index] for index in batch])
        results += zip(batch, decoder(encoded, [clips.ids[index] for index in batch]), strict=True)
    return _in_order(results)


def transcribe(recognizer: Recognizer, clips: Utterances, *, title: str = "transcribe") -> list[str]:
    """The greedy text of every clip, in the clips' order."""
    return decode(recognizer, clips, lambda encoded, _: recognizer.greedy(encoded), title=title)


def text_scores(recognizer: Recognizer, clips: Utterances, texts: Sequence[Sequence[str]]) -> list[tuple[float, ...]]:
    """Log-probability of each of a clip's texts, for every clip, without gradient."""
    recognizer.model.eval()
    results: list[tuple[int, tuple[float, ...]]] = []
    for batch in distributed.share(length_batches(clips.lengths, batch_clips(recognizer))):
        with torch.inference_mode():
            scored = recognizer.score([clips.features[index] for index in batch], [texts[index] for index in batch])
        results += [(index, tuple(scores.log_probs.tolist())) for index, scores in zip(batch, scored, strict=True)]
    return _in_order(results)


def _in_order(results: list[tuple[int, Decoded]]) -> list[Decoded]:
    """Of all processes, by the clips' indices."""
    return [result for _, result in sorted(distributed.gather(results), key=lambda pair: pair[0])]
