"""What every verifier takes and returns."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class VerifyResult:
    """One score, and why.

    Attributes:
        reward: the better the higher, 1 is right; `None` when the hypothesis cannot be scored.
        success: whether the hypothesis is good enough to count as solved.
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
        reference: its transcript or label, where there is one.
        duration_s: how long it is.
        perturbed: what the model makes of altered copies of it (other speed, added noise).
    """

    reference: str | None = None
    duration_s: float | None = None
    perturbed: tuple[str, ...] = ()


class Verifier(Protocol):
    """Scores what a model says of one clip. It never loads a model."""

    needs_perturbed: bool  # whether `Evidence.perturbed` must be filled

    def verify_samples(self, hypotheses: Sequence[str], evidence: Evidence) -> list[VerifyResult]:
        """A result for each sample of one clip, in their order; equal samples have equal results."""
        ...
