"""dvc.yaml is code: each stage depends on the code that it runs and lists the params that it reads, and no others."""

import ast
import functools
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from soundraft import files
from soundraft.imports import NOT_A_DEPENDENCY, closure, file_of
from soundraft.params import load_params
from soundraft.params.tasks import TASKS
from tests.pipeline.workshop import with_keys

STAGES = yaml.safe_load(Path("dvc.yaml").read_text())["stages"]
CYCLES = yaml.safe_load(Path("cycles.yaml").read_text())
# the first reads params.yaml as a whole, the second the task alone; the third writes what cycles depend on
NAMES = sorted(set(STAGES) - {"check", "imports", "plan"})
PLAN = runpy.run_path("stages/plan.py", run_name="plan")
SHIPPED = [name for name, entry in TASKS.items() if entry.place.startswith("soundraft.")]

PARAMS = load_params()
LEAVES = set(PARAMS.leaves())
# what the text of a stage does not show: sections taken through getattr, or by code that dvc.yaml leaves out
EXTRA_READS = {"fetch": {leaf for leaf in LEAVES if leaf.startswith("corpus.")}}
# read by the code of a stage, but not on the way that the stage takes through it
START = {"model.checkpoint", "train.epochs"}
PASSED_BY = {
    "benchmark": START | {"seed", "reward.kind", "train.algorithm", "evaluate.judge"},
    "controls": START | {"train.algorithm", "train.reference_weight", "train.kl_weight", "evaluate.judge"},
    "evaluate": START,
    "raft_train": START | {"classification.trainer.class_weights", "evaluate.judge"},
    "train": {"reward.kind", "evaluate.judge"},
}


def body(name: str) -> dict:
    return STAGES[name].get("do", STAGES[name])


def script(name: str) -> Path:
    return Path(next(word for word in body(name)["cmd"].split() if word.startswith("stages/")))


def listed(name: str) -> list[str]:
    """Keys and sections of the params that start a stage again, but those of a task."""
    return [*body(name).get("params", []), *PLAN["NUMBERS"].get(name, ())]


@pytest.mark.parametrize("name", [*NAMES, "plan"])
def test_every_stage_depends_on_the_code_that_its_script_imports(name: str) -> None:
    by_plan = STAGES["plan"]["deps"] if name in PLAN["NUMBERS"] else []
    assert f".gate/imports/{script(name).stem}.json" in [*body(name)["deps"], *by_plan]
    assert not [dep for dep in body(name)["deps"] if dep.startswith(("src/", "stages/"))]


def test_what_the_plan_writes_down_is_known_to_its_stage() -> None:
    known = STAGES["plan"]["params"]
    assert {str(path) for path in PLAN["DATA"]} <= set(STAGES["plan"]["deps"])
    for key in {"train.cycles", *(key for keys in PLAN["NUMBERS"].values() for key in keys)}:
        assert any(key == each or key.startswith(f"{each}.") for each in known), key


def test_a_change_starts_the_active_cycles_that_depend_on_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, root = Path("params.yaml").read_text(), Path.cwd()
    (tmp_path / "cycles.yaml").symlink_to(root / "cycles.yaml")
    script = str(root / "stages/plan.py")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [script])
    inputs = [*map(str, PLAN["DATA"]), *(f".gate/imports/{chain}.json" for chain in PLAN["NUMBERS"])]

    def plan(**values: object) -> dict[str, str]:
        """Of each cycle's file the hash; of params all but these are as they are."""
        Path("params.yaml").write_text(with_keys(text, {f"train.{key}": value for key, value in values.items()}))
        runpy.run_path(script, run_name="__main__")
        found = {path.relative_to("data/plan"): path for path in Path("data/plan").glob("*/*.json")}
        return {str(name): files.content_hash(path) for name, path in found.items()}

    def changed(one: dict[str, str], other: dict[str, str]) -> set[str]:
        assert one.keys() == other.keys()
        return {name for name in one if one[name] != other[name]}

    for name in inputs:
        files.write_text(Path(name), "before")
    before = plan(cycles=2)
    active = {f"{chain}/{cycle}.json" for chain in PLAN["NUMBERS"] for cycle in ("01", "02")}
    assert changed(before, plan(cycles=4)) == {f"{chain}/{n}.json" for chain in PLAN["NUMBERS"] for n in ("03", "04")}
    assert changed(before, plan(cycles=2, temperature=0.5)) == active
    assert changed(before, plan(cycles=2, keep_top_percent=50.0)) == {"raft_train/01.json", "raft_train/02.json"}
    assert changed(before, plan(cycles=2, epochs=1)) == set()  # of the start model alone
    files.write_text(Path(inputs[0]), "after")
    assert changed(before, plan(cycles=2)) == active


@pytest.mark.parametrize("name", ["fetch", "s1_normalize", "s4_sidecar_add", "raft_train"])
def test_the_imports_of_a_script_are_those_that_python_makes(name: str) -> None:
    code = f"import runpy, sys; runpy.run_path('{script(name)}', run_name='stage'); print(*sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": "src"},
    )
    loaded = {file_of(module) for module in ran.stdout.split() if module.split(".")[0] == "soundraft"}
    own = {
        path
        for path in loaded
        if path and path.name != "__init__.py" and path.parts[2:3][0].removesuffix(".py") not in NOT_A_DEPENDENCY
    }
    assert own - {Path("src/soundraft/distributed.py")} <= set(
        closure(script(name), "asr")
    )  # stage.py imports that one


