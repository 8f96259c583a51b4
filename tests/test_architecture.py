"""The house: imports point one way, no file imports one that imports it, only stages and the command line print."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from soundraft.imports import file_of, named

SOURCE = Path("src/soundraft")
# from the ground up; a module may import from its own storey and from those below
STOREYS = [
    {"params", "files", "runtime", "parallel", "distributed", "tracking", "tables", "packs"},
    {"manifest", "ledger", "splits", "audio", "metrics"},
    {"models", "rewards", "dataset", "corpora", "sidecar"},
    {"clips"},
    {"training", "evaluation"},
    {"tasks"},
    {"stage", "imports", "cli", "__main__"},
]


def modules() -> list[Path]:
    return [path for path in sorted(SOURCE.rglob("*.py")) if path != SOURCE / "__init__.py"]


def storey(path: Path) -> int:
    name = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    return next(level for level, names in enumerate(STOREYS) if name in names)


def graph() -> dict[Path, set[Path]]:
    found = {path: {file_of(name) for name in named(path)} for path in modules()}
    return {
        path: {other for other in files if other and other != SOURCE / "__init__.py"} for path, files in found.items()
    }


def test_imports_point_one_way() -> None:
    pairs = [(path, other) for path, found in graph().items() for other in found]
    assert [f"{path} imports {other}" for path, other in pairs if storey(other) > storey(path)] == []


def test_no_files_import_each_other_in_a_circle() -> None:
    try:
        TopologicalSorter(graph()).prepare()
    except CycleError as error:
        raise AssertionError(" → ".join(map(str, error.args[1]))) from None


def test_models_know_no_clips_and_training_no_concrete_model() -> None:
    concrete = {SOURCE / "models" / f"{name}.py" for name in ("__init__", "ctc", "whisper", "classifier")}
    for path, found in graph().items():
        room = path.relative_to(SOURCE).parts[0]
        assert room != "models" or not {other.relative_to(SOURCE).parts[0] for other in found} & {"clips", "training"}
        assert room not in ("training", "evaluation") or not found & concrete, path


def test_stages_do_not_import_stages() -> None:
    for path in Path("stages").glob("*.py"):
        imports = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        assert "stages" not in {node.module for node in imports}


def test_only_stages_and_the_command_line_print() -> None:
    allowed = (SOURCE / "cli", SOURCE / "stage.py", SOURCE / "params/__main__.py")
    for path in (path for path in modules() if not any(path.is_relative_to(place) for place in allowed)):
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        assert "print" not in {node.func.id for node in calls if isinstance(node.func, ast.Name)}, path


def test_only_tracking_imports_mlflow() -> None:
    using = [path.name for path in modules() if {"mlflow import", "import mlflow"} & {*_words(path)}]
    assert using == ["tracking.py"]


def _words(path: Path) -> list[str]:
    text = path.read_text()
    return [words for words in ("mlflow import", "import mlflow") if words in text]
