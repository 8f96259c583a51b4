"""What a training run by name is told, and the params that this makes together with the defaults of params.yaml."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from soundraft import distributed, files, models, runtime
from soundraft.audio.features import Alteration
from soundraft.clips import recordings
from soundraft.clips.batches import Utterances
from soundraft.clips.decoding import transcribe
from soundraft.clips.recordings import Corpus, Loaded, Source
from soundraft.corpora.base import AudioSample
from soundraft.evaluation import report
from soundraft.evaluation.report import TEXT_COLUMNS
from soundraft.evaluation.results import START, TRAINED, Model, Result, last_trained
from soundraft.evaluation.scores import Estimate, Scores, score_texts, snapped
from soundraft.manifest import QUARANTINE_NAME, Rejected, Split, check_bad_fraction
from soundraft.metrics.resampling import Bootstrap, Comparison
from soundraft.metrics.text import NORMALIZERS, VocabularySnapper
from soundraft.models import ModelError, Recognizer
from soundraft.params import ParamsError, changed, defaults
from soundraft.params.sections import Params
from soundraft.runtime import UserError
from soundraft.tasks import steps as raft_cycle
from soundraft.tasks.asr import Recognition
from soundraft.tasks.steps import Inputs, Rules
from soundraft.training import raft
from soundraft.training.raft import Target

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


# `run.json`: what a run was made of. A run goes on in its folder only with the same model, data and numbers.


RECORD = "run.json"
VERSION = 1
_MAY_DIFFER = ("notes", "params.train.cycles")  # a run may be made longer, or read again with fewer cycles


def weights_digest(recognizer: Recognizer) -> str:
    """A hash of a model's weights, wherever they were loaded from."""
    digest = hashlib.sha256()
    for name, weights in sorted(recognizer.model.state_dict().items()):
        digest.update(f"{name}{tuple(weights.shape)}{weights.dtype}".encode())
        digest.update(weights.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def start(folder: Path, record: Mapping[str, Any]) -> None:
    """Write the record of a new run, or compare it with the one that is there.

    Raises:
        UserError: when the folder holds another run, or something else; every difference is named.
    """
    check_goes_on(folder, record)
    distributed.wait_for_everyone()  # the others must have looked before there is something new to see
    if distributed.is_main():
        files.write_json(folder / RECORD, {"version": VERSION, **record})
    distributed.wait_for_everyone()


def check_goes_on(folder: Path, record: Mapping[str, Any]) -> None:
    """Raise UserError when the folder holds another run, or something else."""
    path = folder / RECORD
    if not path.is_file():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UserError(f"{folder} is there and holds no run of ours ({RECORD}): name a new or an empty folder")
        return
    earlier = files.read_json(path)
    if earlier.get("version") != VERSION:
        raise UserError(f"{path}: version {earlier.get('version')}; this is version {VERSION}: name another folder")
    before, now = _flat(earlier), _flat({"version": VERSION, **record})
    different = [
        key
        for key in sorted(before.keys() | now.keys())
        if not key.startswith(_MAY_DIFFER) and before.get(key) != now.get(key)
    ]
    if different:
        told = "; ".join(f"{key} was {_brief(before.get(key))}, is {_brief(now.get(key))}" for key in different)
        raise UserError(f"{folder} holds another run: {told}. Name another folder, or remove this one")


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    found: dict[str, Any] = {}
    for key, inner in value.items():
        found |= _flat(inner, f"{prefix}.{key}" if prefix else key)
    return found


def _brief(value: Any) -> str:
    text = "absent" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:12]}…"


# What a run learns from and is measured on: its splits, opened, checked and made ready for a model.


