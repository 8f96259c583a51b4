"""RAFT from Python, on recordings as they are: `AudioRAFTTrainer(AudioRAFTConfig(…)).train("librispeech")`.

What a stage of the pipeline calls for a cycle is called here too; only the data come straight from the audio, without
tokens and dataset in between.

    OUTPUT/run.json             what the run was made of: model, data, numbers
    OUTPUT/start/               the start model, pinned
    OUTPUT/cycles/NN/           each cycle's model, rollouts.parquet, metrics.json
    OUTPUT/transcripts/         what each model hears in the splits that it is measured on
    OUTPUT/report.md, metrics.json, predictions.parquet, curves.csv, confusions.csv, worst_clips.csv, quarantine.jsonl
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from soundraft import distributed, files, models, runtime
from soundraft.dataset.loader import Utterances
from soundraft.evaluation.recognition import Scored
from soundraft.evaluation.report import Bootstrap
from soundraft.manifest import QUARANTINE_NAME
from soundraft.models import Recognizer
from soundraft.params import changed
from soundraft.params.sections import Params
from soundraft.runtime import UserError
from soundraft.tasks import cycle as raft_cycle
from soundraft.tasks import outcome, run_record
from soundraft.tasks.asr_cycle import Recognition
from soundraft.tasks.cycle import Inputs, Rules
from soundraft.tasks.outcome import TrainingResult
from soundraft.tasks.recordings import Source
from soundraft.tasks.run_data import RunData, check_spelling, open_run_data
from soundraft.tasks.trainer_config import AudioRAFTConfig, leaves_read, reads_transcripts
from soundraft.training import raft
from soundraft.training.raft import Target


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
        run_record.start(run.folder, run.record())
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
            "model": {"name": self.model_name, "weights": run_record.weights_digest(self.recognizer)},
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
        rows = outcome.rows_of(heard, kept, algorithm=self.params.train.algorithm, vocabulary=self._vocabulary())
        evaluate = self.params.evaluate
        bootstrap = Bootstrap(evaluate.bootstrap_samples, self.params.seed)
        if distributed.is_main():
            outcome.write(self.folder, rows, bootstrap, split=split, notes=self.data.notes, top=evaluate.table_rows)
            self._write_quarantine()
        cycles = self._cycles()
        return TrainingResult(
            folder=self.folder,
            measured_on=split,
            wer_before=outcome.rate(rows[0], bootstrap),
            wer_after=outcome.rate(rows[-1], bootstrap),
            gain=outcome.difference(rows, bootstrap),
            last_model=self.model_of(rows[-1].cycle),
            best_model=self.model_of(self._best(heard if split == "validation" else None, cycles)),
            cycles=cycles,
            notes=self.data.notes,
        )

    def _unmeasured(self) -> TrainingResult:
        """A run without any clips whose texts are known."""
        cycles = self._cycles()
        if distributed.is_main():
            outcome.write_unmeasured(self.folder, cycles, self.data.notes)
            self._write_quarantine()
        last = self.model_of(len(cycles))
        return TrainingResult(self.folder, None, None, None, None, last, last, cycles, self.data.notes)

    def _cycles(self) -> list[dict[str, Any]]:
        """The numbers of each cycle."""
        numbers = range(1, self.params.train.cycles + 1)
        return [files.read_json(self.model_of(number) / "metrics.json") for number in numbers]

    def _best(self, heard: Mapping[int, Scored] | None, cycles: Sequence[Mapping[str, Any]]) -> int:
        """The cycle with the lowest error rate on validation; the last one where there is no validation.

        Args:
            heard: validation as scored already.
        """
        if "validation" not in self.data.splits:
            return len(cycles)
        before = (heard or self._scored("validation", only_start=True))[0].wer
        rates = [before, *(numbers["wer_target_validation"] for numbers in cycles)]
        return min(range(len(rates)), key=lambda number: rates[number])

    def _vocabulary(self) -> list[str]:
        """What a snapper may know: of a run without transcripts no word of the target's."""
        known = "replay" if self.params.reward.kind == "unsupervised" else "train"
        return [word for text in self.data.texts(known, self.params) for word in text.split()]

    def _scored(self, split: str, *, only_start: bool = False) -> dict[int, Scored]:
        """By cycle, 0 the start model."""
        numbers = range(1 if only_start else self.params.train.cycles + 1)
        clips = self.clips(split)
        texts = {
            number: outcome.transcripts_of(self.folder, split, number, self.model_of(number), clips)
            for number in numbers
        }
        return {
            number: outcome.scored_texts(clips, heard, self.params.reward.normalizer) for number, heard in texts.items()
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
