"""A run without DVC: clips from anywhere through the same steps as the pipeline, in one folder.

run.json                what the run was made of: task, model, data, numbers; it goes on in its folder only with these
start/                  the start model
cycles/NN/              each cycle's model, rollouts.parquet, metrics.json
splits.csv              id, split, target and a hash of the audio of every clip
predictions.parquet     of every model on the clips that are measured
corpus.json             what each split consists of
metrics.json            flat numbers of the last model
report.md               for the user: every model beside the baselines, curves and errors in files beside it
quarantine.jsonl        clips that could not be used, with the reason
"""

import hashlib
import importlib.metadata
import json
import platform
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundraft import distributed, files
from soundraft.clips.base import Clips, Reading
from soundraft.clips.division import Divided, Sources, divide, shared_audio
from soundraft.clips.opening import open_clips
from soundraft.evaluation import report
from soundraft.evaluation.page import corpus
from soundraft.evaluation.predictions import answers_table
from soundraft.evaluation.results import START_MODEL, TRAINED, ModelId, Result, last_trained, shown
from soundraft.evaluation.scores import METRICS, Estimate, Scores
from soundraft.manifest import QUARANTINE_NAME, Rejected, Split
from soundraft.metrics.resampling import Bootstrap, Comparison
from soundraft.models.base import Model
from soundraft.params import ParamsError, by_key, changed, check_keywords, defaults
from soundraft.params.base import flat
from soundraft.params.sections import ALONE, Params
from soundraft.runtime import UserError, command
from soundraft.splits import SplitRule
from soundraft.tasks import measure, steps
from soundraft.tasks.base import Data, Task, task_class, task_of
from soundraft.tasks.declaration import Declared, read_declaration
from soundraft.tracking import Tracker

if TYPE_CHECKING:
    import pandas

RECORD, VERSION = "run.json", 2
SPLITS_NAME, CORPUS_NAME = "splits.csv", "corpus.json"
Tell = Callable[[str], None]
# a run may be made longer, or read again with fewer cycles
_MAY_DIFFER = ("notes", "versions", "command", "params.train.cycles")
_PACKAGES = ("soundraft", "torch", "numpy", "scikit-learn", "soxr", "transformers")