@dataclass
class RunData:
    """The splits of a run by name: train, and where there are such, validation, test, replay and replay validation.

    Attributes:
        title: what the training corpus is called.
        language: code of its language, where that is known, else empty.
        reads_transcripts: whether training clips need a text; those of the other splits always do.
        notes: what a person should know of how they came about.
        rejected: clips that could not be used, of the splits loaded so far.
    """

    title: str
    language: str
    splits: dict[str, list[AudioSample]]
    reads_transcripts: bool = True
    notes: list[str] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    _loaded: dict[str, Loaded] = field(default_factory=dict)

    def load(self, name: str, recognizer: Recognizer, params: Params, altered: Sequence[Alteration] = ()) -> Loaded:
        """The clips of a split with features; read once.

        Args:
            altered: as of `recordings.load`; the same each time.

        Raises:
            UserError: when more of it is bad than `limits.max_bad_fraction` allows.
        """
        if name not in self._loaded:
            normalize = NORMALIZERS[params.reward.normalizer]
            loaded = recordings.load(
                self.splits[name],
                recognizer,
                normalize,
                title=name,
                altered=altered,
                needs_texts=self.reads_transcripts or name != "train",
            )
            check_bad_fraction(len(loaded.clips), loaded.rejected, params.limits.max_bad_fraction)
            self.rejected += loaded.rejected
            self._loaded[name] = loaded
        return self._loaded[name]

    @property
    def is_loaded(self) -> bool:
        """Whether every split was read, so that `rejected` is complete."""
        return self._loaded.keys() == self.splits.keys()

    def texts(self, name: str, params: Params) -> list[str]:
        """The normalised texts of a split, without those of clips that have none."""
        normalize = NORMALIZERS[params.reward.normalizer]
        return [normalize(sample.text) for sample in self.splits.get(name, []) if sample.text is not None]

    def record(self) -> dict[str, Any]:
        """What tells the data of one run from that of another."""
        return {
            name: {"clips": len(samples), "digest": recordings.digest(samples)} for name, samples in self.splits.items()
        }


def open_run_data(
    dataset: Source,
    validation: Source | None,
    test: Source | None,
    replay: Source | None,
    *,
    limit: int | None,
    seed: int,
    reads_transcripts: bool = True,
) -> RunData:
    """Open what a run needs. A corpus without validation split lends a part of its training clips.

    A run that reads no transcripts takes training clips without text, and goes without validation where none has one.

    Raises:
        UserError: when something is not there, or a split has no clips.
    """
    corpus = recordings.open_source(dataset, limit=limit, seed=seed, unlabelled=not reads_transcripts)
    train = corpus.splits.get("train", [])
    if not train:
        raise UserError(f"{corpus.title}: no training clips; it has {', '.join(corpus.splits)}")
    data = RunData(corpus.title, corpus.language, {}, reads_transcripts)
    others: dict[Split, Source | None] = {"validation": validation, "test": test}
    for split, source in others.items():
        found = _own(corpus, split, data) if source is None else _named_split(source, split, limit, seed)
        if found:
            data.splits[split] = found
    if "validation" not in data.splits:
        train = _lend_validation(train, seed, data)
    if "test" not in data.splits and "validation" in data.splits:
        data.notes.append("no test split: results are on validation, which also chooses the best model")
    elif "test" not in data.splits:
        data.notes.append("no test split: nothing is measured; give test or validation clips with texts")
    data.splits = {"train": train, **data.splits} | _replay_splits(replay, limit, seed)
    if replay is None:
        data.notes.append("no replay dataset: train.replay_fraction is 0, and what the model knew before may be lost")
    for name, samples in data.splits.items():
        recordings.check_names(samples, f"{corpus.title}, {name}")
    return data


def check_spelling(data: RunData, recognizer: Recognizer, params: Params) -> None:
    """Find texts with characters that the model cannot write; a note, or where texts are learned, an error.

    Raises:
        UserError: when the transcripts are to be learned, or those of the replay dataset.
    """
    features = recordings.first_features(data.splits.get("validation", data.splits["train"]), recognizer)
    learned = learns_transcripts(params)
    for name in ("train", "replay"):
        texts = data.texts(name, params)
        lacking = unspellable(recognizer, features, texts)
        count = sum(not lacking.isdisjoint(text) for text in texts)
        if count:
            shown = " ".join(sorted(lacking))
            said = f"{name}: {count} of {len(texts)} texts have characters that the model cannot write: {shown}"
            if name == "replay" or learned:
                raise UserError(f"{said}; reward.normalizer: basic may help")
            data.notes.append(f"{said}; such words always count as errors")


def unspellable(recognizer: Recognizer, features: torch.Tensor, texts: Sequence[str]) -> set[str]:
    """The characters of the texts that the model's vocabulary lacks.

    Args:
        features: of any clip.
    """
    characters = sorted(set("".join(texts)) - {" "})
    return {item for part in _lacking(characters, _can_write(recognizer, features)) for item in part}


def _can_write(recognizer: Recognizer, features: torch.Tensor) -> Callable[[Sequence[str]], bool]:
    def can_write(characters: Sequence[str]) -> bool:
        try:
            with torch.inference_mode():
                recognizer.score([features], [[" ".join(characters)]])
        except ModelError:
            return False
        return True

    return can_write


