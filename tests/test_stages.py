"""Every stage says what it does, refuses options that it does not have, and names what it lacks in one line."""

import runpy
import sys
from pathlib import Path

import pytest

from soundraft import files, stage

SCRIPTS = sorted(map(str, Path("stages").resolve().glob("*.py")))
FIRST = ("check", "fetch", "imports", "plan")  # which need no other stage


def run(script: str, *argv: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [script, *argv])
        runpy.run_path(script, run_name="__main__")


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_is_shown_and_unknown_arguments_are_refused(
    script: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for argument, code in (("--help", 0), ("--nonsense", 2)):
        with pytest.raises(SystemExit) as end:
            run(script, argument)
        assert end.value.code == code
        said = capsys.readouterr()
        assert "usage: " in said.out + said.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("script", [script for script in SCRIPTS if Path(script).stem not in FIRST])
def test_without_what_other_stages_make_it_makes_nothing(
    script: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    argv = ("--cycle", "13") if Path(script).stem in ("raft_train", "controls") else ()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        run(script, *argv)
    assert isinstance(end.value.code, str)
    assert "dvc repro" in end.value.code
    assert "\n" not in end.value.code
    assert list(tmp_path.iterdir()) == []


def test_a_long_stage_says_how_long_and_a_cycle_that_is_not_active_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """All that have a stated time are stages, and the times add up to that of all."""
    assert {Path(script).stem for script in SCRIPTS} > stage.DEFAULT_TOOK_S.keys() > set(stage.CHAINS)
    assert int(stage.time_of_all(8).split()[0]) > int(stage.time_of_all(1).split()[0])
    monkeypatch.chdir(tmp_path)
    for cycle in ("01", "02"):
        files.write_json(stage.PLAN / f"raft_train/{cycle}.json", {"active": cycle == "01"})
    ran: list[int] = []
    for cycle in ("1", "2"):
        monkeypatch.setattr(sys, "argv", ["stages/raft_train.py", "--cycle", cycle])
        stage.run_cycle(ran.append, Path("models/raft"), help_text=None)
    assert ran == [1]
    assert capsys.readouterr().out.splitlines() == [
        "raft_train: 20 s with the default numbers on two cores",
        "raft_train 02: not active, as train.cycles says",
    ]
    assert list(Path("models/raft").iterdir()) == [Path("models/raft/02")]
