"""`soundraft evaluate`, `predict`, `benchmark`, `transcribe`, `enhance`, `speak`: a trained model, measured or used."""

import argparse
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundraft import files
from soundraft.cli.options import (
    OF_MODELS,
    add_corpus,
    add_key,
    add_keys,
    add_recordings,
    attempted,
    columns_given,
    count,
    data_of,
    keys_given,
    language_of,
    places,
    positive,
    print_each,
    readable,
    recordings,
    said,
)
from soundraft.manifest import Rejected
from soundraft.params import defaults
from soundraft.runtime import BadClip, UserError

if TYPE_CHECKING:
    from soundraft.models import Recognizer
    from soundraft.models.enhancer import Enhancer
    from soundraft.models.longform import Segment
    from soundraft.tasks.base import Task

    Decoder = Callable[[Any], list[str]]

_MODEL = "A run of `soundraft train`, the folder of a model, or a hub id."
_BENCHMARKED = 100  # clips
_LIMIT = "At most so many clips in all; 0: all"
_NUMBERS = ("reward.normalizer", "limits.max_bad_fraction")
_DATA = "A table (csv, tsv, jsonl, parquet) with a column audio or audio_path, a corpus by name, a folder, or a dataset"


def evaluate_options(options: argparse.ArgumentParser) -> None:
    add = options.add_argument
    add("--model", "--model_path", required=True, metavar="FOLDER_OR_ID", help=_MODEL)
    add("--dataset", required=True, metavar="NAME_OR_PATH", dest="corpus", help=f"{_DATA}.")
    add("--output", "--output_directory", type=Path, metavar="FOLDER", help="For report.md, metrics.json and "
        "predictions.parquet (default: "
        "they are not written).")  # fmt: skip
    _add_numbers(options)
    add_corpus(options, texts={
        "language": OF_MODELS, "limit": f"{_LIMIT} (default: all).",
        "split": "train, validation, test or all (default: test; without these, the clips that the model has not "
        "seen in training).",
        "seed": "Seed of what is drawn to make a corpus, and of the intervals.",
    })  # fmt: skip


def _add_numbers(options: argparse.ArgumentParser) -> None:
    add_key(options, _NUMBERS[0], default="that of the run, else the usual one of the model's family")
    add_keys(options, *_NUMBERS[1:])


def evaluate(given: argparse.Namespace) -> None:
    from soundraft.evaluation.scores import METRICS
    from soundraft.tasks.use import evaluate as measure

    split, given.split = given.split, None
    data, seed = data_of(given, seed=given.seed), given.seed or 0
    found = measure(
        given.model, data, split=split, columns=_columns(given, data), limit=given.limit or None,
        output_dir=given.output, params=_numbers(given), seed=seed,
    )  # fmt: skip
    print_each("rejected", found.rejected)
    model, *beside = (
        [f"{METRICS[key].title} {estimate}" for key, estimate in found.estimates(seed, of=result).items()]
        for result in found.results
    )
    if found.scores.labels:
        labels = found.scores.label_scores
        model += [f"macro F1 {labels.macro.f1:.1%}", f"ECE {labels.ece:.3f}"]
    normalizer = _normalizer(found.task)
    print(f"{found.task.target}, {len(found.scores):,} clips: {', '.join(model)}" + (normalizer and f"; {normalizer}"))
    for result, rates in zip(found.results[1:], beside, strict=True):
        print(f"{result.in_words}: {', '.join(rates)}")
    for note in found.notes:
        print(f"note: {note}")
    if given.output:
        print(f"{given.output}: report.md, metrics.json, predictions.parquet")
        print(f"next: soundraft compare {given.output} OTHER")


def predict_options(options: argparse.ArgumentParser) -> None:
    add, out = options.add_argument, Path("predictions.parquet")
    add("--model", "--model_path", required=True, metavar="FOLDER_OR_ID", help=_MODEL)
    add("--dataset", required=True, metavar="NAME_OR_PATH", dest="corpus", help=f"{_DATA}, or a recording.")
    add("--output", type=Path, default=out, metavar="FILE", help=f"A .parquet or .csv file (default: {out}).")
    add_corpus(options, texts={"language": OF_MODELS})