class Run:
    """One run: its task, its clips, and the folder where it goes on.

    Args:
        reading: what is read of each clip.
        say: takes a line for the user now and then.
    """

    def __init__(
        self, task: Task, divided: Divided, data: Data, folder: Path | None, reading: Reading, say: Tell
    ) -> None:
        self.task, self.divided, self.data = task, divided, data
        self._scratch = None
        if folder is None:
            self._scratch = tempfile.TemporaryDirectory()
            folder = Path(self._scratch.name)
        self.folder = folder
        self.reading, self.say = reading, say
        self.notes = [*divided.notes, *task.check(self.data)]
        self.contents = {
            corpus: {split: clips.contents() for split, clips in self.data.splits(corpus).items()}
            for corpus in ("target", "start")
        }
        self.notes += shared_audio(
            {split: (clips.ids, self.contents["target"][split]) for split, clips in self.data.target.items()}
        )

    def train(self) -> "RunResult":
        """Train what the folder lacks of start model and cycles, then measure every model.

        Raises:
            UserError: when the folder holds another run.
        """
        record = self.record()
        check_goes_on(self.folder, record)
        distributed.wait_for_everyone()  # the others must have looked before there is something new to see
        if distributed.is_main():
            files.write_json(self.folder / RECORD, record)
            files.write_csv(self.folder / SPLITS_NAME, list(self._split_rows()))
        distributed.wait_for_everyone()
        for note in self.notes:
            self.say(f"note: {note}")
        self._make(0, partial(steps.start, self.task, self.data, tracker=Tracker(), checked=True))
        for number in range(1, self.task.train.cycles + 1):
            self._make(number, partial(self._cycle, number))
        return self.measure()

    @property
    def division(self) -> str:
        """How the clips came into their splits, in words."""
        return "; ".join(self.divided.how)

    def _cycle(self, number: int, out: Path) -> str:
        previous, base = self.model_of(number - 1), self.model_of(0)
        return steps.cycle(self.task, self.data, previous, out, number=number, base=base)[2]

    def model_of(self, cycle: int) -> Path:
        """The folder of a cycle's model; 0 is the start model."""
        return self.folder / "cycles" / f"{cycle:02d}" if cycle else self.folder / "start"

    def record(self) -> dict[str, Any]:
        """What `run.json` holds, in values of JSON."""
        task = self.task
        record = {
            "version": VERSION,
            "command": command(),
            "task": task.params.task,
            "target": task.target,
            "model": task.params.model.checkpoint if task.is_read("model.revision") else "",
            "reading": self.reading.record(),
            "data": {
                "title": self.divided.title,
                "division": self.division,
                **{
                    f"{corpus}_{split}": {
                        "clips": len(clips),
                        "digest": digest_of(task, clips, self.contents[corpus][split]),
                    }
                    for corpus in ("target", "start")
                    for split, clips in self.data.splits(corpus).items()
                },
            },
            "params": {key: value for key, value in task.params.leaves().items() if task.is_read(key)},
            "notes": self.notes,
            "versions": {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}},
        }
        found: dict[str, Any] = json.loads(json.dumps(record))
        return found

    def _make(self, cycle: int, step: Callable[[Path], str]) -> None:
        """One model, unless its folder is there."""
        place, name = self.model_of(cycle), f"{self.task.train.algorithm} {cycle:02d}" if cycle else "start"
        missing = not place.is_dir()
        distributed.wait_for_everyone()
        if not missing:
            self.say(f"{name}: done before")
            return
        with distributed.building(place) as out:
            summary = step(out)
        self.say(summary if cycle else f"start: {summary}")

    def measure(self) -> "RunResult":
        """Every model on test clips, or on validation where there are none; the files that come of it."""
        cycles = range(1, self.task.train.cycles + 1)
        algorithm = self.task.train.algorithm
        models = [(START_MODEL, self.model_of(0))]
        models += [(ModelId(TRAINED, algorithm, number), self.model_of(number)) for number in cycles]
        numbers = [files.read_json(self.model_of(number) / "metrics.json") for number in cycles]
        split: Split | None = next((name for name in ("test", "validation") if name in self.data.target), None)
        results: list[Result] = []
        if split is not None:
            results, _ = measure.evaluate(
                self.task, self.data, models, self.folder, Tracker(), split=split, division=self.division,
                notes=self.notes,
            )  # fmt: skip
        elif distributed.is_main():
            report.write_unmeasured(self.folder, numbers, self.notes)
        rejected = [*self.divided.rejected, *self.data.rejected]
        if distributed.is_main():
            files.write_jsonl(self.folder / QUARANTINE_NAME, map(vars, rejected))
            corpora = {"target": self.data.target, "start": self.data.start}
            files.write_json(self.folder / CORPUS_NAME, corpus.describe(corpora, self.task.target))
        bootstrap = Bootstrap(self.task.params.evaluate.bootstrap_samples, self.task.params.seed)
        first, last = (results[0].scores, last_trained(results).scores) if results else (None, None)
        monitor = self.task.ranked(first.known if first else [])[0]
        return RunResult(
            task=self.task,
            folder=None if self._scratch else self.folder,
            measured_on=split,
            results=results,
            before=first.estimate(monitor, bootstrap) if first else None,
            after=last.estimate(monitor, bootstrap) if last else None,
            gain=last.difference(first, monitor, bootstrap) if first and last else None,
            last_model=models[-1][1],
            best_model=self.model_of(self._best(numbers)),
            cycles=numbers,
            rejected=rejected,
            notes=self.notes,
            scratch=self._scratch,
        )

    def _best(self, cycles: Sequence[Mapping[str, Any]]) -> int:
        """The model that is best on validation by the task's first metric; the last one without validation."""
        if "validation" not in self.data.target or not cycles:
            return len(cycles)
        start = self.task.load_model(self.model_of(0))
        loaded = self.data.load(self.task, start, "target", "validation")
        metric = METRICS[self.task.ranked(loaded.utterances.targets)[0]]
        before = steps.validate(self.task, start, {"target": loaded})
        rates = [numbers[f"{metric.key}_target_validation"] for numbers in (before, *cycles)]
        return (max if metric.higher_is_better else min)(range(len(rates)), key=lambda number: rates[number])

    def _split_rows(self) -> Iterator[dict[str, str]]:
        for split, clips in self.data.target.items():
            contents = self.contents["target"][split]
            for name, facts, content in zip(clips.ids, clips.facts, contents, strict=True):
                target = str(facts.get(self.task.target, ""))
                yield {"id": name, "split": split, "target": target, "content": content or ""}


