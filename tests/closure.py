"""Which modules of the package a script runs, read from its imports."""

import ast
from pathlib import Path

PACKAGE = Path("src/soundraft")
# what people see and where numbers come from, never what is made: see the head of dvc.yaml
NOT_A_DEPENDENCY = {"params", "stage", "tracking"}
EXPORTS = PACKAGE / "__init__.py"  # it only names what Python code may ask for, and runs none of it


def closure(script: str) -> list[str]:
    """Paths of the modules that `script` imports, directly or not, sorted; package files without code are left out."""
    seen: set[Path] = set()
    waiting = [Path(script)]
    while waiting:
        for module in imported(waiting.pop()):
            if module not in seen:
                seen.add(module)
                waiting.append(module)
    return sorted(str(path) for path in seen if _has_code(path))


def imported(path: Path) -> set[Path]:
    """The package's modules that one file names in an import, wherever in the file it stands."""
    found: set[Path] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            found |= set(_files_of(name))
    return found


def _files_of(name: str) -> list[Path]:
    """A module's file, and the package files above it, which run first."""
    parts = name.split(".")
    if parts[0] != "soundraft" or (len(parts) > 1 and parts[1] in NOT_A_DEPENDENCY):
        return []
    chain = []
    for depth in range(1, len(parts) + 1):
        place = PACKAGE.joinpath(*parts[1:depth])
        for candidate in (place / "__init__.py", place.with_name(place.name + ".py") if depth > 1 else place):
            if candidate.is_file():
                chain.append(candidate)
    return chain


def _has_code(path: Path) -> bool:
    if path == EXPORTS:
        return False
    return path.name != "__init__.py" or len(ast.parse(path.read_text(encoding="utf-8")).body) > 1
