import math
import random
from collections.abc import Sequence

import pytest

from soundraft.metrics.ngram import Mark, NGram

SENTENCES = [text.split() for text in ("turn on the light", "turn off the light", "turn the fan on", "stop")]


def witten_bell(sentences: Sequence[Sequence[str]], history: list[object], token: object, order: int) -> float:
    """p(token | history), straight from the formula: counts by walking all sentences."""
    vocabulary = {word for sentence in sentences for word in sentence}
    after: list[object] = []
    for sentence in sentences:
        whole = [Mark.START, *sentence, Mark.END]
        for at in range(1, len(whole)):
            if at >= len(history) and whole[at - len(history) : at] == history:
                after.append(whole[at])
    lower = witten_bell(sentences, history[1:], token, order) if history else 1 / (len(vocabulary) + 2)
    if not after:
        return lower
    return (after.count(token) + len(set(after)) * lower) / (len(after) + len(set(after)))


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_probabilities_are_those_of_the_formula(order: int) -> None:
    model = NGram.train(SENTENCES, order)
    rng = random.Random(order)
    for _ in range(200):
        context = rng.choices([*sorted(model.vocabulary), "never"], k=rng.randint(0, 5))
        token = rng.choice([*sorted(model.vocabulary), Mark.END, Mark.UNKNOWN])
        whole = [Mark.START, *context]
        history = whole[len(whole) - min(order - 1, len(whole)) :]
        expected = witten_bell(SENTENCES, history, token, order)
        assert math.exp(model.score_next(tuple(context), token)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("order", [1, 2, 4])
@pytest.mark.parametrize(
    "context", [(), ("turn",), ("turn", "on", "the"), ("never", "seen"), ("the", "never"), ("stop",)]
)
def test_all_that_can_come_next_has_probability_one(order: int, context: tuple[str, ...]) -> None:
    model = NGram.train(SENTENCES, order)
    outcomes = [*model.vocabulary, Mark.END, Mark.UNKNOWN]
    assert len(outcomes) == model.outcomes
    assert sum(math.exp(model.score_next(context, token)) for token in outcomes) == pytest.approx(1)


def test_a_sentence_is_the_product_of_its_tokens_and_its_end() -> None:
    model = NGram.train(SENTENCES, 3)
    words = ("turn", "on", "the", "fan")
    steps = [model.score_next(words[:at], word) for at, word in enumerate([*words, Mark.END])]
    assert model.log_prob(words) == pytest.approx(sum(steps))
    assert model.log_prob(("turn", "on", "the", "light")) > model.log_prob(("light", "the", "on", "turn"))
    assert model.log_prob(("stop",)) > model.log_prob(()) > model.log_prob(("xyz", "xyz"))


def test_characters_are_tokens_too() -> None:
    model = NGram.train(["turn on the light", "turn off the light"], 4)
    assert model.vocabulary == frozenset("turn on the light off")
    assert model.log_prob("turn off") > model.log_prob("trun fof")
    assert model.score_next("tur", "n") == model.score_next(("t", "u", "r"), "n")


def test_nothing_to_learn_from_is_an_error() -> None:
    with pytest.raises(ValueError, match="no sentence"):
        NGram.train([], 3)
    with pytest.raises(ValueError, match="must be 1 or more, not 0"):
        NGram.train(SENTENCES, 0)
