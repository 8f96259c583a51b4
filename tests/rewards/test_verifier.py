import doctest

import pytest

from soundraft import rewards
from soundraft.params import ParamsError
from soundraft.rewards import AudioVerifier, labels, transcripts, unsupervised
from soundraft.runtime import UserError


@pytest.mark.parametrize("module", [rewards, transcripts, labels, unsupervised])
def test_the_examples_in_the_docstrings_are_true(module: object) -> None:
    found = doctest.testmod(module)  # type: ignore[arg-type]
    assert found.attempted > 0
    assert found.failed == 0


def test_a_batch_is_its_pairs_in_order() -> None:
    verifier = AudioVerifier(task="asr")
    batch = verifier.verify_batch(["one", "two", "", "one"], ["one", "one", "one", ""])
    assert [result.reward for result in batch] == [1.0, 0.0, 0.0, None]
    with pytest.raises(ValueError, match="shorter"):
        verifier.verify_batch(["one", "two"], ["one"])


def test_options_are_those_of_params_and_checked_like_them() -> None:
    strict = AudioVerifier(task="asr", wer_threshold=0.0, normalizer="none")
    assert not strict.verify(hypothesis="One", reference="one").success
    for wrong in ({"cer_weight": 2.0}, {"cer_wieght": 0.5}):
        with pytest.raises(ParamsError, match=next(iter(wrong))):
            AudioVerifier(task="asr", **wrong)
    with pytest.raises(ParamsError, match="fuzzy_threshold"):
        AudioVerifier(task="classification", labels=["a"], fuzzy_threshold=80)
    with pytest.raises(ParamsError, match="wer_threshold"):
        AudioVerifier(task="asr", wer_threshold=30)
    with pytest.raises(UserError, match="tts"):
        AudioVerifier(task="vision")


def test_answer_and_reference_by_place_or_by_either_name() -> None:
    verifier = AudioVerifier(task="asr")
    expected = verifier.verify(hypothesis="one two", reference="one")
    assert expected.reward == 0.0
    assert verifier.verify("one two", "one") == expected
    assert verifier.verify(prediction="one two", ground_truth="one") == expected
    for wrong in ({"hypothesis": None}, {"hypothesis": 5}, {"hypothesis": "a", "prediction": "a"},
                  {"hypothesis": "a", "reference": "a", "ground_truth": "a"}):  # fmt: skip
        with pytest.raises(UserError, match=r"hypothesis|reference"):
            verifier.verify(**wrong)  # type: ignore[arg-type]


def test_a_string_where_several_are_meant_is_refused() -> None:
    for wrong in ({"labels": "yes"}, {"labels": ["yes"], "aliases": {"yes": "yeah"}}):
        with pytest.raises(UserError, match="one text"):
            AudioVerifier(task="classification", **wrong)
    with pytest.raises(UserError, match="one text"):
        AudioVerifier(task="asr").verify_batch("one", "one")
    for wrong in ({}, {"labels": 3}, {"labels": {"yes": 1}}, {"labels": ["yes"], "aliases": ["yeah"]},
                  {"labels": ["yes"], "aliases": {"yes": 3}}, {"aliases": {"yes": ["yeah"]}}):  # fmt: skip
        with pytest.raises(UserError, match=r"labels|aliases"):
            AudioVerifier(task="classification", **wrong)


def test_the_letter_i_of_turkish() -> None:
    assert AudioVerifier(task="asr", language="tr").verify("ışık", "IŞIK").reward == 1.0


def test_without_references_there_are_words_and_lengths() -> None:
    weights = {"agreement": 0.0, "words": 1.0, "vocabulary": 0.0, "length": 1.0, "language": 0.0, "stability": 0.0}
    options = {"weights": weights, "unit": "word", "characters_per_s": [4.0, 8.0], "language_order": 2}
    verifier = AudioVerifier(
        task="asr", kind="unsupervised", texts=["turn on"], unsupervised={**options, "success_threshold": 0.9}
    )
    assert verifier.verify(hypothesis="turn on", duration_s=1.0).reward == 1.0
    assert verifier.verify(hypothesis="turn on", duration_s=0.4375).reward == 0.5
