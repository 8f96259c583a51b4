"""`soundraft enhance`: recordings without their noise."""

import argparse
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from soundraft import files
from soundraft.cli.options import add_recordings, places, readable, recordings
from soundraft.runtime import UserError

if TYPE_CHECKING:
    from soundraft.models.enhancer import Enhancer


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
    done = _enhance_all({file: written[file] for file in good}, given) if good else 0
    if done < len(named):
        sys.exit(f"soundraft enhance: {len(named) - done} of {len(named)} files could not be enhanced")


def _enhance_all(written: Mapping[Path, Path], given: argparse.Namespace) -> int:
    """How many were written."""
    from soundraft.models.enhancer import load_enhancer
    from soundraft.parallel import Failure, attempt
    from soundraft.tasks.run import model_in

    model = load_enhancer(Path(model_in(given.model)))
    done = 0
    for file, place in written.items():
        found = attempt(partial(_enhance, model, place, given.mix), file)
        if isinstance(found, Failure):
            print(f"{file}: {found.reason}", file=sys.stderr)
        else:
            done += 1
            print(f"{place}: {found:.1f} s")
    return done


def _enhance(model: "Enhancer", place: Path, mix: float, file: Path) -> float:
    """Write one file; its length in seconds. BadClip when it is not there, or no audio."""
    from soundraft.audio import io
    from soundraft.models.enhancer import enhance as enhanced

    seconds, rate_hz = io.read_header(file)
    io.write_wav_parts(place, enhanced(model, io.blocks(file), rate_hz, mix=mix), rate_hz, seconds=seconds)
    return seconds


def _check_not_over_itself(written: dict[Path, Path]) -> None:
    for file, place in written.items():
        if file.resolve() == place.resolve():
            raise UserError(f"{file} would be written over itself: name another folder for --output")
