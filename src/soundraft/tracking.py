"""MLflow shows a run; files are the record: with tracking off or out of reach, every out is the same.

One parent run per pipeline run (one `dvc` process), one child per stage. `SOUNDRAFT_TRACKING=off` turns it off;
`MLFLOW_TRACKING_URI` names another place than `mlflow.db` in the main repository.
"""

import hashlib
import importlib.metadata
import os
import platform
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from soundraft import distributed, runtime

EXPERIMENT = "soundraft"
DATABASE = "mlflow.db"
ARTIFACTS = "mlartifacts"
HEADLINE = "1_headline"  # MLflow sorts charts by name
_TAG = "soundraft."
_PARENT = "mlflow.parentRunId"


class Tracker:
    """What a stage reports goes nowhere; `MlflowTracker` has the same methods."""

    def metrics(self, values: Mapping[str, float | None], *, step: int = 0) -> None:
        """Metrics of the stage's run and of the pipeline's run, as `<stage>/<key>`."""

    def missing_metrics(self, values: Mapping[str, float | None], *, step: int) -> None:
        """Metrics, with full names, of a stage that DVC took from its cache; those that the run has are skipped."""

    def files(self, folder: Path, name: str) -> None:
        """Attach a folder's files to the pipeline's run, under this name."""

    def page(self, path: Path) -> None:
        """Attach a page to the pipeline's run, before everything else."""

    def describe(self, text: str) -> None:
        """The description of the pipeline's run, in markdown."""

    def chain(self, name: str, values: Mapping[str, float | None], *, step: int, own: bool) -> None:
        """Numbers of one chain of models by cycle, as `1_headline/<key>`: the first charts of MLflow.

        Each chain is a run of its own below the pipeline's, so that one chart has a line for each; the pipeline's run
        has those of its `own` cycles.
        """

    def file(self, path: Path) -> None:
        """Attach one file to the stage's run."""


@contextmanager
def stage_run(stage: str, params: Mapping[str, Any], *, last: bool = False) -> Iterator[Tracker]:
    """Track one stage. `last` closes the pipeline's run when the stage ends well."""
    if os.environ.get("SOUNDRAFT_TRACKING") == "off" or not distributed.is_main():
        yield Tracker()
        return
    tracker = MlflowTracker(stage)
    tracker.call(lambda: tracker.start(params))
    try:
        yield tracker
    except BaseException:
        tracker.call(lambda: tracker.finish("FAILED", pipeline=True))
        raise
    tracker.call(lambda: tracker.finish("FINISHED", pipeline=last))


