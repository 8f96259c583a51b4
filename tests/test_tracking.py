import importlib.metadata
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient

from soundraft import tracking


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One without runs; its tables take seconds to make."""
    path = tmp_path_factory.mktemp("mlflow") / tracking.DATABASE
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def repository(bare: Path, database: Path) -> Path:
    """With tracking into its `mlflow.db`."""
    shutil.copy(database, bare)
    return bare


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty repository, without database."""
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SOUNDRAFT_TRACKING")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


def finished(*those: Callable[[], None]) -> list[int | None]:
    """The exit codes of processes that run at once; forked, so that they need not import again."""
    processes = [multiprocessing.get_context("fork").Process(target=each) for each in those]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]


def runs(repository: Path) -> dict[str, object]:
    client = MlflowClient(f"sqlite:///{repository / tracking.DATABASE}")
    experiment = client.get_experiment_by_name(tracking.EXPERIMENT)
    return {run.info.run_name.split()[0]: run for run in client.search_runs([experiment.experiment_id])}


def test_one_parent_with_curves_and_a_child_per_stage(repository: Path) -> None:
    for cycle in (1, 2):
        with tracking.stage_run(f"raft {cycle:02d}", {"train.cycles": 2}) as tracker:
            tracker.metrics({"reward": 0.1 * cycle, "nothing": None}, step=cycle)
            (repository / "rollouts.txt").write_text("every sample")
            tracker.file(repository / "rollouts.txt")
    with tracking.stage_run("evaluate", {"train.cycles": 2}, last=True) as tracker:
        for cycle in (0, 1, 2):
            tracker.missing_metrics({"raft/reward": -1.0}, step=cycle)
        tracker.files(Path(".git/info"), "evaluate")
        tracker.page(Path("dvc.yaml"))
        tracker.describe("RAFT is better")
    client = MlflowClient(f"sqlite:///{repository / tracking.DATABASE}")
    found = runs(repository)
    parent = found["repro"]
    assert parent.info.status == "FINISHED"  # type: ignore[attr-defined]
    assert parent.data.params == {"train.cycles": "2"}  # type: ignore[attr-defined]
    assert found["evaluate"].data.tags["mlflow.parentRunId"] == parent.info.run_id  # type: ignore[attr-defined]
    assert parent.data.tags["env.torch"] == importlib.metadata.version("torch")  # type: ignore[attr-defined]
    assert parent.data.tags["env.device"] in ("cpu", "cuda")  # type: ignore[attr-defined]
    attached = client.list_artifacts(found["raft"].info.run_id)  # type: ignore[attr-defined]
    assert [item.path for item in attached] == ["rollouts.txt"]
    curve = client.get_metric_history(parent.info.run_id, "raft/reward")  # type: ignore[attr-defined]
    assert sorted((point.step, round(point.value, 3)) for point in curve) == [(0, -1.0), (1, 0.1), (2, 0.2)]
    assert (repository / tracking.ARTIFACTS).is_dir()
    assert parent.data.tags["mlflow.note.content"] == "RAFT is better"  # type: ignore[attr-defined]
    attached = client.list_artifacts(parent.info.run_id)  # type: ignore[attr-defined]
    assert [item.path for item in attached] == ["dvc.yaml", "evaluate"]


def test_chains_share_the_first_charts(repository: Path) -> None:
    """A run a chain below the pipeline's, each with the same metrics: MLflow draws them into one chart."""
    with tracking.stage_run("evaluate", {}, last=True) as tracker:
        for cycle in (0, 1):
            tracker.chain("RAFT", {"wer": 0.5 - 0.1 * cycle, "reward": None}, step=cycle, own=True)
            tracker.chain("greedy self-training", {"wer": 0.5}, step=cycle, own=False)
    client = MlflowClient(f"sqlite:///{repository / tracking.DATABASE}")
    found = runs(repository)
    curves = {
        name: [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, "1_headline/wer")]  # type: ignore[attr-defined]
        for name, run in found.items()
    }
    assert curves == {
        "RAFT": [(0, 0.5), (1, 0.4)],
        "greedy": [(0, 0.5), (1, 0.5)],
        "repro": [(0, 0.5), (1, 0.4)],
        "evaluate": [],
    }
    assert {run.info.status for run in found.values()} == {"FINISHED"}  # type: ignore[attr-defined]


