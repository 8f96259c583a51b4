"""What every verifier returns."""

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class Verdict:
    """One score, and why.

    Attributes:
        reward: from 0 (useless) to 1 (right); `None` when the hypothesis cannot be scored.
        success: whether the hypothesis is good enough to count as solved.
        parts: the numbers that the reward was made of.
        reason: why there is no reward; empty otherwise.
    """

    reward: float | None
    success: bool
    parts: dict[str, float] = field(default_factory=dict)
    reason: str = ""


class Reward(Protocol):
    """A verifier of one task."""

    def __call__(self, *, reference: str, hypothesis: str) -> Verdict: ...
