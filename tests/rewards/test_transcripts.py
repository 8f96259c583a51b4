from typing import Any

import pytest

from soundraft.params import defaults
from soundraft.rewards.base import Evidence
from soundraft.rewards.transcripts import TranscriptReward, longest_loop

TEN = "one two three four five six seven eight nine zero"


def reward(**changes: Any) -> TranscriptReward:
    return TranscriptReward(defaults().reward.model_copy(update=changes))


@pytest.mark.parametrize(
    ("hypothesis", "expected", "success"),
    [
        (TEN, 1.0, True),
        (TEN.upper() + "!", 1.0, True),
        (TEN.replace("one", "won"), 0.9, True),
        (TEN.replace("one two three", ""), 0.7, True),
        (TEN.replace("one two three four five", ""), 0.5, False),
        ("", 0.0, False),
        (TEN + " and then some more than ever there was said of it", 0.0, False),
    ],
)
def test_the_reward_is_one_minus_the_clipped_wer(hypothesis: str, expected: float, success: bool) -> None:
    result = reward().verify(reference=TEN, hypothesis=hypothesis)
    assert result.reward == pytest.approx(expected)
    assert result.success is success


@pytest.mark.parametrize("reference", [None, "", "  ", "?!"])
def test_without_words_in_the_reference_there_is_no_reward(reference: str | None) -> None:
    result = reward().verify(reference=reference, hypothesis="one")
    assert (result.reward, result.success) == (None, False)
    assert "reference" in result.reason


def test_characters_can_have_a_part_in_the_error_and_parts_are_kept() -> None:
    near = {"reference": "turn on the light", "hypothesis": "turn on the lihgt"}  # 1 of 4 words, 2 of 17 characters
    for weight in (0.0, 0.25, 1.0):
        result = reward(cer_weight=weight).verify(**near)
        assert result.reward == pytest.approx(1 - ((1 - weight) / 4 + weight * 2 / 17))
        assert result.parts == pytest.approx({"wer": 1 / 4, "cer": 2 / 17})


def test_unclipped_rewards_go_below_zero() -> None:
    far = {"reference": "yes", "hypothesis": "no and no"}
    assert reward(clipped=True).verify(**far).reward == 0.0
    assert reward(clipped=False).verify(**far).reward == pytest.approx(-2.0)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "reason"),
    [
        ("turn on the light", " ?! ", "empty output"),
        ("turn on the light", "turn on the light light light light light", "repeated output"),
        ("turn on the light", "turn on the light" + " on the light" * 4, "repeated output"),
        ("turn on the light", "turn on the light and so on and on as if it would end", "runaway output"),
        ("no no no no no", "no no no no no no", ""),
        ("turn on the light", "turn on the light light light light", ""),
        ("yes", "yes and so it", ""),
    ],
)
@pytest.mark.parametrize("clipped", [True, False])
def test_guards_name_what_is_no_transcript(reference: str, hypothesis: str, reason: str, clipped: bool) -> None:
    # nearly all characters of a repeated output may be right: without a guard these would have a reward
    score = reward(cer_weight=0.9, clipped=clipped, wer_threshold=9.0)
    result = score.verify(reference=reference, hypothesis=hypothesis)
    assert result.reason == reason
    assert result.success is not bool(reason)
    assert result.reward is not None
    if reason:
        assert result.reward == 0.0 if clipped else result.reward <= 0.0


@pytest.mark.parametrize(
    ("text", "times"),
    [("", 0), ("a", 1), ("a b c", 1), ("a a", 2), ("x a b a b a b c", 3), ("a b c a b c", 2),
     ("a a b a a b a a b", 3), ("c c c c a b a b", 4), ("a b a", 1)],
)  # fmt: skip
def test_the_longest_loop(text: str, times: int) -> None:
    assert longest_loop(text.split()) == times


def test_samples_keep_their_order_and_equal_ones_are_equal() -> None:
    samples = [TEN, "one", "", TEN, "two", "one"]
    results = reward().verify_samples(samples, Evidence(TEN))
    assert results == [reward().verify(hypothesis=text, reference=TEN) for text in samples]


@pytest.mark.parametrize("text", ["zero five two", "oh five", "Mr. Brown's colour", "twenty-one dollars", "won’t"])
def test_an_exact_transcript_has_the_whole_reward_also_when_it_is_normalised(text: str) -> None:
    score = reward(normalizer="whisper-english")
    for reference in (text, score.normalize(text)):
        for hypothesis in (text, score.normalize(text)):
            assert score.verify(hypothesis=hypothesis, reference=reference).reward == 1.0


def test_where_words_have_no_spaces_the_error_is_the_cer() -> None:
    assert reward().verify(reference="今天天气很好啊", hypothesis="今天天气很好").reward == pytest.approx(6 / 7)
    assert reward().verify(reference="今天天气很好啊", hypothesis="今天天气很好").success
    assert reward().verify(reference="今天天气", hypothesis="天" * 30).reason == "repeated output"
