"""Decoding a whole set of clips: batches of similar length, each encoded once."""

from collections.abc import Callable
from typing import Any, TypeVar

from soundraft.dataset.loader import Utterances, length_batches
from soundraft.models.base import Recognizer
from soundraft.parallel import progress_over

Decoded = TypeVar("Decoded")

BATCH_CLIPS = 32


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
    results: dict[int, Decoded] = {}
    batches = length_batches(clips.lengths, BATCH_CLIPS)
    for batch in progress_over(batches, total=len(batches), title=title, unit="batch"):
        encoded = recognizer.encode([clips.features[index] for index in batch])
        results.update(zip(batch, decoder(encoded, [clips.ids[index] for index in batch]), strict=True))
    return [results[index] for index in range(len(clips))]


def transcribe(recognizer: Recognizer, clips: Utterances, *, title: str = "transcribe") -> list[str]:
    """The greedy text of every clip, in the clips' order."""
    return decode(recognizer, clips, lambda encoded, _: recognizer.greedy(encoded), title=title)