def predict(given: argparse.Namespace) -> None:
    from soundraft.evaluation.predictions import columns_of, write_predictions
    from soundraft.tasks.use import answers

    if given.output.suffix not in (".parquet", ".csv"):
        raise UserError(f"--output writes a .parquet or a .csv file, not {given.output}")
    data = data_of(given, seed=given.seed, unlabelled=True)
    columns = _columns(given, data)
    found, rejected, notes = answers(
        given.model, data, columns=columns, limit=given.limit or None, params=_numbers(given)
    )
    _print_notes(notes, rejected)
    if given.output.suffix == ".csv":
        import pandas

        files.write_text(given.output, pandas.DataFrame(columns_of(found)).to_csv(index=False))
    else:
        write_predictions(given.output, found)
    if len(found) == 1:
        sure = f" ({found.confidence[0]:.1%})" if found.labels else ""
        answer = ("; ".join(found.predictions[0]) or "no label") if found.sets else found.predictions[0]
        print(f"{found.ids[0]}: {answer}{sure}")
    names = [name for name in columns_of(found) if name not in ("id", "path")]
    print(f"{given.output}: {len(found):,} clips; {', '.join(names[:2])}{', …' if len(names) > 2 else ''}")
    print(f"next: pandas.read_{given.output.suffix[1:]}('{given.output}'); with references, soundraft evaluate")
    if rejected:
        sys.exit(f"soundraft predict: {len(rejected)} of {len(found) + len(rejected)} clips were rejected")


def _numbers(given: argparse.Namespace) -> dict[str, Any]:
    """Keys of params.yaml with other values than the model's."""
    language = {"model.language": language_of(given)} if language_of(given) else {}
    return language | keys_given(given)


def _normalizer(task: "Task") -> str:
    """How texts were compared, in words; empty for tasks whose targets are no texts."""
    return f"text normalisation {task.params.reward.normalizer}" if task.target == "text" else ""


def _columns(given: argparse.Namespace, data: Any) -> dict[str, str]:
    """The columns that a table names differently; those of a corpus are part of it."""
    return columns_given(given) if isinstance(data, str) else {}


def _print_notes(notes: Sequence[str], rejected: Sequence[Rejected]) -> None:
    for note in notes:
        print(f"note: {note}")
    print_each("rejected", rejected)


def benchmark_options(options: argparse.ArgumentParser) -> None:
    add = options.add_argument
    add("--model", required=True, metavar="FOLDER_OR_ID", help="A local folder or a hub id.")
    add("--dataset", required=True, metavar="NAME_OR_PATH", dest="corpus", help="A corpus by name, a folder or a list "
        "of recordings; its test clips, where it has some.")  # fmt: skip
    add("--output", type=Path, metavar="FILE.json", help="Write the numbers there as well.")
    _add_numbers(options)
    add_keys(options, "benchmark.repeats")
    add_key(options, "benchmark.clips", flag="--timed")
    add_corpus(options, texts={"language": OF_MODELS, "limit": f"{_LIMIT} (default: {_BENCHMARKED})."})


def benchmark(given: argparse.Namespace) -> None:
    from soundraft.corpora import CORPORA
    from soundraft.tables import columns
    from soundraft.tasks.use import benchmark as measure

    limit, options = _BENCHMARKED if given.limit is None else given.limit or None, said(given, also=_NUMBERS)
    if given.corpus in CORPORA:  # no more is downloaded
        given.limit = limit
    data = data_of(given, seed=given.seed, whole=False)
    found = measure(
        given.model, data, columns=_columns(given, data), params=_numbers(given), limit=limit, seed=given.seed or 0
    )
    task, of = found.evaluation.task, "all clips" if found.split == "all" else f"{found.split} split"
    normalizer = _normalizer(task)
    print(f"{given.model} on {given.corpus}, {of}" + (normalizer and f", {normalizer}") + "\n")
    print("\n".join(columns(found.rows())) + "\n")
    _print_notes(found.evaluation.notes, found.evaluation.rejected)
    if given.output is not None:
        about = {"model": given.model, "dataset": given.corpus, "split": found.split}
        about |= {"normalizer": task.params.reward.normalizer if normalizer else None}
        files.write_json(given.output, about | found.numbers())
        print(f"{given.output}: the numbers")
    model, name = shlex.quote(given.model), shlex.quote(given.corpus)
    print(f"next: soundraft evaluate --model {model} --dataset {name}{options} --output FOLDER")


