"""What a task is: the only place where its model, its metrics and its clips meet.

A task is one file beside this one with a class derived from `Task`, and one line in `params/tasks.py`. The steps of a
run (start, cycle, evaluate, benchmark), the stages of the pipeline, the command line and Python know no more of it
than stands here.
"""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from soundraft.audio.features import AudioPerturbation
from soundraft.clips.base import Clips, Facts, Featurizer, Loaded, Reading, load
from soundraft.clips.batches import Utterances
from soundraft.evaluation.results import Column, ModelId, Result
from soundraft.evaluation.samples import Role, Sound
from soundraft.evaluation.scores import Scores
from soundraft.manifest import Rejected, Split, check_bad_fraction
from soundraft.metrics.resampling import Bootstrap
from soundraft.models.base import Answer, Model
from soundraft.params.sections import Params, Train
from soundraft.params.tasks import TASKS
from soundraft.rewards.base import Verifier
from soundraft.runtime import UserError
from soundraft.tracking import Tracker
from soundraft.training.learner import Augment

# what every run without the pipeline reads; the other sections belong to stages
READ = ("task", "seed", "corpus.seed", "limits.max_bad_fraction", "train.", "reward.", "evaluate.", "benchmark.")
NOT_READ = ("train.epochs", "train.supervised.")


@dataclass
class Data:
    """The clips of a run, and their features once they were asked for.

    Attributes:
        target: the splits of what RAFT improves the model on.
        start: the splits of what the start model learned, replayed against forgetting; empty where there is no such.
    """

    target: Mapping[Split, Clips]
    start: Mapping[Split, Clips] = field(default_factory=dict)
    _loaded: dict[tuple[str, str], Loaded] = field(default_factory=dict)

    def splits(self, corpus: str) -> Mapping[Split, Clips]:
        return self.target if corpus == "target" else self.start

    def load(self, task: "Task", model: Model, corpus: str, split: Split) -> Loaded:
        """The clips of a split with features, made once: all models of a run take the same.

        Raises:
            UserError: when none of the split can be used, or more bad clips are found in all the splits loaded so far
                than `limits.max_bad_fraction` allows of all clips.
        """
        if (corpus, split) not in self._loaded:
            clips = self.splits(corpus)[split]
            sampled = (corpus, split) == ("target", "train")
            title = f"{corpus} {split}"
            self._loaded[corpus, split] = task.load(
                clips, model, title=title, split=split, sampled=sampled, max_bad_fraction=1.0
            )
            every = sum(map(len, (*self.target.values(), *self.start.values())))
            check_bad_fraction(every - len(self.rejected), self.rejected, task.params.limits.max_bad_fraction)
        return self._loaded[corpus, split]

    @property
    def rejected(self) -> list[Any]:
        """The clips that could not be used, of the splits loaded so far."""
        found = {(each.id, each.path): each for loaded in self._loaded.values() for each in loaded.rejected}
        return [found[key] for key in sorted(found)]


