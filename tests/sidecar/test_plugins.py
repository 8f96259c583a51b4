"""Plug-ins: found by name, loaded only when named, started and stopped, and held to their word."""

import argparse
import sys
from pathlib import Path

import numpy as np
import pytest

from soundraft.parallel import BadClip
from soundraft.runtime import UserError
from soundraft.sidecar import features, plugins
from tests.sidecar.workshop import script

GOOD = '''"""Ones.

More.
"""
import numpy as np
def produce(ecdc_path, T, *, args):
    return {"one": np.ones(T, np.float32)}
'''


def plugin(folder: Path, name: str, text: str = GOOD) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    return folder / name


def ask(folder: Path, text: str, frames: int = 3) -> dict:
    producer = plugins.load(str(plugin(folder, "mine.py", text)), folder)
    args = argparse.Namespace(audio_root=folder)
    with plugins.session([producer], args) as own:
        made = plugins.ask([producer], folder / "clip.ecdc", frames, own)
    features.stack(made, frames, np.dtype("float32"))
    return made


def test_the_four_ways_to_name_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin(tmp_path / "dir", "ones.py")
    elsewhere = plugin(tmp_path / "other", "twos.py", GOOD.replace('"one"', '"two"'))
    plugin(tmp_path / "pack", "__init__.py", "")
    plugin(tmp_path / "pack", "threes.py", GOOD)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("const", "ones", "ones.py", str(elsewhere), "pack.threes", "soundraft.sidecar.producers.lin"):
        assert callable(plugins.load(name, tmp_path / "dir").module.produce), name


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("cosnt", "there is no producer cosnt; there are const, lin, .* did you mean const"),
        ("numpy", "there is no producer numpy"),
        ("no.such.module", "producer no.such.module cannot be loaded: ModuleNotFoundError"),
        ("numpy.linalg", r"producer numpy.linalg has no function produce"),
        ("broken", "producer broken cannot be loaded: SyntaxError"),
        ("raising", "producer raising cannot be loaded: ZeroDivisionError"),
        ("empty.py", r"producer empty.py has no function produce"),
        ("gone.py", "there is no producer gone.py"),
    ],
)
def test_what_is_no_producer(tmp_path: Path, name: str, reason: str) -> None:
    plugin(tmp_path, "broken.py", "def (")
    plugin(tmp_path, "raising.py", "1 / 0")
    plugin(tmp_path, "empty.py", "")
    with pytest.raises(UserError, match=reason):
        plugins.load(name, tmp_path)


def test_only_what_is_named_is_executed(tmp_path: Path) -> None:
    trap = f"'''A trap.'''\nopen({str(tmp_path / 'sprung')!r}, 'w')\n"
    plugin(tmp_path / "dir", "trap.py", trap)
    plugin(tmp_path / "dir", "broken.py", "def (")
    plugin(tmp_path / "dir", "ones.py")
    code, said = script("s4_sidecar_add", "--producers-dir", tmp_path / "dir", "--list-producers")
    assert code == 0
    for words in ("const ", "A trap.", "Ones. (", "cannot be read: SyntaxError", "(shipped)"):
        assert words in said
    code, said = script("s4_sidecar_add", "--producers-dir", tmp_path / "dir", "--show-producer", "ones")
    assert (code, "ones: Ones.\n\nMore." in said) == (0, True)
    assert "--lin NAME=START:END" in script("s4_sidecar_add", "--show-producer=lin")[1]
    assert not (tmp_path / "sprung").exists()


def test_two_files_of_one_name_are_two_plug_ins(tmp_path: Path) -> None:
    one = plugins.load(str(plugin(tmp_path / "a", "p.py")), tmp_path)
    two = plugins.load(str(plugin(tmp_path / "b", "p.py", GOOD.replace('"one"', '"two"'))), tmp_path)
    assert {"one", "two"} == {name for p in (one, two) for name in p.module.produce(None, 1, args=None)}


