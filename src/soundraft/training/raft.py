"""One RAFT cycle: sample, score, select, fine-tune. The controls differ only in how they choose what to learn.

RAFT, reward-ranked fine-tuning: Dong et al., arXiv 2304.06767.
"""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from soundraft import runtime
from soundraft.dataset.loader import Utterances, open_split, shuffled_batches
from soundraft.models.base import Recognizer
from soundraft.models.decoding import decode, transcribe
from soundraft.rewards.base import Reward
from soundraft.runtime import UserError
from soundraft.training import selection
from soundraft.training.selection import Sample
from soundraft.training.supervised import Example, FitReport, Masking, Schedule, fit


@dataclass(frozen=True)
class CycleSettings:
    """The `train` params that a cycle uses, under their own names."""

    samples_per_prompt: int
    temperature: float
    reward_threshold: float
    keep_top_percent: float
    learning_rate: float
    lr_decay_per_cycle: float
    min_lr: float
    warmup_share: float
    final_lr_share: float
    weight_decay: float
    max_grad_norm: float
    presentations_per_cycle: int
    replay_fraction: float
    batch_size: int
    gradient_accumulation_steps: int

    def lr(self, cycle: int) -> float:
        """The peak rate of cycle 1, 2, …: `learning_rate · decay^(cycle − 1)`, never under `min_lr`."""
        return max(self.min_lr, self.learning_rate * self.lr_decay_per_cycle ** (cycle - 1))

    @property
    def replayed(self) -> int:
        """How many presentations of a cycle are clips of the start corpus."""
        return round(self.presentations_per_cycle * self.replay_fraction)


@dataclass(frozen=True)
class Rollouts:
    """What an algorithm may look at to choose its training texts."""

    recognizer: Recognizer
    clips: Utterances
    reward: Reward
    settings: CycleSettings
    seed: int


Algorithm = Callable[[Rollouts], list[Sample]]


def raft(rollouts: Rollouts) -> list[Sample]:
    """Sample K texts a clip, keep the best ones by reward."""
    return selection.best_of_each(
        sample_and_score(rollouts),
        reward_threshold=rollouts.settings.reward_threshold,
        keep_top_percent=rollouts.settings.keep_top_percent,
    )


def random_choice(rollouts: Rollouts) -> list[Sample]:
    """Control: sample K texts a clip, keep a random one. What remains of RAFT without its reward."""
    return selection.one_of_each(sample_and_score(rollouts), seed=runtime.derive_seed(rollouts.seed, "choice"))


def self_training(rollouts: Rollouts) -> list[Sample]:
    """Control: learn the model's own greedy texts."""
    texts = transcribe(rollouts.recognizer, rollouts.clips)
    return _keep_all(_scored(rollouts, [[text] for text in texts]))


def supervised(rollouts: Rollouts) -> list[Sample]:
    """Control: learn the reference texts, which RAFT never sees as targets."""
    return _keep_all(_scored(rollouts, [[text] for text in rollouts.clips.texts]))


ALGORITHMS: dict[str, Algorithm] = {
    "raft": raft,
    "supervised": supervised,
    "self_training": self_training,
    "random": random_choice,
}


@dataclass(frozen=True)
class CycleResult:
    """What a cycle did. `seconds` (sampling with scoring, training) belong to the machine, not to the record."""

    samples: list[Sample]
    fit: FitReport
    learning_rate: float
    seconds: dict[str, float]


