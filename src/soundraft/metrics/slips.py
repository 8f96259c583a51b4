"""How speech departs from its text: words said again, left out, or cut off at the end; how long it takes."""

from typing import NamedTuple

import jiwer

from soundraft.metrics.text import units


class Slips(NamedTuple):
    """Words by what happened to them; sums over clips are meaningful.

    Attributes:
        words: of the text.
        repeated: inserted next to the same words.
        skipped: left out before the last word that was said.
        cut_off: left out after it.
        early_end: whether any was cut off, 0 or 1.
    """

    words: int
    repeated: int
    skipped: int
    cut_off: int
    early_end: int


def slips(*, text: str, transcript: str) -> Slips:
    """By jiwer's alignment of a normalised text with the normalised transcript of its speech."""
    words, said = units(text), units(transcript)
    if not words:
        raise ValueError("an empty text cannot be departed from")
    aligned = jiwer.process_words(" ".join(words), " ".join(said)).alignments[0]
    repeated = skipped = cut_off = 0
    for chunk in aligned:
        if chunk.type == "insert":
            repeated += _said_again(said, chunk.hyp_start_idx, chunk.hyp_end_idx)
        elif chunk.type == "delete":
            count = chunk.ref_end_idx - chunk.ref_start_idx
            if chunk.ref_end_idx == len(words):
                cut_off += count
            else:
                skipped += count
    return Slips(len(words), repeated, skipped, cut_off, int(cut_off > 0))


def _said_again(said: list[str], start: int, end: int) -> int:
    """How many of the words `said[start:end]` continue the words before or anticipate those after them."""
    extra = said[start:end]
    size = len(extra)
    if extra in (said[max(0, start - size) : start], said[end : end + size]):
        return size
    around = (said[start - 1 : start] if start else []) + said[end : end + 1]
    return sum(word in around for word in extra)


def duration_ratio(*, spoken_s: float, reference_s: float) -> float:
    """Length of speech over that of the recording of the same text."""
    if reference_s <= 0:
        raise ValueError(f"a reference of {reference_s} s has no duration to compare with")
    return spoken_s / reference_s
