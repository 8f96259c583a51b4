"""`soundraft transcribe`: recordings of any length to text."""

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from soundraft import files
from soundraft.cli.options import (
    MODEL_LANGUAGE,
    OPTIONS,
    Command,
    add_choice,
    dataset_of,
    load_model,
    positive,
    print_each,
    tell,
)
from soundraft.manifest import Split
from soundraft.parallel import BadClip, Failure, attempt
from soundraft.params import changed, defaults
from soundraft.params.sections import RewardParams
from soundraft.runtime import UserError
from soundraft.tables import columns

if TYPE_CHECKING:
    from soundraft.models import Recognizer
    from soundraft.models.longform import Segment

    Decoder = Callable[[Any], list[str]]
    from soundraft.tasks.classifier_run import ClassifierResult


FORMATS = ("txt", "json", "srt")


def transcribe_options(options: argparse.ArgumentParser) -> None:
    add = options.add_argument
    add("files", nargs="+", type=Path, metavar="FILE", help="recordings of any length: wav, flac, ogg, mp3, …")
    add("--model", required=True, metavar="FOLDER_OR_ID", help="a local folder or a hub id")
    add("--format", choices=FORMATS, default="txt", help="a line a segment, segments with times, subtitles (txt)")
    add("--output", type=Path, metavar="FOLDER", help="a file for each recording there (to the screen)")
    add("--beam", type=positive, metavar="WIDTH", help="beam search that keeps WIDTH texts, for CTC models (greedy)")
    add("--language", metavar="CODE", help="what a multilingual Whisper transcribes, such as en (what it remembers)")


def transcribe(given: argparse.Namespace) -> None:
    """Transcribe each file; bad ones are told with their reason, the others are done."""
    from soundraft.evaluation.scores import WRITERS

    if given.output is None and given.format != "txt" and len(given.files) > 1:
        raise UserError(f"several files as {given.format} need --output FOLDER")
    places = _places(given.files, given.output, given.format) if given.output else {}
    recognizer = load_model(given.model, given)
    decoder = _beam(recognizer, given.beam) if given.beam else None
    failed = 0
    for file in given.files:
        found = attempt(partial(_segments, recognizer, decoder), file)
        if isinstance(found, Failure):
            failed += 1
            print(f"{file}: {found.reason}", file=sys.stderr)
            continue
        text = WRITERS[given.format](found)
        if given.output:
            files.write_text(places[file], text)
            print(f"{places[file]}: {len(found)} segments")
        else:
            print(f"{file}:\n{text}" if len(given.files) > 1 else text, end="")
    if failed:
        sys.exit(f"soundraft transcribe: {failed} of {len(given.files)} files could not be transcribed")


def _beam(recognizer: "Recognizer", width: int) -> "Decoder":
    """Raises UserError for a model that is no CTC model."""
    from soundraft.models.ctc import CTCAdapter

    if not isinstance(recognizer, CTCAdapter):
        kind = type(recognizer.model).__name__
        raise UserError(f"--beam is for CTC models; a {kind} writes its text word by word: leave it out")
    return partial(recognizer.beam, width=width)


def _segments(recognizer: "Recognizer", decoder: "Decoder | None", file: Path) -> list["Segment"]:
    """Raises BadClip when the file is not there, not audio, or the model cannot take it."""
    from soundraft.audio.features import AudioProcessor
    from soundraft.models import ModelError
    from soundraft.models.longform import transcribe_file

    processor = AudioProcessor(recognizer.sample_rate_hz, normalize=False, max_duration=None)
    try:
        return transcribe_file(recognizer, processor.load(file).waveform.numpy(), decoder)
    except ModelError as error:
        raise BadClip(str(error)) from error