def check_is_place(folder: Path | None) -> None:
    """Raise UserError, before any work, when no run can go to the folder, and none is there."""
    if folder is None or (folder / RECORD).is_file():
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} exists and holds no run of ours ({RECORD}): name a new or an empty folder")
    files.check_can_write(folder)


def check_goes_on(folder: Path, record: Mapping[str, Any]) -> None:
    """Raise UserError, with every difference, when the folder holds another run.

    A key of params.yaml that did not exist yet had its usual value.
    """
    if not (folder / RECORD).is_file():
        return
    usual = {f"params.{key}": value for key, value in defaults().leaves().items()}
    before, now = flat(read_record(folder)), flat(dict(record))
    before = {key: usual[key] for key in now.keys() & usual.keys()} | before
    different = [
        key
        for key in sorted(before.keys() | now.keys())
        if not key.startswith(_MAY_DIFFER) and before.get(key) != now.get(key)
    ]
    if different:
        shown = "; ".join(f"{key} was {_brief(before.get(key))}, is {_brief(now.get(key))}" for key in different)
        raise UserError(f"{folder} holds another run: {shown}. Name another folder, or remove this one")


def model_in(name: Path | str) -> Path | str:
    """Of a run's folder the model of its last cycle, or its start model; any other name of a model as it is."""
    place = Path(name)
    if not (place / RECORD).is_file():
        return name
    return max(place.glob("cycles/[0-9][0-9]"), default=place / "start")


def read_record(folder: Path) -> dict[str, Any]:
    """`run.json` of a run.

    Raises:
        UserError: when it is not one of ours, or of another version.
    """
    path = folder / RECORD
    record: dict[str, Any] = files.read_json(path)
    if not isinstance(record, dict) or record.get("version") != VERSION:
        raise UserError(f"{path} is of another program, or of another version of this one: name another folder")
    names = {each.name for each in fields(Reading)}
    for key in ("params", "reading"):
        value = record.get(key)
        if not isinstance(value, dict) or (key == "reading" and {*value, "several"} != names):
            raise UserError(f"{path} is damaged: {key} is not as it was written")
    return record


def _brief(value: Any) -> str:
    text = "absent" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:12]}…"


def digest_of(task: Task, clips: Clips, contents: Sequence[str | None]) -> str:
    """A hash of what a split consists of: names, targets and audio."""
    total = hashlib.sha256()
    for name, facts, content in zip(clips.ids, clips.facts, contents, strict=True):
        total.update(f"{name}\x1f{facts.get(task.target)}\x1f{content}\x1e".encode())
    return total.hexdigest()


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