def _lacking(characters: Sequence[str], can_write: Callable[[Sequence[str]], bool]) -> Iterator[Sequence[str]]:
    """Those that cannot be written, found by halving."""
    if not characters or can_write(characters):
        return
    if len(characters) == 1:
        yield characters
        return
    middle = len(characters) // 2
    yield from _lacking(characters[:middle], can_write)
    yield from _lacking(characters[middle:], can_write)


def _own(corpus: Corpus, split: Split, data: RunData) -> list[AudioSample]:
    """The corpus's own clips of a split; of one that may lack texts those that have one."""
    found = corpus.splits.get(split, [])
    if data.reads_transcripts:
        return found
    labelled = [sample for sample in found if sample.text is not None]
    if len(labelled) < len(found):
        bare = len(found) - len(labelled)
        data.notes.append(f"{split}: {bare} of {len(found)} clips have no text and are left out")
    return labelled


def _lend_validation(train: list[AudioSample], seed: int, data: RunData) -> list[AudioSample]:
    """Draw the validation split from the training clips with a text; what remains of all of them.

    Raises:
        UserError: when they are too few, and the run reads transcripts.
    """
    bare = [] if data.reads_transcripts else [sample for sample in train if sample.text is None]
    labelled = [sample for sample in train if sample.text is not None] if bare else train
    try:
        rest, drawn, by = recordings.draw_validation(labelled, seed)
    except UserError:
        if data.reads_transcripts:
            raise
        data.notes.append(
            f"no validation split, and {len(labelled)} training clips with a text are too few to draw one from: "
            "cycles are not validated, and the last model counts as the best"
        )
        return train
    data.splits["validation"] = drawn
    data.notes.append(
        f"no validation split: {len(drawn)} of the {len(labelled)} training clips{' with a text' if bare else ''} "
        f"were drawn for it, by {by}"
    )
    return [*rest, *bare]


def _named_split(source: Source, name: Split, limit: int | None, seed: int) -> list[AudioSample]:
    """A corpus of the registry gives its split of this name, everything else all that it has."""
    corpus = recordings.open_source(source, limit=limit, seed=seed)
    found = corpus.splits.get(name, []) if _is_named(source) else recordings.all_of(corpus)
    if not found:
        raise UserError(f"{corpus.title}: no {name} clips; it has {', '.join(corpus.splits)}")
    return found


def _is_named(source: Source) -> bool:
    from soundraft.corpora import CORPORA

    return isinstance(source, str) and source in CORPORA


def _replay_splits(replay: Source | None, limit: int | None, seed: int) -> dict[str, list[AudioSample]]:
    if replay is None:
        return {}
    corpus: Corpus = recordings.open_source(replay, limit=limit, seed=seed)
    if not corpus.splits.get("train"):
        raise UserError(f"{corpus.title}: no training clips to replay; it has {', '.join(corpus.splits)}")
    found = {"replay": corpus.splits["train"]}
    return found | ({"replay_validation": corpus.splits["validation"]} if corpus.splits.get("validation") else {})


# What a run came to: the start model and every cycle on one split, as files and as a result for Python code.


TRANSCRIPTS = "transcripts"


@dataclass(frozen=True)
class TrainingResult:
    """What a run came to.

    Attributes:
        folder: of the run; report.md in it is for people.
        measured_on: test, or validation where there is no test split; `None` where no clips but those of training
            are there or have texts: then there are no rates and no gain.
        wer_before, wer_after: of the start model and of the last cycle's, on that split.
        gain: how much lower the error rate became, with interval and p value (paired bootstrap over the clips).
        last_model: folder of the last cycle's model; `AutoProcessor` and `AutoModelFor…` load it.
        best_model: folder of the model with the lowest error rate on validation, which may be the start model; without
            validation split the last one.
        cycles: the numbers of each cycle, as in its metrics.json: rewards, kept share, loss, validation WER and CER.
        notes: what a person should know of the data.
    """

    folder: Path
    measured_on: str | None
    wer_before: Estimate | None
    wer_after: Estimate | None
    gain: Comparison | None
    last_model: Path
    best_model: Path
    cycles: list[dict[str, Any]]
    notes: list[str]


def transcripts_of(folder: Path, split: str, number: int, model: Path, clips: Utterances) -> list[str]:
    """What a model hears in a split; heard once, then read from the run's folder."""
    path = _transcripts_path(folder, split, number)
    if path.is_file():
        texts: list[str] = files.read_json(path)
        return texts
    texts = transcribe(models.load_recognizer(model), clips, title=f"{split}, cycle {number}")
    if distributed.is_main():
        files.write_json(path, texts)
    distributed.wait_for_everyone()
    return texts


