"""`soundraft compare` on the files that the tasks write."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from soundraft.evaluation.predictions import Model, write_models, write_predictions
from tests.evaluation import test_compare as speech
from tests.evaluation.test_compare_labels import answers
from tests.test_cli import soundraft


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A run of one classifier, the repository of a pipeline with several, and a run of speech recognition."""
    write_predictions(tmp_path / "one/predictions.parquet", answers(6))
    models = [(Model("start", "start", 0), answers(24)), (Model("trained", "raft", 1), answers(12))]
    write_models(tmp_path / "repository/reports/evaluate/predictions.parquet", models)
    (tmp_path / "speech").mkdir()
    speech.written(tmp_path / "speech/predictions.parquet", *speech.RUN)
    return tmp_path


def test_two_classifiers(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ("compare", runs / "one", runs / "repository", "--samples", 99, "--json", runs / "c.json")
    said = soundraft(capsys, *argv).splitlines()
    assert [cell.strip() for cell in said[3].split("|")[2:5]] == ["raft 1", "60", "80.00%"]
    assert said[5].startswith("Accuracy, first less second: +10.00 points")
    assert said[6].startswith("UAR, first less second: ")
    found = json.loads((runs / "c.json").read_text())
    assert (found["accuracy_a"], found["accuracy_b"], found["clips"]) == (0.9, 0.8, 60)
    assert "+30.00 points" in soundraft(capsys, *argv, "--cycle-b", 0)
    assert "+30.00 points" in soundraft(capsys, *argv, "--algorithm-b", "start")
    soundraft(capsys, *argv, "--cycle-b", 4, code="it has start 0, raft 1")
    soundraft(capsys, *argv, "--cycle-a", 1, code="has the answers of one model")


def test_tasks_do_not_mix(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for names in (("one", "speech"), ("speech", "one")):
        said = soundraft(capsys, "compare", *(runs / name for name in names), code="one/predictions.parquet is of a cl")
        assert "speech/predictions.parquet of speech recognition" in said
    pq.write_table(pa.table({"id": ["a"], "text": ["b"]}), runs / "odd.parquet")
    soundraft(capsys, "compare", runs / "one", runs / "odd.parquet", code="neither a recogniser (hits, substitutions")
