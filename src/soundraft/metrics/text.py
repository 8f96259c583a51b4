"""Texts compared: normalisers, word and character errors, confused words."""

import functools
import importlib
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from itertools import zip_longest
from typing import NamedTuple

import jiwer
import numpy as np
from rapidfuzz import distance, process

from soundraft.metrics import numbers

Normalizer = Callable[[str], str]
TURKIC = ("tr", "az", "turkish", "azerbaijani")  # İ is the capital of i there, and I that of ı

_APOSTROPHES = dict.fromkeys("’‘‛ʼʻ`´′＇՚", "'")
# within words they say how to write them, not what: soft hyphen, joiners, direction marks, variation selectors
_INVISIBLE = dict.fromkeys("\u00ad\u034f\u061c\u180e\u200c\u200d\u200e\u200f\u2060\u2061\u2062\u2063\u2064\ufeff")
_INVISIBLE |= {chr(code): None for start, end in ((0x202A, 0x202F), (0x2066, 0x2070), (0xFE00, 0xFE10))
               for code in range(start, end)}  # fmt: skip
_TYPOGRAPHY = str.maketrans(_APOSTROPHES | _INVISIBLE)
_DOTTED_I = re.compile("İ|[Ii]\u0307")
_LEADING_ZEROS = re.compile(r"(?<![\d.,])0\d+(?![\d.,])", re.ASCII)
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1950-\u19df\u1a20-\u1aaf\u3005-\u3007\u3040-\u312f\u31f0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\ua9e0-\ua9ff\uaa60-\uaa7f\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]"
)  # Thai, Lao, Burmese, Khmer, Tai, Japanese, Chinese


class _Kept(dict[int, str]):
    """Letters, marks, digits and apostrophes as they are, a space for all else; filled as characters come up."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        self[code] = character if unicodedata.category(character)[0] in "LMN" or character == "'" else " "
        return self[code]


_KEPT = _Kept()


def single_spaces(text: str) -> str:
    return " ".join(text.split())


def _plain_typography(text: str, *, turkic: bool) -> str:
    """One apostrophe, no invisible characters, and İ (of Turkic texts also I) in lower case, which Unicode's own rules
    for all languages make "i̇"."""
    if "`" in text or not text.isascii():
        text = _DOTTED_I.sub("i", unicodedata.normalize("NFC", text.translate(_TYPOGRAPHY)))
    return text.replace("I", "ı") if turkic else text


def _basic(text: str, *, turkic: bool) -> str:
    """Lower case, no punctuation but the apostrophe inside a word, single spaces; any script."""
    text = _plain_typography(text, turkic=turkic)
    if text.isascii():
        kept = text.casefold().translate(_KEPT)
    else:
        kept = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).translate(_KEPT)
    return " ".join(word for word in (raw.strip("'") for raw in kept.split()) if word)


def _whisper_multilingual(text: str, *, turkic: bool) -> str:
    """Whisper's rules for all languages but English, as published: lower case, no punctuation, nothing in brackets.
    They also take the vowel signs from scripts that write them as combining marks, where `basic` keeps them.

    Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision", appendix C.
    """
    return single_spaces(_whisper_rules("basic", "Basic")(_plain_typography(text, turkic=turkic)))


def _whisper_english(text: str, *, turkic: bool) -> str:
    """Whisper's rules for English: numbers as digits, American spelling, contractions written out.

    They take zeros from the front of digits, but not of words ("zero five" is 05, and 05 is 5): here both stay.
    """

    def spelled(digits: re.Match[str]) -> str:
        return " ".join(_DIGITS[int(digit)] for digit in digits[0])

    text = _LEADING_ZEROS.sub(spelled, _plain_typography(text, turkic=turkic))
    return single_spaces(_whisper_rules("english", "English")(text))


def _spoken_digits(text: str, *, turkic: bool) -> str:
    """`_basic` with English numbers digit by digit, be they in digits or in words."""
    plain = unicodedata.normalize("NFKC", text.translate(_TYPOGRAPHY))
    return numbers.by_digit(_basic(numbers.symbols_in_words(plain), turkic=turkic))


@functools.cache
def _whisper_rules(module: str, name: str) -> Normalizer:
    rules: Normalizer = getattr(importlib.import_module(f"whisper_normalizer.{module}"), f"{name}TextNormalizer")()
    return rules


_RULES: dict[str, Callable[..., str]] = {
    "none": lambda text, turkic: single_spaces(text),
    "basic": _basic,
    "whisper-english": _whisper_english,
    "whisper-multilingual": _whisper_multilingual,
    "spoken-digits": _spoken_digits,
}


@functools.lru_cache(1 << 16)  # 0.1 ms a text, and samples of a clip come back in every cycle
def normalized(text: str, kind: str, language: str = "") -> str:
    """A text as it is scored. To normalise it again changes nothing: the rules are applied until they do not.

    Args:
        kind: one of `reward.normalizer`.
        language: of the text, as a code or name; decides about the letter I.
    """
    turkic = _main_part(language) in TURKIC
    seen: list[str] = []
    while text not in seen:
        seen.append(text)
        text = _RULES[kind](text, turkic=turkic)
    return min(seen[seen.index(text) :])  # rules that go in a circle have no last text


def is_english(language: str) -> bool:
    """Whether a language's code or name is that of English."""
    return _main_part(language) in ("en", "english")


