"""Prefix beam search through the frames of a CTC model, with an n-gram of words where there is one.

The search and its words are those of Hannun et al., arXiv 1408.2873:
log P(CTC) + weight · log P(words) + bonus · words.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

NOTHING = -math.inf

ScoreNext = Callable[[tuple[str, ...], str], float]


class Hypothesis(NamedTuple):
    """Collapsed tokens and their score: the natural logarithm of their probability, and what the words add."""

    tokens: tuple[int, ...]
    score: float


@dataclass
class Words:
    """What the words of a prefix add to its score; its last word counts once a next one begins, or at the end.

    Attributes:
        text: collapsed tokens → text.
        score_next: (the words before, a word) → natural logarithm of its probability.
        weight, bonus: of that logarithm; and for each word.
    """

    text: Callable[[tuple[int, ...]], str]
    score_next: ScoreNext | None
    weight: float
    bonus: float
    _sums: dict[tuple[str, ...], float] = field(default_factory=lambda: {(): 0.0})

    def of(self, tokens: tuple[int, ...], *, finished: bool) -> float:
        words = tuple(self.text(tokens).split())
        return self._sum(words if finished else words[:-1])

    def _sum(self, words: tuple[str, ...]) -> float:
        if words not in self._sums:
            *before, word = words
            added = self.bonus
            if self.score_next is not None:
                added += self.weight * self.score_next(tuple(before), word)
            self._sums[words] = self._sum(tuple(before)) + added
        return self._sums[words]


def search(
    log_probs: np.ndarray, *, blank: int, width: int, tokens_per_frame: int, words: Words | None = None
) -> list[Hypothesis]:
    """The best prefixes of the frames `[T, V]`, best first.

    Args:
        width: prefixes kept after each frame.
        tokens_per_frame: only so many of a frame's most likely tokens are tried.
    """
    # prefix → log-probability of its paths that end in blank, and of those that end in its last token
    kept: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, NOTHING)}
    added: dict[tuple[int, ...], float] = {(): 0.0}  # by its words
    tried = np.sort(np.argsort(-log_probs, axis=-1, kind="stable")[:, :tokens_per_frame], axis=-1)
    for frame, tokens in zip(log_probs, tried.tolist(), strict=True):
        grown = _grow(kept, list(zip(tokens, frame[tokens].tolist(), strict=True)), blank)
        if words is not None:
            added = {prefix: added[prefix] if prefix in added else words.of(prefix, finished=False) for prefix in grown}
        scores = {prefix: _add(*ends) + added.get(prefix, 0.0) for prefix, ends in grown.items()}
        best = sorted(grown, key=lambda prefix: (-scores[prefix], prefix))[:width]
        kept = {prefix: grown[prefix] for prefix in best}
    final = [
        Hypothesis(prefix, _add(*ends) + (words.of(prefix, finished=True) if words is not None else 0.0))
        for prefix, ends in kept.items()
    ]
    return sorted(final, key=lambda hypothesis: (-hypothesis.score, hypothesis.tokens))


def _grow(
    kept: dict[tuple[int, ...], tuple[float, float]], tokens: list[tuple[int, float]], blank: int
) -> dict[tuple[int, ...], tuple[float, float]]:
    """One frame on: every prefix with every token, paths to the same prefix added up."""
    grown: dict[tuple[int, ...], tuple[float, float]] = {}

    def put(prefix: tuple[int, ...], ends_blank: float, ends_token: float) -> None:
        before = grown.get(prefix)
        grown[prefix] = (
            (ends_blank, ends_token) if before is None else (_add(before[0], ends_blank), _add(before[1], ends_token))
        )

    for prefix, (ends_blank, ends_token) in kept.items():
        both = _add(ends_blank, ends_token)
        last = prefix[-1] if prefix else blank
        for token, log_prob in tokens:
            if token == blank:
                put(prefix, both + log_prob, NOTHING)
            elif token == last:
                put(prefix, NOTHING, ends_token + log_prob)  # the same letter goes on
                if ends_blank != NOTHING:
                    put((*prefix, token), NOTHING, ends_blank + log_prob)  # after a blank it is a second one
            else:
                put((*prefix, token), NOTHING, both + log_prob)
    return grown


def _add(a: float, b: float) -> float:
    """log(eᵃ + eᵇ)."""
    high, low = (a, b) if a > b else (b, a)
    return high if low == NOTHING else high + math.log1p(math.exp(low - high))
