"""Python files of the user's, run as modules: producers of sidecars, corpora of their own."""

import hashlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from soundraft.runtime import UserError


def from_file(path: Path) -> ModuleType:
    """The module of a file, under a name that no other file has.

    Raises:
        UserError: when Python does not run such files. What the file itself raises goes through.
    """
    name = f"soundraft_user_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses of the file look their module up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