def test_a_plug_in_may_define_dataclasses(tmp_path: Path) -> None:
    text = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\nclass A:\n    x: int\n"
        + GOOD
    )
    assert list(ask(tmp_path, text)) == ["one"]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ('{"x": np.ones(T + 1, np.float32)}', r"feature 'x' has shape \[4\]; the clip has 3 frames"),
        ('{"x": np.ones((T, 1), np.float32)}', r"feature 'x' has shape \[3, 1\]"),
        ('{"x": np.array([0, np.nan, 1], np.float32)}', "feature 'x' is nan in frame 1"),
        ('{"x": np.array([0, 1, -np.inf])}', "feature 'x' is -inf in frame 2"),
        ('{"x": [1.0] * T}', "feature 'x' is list, not a numpy array"),
        ('{"x": np.array(["a"] * T)}', "feature 'x' is array of <U1"),
        ('{"x": np.ones(T, complex)}', "feature 'x' is array of complex128"),
        ('{"x": np.array([None] * T)}', "feature 'x' is array of object"),
        ("{3: np.ones(T)}", "has no name"),
        ('{"": np.ones(T)}', "has no name"),
        ("np.ones(T)", "gave ndarray, not a dict"),
        ("None", "gave NoneType, not a dict"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_wrong_answer_names_the_plug_in(tmp_path: Path, given: str, reason: str) -> None:
    text = f"import numpy as np\ndef produce(ecdc_path, T, *, args):\n    return {given}\n"
    with pytest.raises(BadClip, match=f"producer .*mine.py.*{reason}"):
        ask(tmp_path, text)


LIFE = """
import numpy as np
def init(args):
    args.log.append("init")
    {init}
def produce(ecdc_path, T, *, args):
    return {{}}
def shutdown(args):
    args.log.append("shutdown")
"""


@pytest.mark.parametrize(("init", "error"), [("pass", RuntimeError), ("1 / 0", UserError)])
def test_shutdown_always_runs(tmp_path: Path, init: str, error: type[Exception]) -> None:
    names = ("one.py", "two.py")
    made = [plugins.load(str(plugin(tmp_path, name, LIFE.format(init=init))), tmp_path) for name in names]
    args = argparse.Namespace(log=[])
    with (
        pytest.raises(error, match=r"stopped|two.py does not start: Zero|one.py does not start: Zero"),
        plugins.session(made, args),
    ):
        raise RuntimeError("stopped")
    assert args.log == (["init"] * 2 + ["shutdown"] * 2 if init == "pass" else ["init", "shutdown"])


def test_what_init_keeps_stays_in_its_session(tmp_path: Path) -> None:
    text = "def init(args):\n    args.kept = 1\ndef produce(ecdc_path, T, *, args):\n    return {}\n"
    args = argparse.Namespace()
    with plugins.session([plugins.load(str(plugin(tmp_path, "k.py", text)), tmp_path)], args) as own:
        assert own.kept == 1
    assert vars(args) == {}


def test_the_last_producer_wins_and_options_may_not_clash(tmp_path: Path) -> None:
    first = plugins.load(str(plugin(tmp_path, "a.py")), tmp_path)
    last = plugins.load(str(plugin(tmp_path, "b.py", GOOD.replace("np.ones", "np.zeros"))), tmp_path)
    owner, values = plugins.ask([first, last], tmp_path / "x", 2, argparse.Namespace())["one"]
    assert owner == last.name
    assert np.array_equal(values, [0, 0])
    clash = "def add_cli_args(parser):\n    parser.add_argument('--const')\n" + GOOD
    with pytest.raises(UserError, match="its option clashes"):
        plugins.add_options(
            argparse.ArgumentParser(),
            [plugins.load("const", tmp_path), plugins.load(str(plugin(tmp_path, "c.py", clash)), tmp_path)],
        )


def test_a_plug_in_that_does_not_load_leaves_no_module_behind(tmp_path: Path) -> None:
    before = set(sys.modules)
    with pytest.raises(UserError):
        plugins.load(str(plugin(tmp_path, "raising.py", "1 / 0")), tmp_path)
    assert not {name for name in set(sys.modules) - before if "raising" in name}
