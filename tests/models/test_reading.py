"""What is said of a text."""

import pytest

from soundraft.corpora.espeak import WORD_BREAK
from soundraft.models import reading
from soundraft.models.base import ModelError


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Set the lamp to 3.", "set the lamp to three."),
        ("It’s 12.5 % of 1,000", "it's twelve point five percent of one thousand"),
        ("the 2nd of 21", "the second of twenty one"),
        ("-7 degrees", "minus seven degrees"),
        ("007", "zero zero seven"),
        ("Dr. Smith vs. Mr. Jones", "doctor smith versus mister jones"),
        ("the USB port, ok", "the u s b port, ok"),
        ("TURN IT ON", "turn it on"),
        ("salt & pepper (both)", "salt and pepper both"),
        ("café", "café"),
    ],
)
def test_numbers_symbols_and_abbreviations_become_words(text: str, said: str) -> None:
    assert reading.spoken(text) == said


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("привет", "'п' is CYRILLIC SMALL LETTER PE: only texts in Latin script"),
        ("你好", "CJK UNIFIED IDEOGRAPH"),
        ("a ☃", "SNOWMAN, which has no words"),
        ("", "nothing to say"),
        (" .,! ", "nothing to say"),
        ("1" * 40, "has 40 digits"),
    ],
)
def test_what_cannot_be_said_is_named(text: str, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        reading.spoken(text)


def test_a_long_text_is_cut_where_it_pauses_and_nothing_is_lost() -> None:
    text = "set the lamp to three, and wait. " * 300 + "word " * 100 + "x" * 400
    found = reading.pieces(text.strip())
    assert " ".join(found) == text.strip()
    assert all(len(piece) <= reading.LONGEST_PIECE for piece in found[:-1])
    assert found[-1] == "x" * 400  # a word is never cut
    assert found[0].endswith(".")
    assert reading.pieces("short") == ["short"]


def test_phones_are_those_of_the_voice() -> None:
    scottish, american = (reading.phones("four cars", voice) for voice in ("en-gb-scotland+m1", "en-us+m1"))
    assert scottish != american
    assert WORD_BREAK in scottish
    assert reading.phones("four cars", "en-us+m1") == american
    with pytest.raises(ModelError, match="no voice 'en-us\\+nobody'"):
        reading.phones("four", "en-us+nobody")


def test_letters_have_breaks_between_words() -> None:
    assert reading.letters("on, it's.") == ("_", "o", "n", "|", "i", "t", "'", "s", "_")
