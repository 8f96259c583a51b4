"""What DVC must and must not run again: more cycles and fewer, scratch copies, queues, pulls, kills, no tracker."""

import csv
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from soundraft.audio import io
from tests.conftest import tone
from tests.pipeline.workshop import Workshop, stages_run, trained

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """A toy pipeline after one cycle, committed, with a remote in a local directory."""
    shop = Workshop.build(tmp_path_factory.mktemp("engine") / "repo", cycles=4)
    shop.repro()
    shop.run("dvc", "remote", "add", "-d", "store", str(shop.folder.parent / "store"))
    shop.run("dvc", "push", "-q")
    shop.commit("one cycle")
    return shop


def exp_run(shop: Workshop, *arguments: str) -> list[str]:
    return trained(stages_run(shop.run("dvc", "exp", "run", *arguments)))


def test_more_cycles_train_only_the_new_ones_and_fewer_train_none(finished: Workshop, tmp_path: Path) -> None:
    shop = pulled(finished, tmp_path / "clone")
    before = shop.lock()
    assert active(shop, exp_run(shop, "-S", "train.cycles=3")) == ["02", "03"]
    assert active(shop, exp_run(shop, "-S", "train.cycles=1")) == []
    assert shop.lock() == before
    # what has run once, markers included, comes from DVC's cache
    assert exp_run(shop, "-S", "train.cycles=3") == []
    assert exp_run(shop, "-S", "train.cycles=1") == []


def test_a_fresh_clone_after_a_pull_runs_nothing(finished: Workshop, tmp_path: Path) -> None:
    shop = pulled(finished, tmp_path / "clone")
    assert shop.repro() == []
    assert shop.run("git", "status", "--porcelain") == ""


def test_a_scratch_copy_trains_only_what_is_new_and_runs_its_own_code(finished: Workshop, tmp_path: Path) -> None:
    shop = pulled(finished, tmp_path / "clone")
    output = shop.run("dvc", "exp", "run", "--temp", "-S", "train.cycles=2")
    assert [name for name in trained(stages_run(output)) if name == "raft_train@c01"] == []
    assert "raft 02: kept" in output
    assert "raft 03: kept" not in output
    assert (shop.folder / "models/raft/02/inactive.json").exists(), "the workspace stays as it was"
    summarize = shop.folder / "src/soundraft/training/raft.py"
    summarize.write_text(summarize.read_text().replace('"kept_share": ', '"kept_share": -7 * '))
    assert "raft 01: kept -" in shop.run("dvc", "exp", "run", "--temp", "-S", "train.cycles=1")


def test_a_queue_of_two_workers(finished: Workshop, tmp_path: Path) -> None:
    shop = pulled(finished, tmp_path / "clone")
    for seed in (1, 2):
        shop.run("dvc", "exp", "run", "--queue", "-n", f"seed{seed}", "-S", f"seed={seed}")
    shop.run("dvc", "queue", "start", "-j", "2")
    deadline = time.monotonic() + 900
    while "Queued" in (status := shop.run("dvc", "queue", "status")) or "Running" in status:
        assert time.monotonic() < deadline, status
        time.sleep(3)
    assert status.count("Success") == 2, status
    shown = {row["Experiment"]: row for row in csv.DictReader(shop.run("dvc", "exp", "show", "--csv").splitlines())}
    assert shown["seed1"]["models/raft"] != shown["seed2"]["models/raft"]
    # all of them: so little is learned here that both seeds may be equally wrong
    assert "reports/results/metrics.json" in shop.run("dvc", "metrics", "diff", "--all", "seed1", "seed2")


@pytest.mark.parametrize("command", [("dvc", "repro"), ("dvc", "exp", "run")])
def test_killed_in_cycle_three_it_goes_on_with_cycle_three(
    finished: Workshop, tmp_path: Path, command: tuple[str, ...]
) -> None:
    shop = pulled(finished, tmp_path / "clone")
    shop.change({"train.cycles": 4, "train.presentations_per_cycle": 640})
    log = tmp_path / "log"
    with log.open("w") as stream:
        process = subprocess.Popen(
            command, cwd=shop.folder, env=shop.environment(), stdout=stream, stderr=stream, start_new_session=True
        )
        deadline = time.monotonic() + 300
        while not list((shop.folder / "models/raft").glob(".03*")):  # it has begun
            assert process.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert not (shop.folder / "models/raft/03/model.safetensors").exists()
    after = trained(stages_run(shop.run(*command)))
    assert active(shop, after) == ["03", "04"]
    assert (shop.folder / "models/raft/04/model.safetensors").is_file()


def test_two_runs_from_nothing_have_one_lock_with_and_without_a_tracker(tmp_path: Path) -> None:
    locks = []
    trackers = [
        {},
        {"SOUNDRAFT_TRACKING": "on", "SOUNDRAFT_JOBS": "1"},
        {"SOUNDRAFT_TRACKING": "on", "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"},
    ]
    for number, environment in enumerate(trackers):
        shop = Workshop.build(tmp_path / f"repo{number}")
        shop.repro(**environment)
        locks.append(shop.lock())
        assert (shop.folder / "mlflow.db").exists() == (number == 1)
    assert locks[0] == locks[1]
    assert locks[0] == locks[2]


def test_an_incremental_run_has_the_lock_of_a_run_from_nothing(tmp_path: Path) -> None:
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    names = [f"{index:02d}.wav" for index in range(24)]
    for index, name in enumerate(names):
        io.write_wav(recordings / name, tone(0.4 + 0.02 * index, 16000), 16000)
    splits = ("train", "validation", "test")
    lines = [f"{name},hi,{splits[index % 3]}" for index, name in enumerate(names)]
    (recordings / "metadata.csv").write_text("\n".join(["file_name,text,split", *lines[:-1]]))
    of_folder = {"name": "folder", "path": str(recordings), "clips": dict.fromkeys(splits)}
    changes = {f"corpus.target.{key}": value for key, value in of_folder.items()}
    kept = Workshop.build(tmp_path / "kept", changes)
    kept.run("dvc", "repro", "s5_build_dataset")
    io.write_wav(recordings / names[0], tone(0.9, 16000), 16000)
    (recordings / "metadata.csv").write_text("\n".join(["file_name,text,split", *lines]))
    kept.run("dvc", "repro", "--single-item", "--force", "fetch")
    output = kept.run("dvc", "repro", "s5_build_dataset")
    assert "s1_normalize: target: 24 clips, 0.00 h, 2 made," in output
    assert re.search(r"s2_encodec: target: 24 clips, \d+ frames, 2 made,", output)
    anew = Workshop.build(tmp_path / "anew", changes)
    anew.run("dvc", "repro", "s5_build_dataset")
    assert kept.lock() == anew.lock()


def pulled(shop: Workshop, folder: Path) -> Workshop:
    other = shop.clone(folder)
    other.run("dvc", "pull", "-q")
    return other


def active(shop: Workshop, names: list[str]) -> list[str]:
    """Numbers of those cycles that have a model; DVC also runs the milliseconds of the markers after them."""
    cycles = [name.removeprefix("raft_train@c") for name in names]
    return [cycle for cycle in cycles if (shop.folder / "models/raft" / cycle / "model.safetensors").exists()]
