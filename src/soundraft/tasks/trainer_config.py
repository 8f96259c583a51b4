"""What a training run by name is told, and the params that this makes together with the defaults of params.yaml."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from soundraft.params import ParamsError, changed, defaults
from soundraft.params.sections import Params
from soundraft.runtime import UserError

TASKS = ("asr",)
LEARN_TRANSCRIPTS = ("sft",)
LEARNING_RATE = 5e-5  # for pretrained models
# the keys of params.yaml that a run reads; the others belong to stages of the pipeline
READ = (
    "seed",
    "corpus.seed",
    "limits.max_bad_fraction",
    "model.revision",
    "model.language",
    "train.",
    "reward.",
    "evaluate.",
)
NOT_READ = ("train.epochs", "train.supervised")
_KEYS = {
    "num_cycles": "train.cycles",
    "samples_per_prompt": "train.samples_per_prompt",
    "learning_rate": "train.learning_rate",
    "lr_decay_per_cycle": "train.lr_decay_per_cycle",
    "wer_threshold": "reward.wer_threshold",
    "algorithm": "train.algorithm",
    "seed": "seed",
}


@dataclass(frozen=True, kw_only=True)
class AudioRAFTConfig:
    """A run. `None` stands for the value of params.yaml, but for the learning rate.

    Attributes:
        model_name: local folder or hub id of the model to start from.
        output_dir: folder of the run; one that was killed goes on there.
        task: asr.
        num_cycles: how often to sample, score, select and train.
        samples_per_prompt: texts sampled per clip and cycle.
        learning_rate: peak of cycle 1; `None` is 5e-5. Not from params.yaml, whose rate is for a network that began
            from nothing and would spoil a pretrained one.
        lr_decay_per_cycle: factor on it from each cycle to the next.
        wer_threshold: a sample with at most this word error rate counts as solved.
        algorithm: raft, grpo, mwer, or one of the controls sft, self_training, random.
        seed: of batches and samples. Which clips are drawn is decided by `corpus.seed`, so that runs with several
            seeds share one test set.
        limit: at most so many clips of each split; `None`: all.
        params: any other number by its key in params.yaml: `{"train.rounds_per_cycle": 4}`.

    Raises:
        UserError: when there is no such task, or a number is not allowed; the message names every problem.
    """

    model_name: str
    output_dir: Path | str
    task: str = "asr"
    num_cycles: int | None = None
    samples_per_prompt: int | None = None
    learning_rate: float | None = None
    lr_decay_per_cycle: float | None = None
    wer_threshold: float | None = None
    algorithm: str | None = None
    seed: int | None = None
    limit: int | None = None
    params: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise UserError(f"there is no training for the task {self.task!r}; there is {', '.join(TASKS)}")
        if self.limit is not None and self.limit < 1:
            raise UserError(f"limit {self.limit}: give a number from 1, or none for all")
        self.all_params()

    def all_params(self) -> Params:
        """The numbers of the run, in the shape of params.yaml."""
        named = {key: getattr(self, name) for name, key in _KEYS.items() if getattr(self, name) is not None}
        given = dict(self.params)
        twice = sorted(named.keys() & given.keys())
        if twice:
            raise ParamsError(f"{twice[0]} is given twice, as {named[twice[0]]!r} and as {given[twice[0]]!r}")
        start = {
            "model.checkpoint": self.model_name,
            "model.revision": "",
            "train.epochs": 0,
            "train.learning_rate": LEARNING_RATE,
        }
        _check_read(given)
        return changed(defaults(), start | named | given)


def learns_transcripts(params: Params) -> bool:
    """Whether the transcripts of the training clips go into the loss."""
    return params.train.algorithm in LEARN_TRANSCRIPTS or params.train.reference_weight > 0


def reads_transcripts(params: Params) -> bool:
    """Whether training clips need transcripts: to be scored by, or to be learned."""
    return params.reward.kind != "unsupervised" or learns_transcripts(params)


def leaves_read(params: Params) -> dict[str, Any]:
    """The keys with their values that a run reads, as they are recorded."""
    return {key: value for key, value in params.leaves().items() if _is_read(key)}


def _is_read(key: str) -> bool:
    return key.startswith(READ) and not key.startswith(NOT_READ)


def _check_read(given: Mapping[str, Any]) -> None:
    known = defaults().leaves()
    idle = [key for key in given if key in known and not _is_read(key)]
    if idle:
        names = ", ".join(key.removesuffix(".") for key in READ)
        raise ParamsError(f"{idle[0]} is for the pipeline, a run does not read it; it reads {names}")
