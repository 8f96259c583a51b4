import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from num2words import num2words

from soundraft.metrics import numbers
from soundraft.metrics.text import normalized

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def by_digit(text: str) -> str:
    return normalized(text, "spoken-digits")


def drawn(count: int) -> list[int]:
    """Numbers of one to fifteen digits, all below 121 among them."""
    rng = random.Random(0)
    return [*range(121), *(rng.randrange(10 ** rng.randint(1, 15)) for _ in range(count))]


def test_a_number_is_its_digits_however_it_is_written() -> None:
    for number in drawn(1500):
        digits = " ".join(DIGITS[int(digit)] for digit in str(number))
        for written in (str(number), f"{number:,}", num2words(number), num2words(number).replace(" and ", " ")):
            assert by_digit(written) == digits, written


def test_an_ordinal_is_the_same_in_digits_and_in_words() -> None:
    for number in drawn(500):
        in_words, in_digits = by_digit(num2words(number, to="ordinal")), by_digit(num2words(number, to="ordinal_num"))
        assert in_words == in_digits
        assert in_words.split()[:-1] == by_digit(str(number)).split()[:-1]
        assert in_words.split()[-1] == num2words(number % 10, to="ordinal")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("3, 5, 7.", "three five seven"),
        ("3-5-7", "357"),
        ("twenty oh one", "2001"),
        ("double 0 7", "double 07"),
        ("in nineteen ninety-nine", "In 1999,"),
        ("nineteen hundred and five", "1905"),
        ("the nineteen nineties", "the 1990s"),
        ("three point one four percent", "3.14%"),
        ("five per cent", "5 %"),
        ("five million dollars", "$5 million"),
        ("one dollar and two pounds", "$1 and £2"),
        ("a hundred and two", "102"),
        ("2 thousand 5 hundred", "2,500"),
        ("at ten thirty", "at 10:30"),
        ("oh oh seven", "007"),
    ],
)
def test_what_is_said_alike_is_equal(one: str, other: str) -> None:
    assert by_digit(one) == by_digit(other)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Oh, the second one!", "oh the second one"),
        ("several hundred people", "several hundred people"),
        ("five million, five million", "five zero zero zero zero zero zero five zero zero zero zero zero zero"),
        ("a cat, a thousand cats", "a cat one zero zero zero cats"),
        ("two thousand and six", "two zero zero six"),
        ("one thousand and six million", "one zero zero zero and six zero zero zero zero zero zero"),
        ("3.5 million", "three point five million"),
        ("mp3 at 10am on the 3rd", "mp three at one zero am on the third"),
        ("", ""),
    ],
)
def test_what_stands_beside_numbers(text: str, expected: str) -> None:
    assert by_digit(text) == expected


OTHERS = ("a", "and", "point", "percent", "cat", "0", "5", "07", "21st", "3rd", "90s", "1,000", "$", "2.5")
WORDS = (*numbers._NUMBERS, *numbers._SCALES, *numbers._OH, *OTHERS)


@given(st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join))
def test_a_second_application_changes_nothing(text: str) -> None:
    once = numbers.by_digit(numbers.symbols_in_words(text).replace(".", " ").replace(",", " "))
    assert numbers.by_digit(numbers.symbols_in_words(once)) == once
    assert not any(character.isdigit() for character in once)
