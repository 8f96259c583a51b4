"""A model over a whole set of clips: batches of similar length, each encoded once."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch

from soundraft import distributed
from soundraft.clips.batches import Utterances, length_batches
from soundraft.models.base import Answer, Model
from soundraft.parallel import progress_over
from soundraft.params.sections import Decoding

Decoded = TypeVar("Decoded")


def batch_clips(model: Model, decoding: Decoding) -> int:
    """How many clips are decoded at once."""
    on_cpu = next(model.model.parameters()).device.type == "cpu"
    return decoding.batch_clips if on_cpu else decoding.batch_clips_gpu


def decode(
    model: Model,
    clips: Utterances,
    decoder: Callable[[Any, list[str]], Sequence[Decoded]],
    decoding: Decoding,
    *,
    title: str,
) -> list[Decoded]:
    """Encode every clip once and decode it; results in the clips' order.

    Args:
        decoder: (encoded batch, clip ids) → one result a clip.
    """
    model.model.eval()
    results: list[tuple[int, Decoded]] = []
    batches = distributed.share(length_batches(clips.lengths, batch_clips(model, decoding)))
    for batch in progress_over(batches, total=len(batches), title=title, unit="batch"):
        encoded = model.encode([clips.features[index] for index in batch])
        results += zip(batch, decoder(encoded, [clips.ids[index] for index in batch]), strict=True)
    return _in_order(results)


def best_answers(model: Model, clips: Utterances, decoding: Decoding, *, title: str = "decode") -> list[Any]:
    """The most likely answer of every clip, in the clips' order."""
    return decode(model, clips, lambda encoded, _: model.best(encoded), decoding, title=title)


def answer_log_probs(
    model: Any, clips: Utterances, answers: Sequence[Sequence[Answer]], decoding: Decoding
) -> list[tuple[float, ...]]:
    """Log-probability of each of a clip's answers, for every clip, without gradient.

    Args:
        model: one with a likelihood.
    """
    model.model.eval()
    results: list[tuple[int, tuple[float, ...]]] = []
    for batch in distributed.share(length_batches(clips.lengths, batch_clips(model, decoding))):
        with torch.inference_mode():
            scored = model.loss([clips.features[index] for index in batch], [answers[index] for index in batch])
        results += [(index, tuple(scores.log_probs.tolist())) for index, scores in zip(batch, scored, strict=True)]
    return _in_order(results)


def _in_order(results: list[tuple[int, Decoded]]) -> list[Decoded]:
    """Of all processes, by the clips' indices."""
    return [result for _, result in sorted(distributed.gather(results), key=lambda pair: pair[0])]
