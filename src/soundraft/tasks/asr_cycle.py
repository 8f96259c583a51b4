"""One cycle of speech recognition by RAFT or a control: from a model's folder to the next model's folder."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from soundraft import files, models
from soundraft.dataset.loader import Utterances
from soundraft.models import Recognizer
from soundraft.rewards import REWARDS
from soundraft.rewards.base import Reward
from soundraft.tasks import asr
from soundraft.training import raft, rollouts
from soundraft.training.raft import CycleSettings
from soundraft.training.supervised import Masking

CORPORA = ("target", "start")


@dataclass(frozen=True)
class Inputs:
    """The clips of one cycle, with features; every model of a chain takes the same features."""

    target: Utterances
    replay: Utterances | None
    validation: dict[str, Utterances]


@dataclass(frozen=True)
class Rules:
    """How to learn from them."""

    settings: CycleSettings
    masking: Masking
    reward: Reward
    normalizer: str
    seed: int

    @classmethod
    def of(cls, train: Mapping[str, Any], reward: Mapping[str, Any], *, task: str, seed: int) -> "Rules":
        """From the sections `train` and `reward` of the params."""
        settings = CycleSettings(**{field.name: train[field.name] for field in fields(CycleSettings)})
        return cls(settings, Masking(**train["masking"]), REWARDS[task](**reward), reward["normalizer"], seed)


def load_inputs(dataset: Path, recognizer: Recognizer, rules: Rules, *, cycle: int) -> Inputs:
    drawn = raft.draw_replay(dataset / "start", rules.settings, seed=rules.seed, cycle=cycle)
    load = partial(asr.load_clips, recognizer=recognizer, normalizer=rules.normalizer)
    return Inputs(
        target=load(dataset / "target", "train"),
        replay=load(dataset / "start", "train", indices=drawn) if drawn else None,
        validation={name: load(dataset / name, "validation") for name in CORPORA},
    )


def improve(
    previous: Path, out: Path, inputs: Inputs, rules: Rules, *, algorithm: str, cycle: int
) -> tuple[dict[str, Any], dict[str, float]]:
    """Train one cycle on from the model in `previous`; model, rollouts and metrics go to `out`.

    Returns:
        The metrics, and the seconds of each phase, which belong to the machine and into no file.
    """
    recognizer = models.load_recognizer(previous)
    result = raft.run_cycle(
        recognizer,
        algorithm=algorithm,
        cycle=cycle,
        target=inputs.target,
        replay=inputs.replay,
        reward=rules.reward,
        settings=rules.settings,
        masking=rules.masking,
        seed=rules.seed,
    )
    metrics = rollouts.summarize(result)
    for name, clips in inputs.validation.items():
        scored = asr.recognize(recognizer, clips, normalizer=rules.normalizer, title=f"validate {name}")
        metrics[f"wer_{name}_validation"] = scored.wer
    recognizer.save(out)
    rollouts.write(out / "rollouts.parquet", result.samples, inputs.target)
    files.write_json(out / "metrics.json", metrics)
    return metrics, result.seconds


def describe(algorithm: str, cycle: int, metrics: dict[str, Any]) -> str:
    """One line for a person."""
    return (
        f"{algorithm} {cycle:02d}: kept {metrics['kept']} clips with a reward of {metrics['reward_kept']:.2f} "
        f"(all samples: {metrics['reward_mean']:.2f}); validation WER target {metrics['wer_target_validation']:.1%}, "
        f"start {metrics['wer_start_validation']:.1%}"
    )
