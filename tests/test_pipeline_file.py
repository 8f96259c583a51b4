"""dvc.yaml is code: each stage lists the code that it runs and the params that it reads, no more and no less."""

import ast
import re
from pathlib import Path

import pytest
import yaml

from soundraft.params import load_params
from soundraft.params.tasks import TASKS
from tests.closure import closure, dependencies

STAGES = yaml.safe_load(Path("dvc.yaml").read_text())["stages"]
CYCLES = yaml.safe_load(Path("cycles.yaml").read_text())
NAMES = sorted(set(STAGES) - {"check"})  # check reads params.yaml as a whole
SHIPPED = [name for name, entry in TASKS.items() if entry.place.startswith("soundraft.")]

PARAMS = load_params()
LEAVES = set(PARAMS.leaves())
# what the text of a stage does not show: sections taken through getattr, or by code that dvc.yaml leaves out
EXTRA_READS = {"stages/fetch.py": {leaf for leaf in LEAVES if leaf.startswith("corpus.")}}
# read by the code of a stage, but not on the way that the stage takes through it
START = {"model.checkpoint", "train.epochs"}
PASSED_BY = {
    "benchmark": START | {"seed", "reward.kind", "train.algorithm"},
    "controls": START | {"train.algorithm", "train.reference_weight", "train.kl_weight"},
    "evaluate": START,
    "raft_train": START | {"classification.trainer.class_weights"},
    "train": {"reward.kind"},
}


def body(name: str) -> dict:
    return STAGES[name].get("do", STAGES[name])


def script(name: str) -> str:
    return next(word for word in body(name)["cmd"].split() if word.startswith("stages/"))


@pytest.mark.parametrize("name", NAMES)
def test_code_dependencies_are_what_the_script_imports(name: str) -> None:
    listed = {dep for dep in body(name)["deps"] if dep.startswith(("stages/", "src/"))}
    assert listed == {dep for task in SHIPPED for dep in dependencies(script(name), task)}


@pytest.mark.parametrize("name", NAMES)
def test_params_are_there_and_listed_once(name: str) -> None:
    listed = body(name).get("params", [])
    found = [leaf for key in listed for leaf in LEAVES if leaf == key or leaf.startswith(f"{key}.")]
    assert all(any(leaf == key or leaf.startswith(f"{key}.") for leaf in LEAVES) for key in listed)
    assert len(found) == len(set(found))


@pytest.mark.parametrize("name", NAMES)
def test_every_listed_section_is_read_by_the_stage(name: str) -> None:
    """Each listed key, or a part of it, occurs in the code that the stage runs."""
    read = EXTRA_READS.get(script(name), set()) | reads(name)
    for key in body(name).get("params", []):
        assert any(leaf == key or leaf.startswith(f"{key}.") or key.startswith(f"{leaf}.") for leaf in read), key


@pytest.mark.parametrize("name", NAMES)
def test_every_number_that_the_code_reads_is_listed(name: str) -> None:
    listed = body(name).get("params", [])
    missing = {
        leaf
        for leaf in reads(name, passed_on=name == "raft_train") & LEAVES
        if not any(leaf == key or leaf.startswith(f"{key}.") for key in listed)
    }
    assert missing - PASSED_BY.get(name, set()) == set()


def reads(name: str, *, passed_on: bool = True) -> set[str]:
    """Chains such as `params.train.epochs` in the code that a stage runs, from the section on.

    Args:
        passed_on: also those of sections that functions take under their own names, such as `train.temperature`.
    """
    sections = set(type(PARAMS).model_fields)
    found = set()
    for path in {Path(script(name)), *(path for task in SHIPPED for path in closure(script(name), task))}:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                words = dotted(node).split(".")
                for place, word in enumerate(words):
                    if word in sections and place and words[place - 1] == "params":
                        found.add(".".join(words[place:]))
                    if passed_on and word in PREFIXES:
                        found |= {f"{prefix}.{'.'.join(words[place + 1 :])}" for prefix in PREFIXES.get(word, ())}
    return {chain for chain in found if re.fullmatch(r"[a-z_0-9.]+", chain)}


PREFIXES = {"train": ("train",), "trainer": ("classification.trainer",), "reward": ("reward",)}


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
    keys = {key for name in NAMES for key in body(name).get("params", [])}
    unread = {leaf for leaf in LEAVES if not any(leaf == key or leaf.startswith(f"{key}.") for key in keys)}
    # of commands alone: how long recordings are cut, and how a doubtful text is decoded again
    assert all(leaf.startswith("decoding.") for leaf in unread), unread
