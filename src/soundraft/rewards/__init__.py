"""Verifiers: pure functions that score a model's answers. They never load a model.

`AudioVerifier` is the short way to one; training takes the classes themselves, which also score many samples of a clip
at once.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from soundraft.params import checked_section, defaults
from soundraft.params.sections import LabelParams, RewardParams
from soundraft.rewards.base import Evidence, Verifier, VerifyResult
from soundraft.rewards.labels import LabelReward
from soundraft.rewards.transcripts import TranscriptReward
from soundraft.rewards.unsupervised import UnsupervisedReward
from soundraft.runtime import UserError


def transcript_verifier(options: RewardParams, *, texts: Sequence[str], normalized: bool = False) -> Verifier:
    """The verifier of speech recognition; `texts` are for `kind: unsupervised`, `normalized` as of the other one."""
    if options.kind == "unsupervised":
        return UnsupervisedReward(options, texts=texts)
    return TranscriptReward(options, normalized=normalized)


def _asr(*, texts: Sequence[str] = (), **options: Any) -> Verifier:
    section = checked_section(RewardParams, **defaults().reward.model_dump() | options)
    return transcript_verifier(section, texts=texts)


def _classification(
    *, labels: Sequence[str], aliases: Mapping[str, Sequence[str]] | None = None, **options: Any
) -> Verifier:
    pairs = [f"{label}={alias}" for label, names in (aliases or {}).items() for alias in names]
    usual = defaults().reward.labels.model_dump()
    return LabelReward(checked_section(LabelParams, **usual | {"aliases": pairs} | options), labels=labels)


TASKS: dict[str, Callable[..., Verifier]] = {"asr": _asr, "classification": _classification}


class AudioVerifier:
    """Scores single answers of a task.

    Options are the keys of a section of params.yaml, which also holds their defaults. For "asr" it is `reward`, with
    `texts` for `kind="unsupervised"`; for "classification" `reward.labels`, with `labels`, all that may occur, and
    `aliases`, other names of each.

    >>> verifier = AudioVerifier(task="asr")
    >>> ten = "one two three four five six seven eight nine zero"
    >>> verifier.verify(hypothesis=ten, reference=ten)  # 0 % WER
    VerifyResult(reward=1.0, success=True, parts={'wer': 0.0, 'cer': 0.0}, reason='')
    >>> verifier.verify(hypothesis="won" + ten[3:], reference=ten).reward  # 10 %
    0.9
    >>> [result.reward for result in verifier.verify_batch(["yes", "no"], ["yes", "yes"])]
    [1.0, 0.0]
    >>> labels = AudioVerifier(task="classification", labels=["yes", "no"], aliases={"yes": ["yeah"]})
    >>> labels.verify(hypothesis="Yeah", reference="yes").success
    True
    """

    def __init__(self, task: str, **options: Any) -> None:
        if task not in TASKS:
            raise UserError(f"there is no verifier for the task {task!r}; there are {', '.join(TASKS)}")
        self.verifier = TASKS[task](**options)

    def verify(self, *, hypothesis: str, reference: str | None = None, duration_s: float | None = None) -> VerifyResult:
        """The result of one answer."""
        return self.verifier.verify(hypothesis=hypothesis, reference=reference, duration_s=duration_s)

    def verify_batch(self, hypotheses: Sequence[str], references: Sequence[str]) -> list[VerifyResult]:
        """A result for each pair, in their order.

        Raises:
            ValueError: when there are not as many references as hypotheses.
        """
        pairs = zip(hypotheses, references, strict=True)
        return [self.verify(hypothesis=hypothesis, reference=reference) for hypothesis, reference in pairs]


__all__ = [
    "AudioVerifier",
    "Evidence",
    "LabelReward",
    "TranscriptReward",
    "UnsupervisedReward",
    "Verifier",
    "VerifyResult",
    "transcript_verifier",
]
