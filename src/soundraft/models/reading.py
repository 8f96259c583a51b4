"""A text as it is spoken: words for numbers, symbols and abbreviations, then phones or letters.

The rules, for English: abbreviations of `ABBREVIATIONS` and symbols of `SYMBOLS` are written out; whole numbers,
decimals and ordinals are read as num2words reads them, digits after a leading zero one by one; a word of several
capitals is spelled, unless all of the text is in capitals. Other scripts and other symbols are refused by name, for
nothing is left out silently.
"""

import functools
import re
import unicodedata
from collections.abc import Sequence

from soundraft.corpora.espeak import WORD_BREAK, Espeak
from soundraft.models.base import ModelError

LONGEST_PIECE = 160  # characters that are spoken at once
PAUSE = "_"  # of letters: before the first word and after the last one
ABBREVIATIONS = {
    "mr": "mister", "mrs": "missis", "ms": "miss", "dr": "doctor", "prof": "professor", "st": "saint", "vs": "versus",
    "etc": "et cetera", "no": "number", "approx": "approximately",
}  # fmt: skip
SYMBOLS = {
    "%": "percent", "&": "and", "+": "plus", "=": "equals", "@": "at", "°": "degrees", "$": "dollars", "€": "euros",
    "£": "pounds",
}  # fmt: skip
_PLAIN = str.maketrans(
    {"’": "'", "‘": "'", "“": " ", "”": " ", "„": " ", "«": " ", "»": " ", "…": ".", "–": ", ", "—": ", "}
)
_SILENT = frozenset('"()[]{}*_/\\-')  # spoken as a space
_MARKS = frozenset(".,;:!?'")
_NUMBER = re.compile(r"(?<![\w.])(-?)(\d{1,3}(?:,\d{3})+|\d+)(\.\d+)?(st|nd|rd|th)?\b", re.IGNORECASE)
_LONGEST_NUMBER = 30  # digits
_READING_RATE_WPM, _READING_PITCH = 160, 50  # of speech that is made for its phones alone


def spoken(text: str) -> str:
    """A text with words for all that is none.

    Raises:
        ModelError: when there is nothing to say, or a character that has no rule.
    """
    plain = unicodedata.normalize("NFKC", text.translate(_PLAIN))
    _check_characters(plain)
    plain = _NUMBER.sub(_number, _abbreviated(plain))
    plain = "".join(f" {SYMBOLS[each]} " if each in SYMBOLS else " " if each in _SILENT else each for each in plain)
    words = [_spelled(word, shouted=plain.isupper()) for word in plain.split()]
    if not any(each.isalpha() for word in words for each in word):
        raise ModelError(f"there is nothing to say in {text[:40]!r}")
    return " ".join(words)


def _check_characters(text: str) -> None:
    for character in text:
        name = unicodedata.name(character, f"U+{ord(character):04X}")
        if character.isalpha() and not name.startswith("LATIN"):
            raise ModelError(f"{character!r} is {name}: only texts in Latin script can be spoken")
        known = character.isspace() or character.isalpha() or character in "0123456789" or character in SYMBOLS
        if not (known or character in _SILENT or character in _MARKS):
            raise ModelError(f"{character!r} is {name}, which has no words: write what shall be said")


def _abbreviated(text: str) -> str:
    known = "|".join(ABBREVIATIONS)
    return re.sub(rf"\b({known})\.(?=\s|$)", lambda found: ABBREVIATIONS[found[1].lower()], text, flags=re.IGNORECASE)


def _number(found: re.Match[str]) -> str:
    from num2words import num2words

    sign, whole, rest, ending = found.groups()
    digits = whole.replace(",", "")
    if len(digits) > _LONGEST_NUMBER:
        raise ModelError(f"the number {digits[:12]}… has {len(digits)} digits: write it in words")
    if len(digits) > 1 and digits[0] == "0" and not ending:
        words = " ".join(num2words(int(digit)) for digit in digits)
    else:
        words = num2words(int(digits), to="ordinal" if ending else "cardinal")
    if rest:
        words += " point " + " ".join(num2words(int(digit)) for digit in rest[1:])
    return ("minus " if sign else "") + words.replace("-", " ").replace(",", "")


def _spelled(word: str, *, shouted: bool) -> str:
    letters = word.strip(".,;:!?'")
    if shouted or len(letters) < 2 or not letters.isupper():
        return word.lower()
    return word.replace(letters, " ".join(letters)).lower()


def pieces(text: str, longest: int = LONGEST_PIECE) -> list[str]:
    """A text cut at sentences, longer ones at commas, then between words."""
    found = [text]
    for pattern in (r"(?<=[.!?])\s+", r"(?<=[,;:])\s+", r"\s+"):
        found = [part for piece in found for part in _cut(piece, pattern, longest)]
    return found


def _cut(text: str, pattern: str, longest: int) -> list[str]:
    """As few parts as may be, none longer than `longest` where the pattern allows it."""
    if len(text) <= longest:
        return [text]
    parts: list[str] = []
    for part in re.split(pattern, text):
        if parts and len(parts[-1]) + 1 + len(part) <= longest:
            parts[-1] += f" {part}"
        else:
            parts.append(part)
    return parts


@functools.cache
def _espeak() -> Espeak:
    return Espeak(timed=True)


@functools.lru_cache(1 << 14)
def phones(text: str, voice: str) -> tuple[str, ...]:
    """The phones of a text, as espeak's voice speaks it."""
    try:
        _espeak().speak(text, voice, _READING_RATE_WPM, _READING_PITCH)
    except RuntimeError as error:
        raise ModelError(str(error)) from error
    return tuple(symbol for symbol, _ in _espeak().phones)


def letters(text: str) -> tuple[str, ...]:
    """The letters of a text, with breaks between words and a pause at both ends; punctuation is left out."""
    words = ["".join(each for each in word if each.isalpha() or each == "'").strip("'") for word in text.split()]
    return (PAUSE, *WORD_BREAK.join(word for word in words if word), PAUSE)


def units(text: str, voice: str, script: str) -> Sequence[str]:
    """What a model of this script is shown of a text."""
    return phones(text, voice) if script == "espeak" else letters(text.lower())