def rows_of(
    heard: Mapping[int, Scores], kept: Mapping[int, Scores], *, algorithm: str, vocabulary: Sequence[str]
) -> list[Result]:
    """One result a model, by cycle; 0 is the start model.

    Args:
        heard: the split that is reported.
        kept: validation of the replay dataset; empty where there is none.
        vocabulary: words to which those heard are snapped, for comparison; without any, nothing is snapped.
    """
    snapper = VocabularySnapper(vocabulary) if vocabulary else None
    results = []
    for number, scores in sorted(heard.items()):
        model = Model(TRAINED, algorithm, number) if number else Model(START, START, 0)
        others = {"snapped": snapped(scores, snapper)} if snapper else {}
        others |= {"start_corpus": kept[number]} if number in kept else {}
        results.append(Result(model, scores, others))
    return results


def write(
    folder: Path, results: Sequence[Result], bootstrap: Bootstrap, *, split: str, notes: Sequence[str], top: int
) -> None:
    """report.md, metrics.json, predictions.parquet, curves and errors of a run."""
    gained = difference(results, bootstrap)
    lines = [
        f"# {split.capitalize()} split, {len(results[0].scores)} clips",
        "",
        report.table(results, TEXT_COLUMNS, bootstrap),
        "",
        f"The last cycle against the start model, by paired bootstrap over the clips: {describe_gain(gained)}.",
        "",
        *(f"- {note}" for note in notes),
    ]
    text = "\n".join(lines).rstrip() + "\n"
    numbers = {"p_value": gained.p_value}
    report.write(folder, results, TEXT_COLUMNS, bootstrap, text=text, top=top, numbers=numbers)


def write_unmeasured(folder: Path, cycles: Sequence[Mapping[str, Any]], notes: Sequence[str]) -> None:
    """report.md and metrics.json of a run that has no clips to measure on: what its reward said."""
    head = ("cycle", "reward of all samples", "of the kept ones", "clips with a kept one")
    rows = [
        (str(number), *(_number(numbers[key]) for key in ("reward_mean", "reward_kept", "kept_share")))
        for number, numbers in enumerate(cycles, start=1)
    ]
    table = [f"| {' | '.join(cells)} |" for cells in (head, ("---",) * len(head), *rows)]
    lines = ["# Nothing was measured: no clips with texts", "", *table, "", *(f"- {note}" for note in notes)]
    files.write_text(folder / "report.md", "\n".join(lines).rstrip() + "\n")
    files.write_json(folder / "metrics.json", {"cycles": len(cycles), **(cycles[-1] if cycles else {})})


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"


def difference(results: Sequence[Result], bootstrap: Bootstrap) -> Comparison:
    """Of the start model and the last cycle's."""
    return results[0].scores.difference(last_trained(results).scores, "wer", bootstrap)


def describe_gain(gain: Comparison) -> str:
    """Such as `4.2 points lower [3.1–5.5], p = 0.001`."""
    points = [100 * value for value in (gain.difference, gain.low, gain.high)]
    lower = gain.difference >= 0
    middle, low, high = points if lower else (-points[0], -points[2], -points[1])
    return f"{middle:.1f} points {'lower' if lower else 'higher'} [{low:.1f} to {high:.1f}], p = {gain.p_value:.2g}"


def _transcripts_path(folder: Path, split: str, number: int) -> Path:
    return folder / TRANSCRIPTS / f"{number:02d}-{split}.json"


# RAFT from Python, on recordings as they are: `AudioRAFTTrainer(AudioRAFTConfig(…)).train("librispeech")`.
#
# What a stage of the pipeline calls for a cycle is called here too; only the data come straight from the audio, without
# tokens and dataset in between.
#
#     OUTPUT/run.json             what the run was made of: model, data, numbers
#     OUTPUT/start/               the start model, pinned
#     OUTPUT/cycles/NN/           each cycle's model, rollouts.parquet, metrics.json
#     OUTPUT/transcripts/         what each model hears in the splits that it is measured on
#     OUTPUT/report.md, metrics.json, predictions.parquet, curves.csv, confusions.csv, worst_clips.csv, quarantine.jsonl


