"""Speech judged by a recogniser that no reward has used: its transcripts against the texts."""

import re
from collections.abc import Sequence

import numpy as np

from soundraft.evaluation.scores import Scores, score_texts
from soundraft.metrics.numbers import ONES, TEENS, TENS
from soundraft.metrics.text import normalized
from soundraft.models.base import Recognizer
from soundraft.models.listening import transcribe

_DIGIT = re.compile(r"\d", re.ASCII)
_FIGURES = {word: str(number) for number, word in enumerate((*ONES, *TEENS))}
_FIGURES |= {word: str(number) for number, word in enumerate(TENS, start=2)}  # the first figure
_KEPT = {str(number): f"q{word}q" for number, word in enumerate(ONES)}  # no number for Whisper's rules
_FIGURE_OF = {kept: figure for figure, kept in _KEPT.items()}


def comparable(text: str, language: str = "en") -> str:
    """A text in a form in which a recogniser that writes digits and one that writes words are equal.

    English: figures one by one for numbers below 100 and for digits, else Whisper's rules. `set it to twenty one`,
    `set it to two one` and `Set it to 21.` are all `set it to 2 1`. Whisper's own rules for numbers lose zeros of
    digits that are said one by one. Other languages: lower case without punctuation, digits by themselves.

    >>> comparable("Set it to 21.") == comparable("set it to twenty one") == comparable("set it to two one")
    True
    """
    words = _apart(normalized(text.replace("%", " percent "), "basic", language)).split()
    if language not in ("", "en", "english"):
        return " ".join(words)
    kept = " ".join(_KEPT.get(word, word) for word in _in_figures(words))
    return " ".join(_FIGURE_OF.get(word, word) for word in normalized(kept, "whisper-english").split())


def _in_figures(words: Sequence[str]) -> list[str]:
    found: list[str] = []
    for word, after in zip(words, [*words, ""][1:], strict=True):
        found += _FIGURES.get(word, "") or [word]
        if word in TENS and after not in ONES[1:]:
            found.append("0")
    return found


def _apart(text: str) -> str:
    return _DIGIT.sub(lambda digit: f" {digit[0]} ", text)


def judge(
    recognizer: Recognizer,
    *,
    ids: Sequence[str],
    texts: Sequence[str],
    waves: Sequence[np.ndarray],
    rate_hz: int,
    language: str = "en",
) -> Scores:
    """WER and CER of waves `[N]` that should say the texts, in `comparable` form."""
    transcripts = transcribe(recognizer, waves, rate_hz)
    return score_texts(
        ids=ids, references=texts, hypotheses=transcripts, normalizer=lambda text: comparable(text, language)
    )
