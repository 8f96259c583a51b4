"""`soundraft train`, `benchmark` and `compare`, one after the other on one toy corpus."""

import argparse
import json
from pathlib import Path

import datasets
import pytest

from soundraft import cli, files
from soundraft.audio import io
from soundraft.cli.look import run_at
from soundraft.cli.options import language_of
from tests.conftest import soundraft
from tests.tasks import letters

SMALL = [f"{key}={json.dumps(value)}" for key, value in letters.SMALL.items()]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return letters.recordings(tmp_path_factory.mktemp("cli") / "data", train=30, validation=8, test=16)


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "out"
    cli.main([str(word) for word in command(data, out)])
    return out


def command(data: Path, out: Path, *more: object) -> list[object]:
    model = ["--model", letters.checkpoint(), "--dataset", data, "--output", out]
    return ["train", *model, "--cycles", 1, "--samples-per-prompt", 8, "--learning-rate", 2e-3, "--set", *SMALL, *more]


def test_a_dry_run_shows_the_plan_and_writes_nothing(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = soundraft(capsys, *command(data, tmp_path / "out", "--dry-run"))
    assert "train 30 (" in said
    assert "2 rounds, 48 presentations, 6 optimiser steps" in said
    assert list(tmp_path.iterdir()) == []


def test_a_dataset_on_disk_is_taken_as_a_folder_is(
    run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = {"audio": [str(data / f"{number:03d}.wav") for number in range(3)]}
    saved = datasets.Dataset.from_dict(rows | {"text": [letters.text_of(number) for number in range(3)]})
    saved.save_to_disk(tmp_path / "one")
    datasets.DatasetDict(test=saved).save_to_disk(tmp_path / "dict")
    for name in ("one", "dict"):
        evaluate = ("evaluate", "--model", run / "start", "--dataset", tmp_path / name)
        assert "text, 3 clips: WER" in soundraft(capsys, *evaluate, "--split", "all")
        soundraft(capsys, *evaluate, "--subset", "x", code="--subset is for corpora and folders")
        predict = ("predict", "--model", run, "--dataset", tmp_path / name, "--output", tmp_path / "a.csv")
        assert "3 clips" in soundraft(capsys, *predict)


def test_a_run_is_continued_with_the_options_that_it_was_given(
    run: Path, data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["/usr/bin/soundraft", "train", "--dataset", "my recordings"])
    said = soundraft(capsys, *command(data, run))
    assert "raft 01: done before" in said
    assert f"soundraft predict --model {run}/cycles/01" in said
    params = files.read_json(run / "run.json")["params"]
    expected = {"cycles": 1, "samples_per_prompt": 8, "learning_rate": 2e-3, "presentations_per_cycle": 48}
    assert {name: params[f"train.{name}"] for name in expected} == expected
    assert run_at(run).commands == ["soundraft train --dataset 'my recordings'"]


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (("--set", "train.tempratur=1.0"), "did you mean train.temperature?"),
        (("--set", "temperature=-1.0"), "train.temperature: got -1.0"),
        (("--algorithm", "grpo", "--samples-per-prompt", "1"), "--samples-per-prompt: got 1"),
        (("--set", "cycles=2"), "--cycles is given twice"),
        (("--dataset", "librispech"), "librispech: neither a folder nor a corpus"),
        (("--validation", "nowhere"), "nowhere"),
        (("--model", "./nowhere"), "./nowhere"),
        (("--output", "/proc/x"), "/proc/x"),
        (("--learning-rate", 1e-6, "--set", "min_lr=1e-5"), "above --learning-rate"),
        (("--task", "classification"), "encoders of audio are"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    more: tuple[str, ...], named: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    soundraft(capsys, *command(data, tmp_path / "out", *more), code=named)
    assert not (tmp_path / "out").exists()


def test_options_are_checked_by_the_fields_of_params(capsys: pytest.CaptureFixture[str]) -> None:
    for flag, value in (("--algorithm", "ppo"), ("--task", "sing"), ("--cycles", -1), ("--set", "x"), ("--fold", 0)):
        assert flag in soundraft(capsys, "train", "--dataset", "x", "--model", "y", flag, value, code=2)


def test_benchmark_measures_quality_and_speed(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ("benchmark", "--model", letters.checkpoint(), "--dataset", data, "--limit", 10, "--repeats", 1)
    said = soundraft(capsys, *argv, "--output", tmp_path / "b.json", "--split", "test", "--max-bad-fraction", 0.5)
    assert "--split test --limit 10 --max-bad-fraction 0.5 --output FOLDER" in said
    soundraft(capsys, *argv, "--output", "/proc/x/b.json", code="/proc/x")
    soundraft(capsys, *argv, "--max-bad-fraction", 5, code=2)
    found = json.loads((tmp_path / "b.json").read_text())
    assert (found["split"], found["clips"], found["device"]) == ("test", 10, "cpu")
    assert 0 < found["wer_low"] <= found["wer"] <= found["wer_high"]
    assert found["cer"] < found["wer"]
    assert found["batched_throughput"] == pytest.approx(1 / found["batched_real_time_factor"])
    assert found["latency_p50_s"] <= found["latency_p95_s"]


def test_a_corpus_without_splits_of_its_own_is_measured_whole_up_to_the_limit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = [letters.text_of(number) for number in range(8)]
    for number, text in enumerate(texts):
        io.write_wav(tmp_path / "wavs" / f"{number}.wav", letters.wave_of(text), letters.RATE_HZ)
    lines = [f"{number}|{text}" for number, text in enumerate(texts)]
    (tmp_path / "metadata.csv").write_text("\n".join(lines), encoding="utf-8")
    argv = ("benchmark", "--model", letters.checkpoint(), "--dataset", "ljspeech", "--path", tmp_path)
    for limit, expected in ((32, 8), (3, 3)):
        soundraft(capsys, *argv, "--limit", limit, "--repeats", 1, "--output", tmp_path / "b.json")
        found = json.loads((tmp_path / "b.json").read_text())
        assert (found["split"], found["clips"]) == ("all", expected)


def test_its_error_rate_is_that_of_the_run(run: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    after = files.read_json(run / "metrics.json")["wer_after"]
    said = soundraft(capsys, "benchmark", "--model", run / "cycles/01", "--dataset", data, "--repeats", 1)
    assert f"{after:.1%} [" in said


def test_compare_shows_difference_interval_and_p(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = soundraft(capsys, "compare", run, run / "predictions.parquet", "--cycle-a", 0, "--json", tmp_path / "c.json")
    found, metrics = json.loads((tmp_path / "c.json").read_text()), files.read_json(run / "metrics.json")
    assert (found["wer_a"], found["wer_b"]) == (metrics["wer_before"], metrics["wer_after"])
    assert found["low"] <= found["difference"] <= found["high"]
    assert f"{100 * found['difference']:+.2f} points" in said
    soundraft(capsys, "compare", run, tmp_path, code="no predictions.parquet in it")
    soundraft(capsys, "compare", run, tmp_path / "none", code="no such run")
    soundraft(capsys, "compare", run, run, "--cycle-a", 7, code="raft 1")


def test_recordings_alone_are_enough_for_a_reward_without_transcripts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = letters.recordings(tmp_path / "data", none=12), tmp_path / "out"
    (folder / "metadata.csv").unlink()
    weights = {"agreement": 1.0} | dict.fromkeys(("words", "vocabulary", "length", "language", "stability"), 0.0)
    more = ("--set", "reward.kind=unsupervised", f"reward.unsupervised.weights={json.dumps(weights)}")
    soundraft(capsys, *command(folder, out, *more, "train.reward_threshold=0.0"))
    assert (out / "cycles/01/model.safetensors").is_file()
    soundraft(capsys, *command(folder, tmp_path / "other"), code="no list of the recordings")
    soundraft(capsys, *command(folder, tmp_path / "other", "--set", "reward.kind=unsupervised"), code="--replay")


def test_the_language_is_the_one_given_or_the_only_one_of_the_corpus() -> None:
    cases = [("en_us", "fleurs"), ("zh-CN", None), (None, "librispeech"), (None, "fleurs"), (None, "x")]
    found = [language_of(argparse.Namespace(language=language, corpus=corpus)) for language, corpus in cases]
    assert found == ["en", "zh", "en", "", ""]
