"""The real pipeline on a toy configuration: from nothing to the table, and what does not run again."""

import json
from pathlib import Path

import datasets
import pyarrow.parquet as pq
import pytest

from soundraft.audio import io
from tests.conftest import tone
from tests.pipeline.workshop import Workshop


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    built = Workshop.build(tmp_path_factory.mktemp("pipeline") / "repo")
    built.ran = built.repro()  # type: ignore[attr-defined]
    return built


def test_every_stage_ran_and_left_what_it_promises(shop: Workshop) -> None:
    ran = shop.ran  # type: ignore[attr-defined]
    assert {name.split("@")[0] for name in ran} == {
        "check", "imports", "fetch", "s1_normalize", "s2_encodec", "s3_sidecar_init", "s4_sidecar_add", "audit",
        "s5_build_dataset", "train", "benchmark", "plan", "raft_train", "controls", "evaluate",
        "report",
    }  # fmt: skip
    folder = shop.folder
    assert datasets.load_from_disk(str(folder / "data/dataset/target"))["test"].num_rows == 4
    assert (folder / "models/raft/01/model.safetensors").is_file()
    assert json.loads((folder / "models/raft/02/inactive.json").read_text()) == {"active": False}
    rollouts = pq.read_table(folder / "models/raft/01/rollouts.parquet").to_pylist()
    assert len(rollouts) == 8 * 4
    assert all(row["reason"] for row in rollouts)
    assert {row["id"] for row in rollouts} == set(
        datasets.load_from_disk(str(folder / "data/dataset/target"))["train"]["id"]
    )
    for row in rollouts:
        assert row["reward"] == pytest.approx(1 - min(row["wer"], 1))
        assert row["selected"] == (row["reason"] == "kept")
    table = (folder / "reports/evaluate/report.md").read_text()
    for label in ("start model", "RAFT", "supervised on references", "greedy self-training", "a random one of K"):
        assert label in table
    for name in ("report.md", "metrics.json", "curves.csv"):
        assert (folder / "reports/results" / name).read_bytes() == (folder / "reports/evaluate" / name).read_bytes()
    assert json.loads((folder / "reports/evaluate/metrics.json").read_text())["cycles"] == 1
    assert {path.name for path in (folder / "reports/evaluate").iterdir()} == {
        "clips.jsonl", "confusions.csv", "curves.csv", "error.png", "metrics.json", "models.json",
        "predictions.parquet", "quarantine.jsonl", "report.md", "reward.png", "samples", "worst_clips.csv",
    }  # fmt: skip


def test_a_second_repro_runs_nothing(shop: Workshop) -> None:
    before = shop.lock()
    assert shop.repro() == []
    assert shop.lock() == before
    assert "wer_after" in shop.run("dvc", "metrics", "show")


def test_the_saved_model_loads_through_the_auto_classes(shop: Workshop) -> None:
    from transformers import AutoModelForCTC, AutoProcessor

    folder = shop.folder / "models/raft/01"
    model, processor = AutoModelForCTC.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
    assert model.config.vocab_size == len(processor.tokenizer)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("train.cycles=3", "cycles.yaml lists 2 cycles: add more there"),
        ("+train.cylces=3", "train.cylces: unknown key; did you mean train.cycles?"),
    ],
)
def test_a_bad_param_is_told_before_any_stage_runs(shop: Workshop, change: str, message: str) -> None:
    output = shop.run("dvc", "exp", "run", "-S", change, fails=True)
    assert message in output
    assert "Running stage 'fetch'" not in output
    assert "Traceback" not in output
    shop.run("git", "checkout", "-q", "params.yaml")


def test_bad_recordings_stop_the_pipeline_with_their_names(tmp_path: Path, shop: Workshop) -> None:
    other = shop.clone(tmp_path / "clone")
    mine = tmp_path / "mine"
    mine.mkdir()
    for index in range(9):
        (mine / f"{index}.wav").write_bytes(io.wav_bytes(tone(level=0.0), 8000))
    lines = ["file_name,text,split"] + [f"{i}.wav,hi,{('train', 'validation', 'test')[i % 3]}" for i in range(9)]
    (mine / "metadata.csv").write_text("\n".join(lines))
    other.change({"corpus.start.name": "folder", "corpus.start.path": str(mine)})
    output = other.run("dvc", "repro", "s1_normalize", fails=True)
    assert "s1_normalize: 9 of 9 clips are bad; limits.max_bad_fraction allows 1.0%" in output
    assert "0.wav: silent" in output
    assert "Traceback" not in output.split("s1_normalize:")[-1].split("ERROR")[0]
    assert not (other.folder / "data/normalized/start/manifest.jsonl").exists()
    whole = io.wav_bytes(tone(), 8000)
    for index in range(9):
        (mine / f"{index}.wav").write_bytes(whole[:4000] if index else b"not audio")
    output = other.run("dvc", "repro", "--single-item", "--force", "fetch", fails=True)
    assert "fetch: 9 of 9 clips are bad; limits.max_bad_fraction allows 1.0%" in output
    assert "metadata.csv:2: not readable as audio" in output
    assert "metadata.csv:3: truncated" in output
    assert "Traceback" not in output