@dataclass(frozen=True, repr=False)
class RunResult:
    """What a run came to.

    Attributes:
        folder: of the run; report.md in it is for the user. `None` when nothing was to be kept.
        measured_on: test, or validation where there is no test split; `None` where there are no clips but those of
            training, or none with a target: then there are no results.
        results: the start model, every cycle and the baselines on these clips.
        before, after: the task's first metric of the start model and of the last cycle.
        gain: the one less the other, with interval and p value (paired bootstrap over the clips).
        last_model: folder of the last cycle's model.
        best_model: folder of the model that is best on validation, which may be the start model; without validation
            split the last one.
        cycles: the numbers of each cycle, as in its metrics.json.
        rejected: clips that could not be used, with the reason.
        notes: what the user should know of the data.
    """

    task: Task
    folder: Path | None
    measured_on: str | None
    results: list[Result]
    before: Estimate | None
    after: Estimate | None
    gain: Comparison | None
    last_model: Path
    best_model: Path
    cycles: list[dict[str, Any]]
    rejected: list[Rejected]
    notes: list[str]
    scratch: Any = None  # a temporary folder with the models lives as long as this

    def __repr__(self) -> str:
        keys = self.task.ranked(self.scores.known) if self.results else ()
        rates = "; ".join(
            f"{result.label} {', '.join(METRICS[key].show(result.scores.value(key)) for key in keys)}"
            for result in shown(self.results)
        )
        return f"RunResult({self.measured_on}: {rates or 'not measured'}; folder {self.folder})"

    @property
    def model(self) -> Model:
        """Of the last cycle."""
        return self.task.load_model(self.last_model)

    @property
    def scores(self) -> Scores:
        """Of the last cycle's model."""
        return last_trained(self.results).scores

    @property
    def predictions(self) -> "pandas.DataFrame":
        """Of the last cycle's model on the clips that were measured."""
        return answers_table(self.scores)


def open_run(
    params: Params,
    sources: Sources,
    folder: Path | None,
    *,
    reading: Reading | None = None,
    rule: SplitRule | None = None,
    limit: int | None = None,
    split_seed: int | None = None,
    notes: Sequence[str] = (),
    say: Tell | None = None,
) -> Run:
    """Open data and model and see that they go together; nothing is written.

    Args:
        folder: `None` keeps nothing once the result is gone.
        reading, rule, notes: of a declaration: what is read of each clip, how clips are divided, and what the user
            should know.
        split_seed: of drawn splits; `None`: `corpus.seed`.
        say: takes a line for the user now and then.

    Raises:
        UserError: when data, model or numbers do not go together.
    """
    task = task_of(params)
    chosen, limits = reading or task.reading(), params.limits
    seed = params.corpus.seed if split_seed is None else split_seed
    divided = divide(task, sources, chosen, rule=rule, limit=limit, seed=seed, max_bad_fraction=limits.max_bad_fraction)
    divided.notes = [*notes, *divided.notes]
    data = Data(divided.parts, _replay(task, sources.replay, limit, seed, divided))
    if divided.language and not params.model.language and task.is_read("model.language"):
        task = task_of(changed(params, {"model.language": divided.language}))
        divided.notes.append(f"model.language: {divided.language}, the language of {divided.title}")
    return Run(task, divided, data, folder, chosen, say or (lambda line: None))


def _replay(task: Task, source: Any, limit: int | None, seed: int, divided: Divided) -> dict[Split, Clips]:
    """Training and validation clips of the start corpus."""
    if "start" not in task.corpora:
        return {}
    if source is None:
        lost = "what the model learned before may be lost"
        divided.notes.append(f"no replay dataset: train.replay_fraction is 0, and {lost}")
        return {}
    found = open_clips(source, Reading(task.target), limit=limit, seed=seed)
    parts = found.clips.by_split([split or "train" for split in found.splits])
    if "train" not in parts:
        raise UserError(f"{found.title}: no training clips to replay; it has {', '.join(parts)}")
    return {split: clips for split, clips in parts.items() if split != "test"}


