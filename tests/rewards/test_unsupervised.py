import math
from dataclasses import replace
from typing import Any

import pytest

from soundraft.metrics.ngram import NGram
from soundraft.params import changed, defaults
from soundraft.params.sections import PartWeights
from soundraft.rewards.base import Evidence
from soundraft.rewards.unsupervised import UnsupervisedReward
from soundraft.runtime import UserError

PARTS = tuple(PartWeights.model_fields)
TEXTS = ["turn on the light", "turn off the fan", "open the kitchen window", "three three two one"]
SAMPLES = ["turn on the light", "turn on the lihgt", "", "Turn on the light!", "turn of a fan", "turn on the light"]


def reward(
    weights: dict[str, float], *, unit: str = "word", texts: list[str] = TEXTS, repeats: int = 4
) -> UnsupervisedReward:
    own = {"weights": dict.fromkeys(PARTS, 0.0) | weights, "unit": unit, "characters_per_s": [5.0, 10.0]}
    values: dict[str, Any] = {f"reward.unsupervised.{key}": value for key, value in own.items()}
    options = changed(defaults(), values | {"reward.guards.repeats": repeats}).reward
    return UnsupervisedReward(options, texts=texts)


def part(name: str, samples: list[str], evidence: Evidence, *, unit: str = "word") -> list[float]:
    return [result.parts[name] for result in reward({name: 1.0}, unit=unit).verify_samples(samples, evidence)]


def distance(left: list[str], right: list[str]) -> float:
    """Levenshtein by the textbook, over the length of the longer one."""
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        previous, row[0] = row[0], i
        for j, b in enumerate(right, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (a != b))
    return row[-1] / max(len(left), len(right), 1)


def units(text: str, unit: str) -> list[str]:
    text = text.lower().rstrip("!")
    return text.split() if unit == "word" else list(text)


@pytest.mark.parametrize("unit", ["word", "character"])
def test_agreement_and_stability_are_means_over_other_texts(unit: str) -> None:
    copies = ("turn on the light", "turn on light")
    plain, perturbed = ([units(text, unit) for text in texts] for texts in (SAMPLES, copies))
    agreement = [
        1 - sum(distance(own, other) for at, other in enumerate(plain) if at != number) / (len(plain) - 1)
        for number, own in enumerate(plain)
    ]
    stability = [1 - sum(distance(own, other) for other in perturbed) / 2 for own in plain]
    assert part("agreement", SAMPLES, Evidence(), unit=unit) == pytest.approx(agreement)
    assert part("stability", SAMPLES, Evidence(perturbed=copies), unit=unit) == pytest.approx(stability)
    assert reward({"stability": 0.1}).needs_perturbed
    assert not reward({"words": 1.0}).needs_perturbed


def test_words_are_as_near_as_their_nearest_word_of_the_list() -> None:
    words = {word for text in TEXTS for word in text.split()}
    samples = ["turn on the lihgt", "xyz", "widnow kitchn", "turn on the lihgt"]
    expected = [
        sum(1 - min(distance(list(word), list(known)) for known in words) for word in text.split()) / len(text.split())
        for text in samples
    ]
    assert part("words", samples, Evidence()) == pytest.approx(expected)
    assert expected[0] == pytest.approx((3 + 0.6) / 4)


def test_vocabulary_is_the_share_of_known_words_and_length_falls_outside_its_range() -> None:
    assert part("vocabulary", ["turn on the lihgt", "xyz", "", "fan"], Evidence()) == [0.75, 0.0, 0.0, 1.0]
    texts = ["x" * characters for characters in (0, 5, 10, 20, 30, 40, 99)]
    assert part("length", texts, Evidence(duration_s=2.0)) == pytest.approx([0, 0.5, 1, 1, 0.5, 0, 0])


