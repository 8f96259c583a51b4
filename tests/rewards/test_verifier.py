import doctest

import pytest

from soundraft import rewards
from soundraft.params import ParamsError
from soundraft.rewards import AudioVerifier, Evidence, labels, transcripts, unsupervised
from soundraft.runtime import UserError

TEN = "one two three four five six seven eight nine zero"


@pytest.mark.parametrize("module", [rewards, transcripts, labels, unsupervised])
def test_the_examples_in_the_docstrings_are_true(module: object) -> None:
    found = doctest.testmod(module)  # type: ignore[arg-type]
    assert found.attempted > 0
    assert found.failed == 0


@pytest.mark.parametrize(("wrong", "reward"), [(0, 1.0), (1, 0.9), (3, 0.7), (5, 0.5)])
def test_the_reward_by_word_error_rate(wrong: int, reward: float) -> None:
    words = TEN.split()
    hypothesis = " ".join(["x", "y", "z", "u", "v"][:wrong] + words[wrong:])
    assert AudioVerifier(task="asr").verify(hypothesis=hypothesis, reference=TEN).reward == reward


def test_a_batch_is_its_pairs_in_order() -> None:
    verifier = AudioVerifier(task="asr")
    heard, said = ["one", "two", "", "one"], ["one", "one", "one", ""]
    batch = verifier.verify_batch(heard, said)
    assert batch == [verifier.verify(hypothesis=h, reference=r) for h, r in zip(heard, said, strict=True)]
    assert [result.reward for result in batch] == [1.0, 0.0, 0.0, None]
    with pytest.raises(ValueError, match="shorter"):
        verifier.verify_batch(["one", "two"], ["one"])


def test_options_are_those_of_params_and_checked_like_them() -> None:
    strict = AudioVerifier(task="asr", wer_threshold=0.0, normalizer="none")
    assert not strict.verify(hypothesis="One", reference="one").success
    with pytest.raises(ParamsError, match=r"cer_weight: got 2.0; allowed: less than or equal to 1"):
        AudioVerifier(task="asr", cer_weight=2.0)
    with pytest.raises(ParamsError, match="cer_wieght: unknown key"):
        AudioVerifier(task="asr", cer_wieght=0.5)


def test_without_references_there_are_words_and_lengths() -> None:
    weights = {"agreement": 0.0, "words": 1.0, "vocabulary": 0.0, "length": 1.0, "language": 0.0, "stability": 0.0}
    options = {"weights": weights, "unit": "word", "characters_per_s": [4.0, 8.0], "language_order": 2}
    verifier = AudioVerifier(
        task="asr", kind="unsupervised", texts=["turn on"], unsupervised={**options, "success_threshold": 0.9}
    )
    assert verifier.verify(hypothesis="turn on", duration_s=1.0).reward == 1.0
    assert verifier.verify(hypothesis="turn on", duration_s=0.4375).reward == 0.5
    assert verifier.verify(hypothesis="turn on").reason == "no duration"


def test_classification_takes_the_options_of_its_verifier() -> None:
    verifier = AudioVerifier(task="classification", labels=["dog", "cat"], aliases={"dog": ["puppy"]})
    assert [result.reward for result in verifier.verify_batch(["Puppy", "cat", "cow"], ["dog"] * 3)] == [1.0, 0.0, 0.0]


def test_an_unknown_task_is_named() -> None:
    with pytest.raises(UserError, match="no verifier for the task 'tts'; there are asr, classification"):
        AudioVerifier(task="tts")


@pytest.mark.parametrize("task", ["asr", "classification"])
def test_samples_keep_their_order(task: str) -> None:
    verifier = AudioVerifier(task, **({"labels": ["b", "a"]} if task == "classification" else {}))
    results = verifier.verifier.verify_samples(["b", "a", "c", "a"], Evidence("a"))
    assert [result.reward for result in results] == [0.0, 1.0, 0.0, 1.0]
