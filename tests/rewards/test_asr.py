import pytest

from soundraft.rewards.asr import TranscriptReward

REWARD = TranscriptReward(normalizer="basic", wer_threshold=0.3)
TEN = "one two three four five six seven eight nine zero"


@pytest.mark.parametrize(
    ("hypothesis", "reward", "success"),
    [
        (TEN, 1.0, True),
        (TEN.upper() + "!", 1.0, True),
        (TEN.replace("one", "won"), 0.9, True),
        (TEN.replace("one two three", ""), 0.7, True),
        (TEN.replace("one two three four five", ""), 0.5, False),
        ("", 0.0, False),
        (TEN + " " + " ".join(["and"] * 30), 0.0, False),
    ],
)
def test_the_reward_is_one_minus_the_clipped_wer(hypothesis: str, reward: float, success: bool) -> None:
    verdict = REWARD(reference=TEN, hypothesis=hypothesis)
    assert verdict.reward == pytest.approx(reward)
    assert verdict.success is success
    assert set(verdict.parts) == {"wer", "cer"}


def test_parts_say_why() -> None:
    parts = REWARD(reference="two", hypothesis="to and fro").parts
    assert parts["wer"] == pytest.approx(3.0)
    assert parts["cer"] == pytest.approx(8 / 3)


@pytest.mark.parametrize("reference", ["", "  ", "?!"])
def test_an_empty_reference_is_not_scorable_and_says_so(reference: str) -> None:
    verdict = REWARD(reference=reference, hypothesis="one")
    assert (verdict.reward, verdict.reason) == (None, "empty reference")