@pytest.mark.parametrize("unit", ["word", "character"])
def test_language_is_how_far_the_model_is_from_guessing(unit: str) -> None:
    samples = ["turn on the light", "light the on turn", "xyz xyz"]
    found = part("language", samples, Evidence(), unit=unit)
    model = NGram.train([units(text, unit) for text in TEXTS], 3)
    for text, value in zip(samples, found, strict=True):
        tokens = units(text, unit)
        bits = -model.log_prob(tokens) / (len(tokens) + 1)
        assert value == pytest.approx(max(0.0, 1 - bits / math.log(model.outcomes)))
    assert 1 > found[0] > found[1] >= found[2] >= 0


def test_the_reward_is_the_weighted_mean_of_the_parts_with_weight() -> None:
    weights = {"agreement": 2.0, "words": 1.0, "vocabulary": 0.0, "language": 0.5}
    for result in reward(weights).verify_samples(SAMPLES, Evidence()):
        assert list(result.parts) == ["agreement", "words", "language"]
        assert all(0 <= value <= 1 for value in result.parts.values())
        if result.parts["words"]:
            mean = sum(weights[name] * value for name, value in result.parts.items()) / 3.5
            assert result.reward == pytest.approx(mean)
            assert result.success == (mean >= 0.8)


def test_the_reference_is_never_read() -> None:
    class Forbidden(str):
        __slots__ = ()

        def __getattribute__(self, name: str) -> object:
            raise AssertionError(f"the reference was read: {name}")

    score = reward(dict.fromkeys(PARTS, 1.0))
    without = Evidence(duration_s=1.5, perturbed=("turn on light",))
    results = score.verify_samples(SAMPLES, without)
    assert all(result.reward is not None for result in results)
    for reference in ("turn on the light", "something else", "", Forbidden("turn on the light")):
        assert score.verify_samples(SAMPLES, replace(without, reference=reference)) == results
    alone = reward({"words": 1.0})
    assert alone.verify(hypothesis="fan", reference="fan") == alone.verify(hypothesis="fan", reference="light")


def test_samples_keep_their_order_and_equal_ones_are_equal() -> None:
    score = reward({"agreement": 1.0, "words": 1.0})
    results = score.verify_samples(SAMPLES, Evidence())
    assert results[0] == results[3] == results[5]
    order = [4, 2, 0, 5, 1, 3]
    shuffled = score.verify_samples([SAMPLES[at] for at in order], Evidence())
    assert [result.reward for result in shuffled] == pytest.approx([results[at].reward for at in order])
    assert max(results, key=lambda result: result.reward or 0.0) == results[0]


def test_empty_and_repeated_outputs_have_no_reward() -> None:
    score = reward({"vocabulary": 1.0}, repeats=2)
    loop, usual, empty = score.verify_samples(["fan fan fan", "three three", " ?"], Evidence())
    assert (loop.reward, loop.success, loop.reason, loop.parts) == (0.0, False, "repeated output", {"vocabulary": 1.0})
    assert (usual.reward, usual.success, usual.reason) == (1.0, True, "")
    assert (empty.reward, empty.success, empty.reason) == (0.0, False, "empty output")
    domain = reward({"vocabulary": 1.0}, repeats=2, texts=[*TEXTS, "three three three"])
    assert domain.verify(hypothesis="fan fan fan").reward == 1.0  # the domain repeats as much


@pytest.mark.parametrize(("name", "samples"), [("agreement", 1), ("length", 2), ("stability", 2)])
def test_what_a_part_lacks_makes_the_clip_not_scorable(name: str, samples: int) -> None:
    results = reward({name: 1.0, "words": 1.0}).verify_samples(["fan"] * samples, Evidence("fan"))
    assert [(result.reward, result.success) for result in results] == [(None, False)] * samples
    assert all(result.reason for result in results)


@pytest.mark.parametrize("texts", [[], [" ?"]])
def test_parts_that_need_texts_are_refused_without(texts: list[str]) -> None:
    for name in ("words", "vocabulary", "language"):
        with pytest.raises(UserError, match=name):
            reward({name: 1.0}, texts=texts)
    reward({"agreement": 1.0}, texts=texts)