def _places(recordings: Sequence[Path], folder: Path, ending: str) -> dict[Path, Path]:
    """The file that each transcript goes to: `talk.v2.wav` → `talk.v2.srt`.

    Raises:
        UserError: when two would go to one, or the folder is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--output {folder} is a file: name a folder")
    places = {file: folder / f"{_stem(file)}.{ending}" for file in recordings}
    sources = defaultdict(list)
    for file, place in places.items():
        sources[place].append(str(file))
    clash = next((same for same in sources.values() if len(same) > 1), None)
    if clash:
        raise UserError(f"{clash[0]} and {clash[1]} would be written to one file: transcribe them apart")
    return places


def _stem(file: Path) -> str:
    from soundraft.audio.io import AUDIO_SUFFIXES

    ending = next((suffix for suffix in AUDIO_SUFFIXES if file.name.lower().endswith(suffix)), "")
    return file.name[: len(file.name) - len(ending)] or file.name


TRANSCRIBE = Command(
    "Transcribe recordings of any length: text, JSON with times, or subtitles.", transcribe_options, transcribe
)


# `soundraft train --config`, `evaluate` and `predict`: classifiers without the pipeline.


PREDICTIONS = Path("predictions.parquet")
_MODEL = "a run of `soundraft train --config`, or the folder of a classifier"
_DATA = "a table (csv, tsv, jsonl, parquet) with a column audio or audio_path, a corpus by name, or a folder"
_NOT_OF_TABLES = tuple(name for name in OPTIONS if name not in ("seed", "columns"))


def train_classifier(given: argparse.Namespace, declaration: Path) -> None:
    """What `soundraft train` does with a declaration."""
    from soundraft.clips.splitting import FOLDS_WITH_K
    from soundraft.tasks.declaration import read_declaration

    declared = read_declaration(declaration, target=given.target)
    seed = given.seed or 0
    if given.k and given.folds not in FOLDS_WITH_K:
        raise UserError("--k says how many folds: it goes with --folds k or --folds speaker")
    if given.folds or declared.folds:
        _train_folds(given, declared, seed)
        return
    from soundraft.tasks.classifier_run import fit

    result = fit(
        declared, data_of(given), given.validation, given.test, extra_df=given.extra, output_dir=given.output,
        seed=seed, tell=tell,
    )  # fmt: skip
    print_each("set aside", result.rejected)
    for line in _told(result, seed):
        tell(line)
    tell(f"{given.output}: model, report.md, predictions.parquet, test_statistics.json, description.json")
    tell(f"next: soundraft visualize --visualization confusion_matrix --from {given.output}")
    tell(f"      soundraft predict --model {given.output} --dataset NEW.csv")


def _train_folds(given: argparse.Namespace, declared: Any, seed: int) -> None:
    from soundraft.tasks.folds import cross_validate, verdict

    for name in ("validation", "test"):
        if getattr(given, name):
            raise UserError(f"--{name} does not go with --folds: every clip is tested once")
    result = cross_validate(
        declared, data_of(given), folds=given.folds, k=given.k, extra=given.extra, output_dir=given.output, seed=seed,
        tell=tell,
    )  # fmt: skip
    print_each("set aside", result.rejected)
    means = result.means
    tell(
        f"mean of {len(result.scores)} folds: accuracy {means['accuracy']}, UAR {means['uar']}; statistics SVM "
        f"{means['svm_accuracy']}, {means['svm_uar']}"
    )
    tell(verdict(means).replace("**", ""))
    tell(f"{given.output}: folds.md, folds.json, predictions.parquet, models/FOLD")
    tell(f"next: soundraft visualize --visualization confusion_matrix --from {given.output}")


def _told(result: "ClassifierResult", seed: int) -> list[str]:
    """The model and its controls on the test clips, and which is better."""
    from soundraft.evaluation.classification_report import verdicts
    from soundraft.evaluation.report import Bootstrap
    from soundraft.evaluation.scores import label_scores
    from soundraft.params import defaults
    from soundraft.tables import columns

    training = result.training
    stopped = "stopped early" if training.stopped_early else "all"
    cells = [(f"test, {len(result.test.ids):,} clips", "accuracy", "UAR")]
    for row in result.rows:
        found = label_scores(row.predicted)
        cells.append((row.label, f"{found.accuracy:.1%}", f"{found.macro.recall:.1%}"))
    bootstrap = Bootstrap(defaults().evaluate.bootstrap_samples, seed)
    sentences = [sentence.replace("**", "") for sentence in verdicts(result.rows, bootstrap)]
    epochs = f"best epoch {training.best_epoch} of {len(training.history)} ({stopped})"
    head = f"{epochs}, macro recall {training.best:.1%} on {len(result.validation.ids):,} validation clips"
    return [head, *columns(cells, right=(1, 2)), *sentences]


def data_of(given: argparse.Namespace, *, seed: int | None = None) -> Any:
    """What `--dataset` names: the path of a table or a recording, or a corpus with the options that say its part.

    Args:
        seed: of what is drawn to make a corpus.
    """
    if not _is_file(given):
        return dataset_of(given, seed=seed, unlabelled=getattr(given, "unlabelled", False), quiet=True)
    learns = "subset" in given  # then --config is the declaration
    if learns and given.columns:
        raise UserError(f"--columns: those of {given.corpus} are named in the declaration, each with the key column")
    for name in _NOT_OF_TABLES:
        if getattr(given, name) is not None:
            asked = "subset" if name == "config" and learns else name
            raise UserError(f"--{asked} is for corpora and folders; {given.corpus} is a file and says all itself")
    return given.corpus


def _is_file(given: argparse.Namespace) -> bool:
    """Whether `--dataset` is a table or a recording."""
    from soundraft import corpora
    from soundraft.audio.io import AUDIO_SUFFIXES
    from soundraft.clips.opening import TABLES

    return given.corpus not in corpora.CORPORA and given.corpus.lower().endswith((*TABLES, *AUDIO_SUFFIXES))


def _columns_of_file(given: argparse.Namespace) -> dict[str, str]:
    """What a table calls otherwise than the model; of a corpus `data_of` has it."""
    return dict(given.columns or ()) if _is_file(given) else {}


def evaluate_options(options: argparse.ArgumentParser) -> None:
    add = options.add_argument
    add("--model", required=True, metavar="FOLDER", help=_MODEL)
    add("--dataset", required=True, metavar="NAME_OR_PATH", dest="corpus", help=_DATA)
    add("--output", type=Path, metavar="FOLDER", help="report.md, test_statistics.json, predictions.parquet go there")
    held_out = "train, validation, test or all (test; without splits, or with others, what the model did not hear)"
    add_choice(options, seed_of="what is drawn to make a corpus, and of the intervals (0)", texts={"split": held_out})
    _add_subset(options)


def evaluate(given: argparse.Namespace) -> None:
    from soundraft.evaluation.scores import intervals
    from soundraft.params import defaults
    from soundraft.tasks.classifier_run import evaluate as measure

    split, given.split = given.split, None
    data, seed = data_of(given, seed=given.seed), given.seed or 0
    columns = _columns_of_file(given)
    found = measure(given.model, data, split=split, columns=columns, output_dir=given.output, seed=seed)
    for note in found.notes:
        print(f"note: {note}")
    print_each("set aside", found.rejected)
    samples = defaults().evaluate.bootstrap_samples
    accuracy, uar = intervals(found.predicted, samples=samples, seed=seed)
    scores = found.scores
    print(
        f"{found.predicted.target}, {scores.clips:,} clips: accuracy {scores.accuracy:.1%} "
        f"[{accuracy.low:.1%}–{accuracy.high:.1%}], UAR {scores.macro.recall:.1%} [{uar.low:.1%}–{uar.high:.1%}], "
        f"macro F1 {scores.macro.f1:.1%}, ECE {scores.ece:.3f}"
    )
    if given.output:
        print(f"{given.output}: report.md, test_statistics.json, predictions.parquet")
        print(f"next: soundraft visualize --visualization confusion_matrix --from {given.output}")


def predict_options(options: argparse.ArgumentParser) -> None:
    add = options.add_argument
    add("--model", required=True, metavar="FOLDER", help=_MODEL)
    data = f"{_DATA}, or a recording; labels are not needed"
    add("--dataset", required=True, metavar="NAME_OR_PATH", dest="corpus", help=data)
    add("--output", type=Path, default=PREDICTIONS, metavar="FILE", help=f"a .parquet or .csv file ({PREDICTIONS})")
    add_choice(options, seed_of="what is drawn to make a corpus (0)")
    _add_subset(options)


def _add_subset(options: argparse.ArgumentParser) -> None:
    """What `train` has to call it, whose --config is the declaration."""
    options.add_argument("--subset", dest="config", metavar="NAME", help="the same as --config")


def predict(given: argparse.Namespace) -> None:
    from soundraft.evaluation.predictions import columns_of, write_predictions
    from soundraft.tasks.classifier_run import answers

    if given.output.suffix not in (".parquet", ".csv"):
        raise UserError(f"--output writes a .parquet or a .csv file, not {given.output}")
    given.unlabelled = True
    found, rejected, notes = answers(given.model, data_of(given, seed=given.seed), columns=_columns_of_file(given))
    for note in notes:
        print(f"note: {note}")
    print_each("set aside", rejected)
    if given.output.suffix == ".csv":
        import pandas

        files.write_text(given.output, pandas.DataFrame(columns_of(found)).to_csv(index=False))
    else:
        write_predictions(given.output, found)
    target = found.target
    if len(found.ids) == 1:
        print(f"{found.ids[0]}: {found.predictions[0]} ({found.confidence[0]:.1%})")
    print(f"{given.output}: {len(found.ids):,} clips; {target}_predictions, {target}_probability, …")
    print(f"next: pandas.read_{given.output.suffix[1:]}('{given.output}'); where labels are known, soundraft evaluate")
    if rejected:
        sys.exit(f"soundraft predict: {len(rejected)} of {len(found.ids) + len(rejected)} clips could not be told")


EVALUATE = Command("Measure a classifier on clips whose labels are known.", evaluate_options, evaluate)
PREDICT = Command("Tell new recordings with a classifier: a label and probabilities each.", predict_options, predict)


# `soundraft benchmark`: how good and how fast a recogniser is on a corpus or on recordings of your own.


_CLIPS = 100
_PREFERRED: tuple[Split, ...] = ("test", "validation", "train")


def benchmark_options(options: argparse.ArgumentParser) -> None:
    add, usual = options.add_argument, defaults()
    normalizers = get_args(RewardParams.model_fields["normalizer"].annotation)
    timed = usual.benchmark
    add("--model", required=True, metavar="FOLDER_OR_ID", help="a local folder or a hub id")
    add(
        "--dataset", required=True, metavar="NAME_OR_PATH", dest="corpus",
        help="a corpus by name, a folder or a list of recordings; test clips where it has such",
    )  # fmt: skip
    add("--task", default="asr", help="what the model does: asr (the only one so far)")
    add("--limit", type=positive, default=_CLIPS, metavar="N", help=f"at most N clips ({_CLIPS})")
    add("--output", type=Path, metavar="FILE.json", help="write the numbers too")
    add("--normalizer", choices=normalizers, default=usual.reward.normalizer,
        help=f"how texts are made comparable ({usual.reward.normalizer})")  # fmt: skip
    add("--timed", type=positive, default=timed.clips, metavar="N", help=f"measure speed on N of them ({timed.clips})")
    add("--repeats", type=positive, default=timed.repeats, metavar="N",
        help=f"timed passes, of which the median counts ({timed.repeats})")  # fmt: skip
    add_choice(options, limited=True, language_of=MODEL_LANGUAGE)


def benchmark(given: argparse.Namespace) -> None:
    from soundraft.clips import recordings
    from soundraft.tasks import asr_benchmark
    from soundraft.tasks.run import TASKS

    if given.task not in TASKS:
        raise UserError(f"there is no benchmark for the task {given.task!r}; there is {', '.join(TASKS)}")
    choices = {
        "reward.normalizer": given.normalizer,
        "benchmark.clips": given.timed,
        "benchmark.repeats": given.repeats,
    }
    params = changed(defaults(), choices)
    dataset = dataset_of(given, seed=given.seed)
    splits = recordings.open_source(dataset, limit=given.limit, seed=given.seed or 0).splits
    split = next(name for name in _PREFERRED if splits.get(name))
    recognizer = load_model(given.model, given)
    result = asr_benchmark.benchmark(recognizer, splits[split], params)
    print(f"{given.model} on {dataset.name}, {split} split, texts compared as {given.normalizer}\n")
    print("\n".join(columns(result.rows())) + "\n")
    print_each("set aside", result.rejected)
    if given.output is not None:
        about = {"model": given.model, "dataset": dataset.name, "split": split, "normalizer": given.normalizer}
        files.write_json(given.output, about | result.numbers())
        print(f"{given.output}: the numbers")
    print(f"next: soundraft train --model {given.model} --dataset {given.corpus} --output RUN --dry-run")


BENCHMARK = Command(
    "Measure a speech recogniser: error rates with intervals, speed, memory.", benchmark_options, benchmark
)
