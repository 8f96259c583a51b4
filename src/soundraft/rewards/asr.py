"""The verifier of speech recognition: how many words are right."""

from soundraft.metrics import text as metric
from soundraft.rewards.base import Verdict


class TranscriptReward:
    """`reward = 1 − min(WER, 1)` on normalised text; success when WER ≤ `wer_threshold`."""

    def __init__(self, *, normalizer: str, wer_threshold: float) -> None:
        self.normalize = metric.NORMALIZERS[normalizer]
        self.wer_threshold = wer_threshold

    def __call__(self, *, reference: str, hypothesis: str) -> Verdict:
        said, heard = self.normalize(reference), self.normalize(hypothesis)
        if not said:
            return Verdict(None, False, reason="empty reference")
        words = metric.word_counts(reference=said, hypothesis=heard)
        characters = metric.character_counts(reference=said, hypothesis=heard)
        wer = words.errors / words.reference_length
        cer = characters.errors / characters.reference_length
        return Verdict(1.0 - min(wer, 1.0), wer <= self.wer_threshold, {"wer": wer, "cer": cer})
