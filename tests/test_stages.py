"""Every stage says what it does and refuses options that it does not have; running it takes neither."""

import runpy
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("script", sorted(map(str, Path("stages").glob("*.py"))))
def test_help_is_shown_and_unknown_arguments_are_refused(
    script: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for argument, code in (("--help", 0), ("--nonsense", 2)):
        monkeypatch.setattr(sys, "argv", [script, argument])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(script, run_name="__main__")
        assert end.value.code == code
        said = capsys.readouterr()
        assert "usage: " in said.out + said.err
