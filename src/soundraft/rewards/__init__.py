"""Verifiers: pure functions that score a model's answers. They never load a model.

`AudioVerifier` is the short way to one; training takes the classes themselves, which also score many samples of a clip
at once.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from soundraft.params import checked_section, defaults
from soundraft.params.sections import LabelParams, RewardParams
from soundraft.params.tts import SpeechParams
from soundraft.rewards.base import Evidence, Verifier, VerifyResult
from soundraft.rewards.labels import LabelReward
from soundraft.rewards.speech import Heard, SpeechReward, Spoken
from soundraft.rewards.transcripts import TranscriptReward
from soundraft.rewards.unsupervised import UnsupervisedReward
from soundraft.runtime import UserError, listed


def transcript_verifier(options: RewardParams, *, texts: Sequence[str], language: str = "") -> Verifier:
    """The verifier of speech recognition; `texts`, normalised or not, are for `kind: unsupervised`."""
    if options.kind == "unsupervised":
        return UnsupervisedReward(options, texts=texts, language=language)
    return TranscriptReward(options, language=language)


def _asr(*, texts: Sequence[str] = (), language: str = "", **options: Any) -> Verifier:
    section = checked_section(RewardParams, **defaults().reward.model_dump() | options)
    return transcript_verifier(section, texts=listed("texts", texts), language=language)


def _classification(
    *, labels: Sequence[str] = (), aliases: Mapping[str, Sequence[str]] | None = None, **options: Any
) -> Verifier:
    if not isinstance(aliases or {}, Mapping):
        raise UserError(f"aliases: got {aliases!r:.80}; give the other names of each label, as {{'yes': ['yeah']}}")
    pairs = [f"{label}={alias}" for label, names in (aliases or {}).items() for alias in listed("aliases", names)]
    usual = defaults().reward.labels.model_dump()
    section = checked_section(LabelParams, **usual | {"aliases": pairs} | options)
    return LabelReward(section, labels=listed("labels", labels))


def _tts(
    *, recognizer: str | Path = "recognizer", codec: str | Path = "tiny", language: str = "", **options: Any
) -> Any:
    from soundraft.models.audition import Audition

    usual = defaults().tts.reward.model_dump() | {"weights": PUBLISHED_WEIGHTS}
    section = checked_section(SpeechParams, **usual | options)
    return Audition(section, recognizer=recognizer, codec=codec, language=language)


TASKS: dict[str, Callable[..., Any]] = {"asr": _asr, "classification": _classification, "tts": _tts}
SPOKEN = ("tts",)  # whose answers are audio
PUBLISHED_WEIGHTS = {"intelligibility": 0.4, "quality": 0.4, "consistency": 0.2}  # a reference brings consistency in


class AudioVerifier:
    """Scores single answers of a task.

    Options are the keys of a section of params.yaml, which also holds their defaults. For "asr" it is `reward`, with
    `texts` for `kind="unsupervised"`, and `language` for Turkish and Azeri ("tr", "az"), where I is the capital of ı.
    For "classification" it is `reward.labels`, with `labels`, all that may occur, and `aliases`, other names of each.
    For "tts" it is `tts.reward`, but with weight for consistency, and `recognizer`, `codec` and `language` as of
    `models.audition.Audition`: `AudioVerifier(task="tts").verify(audio="a.wav", text="turn on the light")`. This one
    opens a recogniser when it is first asked; `rewards.speech.SpeechReward` takes a recogniser's answers instead.

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
    >>> labels.verify(hypothesis=["yes", "no"], reference=["yes"]).reward  # sets of labels
    0.5
    """

    def __init__(self, task: str, **options: Any) -> None:
        if task not in TASKS:
            raise UserError(f"there is no verifier for the task {task!r}; there are {', '.join(TASKS)}")
        self.task = task
        self.verifier = TASKS[task](**options)

    def verify(
        self,
        hypothesis: Any = None,
        reference: Any = None,
        *,
        prediction: Any = None,
        ground_truth: Any = None,
        duration_s: float | None = None,
        audio: Any = None,
        text: str | None = None,
        reference_audio: Any = None,
        sample_rate_hz: int | None = None,
    ) -> VerifyResult:
        """The result of one answer: `verify(prediction, ground_truth)`, or by either pair of names.

        Args:
            audio, text, reference_audio, sample_rate_hz: for "tts", in place of all others, as of
                `models.audition.Audition.verify`.

        Raises:
            UserError: when there is no answer, one is given twice, or something is no string, or of classification no
                list of labels either; or only one of answer and reference is such a list.
        """
        words = (hypothesis, reference, prediction, ground_truth, duration_s)
        sound = (audio, text, reference_audio, sample_rate_hz)
        if self.task in SPOKEN:
            if audio is None or text is None or any(each is not None for each in words):
                raise UserError(
                    f"task {self.task!r}: give audio and text, with reference_audio and sample_rate_hz or not"
                )
            return self.verifier.verify(
                audio=audio, text=text, reference_audio=reference_audio, sample_rate_hz=sample_rate_hz
            )
        if any(each is not None for each in sound):
            raise UserError(f"task {self.task!r}: answers are texts; audio is verified by the task 'tts'")
        given = {"hypothesis": hypothesis, "prediction": prediction, "reference": reference}
        given |= {"ground_truth": ground_truth}
        given = {name: self._as_answer(name, value) for name, value in given.items() if value is not None}
        answer = _one_of("hypothesis", given.get("hypothesis"), "prediction", given.get("prediction"))
        if answer is None:
            raise UserError("hypothesis: got None; give the model's answer, '' where it said nothing")
        known = _one_of("reference", given.get("reference"), "ground_truth", given.get("ground_truth"))
        if known is not None and type(known) is not type(answer):
            raise UserError(
                f"hypothesis {hypothesis!r} and reference {known!r}: give two strings, or two lists of labels"
            )
        return self.verifier.verify(hypothesis=answer, reference=known, duration_s=duration_s)

    def _as_answer(self, name: str, value: Any) -> Any:
        if isinstance(value, str):
            return value
        if isinstance(self.verifier, LabelReward) and isinstance(value, list | tuple | set | frozenset):
            return tuple(sorted(self._as_answer(name, label) for label in value))
        raise UserError(f"{name}: got {value!r}; give a string")

    def verify_batch(self, hypotheses: Sequence[Any], references: Sequence[str], **more: Any) -> list[VerifyResult]:
        """A result for each pair, in their order; for "tts" pairs of audio and text.

        Args:
            more: for "tts" as of `models.audition.Audition.verify_batch`.

        Raises:
            ValueError: when there are not as many references as hypotheses.
            UserError: as `verify`.
        """
        if self.task in SPOKEN:
            return self.verifier.verify_batch(listed("audio", hypotheses), listed("texts", references), **more)
        if more:
            raise UserError(f"task {self.task!r} takes no {', '.join(more)}; that is for the task 'tts'")
        pairs = zip(listed("hypotheses", hypotheses), listed("references", references), strict=True)
        return [self.verify(hypothesis, reference) for hypothesis, reference in pairs]


def _one_of(name: str, value: Any, alias: str, other: Any) -> Any:
    if value is not None and other is not None:
        raise UserError(f"{name} and {alias} are the same: give one of them")
    return other if value is None else value


__all__ = [
    "AudioVerifier",
    "Evidence",
    "Heard",
    "LabelReward",
    "SpeechReward",
    "Spoken",
    "TranscriptReward",
    "UnsupervisedReward",
    "Verifier",
    "VerifyResult",
    "transcript_verifier",
]