def run_cycle(
    recognizer: Recognizer,
    *,
    algorithm: str,
    cycle: int,
    target: Utterances,
    replay: Utterances | None,
    reward: Reward,
    settings: CycleSettings,
    masking: Masking | None,
    seed: int,
) -> CycleResult:
    """Improve the recogniser in place.

    Args:
        cycle: 1, 2, …
        target: clips to sample on; their texts go to the reward and, for `supervised`, into the loss.
        replay: clips of the start corpus to mix in with their references, `settings.replayed` of them.

    Raises:
        UserError: when no sample passes the selection: there is nothing to learn.
    """
    cycle_seed = runtime.derive_seed(seed, "cycle", cycle)
    began = time.monotonic()
    samples = ALGORITHMS[algorithm](Rollouts(recognizer, target, reward, settings, cycle_seed))
    sampled = time.monotonic()
    kept = [sample for sample in samples if sample.kept]
    if not kept:
        best = max((sample.reward for sample in samples if sample.reward is not None), default=None)
        raise UserError(
            f"cycle {cycle}: none of {len(samples)} samples was kept (best reward {best}); "
            "lower train.reward_threshold, or start from a better model"
        )
    examples = training_examples(kept, target, replay, settings, seed=cycle_seed)
    lengths = [len(example.features) for example in examples]
    runtime.seed_torch(cycle_seed)
    lr = settings.lr(cycle)
    report = fit(
        recognizer,
        examples,
        shuffled_batches(lengths, settings.batch_size, seed=cycle_seed),
        schedule=Schedule(lr, settings.warmup_share, settings.final_lr_share),
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        accumulation=settings.gradient_accumulation_steps,
        masking=masking,
        title=f"{algorithm} cycle {cycle}",
    )
    seconds = {"sampling": sampled - began, "training": time.monotonic() - sampled}
    return CycleResult(samples, report, lr, seconds)


def draw_replay(dataset: Path, settings: CycleSettings, *, seed: int, cycle: int) -> list[int]:
    """Which clips of the start corpus a cycle replays: different ones each cycle, none twice while there are enough."""
    clips = len(open_split(dataset, "train"))
    rng = random.Random(runtime.derive_seed(seed, "replay", cycle))
    rounds, rest = divmod(settings.replayed, clips)
    return list(range(clips)) * rounds + rng.sample(range(clips), rest)


def training_examples(
    kept: Sequence[Sample],
    target: Utterances,
    replay: Utterances | None,
    settings: CycleSettings,
    *,
    seed: int,
) -> list[Example]:
    """Kept samples over and over in shuffled rounds, and replay, `presentations_per_cycle` in all."""
    rng = random.Random(runtime.derive_seed(seed, "presentations"))
    replayed = list(zip(replay.features, replay.texts, strict=True)) if replay else []
    wanted = settings.presentations_per_cycle - len(replayed)
    rounds: list[Sample] = []
    while len(rounds) < wanted:
        rounds += rng.sample(list(kept), len(kept))
    learned = [(target.features[sample.clip], sample.text) for sample in rounds[:wanted]]
    return [Example(features, text) for features, text in learned + replayed]


def sample_and_score(rollouts: Rollouts) -> list[Sample]:
    """K samples of each clip, seeded by (cycle, clip), with their rewards."""
    recognizer, settings = rollouts.recognizer, rollouts.settings

    def draw(encoded: object, ids: list[str]) -> list[list[str]]:
        return recognizer.sample(
            encoded,
            settings.samples_per_prompt,
            temperature=settings.temperature,
            seeds=[runtime.derive_seed(rollouts.seed, "sample", name) for name in ids],
        )

    return _scored(rollouts, decode(recognizer, rollouts.clips, draw, title="sample"))


def _scored(rollouts: Rollouts, texts: list[list[str]]) -> list[Sample]:
    """Score each distinct text of a clip once."""
    samples = []
    for clip, (reference, drawn) in enumerate(zip(rollouts.clips.texts, texts, strict=True)):
        verdicts = {text: rollouts.reward(reference=reference, hypothesis=text) for text in set(drawn)}
        for number, text in enumerate(drawn):
            verdict = verdicts[text]
            samples.append(Sample(clip, number, text, verdict.reward, verdict.parts, verdict.success, verdict.reason))
    return samples


def _keep_all(samples: list[Sample]) -> list[Sample]:
    return selection.best_of_each(samples, reward_threshold=float("-inf"), keep_top_percent=100)
