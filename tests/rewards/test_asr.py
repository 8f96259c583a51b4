import pytest

from soundraft.rewards.base import Evidence
from soundraft.rewards.transcripts import Guards, TranscriptReward, longest_loop

TEN = "one two three four five six seven eight nine zero"


def reward(*, cer_weight: float = 0.0, clipped: bool = True, wer_threshold: float = 0.3) -> TranscriptReward:
    guards = Guards(repeats=4, length_ratio=2.0)
    return TranscriptReward(
        normalizer="basic", wer_threshold=wer_threshold, cer_weight=cer_weight, clipped=clipped, guards=guards
    )


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
    assert set(result.parts) == {"wer", "cer"}


def test_parts_say_why() -> None:
    parts = reward().verify(reference="two", hypothesis="to and fro").parts
    assert parts["wer"] == pytest.approx(3.0)
    assert parts["cer"] == pytest.approx(8 / 3)


@pytest.mark.parametrize("reference", ["", "  ", "?!"])
def test_an_empty_reference_is_not_scorable_and_says_so(reference: str) -> None:
    result = reward().verify(reference=reference, hypothesis="one")
    assert (result.reward, result.success, result.reason) == (None, False, "empty reference")


def test_without_a_reference_there_is_no_reward() -> None:
    result = reward().verify(hypothesis="one")
    assert (result.reward, result.reason) == (None, "no reference")


def test_characters_can_have_a_part_in_the_error() -> None:
    near = {"reference": "turn on the light", "hypothesis": "turn on the lihgt"}  # 1 of 4 words, 2 of 17 characters
    assert reward(cer_weight=0.0).verify(**near).reward == pytest.approx(1 - 1 / 4)
    assert reward(cer_weight=1.0).verify(**near).reward == pytest.approx(1 - 2 / 17)
    assert reward(cer_weight=0.25).verify(**near).reward == pytest.approx(1 - (0.75 / 4 + 0.25 * 2 / 17))


def test_unclipped_rewards_go_below_zero() -> None:
    far = {"reference": "yes", "hypothesis": "no and no"}
    assert reward(clipped=True).verify(**far).reward == 0.0
    assert reward(clipped=False).verify(**far).reward == pytest.approx(-2.0)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "reason"),
    [
        ("turn on the light", " ?! ", "empty output"),
        ("turn on the light", "turn on the light light light light light", "repeated output"),
        (
            "turn on the light",
            "turn on the light on the light on the light on the light on the light",
            "repeated output",
        ),
        ("turn on the light", "turn on the light and so on and on as if it would end", "runaway output"),
        ("no no no no no", "no no no no no no", ""),
        ("turn on the light", "turn on the light light light light", ""),
        ("yes", "yes and so it", ""),
    ],
)
@pytest.mark.parametrize("clipped", [True, False])
def test_guards_name_what_is_no_transcript(reference: str, hypothesis: str, reason: str, clipped: bool) -> None:
    # nearly all characters of a repeated output may be right: without a guard these would have a reward
    result = reward(cer_weight=0.9, clipped=clipped, wer_threshold=9.0).verify(
        reference=reference, hypothesis=hypothesis
    )
    assert result.reason == reason
    assert result.success is not bool(reason)
    assert result.reward is not None
    if reason:
        assert result.reward == 0.0 if clipped else result.reward <= 0.0


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("", 0),
        ("a", 1),
        ("a b c", 1),
        ("a a", 2),
        ("x a b a b a b c", 3),
        ("a b c a b c", 2),
        ("a a b a a b a a b", 3),
        ("c c c c a b a b", 4),
        ("a b a", 1),
    ],
)
def test_the_longest_loop(text: str, times: int) -> None:
    assert longest_loop(text.split()) == times


def test_samples_keep_their_order_and_equal_ones_are_equal() -> None:
    samples = [TEN, "one", "", TEN, "two", "one"]
    results = reward().verify_samples(samples, Evidence(TEN))
    assert [result.reward for result in results] == pytest.approx([1.0, 0.1, 0.0, 1.0, 0.1, 0.1])
    assert results == [reward().verify(hypothesis=text, reference=TEN) for text in samples]
