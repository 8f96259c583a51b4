"""The verifier of speech recognition where there are no transcripts: what the samples and the domain's texts say."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from soundraft.metrics import text as metric
from soundraft.rewards import parts
from soundraft.rewards.base import Evidence, VerifyResult
from soundraft.rewards.guards import Guards, longest_loop
from soundraft.runtime import UserError

PARTS = ("agreement", "words", "vocabulary", "length", "language", "stability")


class UnsupervisedReward:
    """Reward: the weighted mean of parts from 0 to 1, none of which knows the transcript; see `rewards.parts`.

    >>> score = UnsupervisedReward(
    ...     texts=["turn on the light", "turn off the fan"], normalizer="basic", weights={"agreement": 1, "words": 1},
    ...     unit="word", characters_per_s=(4.0, 25.0), language_order=3, success_threshold=0.8,
    ...     guards=Guards(repeats=4, length_ratio=2.0),
    ... )
    >>> samples = ["turn on the light", "turn on the light", "turn of the lihgt"]
    >>> [round(result.reward, 3) for result in score.verify_samples(samples, Evidence())]
    [0.875, 0.875, 0.658]
    """

    def __init__(
        self,
        *,
        texts: Sequence[str],
        normalizer: str,
        weights: Mapping[str, float],
        unit: str,
        characters_per_s: Sequence[float],
        language_order: int,
        success_threshold: float,
        guards: Guards,
    ) -> None:
        """Learn what the parts need.

        Args:
            texts: the domain's language: its words are the word list, its sentences train the n-gram model, and what
                it repeats in a row a transcript may repeat, too.
            normalizer: a name of `metrics.text.NORMALIZERS`, for these texts and for what is scored.
            weights: of the parts by name; a part without weight is not computed.
            unit: "word" or "character": what is compared and predicted.
            characters_per_s: the least and the most of a usual clip, spaces included.
            language_order: words or characters of an n-gram.
            success_threshold: success is a reward of at least this.
            guards: an empty or repeated text has reward 0 and no success.

        Raises:
            UserError: when no part has a weight, a part is unknown, or one needs texts and there is none.
        """
        self.normalize = metric.NORMALIZERS[normalizer]
        self.success_threshold = success_threshold
        self.weights = _checked(weights)
        self.needs_perturbed = "stability" in self.weights
        known = [text for text in map(self.normalize, texts) if text]
        if not known and self.weights.keys() & {"words", "vocabulary", "language"}:
            raise UserError("no text to learn words and language from: give words, vocabulary and language weight 0")
        words = sorted({word for text in known for word in text.split()})
        least, most = characters_per_s
        makers: dict[str, Callable[[], parts.Part]] = {
            "agreement": lambda: parts.Agreement(unit),
            "words": lambda: parts.WordNearness(words),
            "vocabulary": lambda: parts.KnownWords(words),
            "length": lambda: parts.Length(least, most),
            "language": lambda: parts.Language(known, unit=unit, order=language_order),
            "stability": lambda: parts.Stability(unit),
        }
        self.parts: dict[str, parts.Part] = {name: makers[name]() for name in self.weights}
        usual_loop = max((longest_loop(text.split()) for text in known), default=0)
        self.guards = replace(guards, repeats=max(guards.repeats, usual_loop))

    def verify(self, *, hypothesis: str, reference: str | None = None, duration_s: float | None = None) -> VerifyResult:
        """The result of one text. The reference is not read, and one text alone has no agreement."""
        return self.verify_samples([hypothesis], Evidence(duration_s=duration_s))[0]

    def verify_samples(self, hypotheses: Sequence[str], evidence: Evidence) -> list[VerifyResult]:
        """A result for each sample of one clip, in their order; different texts are scored once each."""
        missing = self._missing(len(hypotheses), evidence)
        if missing:
            return [VerifyResult(None, False, reason=missing)] * len(hypotheses)
        plain = {text: self.normalize(text) for text in dict.fromkeys(hypotheses)}
        heard = [plain[text] for text in hypotheses]
        times = Counter(heard)
        perturbed = [self.normalize(text) for text in evidence.perturbed] if self.needs_perturbed else []
        clip = parts.Candidates(list(times), list(times.values()), evidence.duration_s, perturbed)
        columns = {name: part(clip) for name, part in self.parts.items()}
        results = {
            text: self._result(text, {name: column[number] for name, column in columns.items()})
            for number, text in enumerate(clip.texts)
        }
        return [results[text] for text in heard]

    def _missing(self, samples: int, evidence: Evidence) -> str:
        """What a part with weight lacks; empty when nothing is."""
        if "agreement" in self.weights and samples < 2:
            return "no other sample to agree with"
        if "length" in self.weights and not evidence.duration_s:
            return "no duration"
        if "stability" in self.weights and not evidence.perturbed:
            return "no transcript of an altered copy"
        return ""

    def _result(self, text: str, found: dict[str, float]) -> VerifyResult:
        words = text.split()
        broken = "empty output" if not words else "repeated output" if self.guards.loops(words) else ""
        total = sum(self.weights.values())
        reward = 0.0 if broken else sum(self.weights[name] * value for name, value in found.items()) / total
        return VerifyResult(reward, not broken and reward >= self.success_threshold, found, broken)


def _checked(weights: Mapping[str, float]) -> dict[str, float]:
    """The parts that have weight."""
    unknown = sorted(set(weights) - set(PARTS))
    if unknown:
        raise UserError(f"weights: {', '.join(unknown)} is no part of the reward; there are {', '.join(PARTS)}")
    if any(weight < 0 for weight in weights.values()) or not any(weights.values()):
        raise UserError(f"weights: got {dict(weights)}; allowed: 0 or more, at least one above 0")
    return {name: weights[name] for name in PARTS if weights.get(name)}