def transcribe_options(options: argparse.ArgumentParser) -> None:
    add = options.add_argument
    add_recordings(options)
    add("--model", required=True, metavar="FOLDER_OR_ID", help="A local folder or a hub id.")
    add("--format", choices=("txt", "json", "srt", "vtt"), default="txt", help="A line per segment, segments with "
        "times, or subtitles (default: txt).")  # fmt: skip
    add("--output", type=Path, metavar="FOLDER", help="A file per recording there (default: to the screen).")
    add("--beam", type=positive, metavar="WIDTH", help="Beam search of this width, for CTC models (default: greedy).")
    add_key(options, "model.language", dest="language")


def transcribe(given: argparse.Namespace) -> None:
    """Transcribe each file; a bad one is reported with the reason, and the others are done."""
    named = recordings(given.files)
    if given.output is None and given.format != "txt" and len(named) > 1:
        raise UserError(f"several files as {given.format} need --output FOLDER")
    written = places(named, given.output, given.format) if given.output else {}
    good = readable(named)
    done = _transcribe(good, written, len(named), given) if good else 0  # the model takes seconds to load
    if done < len(named):
        sys.exit(f"soundraft transcribe: {len(named) - done} of {len(named)} files could not be transcribed")


def _transcribe(good: Sequence[Path], written: Mapping[Path, Path], count: int, given: argparse.Namespace) -> int:
    """How many of the `count` recordings have a transcript now."""
    from soundraft import models
    from soundraft.models.longform import SUBTITLES, WRITERS
    from soundraft.tasks.run import model_in

    recognizer = models.load_recognizer(model_in(given.model), language=language_of(given) or None)
    decoder = _beam(recognizer, given.beam) if given.beam else None
    done = 0
    for file, found in attempted(partial(_segments, recognizer, decoder, given.format in SUBTITLES), good):
        done += 1
        text = WRITERS[given.format](found)
        if given.output:
            files.write_text(written[file], text)
            print(f"{written[file]}: {len(found)} segments")
        else:
            print(f"{file}:\n{text}" if count > 1 else text, end="")
    return done


def _beam(recognizer: "Recognizer", width: int) -> "Decoder":
    """Raises UserError for a model that is no CTC model."""
    from soundraft.models.ctc import CTCAdapter

    if not isinstance(recognizer, CTCAdapter):
        kind = type(recognizer.model).__name__
        raise UserError(f"--beam is for CTC models; a {kind} writes its text word by word: leave it out")
    tokens_per_frame = defaults().decoding.beam_tokens_per_frame
    return partial(recognizer.beam, width=width, tokens_per_frame=tokens_per_frame)


def _segments(recognizer: "Recognizer", decoder: "Decoder | None", subtitles: bool, file: Path) -> list["Segment"]:
    """Raises BadClip when the file is not there, not audio, or the model cannot take it."""
    from soundraft.audio.features import AudioProcessor
    from soundraft.models import ModelError
    from soundraft.models.longform import transcribe_file

    processor = AudioProcessor(recognizer.sample_rate_hz, normalize=False, max_duration=None)
    try:
        samples = processor.load(file).waveform.numpy()
        return transcribe_file(recognizer, samples, defaults().decoding, decoder, subtitles=subtitles)
    except ModelError as error:
        raise BadClip(str(error)) from error


def share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share from 0 to 1")
    return value


def enhance_options(options: argparse.ArgumentParser) -> None:
    add = options.add_argument
    add_recordings(options)
    add("--model", required=True, metavar="FOLDER", help="A run of `soundraft train --task enhancement`, or the folder "
        "of a model.")  # fmt: skip
    add("--output", required=True, type=Path, metavar="FOLDER", help="A 16-bit wav file per recording there, of "
        "its rate and with its channels.")  # fmt: skip
    add("--mix", type=share, default=1.0, metavar="SHARE", help="The share of the enhanced signal; the rest is the "
        "recording as it was, which hides artefacts (default: 1).")  # fmt: skip


