"""The verifier of spoken texts: does it say the text, does it sound clean, is it the voice that was asked for.

It loads no model. What a recogniser makes of the audio comes with it (`Heard`), or from a function that the caller
gives, which takes the speech of many texts at once.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from soundraft.metrics import quality
from soundraft.metrics import text as metric
from soundraft.params.tts import SpeechParams
from soundraft.rewards.base import Evidence, Verifier, VerifyResult

CREST_SLACK_DB = 12.0  # so far outside its range the crest factor is worth nothing


@dataclass(frozen=True)
class Heard:
    """What a recogniser makes of speech.

    Attributes:
        transcript: its best one.
        log_prob: natural logarithm of the probability of the text that should have been spoken; `None` where it cannot
            be that text: too short for it, or the recogniser cannot spell it.
        tokens: of how many tokens that text consists; 0 where the recogniser cannot spell it.
        reason: why there is no `log_prob`; empty where there is.
    """

    transcript: str
    log_prob: float | None
    tokens: int
    reason: str = ""


@dataclass(frozen=True, eq=False)
class Spoken:
    """Speech, and what is known of it.

    Attributes:
        samples: `[N]`, in −1…1.
        similarity: to the voice asked for, as `soundraft.models.voices` has it; `None` where that is not known.
        unlike: why it is not known.
    """

    samples: np.ndarray
    rate_hz: int
    heard: Heard
    similarity: float | None = None
    unlike: str = "no reference"


Hear = Callable[[Sequence[Any], Sequence[str]], Sequence[Spoken]]  # answers and their texts, many at once → speech


class SpeechReward(Verifier):
    """Reward from intelligibility, quality and consistency, each 0 to 1, by `SpeechParams`.

    With `combine: product` it is I · (1 − q (1 − Q)) · (1 − c (1 − C)), where q = w_Q / (w_Q + w_I), and c likewise;
    with `sum` the weighted mean. Silent speech has reward 0 either way, and so has a text that the recogniser cannot
    spell. C is left out, and the reason says so, where the voice cannot be compared.

    Args:
        hear: makes `Spoken` of a model's answers; without it the answers are `Spoken` themselves.

    Parts: `intelligibility`, `wer`, `cer`, `likelihood` (of the text, per token), `quality`, `level_db`, `snr_db`,
    `clipped`, `crest_db`, and, where the voice is compared, `consistency` and `similarity`.
    """

    def __init__(self, options: SpeechParams, *, language: str = "", hear: Hear | None = None) -> None:
        self.options = options
        self.normalize = metric.normalizer(options.normalizer, language)
        self.hear = hear

    def verify_samples(self, hypotheses: Sequence[Any], evidence: Evidence) -> list[VerifyResult]:
        return self.verify_all([hypotheses], [evidence])[0]

    def verify_all(self, hypotheses: Sequence[Sequence[Any]], evidence: Sequence[Evidence]) -> list[list[VerifyResult]]:
        """As the base class says; `hear` gets everything in one call. `Evidence.reference` is the text."""
        texts = ["" if each.reference is None else self.normalize(each.reference) for each in evidence]
        # what is to be heard, each different answer to a text once
        asked = {
            (text, key): answer
            for text, answers in zip(texts, hypotheses, strict=True) if text
            for key, answer in zip(map(self._key, answers), answers, strict=True)
        }  # fmt: skip
        spoken = self._spoken(list(asked.values()), [text for text, _ in asked])
        results = {place: self._result(place[0], each) for place, each in zip(asked, spoken, strict=True)}
        missing = VerifyResult(None, False, reason="no text")
        return [
            [results[text, self._key(answer)] if text else missing for answer in answers]
            for text, answers in zip(texts, hypotheses, strict=True)
        ]

    def _key(self, answer: Any) -> Any:
        return id(answer) if self.hear is None else answer

    def _spoken(self, answers: Sequence[Any], texts: Sequence[str]) -> Sequence[Spoken]:
        return self.hear(answers, texts) if self.hear and answers else answers

    def _result(self, text: str, spoken: Spoken) -> VerifyResult:
        options, weights = self.options, self.options.weights
        parts = intelligibility(text, self.normalize(spoken.heard.transcript), spoken.heard, options)
        values = [(weights.intelligibility, parts["intelligibility"])]
        sound = quality.measure(spoken.samples, spoken.rate_hz) if len(spoken.samples) else None
        silent = sound is None or sound.level_db < options.silence_db
        parts["quality"] = 0.0 if sound is None else quality_of(sound, options)
        parts |= {} if sound is None else sound.parts()
        values.append((weights.quality, parts["quality"]))
        notes = [spoken.heard.reason]
        if weights.consistency and spoken.similarity is not None:
            parts["consistency"] = _ramp(spoken.similarity, *options.similarity)
            parts["similarity"] = spoken.similarity
            values.append((weights.consistency, parts["consistency"]))
        elif weights.consistency:
            notes.append(f"consistency left out: {spoken.unlike}")
        if silent:
            return VerifyResult(0.0, False, parts, "silent")
        if spoken.heard.log_prob is None and spoken.heard.tokens == 0:
            return VerifyResult(0.0, False, parts, spoken.heard.reason)
        solved = parts["wer"] <= options.wer_threshold
        return VerifyResult(combined(values, options.combine), solved, parts, "; ".join(filter(None, notes)))


def combined(values: Sequence[tuple[float, float]], way: str) -> float:
    """One number of (weight, part from 0 to 1), the first being intelligibility."""
    if way == "sum":
        return sum(weight * value for weight, value in values) / sum(weight for weight, _ in values)
    (main, reward), *others = values
    for weight, value in others:
        reward *= 1 - weight / (weight + main) * (1 - value)
    return reward


def intelligibility(text: str, transcript: str, heard: Heard, options: SpeechParams) -> dict[str, float]:
    """I = (1 − s) (1 − error) + s exp(log p / tokens), with its parts; of normalised texts.

    An impossible text has the likelihood 0: CTC gives such texts log p = 0, and exp(0) would make them certain.
    """
    words = metric.word_counts(reference=text, hypothesis=transcript)
    characters = metric.character_counts(reference=text, hypothesis=transcript)
    wer, cer = words.errors / words.reference_length, characters.errors / characters.reference_length
    weight = 1.0 if metric.is_unspaced(text) else options.cer_weight
    right = 1 - min(1.0, (1 - weight) * wer + weight * cer)
    likelihood = 0.0 if heard.log_prob is None else math.exp(min(0.0, heard.log_prob / heard.tokens))
    value = (1 - options.likelihood_share) * right + options.likelihood_share * likelihood
    return {"intelligibility": value, "wer": wer, "cer": cer, "likelihood": likelihood}


def quality_of(sound: quality.Quality, options: SpeechParams) -> float:
    """The weighted mean of SNR, clipping and crest factor, each 0 to 1; 0 for silence."""
    if sound.level_db < options.silence_db:
        return 0.0
    least, most = options.crest_db
    beyond = max(least - sound.crest_db, sound.crest_db - most, 0.0)
    weighted = (
        (options.snr_weight, _ramp(sound.snr_db, *options.snr_db)),
        (options.clipping_weight, 1 - _ramp(sound.clipped, 0.0, options.clipped_share)),
        (options.crest_weight, 1 - _ramp(beyond, 0.0, CREST_SLACK_DB)),
    )
    return sum(weight * value for weight, value in weighted) / sum(weight for weight, _ in weighted)


def _ramp(value: float, low: float, high: float) -> float:
    """0 up to `low`, 1 from `high` on, a straight line between."""
    return min(1.0, max(0.0, (value - low) / (high - low)))