class AudioRAFTTrainer:
    """Improves a pretrained recogniser on recordings.

    Args:
        tell: takes a line for a person now and then; without it the run is silent but for its progress bars.
    """

    def __init__(self, config: AudioRAFTConfig, *, tell: Callable[[str], None] | None = None) -> None:
        self.config = config
        self.tell: Callable[[str], None] = tell or (lambda _: None)

    def train(
        self,
        dataset: Source,
        validation: Source | None = None,
        test: Source | None = None,
        *,
        replay_dataset: Source | None = None,
    ) -> TrainingResult:
        """Train the cycles that the run's folder lacks, then measure the start model and every cycle.

        Args:
            dataset: a corpus that `soundraft datasets list` names, a folder or list of recordings, an `AudioDataset`,
                or samples. It brings the splits that it has; without validation a part of train is taken.
            validation, test: in place of its own: of a named corpus that split, of anything else all clips.
            replay_dataset: what the model knew before; a share of each cycle is its clips with their transcripts.

        Raises:
            UserError: when data, model or numbers do not go together, or the folder holds another run.
        """
        run = open_run(self.config, dataset, validation, test, replay_dataset)
        for note in run.data.notes:
            self.tell(note)
        start(run.folder, run.record())
        for cycle in range(1, run.params.train.cycles + 1):
            run.train_cycle(cycle, self.tell)
        result = run.measure()
        self.tell(
            f"{result.measured_on}: WER {result.wer_before} → {result.wer_after}"
            if result.measured_on
            else "nothing was measured: no clips with texts beside the training clips"
        )
        return result


def open_run(
    config: AudioRAFTConfig, dataset: Source, validation: Source | None, test: Source | None, replay: Source | None
) -> "Run":
    """Open data and model and see that they go together; nothing is written."""
    params = config.all_params()
    params = _without_replay(config, params) if replay is None else params
    data = open_run_data(
        dataset,
        validation,
        test,
        replay,
        limit=config.limit,
        seed=params.corpus.seed,
        reads_transcripts=reads_transcripts(params),
    )
    language = params.model.language or data.language
    recognizer = models.load_recognizer(
        config.model_name, revision=params.model.revision or None, language=language or None
    )
    if language and not params.model.language:
        data.notes.append(f"model.language: {language}, the language of {data.title}")
    check_spelling(data, recognizer, params)
    return Run(Path(config.output_dir), config.model_name, params, data, recognizer)


