from dataclasses import replace

import pytest

from soundraft.evaluation.scores import RAW, Scores, score_texts
from soundraft.metrics.text import normalizer
from soundraft.tasks.asr import spelling_hint


def scored(kind: str, *pairs: tuple[str, str]) -> Scores:
    references, hypotheses = ([pair[side] for pair in pairs] for side in (0, 1))
    ids = [str(place) for place in range(len(pairs))]
    found = score_texts(ids=ids, references=references, hypotheses=hypotheses, normalizer=normalizer(kind))
    return replace(found, raw=dict(zip(RAW, (references, hypotheses), strict=True)))


DIGITS = (("three five seven", "3, 5, 7."), ("nine two eight one", "9281"), ("four oh six", "for 06"))


@pytest.mark.parametrize(
    ("used", "pairs", "expected"),
    [
        ("basic", DIGITS, "numbers, which"),
        ("whisper-english", DIGITS, "numbers, which"),
        ("none", DIGITS, "numbers, which"),
        ("none", [("Printing, in the sense.", "printing in the sense"), ("a b", "a c")], "case and punctuation"),
        ("basic", [("it's the colour of the centre", "it is the color of the center")], "spelling"),
        ("basic", [("turn on the light", "turn off the lights"), ("ten", "10")], ""),
        ("spoken-digits", DIGITS, ""),
        ("basic", [("one", "one")], ""),
    ],
)  # fmt: skip
def test_it_names_what_most_errors_are(used: str, pairs: list[tuple[str, str]], expected: str) -> None:
    found = spelling_hint(scored(used, *pairs), "wer", used)
    assert (expected in found) if expected else not found


def test_it_says_which_normaliser_and_what_the_rates_are() -> None:
    found = spelling_hint(scored("basic", *DIGITS), "wer", "basic", "en")
    assert "--normalizer spoken-digits" in found
    assert f"WER is {scored('spoken-digits', *DIGITS).value('wer'):.1%}" in found
    assert f"{scored('basic', *DIGITS).value('wer'):.1%} with basic" in found


def test_rules_for_english_are_not_named_for_other_languages() -> None:
    assert not spelling_hint(scored("basic", *DIGITS), "wer", "basic", "de")
