"""Every stage says what it does, refuses options that it does not have, and names what it lacks in one line."""

import runpy
import sys
from pathlib import Path

import pytest

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
