"""What a script depends on, read from its imports."""

import ast
from pathlib import Path

from soundraft.params.tasks import TASKS

PACKAGE = Path("src/soundraft")
# what the user sees and where numbers come from, never what is made: see the head of dvc.yaml
NOT_A_DEPENDENCY = {"params", "stage", "tracking"}
# all of a package is listed as its folder: a stage that trains or scores a model runs most of it
AS_FOLDERS = ("metrics", "models", "rewards", "training")


def dependencies(script: str, task: str) -> list[str]:
    """What dvc.yaml lists of a script's code, for one task: files, and the folders of `AS_FOLDERS`; sorted."""
    found = {Path(script)}
    for module in closure(script, task):
        package = module.relative_to(PACKAGE).parts[0]
        found.add(PACKAGE / package if package in AS_FOLDERS else module)
    return sorted(str(path).replace(f"tasks/{task}.py", "tasks/${task}.py") for path in found)


def closure(script: str, task: str) -> set[Path]:
    """Modules that a script imports, directly or not; package files without code are left out.

    Of the tasks, which are imported by their names, the given one.
    """
    seen: set[Path] = set()
    waiting = [Path(script)]
    while waiting:
        path = waiting.pop()
        found = imported(path)
        if path == PACKAGE / "tasks/base.py":
            found.add(PACKAGE.parent / (TASKS[task].place.partition(":")[0].replace(".", "/") + ".py"))
        for module in found - seen:
            seen.add(module)
            waiting.append(module)
    return {path for path in seen if has_code(path)}


def imported(path: Path) -> set[Path]:
    """The package's modules that one file names in an import, wherever in the file it stands, with their packages."""
    return {
        file for module in named(path) for file in _chain(module) if module.split(".")[1:2] not in _NOT_A_DEPENDENCY
    }


def named(path: Path) -> set[str]:
    """The package's modules, with dots, that one file names in an import."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            modules = [name for name in inner if file_of(name)]
            names = modules if len(modules) == len(inner) else [node.module, *modules]
        found |= {name for name in names if name.split(".")[0] == "soundraft" and file_of(name)}
    return found


def file_of(module: str) -> Path | None:
    place = PACKAGE.joinpath(*module.split(".")[1:])
    return next((path for path in (place / "__init__.py", place.with_suffix(".py")) if path.is_file()), None)


_NOT_A_DEPENDENCY = [[name] for name in NOT_A_DEPENDENCY]


def _chain(module: str) -> list[Path]:
    """A module's file, and the package files above it, which run first."""
    parts = module.split(".")
    files = [file_of(".".join(parts[:depth])) for depth in range(1, len(parts) + 1)]
    return [path for path in files if path is not None]


def has_code(path: Path) -> bool:
    if path == PACKAGE / "__init__.py":  # it only names what Python code may ask for, and runs none of it
        return False
    return path.name != "__init__.py" or len(ast.parse(path.read_text(encoding="utf-8")).body) > 1
