"""How a stage script ends: a clear message and exit code 1 for what the user can mend, a stack trace for our bugs."""

import os
import sys
from collections.abc import Callable

from soundraft.runtime import UserError


def run(main: Callable[[], None]) -> None:
    """Call a stage's `main`, and exit."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        main()
    except UserError as error:
        name = os.path.basename(sys.argv[0]).removesuffix(".py")
        sys.exit(f"{name}: {error}")
