"""Progress as a log has it."""

import re

import pytest

from soundraft import parallel


def test_in_a_log_every_state_is_a_line_also_of_a_bar_within_a_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(parallel, "LOG_INTERVAL_S", 0.0)
    for _ in parallel.progress_over(range(2), total=2, title="whole", unit="step"):
        assert list(parallel.progress_over("abc", total=3, title="part", unit="clip")) == ["a", "b", "c"]
    text = capsys.readouterr().err
    assert not set(text) & set("\r\x1b")
    lines = text.splitlines()
    assert all(line.startswith(("whole: ", "part: ")) for line in lines)
    for state in ("whole: .* 1/2 ", "whole: .* 2/2 ", "part: .* 1/3 ", "part: .* 3/3 "):
        assert any(re.match(state, line) for line in lines)


def test_of_short_work_a_log_has_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(parallel.progress_over(range(3), total=3, title="short", unit="step")) == [0, 1, 2]
    assert capsys.readouterr().err == ""
