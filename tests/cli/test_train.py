"""`soundraft train`, `benchmark` and `compare`, one after the other on one toy corpus."""

import json
from pathlib import Path

import pytest

from soundraft import cli, files
from tests.tasks import workshop
from tests.test_cli import soundraft

SMALL = [f"{key}={json.dumps(value)}" for key, value in workshop.SMALL.items()]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return workshop.recordings(tmp_path_factory.mktemp("cli") / "data", train=30, validation=8, test=16)


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "out"
    cli.main([str(word) for word in command(data, out)])
    return out


def command(data: Path, out: Path, *more: object) -> list[object]:
    model = ["--model", workshop.checkpoint(), "--dataset", data, "--output", out]
    return ["train", *model, "--cycles", 1, "--samples-per-prompt", 8, "--learning-rate", 2e-3, "--set", *SMALL, *more]


def test_a_dry_run_tells_the_plan_and_writes_nothing(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = soundraft(capsys, *command(data, tmp_path / "out", "--dry-run"))
    assert "train 30 (" in said
    assert "1 of raft" in said
    assert "2 rounds, 48 presentations, 6 optimiser steps" in said
    assert "nothing was written" in said
    assert list(tmp_path.iterdir()) == []


def test_a_run_says_what_it_made_and_what_is_next(run: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = soundraft(capsys, *command(data, run))
    assert "raft 01: done before" in said
    assert f"next: soundraft transcribe FILE --model {run}/cycles/01" in said
    record = files.read_json(run / "run.json")
    assert record["params"]["train.presentations_per_cycle"] == 48
    assert record["data"]["title"] == str(data)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--set", "train.tempratur=1.0"), "did you mean train.temperature?"),
        (("--set", "train.temperature=-1.0"), "train.temperature: got -1.0; allowed: greater than 0"),
        (("--dataset", "librispech"), "neither a folder nor a corpus; there are espeak"),
        (("--validation", "nowhere"), "nowhere: neither a corpus nor a folder"),
        (("--model", "./nowhere"), "cannot load './nowhere'"),
    ],
)
def test_what_cannot_be_is_told_in_a_line(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    more: tuple[str, ...], message: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(SystemExit) as end:
        cli.main([str(word) for word in command(data, tmp_path / "out", *more)])
    assert message in str(end.value)
    assert "\n" not in str(end.value)
    assert not (tmp_path / "out").exists()
    soundraft(capsys, *command(data, tmp_path / "out", "--set", "x"), code=2)
    for wrong in (("--algorithm", "ppo"), ("--task", "tts"), ("--cycles", -1), ("--wer-threshold", "low")):
        assert wrong[0] in soundraft(capsys, *command(data, tmp_path / "out", *wrong), code=2)


def test_benchmark_tells_quality_and_speed(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ("benchmark", "--model", workshop.checkpoint(), "--dataset", data, "--limit", 10, "--repeats", 1)
    said = soundraft(capsys, *argv, "--output", tmp_path / "b.json")
    found = json.loads((tmp_path / "b.json").read_text())
    assert (found["split"], found["clips"], found["device"]) == ("test", 10, "cpu")
    assert 0 < found["wer_low"] <= found["wer"] <= found["wer_high"]
    assert found["cer"] < found["wer"]
    assert found["batched_throughput"] == pytest.approx(1 / found["batched_real_time_factor"])
    assert f"in batches of {found['batch_clips']}" in said
    assert found["latency_p50_s"] <= found["latency_p95_s"]
    assert f"WER [95 % interval]  {found['wer']:.1%} [" in said
    soundraft(capsys, *argv, "--task", "classification", code="`soundraft evaluate` measures classifiers")


def test_its_error_rate_is_that_of_the_run(run: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    after = files.read_json(run / "metrics.json")["wer_after"]
    said = soundraft(capsys, "benchmark", "--model", run / "cycles/01", "--dataset", data, "--repeats", 1)
    assert f"WER [95 % interval]  {after:.1%} [" in said


def test_compare_tells_difference_interval_and_p(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = soundraft(capsys, "compare", run, run / "predictions.parquet", "--cycle-a", 0, "--json", tmp_path / "c.json")
    found, metrics = json.loads((tmp_path / "c.json").read_text()), files.read_json(run / "metrics.json")
    assert found["wer_a"] == metrics["wer_before"]
    assert found["wer_b"] == metrics["wer_after"]
    assert found["difference"] == pytest.approx(metrics["wer_before"] - metrics["wer_after"])
    assert found["low"] <= found["difference"] <= found["high"]
    assert f"{100 * found['difference']:+.2f} points" in said
    soundraft(capsys, "compare", run, tmp_path, code="no predictions.parquet in it")
    soundraft(capsys, "compare", run, tmp_path / "none", code="no such run")
    soundraft(capsys, "compare", run, run, "--cycle-a", 7, code="it has start 0, raft 1")


def test_a_folder_of_recordings_alone_is_enough_without_transcripts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = workshop.recordings(tmp_path / "data", none=12)
    (folder / "metadata.csv").unlink()
    words, out = dict.fromkeys(("words", "vocabulary", "length", "language", "stability"), 0.0), tmp_path / "out"
    weights = f"reward.unsupervised.weights={json.dumps({'agreement': 1.0} | words)}"
    more = ("--set", "reward.kind=unsupervised", weights, "train.reward_threshold=0.0")
    assert "train 12 (" in soundraft(capsys, *command(folder, out, *more, "--dry-run"))
    said = soundraft(capsys, *command(folder, out, *more))
    assert f"{out}: report.md, metrics.json; the last model is {out}/cycles/01" in said
    soundraft(capsys, *command(folder, tmp_path / "other"), code="no list of the recordings is there")
    unknown = ("--set", "reward.kind=unsupervised")
    soundraft(capsys, *command(folder, tmp_path / "other", *unknown), code="--replay on the command line")
