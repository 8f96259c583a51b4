"""The verifier of classification: is it the right label."""

from collections.abc import Iterator, Mapping, Sequence

from rapidfuzz import fuzz

from soundraft.rewards.base import Evidence, VerifyResult
from soundraft.runtime import UserError


class LabelReward:
    """Reward 1.0 for the right label, 0.0 for another one or for an answer that is no label.

    >>> score = LabelReward(labels=["yes", "no"], aliases={"yes": ["yeah"]}, fuzzy_threshold=0.8)
    >>> [score.verify(hypothesis=text, reference="yes").reward for text in ("Yes", "yeah", "yess", "no")]
    [1.0, 1.0, 1.0, 0.0]
    >>> score.verify(hypothesis="perhaps", reference="yes").reason
    'not a label'
    """

    needs_perturbed = False

    def __init__(
        self,
        *,
        labels: Sequence[str],
        aliases: Mapping[str, Sequence[str]] | None = None,
        ignore_case: bool = True,
        fuzzy_threshold: float = 0.0,
    ) -> None:
        """Say which answers mean which label.

        Args:
            labels: all that may occur.
            aliases: other ways to say a label.
            ignore_case: whether "Yes" is "yes".
            fuzzy_threshold: above 0, an answer that is none of these means the nearest one, when they are at least
                this alike: 2 · common characters in order / all characters of both, 0–1. 0: it must be one of them.

        Raises:
            UserError: when there is no label, one way to say two labels, an alias of no label, or such a threshold.
        """
        if not 0 <= fuzzy_threshold <= 1:
            raise UserError(f"fuzzy_threshold: got {fuzzy_threshold}; allowed: 0–1")
        self.ignore_case = ignore_case
        self.fuzzy_threshold = fuzzy_threshold
        self.meaning: dict[str, str] = {}
        for name, label in _names(labels, aliases or {}):
            if self.meaning.setdefault(self._plain(name), label) != label:
                raise UserError(f"{name!r} means both {self.meaning[self._plain(name)]!r} and {label!r}")

    def verify(self, *, hypothesis: str, reference: str | None = None) -> VerifyResult:
        """The result of one answer."""
        return self.verify_samples([hypothesis], Evidence(reference))[0]

    def verify_samples(self, hypotheses: Sequence[str], evidence: Evidence) -> list[VerifyResult]:
        """A result for each answer to one clip, in their order."""
        if evidence.reference is None:
            return [VerifyResult(None, False, reason="no reference")] * len(hypotheses)
        right = self.meaning.get(self._plain(evidence.reference))
        if right is None:
            reason = f"the reference {evidence.reference!r} is not a label"
            return [VerifyResult(None, False, reason=reason)] * len(hypotheses)
        results = {answer: self._result(answer, right) for answer in dict.fromkeys(hypotheses)}
        return [results[answer] for answer in hypotheses]

    def label_of(self, answer: str) -> str | None:
        """The label that an answer means; `None` when it means none, or is as near to another."""
        plain = self._plain(answer)
        if plain in self.meaning or not self.fuzzy_threshold:
            return self.meaning.get(plain)
        alike = {name: fuzz.ratio(plain, name) / 100 for name in self.meaning}
        most = max(alike.values())
        nearest = {self.meaning[name] for name, ratio in alike.items() if ratio == most}
        return nearest.pop() if most >= self.fuzzy_threshold and len(nearest) == 1 else None

    def _result(self, answer: str, right: str) -> VerifyResult:
        label = self.label_of(answer)
        match = float(label == right)
        return VerifyResult(match, bool(match), {"match": match}, "not a label" if label is None else "")

    def _plain(self, text: str) -> str:
        text = " ".join(text.split())
        return text.casefold() if self.ignore_case else text


def _names(labels: Sequence[str], aliases: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str]]:
    """Every way to say a label, and the label."""
    if not labels:
        raise UserError("labels: got none; name every label that may occur")
    unknown = sorted(set(aliases) - set(labels))
    if unknown:
        raise UserError(f"aliases: {', '.join(unknown)} is none of the labels {', '.join(sorted(set(labels)))}")
    for label in dict.fromkeys(labels):
        yield label, label
        for alias in aliases.get(label, ()):
            yield alias, label
