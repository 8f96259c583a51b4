"""A text as it is spoken: words for numbers, symbols and abbreviations, then phones or letters; and when they are.

The rules, for English: abbreviations of `ABBREVIATIONS` and symbols of `SYMBOLS` are written out; whole numbers,
decimals and ordinals are read as num2words reads them, digits after a leading zero one by one; a word of several
capitals is spelled, unless all of the text is in capitals. Other scripts and other symbols are refused by name, for
nothing is left out silently.
"""

import functools
import re
import unicodedata
from collections.abc import Sequence

import numpy as np
import torch

from soundraft.audio import io
from soundraft.corpora.espeak import WORD_BREAK, Espeak
from soundraft.models.base import ModelError
from soundraft.models.ctc import CTCAdapter

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


BREAK_S = 1 / 75  # of a break between words: a frame


def align(recognizer: CTCAdapter, wave: np.ndarray, rate_hz: int, text: str) -> tuple[list[str], list[float]]:
    """Letters, breaks and pauses, and where each begins, seconds.

    The path says where words begin (`torchaudio.functional.forced_align`); within a word, the letters share its time,
    for CTC knows the time of a letter but roughly.

    Args:
        wave: `[N]`.

    Raises:
        ModelError: when the text cannot be spelled, or is longer than its recording.
    """
    words = "".join(letters(text)[1:-1]).split(WORD_BREAK)
    features = recognizer.extract(io.resample(wave, rate_hz, recognizer.sample_rate_hz))
    frames = recognizer.encode([features])
    log_probs = frames.log_probs[0, : int(frames.lengths[0])]
    starts_s, end_s = _word_starts(recognizer, log_probs, words, len(wave) / rate_hz)
    units, begins = [PAUSE], [0.0]
    for place, (word, start_s) in enumerate(zip(words, starts_s, strict=True)):
        last = place + 1 == len(words)
        until_s = end_s if last else max(start_s, starts_s[place + 1] - BREAK_S)
        units += [*word, PAUSE if last else WORD_BREAK]
        begins += [*np.linspace(start_s, until_s, len(word) + 1).tolist()]
    return units, begins


def _word_starts(
    recognizer: CTCAdapter, log_probs: torch.Tensor, words: list[str], duration_s: float
) -> tuple[list[float], float]:
    """Where each word begins and where the last one ends, seconds, by log-probabilities `[T, V]`."""
    tokens = recognizer.spelling.tokens(" ".join(words))
    counts = [len(recognizer.spelling.tokens(word)) for word in words]
    if sum(counts) + len(words) - 1 != len(tokens):
        raise ModelError("letters are found by a recogniser whose tokens are letters")
    try:
        begins_s, ends_s = recognizer.spans(log_probs, tokens, duration_s)
    except ModelError as error:
        raise ModelError(f"{duration_s:.1f} s are too short for {' '.join(words)[:40]!r}") from error
    firsts = np.cumsum([0, *(count + 1 for count in counts[:-1])])
    return [begins_s[first] for first in firsts], ends_s[-1]