def _main_part(language: str) -> str:
    return language.replace("_", "-").split("-")[0].lower()


def normalizer(kind: str, language: str = "") -> Normalizer:
    return functools.partial(normalized, kind=kind, language=language)


NORMALIZERS = tuple(_RULES)


@functools.lru_cache(1 << 16)
def is_unspaced(text: str) -> bool:
    """Whether a text is of a script that writes words without spaces, but for fewer words of other scripts than it has
    characters: then errors are counted in characters.
    """
    others, characters = _UNSPACED.subn(" ", text)
    return characters > len(others.split())


def are_unspaced(texts: Sequence[str]) -> bool:
    """The same of the clips of a corpus together."""
    return is_unspaced.__wrapped__(" ".join(texts))


def units(text: str) -> list[str]:
    """The words of a text, or its characters where words have no spaces."""
    return list("".join(text.split())) if is_unspaced(text) else text.split()


class Counts(NamedTuple):
    """Edits that turn a reference into a hypothesis; sums over clips are meaningful, means of rates are not."""

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
    """Character edits of one pair of normalised texts; spaces between words count, but where words have none."""
    between = "" if is_unspaced(reference) else " "
    return _counts(between.join(reference.split()), between.join(hypothesis.split()))


def _counts(reference: Sequence[Hashable], hypothesis: Sequence[Hashable]) -> Counts:
    """The counts of jiwer's alignment, which rapidfuzz finds for both; 13 times as fast as jiwer pair by pair."""
    if reference == hypothesis:
        return Counts(len(reference), 0, 0, 0)
    kinds = [edit.tag for edit in distance.Levenshtein.editops(reference, hypothesis)]
    substitutions, deletions = kinds.count("replace"), kinds.count("delete")
    hits = len(reference) - substitutions - deletions
    return Counts(hits, substitutions, deletions, len(kinds) - substitutions - deletions)


def counts_of(references: Sequence[str], hypotheses: Sequence[str], way: Callable[..., Counts]) -> np.ndarray:
    """`word_counts` or `character_counts` of each pair, [N, 4]."""
    pairs = zip(references, hypotheses, strict=True)
    return np.array([way(reference=one, hypothesis=other) for one, other in pairs]).reshape(-1, 4)


def error_rate(counts: np.ndarray) -> np.ndarray:
    """Errors per reference unit, of sums of `Counts`: `[..., 4]` → `[...]`.

    Raises:
        ValueError: when all references are empty.
    """
    units = counts[..., :3].sum(-1)
    if not np.any(units):
        raise ValueError("no reference word or character: the error rate has no meaning")
    return counts[..., 1:].sum(-1) / np.maximum(units, 1)


def confusions(references: Sequence[str], hypotheses: Sequence[str], *, top: int) -> list[tuple[str, str, int]]:
    """The most frequent substituted, deleted and inserted words (characters where words have no spaces), by jiwer's
    alignment of texts with a reference.

    Returns:
        (reference word, hypothesis word, times); "" stands for no word. Ties in alphabetical order.
    """
    seen: Counter[tuple[str, str]] = Counter()
    pairs = [[" ".join(units(text)) for text in pair] for pair in zip(references, hypotheses, strict=True) if pair[0]]
    aligned = jiwer.process_words([reference for reference, _ in pairs], [hypothesis for _, hypothesis in pairs])
    for reference, hypothesis, chunks in zip(aligned.references, aligned.hypotheses, aligned.alignments, strict=True):
        for chunk in chunks:
            left = reference[chunk.ref_start_idx : chunk.ref_end_idx]
            right = hypothesis[chunk.hyp_start_idx : chunk.hyp_end_idx]
            if chunk.type != "equal":
                seen.update(zip_longest(left, right, fillvalue=""))
    ranked = sorted(seen.items(), key=lambda item: (-item[1], item[0]))
    return [(*words, times) for words, times in ranked[:top]]


class VocabularySnapper:
    """Replaces each word by the nearest of a vocabulary, by Levenshtein distance; of equally near ones the first by
    alphabet. Free post-processing: a gain must exceed what it gives. Without a vocabulary words stay.
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
