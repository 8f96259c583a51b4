"""The verifier of classification: is it the right label, or how alike are two sets of labels."""

from collections.abc import Sequence
from typing import Any

from rapidfuzz import fuzz

from soundraft.params.sections import LabelParams
from soundraft.rewards.base import Evidence, Verifier, VerifyResult, not_scorable
from soundraft.runtime import UserError


class LabelReward(Verifier):
    """Reward 1.0 for the right label, 0.0 for another one or for an answer that is no label.

    Where the reference is a set of labels, a tuple of them, the reward is the Jaccard index of the two sets: the labels
    that both have, by those that either has, and 1.0 where both are empty. A success is the very set.

    >>> options = LabelParams(aliases=["yes=yeah"], ignore_case=True, fuzzy_threshold=0.8)
    >>> score = LabelReward(options, labels=["yes", "no"])
    >>> [score.verify(hypothesis=text, reference="yes").reward for text in ("Yes", "yeah", "yess", "no")]
    [1.0, 1.0, 1.0, 0.0]
    >>> score.verify(hypothesis="perhaps", reference="yes").reason
    'not a label'
    >>> [score.verify(hypothesis=labels, reference=("yes",)).reward for labels in (("yeah",), ("yes", "no"), ())]
    [1.0, 0.5, 0.0]
    """

    def __init__(self, options: LabelParams, *, labels: Sequence[str]) -> None:
        """Raises UserError when there is no label, one name of two labels, or an alias of no label."""
        if not labels:
            raise UserError("labels: got none; name every label that may occur")
        self.options = options
        aliases = [pair.split("=", 1) for pair in options.aliases]
        unknown = sorted({label for label, _ in aliases} - set(labels))
        if unknown:
            raise UserError(f"aliases: {', '.join(unknown)} is none of the labels {', '.join(sorted(set(labels)))}")
        self.meaning: dict[str, str] = {}
        for label, name in [*((label, label) for label in labels), *aliases]:
            if self.meaning.setdefault(self._plain(name), label) != label:
                raise UserError(f"{name!r} means both {self.meaning[self._plain(name)]!r} and {label!r}")

    def verify_samples(self, hypotheses: Sequence[Any], evidence: Evidence) -> list[VerifyResult]:
        if evidence.reference is None:
            return not_scorable(hypotheses, "no reference")
        if isinstance(evidence.reference, tuple):
            return self._verify_sets(hypotheses, evidence.reference)
        right = self.meaning.get(self._plain(evidence.reference))
        if right is None:
            return not_scorable(hypotheses, f"the reference {evidence.reference!r} is not a label")
        results = {answer: self._result(answer, right) for answer in dict.fromkeys(hypotheses)}
        return [results[answer] for answer in hypotheses]

    def label_of(self, answer: str) -> str | None:
        """The label that an answer means; `None` when it means none, or is as near to another."""
        plain = self._plain(answer)
        if plain in self.meaning or not self.options.fuzzy_threshold:
            return self.meaning.get(plain)
        alike = {name: fuzz.ratio(plain, name) / 100 for name in self.meaning}
        most = max(alike.values())
        nearest = {self.meaning[name] for name, ratio in alike.items() if ratio == most}
        return nearest.pop() if most >= self.options.fuzzy_threshold and len(nearest) == 1 else None

    def _verify_sets(self, hypotheses: Sequence[tuple[str, ...]], reference: tuple[str, ...]) -> list[VerifyResult]:
        right = {self.meaning.get(self._plain(label)) for label in reference}
        if None in right:
            return not_scorable(hypotheses, f"the reference {list(reference)} has a label that is none")
        results = {}
        for answer in set(hypotheses):
            # what means no label stays as it is: it is wrong
            given = {self.label_of(label) or f"no label: {label}" for label in answer}
            both, either = len(given & right), len(given | right)
            parts = {
                "jaccard": both / either if either else 1.0,
                "found": float(both),
                "wrong": float(len(given) - both),
            }
            results[answer] = VerifyResult(parts["jaccard"], given == right, parts)
        return [results[answer] for answer in hypotheses]

    def _result(self, answer: str, right: str) -> VerifyResult:
        label = self.label_of(answer)
        match = float(label == right)
        return VerifyResult(match, bool(match), {"match": match}, "not a label" if label is None else "")

    def _plain(self, text: str) -> str:
        text = " ".join(text.split())
        return text.casefold() if self.options.ignore_case else text
