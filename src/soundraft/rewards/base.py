"""What every verifier takes and returns."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class VerifyResult:
    """One score, and why.

    Attributes:
        reward: the better the higher, 1 is right; `None` when the answer cannot be scored.
        success: whether the answer is good enough to count as solved.
        parts: the numbers that the reward was made of.
        reason: why there is no reward, or which guard took it; empty otherwise.
    """

    reward: float | None
    success: bool
    parts: dict[str, float] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True)
class Evidence:
    """What is known of a clip.

    Attributes:
        reference: the right answer, such as a transcript or label, where there is one.
        duration_s: length in seconds.
        perturbed: the model's answers on perturbed copies of it (other speed, added noise).
    """

    reference: Any = None
    duration_s: float | None = None
    perturbed: tuple[Any, ...] = ()


class Verifier(ABC):
    """Scores a model's answers to one clip. It never loads a model."""

    needs_perturbed = False  # whether `Evidence.perturbed` must be filled

    @abstractmethod
    def verify_samples(self, hypotheses: Sequence[Any], evidence: Evidence) -> list[VerifyResult]:
        """A result for each sample of one clip, in their order; equal samples have equal results."""

    def verify_all(self, hypotheses: Sequence[Sequence[Any]], evidence: Sequence[Evidence]) -> list[list[VerifyResult]]:
        """`verify_samples` of many clips; a verifier that is faster with many at once has its own."""
        return [self.verify_samples(drawn, each) for drawn, each in zip(hypotheses, evidence, strict=True)]

    def verify(self, *, hypothesis: Any, reference: Any = None, duration_s: float | None = None) -> VerifyResult:
        """The result of one answer."""
        return self.verify_samples([hypothesis], Evidence(reference, duration_s))[0]


def not_scorable(hypotheses: Sequence[Any], reason: str) -> list[VerifyResult]:
    return [VerifyResult(None, False, reason=reason)] * len(hypotheses)
