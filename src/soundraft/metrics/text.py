"""Word and character error: normalisers, pooled counts, bootstrap intervals, confusions."""

import functools
import unicodedata
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from rapidfuzz import distance, process

Normalizer = Callable[[str], str]
_REMEMBERED_TEXTS = 1 << 16  # Whisper's rules take 0.1 ms a text, and samples of a clip come back in every cycle


class _Kept(dict[int, str]):
    """Letters, marks, digits and apostrophes as they are, a space for all else; filled as characters come up."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        self[code] = character if unicodedata.category(character)[0] in "LMN" or character == "'" else " "
        return self[code]


_KEPT = _Kept()


def basic(text: str) -> str:
    """Lower case, no punctuation but the apostrophe inside a word, single spaces; any script."""
    kept = unicodedata.normalize("NFKC", text).casefold().translate(_KEPT)
    return " ".join(word for word in (raw.strip("'") for raw in kept.split()) if word)


def single_spaces(text: str) -> str:
    return " ".join(text.split())


@functools.lru_cache(_REMEMBERED_TEXTS)
def whisper_english(text: str) -> str:
    """Whisper's rules for English: numbers as digits, American spelling, contractions written out.

    Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision", appendix C.
    """
    return single_spaces(_whisper_rules("english")(text))


@functools.lru_cache(_REMEMBERED_TEXTS)
def whisper_multilingual(text: str) -> str:
    """Whisper's rules for all other languages: lower case, no punctuation, nothing in brackets.

    As published, so that rates can be compared: they also take the vowel signs from scripts that write them as
    combining marks, such as Devanagari, where `basic` keeps them.
    """
    return single_spaces(_whisper_rules("multilingual")(text))


@functools.cache
def _whisper_rules(kind: str) -> Normalizer:
    if kind == "english":
        from whisper_normalizer.english import EnglishTextNormalizer

        return EnglishTextNormalizer()
    from whisper_normalizer.basic import BasicTextNormalizer

    return BasicTextNormalizer()


NORMALIZERS: dict[str, Normalizer] = {
    "none": single_spaces,
    "basic": basic,
    "whisper-english": whisper_english,
    "whisper-multilingual": whisper_multilingual,
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
    return _counts(reference.split(), hypothesis.split())


def character_counts(*, reference: str, hypothesis: str) -> Counts:
    """Character edits of one pair of normalised texts, spaces between words included."""
    return _counts(reference.strip(), hypothesis.strip())


def _counts(said: Sequence[Hashable], heard: Sequence[Hashable]) -> Counts:
    """Edits of the alignment that jiwer takes, which rapidfuzz finds for both: there are many of the same length."""
    if said == heard:
        return Counts(len(said), 0, 0, 0)
    kinds = [edit.tag for edit in distance.Levenshtein.editops(said, heard)]
    substitutions, deletions = kinds.count("replace"), kinds.count("delete")
    return Counts(
        len(said) - substitutions - deletions, substitutions, deletions, len(kinds) - substitutions - deletions
    )


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
        for edit in distance.Levenshtein.opcodes(said, heard):
            if edit.tag == "equal":
                continue
            left = said[edit.src_start : edit.src_end] or [""] * (edit.dest_end - edit.dest_start)
            right = heard[edit.dest_start : edit.dest_end] or [""] * len(left)
            seen.update(zip(left, right, strict=True))
    ranked = sorted(seen.items(), key=lambda item: (-item[1], item[0]))
    return [(said, heard, times) for (said, heard), times in ranked[:top]]


class VocabularySnapper:
    """Replaces each word by the nearest word of a vocabulary: a free post-process that any gain must stand on top of.

    Nearest by Levenshtein distance; ties go to the alphabetically first word. Without a vocabulary words stay.
    """

    def __init__(self, vocabulary: Sequence[str]) -> None:
        self.vocabulary = sorted(set(vocabulary))
        self._nearest = {word: word for word in self.vocabulary}

    def __call__(self, text: str) -> str:
        return " ".join(self._snap(word) for word in text.split())

    def _snap(self, word: str) -> str:
        if word not in self._nearest:
            match = process.extractOne(word, self.vocabulary, scorer=distance.Levenshtein.distance)
            self._nearest[word] = match[0] if match else word
        return self._nearest[word]
