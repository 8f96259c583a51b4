"""The command `soundraft`. A subcommand is two functions of a module here, `NAME_options(parser)` and `NAME(given)`.

The module is imported only when its command is named: help comes at once.
"""

import argparse
import importlib
import os
import re
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from soundraft import __version__, runtime
from soundraft.runtime import BadClip, UserError

_INTERRUPTED = 130  # what a shell gives a program that Ctrl-C ended
_OF_THE_USER = (PermissionError, NotADirectoryError, IsADirectoryError, FileNotFoundError)
_OUTPUTS = ("output", "out", "json", "plot")  # options that name what a command writes
COMMANDS = {  # the module, and what the command does
    "s1": ("steps", "Normalise recordings: mono WAV at one rate and one loudness."),
    "s2": ("steps", "Encode normalised audio as EnCodec tokens, 75 frames a second."),
    "s3": ("steps", "Make an empty sidecar for every token file."),
    "s4": ("steps", "Add features, by producers, as columns of the sidecars."),
    "audit": ("steps", "Check every sidecar against its description and its token file."),
    "s5": ("steps", "Build a Hugging Face DatasetDict of audio, tokens and sidecars."),
    "datasets": ("corpora", "List, describe, download, check and measure corpora."),
    "inspect": ("look", "Show what a dataset, or a folder of token files, contains."),
    "train": ("train", "Train a model and improve it by RAFT, or train the classifier that a declaration describes."),
    "evaluate": ("predict", "Measure a model on clips whose text or label is known."),
    "predict": ("predict", "Answer new recordings with a model: texts, or labels with probabilities."),
    "visualize": ("look", "Draw the predictions of a classifier and its learning curves, as png, pdf or svg."),
    "benchmark": ("predict", "Measure a model: error rates with intervals, speed, memory."),
    "transcribe": ("predict", "Transcribe recordings of any length: text, JSON with times, or subtitles."),
    "enhance": ("predict", "Remove noise from recordings of any length, rate and number of channels."),
    "speak": ("predict", "Say texts with a model of task tts: a wav file, or a folder of them."),
    "stages": ("look", "List the stages of the pipeline: what each waits for, makes and does."),
    "report": ("look", "Write the page of a run: one file with its curves, clips and errors."),
    "compare": ("look", "Compare two runs on the same test clips: difference, interval and p value."),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point; what the user can fix is one line and exit code 1."""
    words = sys.argv[1:] if argv is None else list(argv)
    name, given = " ".join(["soundraft", *words[:1]]), argparse.Namespace(flags={})
    warnings.formatwarning = lambda message, *_, **__: f"{message}\n"  # not the line of code that gave it
    try:
        top = parser(words)
        given = top.parse_args(words)
        if given.command is None:
            top.print_help()
            return
        name = " ".join(["soundraft", given.command, *([given.action] if "action" in given else [])])
        _check_outputs(given)
        getattr(_module(given.command), given.command)(given)
    except (UserError, BadClip, FloatingPointError) as error:  # the last: a training whose loss is not finite
        sys.exit(f"{name}: {_by_option(str(error), given)}")
    except KeyboardInterrupt:  # every write is whole: what was begun is left out, or is continued by the next call
        print(f"\n{name}: stopped", file=sys.stderr)
        sys.exit(_INTERRUPTED)
    except BrokenPipeError:  # `soundraft inspect … | head` is no fault
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        if not (runtime.is_machine_fault(error) or isinstance(error, _OF_THE_USER)):
            raise
        sys.exit(f"{name}: {error.strerror}: {error.filename}")


def parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """The parser of all commands, with the options of the one that is named."""
    top = argparse.ArgumentParser(
        prog="soundraft",
        description="The steps from recordings to a dataset, corpora, training and recognition, without the pipeline; "
        "and a look at what the pipeline makes. `dvc repro` runs the pipeline itself.",
        epilog="`soundraft COMMAND --help` shows the options of a command.",
    )
    top.add_argument("--version", action="version", version=f"soundraft {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND")
    for name, (_, about) in COMMANDS.items():
        options = commands.add_parser(name, help=about, description=about)
        if [name] == list(words[:1]):
            more = [list(words[1:])] if name == "s4" else []  # its options are those of the producers that it names
            getattr(_module(name), f"{name}_options")(options, *more)
            keys = (action for action in options._actions if "." in action.dest)
            options.set_defaults(flags={action.dest: action.option_strings[0] for action in keys})
    return top


def _check_outputs(given: argparse.Namespace) -> None:
    """Before any work: that its results can be written."""
    from soundraft import files

    for name in _OUTPUTS:
        place = getattr(given, name, None)
        if isinstance(place, str | Path):  # `--json` of a list is no place
            files.check_can_write(Path(place))


def _by_option(message: str, given: argparse.Namespace) -> str:
    """The message with the command's options in place of their keys in params.yaml."""
    for key, flag in given.flags.items():
        message = re.sub(rf"(?<![\w.]){re.escape(key)}(?!\.?\w)", flag, message)
    return message


def _module(command: str) -> ModuleType:
    return importlib.import_module(f"soundraft.cli.{COMMANDS[command][0]}")
