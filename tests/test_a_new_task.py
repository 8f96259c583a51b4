"""A task is its own files and one line in `TASKS`: stages, command line and Python run one that is new to them."""

import os
import runpy
import sys
from pathlib import Path

import pandas
import pytest

import soundraft
from soundraft import cli, files
from soundraft.params.tasks import TASKS
from soundraft.tasks.base import task_class
from tests import nearest_mean
from tests.pipeline.workshop import ROOT, with_keys
from tests.tasks import sounds

NUMBERS = {
    "task": nearest_mean.NAME,
    "train.cycles": 1,
    "train.rounds_per_cycle": 2,
    "train.samples_per_prompt": 8,
    "train.presentations_per_cycle": 96,
    "evaluate.bootstrap_samples": 100,
    "benchmark.clips": 2,
}


@pytest.fixture(autouse=True)
def added(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(TASKS, nearest_mean.NAME, nearest_mean.ENTRY)
    monkeypatch.chdir(tmp_path)


def test_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = {split: sounds.clips(count, seed=seed) for seed, (split, count) in enumerate(
        {"train": 36, "validation": 9, "test": 18}.items())}  # fmt: skip
    sounds.dataset(tmp_path / "data/dataset", **parts)
    (tmp_path / "params.yaml").write_text(with_keys((ROOT / "params.yaml").read_text(), NUMBERS))
    for chain in ("raft_train", "controls"):
        files.write_json(tmp_path / f"data/plan/{chain}/01.json", {"active": True})
    (tmp_path / "reports/audit").mkdir(parents=True)
    for stage in ("train", "raft_train --cycle 1", "controls --cycle 1", "benchmark", "evaluate", "report"):
        script, *options = stage.split()
        monkeypatch.setattr(sys, "argv", [f"{ROOT}/stages/{script}.py", *options])
        runpy.run_path(sys.argv[0], run_name="__main__")
    before, after = (
        (tmp_path / place / "means.safetensors").read_bytes() for place in ("models/base", "models/raft/01")
    )
    assert before != after  # a cycle trains
    assert files.read_json(tmp_path / "reports/evaluate/metrics.json")["accuracy_before"] > 0.6  # of three speakers
    assert "RAFT" in (tmp_path / "reports/evaluate/report.md").read_text()
    page = (tmp_path / "reports/index.html").read_text()
    assert "RAFT: <span" in page  # the verdict
    assert page.count("<article") >= 6
    assert "What is taken for what" in page
    rollouts = pandas.read_parquet(tmp_path / "models/raft/01/rollouts.parquet")
    assert set(rollouts["text"]) <= set(sounds.SPEAKERS)
    assert {0.0, 1.0} >= set(rollouts["reward"])


def test_command_line_and_python(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = sounds.folder_corpus(tmp_path / "recordings", counts={"train": 36, "validation": 9, "test": 18})
    numbers = [
        f"{key}={value}" for key, value in NUMBERS.items() if key.startswith(("train.rounds", "train.pres", "evaluate"))
    ]
    train = ["train", "--task", "speaker", "--dataset", str(folder), "--output", "runs/one", "--cycles", "1"]
    cli.main([*train, "--set", *numbers])
    assert {"run.json", "start", "cycles", "report.md", "predictions.parquet", "splits.csv"} <= set(
        os.listdir("runs/one")
    )
    cli.main(["evaluate", "--model", "runs/one", "--dataset", str(folder)])
    assert "accuracy" in capsys.readouterr().out
    cli.main(["predict", "--model", "runs/one", "--dataset", str(folder), "--output", "answers.csv"])
    answers = pandas.read_csv("answers.csv")
    assert set(answers["speaker_predictions"]) == set(sounds.SPEAKERS)
    cli.main(["benchmark", "--model", "runs/one", "--dataset", str(folder)])
    cli.main(["compare", "runs/one", "runs/one", "--cycle-b", "0"])
    cli.main(["report", "runs/one", "--against", "runs/one"])
    assert "Against one" in (tmp_path / "runs/one/index.html").read_text()
    assert len(soundraft.predict("runs/one/start", str(folder))) == 63
    assert task_class("speaker") is nearest_mean.SpeakerRecognition