class MlflowTracker(Tracker):
    """MLflow behind a guard: the first failure is reported on stderr, then tracking is over for this stage."""

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self.prefix = stage.split()[0]  # "raft 03" → raft: one curve over the cycles
        self.alive = True
        self.child = self.parent = ""
        self.chains: dict[str, str] = {}

    def call(self, action: Callable[[], object]) -> None:
        if not self.alive:
            return
        # a dead server should cost seconds, not MLflow's minutes; the user's own settings win
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
        os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
        from alembic.util import CommandError
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            action()
        except (MlflowException, SQLAlchemyError, CommandError, psutil.Error, OSError) as error:
            self.alive = False
            reason = str(error).splitlines()[0][:200]
            sys.stderr.write(f"{self.stage}: tracking stops here, results are not affected: {reason}\n")

    def start(self, params: Mapping[str, Any]) -> None:
        from filelock import FileLock
        from mlflow import MlflowClient

        root = runtime.main_root()
        with FileLock(root / f"{DATABASE}.lock", timeout=60):  # two first uses at once would destroy the database
            uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root / DATABASE}"
            self.client = MlflowClient(tracking_uri=uri)
            self.experiment = _experiment(self.client, root)
            _close_orphans(self.client, self.experiment)
            self.parent = _pipeline_run(self.client, self.experiment, params)
        tags = {_PARENT: self.parent}
        self.child = _create(self.client, self.experiment, self.stage, psutil.Process(), tags)

    def finish(self, status: str, *, pipeline: bool) -> None:
        for run in (self.child, *self.chains.values()):
            self.client.set_terminated(run, status)
        if pipeline:
            self.client.set_terminated(self.parent, status)

    def metrics(self, values: Mapping[str, float | None], *, step: int = 0) -> None:
        named = {f"{self.prefix}/{key}": value for key, value in values.items()}
        self.call(lambda: self._log(self.child, named, step))
        self.call(lambda: self._log(self.parent, named, step))

    def missing_metrics(self, values: Mapping[str, float | None], *, step: int) -> None:
        def log() -> None:
            known = {
                key
                for key in values
                if any(point.step == step for point in self.client.get_metric_history(self.parent, key))
            }
            self._log(self.parent, {key: value for key, value in values.items() if key not in known}, step)

        self.call(log)

    def files(self, folder: Path, name: str) -> None:
        self.call(lambda: self.client.log_artifacts(self.parent, str(folder), name))

    def page(self, path: Path) -> None:
        self.call(lambda: self.client.log_artifact(self.parent, str(path)))

    def describe(self, text: str) -> None:
        self.call(lambda: self.client.set_tag(self.parent, "mlflow.note.content", text))

    def chain(self, name: str, values: Mapping[str, float | None], *, step: int, own: bool) -> None:
        named = {f"{HEADLINE}/{key}": value for key, value in values.items()}

        def log() -> None:
            if name not in self.chains:
                self.chains[name] = _create(
                    self.client, self.experiment, name, psutil.Process(), {_PARENT: self.parent}
                )
            for run in (self.chains[name], *([self.parent] if own else [])):
                self._log(run, named, step)

        self.call(log)

    def file(self, path: Path) -> None:
        self.call(lambda: self.client.log_artifact(self.child, str(path)))

    def _log(self, run: str, values: Mapping[str, float | None], step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        points = [Metric(key, float(value), now, step) for key, value in values.items() if value is not None]
        self.client.log_batch(run, metrics=points)


def _experiment(client: Any, root: Path) -> str:
    """Of a repository that was copied with its database, one of its own: artifacts do not go to the original."""
    location = None if os.environ.get("MLFLOW_TRACKING_URI") else (root / ARTIFACTS).as_uri()
    name = EXPERIMENT
    found = client.get_experiment_by_name(name)
    if found is not None and location not in (None, found.artifact_location):
        name = f"{EXPERIMENT} in {root.name}, {hashlib.sha256(str(location).encode()).hexdigest()[:6]}"
        found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    training = {"mlflow.experimentKind": "custom_model_development"}  # the page shows curves, not traces
    return str(client.create_experiment(name, artifact_location=location, tags=training))


def _close_orphans(client: Any, experiment: str) -> None:
    """A killed run stays RUNNING for ever: close those of this host whose process is gone.

    A pipeline that ran only a part of its stages ended well if they all did.
    """
    of_this_host = f"attributes.status = 'RUNNING' and tags.`{_TAG}host` = '{socket.gethostname()}'"
    orphans = [run for run in client.search_runs([experiment], of_this_host) if not _is_alive(run.data.tags)]
    for run in orphans:
        if _PARENT in run.data.tags:
            client.set_terminated(run.info.run_id, "KILLED")
    for run in orphans:
        if _PARENT not in run.data.tags:
            stages = client.search_runs([experiment], f"tags.`{_PARENT}` = '{run.info.run_id}'")
            well = all(stage.info.status == "FINISHED" for stage in stages)
            client.set_terminated(run.info.run_id, "FINISHED" if well else "KILLED")


def _is_alive(tags: Mapping[str, str]) -> bool:
    try:
        process = psutil.Process(int(tags[f"{_TAG}pid"]))
        return f"{process.create_time():.2f}" == tags[f"{_TAG}started"]
    except psutil.NoSuchProcess:
        return False


def _pipeline_run(client: Any, experiment: str, params: Mapping[str, Any]) -> str:
    """The run of the `dvc` process above us, made by whichever of its stages comes first."""
    process = _pipeline_process()
    same = " and ".join(f"tags.`{_TAG}{key}` = '{value}'" for key, value in _identity(process).items())
    found = client.search_runs([experiment], f"{same} and tags.`{_TAG}kind` = 'pipeline'", max_results=1)
    if found:
        return str(found[0].info.run_id)
    from mlflow.entities import Param

    sha = runtime.git("rev-parse", "HEAD")
    name = os.environ.get("DVC_EXP_NAME") or f"repro {sha[:7]}"
    tags = {
        f"{_TAG}kind": "pipeline",
        "git.sha": sha,
        "git.dirty": str(bool(runtime.git("status", "--porcelain"))).lower(),
        "dvc.experiment": os.environ.get("DVC_EXP_NAME", ""),
        "dvc.lock": hashlib.sha256(Path("dvc.lock").read_bytes()).hexdigest()[:16] if Path("dvc.lock").exists() else "",
    }
    run = _create(client, experiment, name, process, tags | _environment())
    client.log_batch(run, params=[Param(key, str(value)) for key, value in params.items()])
    return run


def _environment() -> dict[str, str]:
    """Machine, Python and the packages that results depend on."""
    versions = {f"env.{name}": importlib.metadata.version(name) for name in ("soundraft", "torch", "transformers")}
    machine = {"env.platform": platform.platform(), "env.cores": str(os.cpu_count())}
    return versions | machine | {"env.python": platform.python_version(), "env.device": runtime.device_name()}


def _create(client: Any, experiment: str, name: str, process: psutil.Process, tags: Mapping[str, str]) -> str:
    own = {f"{_TAG}{key}": value for key, value in _identity(process).items()}
    return str(client.create_run(experiment, tags={**own, **tags}, run_name=name).info.run_id)


def _identity(process: psutil.Process) -> dict[str, str]:
    """Tells a process from all others, also from a later one with its number."""
    return {"host": socket.gethostname(), "pid": str(process.pid), "started": f"{process.create_time():.2f}"}


def _pipeline_process() -> psutil.Process:
    """The nearest `dvc` above this process; this process when a stage is run by hand."""
    here = psutil.Process()
    for process in here.parents():
        if any(Path(word).name == "dvc" for word in process.cmdline()[:3]):
            return process
    return here