def test_a_copied_repository_keeps_its_artifacts_to_itself(
    repository: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def attach(name: str) -> None:
        Path(name).write_text("content")
        with tracking.stage_run("train", {}) as tracker:
            tracker.file(Path(name))

    attach("original.txt")
    copy = tmp_path_factory.mktemp("elsewhere") / "copy"
    shutil.copytree(repository, copy)
    monkeypatch.chdir(copy)
    attach("copied.txt")
    attach("again.txt")
    names = {path.name for path in (repository / tracking.ARTIFACTS).rglob("*.txt")}
    assert names == {"original.txt"}
    assert {path.name for path in (copy / tracking.ARTIFACTS).rglob("*.txt")} == {
        "original.txt",
        "copied.txt",
        "again.txt",
    }
    client = MlflowClient(f"sqlite:///{copy / tracking.DATABASE}")
    named = [each.name for each in client.search_experiments() if each.name.startswith(tracking.EXPERIMENT)]
    assert len(named) == 2  # one for the original's runs, one for all of the copy's


def test_a_failed_stage_is_marked(repository: Path) -> None:
    with pytest.raises(RuntimeError), tracking.stage_run("train", {}):
        raise RuntimeError
    assert {run.info.status for run in runs(repository).values()} == {"FAILED"}  # type: ignore[attr-defined]


def test_a_killed_run_is_closed_by_the_next_start(repository: Path) -> None:
    def die() -> None:
        with tracking.stage_run("killed 01", {}):
            os.kill(os.getpid(), signal.SIGKILL)

    assert finished(die) == [-9]
    assert {run.info.status for run in runs(repository).values()} == {"RUNNING"}  # type: ignore[attr-defined]
    with tracking.stage_run("train", {}):
        pass
    assert runs(repository)["killed"].info.status == "KILLED"  # type: ignore[attr-defined]


def test_the_pipeline_is_the_nearest_dvc_above(tmp_path: Path) -> None:
    fake = tmp_path / "dvc"
    fake.write_text(
        f"#!{sys.executable}\nimport subprocess, sys\n"
        "subprocess.run([sys.executable, '-c', "
        "'from soundraft.tracking import _pipeline_process as p; print(p().pid)'], check=True)\n"
    )
    fake.chmod(0o755)
    process = subprocess.Popen([str(fake)], stdout=subprocess.PIPE, text=True)
    printed, _ = process.communicate()
    assert int(printed) == process.pid
    assert tracking._pipeline_process() == psutil.Process(os.getpid())


def test_an_unreachable_server_is_reported_once_and_costs_seconds(
    bare: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with tracking.stage_run("train", {}) as tracker:
        tracker.metrics({"loss": 1.0})
        tracker.metrics({"loss": 2.0})
    said = capsys.readouterr().err
    assert said.count("train: tracking stops here, results are not affected") == 1
    assert not (bare / tracking.DATABASE).exists()


def test_off_writes_nothing(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOUNDRAFT_TRACKING", "off")
    with tracking.stage_run("train", {}) as tracker:
        tracker.metrics({"loss": 1.0})
    assert sorted(path.name for path in bare.iterdir()) == [".git", "dvc.yaml"]


def test_two_first_uses_at_once_share_one_database(bare: Path) -> None:
    def fetch() -> None:
        with tracking.stage_run("fetch", {}) as tracker:
            tracker.metrics({"a": 1.0})
            assert tracker.alive  # type: ignore[attr-defined]

    assert finished(fetch, fetch) == [0, 0]
    client = MlflowClient(f"sqlite:///{bare / tracking.DATABASE}")
    experiment = client.get_experiment_by_name(tracking.EXPERIMENT)
    names = [run.info.run_name for run in client.search_runs([experiment.experiment_id])]
    assert names.count("fetch") == 2


def test_a_damaged_database_does_not_stop_a_stage(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (repository / tracking.DATABASE).write_text("this is not a database " * 100)
    with tracking.stage_run("train", {}) as tracker:
        tracker.metrics({"loss": 1.0})
    assert "train: tracking stops here" in capsys.readouterr().err