class Task(ABC):
    """One task with the params of one experiment.

    Attributes:
        target: the fact of a clip that the model is to answer.
        metrics: keys of `evaluation.scores.METRICS`; the first one chooses between models (see `ranked`).
        columns: of the report.
        reads: the sections of the params that a run without the pipeline reads beside `READ`.
        train: how a cycle learns.
        rate: the key of its learning rate.
        needs_targets: whether training clips must have their target.
        makes_targets: whether a target is made of a clip's audio, and no fact of it.
        takes_codes: whether the tokens of a dataset are to be among the facts of its clips.
        perturbed: of the copies of training clips whose answers the verifier asks for.
        clips_are: what the audio of a clip is to a model: its input, or the reference of what it makes.
    """

    metrics: Sequence[str]
    columns: ClassVar[Sequence[Column]]
    reads: ClassVar[Sequence[str]] = ()
    target: str
    train: Train
    rate: ClassVar[str] = "train.learning_rate"
    needs_targets: bool = True
    makes_targets: ClassVar[bool] = False
    takes_codes: ClassVar[bool] = False
    perturbed: Sequence[AudioPerturbation] = ()
    clips_are: ClassVar[Role] = "input"

    def __init__(self, params: Params) -> None:
        self.params = params
        self.train = params.train

    @property
    def corpora(self) -> Sequence[str]:
        """Whose clips its models are measured on, the one that RAFT improves first."""
        return sorted(TASKS[self.params.task].corpora, reverse=True)

    @classmethod
    def recognizes(cls, model: str) -> dict[str, Any] | None:
        """The params, by key, that a model's folder or hub id implies; `None` for a model of another task."""
        return None

    @classmethod
    def started_from(cls, model: str | None) -> dict[str, Any]:
        """The params, by key, of a run without the pipeline that starts from a model, or from the usual one.

        Raises:
            UserError: when a model is named and the task trains its own.
        """
        if model is not None:
            raise UserError("its start model is trained: leave out model_name, --model")
        return {}

    @classmethod
    def is_read(cls, key: str) -> bool:
        """Whether a run without the pipeline reads a key of the params."""
        return key.startswith((*READ, *cls.reads)) and not key.startswith(NOT_READ)

    def reading(self) -> Reading:
        """What is read of each clip."""
        return Reading(self.target if self.needs_targets and not self.makes_targets else None)

    def check(self, data: Data) -> list[str]:
        """See before anything is trained that the clips can be learned and measured; notes for the user.

        Raises:
            UserError: when they cannot.
        """
        return []

    @abstractmethod
    def start_model(self, data: Data, out: Path, tracker: Tracker) -> str:
        """Write the start model and its metrics.json to a folder: a new one, trained, or the checkpoint; one line."""

    def initial_model(self) -> Model:
        """The model that the start is trained from, for `--dry-run`.

        Raises:
            UserError: where the start model is built from its training clips.
        """
        raise UserError(
            f"--dry-run is for tasks that start from a checkpoint; {self.params.task} trains its start model"
        )

    def suited(self) -> dict[str, Any]:
        """Numbers, by key, that suit the checkpoint better than those of params.yaml, where the user gives none."""
        return {}

    @abstractmethod
    def load_model(self, folder: Path) -> Model: ...

    def open_model(self, name: str) -> Model:
        """A model by its folder or hub id."""
        return self.load_model(Path(name))

    def usual(self, model: Model) -> dict[str, Any]:
        """By what other people's models of this kind are usually measured, by key, where the user gives nothing."""
        return {}

    @abstractmethod
    def featurizer(self, model: Model, perturbation: AudioPerturbation | None = None) -> Featurizer: ...

    @abstractmethod
    def target_of(self, facts: Facts) -> Answer | None:
        """The answer that a clip asks for, `None` where it is not known; of one made of audio, whether it is known."""

    def write_answer(self, answer: Any) -> Any:
        """A sampled answer as a value of JSON, for the samples of a killed cycle."""
        return answer

    def read_answer(self, value: Any) -> Any:
        """The answer that `write_answer` wrote."""
        return value

    def describe_answer(self, answer: Any) -> str:
        """A sampled answer in words, for rollouts.parquet."""
        return str(answer)

    @abstractmethod
    def verifier(self, data: Data) -> Verifier:
        """What scores sampled answers; it may know the targets of training clips."""

    @abstractmethod
    def score(self, model: Model, loaded: Loaded, *, title: str) -> Scores:
        """The model's answers on clips with known targets."""

    def note_learned(self, model: Model, durations_s: Sequence[float]) -> None:
        """What is kept with a model of the clips that it has learned, given their lengths in seconds."""
        return

    def after_cycle(self, model: Model, validation: Loaded) -> None:
        """What is fitted to validation clips once the weights have changed, such as a temperature."""
        return

    def prompts(self, model: Model, seed: int) -> Utterances:
        """What a cycle samples beside the training clips; there is no answer to learn but the model's own.

        Args:
            seed: of this cycle.

        Raises:
            UserError: when the model cannot be asked so.
        """
        return Utterances([], [], [])

    def augment(self, model: Model, seed: int) -> Augment | None:
        """How clips are perturbed when a cycle learns them, beside the masks."""
        return None

    def ranked(self, targets: Sequence[str]) -> Sequence[str]:
        """The metrics for clips with these targets: the first one is the headline, and chooses between models."""
        return self.metrics

    def columns_of(self, scores: Scores) -> Sequence[Column]:
        """The columns of a report on clips such as these."""
        return self.columns

    def others(self, data: Data, scores: Scores) -> dict[str, Scores]:
        """A model's answers in other ways that `columns` shows, each by its name."""
        return {}

    def untrained(self, test: Loaded) -> dict[str, Scores]:
        """What ways that learn nothing score on the same clips, each by its name."""
        return {}

    def baselines(self, data: Data, test: Loaded, model: Model, like: Scores) -> dict[str, Scores]:
        """What simpler ways score on the same clips, each by its name.

        Args:
            model, like: the start model and its scores.
        """
        return self.untrained(test)

    def findings(self, results: Sequence[Result], bootstrap: Bootstrap) -> list[str]:
        """What else the report says of all models together, in sentences; the start model is the first result."""
        return []

    def sound_of(self, model: Model, features: Any, answer: Any) -> tuple[np.ndarray, int] | None:
        """An answer that is audio: `[N]` and its rate in Hz, given its clip's features; `None` for all other answers.

        A cycle keeps the samples of a few clips so, for the report page to play.
        """
        return None

    def sounds(self, data: Data, models: Sequence[tuple[ModelId, Path]], split: Split) -> list[Sound]:
        """For the report page, where answers are audio: of a few clips of the split the reference, the input, and what
        the models answer.

        Args:
            models: the start model first; with their folders.
        """
        return []

    def notes(self, model: Model, *parts: Loaded) -> list[str]:
        """What the user should know of how clips are taken, such as how many are cut."""
        return []

    def hints(self, scores: Scores) -> list[str]:
        """Which errors are none of hearing, and what to do about them."""
        return []

    def sections(
        self, data: Data, models: Sequence[tuple[ModelId, Path]], split: Split, bootstrap: Bootstrap
    ) -> list[str]:
        """More of the report on the clips of a split, in markdown.

        Args:
            models: the start model first; with their folders.
        """
        return []

    def load(
        self, clips: Clips, model: Model, *, title: str, split: Split = "test", sampled: bool = False,
        targets: bool = True, max_bad_fraction: float | None = None,
    ) -> Loaded:  # fmt: skip
        """Features of clips.

        Args:
            split: whose clips they are, for tasks whose clips depend on it.
            sampled: whether a cycle samples them: then with the copies that the verifier asks for, and where training
                reads no targets, also clips without one.
            targets: whether clips must have their target.
            max_bad_fraction: in place of that of the params.

        Raises:
            UserError: when a larger share of them is bad than `limits.max_bad_fraction` allows; without targets, when
                none can be used.
        """

        def target_or_none(facts: Facts) -> Answer:
            return self.target_of(facts) or ""

        wanted = self.target_of if targets and (self.needs_targets or not sampled) else target_or_none
        copies = self.perturbed if sampled else ()
        featurizers = [self.featurizer(model), *(self.featurizer(model, change) for change in copies)]
        loaded = load(clips, featurizers, target=wanted, title=title)
        self._check_bad(len(loaded.clips), loaded.rejected, targets, max_bad_fraction)
        return loaded if targets else replace(loaded, has_targets=False)

    def _check_bad(self, usable: int, rejected: list[Rejected], targets: bool, max_bad_fraction: float | None) -> None:
        limit = self.params.limits.max_bad_fraction if max_bad_fraction is None else max_bad_fraction
        check_bad_fraction(usable, rejected, limit if targets else 1.0)


def task_class(name: str) -> type[Task]:
    """The class of a task.

    Raises:
        UserError: when there is no such task.
    """
    if name not in TASKS:
        raise UserError(f"there is no task {name!r}; there are {', '.join(TASKS)}")
    module, _, attribute = TASKS[name].place.partition(":")
    found: type[Task] = getattr(importlib.import_module(module), attribute)
    return found


def task_of(params: Params) -> Task:
    """The task that the params name."""
    return task_class(params.task)(params)
