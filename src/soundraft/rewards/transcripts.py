"""The verifier of speech recognition where there are transcripts: how many words are right.

Guards: outputs that are no transcript, whatever they score: nothing at all, a loop, a flood of words.
"""

from collections.abc import Sequence

from soundraft.metrics import text as metric
from soundraft.params.sections import RewardGuards, RewardParams
from soundraft.rewards.base import Evidence, Verifier, VerifyResult, not_scorable

_RUNAWAY_SLACK_WORDS = 3  # a one-word reference may become four words before the ratio means anything


def broken_guard(guards: RewardGuards, *, reference: Sequence[str], hypothesis: Sequence[str]) -> str:
    """Which guard the words of `hypothesis` break; empty when none. A loop that is in the reference is no loop."""
    if not hypothesis:
        return "empty output"
    if loops(hypothesis, guards.repeats) and not loops(reference, guards.repeats):
        return "repeated output"
    if len(hypothesis) > guards.length_ratio * len(reference) + _RUNAWAY_SLACK_WORDS:
        return "runaway output"
    return ""


def loops(words: Sequence[str], repeats: int) -> bool:
    """Whether a word or phrase stands more than `repeats` times in a row."""
    if len(words) - len(set(words)) < repeats:  # too few words come again
        return False
    return longest_loop(words) > repeats


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


class TranscriptReward(Verifier):
    """Reward 1 − error, where error = (1 − `cer_weight`) · WER + `cer_weight` · CER, on normalised texts; the error is
    the CER alone where the reference is of a script that writes words without spaces.

    A text that breaks a guard has the worst reward, 0 when `clipped`, else at most 0, and no success.

    >>> from soundraft.params import defaults
    >>> score = TranscriptReward(defaults().reward)
    >>> score.verify(hypothesis="turn on the light", reference="Turn on the light!").reward  # 0 % WER
    1.0
    >>> score.verify(hypothesis="turn off the light", reference="Turn on the light!").reward  # 25 % WER
    0.75
    >>> score.verify(hypothesis="", reference="Turn on the light!").reason
    'empty output'
    """

    def __init__(self, options: RewardParams, *, language: str = "") -> None:
        self.options = options
        self.normalize = metric.normalizer(options.normalizer, language)

    def verify_samples(self, hypotheses: Sequence[str], evidence: Evidence) -> list[VerifyResult]:
        reference = "" if evidence.reference is None else self.normalize(evidence.reference)
        if not reference:
            return not_scorable(hypotheses, "no reference" if evidence.reference is None else "empty reference")
        results = {text: self._result(reference, self.normalize(text)) for text in dict.fromkeys(hypotheses)}
        return [results[text] for text in hypotheses]

    def _result(self, reference: str, hypothesis: str) -> VerifyResult:
        options = self.options
        words = metric.word_counts(reference=reference, hypothesis=hypothesis)
        characters = metric.character_counts(reference=reference, hypothesis=hypothesis)
        wer = words.errors / words.reference_length
        cer = characters.errors / characters.reference_length
        unspaced = metric.is_unspaced(reference)
        weight = 1.0 if unspaced else options.cer_weight
        error = (1 - weight) * wer + weight * cer
        reward = 1 - (min(error, 1.0) if options.clipped else error)
        broken = broken_guard(options.guards, reference=metric.units(reference), hypothesis=metric.units(hypothesis))
        if broken:
            reward = min(reward, 0.0)
        solved = (cer if unspaced else wer) <= options.wer_threshold
        return VerifyResult(reward, not broken and solved, {"wer": wer, "cer": cer}, broken)
