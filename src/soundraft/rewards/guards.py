"""Outputs that are no transcript, whatever they score: nothing at all, a loop, a flood of words."""

from collections.abc import Sequence
from dataclasses import dataclass

_RUNAWAY_SLACK_WORDS = 3  # a one-word reference may be heard as four words before the ratio says anything


@dataclass(frozen=True)
class Guards:
    """Limits that a transcript must keep.

    Attributes:
        repeats: a word or phrase may stand so many times in a row.
        length_ratio: a transcript may have so many times the words of its reference, and three more.
    """

    repeats: int
    length_ratio: float

    def broken(self, *, reference: Sequence[str], hypothesis: Sequence[str]) -> str:
        """Which guard the words of `hypothesis` break; empty when none. A loop that is in the reference is no loop."""
        if not hypothesis:
            return "empty output"
        if self.loops(hypothesis) and not self.loops(reference):
            return "repeated output"
        if len(hypothesis) > self.length_ratio * len(reference) + _RUNAWAY_SLACK_WORDS:
            return "runaway output"
        return ""

    def loops(self, words: Sequence[str]) -> bool:
        """Whether a word or phrase stands more than `repeats` times in a row."""
        if len(words) - len(set(words)) < self.repeats:  # too few words come again
            return False
        return longest_loop(words) > self.repeats


def longest_loop(words: Sequence[str]) -> int:
    """How often the most repeated word or phrase stands in a row: 3 times in "a b a b a b c", 0 times in no words."""
    most = min(len(words), 1)
    for period in range(1, len(words) // 2 + 1):
        if len(words) // period <= most:
            break
        same = 0  # words in a row that equal the word one period before
        for earlier, word in zip(words, words[period:], strict=False):
            same = same + 1 if word == earlier else 0
            most = max(most, same // period + 1)
    return most
