"""What speaks for a transcript when nobody knows the right one: each part a number from 0 to 1."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import Levenshtein

from soundraft.metrics.ngram import NGram

WORD, CHARACTER = "word", "character"
_WORDS_AT_ONCE = 64


@dataclass(frozen=True)
class Candidates:
    """The different texts sampled for one clip, normalised, and what is known of the clip. The reference is not.

    Attributes:
        texts: [N], different from each other.
        times: [N], how often each was sampled.
        duration_s: how long the clip is.
        perturbed: transcripts of altered copies of the clip, normalised.
    """

    texts: list[str]
    times: list[int]
    duration_s: float | None
    perturbed: list[str]


Part = Callable[[Candidates], Sequence[float]]  # a number for each text, [N]


@dataclass(frozen=True)
class Agreement:
    """1 − the mean normalised edit distance to the clip's other samples.

    The text with the highest one is the minimum Bayes risk choice among the samples: Kumar and Byrne, "Minimum
    Bayes-Risk Decoding for Statistical Machine Translation", NAACL 2004. The distance is edits over the length of
    the longer text.
    """

    unit: str

    def __call__(self, clip: Candidates) -> Sequence[float]:
        texts = _in_units(clip.texts, self.unit)
        distances = _distances(texts, texts) @ np.array(clip.times, float)  # a text is at distance 0 from its copies
        return (1 - distances / (sum(clip.times) - 1)).tolist()


@dataclass(frozen=True)
class Stability:
    """1 − the mean normalised edit distance to what was heard in altered copies of the clip."""

    unit: str

    def __call__(self, clip: Candidates) -> Sequence[float]:
        texts = _in_units([*clip.texts, *clip.perturbed], self.unit)
        own = len(clip.texts)
        return (1 - _distances(texts[:own], texts[own:]).mean(1)).tolist()


class WordNearness:
    """How near the words are to words of a list: mean of 1 − the least normalised edit distance, in characters.

    A word of the list counts 1, "lihgt" for "light" counts 0.6: unlike the share of known words, it tells a near miss
    from noise.
    """

    def __init__(self, words: Iterable[str]) -> None:
        self.words = sorted(set(words))
        self._nearness = dict.fromkeys(self.words, 1.0)

    def __call__(self, clip: Candidates) -> Sequence[float]:
        split = [text.split() for text in clip.texts]
        new = list(dict.fromkeys(word for words in split for word in words if word not in self._nearness))
        for start in range(0, len(new), _WORDS_AT_ONCE):
            some = new[start : start + _WORDS_AT_ONCE]
            self._nearness.update(zip(some, (1 - _distances(some, self.words).min(1)).tolist(), strict=True))
        return [_mean([self._nearness[word] for word in words]) for words in split]


class KnownWords:
    """The share of words that a list has."""

    def __init__(self, words: Iterable[str]) -> None:
        self.words = frozenset(words)

    def __call__(self, clip: Candidates) -> Sequence[float]:
        return [_mean([float(word in self.words) for word in text.split()]) for text in clip.texts]


@dataclass(frozen=True)
class Length:
    """1 when a clip has between `least` and `most` characters a second, spaces included; falls to 0 in a straight line.

    0 is reached at no character, and at twice the most.
    """

    least: float
    most: float

    def __call__(self, clip: Candidates) -> Sequence[float]:
        assert clip.duration_s is not None
        return [self._fit(len(text) / clip.duration_s) for text in clip.texts]

    def _fit(self, rate: float) -> float:
        return max(0.0, min(1.0, rate / self.least, 2 - rate / self.most))


class Language:
    """How far an n-gram model of the domain's texts is from guessing: 1 − cross entropy / log(number of outcomes).

    The cross entropy is the mean of −log p over the text's words (or characters) and its end. 1: the model is certain
    of each; 0: on average no likelier than by a fair draw from the vocabulary, or less likely.
    """

    def __init__(self, texts: Iterable[str], *, unit: str, order: int) -> None:
        self.unit = unit
        self.model = NGram.train((_tokens(text, unit) for text in texts), order)

    def __call__(self, clip: Candidates) -> Sequence[float]:
        guessing = math.log(self.model.outcomes)
        found = []
        for text in clip.texts:
            tokens = _tokens(text, self.unit)
            found.append(max(0.0, 1 + self.model.log_prob(tokens) / (len(tokens) + 1) / guessing))
        return found


def _tokens(text: str, unit: str) -> Sequence[str]:
    return text.split() if unit == WORD else text


def _in_units(texts: Sequence[str], unit: str) -> list[str]:
    """Strings whose edit distances are those of the texts' words or characters: one character stands for a word.

    rapidfuzz compares strings many at a time, lists of words one by one.
    """
    if unit == CHARACTER:
        return list(texts)
    split = [text.split() for text in texts]
    sign = {word: chr(number) for number, word in enumerate(dict.fromkeys(word for words in split for word in words))}
    return ["".join(sign[word] for word in words) for words in split]


def _distances(texts: Sequence[str], others: Sequence[str]) -> np.ndarray:
    """Edits over the length of the longer one, [texts, others]; two empty texts are at distance 0."""
    return process.cdist(texts, others, scorer=Levenshtein.normalized_distance, dtype=np.float64)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
