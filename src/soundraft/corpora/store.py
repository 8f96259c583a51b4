"""Where what was made or downloaded once is kept for the next time."""

import os
from pathlib import Path


def cache_root() -> Path:
    """`SOUNDRAFT_CACHE`, else `soundraft` in the user's cache folder. All in it can be made again."""
    given = os.environ.get("SOUNDRAFT_CACHE")
    if given:
        return Path(given).expanduser().resolve()
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "soundraft"
