"""Outputs that are no transcript, whatever they score: nothing at all, a loop, a flood of words."""

from collections.abc import Sequence
from dataclasses import dataclass

from soundraft.metrics import text as metric
from soundraft.rewards.base import Evidence, VerifyResult

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


# The verifier of speech recognition where there are transcripts: how many words are right.


class TranscriptReward:
    """Reward 1 − error, where error = (1 − `cer_weight`) · WER + `cer_weight` · CER, on normalised texts.

    >>> guards = Guards(repeats=4, length_ratio=2.0)
    >>> score = TranscriptReward(normalizer="basic", wer_threshold=0.3, cer_weight=0.0, clipped=True, guards=guards)
    >>> score.verify(hypothesis="turn on the light", reference="Turn on the light!").reward  # 0 % WER
    1.0
    >>> score.verify(hypothesis="turn off the light", reference="Turn on the light!").reward  # 25 % WER
    0.75
    >>> score.verify(hypothesis="", reference="Turn on the light!").reason
    'empty output'
    """

    needs_perturbed = False

    def __init__(
        self, *, normalizer: str, wer_threshold: float, cer_weight: float, clipped: bool, guards: Guards
    ) -> None:
        """Set the scale.

        Args:
            normalizer: a name of `metrics.text.NORMALIZERS`.
            wer_threshold: success is a WER of at most this.
            cer_weight: share of the characters in the error, 0–1.
            clipped: whether an error above 1 counts as 1; without, rewards go below 0.
            guards: a text that breaks one has the worst reward, 0 when clipped, else at most 0, and no success.
        """
        self.normalize = metric.NORMALIZERS[normalizer]
        self.wer_threshold = wer_threshold
        self.cer_weight = cer_weight
        self.clipped = clipped
        self.guards = guards

    def verify(self, *, hypothesis: str, reference: str | None = None) -> VerifyResult:
        """The result of one text."""
        return self.verify_samples([hypothesis], Evidence(reference))[0]

    def verify_samples(self, hypotheses: Sequence[str], evidence: Evidence) -> list[VerifyResult]:
        """A result for each sample of one clip, in their order; different texts are scored once each."""
        said = "" if evidence.reference is None else self.normalize(evidence.reference)
        if not said:
            reason = "no reference" if evidence.reference is None else "empty reference"
            return [VerifyResult(None, False, reason=reason)] * len(hypotheses)
        results = {text: self._result(said, self.normalize(text)) for text in dict.fromkeys(hypotheses)}
        return [results[text] for text in hypotheses]

    def _result(self, said: str, heard: str) -> VerifyResult:
        words = metric.word_counts(reference=said, hypothesis=heard)
        characters = metric.character_counts(reference=said, hypothesis=heard)
        wer = words.errors / words.reference_length
        cer = characters.errors / characters.reference_length
        error = (1 - self.cer_weight) * wer + self.cer_weight * cer
        reward = 1 - (min(error, 1.0) if self.clipped else error)
        broken = self.guards.broken(reference=said.split(), hypothesis=heard.split())
        if broken:
            reward = min(reward, 0.0)
        return VerifyResult(reward, not broken and wer <= self.wer_threshold, {"wer": wer, "cer": cer}, broken)