class Run:
    """One run: its data, its start model, and the folder where it goes on."""

    def __init__(self, folder: Path, model_name: str, params: Params, data: RunData, recognizer: Recognizer) -> None:
        self.folder = folder
        self.model_name = model_name
        self.params = params
        self.data = data
        self.recognizer = recognizer  # the start model
        subject = Recognition(params.reward.model_dump(), texts=data.texts("replay", params))
        self.rules = Rules.of(subject, params.train.model_dump(), seed=params.seed)

    def record(self) -> dict[str, Any]:
        """What `run.json` holds."""
        return {
            "model": {"name": self.model_name, "weights": weights_digest(self.recognizer)},
            "data": {"title": self.data.title, "splits": self.data.record()},
            "params": leaves_read(self.params),
            "notes": self.data.notes,
        }

    def clips(self, split: str) -> Utterances:
        return self.data.load(split, self.recognizer, self.params).clips

    def model_of(self, cycle: int) -> Path:
        """The folder of a cycle's model; 0 is the start model."""
        return self.folder / "cycles" / f"{cycle:02d}" if cycle else self.folder / "start"

    def train_cycle(self, cycle: int, tell: Callable[[str], None]) -> None:
        """Train a cycle on from the one before, unless its folder is there."""
        out, algorithm = self.model_of(cycle), self.params.train.algorithm
        if not _is_missing(out):
            tell(f"{algorithm} {cycle:02d}: done before")
            return
        self.pin_start()
        with distributed.building(out) as scratch:
            metrics, _ = raft_cycle.improve(
                self.model_of(cycle - 1),
                scratch,
                self.inputs(cycle),
                self.rules,
                algorithm=algorithm,
                cycle=cycle,
                base=self.model_of(0),
            )
        tell(raft_cycle.describe(self.rules, algorithm, cycle, metrics))

    def inputs(self, cycle: int) -> Inputs:
        train = self.data.load("train", self.recognizer, self.params, self.rules.subject.altered)
        replay = None
        if "replay" in self.data.splits:
            clips = self.clips("replay")
            drawn = raft.draw_replay(len(clips), self.rules.settings, seed=self.rules.seed, cycle=cycle)
            replay = clips.part(drawn)
        validation = {"target": self.clips("validation")} if "validation" in self.data.splits else {}
        if "replay_validation" in self.data.splits:
            validation["start"] = self.clips("replay_validation")
        return Inputs(Target(train.clips, train.durations_s, train.perturbed), replay, validation)

    def measure(self) -> TrainingResult:
        """Transcripts of start and every cycle; the files that come of them, and the result."""
        self.pin_start()
        split = next((name for name in ("test", "validation") if name in self.data.splits), None)
        if split is None:
            return self._unmeasured()
        heard = self._scored(split)
        kept = self._scored("replay_validation") if "replay_validation" in self.data.splits else {}
        rows = rows_of(heard, kept, algorithm=self.params.train.algorithm, vocabulary=self._vocabulary())
        evaluate = self.params.evaluate
        bootstrap = Bootstrap(evaluate.bootstrap_samples, self.params.seed)
        if distributed.is_main():
            write(self.folder, rows, bootstrap, split=split, notes=self.data.notes, top=evaluate.table_rows)
            self._write_quarantine()
        cycles = self._cycles()
        return TrainingResult(
            folder=self.folder,
            measured_on=split,
            wer_before=rows[0].scores.estimate("wer", bootstrap),
            wer_after=rows[-1].scores.estimate("wer", bootstrap),
            gain=difference(rows, bootstrap),
            last_model=self.model_of(rows[-1].model.cycle),
            best_model=self.model_of(self._best(heard if split == "validation" else None, cycles)),
            cycles=cycles,
            notes=self.data.notes,
        )

    def _unmeasured(self) -> TrainingResult:
        """A run without any clips whose texts are known."""
        cycles = self._cycles()
        if distributed.is_main():
            write_unmeasured(self.folder, cycles, self.data.notes)
            self._write_quarantine()
        last = self.model_of(len(cycles))
        return TrainingResult(self.folder, None, None, None, None, last, last, cycles, self.data.notes)

    def _cycles(self) -> list[dict[str, Any]]:
        """The numbers of each cycle."""
        numbers = range(1, self.params.train.cycles + 1)
        return [files.read_json(self.model_of(number) / "metrics.json") for number in numbers]

    def _best(self, heard: Mapping[int, Scores] | None, cycles: Sequence[Mapping[str, Any]]) -> int:
        """The cycle with the lowest error rate on validation; the last one where there is no validation.

        Args:
            heard: validation as scored already.
        """
        if "validation" not in self.data.splits:
            return len(cycles)
        before = (heard or self._scored("validation", only_start=True))[0].value("wer")
        rates = [before, *(numbers["wer_target_validation"] for numbers in cycles)]
        return min(range(len(rates)), key=lambda number: rates[number])

    def _vocabulary(self) -> list[str]:
        """What a snapper may know: of a run without transcripts no word of the target's."""
        known = "replay" if self.params.reward.kind == "unsupervised" else "train"
        return [word for text in self.data.texts(known, self.params) for word in text.split()]

    def _scored(self, split: str, *, only_start: bool = False) -> dict[int, Scores]:
        """By cycle, 0 the start model."""
        numbers = range(1 if only_start else self.params.train.cycles + 1)
        clips = self.clips(split)
        texts = {number: transcripts_of(self.folder, split, number, self.model_of(number), clips) for number in numbers}
        normalize = NORMALIZERS[self.params.reward.normalizer]
        return {
            number: score_texts(ids=clips.ids, references=clips.texts, hypotheses=found, normalizer=normalize)
            for number, found in texts.items()
        }

    def _write_quarantine(self) -> None:
        """What could not be used; after a resumption that did not need every split the earlier list stands."""
        if self.data.is_loaded:
            rows = sorted(self.data.rejected, key=lambda item: (item.id, item.path))
            files.write_jsonl(self.folder / QUARANTINE_NAME, map(vars, rows))

    def pin_start(self) -> None:
        """Keep the start model as it was when the run began."""
        if not _is_missing(self.model_of(0)):
            return
        with distributed.building(self.model_of(0)) as out:
            if distributed.is_main():
                runtime.seed_torch(self.params.seed)
                self.recognizer.save(out)


def _is_missing(folder: Path) -> bool:
    """Whether a folder is not there, before any process makes it."""
    missing = not folder.is_dir()
    distributed.wait_for_everyone()
    return missing


def _without_replay(config: AudioRAFTConfig, params: Params) -> Params:
    if config.params.get("train.replay_fraction"):
        given = config.params["train.replay_fraction"]
        raise UserError(
            f"train.replay_fraction: got {given}, but there is no replay dataset: name one, or leave it out"
        )
    return changed(params, {"train.replay_fraction": 0.0})
