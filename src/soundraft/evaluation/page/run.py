"""What a run, the pipeline's or another one, has left in its folders, read for its page."""

import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from soundraft import files, runtime
from soundraft.clips.base import from_dataset
from soundraft.dataset.table import read_table
from soundraft.dataset.tokens import TokenDataset
from soundraft.evaluation import samples
from soundraft.evaluation.page import corpus
from soundraft.evaluation.predictions import read_model
from soundraft.evaluation.report import CLIPS_NAME
from soundraft.evaluation.results import MODELS_NAME, START, TRAINED, ModelId
from soundraft.evaluation.samples import Sample
from soundraft.evaluation.scores import METRICS, Metric, Scores
from soundraft.manifest import SPLITS
from soundraft.metrics.resampling import Bootstrap
from soundraft.params import load_params
from soundraft.params.base import flat
from soundraft.params.tasks import TASKS
from soundraft.runtime import UserError

SAMPLES = "samples"


@dataclass(frozen=True, eq=False)
class Model:
    """One model of models.json."""

    id: ModelId
    label: str
    in_words: str
    shown: bool
    cells: Mapping[str, Mapping[str, Any]]

    @property
    def name(self) -> str:
        """Its label, and of the run's own cycles which one."""
        return f"{self.label}, cycle {self.id.cycle}" if self.id.chain == TRAINED else self.label


@dataclass(frozen=True)
class Run:
    """Where a run keeps what its page shows.

    Attributes:
        folder: with models.json, clips.jsonl, predictions.parquet.
        cycles: the folder of each cycle, by its number.
        title: how the page names it.
        facts: what else is known of it, by name, in the order of the page.
        commands: that make it again.
        params: value of this run and the usual one, by key, where they differ.
        corpus: rows of `corpus.describe`.
        codebooks: rows of `corpus.codebook_use` of the training clips, by corpus.
        audit: folders' names and the numbers of their audits.
        speed: numbers of this machine.
    """

    folder: Path
    cycles: Mapping[int, Path]
    title: str
    facts: Mapping[str, str] = field(default_factory=dict)
    commands: Sequence[str] = ()
    params: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    corpus: Mapping[str, Any] = field(default_factory=dict)
    codebooks: Mapping[str, Any] = field(default_factory=dict)
    audit: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    speed: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def about(self) -> dict[str, Any]:
        """models.json.

        Raises:
            UserError: when there is none.
        """
        path = self.folder / MODELS_NAME
        if not path.is_file():
            raise UserError(
                f"no {path}: a run that was measured has one; `soundraft train` with its data measures anew"
            )
        found: dict[str, Any] = files.read_json(path)
        return found

    @cached_property
    def models(self) -> list[Model]:
        return [
            Model(ModelId(row["chain"], row["algorithm"], row["cycle"]), row["label"], row["in_words"], row["shown"],
                  row["cells"])
            for row in self.about["models"]
        ]  # fmt: skip

    @property
    def metric(self) -> Metric:
        return METRICS[self.about["metric"]]

    @cached_property
    def bootstrap(self) -> Bootstrap:
        return Bootstrap(self.about["bootstrap_samples"], self.about["seed"])

    @property
    def start(self) -> Model:
        return self.models[0]

    @property
    def last(self) -> Model:
        return max((each for each in self.models if each.id.of_run), key=lambda each: each.id.cycle)

    @property
    def controls(self) -> list[Model]:
        """The last cycle of each control."""
        return [each for each in self.models if each.shown and not each.id.of_run and not each.id.is_baseline]

    @property
    def compared(self) -> list[Model]:
        """The models whose answers stand beside each other: start, last, the last of each control."""
        return [*dict.fromkeys((self.start, self.last)), *self.controls]

    @cached_property
    def _scores(self) -> dict[ModelId, Scores]:
        return {}

    def scores(self, model: Model) -> Scores:
        """Its answers on the measured clips."""
        if model.id not in self._scores:
            algorithm = None if model.id.chain in (START, TRAINED) else model.id.algorithm
            path = self.folder / "predictions.parquet"
            self._scores[model.id] = read_model(path, algorithm=algorithm, cycle=model.id.cycle)[1]
        return self._scores[model.id]

    @cached_property
    def clips(self) -> list[dict[str, Any]]:
        """The rows of clips.jsonl."""
        path = self.folder / CLIPS_NAME
        if not path.is_file():
            raise UserError(f"no {path}: a run that was measured has one")
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

    @cached_property
    def samples(self) -> list[tuple[Path, Sample]]:
        """The sounds of its clips and of its cycles, with the folder that each one's path counts from."""
        folders = [self.folder / SAMPLES, *(place / SAMPLES for place in self.cycles.values())]
        return [(folder, sample) for folder in folders for sample in samples.read(folder)]


def cycles_in(chain: Path) -> dict[int, Path]:
    """The folders of the cycles that were trained: one that is not active has left no metrics."""
    return {int(path.parent.name): path.parent for path in sorted(chain.glob("[0-9][0-9]/metrics.json"))}


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
        commands=[
            *([f"git checkout {runtime.git('rev-parse', 'HEAD', folder=root)}"] if here else []),
            "make setup",
            "dvc repro",
        ],
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
    changed = " and uncommitted changes" if runtime.git("status", "--porcelain", folder=root) else ""
    return {
        "commit": runtime.git("rev-parse", "--short=12", "HEAD", folder=root) + changed,
        "dvc.lock": hashlib.sha256(lock.read_bytes()).hexdigest()[:_SHOWN] if lock.is_file() else "",
        "device": runtime.device_name(),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in names},
    }


def _changed(root: Path) -> dict[str, tuple[Any, Any]]:
    """Params that differ from those of the last commit."""
    committed = files.parse_yaml(runtime.git("show", "HEAD:./params.yaml", folder=root), "the committed params.yaml")
    usual, now = flat(committed or {}), flat(files.read_yaml(root / "params.yaml"))
    return {key: (now.get(key), usual.get(key)) for key in sorted({*now, *usual}) if now.get(key) != usual.get(key)}