def test_a_list_of_imports_follows_the_code_and_the_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file's hash is in the lists of the stages that run it, and in no other."""
    root = Path.cwd()
    for place in ("src", "stages", "params.yaml", "cycles.yaml"):
        (tmp_path / place).symlink_to(root / place)
    monkeypatch.chdir(tmp_path)
    subprocess.run(
        [sys.executable, "stages/imports.py"], check=True, capture_output=True, env={**os.environ, "PYTHONPATH": "src"}
    )
    lists = {name: files.read_json(Path(f".gate/imports/{name}.json")) for name in ("fetch", "train", "evaluate")}
    assert {name for name, found in lists.items() if "src/soundraft/corpora/espeak.py" in found} == {"fetch"}
    assert {name for name, found in lists.items() if "src/soundraft/tasks/asr.py" in found} == {"train", "evaluate"}
    assert not any("src/soundraft/tasks/classification.py" in found for found in lists.values())
    assert not any(key.startswith("tts.") for found in lists.values() for key in found)
    assert not any(
        path.split("/")[2].removesuffix(".py") in NOT_A_DEPENDENCY
        for found in lists.values()
        for path in found
        if path.startswith("src")
    )
    file = Path("src/soundraft/splits.py")
    assert lists["fetch"][str(file)] == files.content_hash(file)


def test_stages_of_a_task_depend_on_the_recognisers_that_it_hears_with() -> None:
    weights = {Path(path) for path in TASKS["tts"].reads}
    assert weights
    assert all(path.is_file() for path in weights)
    assert weights <= set(closure(Path("stages/evaluate.py"), "tts"))
    assert weights.isdisjoint(closure(Path("stages/evaluate.py"), "asr"))
    assert {str(path) for path in weights} <= set(STAGES["imports"]["deps"])


def of_tasks(name: str) -> set[str]:
    """Keys and sections that the stage's list of imports has of some task."""
    return {key for task in SHIPPED for key in TASKS[task].numbers.get(script(name).stem, ())}


@pytest.mark.parametrize("task", SHIPPED)
def test_numbers_of_a_task_are_those_of_stages_and_known_to_the_stage_that_lists_them(task: str) -> None:
    known = STAGES["imports"]["params"]
    assert set(TASKS[task].numbers) <= {script(name).stem for name in NAMES}
    for key in {key for keys in TASKS[task].numbers.values() for key in keys}:
        assert any(leaf == key or leaf.startswith(f"{key}.") for leaf in LEAVES), key
        assert any(key == each or key.startswith(f"{each}.") for each in known), key


@pytest.mark.parametrize("name", NAMES)
def test_params_are_there_and_listed_once(name: str) -> None:
    keys = [*listed(name), *of_tasks(name)]
    found = [leaf for key in keys for leaf in LEAVES if leaf == key or leaf.startswith(f"{key}.")]
    assert all(any(leaf == key or leaf.startswith(f"{key}.") for leaf in LEAVES) for key in keys)
    assert len(found) == len(set(found))


@pytest.mark.parametrize("name", NAMES)
def test_every_listed_section_is_read_by_the_stage(name: str) -> None:
    """Each listed key, or a part of it, occurs in the code that the stage runs."""
    read = EXTRA_READS.get(name, set()) | reads(name)
    for key in [*listed(name), *of_tasks(name)]:
        assert any(leaf == key or leaf.startswith(f"{key}.") or key.startswith(f"{leaf}.") for leaf in read), key


@pytest.mark.parametrize("name", NAMES)
def test_every_number_that_the_code_reads_is_listed(name: str) -> None:
    keys = [*listed(name), *of_tasks(name)]
    missing = {
        leaf
        for leaf in reads(name, passed_on=name == "raft_train") & LEAVES
        if not any(leaf == key or leaf.startswith(f"{key}.") for key in keys)
    }
    assert missing - PASSED_BY.get(name, set()) == set()


@functools.cache
def code_of(name: str) -> frozenset[Path]:
    return frozenset(path for task in SHIPPED for path in closure(script(name), task) if path.suffix == ".py")


@functools.cache
def chains(path: Path) -> frozenset[str]:
    """Such as `params.train.epochs`, in a file."""
    return frozenset(dotted(node) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute))


def reads(name: str, *, passed_on: bool = True) -> set[str]:
    """Chains such as `params.train.epochs` in the code that a stage runs, from the section on.

    Args:
        passed_on: also those of sections that functions take under their own names, such as `train.temperature`.
    """
    sections = set(type(PARAMS).model_fields)
    found = set()
    for words in (chain.split(".") for path in code_of(name) for chain in chains(path)):
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
    assert all(f"data/plan/{name}/${{item.cycle}}.json" in body(name)["deps"] for name in PLAN["NUMBERS"])
    for key, chain in (("previous", "models/raft"), ("previous_controls", "models/controls")):
        assert [item[key] for item in items] == ["models/base", *(f"{chain}/{number}" for number in numbers[:-1])]


def test_every_param_is_read_by_some_stage() -> None:
    keys = {"train.cycles", *(key for name in NAMES for key in {*listed(name), *of_tasks(name)})}
    unread = {leaf for leaf in LEAVES if not any(leaf == key or leaf.startswith(f"{key}.") for key in keys)}
    # of commands alone: how long recordings are cut, and how a doubtful text is decoded again
    assert all(leaf.startswith("decoding.") for leaf in unread), unread
