"""dvc.yaml is code: each stage names the modules it runs and the params it reads, no more and no less."""

import ast
import re
from pathlib import Path

import pytest
import yaml

from soundraft.params import load_params
from tests.closure import closure, imported

STAGES = yaml.safe_load(Path("dvc.yaml").read_text())["stages"]
CYCLES = yaml.safe_load(Path("cycles.yaml").read_text())
NAMES = sorted(set(STAGES) - {"check"})  # check reads params.yaml as a whole

LEAVES = set(load_params().leaves())
# what the text of a stage does not show: sections taken through getattr, and parts of a section taken whole
EXTRA_READS = {"stages/fetch.py": {leaf for leaf in LEAVES if leaf.startswith("corpus.")}}
OF_THE_START = {"train.epochs", "train.cycles", "train.supervised.batch_size", "train.supervised.learning_rate"}
# a control chooses for itself what to learn
OF_RAFT = {f"train.{key}" for key in ("algorithm", "reward_threshold", "keep_top_percent")}
OF_RAFT |= {f"train.{key}" for key in ("group_size", "ratio_clip", "best_weight", "reference_weight", "kl_weight")}
NOT_READ: dict[str, set[str]] = {
    "stages/train.py": {"classification.trainer.cycle_learning_rate"},
    "stages/raft_train.py": OF_THE_START,
    "stages/controls.py": OF_THE_START | OF_RAFT,
}


def body(name: str) -> dict:
    return STAGES[name].get("do", STAGES[name])


def script(name: str) -> str:
    return next(word for word in body(name)["cmd"].split() if word.startswith("stages/"))


@pytest.mark.parametrize("name", NAMES)
def test_code_dependencies_are_the_import_closure(name: str) -> None:
    listed = sorted(dep for dep in body(name)["deps"] if dep.endswith(".py"))
    assert listed == sorted([script(name), *closure(script(name))])


@pytest.mark.parametrize("name", NAMES)
def test_params_are_the_leaves_that_the_script_reads(name: str) -> None:
    listed = set(body(name).get("params", []))
    assert listed <= LEAVES, "only leaf keys"
    read = read_sections(script(name))
    assert read - listed == set(), "read but not listed"
    assert listed - read == set(), "listed but not read"


def read_sections(path: str) -> set[str]:
    """Leaf keys that a stage reads: each `params.a.b` in its text and in that of the tasks it names.

    All leaves of a section that is taken whole.
    """
    read: set[str] = set()
    for text in [Path(path), *tasks_of(path)]:
        for function in ast.walk(ast.parse(text.read_text())):
            if isinstance(function, ast.FunctionDef):
                for chain in chains(function):
                    read |= {leaf for leaf in LEAVES if leaf == chain or leaf.startswith(f"{chain}.")}
    return (read | EXTRA_READS.get(path, set())) - NOT_READ.get(path, set())


def tasks_of(path: str) -> list[Path]:
    """The modules of tasks that a stage names itself."""
    tasks = Path("src/soundraft/tasks")
    return [module for module in imported(Path(path)) if module.parent == tasks and module.name != "__init__.py"]


def chains(function: ast.FunctionDef) -> set[str]:
    """Dotted names after `params`, also through `options = params.section`; the alias itself reads nothing."""
    aliases = {"params": ""}
    naming = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and re.fullmatch(r"params\.[a-z_.]+", dotted(node.value)):
            named = dotted(node.value).removeprefix("params.")
            if named not in LEAVES:
                aliases[ast.unparse(node.targets[0])] = f"{named}."
                naming.add(id(node.value))
    inner = {id(node.value) for node in ast.walk(function) if isinstance(node, ast.Attribute)}
    found = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Attribute) and id(node) not in inner | naming:
            head, _, rest = dotted(node).partition(".")
            if head in aliases:
                found.add(aliases[head] + rest.removesuffix(".model_dump"))
    return found - {"leaves"}


def dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def test_every_cycle_goes_on_from_the_one_before() -> None:
    items = list(CYCLES["cycles"].values())
    numbers = [item["cycle"] for item in items]
    assert numbers == [f"{number:02d}" for number in range(1, 13)]
    for key, chain in (("previous", "models/raft"), ("previous_controls", "models/controls")):
        assert [item[key] for item in items] == ["models/base", *(f"{chain}/{number}" for number in numbers[:-1])]


def test_every_param_is_read_by_some_stage() -> None:
    read = {key for name in NAMES for key in body(name).get("params", [])}
    assert LEAVES - read == set()
