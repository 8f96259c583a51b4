"""One cycle of RAFT or a control, whatever the task: from a model's folder to the next model's folder."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import xxhash

from soundraft import distributed, files, runtime
from soundraft.audio.features import Alteration
from soundraft.clips.batches import Utterances, open_split
from soundraft.manifest import Split
from soundraft.models.base import Recognizer
from soundraft.models.tuning import Tuning, tuned
from soundraft.rewards.base import Verifier
from soundraft.training import raft
from soundraft.training.learner import Augment, Masking
from soundraft.training.raft import Shards, Target
from soundraft.training.selection import CycleSettings

TUNING = ("lora", "freeze", "gradient_checkpointing", "precision")
CODE = ("models", "training", "rewards", "metrics", "dataset", "audio")


class Subject(Protocol):
    """What is improved: the part of a cycle that differs from task to task.

    Attributes:
        altered: what is done to the clips for the copies that the verifier asks for.
        judged_by: tells verifiers apart.
        measured: of "start" and "target" those whose validation clips are measured.
    """

    verifier: Verifier
    altered: Sequence[Alteration]
    judged_by: str
    measured: Sequence[str]

    def load_model(self, folder: Path) -> Recognizer: ...

    def load_clips(
        self,
        dataset: Path,
        split: Split,
        recognizer: Recognizer,
        *,
        indices: Sequence[int] | None = None,
        altered: Alteration | None = None,
    ) -> Utterances: ...

    def augment(self, recognizer: Recognizer, seed: int) -> Augment | None:
        """How clips are altered when the model learns them, beside what masking does."""
        ...

    def validate(self, recognizer: Recognizer, clips: Utterances, corpus: str) -> dict[str, float]:
        """Metrics of clips whose answers are known, named after the corpus that they are of."""
        ...

    def describe(self, metrics: Mapping[str, Any]) -> str:
        """What of these metrics a person wants to read; empty where there are none."""
        ...


@dataclass(frozen=True)
class Inputs:
    """The clips of one cycle, with features; every model of a chain takes the same features."""

    target: Target
    replay: Utterances | None
    validation: dict[str, Utterances]


@dataclass(frozen=True)
class Rules:
    """How to learn from them."""

    subject: Subject
    settings: CycleSettings
    masking: Masking
    tuning: Tuning
    seed: int

    @classmethod
    def of(cls, subject: Subject, train: Mapping[str, Any], *, seed: int) -> "Rules":
        """From the section `train` of the params."""
        settings = CycleSettings(**{field.name: train[field.name] for field in fields(CycleSettings)})
        tuning = Tuning.of(**{key: train[key] for key in TUNING})
        return cls(subject, settings, Masking(**train["masking"]), tuning, seed)

    def of_controls(self) -> "Rules":
        """The same without what only RAFT has: a control learns one text of each clip, and nothing beside it."""
        return replace(self, settings=replace(self.settings, reference_weight=0.0, kl_weight=0.0))


def load_inputs(dataset: Path, recognizer: Recognizer, rules: Rules, *, cycle: int) -> Inputs:
    known = len(open_split(dataset / "start", "train"))
    drawn = raft.draw_replay(known, rules.settings, seed=rules.seed, cycle=cycle)
    load = partial(rules.subject.load_clips, recognizer=recognizer)
    clips = load(dataset / "target", "train")
    table = open_split(dataset / "target", "train")
    durations_s = dict(zip(table["id"], table["duration"], strict=True))
    target = Target(
        clips=clips,
        durations_s=[durations_s[name] for name in clips.ids],
        perturbed=[load(dataset / "target", "train", altered=change) for change in rules.subject.altered],
    )
    return Inputs(
        target=target,
        replay=load(dataset / "start", "train", indices=drawn) if drawn else None,
        validation={name: load(dataset / name, "validation") for name in rules.subject.measured},
    )


def improve(
    previous: Path, out: Path, inputs: Inputs, rules: Rules, *, algorithm: str, cycle: int, base: Path
) -> tuple[dict[str, Any], dict[str, float]]:
    """Train one cycle on from the model in `previous`; model, rollouts and metrics go to `out`.

    Args:
        base: the start model, from which a divergence is measured.

    Returns:
        The metrics, and more for the tracker, some of which belongs to the machine and into no file.
    """
    load_model = rules.subject.load_model
    recognizer = load_model(previous)
    shards = Shards(_shards_folder(previous, inputs, rules, algorithm, cycle))
    runtime.seed_torch(runtime.derive_seed(rules.seed, "adapters", cycle))
    with tuned(recognizer, rules.tuning):
        result = raft.run_cycle(
            recognizer,
            algorithm=algorithm,
            cycle=cycle,
            target=inputs.target,
            replay=inputs.replay,
            verifier=rules.subject.verifier,
            settings=rules.settings,
            masking=rules.masking,
            seed=rules.seed,
            shards=shards,
            anchor=load_model(base) if rules.settings.kl_weight else None,
            augment=rules.subject.augment(recognizer, runtime.derive_seed(rules.seed, "cycle", cycle)),
        )
    metrics = raft.summarize(result)
    for name, clips in inputs.validation.items():
        metrics |= rules.subject.validate(recognizer, clips, name)
    if distributed.is_main():
        recognizer.save(out)
        raft.write(out / "rollouts.parquet", result.samples, inputs.target.clips)
        files.write_json(out / "metrics.json", metrics)
    shards.clear()
    return metrics, raft.details(result)


def describe(rules: Rules, algorithm: str, cycle: int, metrics: Mapping[str, Any]) -> str:
    """One line for a person."""
    kept, drawn = ("none" if metrics[key] is None else f"{metrics[key]:.2f}" for key in ("reward_kept", "reward_mean"))
    validated = rules.subject.describe(metrics)
    return (
        f"{algorithm} {cycle:02d}: kept {metrics['kept_share']:.0%} of the clips, "
        f"their reward {kept} (all samples: {drawn})" + (f"; validation {validated}" if validated else "")
    )


def _digest(clips: Utterances | None) -> str:
    """Of all that a model may see of them."""
    if clips is None:
        return ""
    content = xxhash.xxh3_128(repr((clips.ids, clips.texts)).encode())
    for features in clips.features:
        content.update(features.contiguous().numpy().data)
    return content.hexdigest()


def _shards_folder(previous: Path, inputs: Inputs, rules: Rules, algorithm: str, cycle: int) -> Path:
    """Of the cache; named by all that decides which samples are drawn: model, clips, numbers and code."""
    root = Path(__file__).resolve().parents[1]
    code = [path for part in CODE for path in sorted((root / part).rglob("*.py"))]
    weights = sorted(path for path in previous.iterdir() if path.is_file())
    parts = (
        files.content_hash(*code, *weights),
        _digest(inputs.target.clips),
        _digest(inputs.replay),
        [_digest(copy) for copy in inputs.target.perturbed],
        rules.settings,
        rules.masking,
        rules.tuning,
        rules.subject.judged_by,
        rules.seed,
        algorithm,
        cycle,
        distributed.world_size(),
    )
    return runtime.cache_root() / "rollouts" / hashlib.sha256(repr(parts).encode()).hexdigest()[:32]
