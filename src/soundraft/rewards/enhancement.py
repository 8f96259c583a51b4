"""The verifier of speech enhancement: how near the enhanced speech is to the clean one, by several measures.

A single measure is soon exploited: DNSMOS chooses what is smooth, a recogniser what is left noisy.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from soundraft.audio.waveform import CleanSpeech, Waveform
from soundraft.metrics.signal import MEASURES, Quality, si_sdr
from soundraft.params.enhancement import RewardWeights
from soundraft.rewards.base import Evidence, Verifier, VerifyResult, not_scorable
from soundraft.runtime import UserError


@dataclass(frozen=True)
class Scale:
    """Which values of a measure are 0 and 1 of the reward; it is linear between them, and flat beyond."""

    worst: float
    best: float

    def __call__(self, value: float) -> float:
        return min(1.0, max(0.0, (value - self.worst) / (self.best - self.worst)))


SCALES: Mapping[str, Scale] = {
    "sisdr": Scale(-10.0, 30.0),
    "estoi": Scale(0.0, 1.0),
    "pesq": Scale(1.0, 4.64),
    "dnsmos": Scale(1.0, 5.0),
}
# samples [N] of several answers, and the transcript → the mean probability of a token, of each
Transcriber = Callable[[Sequence[np.ndarray], str], Sequence[float]]


class EnhancementReward(Verifier):
    """Reward: the weighted mean of the parts with weight, each from 0 to 1.

    Success is a better SI-SDR than that of the noisy clip.

    Args:
        rate_hz: of answers and references.
        transcriber: what a recogniser makes of enhanced speech, for the part `recognizer`.

    Raises:
        UserError: when the part `recognizer` has a weight, and there is no transcriber.
    """

    def __init__(self, weights: RewardWeights, *, rate_hz: int, transcriber: Transcriber | None = None) -> None:
        self.weights = {name: weight for name, weight in weights.leaves().items() if weight}
        self.rate_hz = rate_hz
        self.transcriber = transcriber
        if "recognizer" in self.weights and transcriber is None:
            raise UserError("the part recognizer of the reward needs a recogniser: name one in enhancement.recognizer")

    def verify_samples(self, hypotheses: Sequence[Waveform], evidence: Evidence) -> list[VerifyResult]:
        clean = evidence.reference
        if not isinstance(clean, CleanSpeech):
            return not_scorable(hypotheses, "no clean speech")
        text = clean.facts.get("text")
        if "recognizer" in self.weights and not text:
            return not_scorable(hypotheses, "no transcript")
        samples = {answer: answer.samples for answer in dict.fromkeys(hypotheses)}
        heard: Sequence[float] = []
        if self.transcriber is not None and "recognizer" in self.weights:
            heard = self.transcriber(list(samples.values()), str(text))
        before = si_sdr(reference=clean.samples, estimate=clean.noisy)
        results = {}
        for place, (answer, found) in enumerate(samples.items()):
            measured = self._measured(clean.samples, found)
            scaled = {name: SCALES[name](each.value) for name, each in measured.items() if each.value is not None}
            if heard:
                scaled["recognizer"] = heard[place]
            results[answer] = self._result(scaled, measured, before)
        return [results[answer] for answer in hypotheses]

    def _measured(self, clean: np.ndarray, found: np.ndarray) -> dict[str, Quality]:
        """SI-SDR in any case, for the success."""
        names = dict.fromkeys(["sisdr", *self.weights])
        return {name: MEASURES[name](clean, found, self.rate_hz) for name in names if name in MEASURES}

    def _result(self, scaled: Mapping[str, float], measured: Mapping[str, Quality], before: Quality) -> VerifyResult:
        parts = {name: each.value for name, each in measured.items() if each.value is not None}
        parts |= {name: value for name, value in scaled.items() if name == "recognizer"}
        lost = [measured[name].reason for name in self.weights if name in measured and measured[name].value is None]
        if lost:
            return VerifyResult(None, False, parts, lost[0])
        total = sum(self.weights.values())
        reward = sum(weight * scaled[name] for name, weight in self.weights.items()) / total
        better = before.value is not None and parts.get("sisdr", before.value) > before.value
        return VerifyResult(reward, better, parts)
