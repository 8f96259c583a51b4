"""The verifier of speech recognition where there are no transcripts: the samples and the domain's texts decide.

Each part of the reward is a number from 0 to 1, and none reads the transcript.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import Levenshtein

from soundraft.metrics import text as metric
from soundraft.metrics.ngram import NGram
from soundraft.params.sections import RewardParams
from soundraft.rewards.base import Evidence, Verifier, VerifyResult, not_scorable
from soundraft.rewards.transcripts import longest_loop, loops
from soundraft.runtime import UserError

_WORDS_AT_ONCE = 64


@dataclass(frozen=True)
class Candidates:
    """The different texts sampled for one clip, normalised, and what is known of the clip. The reference is not.

    Attributes:
        times: how often each text was sampled.
        perturbed: transcripts of perturbed copies of the clip, normalised.
    """

    texts: list[str]
    times: list[int]
    duration_s: float | None
    perturbed: list[str]


Part = Callable[[Candidates], Sequence[float]]  # a number for each text, [N]


def agreement(clip: Candidates, *, unit: str) -> Sequence[float]:
    """1 − the mean normalised edit distance to the clip's other samples: edits over the length of the longer text.

    The text with the highest one is the minimum Bayes risk choice among the samples: Kumar and Byrne, "Minimum
    Bayes-Risk Decoding for Statistical Machine Translation", NAACL 2004.
    """
    texts = _in_units(clip.texts, unit)
    distances = _distances(texts, texts) @ np.array(clip.times, float)  # a text is at distance 0 from its copies
    return (1 - distances / (sum(clip.times) - 1)).tolist()


def stability(clip: Candidates, *, unit: str) -> Sequence[float]:
    """1 − the mean normalised edit distance to the transcripts of perturbed copies of the clip."""
    texts = _in_units([*clip.texts, *clip.perturbed], unit)
    own = len(clip.texts)
    return (1 - _distances(texts[:own], texts[own:]).mean(1)).tolist()


class WordNearness:
    """How near the words are to words of a list: mean of 1 − the least normalised edit distance, in characters.

    A word of the list counts 1, "lihgt" for "light" counts 0.6: unlike the share of known words, it tells a near miss
    from noise.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.words = words
        self._nearness = dict.fromkeys(words, 1.0)

    def __call__(self, clip: Candidates) -> Sequence[float]:
        split = list(map(metric.units, clip.texts))
        new = list(dict.fromkeys(word for words in split for word in words if word not in self._nearness))
        for start in range(0, len(new), _WORDS_AT_ONCE):
            some = new[start : start + _WORDS_AT_ONCE]
            self._nearness.update(zip(some, (1 - _distances(some, self.words).min(1)).tolist(), strict=True))
        return [_mean([self._nearness[word] for word in words]) for words in split]


def vocabulary(clip: Candidates, *, words: frozenset[str]) -> Sequence[float]:
    """The share of words that a list has."""
    return [_mean([float(word in words) for word in metric.units(text)]) for text in clip.texts]


def length(clip: Candidates, *, least: float, most: float) -> Sequence[float]:
    """1 when a clip has between `least` and `most` characters a second, spaces included; falls to 0 in a straight line.

    0 is reached at no character, and at twice the most.
    """
    assert clip.duration_s is not None
    rates = [len(text) / clip.duration_s for text in clip.texts]
    return [max(0.0, min(1.0, rate / least, 2 - rate / most)) for rate in rates]


def likelihood(clip: Candidates, *, model: NGram, unit: str) -> Sequence[float]:
    """How far an n-gram model of the domain's texts is from guessing: 1 − cross entropy / log(number of outcomes).

    The cross entropy is the mean of −log p over the text's words (or characters) and its end. 1: the model is certain
    of each; 0: on average no likelier than by a fair draw from the vocabulary, or less likely.
    """
    guessing = math.log(model.outcomes)
    found = []
    for text in clip.texts:
        tokens = _tokens(text, unit)
        found.append(max(0.0, 1 + model.log_prob(tokens) / (len(tokens) + 1) / guessing))
    return found


def _tokens(text: str, unit: str) -> Sequence[str]:
    return metric.units(text) if unit == "word" else text


