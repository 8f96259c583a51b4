"""Verifiers: pure functions that score what a model says. They never load a model.

`AudioVerifier` is the short way to one; training takes the classes themselves, which also score many samples of a clip
at once.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from soundraft.rewards.base import Evidence, Verifier, VerifyResult
from soundraft.rewards.labels import LabelReward
from soundraft.rewards.transcripts import Guards, TranscriptReward
from soundraft.rewards.unsupervised import UnsupervisedReward
from soundraft.runtime import UserError


def transcript_verifier(reward: Mapping[str, Any], *, texts: Sequence[str]) -> Verifier:
    """The verifier that the section `reward` of the params describes; `texts` are for `kind: unsupervised`."""
    guards = Guards(**reward["guards"])
    if reward["kind"] == "unsupervised":
        return UnsupervisedReward(texts=texts, normalizer=reward["normalizer"], guards=guards, **reward["unsupervised"])
    return TranscriptReward(
        normalizer=reward["normalizer"],
        wer_threshold=reward["wer_threshold"],
        cer_weight=reward["cer_weight"],
        clipped=reward["clipped"],
        guards=guards,
    )


def _asr(*, texts: Sequence[str] = (), **options: Any) -> Verifier:
    from soundraft.params import checked_section, defaults
    from soundraft.params.sections import RewardParams

    section = checked_section(RewardParams, **defaults().reward.model_dump() | options)
    return transcript_verifier(section.model_dump(), texts=texts)


TASKS: dict[str, Callable[..., Verifier]] = {"asr": _asr, "classification": LabelReward}


class AudioVerifier:
    """Scores single answers of a task.

    For "asr" the options are the keys of `reward:` in params.yaml, which also holds their defaults, and `texts` for
    `kind="unsupervised"`; for "classification" they are those of `LabelReward`.

    >>> verifier = AudioVerifier(task="asr")
    >>> ten = "one two three four five six seven eight nine zero"
    >>> verifier.verify(hypothesis=ten, reference=ten)  # 0 % WER
    VerifyResult(reward=1.0, success=True, parts={'wer': 0.0, 'cer': 0.0}, reason='')
    >>> verifier.verify(hypothesis="won" + ten[3:], reference=ten).reward  # 10 %
    0.9
    >>> verifier.verify(hypothesis=ten[14:], reference=ten).reward  # 30 %
    0.7
    >>> verifier.verify(hypothesis=ten[24:], reference=ten).reward  # 50 %
    0.5
    >>> [result.reward for result in verifier.verify_batch(["yes", "no"], ["yes", "yes"])]
    [1.0, 0.0]
    >>> AudioVerifier(task="classification", labels=["yes", "no"]).verify(hypothesis="Yes", reference="yes").success
    True
    """

    def __init__(self, task: str, **options: Any) -> None:
        if task not in TASKS:
            raise UserError(f"there is no verifier for the task {task!r}; there are {', '.join(TASKS)}")
        self.verifier = TASKS[task](**options)

    def verify(self, *, hypothesis: str, reference: str | None = None, duration_s: float | None = None) -> VerifyResult:
        """The result of one answer."""
        return self.verifier.verify_samples([hypothesis], Evidence(reference, duration_s))[0]

    def verify_batch(self, hypotheses: Sequence[str], references: Sequence[str]) -> list[VerifyResult]:
        """A result for each pair, in their order.

        Raises:
            ValueError: when there are not as many references as hypotheses.
        """
        pairs = zip(hypotheses, references, strict=True)
        return [self.verify(hypothesis=heard, reference=said) for heard, said in pairs]


__all__ = [
    "AudioVerifier",
    "Evidence",
    "Guards",
    "LabelReward",
    "TranscriptReward",
    "UnsupervisedReward",
    "Verifier",
    "VerifyResult",
    "transcript_verifier",
]
