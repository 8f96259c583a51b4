"""How a stage script starts and ends, and which cycles are active.

Imports nothing heavy: a stage of an inactive cycle ends in milliseconds.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from soundraft import cli, distributed, files, runtime
from soundraft.runtime import UserError

PLAN = Path("data/plan")
MARKER_NAME = "inactive.json"


def write_plan(cycles: Sequence[str], active: int) -> None:
    """One file a cycle, `data/plan/NN.json`, for DVC to see which cycles have changed."""
    with files.building(PLAN) as out:
        for cycle in cycles:
            files.write_json(out / f"{cycle}.json", {"active": int(cycle) <= active})


def is_active(cycle: int) -> bool:
    path = PLAN / f"{cycle:02d}.json"
    if not path.is_file():
        raise UserError(f"no {path}: `dvc repro plan` writes one for each cycle that cycles.yaml lists")
    return bool(files.read_json(path)["active"])


def write_marker(folder: Path) -> None:
    with files.building(folder) as out:
        files.write_json(out / MARKER_NAME, {"active": False})


def run(main: Callable[[], None], *needs: Path, help_text: str | None = None) -> None:
    """Call a stage's `main`. Of what the user can fix only the message is shown; our bugs keep their stack trace.

    Args:
        needs: what earlier stages have made.
        help_text: of a stage that takes no options: `--help` shows it, and anything else is refused.
    """
    if help_text is not None:
        parser(help_text).parse_args()
    name = Path(sys.argv[0]).name.removesuffix(".py")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    started = time.monotonic()
    try:
        check_made(*needs)
        main()
    except (UserError, FloatingPointError) as error:  # the second: a training whose loss is not finite
        sys.exit(f"{name}: {error}")
    except OSError as error:
        if error.filename is None:
            raise
        left = "; nothing half-written is left: fix it and run again" if runtime.is_machine_fault(error) else ""
        sys.exit(f"{name}: {error.strerror}: {error.filename}{left}")
    if not distributed.is_main():
        return
    memory_gib = runtime.peak_memory_bytes() / 2**30
    sys.stdout.write(f"{name}: took {time.monotonic() - started:.0f} s and {memory_gib:.1f} GiB of memory\n")


def check_made(*needs: Path) -> None:
    for path in needs:
        if not path.exists():
            raise UserError(f"no {path}: `dvc repro` runs the stages that make it")


def run_either(pipeline: Callable[[], None], command: str, *needs: Path) -> None:
    """Without arguments the stage of the pipeline, which takes everything from params.yaml; with them a command."""
    if len(sys.argv) == 1:
        run(pipeline, *needs)
    else:
        cli.main([command, *sys.argv[1:]])


def parser(help_text: str | None) -> argparse.ArgumentParser:
    """A parser whose help shows the script's own docstring."""
    return argparse.ArgumentParser(description=help_text, formatter_class=argparse.RawDescriptionHelpFormatter)


def run_cycle(main: Callable[[int], None], chain: Path, *needs: Path, help_text: str | None) -> None:
    """Call `main` with the number after `--cycle`; it needs the cycle before, in `chain`.

    A cycle that the plan calls inactive leaves a marker there.
    """
    options = parser(help_text)
    options.add_argument("--cycle", type=int, required=True, help="1, 2, … as cycles.yaml lists them")
    cycle = options.parse_args().cycle

    def work() -> None:
        if is_active(cycle):
            check_made(*needs, *([chain / f"{cycle - 1:02d}"] if cycle > 1 else []))
            main(cycle)
        elif distributed.is_main():
            write_marker(chain / f"{cycle:02d}")

    run(work)
