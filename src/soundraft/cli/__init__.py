"""The command `soundraft`: a function and its options for each subcommand, all named in `COMMANDS`."""

import argparse
import os
import sys
from collections.abc import Sequence

from soundraft import runtime
from soundraft.cli import corpora, look, predict, train
from soundraft.parallel import BadClip
from soundraft.runtime import UserError

_INTERRUPTED = 130  # what a shell gives a program that Ctrl-C ended
_MENDABLE = (PermissionError, NotADirectoryError, IsADirectoryError)  # where something was to be written
COMMANDS = {
    "datasets": corpora.DATASETS,
    "inspect": look.INSPECT,
    "train": train.TRAIN,
    "evaluate": predict.EVALUATE,
    "predict": predict.PREDICT,
    "visualize": look.VISUALIZE,
    "benchmark": predict.BENCHMARK,
    "transcribe": predict.TRANSCRIBE,
    "compare": look.COMPARE,
}


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point; what the user can mend is one line and exit code 1."""
    given = parser().parse_args(argv)
    name = " ".join(["soundraft", given.command, *([given.action] if "action" in given else [])])
    try:
        COMMANDS[given.command].run(given)
    except (UserError, BadClip, FloatingPointError) as error:  # the last: a training whose loss is not finite
        sys.exit(f"{name}: {error}")
    except KeyboardInterrupt:  # what was begun is left out or can go on: every write is whole
        print(f"\n{name}: stopped", file=sys.stderr)
        sys.exit(_INTERRUPTED)
    except BrokenPipeError:  # `soundraft inspect … | head` is no fault
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        if not (runtime.is_machine_fault(error) or isinstance(error, _MENDABLE)):
            raise
        sys.exit(f"{name}: {error.strerror}: {error.filename}")


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="soundraft",
        description="Corpora, training and recognition without the pipeline, and a look at what the pipeline makes. "
        "`dvc repro` runs the pipeline itself.",
        epilog="`soundraft COMMAND --help` shows the options of a command.",
    )
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        command.options(commands.add_parser(name, help=command.about, description=command.about))
    return top
