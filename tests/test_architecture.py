"""The house: imports point one way, only stages and the command line print, files and functions stay small."""

import ast
from pathlib import Path

from tests.closure import imported

SOURCE = Path("src/soundraft")
# from the ground up; a module may import from its own storey and from those below
STOREYS = [
    {"files", "runtime", "params", "parallel", "distributed", "tracking", "cycles", "ledger", "tables", "modules"},
    {"manifest", "audio", "metrics"},
    {"models", "rewards", "dataset", "corpora", "sidecar"},
    {"training", "evaluation"},
    {"tasks"},
    {"stage", "cli", "__main__"},
]


def storey(path: Path) -> int:
    name = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    return next(level for level, names in enumerate(STOREYS) if name in names)


def modules() -> list[Path]:
    return [path for path in sorted(SOURCE.rglob("*.py")) if path != SOURCE / "__init__.py"]


def test_imports_point_one_way() -> None:
    upward = [
        f"{path} imports {other}"
        for path in modules()
        for other in imported(path)
        if other != SOURCE / "__init__.py" and storey(other) > storey(path)
    ]
    assert upward == []


def test_training_and_evaluation_know_protocols_not_models() -> None:
    concrete = {SOURCE / "models" / name for name in ("__init__.py", "ctc.py", "whisper.py", "scratch.py")}
    for path in [*(SOURCE / "training").glob("*.py"), *(SOURCE / "evaluation").glob("*.py")]:
        named = {node.module for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)}
        assert not {f"soundraft.models.{module.stem}" for module in concrete} & named, path


def test_stages_do_not_import_stages() -> None:
    for path in Path("stages").glob("*.py"):
        assert "stages" not in {
            node.module for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)
        }


def test_only_stages_and_the_command_line_print() -> None:
    for path in (path for path in modules() if not path.is_relative_to(SOURCE / "cli")):
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        assert "print" not in {node.func.id for node in calls if isinstance(node.func, ast.Name)}, path


def test_only_tracking_imports_mlflow() -> None:
    assert [
        path.name for path in modules() if "mlflow import" in path.read_text() or "import mlflow" in path.read_text()
    ] == ["tracking.py"]


def test_files_and_functions_stay_small() -> None:
    for path in [*modules(), *Path("stages").glob("*.py")]:
        text = path.read_text()
        assert text.count("\n") <= 400, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert (node.end_lineno or 0) - node.lineno < 60, f"{path}:{node.name}"
