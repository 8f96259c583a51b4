"""How a stage script ends: what it cost on this machine, or a clear message and exit code 1."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from soundraft import runtime
from soundraft.runtime import UserError


def run(main: Callable[[], None]) -> None:
    """Call a stage's `main`. What the user can mend is told without a stack trace; our bugs keep theirs."""
    name = Path(sys.argv[0]).name.removesuffix(".py")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    started = time.monotonic()
    try:
        main()
    except UserError as error:
        sys.exit(f"{name}: {error}")
    memory_gib = runtime.peak_memory_bytes() / 2**30
    sys.stdout.write(f"{name}: took {time.monotonic() - started:.0f} s and {memory_gib:.1f} GiB of memory\n")
