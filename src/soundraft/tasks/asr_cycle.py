"""One cycle of speech recognition by RAFT or a control: from a model's folder to the next model's folder."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import xxhash

from soundraft import distributed, files, models, runtime
from soundraft.audio.perturb import Alteration, alterations
from soundraft.dataset.loader import Utterances, open_split
from soundraft.models import Recognizer
from soundraft.models.options import Tuning, tuned
from soundraft.rewards.base import Verifier
from soundraft.tasks import asr, asr_reward
from soundraft.training import raft, rollouts
from soundraft.training.raft import Target
from soundraft.training.settings import CycleSettings
from soundraft.training.shards import Shards
from soundraft.training.supervised import Masking

CORPORA = ("target", "start")
TUNING = ("lora", "freeze", "gradient_checkpointing", "precision")
CODE = ("models", "training", "rewards", "metrics", "dataset", "audio")


@dataclass(frozen=True)
class Inputs:
    """The clips of one cycle, with features; every model of a chain takes the same features."""

    target: Target
    replay: Utterances | None
    validation: dict[str, Utterances]


@dataclass(frozen=True)
class Rules:
    """How to learn from them."""

    settings: CycleSettings
    masking: Masking
    tuning: Tuning
    verifier: Verifier
    altered: list[Alteration]
    normalizer: str
    seed: int
    judged_by: str  # tells verifiers apart

    @classmethod
    def of(cls, train: Mapping[str, Any], reward: Mapping[str, Any], *, texts: Sequence[str], seed: int) -> "Rules":
        """From the sections `train` and `reward` of the params.

        Args:
            texts: transcripts of the start corpus, which the verifier may know.
        """
        settings = CycleSettings(**{field.name: train[field.name] for field in fields(CycleSettings)})
        judged_by = hashlib.sha256(repr((sorted(reward.items()), list(texts))).encode()).hexdigest()
        verifier = asr_reward.build(reward, texts=texts)
        altered = alterations(**reward["perturbation"]) if verifier.needs_perturbed else []
        masking = Masking(**train["masking"])
        tuning = asr.tuning(**{key: train[key] for key in TUNING})
        return cls(settings, masking, tuning, verifier, altered, reward["normalizer"], seed, judged_by)

    def of_controls(self) -> "Rules":
        """The same without what only RAFT has: a control learns one text of each clip, and nothing beside it."""
        return replace(self, settings=replace(self.settings, reference_weight=0.0, kl_weight=0.0))


def known_texts(dataset: Path) -> list[str]:
    """The transcripts of the start corpus of a dataset that s5 built."""
    return list(open_split(dataset / "start", "train")["text"])


def load_inputs(dataset: Path, recognizer: Recognizer, rules: Rules, *, cycle: int) -> Inputs:
    clips = len(open_split(dataset / "start", "train"))
    drawn = raft.draw_replay(clips, rules.settings, seed=rules.seed, cycle=cycle)
    load = partial(asr.load_clips, recognizer=recognizer, normalizer=rules.normalizer)
    target = Target(
        clips=load(dataset / "target", "train"),
        durations_s=open_split(dataset / "target", "train")["duration"],
        perturbed=[load(dataset / "target", "train", altered=change) for change in rules.altered],
    )
    return Inputs(
        target=target,
        replay=load(dataset / "start", "train", indices=drawn) if drawn else None,
        validation={name: load(dataset / name, "validation") for name in CORPORA},
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
    recognizer = models.load_recognizer(previous)
    shards = Shards(_shards_folder(previous, inputs, rules, algorithm, cycle))
    runtime.seed_torch(runtime.derive_seed(rules.seed, "adapters", cycle))
    with tuned(recognizer, rules.tuning):
        result = raft.run_cycle(
            recognizer,
            algorithm=algorithm,
            cycle=cycle,
            target=inputs.target,
            replay=inputs.replay,
            verifier=rules.verifier,
            settings=rules.settings,
            masking=rules.masking,
            seed=rules.seed,
            shards=shards,
            anchor=models.load_recognizer(base) if rules.settings.kl_weight else None,
        )
    metrics = rollouts.summarize(result)
    for name, clips in inputs.validation.items():
        scored = asr.recognize(recognizer, clips, normalizer=rules.normalizer, title=f"validate {name}")
        metrics[f"wer_{name}_validation"] = scored.wer
        metrics[f"cer_{name}_validation"] = scored.cer
    if distributed.is_main():
        recognizer.save(out)
        rollouts.write(out / "rollouts.parquet", result.samples, inputs.target.clips)
        files.write_json(out / "metrics.json", metrics)
    shards.clear()
    return metrics, rollouts.details(result)


def describe(algorithm: str, cycle: int, metrics: dict[str, Any]) -> str:
    """One line for a person."""
    rates = {name: metrics.get(f"wer_{name}_validation") for name in CORPORA}
    validated = ", ".join(f"{name} {rate:.1%}" for name, rate in rates.items() if rate is not None)
    kept, drawn = ("none" if metrics[key] is None else f"{metrics[key]:.2f}" for key in ("reward_kept", "reward_mean"))
    return (
        f"{algorithm} {cycle:02d}: kept {metrics['kept_share']:.0%} of the clips, "
        f"their reward {kept} (all samples: {drawn})" + (f"; validation WER {validated}" if validated else "")
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
        rules.judged_by,
        rules.seed,
        algorithm,
        cycle,
        distributed.world_size(),
    )
    return runtime.cache_root() / "rollouts" / hashlib.sha256(repr(parts).encode()).hexdigest()[:32]