def free_folder(folder: Path) -> Path:
    """Raise UserError when there is something in the folder: a finished one is not overwritten."""
    if folder.is_file():
        raise UserError(f"{folder} is a file: name a folder")
    if not folder.name:
        raise UserError(f"{folder}: name a folder of its own, it is moved to its place when it is complete")
    if folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty: name another folder, or remove it")
    files.check_can_write(folder)
    return folder


@dataclass(frozen=True, kw_only=True)
class AudioRAFTConfig:
    """A run of RAFT. `None` stands for the value of params.yaml, or of `params.sections.ALONE`.

    Attributes:
        model_name: local folder or hub id of the model to start from: a recogniser, or of the task classification a
            pretrained encoder.
        task: asr, classification.
        num_cycles: how often to sample, score, select and train.
        samples_per_prompt: answers sampled per clip and cycle.
        learning_rate: peak of cycle 1; one below `min_lr` takes that down with it where it is not given.
        lr_decay_per_cycle: factor on it from each cycle to the next.
        wer_threshold: a sample with at most this word error rate counts as solved.
        algorithm: raft, grpo, mwer, or one of the controls sft, self_training, random.
        seed: of batches and samples. `corpus.seed` decides which clips are drawn, so that runs with several seeds share
            one test set.
        output_dir: folder of the run; one that was killed goes on there. `None` keeps nothing.
        limit: at most so many clips of each split; `None`: all.
        params: any other number by its key in params.yaml: `{"train.rounds_per_cycle": 4}`.

    Raises:
        UserError: when there is no such task, or a number is not allowed; the message names every problem.
    """

    model_name: Path | str | None = None
    task: str = "asr"
    num_cycles: int | None = None
    samples_per_prompt: int | None = None
    temperature: float | None = None
    reward_threshold: float | None = None
    keep_top_percent: float | None = None
    learning_rate: float | None = None
    lr_decay_per_cycle: float | None = None
    min_lr: float | None = None
    batch_size: int | None = None
    gradient_accumulation_steps: int | None = None
    wer_threshold: float | None = None
    algorithm: str | None = None
    seed: int | None = None
    output_dir: Path | str | None = "runs/raft"
    limit: int | None = None
    params: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = ("limit", "output_dir", "model_name", "task", "params")
        check_keywords(**{name: getattr(self, name) for name in names})
        params = self.all_params()
        used: dict[str, Any] = {"num_cycles": params.train.cycles, "learning_rate": task_of(params).train.learning_rate}
        if task_class(self.task).is_read("model.revision"):
            used["model_name"] = params.model.checkpoint
        for name, value in used.items():  # what stands there is what the run uses
            object.__setattr__(self, name, value)

    @cached_property
    def given(self) -> dict[str, Any]:
        """The numbers that were given, by key."""
        own = ("model_name", "output_dir", "task", "num_cycles", "limit", "params")
        named = [(name, value) for name, value in vars(self).items() if name not in own]
        found = by_key([*named, ("cycles", self.num_cycles), *self.params.items()])
        task = task_class(self.task)
        if "train.learning_rate" in found and not task.is_read("train.learning_rate"):
            rate = found.pop("train.learning_rate")
            found = by_key([*found.items(), (task.rate, rate)])
        unread = [key for key in found if key in defaults().leaves() and not task.is_read(key)]
        if unread:
            raise ParamsError(f"{unread[0]}: without the pipeline a run of the task {self.task} does not read it")
        return found

    def all_params(self) -> Params:
        """The numbers of the run, in the shape of params.yaml."""
        model = None if self.model_name is None else str(model_in(self.model_name))
        task = task_class(self.task)
        usual = {"task": self.task, "train.cycles": ALONE["train.cycles"], **task.started_from(model)}
        found = {**usual, **self.given}
        rate = found.get(task.rate)
        if "train.min_lr" not in found and isinstance(rate, float):
            found["train.min_lr"] = min(rate, defaults().train.min_lr)
        return changed(defaults(), found)


