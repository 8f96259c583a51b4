"""English numbers digit by digit, be they in digits or in words: 21, twenty-one and two one are equal.

Where a transcript has "three five seven", Whisper writes "3, 5, 7" or "357". Its own rules make "357" of the words, but
leave "3, 5, 7" as it is.
"""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

ONES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TEENS = ("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_ORDINALS = ("zeroth", "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth",
             "eleventh", "twelfth", *(f"{word}th" for word in TEENS[3:]))  # fmt: skip
_PLURALS = tuple(f"{word}es" if word == "six" else f"{word}s" for word in ONES)
_LAST_DIGIT = {"": ONES, "th": _ORDINALS, "s": _PLURALS}  # by the ending of the number

_MOST_DIGITS = 15  # of a numeral that a scale may multiply
_OH = ("oh", "o")  # zero beside another number
_CURRENCIES = {"$": "dollar", "£": "pound", "€": "euro"}
_SCALE_NAMES = "hundred|thousand|million|billion|trillion"
_THOUSANDS_COMMA = re.compile(r"(?<=\d),(?=\d{3}(?!\d))", re.ASCII)
_AMOUNT = re.compile(rf"([$£€])\s?(\d+(?:\.\d+)?)(\s(?:{_SCALE_NAMES})\b)?", re.ASCII | re.IGNORECASE)
_POINT = re.compile(r"(?<=\d)\.(?=\d)|(?<![\w.])\.(?=\d)", re.ASCII)
_NUMERAL = re.compile(r"(\d+)(?:(st|nd|rd|th)\b|'?(s)\b)?", re.ASCII)


class _Number(NamedTuple):
    """Digits as they are read, and the ending: none, th (of an ordinal) or s (of a plural)."""

    digits: str
    ending: str = ""

    @property
    def value(self) -> int:
        return int(self.digits)

    @property
    def multiplies(self) -> bool:
        """Whether a scale after it belongs to it: no `zero hundred`, no `first hundred`."""
        return not self.ending and self.digits[0] != "0"


_TENTHS, _TENTIES = ([f"{word[:-1]}{ending}" for word in TENS] for ending in ("ieth", "ies"))
_NUMBERS = {word: _Number(str(number)) for number, word in enumerate((*ONES, *TEENS))}
_NUMBERS |= {word: _Number(str(number), "th") for number, word in enumerate(_ORDINALS)}
_NUMBERS |= {word: _Number(str(number), "s") for number, word in enumerate((*_PLURALS, *(f"{n}s" for n in TEENS)))}
for _words, _ending in ((TENS, ""), (_TENTHS, "th"), (_TENTIES, "s")):
    _NUMBERS |= {word: _Number(f"{number}0", _ending) for number, word in enumerate(_words, start=2)}
_SCALES = {f"{name}{ending}": (10**zeros, ending) for ending in ("", "th", "s")
           for name, zeros in zip(_SCALE_NAMES.split("|"), (2, 3, 6, 9, 12), strict=True)}  # fmt: skip
_NO_SCALE, _END = (0, ""), [""] * 3


def symbols_in_words(text: str) -> str:
    """Words for the marks of numbers, while punctuation is there: point, percent, dollars."""

    def amount(found: re.Match[str]) -> str:
        ending = "" if found[2] == "1" and not found[3] else "s"
        return f" {found[2]}{found[3] or ''} {_CURRENCIES[found[1]]}{ending} "

    text = _AMOUNT.sub(amount, _THOUSANDS_COMMA.sub("", text))
    return _POINT.sub(" point ", text).replace("%", " percent ")


def by_digit(text: str) -> str:
    """The words of a text in lower case, each digit of each number a word.

    >>> by_digit("357, twenty-one, 2nd of the nineties".replace(",", ""))
    'three five seven twenty-one second of the nine zeros'
    """
    apart = _NUMERAL.sub(_numeral_apart, text.replace("per cent", "percent")).split()
    words = [word for word in (raw.strip("'") for raw in apart) if word]
    words = ["one" if pair[0] == "a" and pair[1] in _SCALES else pair[0] for pair in pairwise([*words, ""])]
    return " ".join(_read(_oh_as_zero(words)))


