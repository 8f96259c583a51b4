import collections
import itertools
import math

import numpy as np
import pytest
import torch

from soundraft.models import ctc
from soundraft.models.ctc import Frames, Words, search
from tests.conftest import tiny_recognizer

BLANK, A, B, SPACE = 0, 1, 2, 3


def random_frames(seed: int, frames: int = 5, tokens: int = 4) -> np.ndarray:
    torch.manual_seed(seed)
    return torch.log_softmax(torch.randn(frames, tokens), dim=-1).numpy()


def every_text(log_probs: np.ndarray) -> dict[tuple[int, ...], float]:
    """The probability of every collapsed path, by going through all paths."""
    paths = np.array(list(itertools.product(range(log_probs.shape[1]), repeat=len(log_probs))))
    sums: dict[tuple[int, ...], float] = collections.defaultdict(float)
    for path, tokens in zip(paths, ctc.collapse(paths, BLANK), strict=True):
        sums[tokens] += math.exp(sum(log_probs[frame, token] for frame, token in enumerate(path)))
    return sums


def spell(tokens: tuple[int, ...]) -> str:
    return "".join({A: "a", B: "b", SPACE: " "}[token] for token in tokens).strip()


def score_next(context: tuple[str, ...], word: str) -> float:
    """A bigram that never heard of `b`."""
    return math.log(0.9 if word in ("a", "aa", "ab") else 0.01) - 0.1 * (context[-1:] == (word,))


@pytest.mark.parametrize("seed", range(4))
def test_wide_enough_it_is_the_exhaustive_sum(seed: int) -> None:
    log_probs = random_frames(seed)
    expected = every_text(log_probs)
    found = search(log_probs, blank=BLANK, width=10_000, tokens_per_frame=4)
    assert {hypothesis.tokens for hypothesis in found} == set(expected)
    for hypothesis in found:
        assert math.exp(hypothesis.score) == pytest.approx(expected[hypothesis.tokens], rel=1e-5)
    assert found[0].tokens == max(expected, key=lambda tokens: expected[tokens])


@pytest.mark.parametrize("seed", range(4))
def test_with_words_it_is_the_exhaustive_best_of_both(seed: int) -> None:
    log_probs = random_frames(seed)

    def both(tokens: tuple[int, ...], probability: float) -> float:
        words = spell(tokens).split()
        language = sum(score_next(tuple(words[:place]), word) for place, word in enumerate(words))
        return math.log(probability) + 0.7 * language + 0.3 * len(words)

    expected = {tokens: both(tokens, probability) for tokens, probability in every_text(log_probs).items()}
    found = search(log_probs, blank=BLANK, width=10_000, tokens_per_frame=4, words=Words(spell, score_next, 0.7, 0.3))
    assert found[0].score == pytest.approx(max(expected.values()), rel=1e-5)
    assert {h.tokens: h.score for h in found} == pytest.approx(expected, rel=1e-5)


def test_fewer_tokens_a_frame_leave_the_others_out() -> None:
    log_probs = np.log(np.array([[0.1, 0.6, 0.2, 0.1], [0.7, 0.1, 0.1, 0.1]]))
    found = search(log_probs, blank=BLANK, width=100, tokens_per_frame=2)
    assert {hypothesis.tokens for hypothesis in found} == {(A,), (B,), (B, A)}


def test_the_adapter_finds_what_greedy_misses_and_hears_a_language() -> None:
    recognizer = tiny_recognizer()
    a, b = recognizer.tokenizer("ab").input_ids
    probabilities = torch.full((1, 2, 30), 1e-9)
    probabilities[0, :, recognizer.blank_id], probabilities[0, :, a], probabilities[0, :, b] = 0.4, 0.35, 0.25
    frames = Frames(torch.log(probabilities), torch.tensor([2]))
    assert recognizer.greedy(frames) == [""]
    assert recognizer.beam(frames, width=8) == ["a"]  # .35² + 2 · .35 · .4 = .40 against .16

    def only_b(context: tuple[str, ...], word: str) -> float:
        assert context == ()
        return math.log(0.9 if word == "b" else 0.05)

    assert recognizer.beam(frames, width=8, language=only_b, language_weight=1.0, word_bonus=1.0) == ["b"]
    assert recognizer.beam(frames, width=8, word_bonus=-9.0) == [""]
