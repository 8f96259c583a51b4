"""How a stage script starts and ends, and which cycles are active.

Imports nothing heavy: a stage of an inactive cycle ends in milliseconds.
"""

import argparse
import io
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from soundraft import cli, distributed, files, runtime
from soundraft.runtime import UserError

PLAN = Path("data/plan")
MARKER_NAME = "inactive.json"
# Seconds of each stage of the default experiment, of a cycle where there are several, on two idle cores (Intel Xeon).
DEFAULT_TOOK_S = {
    "fetch": 57, "s1_normalize": 12, "s2_encodec": 142, "s3_sidecar_init": 3, "s4_sidecar_add": 7, "audit": 8,
    "s5_build_dataset": 10, "train": 372, "benchmark": 9, "raft_train": 24, "controls": 54, "evaluate": 40, "report": 5,
}  # fmt: skip
DVC_TOOK_S = 120  # for hashes and copies into its cache
CHAINS = ("raft_train", "controls")
_WORTH_SAYING_S = 20


def is_active(chain: str, cycle: int) -> bool:
    path = PLAN / chain / f"{cycle:02d}.json"
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
    name = _name()
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # in a pipe, too, what a stage says comes when it says it
    if name not in CHAINS:  # of which only an active cycle takes that long
        announce(name)
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
    took_s, memory_gib = time.monotonic() - started, runtime.peak_memory_bytes() / 2**30
    if took_s >= 1:
        sys.stdout.write(f"{name}: took {took_s:.0f} s and {memory_gib:.1f} GiB of memory\n")


def announce(name: str) -> None:
    """Say of a long stage how long it is, before it does anything."""
    usual_s = DEFAULT_TOOK_S.get(name, 0)
    if usual_s >= _WORTH_SAYING_S and distributed.is_main():
        sys.stdout.write(f"{name}: {_about(usual_s)} with the default numbers on two cores\n")


def time_of_all(cycles: int) -> str:
    """How long all stages take, and which the long ones are."""
    each = {name: took_s * (cycles if name in CHAINS else 1) for name, took_s in DEFAULT_TOOK_S.items()}
    longest = sorted(each, key=lambda name: -each[name])[:3]
    parts = ", ".join(f"{name} {_about(each[name])}" for name in longest)
    return f"{_about(sum(each.values()) + DVC_TOOK_S)} ({parts})"


def _about(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{round(seconds, -1):.0f} s"


def _name() -> str:
    return Path(sys.argv[0]).name.removesuffix(".py")


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
    cycle, name = options.parse_args().cycle, _name()

    def work() -> None:
        if is_active(name, cycle):
            check_made(*needs, *([chain / f"{cycle - 1:02d}"] if cycle > 1 else []))
            announce(name)
            main(cycle)
        elif distributed.is_main():
            write_marker(chain / f"{cycle:02d}")
            sys.stdout.write(f"{name} {cycle:02d}: not active, as train.cycles says\n")

    run(work)
