"""The pipeline's run: where its stages leave what the page shows."""

import hashlib
import importlib.metadata
import platform
import subprocess
from pathlib import Path
from typing import Any

import yaml

from soundraft import files, runtime
from soundraft.clips.base import from_dataset
from soundraft.dataset.table import read_table
from soundraft.dataset.tokens import TokenDataset
from soundraft.evaluation.page import corpus
from soundraft.evaluation.page.run import Run, cycles_in
from soundraft.evaluation.results import MODELS_NAME
from soundraft.manifest import SPLITS
from soundraft.params import load_params
from soundraft.params.tasks import TASKS

EVALUATED, AUDITED, MEASURED = Path("reports/evaluate"), Path("reports/audit"), Path("reports/machine/benchmark.json")
CYCLES, DATASET = Path("models/raft"), Path("data/dataset")
_SHOWN = 12  # characters of a hash


def of_pipeline(root: Path = Path(), *, here: bool = False) -> Run:
    """What the pipeline has made in a repository.

    Args:
        here: also what belongs to this machine and this moment, which no out of a stage may have: commit, versions,
            device, speed, params that differ from the committed ones.
    """
    params = load_params(root / "params.yaml")
    facts = {"task": params.task, "algorithm": params.train.algorithm, "seed": str(params.seed)}
    cycles = cycles_in(root / CYCLES)
    weights = sorted(path for path in (cycles[max(cycles)] if cycles else root / "models/base").glob("*.safetensors"))
    facts["weights"] = files.content_hash(*weights)[:_SHOWN]
    facts["answers"] = files.content_hash(root / EVALUATED / "predictions.parquet")[:_SHOWN]
    corpora = {
        name: {split: from_dataset(root / DATASET / name, split) for split in SPLITS}
        for name in sorted(TASKS[params.task].corpora, reverse=True)
    }
    audits = {path.stem: _audit(files.read_json(path)) for path in sorted((root / AUDITED).glob("*.json"))}
    measured = root / MEASURED
    return Run(
        root / EVALUATED,
        cycles,
        f"{params.task}, {params.train.algorithm}",
        facts | (_machine(root) if here else {}),
        commands=[*([f"git checkout {_git(root, 'rev-parse', 'HEAD')}"] if here else []), "make setup", "dvc repro"],
        params=_changed(root) if here else {},
        corpus=corpus.describe(corpora, files.read_json(root / EVALUATED / MODELS_NAME)["target"] or "text"),
        codebooks={str(name): _codebooks(root / DATASET / name) for name in corpora},
        audit=audits,
        speed=files.read_json(measured) if here and measured.is_file() else {},
    )


def _codebooks(dataset: Path) -> list[dict[str, Any]]:
    """Of a dataset that holds its codes itself: the page is made of nothing else."""
    if "codes" not in read_table(dataset / "train").column_names:
        return []
    return corpus.codebook_use(TokenDataset.from_dataset(dataset, "train"))


def _audit(found: dict[str, Any]) -> dict[str, Any]:
    findings = ", ".join(f"{code} {count}" for code, count in found["findings"].items())
    return {"clips": found["clips"], "failing": found["failing_clips"], "findings": findings}


def _machine(root: Path) -> dict[str, str]:
    lock = root / "dvc.lock"
    names = ("soundraft", "torch", "transformers")
    changed = " and uncommitted changes" if _git(root, "status", "--porcelain") else ""
    return {
        "commit": _git(root, "rev-parse", "--short=12", "HEAD") + changed,
        "dvc.lock": hashlib.sha256(lock.read_bytes()).hexdigest()[:_SHOWN] if lock.is_file() else "",
        "device": runtime.device_name(),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in names},
    }


def _changed(root: Path) -> dict[str, tuple[Any, Any]]:
    """Params that differ from those of the last commit."""
    committed = _git(root, "show", "HEAD:./params.yaml")
    usual, now = (_flat(values) for values in (yaml.safe_load(committed) or {}, files.read_yaml(root / "params.yaml")))
    return {key: (now.get(key), usual.get(key)) for key in sorted({*now, *usual}) if now.get(key) != usual.get(key)}


def _flat(values: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(values, dict):
        return {prefix: values}
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= _flat(value, f"{prefix}.{key}" if prefix else str(key))
    return found


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""
