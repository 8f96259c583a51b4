"""The code that a stage runs, read from its imports.

The stage `imports` writes it down, so that DVC runs a stage again when code that it runs has changed, and only then.
"""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

from soundraft.params.tasks import TASKS

PACKAGE = Path("src/soundraft")
# they carry numbers that dvc.yaml lists itself, what the user sees, and the marker of an inactive cycle, never what is
# made
ASSETS = {".html", ".css", ".js"}  # of a page
NOT_A_DEPENDENCY = {"params", "stage", "tracking"}


def closure(script: Path, task: str) -> list[Path]:
    """A script and the package's modules that it imports, directly or not, sorted; those without code are left out, and
    what the modules read beside them is in it.

    Of the tasks, which are imported by their names, the given one, with the files that it reads.
    """
    seen: set[Path] = set()
    waiting, read = [script], list[Path]()
    while waiting:
        path = waiting.pop()
        found = set(_imported(path))
        if path == PACKAGE / "tasks/base.py":
            found.add(PACKAGE.parent / (TASKS[task].place.partition(":")[0].replace(".", "/") + ".py"))
            read = list(map(Path, TASKS[task].reads))
        waiting.extend(found - seen)
        seen |= found
    beside = (path for module in seen for path in module.parent.glob("*") if path.suffix in ASSETS)
    return sorted({script, *filter(_has_code, seen), *beside, *read})


def named(path: Path) -> set[str]:
    """The package's modules, with dots, that one file names in an import, wherever in the file it stands."""
    found: set[str] = set()
    for module, names in _statements(path.read_text(encoding="utf-8")):
        inner = {f"{module}.{name}" for name in names}
        modules = {name for name in inner if file_of(name)}
        found |= modules if names and modules == inner else {module, *modules}
    return {name for name in found if name.split(".")[0] == PACKAGE.name and file_of(name)}


@functools.cache
def _statements(code: str) -> list[tuple[str, frozenset[str]]]:
    """The imports of a file: module, and what is taken from it; nothing, where it is imported as a whole."""
    found: list[tuple[str, frozenset[str]]] = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found += [(alias.name, frozenset()) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append((node.module, frozenset(alias.name for alias in node.names)))
    return found


def file_of(module: str) -> Path | None:
    place = PACKAGE.joinpath(*module.split(".")[1:])
    return next((path for path in (place / "__init__.py", place.with_suffix(".py")) if path.is_file()), None)


def _imported(path: Path) -> Iterator[Path]:
    """The files of the modules that one file names, and of the packages above them, which run first."""
    for module in named(path):
        parts = module.split(".")
        if parts[1:2] and parts[1] in NOT_A_DEPENDENCY:
            continue
        for depth in range(1, len(parts) + 1):
            if file := file_of(".".join(parts[:depth])):
                yield file


def _has_code(path: Path) -> bool:
    if path == PACKAGE / "__init__.py":  # it only names what Python code may ask for, and runs none of it
        return False
    return path.name != "__init__.py" or len(ast.parse(path.read_text(encoding="utf-8")).body) > 1
