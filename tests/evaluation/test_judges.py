import doctest
import random
import re

import pytest

from soundraft.corpora.espeak import DIGITS, draw_text
from soundraft.evaluation import judges
from soundraft.evaluation.judges import comparable


def test_the_examples_in_the_docstrings_are_true() -> None:
    found = doctest.testmod(judges)
    assert (found.attempted, found.failed) == (1, 0)


def test_texts_written_in_digits_or_in_words_compare() -> None:
    rng = random.Random(0)
    figures = {word: str(digit) for digit, word in enumerate(DIGITS)}
    for _ in range(300):
        text = draw_text(rng, "test")
        written = " ".join(figures.get(word, word) for word in text.split()).replace(" percent", "%")
        joined = re.sub(r"(?<=\d) (?=\d)", "", written)
        assert comparable(joined.capitalize() + ".") == comparable(text), joined


def test_a_judge_that_hears_nothing() -> None:
    assert comparable("") == comparable(" . ") == ""


@pytest.mark.parametrize("other", ["set it to two", "set it to twenty", "set it to 12", "set the 21"])
def test_other_words_stay_different(other: str) -> None:
    assert comparable(other) != comparable("set it to twenty one")


def test_other_languages_keep_their_number_words() -> None:
    assert comparable("Eins, 21", "de") == "eins 2 1"