def enhance(given: argparse.Namespace) -> None:
    """Enhance each file; a bad one is reported with the reason, and the others are done."""
    for folder in given.files:
        if folder.is_dir():  # else the next call would enhance what this one makes
            files.check_apart(folder, given.output)
    named = recordings(given.files)
    written = places(named, given.output, "wav")
    _check_not_over_itself(written)
    good = readable(named)
    done = _enhance_all(good, written, given) if good else 0
    if done < len(named):
        sys.exit(f"soundraft enhance: {len(named) - done} of {len(named)} files could not be enhanced")


def _enhance_all(good: Sequence[Path], written: Mapping[Path, Path], given: argparse.Namespace) -> int:
    """How many were written."""
    from soundraft.models.enhancer import load_enhancer
    from soundraft.tasks.run import model_in

    model = load_enhancer(Path(model_in(given.model)))
    done = 0
    for file, seconds in attempted(partial(_enhance, model, written, given.mix), good):
        done += 1
        print(f"{written[file]}: {seconds:.1f} s")
    return done


def _enhance(model: "Enhancer", written: Mapping[Path, Path], mix: float, file: Path) -> float:
    """Write one file; its length in seconds. BadClip when it is not there, or no audio."""
    from soundraft.audio import io
    from soundraft.models.enhancer import enhance as enhanced

    seconds, rate_hz = io.read_header(file)
    io.write_wav_parts(written[file], enhanced(model, io.blocks(file), rate_hz, mix=mix), rate_hz, seconds=seconds)
    return seconds


def _check_not_over_itself(written: dict[Path, Path]) -> None:
    for file, place in written.items():
        if file.resolve() == place.resolve():
            raise UserError(f"{file} would be written over itself: name another folder for --output")


def speak_options(options: argparse.ArgumentParser) -> None:
    add = options.add_argument
    add("text", metavar="TEXT", help="What to say; or a .txt file with a text a line; or a .jsonl file of rows with "
        "text, and id and voice where they differ.")  # fmt: skip
    add("--model", required=True, metavar="FOLDER", help="A run of task tts, or the folder of a model.")
    add("--voice", default="", help="A voice that the model has learned, such as en+f3; or a "
        "recording of 2 s or more: then the voice most like it (needs the package resemblyzer).")  # fmt: skip
    add("--best-of", type=positive, default=1, metavar="N", help="Say it so many times, and take what the recogniser "
        "understands best (default: 1).")  # fmt: skip
    add("--seed", type=count, default=0, help="Another seed says it otherwise (default: 0).")
    add("-o", "--output", type=Path, required=True, metavar="OUT", help="A .wav file for a text, a folder for a file "
        "of texts; what is in it already is not said again.")  # fmt: skip


def speak(given: argparse.Namespace) -> None:
    from soundraft.audio import ecdc, io
    from soundraft.tasks.lines import Line, read_lines
    from soundraft.tasks.speak import LIST_NAME, Speaker, speak_to_folder

    lines = read_lines(given.text, given.voice)
    several = given.text.lower().endswith((".txt", ".jsonl"))
    if not several and given.output.suffix.lower() != ".wav":
        raise UserError(f"--output: a text becomes a .wav file, not {given.output}")
    if several and given.output.suffix:
        raise UserError(f"--output: a file of texts becomes a folder of .wav files, not {given.output}")
    speaker = Speaker(given.model)
    if several:
        made = speak_to_folder(speaker, lines, given.output, best_of=given.best_of, seed=given.seed, say=print)
        print(f"{given.output}: {len(made)} files, {sum(row.seconds for row in made):.0f} s; {LIST_NAME} lists them")
        return
    (line,) = lines
    line = Line(line.id, line.text, speaker.voice(line.voice))
    ((wave, heard),) = speaker.speak([line], best_of=given.best_of, seed=given.seed)
    files.check_can_write(given.output)
    io.write_wav(given.output, wave, ecdc.SAMPLE_RATE_HZ)
    understood = f"; the recogniser hears: {heard}" if given.best_of > 1 else ""
    print(f"{given.output}: {len(wave) / ecdc.SAMPLE_RATE_HZ:.1f} s in the voice {line.voice}{understood}")