def _in_units(texts: Sequence[str], unit: str) -> list[str]:
    """Strings whose edit distances are those of the texts' words or characters: one character stands for a word.

    rapidfuzz compares strings many at a time, lists of words one by one.
    """
    if unit == "character":
        return list(texts)
    split = list(map(metric.units, texts))
    sign = {word: chr(number) for number, word in enumerate(dict.fromkeys(word for words in split for word in words))}
    return ["".join(sign[word] for word in words) for words in split]


def _distances(texts: Sequence[str], others: Sequence[str]) -> np.ndarray:
    """Edits over the length of the longer one, [texts, others]; two empty texts are at distance 0."""
    return process.cdist(texts, others, scorer=Levenshtein.normalized_distance, dtype=np.float64)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


class UnsupervisedReward(Verifier):
    """Reward: the weighted mean of the parts with weight; an empty or repeated text has reward 0 and no success.

    Args:
        texts: the domain's language: its words are the word list, its sentences train the n-gram model, and a
            transcript may repeat as much in a row as they do.

    Raises:
        UserError: when a part needs texts and there is none.

    >>> from soundraft.params import defaults
    >>> score = UnsupervisedReward(defaults().reward, texts=["turn on the light", "turn off the fan"])
    >>> samples = ["turn on the light", "turn on the light", "turn of the lihgt"]
    >>> [round(result.reward, 3) for result in score.verify_samples(samples, Evidence())]
    [0.875, 0.875, 0.658]
    """

    def __init__(self, options: RewardParams, *, texts: Sequence[str], language: str = "") -> None:
        own = options.unsupervised
        self.normalize = metric.normalizer(options.normalizer, language)
        self.success_threshold = own.success_threshold
        self.weights = {name: weight for name, weight in own.weights.leaves().items() if weight}
        self.needs_perturbed = "stability" in self.weights
        known = [text for text in map(self.normalize, texts) if text]
        if not known and self.weights.keys() & {"words", "vocabulary", "language"}:
            raise UserError("no text to learn words and language from: give words, vocabulary and language weight 0")
        words = sorted({word for text in known for word in metric.units(text)})
        least, most = own.characters_per_s
        self.parts: dict[str, Part] = {
            "agreement": partial(agreement, unit=own.unit),
            "words": WordNearness(words),
            "vocabulary": partial(vocabulary, words=frozenset(words)),
            "length": partial(length, least=least, most=most),
            "stability": partial(stability, unit=own.unit),
        }
        if "language" in self.weights:
            model = NGram.train((_tokens(text, own.unit) for text in known), own.language_order)
            self.parts["language"] = partial(likelihood, model=model, unit=own.unit)
        usual_loop = max((longest_loop(metric.units(text)) for text in known), default=0)
        self.repeats = max(options.guards.repeats, usual_loop)

    def verify_samples(self, hypotheses: Sequence[str], evidence: Evidence) -> list[VerifyResult]:
        missing = self._missing(len(hypotheses), evidence)
        if missing:
            return not_scorable(hypotheses, missing)
        plain = {text: self.normalize(text) for text in dict.fromkeys(hypotheses)}
        normalized = [plain[text] for text in hypotheses]
        times = Counter(normalized)
        perturbed = [self.normalize(text) for text in evidence.perturbed] if self.needs_perturbed else []
        clip = Candidates(list(times), list(times.values()), evidence.duration_s, perturbed)
        columns = {name: self.parts[name](clip) for name in self.weights}
        results = {
            text: self._result(text, {name: column[number] for name, column in columns.items()})
            for number, text in enumerate(clip.texts)
        }
        return [results[text] for text in normalized]

    def _missing(self, samples: int, evidence: Evidence) -> str:
        """What a part with weight lacks; empty when nothing is."""
        if "agreement" in self.weights and samples < 2:
            return "no other sample to agree with"
        if "length" in self.weights and not evidence.duration_s:
            return "no duration"
        if "stability" in self.weights and not evidence.perturbed:
            return "no transcript of a perturbed copy"
        return ""

    def _result(self, text: str, found: dict[str, float]) -> VerifyResult:
        words = metric.units(text)
        broken = "empty output" if not words else "repeated output" if loops(words, self.repeats) else ""
        total = sum(self.weights.values())
        reward = 0.0 if broken else sum(self.weights[name] * value for name, value in found.items()) / total
        return VerifyResult(reward, not broken and reward >= self.success_threshold, found, broken)