def _numeral_apart(found: re.Match[str]) -> str:
    """A numeral as a word; its leading zeros, and all digits of a very long one, as words of their own."""
    digits = found[1]
    zeros = len(digits) - len(digits.lstrip("0")[-_MOST_DIGITS:] or digits[-1])
    return f" {' '.join(digits[:zeros])} {found[0][zeros:]} "


def _oh_as_zero(words: Sequence[str]) -> list[str]:
    """Zero for `oh` beside a number, also with other `oh` between."""
    found = list(words)
    for places in (range(len(found)), reversed(range(len(found)))):
        number = False
        for place in places:
            number = (number and found[place] in _OH) or _is_number(found[place])
            if number and found[place] in _OH:
                found[place] = "zero"
    return found


def _is_number(word: str) -> bool:
    """Whether a word is a cardinal number, or will be more words than one, or a scale."""
    known = _number_in(word)
    return word in _SCALES or (known is not None and (not known.ending or len(known.digits) > 1))


def _number_in(word: str) -> _Number | None:
    """What a single word stands for; no scale."""
    numeral = _NUMERAL.fullmatch(word)
    if numeral:
        return _Number(numeral[1], "th" if numeral[2] else numeral[3] or "")
    return _NUMBERS.get(word)


def _read(words: Sequence[str]) -> list[str]:
    """Every number in digits; a scale that belongs to none stays a word, as in `several hundred`."""
    found: list[str] = []
    place, decimal = 0, False
    words = [*words, *_END]
    while place < len(words) - len(_END):
        number, end = _simple(words, place) if decimal else _number(words, place)
        if number is None:
            decimal = words[place] == "point"  # then digits follow: in 3.5 million there is no five million
            found.append(words[place])
        else:
            found += [ONES[int(digit)] for digit in number.digits[:-1]]
            found.append(_LAST_DIGIT[number.ending][int(number.digits[-1])])
        place = end
    return found


def _simple(words: Sequence[str], place: int) -> tuple[_Number | None, int]:
    """A numeral, or a number below a hundred in words, if one begins here; and the place after it."""
    number, unit = _number_in(words[place]), _NUMBERS.get(words[place + 1])
    if number and words[place] in TENS and unit and 0 < unit.value < 10:
        return _Number(str(number.value + unit.value), unit.ending), place + 2
    return number, place + 1


def _hundreds(words: Sequence[str], place: int) -> tuple[_Number | None, int]:
    """The same, or hundreds with their tens and ones, if these are not themselves hundreds."""
    number, end = _simple(words, place)
    scale, ending = _SCALES.get(words[end], _NO_SCALE)
    if number is None or not number.multiplies or scale != 100 or number.value > 99:
        return number, end
    number, end = _Number(str(100 * number.value), ending), end + 1
    rest, after = _simple(words, end + (words[end] == "and"))
    if not ending and rest and 0 < rest.value < 100 and _SCALES.get(words[after], _NO_SCALE)[0] != 100:
        return _Number(str(number.value + rest.value), rest.ending), after
    return number, end


def _number(words: Sequence[str], place: int, below: int = 10**15) -> tuple[_Number | None, int]:
    """A number if one begins here: hundreds with scales that fall, all below a limit; and the place after it."""
    number, end = _hundreds(words, place)
    scale, ending = _SCALES.get(words[end], _NO_SCALE)
    if number is None or not number.multiplies or not scale:
        return number, end
    if scale >= below:
        return None, place + 1
    number, end = _Number(str(number.value * scale), ending), end + 1
    rest, after = _number(words, end + (words[end] == "and"), below=scale)
    if not ending and rest and 0 < rest.value < scale:
        return _Number(str(number.value + rest.value), rest.ending), after
    return number, end