class AudioRAFTTrainer:
    """Improves a pretrained model on recordings.

    Args:
        say: takes a line for the user now and then; without it the run is silent but for its progress bars.
    """

    def __init__(self, config: AudioRAFTConfig, *, say: Tell | None = None) -> None:
        if not isinstance(config, AudioRAFTConfig):
            raise UserError(f"config: got {config!r}; give an AudioRAFTConfig")
        self.config = config
        self.say = say

    def train(self, dataset: Any, validation: Any = None, test: Any = None, *, replay_dataset: Any = None) -> RunResult:
        """Train the cycles that the run's folder lacks, then measure the start model and every cycle.

        Args:
            dataset: what `open_clips` takes: a corpus that `soundraft datasets list` names, a folder or list of
                recordings, an `AudioDataset`, samples, a table. It brings the splits that it has; those that it lacks
                are drawn from its training clips.
            validation, test: in place of its own: of a named corpus that split, of anything else all clips.
            replay_dataset: what the model learned before; a share of each cycle is its clips with their targets.

        Raises:
            UserError: when data, model or numbers do not go together, or the folder holds another run.
        """
        return self.open(dataset, validation, test, replay_dataset=replay_dataset).train()

    def open(self, dataset: Any, validation: Any = None, test: Any = None, *, replay_dataset: Any = None) -> Run:
        """Open data and model and see that they go together; nothing is written."""
        folder = None if self.config.output_dir is None else Path(self.config.output_dir)
        check_is_place(folder)
        given, params = self.config.given, self.config.all_params()
        suited = {key: value for key, value in task_of(params).suited().items() if key not in given}
        notes = [", ".join(f"{key} {value}" for key, value in suited.items()) + ", to suit the model"] if suited else []
        params = changed(params, suited)
        if replay_dataset is None:
            if self.config.params.get("train.replay_fraction"):
                raise UserError("train.replay_fraction is given, but no replay dataset: name one, or leave it out")
            params = changed(params, {"train.replay_fraction": 0.0})
        sources = Sources(dataset, validation, test, replay_dataset)
        return open_run(params, sources, folder, limit=self.config.limit, notes=notes, say=self.say)


def fit(
    config: Path | str | Mapping[str, Any] | Declared,
    train_df: Any,
    val_df: Any = None,
    test_df: Any = None,
    *,
    extra_df: Any = None,
    limit: int | None = None,
    output_dir: Path | str | None = None,
    seed: int = 0,
    say: Tell | None = None,
) -> RunResult:
    """Train and test a classifier that is declared in the form of `tasks.declaration`.

    Args:
        config: the declaration: a yaml file, or what stands in one.
        train_df: clips: a data frame, a table's path, a corpus by name, a folder; what `open_clips` takes. Splits that
            are not given are those of its column `split`, else they are drawn from it.
        val_df, test_df: the same for validation and test.
        extra_df: more clips to learn from, all of them, never for validation or test.
        limit: at most so many clips of each split, before splits are drawn; `None`: all.
        output_dir: of the run; without one nothing is kept once the result is gone.
        seed: of drawn splits, weights and batches.
        say: takes a line for the user now and then.

    Raises:
        UserError: when the declaration, the data or the folder cannot be used; the message says why.
        FloatingPointError: when the loss is not finite.
    """
    check_keywords(limit=limit, output_dir=output_dir, seed=seed)
    declared = config if isinstance(config, Declared) else read_declaration(config)
    if declared.folds:
        raise UserError(f"the declaration asks for folds ({declared.folds}): cross_validate does that, fit trains once")
    sources = Sources(train_df, val_df, test_df, extra=extra_df)
    folder = None if output_dir is None else Path(output_dir)
    check_is_place(folder)
    return open_run(
        declared.params(seed), sources, folder, reading=declared.reading(), rule=declared.split, limit=limit,
        split_seed=seed, notes=declared.notes, say=say,
    ).train()  # fmt: skip
