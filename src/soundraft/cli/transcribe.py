"""`soundraft transcribe`: recordings of any length to text."""

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundraft import files
from soundraft.cli.command import Command, positive
from soundraft.cli.sources import load_model
from soundraft.parallel import BadClip, Failure, attempt
from soundraft.runtime import UserError

if TYPE_CHECKING:
    from soundraft.models import Recognizer
    from soundraft.models.longform import Segment

    Decoder = Callable[[Any], list[str]]

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
    from soundraft.evaluation.transcripts import WRITERS

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


COMMAND = Command(
    "Transcribe recordings of any length: text, JSON with times, or subtitles.", transcribe_options, transcribe
)
