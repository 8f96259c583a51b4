"""Word and character error: normalisers, pooled counts, bootstrap intervals, confusions."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jiwer
import numpy as np
from rapidfuzz import distance, process

Normalizer = Callable[[str], str]


def basic(text: str) -> str:
    """Lower case, no punctuation but the apostrophe inside a word, single spaces; any script."""
    text = unicodedata.normalize("NFKC", text).casefold()
    kept = "".join(c if unicodedata.category(c)[0] in "LMN" or c == "'" else " " for c in text)
    return " ".join(word for word in (raw.strip("'") for raw in kept.split()) if word)


NORMALIZERS: dict[str, Normalizer] = {
    "none": lambda text: re.sub(r"\s+", " ", text).strip(),
    "basic": basic,
}


@dataclass(frozen=True)
class Counts:
    """Edit operations that turn a reference into a hypothesis; sums over clips are meaningful, means of rates not."""

    hits: int
    substitutions: int
    deletions: int
    insertions: int

    @property
    def errors(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    @property
    def reference_length(self) -> int:
        return self.hits + self.substitutions + self.deletions


def word_counts(*, reference: str, hypothesis: str) -> Counts:
    """Word edits of one pair of normalised texts; an empty reference makes every word an insertion."""
    if not reference:
        return Counts(0, 0, 0, len(hypothesis.split()))
    result = jiwer.process_words(reference, hypothesis)
    return Counts(result.hits, result.substitutions, result.deletions, result.insertions)


def character_counts(*, reference: str, hypothesis: str) -> Counts:
    """Character edits of one pair of normalised texts, spaces included."""
    if not reference:
        return Counts(0, 0, 0, len(hypothesis))
    result = jiwer.process_characters(reference, hypothesis)
    return Counts(result.hits, result.substitutions, result.deletions, result.insertions)


def pooled_rate(counts: Sequence[Counts]) -> float:
    """The corpus error rate: all errors over all reference units.

    Raises:
        ValueError: when the references are all empty.
    """
    units = sum(count.reference_length for count in counts)
    if units == 0:
        raise ValueError("no reference word or character: the error rate has no meaning")
    return sum(count.errors for count in counts) / units


def bootstrap_interval(
    counts: Sequence[Counts], *, samples: int, seed: int, confidence: float = 0.95
) -> tuple[float, float]:
    """A percentile interval of the pooled rate, clips drawn with replacement.

    Bisani and Ney, "Bootstrap estimates for confidence intervals in ASR performance evaluation", ICASSP 2004.
    """
    errors = np.array([count.errors for count in counts])
    units = np.array([count.reference_length for count in counts])
    drawn = np.random.default_rng(seed).integers(0, len(counts), size=(samples, len(counts)))
    rates = errors[drawn].sum(1) / np.maximum(units[drawn].sum(1), 1)
    tail = (1 - confidence) / 2
    low, high = np.quantile(rates, [tail, 1 - tail])
    return float(low), float(high)


def confusions(pairs: Sequence[tuple[str, str]], *, top: int) -> list[tuple[str, str, int]]:
    """The most frequent substituted, deleted and inserted words of (reference, hypothesis) pairs.

    Returns:
        (reference word, hypothesis word, times); "" stands for no word. Ties in alphabetical order.
    """
    seen: Counter[tuple[str, str]] = Counter()
    for reference, hypothesis in pairs:
        said, heard = reference.split(), hypothesis.split()
        if not said:
            continue
        for chunk in jiwer.process_words(reference, hypothesis).alignments[0]:
            if chunk.type == "equal":
                continue
            left = said[chunk.ref_start_idx : chunk.ref_end_idx] or [""] * (chunk.hyp_end_idx - chunk.hyp_start_idx)
            right = heard[chunk.hyp_start_idx : chunk.hyp_end_idx] or [""] * len(left)
            seen.update(zip(left, right, strict=True))
    ranked = sorted(seen.items(), key=lambda item: (-item[1], item[0]))
    return [(said, heard, times) for (said, heard), times in ranked[:top]]


class VocabularySnapper:
    """Replaces each word by the nearest word of a vocabulary: a free post-process that any gain must stand on top of.

    Nearest by Levenshtein distance; ties go to the alphabetically first word.
    """

    def __init__(self, vocabulary: Sequence[str]) -> None:
        self.vocabulary = sorted(set(vocabulary))
        self._nearest = {word: word for word in self.vocabulary}

    def __call__(self, text: str) -> str:
        return " ".join(self._snap(word) for word in text.split())

    def _snap(self, word: str) -> str:
        if word not in self._nearest:
            match = process.extractOne(word, self.vocabulary, scorer=distance.Levenshtein.distance)
            self._nearest[word] = match[0]
        return self._nearest[word]
