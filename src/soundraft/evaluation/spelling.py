"""Errors that are only another way of writing the same words: numbers, case, punctuation, spelling."""

from soundraft.evaluation.scores import METRICS, Scores, rescored
from soundraft.metrics.text import is_english, normalizer

# what each text normalisation makes equal, and which are worth a try where another one was used
_MADE_EQUAL = {
    "basic": "upper and lower case and punctuation",
    "spoken-digits": "numbers, which one side has in digits and the other in words",
    "whisper-english": "spelling, contractions and fillers",
    "whisper-multilingual": "punctuation and words in brackets",
}
_NEXT = {
    "none": ("basic", "spoken-digits", "whisper-english"),
    "basic": ("spoken-digits", "whisper-english"),
    "whisper-english": ("spoken-digits",),
    "whisper-multilingual": ("spoken-digits",),
    "spoken-digits": ("whisper-english",),
}
_ENGLISH = ("spoken-digits", "whisper-english")


def spelling_hint(scores: Scores, key: str, used: str, language: str = "") -> str:
    """Which text normalisation takes away at least half of an error rate, and its rate with it; empty where none does.

    Args:
        scores: of transcripts, with their raw texts.
        key: of the error rate.
        used: the text normalisation by which they were scored.
        language: of the texts, empty where it is not known.
    """
    metric, found = METRICS[key], ""
    lowest = before = scores.value(key)
    for other in _NEXT[used] if before else ():
        if other in _ENGLISH and language and not is_english(language):
            continue
        again = rescored(scores, normalizer(other, language))
        if again.value(key) <= lowest / 2:
            lowest, found = again.value(key), other
    if not found:
        return ""
    return (
        f"most errors are {_MADE_EQUAL[found]}: {metric.title} is {metric.show(lowest)} with --normalizer {found} "
        f"(reward.normalizer), {metric.show(before)} with {used}"
    )
