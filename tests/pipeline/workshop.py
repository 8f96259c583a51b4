"""A copy of the repository with a toy configuration, to run the real pipeline in seconds a stage."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
TOY = {
    "corpus.start.clips": {"train": 24, "validation": 4, "test": 4},
    "corpus.target.clips": {"train": 8, "validation": 4, "test": 4},
    "model.scratch.hidden_size": 16,
    "model.scratch.layers": 1,
    "model.scratch.attention_heads": 2,
    "model.scratch.mel_bins": 16,
    "train.epochs": 2,
    "train.cycles": 1,
    "train.samples_per_prompt": 4,
    "train.presentations_per_cycle": 16,
    # an untrained toy scores next to nothing: keep whatever is best
    "train.reward_threshold": 0.0,
    "evaluate.bootstrap_samples": 100,
    "benchmark.clips": 2,
}


def with_keys(text: str, changes: Mapping[str, Any]) -> str:
    """The YAML of a params file with these dotted keys changed, an empty value as DVC writes it."""
    values = yaml.safe_load(text)
    for key, value in changes.items():
        *parents, leaf = key.split(".")
        section = values
        for parent in parents:
            section = section[parent]
        section[leaf] = value
    return yaml.safe_dump(values, sort_keys=False).replace(": null\n", ":\n")


class Workshop:
    """A scratch repository: its folder, its commands, its params."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def build(cls, folder: Path, changes: dict[str, Any] | None = None, *, cycles: int = 2) -> "Workshop":
        """With so many cycles listed, so that few markers of cycles that are not asked for need be written."""
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, capture_output=True, text=True, check=True,
        ).stdout.split("\n")  # fmt: skip
        for name in filter(None, listed):
            if name != "dvc.lock" and (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
        shop = cls(folder)
        shop.change(TOY | (changes or {}))
        listed = yaml.safe_load((ROOT / "cycles.yaml").read_text())["cycles"]
        few = {name: listed[name] for name in list(listed)[:cycles]}
        (folder / "cycles.yaml").write_text(yaml.safe_dump({"cycles": few}))
        shop.run("git", "init", "-q", "-b", "main")
        shop.commit("toy")
        return shop

    def clone(self, folder: Path) -> "Workshop":
        subprocess.run(["git", "clone", "-q", str(self.folder), str(folder)], check=True)
        return Workshop(folder)

    def change(self, changes: dict[str, Any]) -> None:
        path = self.folder / "params.yaml"
        path.write_text(with_keys(path.read_text(), changes))

    def commit(self, message: str) -> None:
        self.run("git", "add", "-A")
        self.run("git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", message)

    def environment(self, **extra: str) -> dict[str, str]:
        """Ours without pytest's and git's hooks, `dvc` and `python` of this environment, tracking off unless asked."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("GIT_", "DVC_", "PYTEST_"))}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        author = {
            "GIT_AUTHOR_NAME": "t",
            "GIT_AUTHOR_EMAIL": "t@t",
            "GIT_COMMITTER_NAME": "t",
            "GIT_COMMITTER_EMAIL": "t@t",
        }
        return kept | author | {"PATH": path, "SOUNDRAFT_TRACKING": "off"} | extra

    def run(self, *command: str, fails: bool = False, **extra: str) -> str:
        """Run a command here; its output. The exit code must be 0, or must not be when `fails`."""
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment(**extra), text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
        assert (done.returncode != 0) == fails, done.stdout[-6000:]
        return done.stdout

    def repro(self, **extra: str) -> list[str]:
        """`dvc repro`; the stages that ran."""
        return stages_run(self.run("dvc", "repro", **extra))

    def lock(self) -> str:
        return (self.folder / "dvc.lock").read_text()


def stages_run(output: str) -> list[str]:
    """Names of the stages whose command DVC ran (not those it took from its cache)."""
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]


def trained(stages: list[str]) -> list[str]:
    """RAFT cycles among the stages."""
    return [name for name in stages if name.startswith("raft_train@")]
