"""Samples that survive a kill: every finished shard of a cycle's rollouts is a file until the cycle is done."""

import hashlib
import math
import random
import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from soundraft import distributed, files, runtime
from soundraft.clips.batches import Utterances, shuffled_batches
from soundraft.clips.decoding import decode, transcribe
from soundraft.models.base import Recognizer
from soundraft.parallel import progress
from soundraft.rewards.base import Evidence, Verifier
from soundraft.runtime import UserError
from soundraft.training import selection
from soundraft.training import selection as lessons
from soundraft.training.learner import Augment, Example, FitReport, Learner, Masking, Optimizing, Schedule
from soundraft.training.selection import CycleSettings, Round, Sample

SHARD_CLIPS = 128


class Shards:
    """The samples of one cycle, in shards of clips.

    Sampling and training are repeatable, so a cycle that was killed goes through the same states again, and the shards
    that it finished need no second sampling. A shard is known by its clips and its place in the cycle.

    Args:
        folder: where they are kept until `clear`; its name must tell apart what has other samples. `None` keeps none.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._place = 0

    def texts(self, clips: Utterances, sample: Callable[[Utterances], list[list[str]]]) -> list[list[str]]:
        """The texts of every clip: read where they were finished, else sampled."""
        texts: list[list[str]] = []
        for start in range(0, len(clips), SHARD_CLIPS):
            texts += self._shard(clips.part(range(start, min(start + SHARD_CLIPS, len(clips)))), sample)
        return texts

    def clear(self) -> None:
        """Forget them: the cycle is done and has written its rollouts."""
        distributed.wait_for_everyone()
        if self.folder is not None and self.folder.is_dir() and distributed.is_main():
            shutil.rmtree(self.folder)

    def _shard(self, clips: Utterances, sample: Callable[[Utterances], list[list[str]]]) -> list[list[str]]:
        self._place += 1
        if self.folder is None:
            return sample(clips)
        path = self.folder / f"{self._place:05d}-{_digest(clips.ids)}.json"
        if path.is_file():
            return files.read_json(path)
        texts = sample(clips)
        if distributed.is_main():
            files.write_json(path, texts)
        distributed.wait_for_everyone()
        return texts


def _digest(names: Sequence[str]) -> str:
    return hashlib.sha256("\x1f".join(names).encode()).hexdigest()[:16]


# One RAFT cycle: sample, score, select, fine-tune, in rounds. The controls only choose otherwise what to learn.
#
# RAFT, reward-ranked fine-tuning: Dong et al., arXiv 2304.06767.


@dataclass(frozen=True)
class Target:
    """The clips that a cycle samples; parallel.

    Attributes:
        clips: their texts go to the verifier, and into the loss where references are learned.
        durations_s: their lengths in seconds.
        perturbed: altered copies of them, for verifiers that ask for such.
    """

    clips: Utterances
    durations_s: list[float]
    perturbed: list[Utterances] = field(default_factory=list)

    def part(self, indices: Sequence[int]) -> "Target":
        durations_s = [self.durations_s[index] for index in indices]
        return Target(self.clips.part(indices), durations_s, [copy.part(indices) for copy in self.perturbed])


@dataclass(frozen=True)
class Rollouts:
    """What an algorithm may look at to choose its training texts: the clips of one round."""

    recognizer: Recognizer
    target: Target
    verifier: Verifier
    settings: CycleSettings
    seed: int
    shards: Shards


Algorithm = Callable[[Rollouts], list[Sample]]


def raft(rollouts: Rollouts) -> list[Sample]:
    """Sample K texts a clip, keep the best ones by reward."""
    return selection.best_of_each(
        sample_and_score(rollouts),
        reward_threshold=rollouts.settings.reward_threshold,
        keep_top_percent=rollouts.settings.keep_top_percent,
    )


def policy_gradient(rollouts: Rollouts) -> list[Sample]:
    """Sample K texts a clip, keep those that the gradient of the expected reward is made of."""
    return selection.groups(sample_and_score(rollouts), group_size=rollouts.settings.group_size)


def random_choice(rollouts: Rollouts) -> list[Sample]:
    """Control: sample K texts a clip, keep a random one. What remains of RAFT without its reward."""
    return selection.one_of_each(sample_and_score(rollouts), seed=runtime.derive_seed(rollouts.seed, "choice"))


def self_training(rollouts: Rollouts) -> list[Sample]:
    """Control: learn the model's own greedy texts."""
    texts = transcribe(rollouts.recognizer, rollouts.target.clips)
    return _keep_all(_scored(rollouts, [[text] for text in texts]))


def supervised(rollouts: Rollouts) -> list[Sample]:
    """Control: learn the reference texts, which RAFT never sees as targets."""
    return _keep_all(_scored(rollouts, [[text] for text in rollouts.target.clips.texts]))


ALGORITHMS: dict[str, Algorithm] = {
    "raft": raft,
    "grpo": policy_gradient,
    "mwer": policy_gradient,
    "sft": supervised,
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
    target: Target,
    replay: Utterances | None,
    verifier: Verifier,
    settings: CycleSettings,
    masking: Masking | None,
    seed: int,
    shards: Shards,
    anchor: Recognizer | None = None,
    augment: Augment | None = None,
) -> CycleResult:
    """Improve the recogniser in place: `settings.rounds_per_cycle` times sample a part of the clips and train on it.

    Args:
        cycle: 1, 2, …
        replay: clips of the start corpus to mix in with their references.
        shards: where finished samples survive a kill.
        anchor: the start model, needed where `settings.kl_weight` is above 0.
        augment: how clips are altered when they are learned.

    Raises:
        UserError: when no sample passes the selection: there is nothing to learn.
    """
    cycle_seed = runtime.derive_seed(seed, "cycle", cycle)
    plan = lessons.plan_rounds(len(target.clips), len(replay) if replay else 0, settings, seed=cycle_seed)
    learner = make_learner(recognizer, plan, settings, settings.lr(cycle), masking, augment)
    runtime.seed_torch(cycle_seed)
    samples: list[Sample] = []
    seconds = {"sampling": 0.0, "training": 0.0}
    with progress(learner.steps, title=f"{algorithm} cycle {cycle}", unit="step") as bar:
        for number, part in enumerate(plan):
            began = time.monotonic()
            round_seed = runtime.derive_seed(cycle_seed, "round", number)
            drawn = Rollouts(recognizer, target.part(part.clips), verifier, settings, round_seed, shards)
            chosen = ALGORITHMS[algorithm](drawn)
            samples += [replace(sample, clip=part.clips[sample.clip]) for sample in chosen]
            sampled = time.monotonic()
            learned = lessons.make_lessons(
                chosen, drawn.target.clips, algorithm=algorithm, settings=settings, recognizer=recognizer, anchor=anchor
            )
            examples = lessons.presented(learned, part.learned, seed=runtime.derive_seed(round_seed, "presentations"))
            examples += lessons.replay_lessons(replay, part.replayed)
            learner.learn(examples, _batches(examples, settings, round_seed), bar)
            seconds["sampling"] += sampled - began
            seconds["training"] += time.monotonic() - sampled
    _check_something_was_learned(samples, learner, cycle)
    samples.sort(key=lambda sample: (sample.clip, sample.number))
    return CycleResult(samples, learner.report(), settings.lr(cycle), seconds)


def draw_replay(clips: int, settings: CycleSettings, *, seed: int, cycle: int) -> list[int]:
    """Which of the start corpus's clips a cycle replays: other ones each cycle, none twice while there are enough."""
    rng = random.Random(runtime.derive_seed(seed, "replay", cycle))
    rounds, rest = divmod(settings.replayed, clips)
    return list(range(clips)) * rounds + rng.sample(range(clips), rest)


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

    def sample(clips: Utterances) -> list[list[str]]:
        return decode(recognizer, clips, draw, title="sample")

    return _scored(rollouts, rollouts.shards.texts(rollouts.target.clips, sample))


def _scored(rollouts: Rollouts, texts: list[list[str]]) -> list[Sample]:
    target = rollouts.target
    altered = [transcribe(rollouts.recognizer, copy, title="perturbed") for copy in target.perturbed]
    samples = []
    for clip, drawn in enumerate(texts):
        evidence = Evidence(target.clips.texts[clip], target.durations_s[clip], tuple(heard[clip] for heard in altered))
        verdicts = rollouts.verifier.verify_samples(drawn, evidence)
        readable = {text: rollouts.recognizer.can_score(text) for text in set(drawn)}
        for number, (text, verdict) in enumerate(zip(drawn, verdicts, strict=True)):
            scored = Sample(clip, number, text, verdict.reward, verdict.parts, verdict.success, verdict.reason)
            samples.append(scored if readable[text] else replace(scored, reward=None, reason=selection.CANNOT_LEARN))
    return samples


def make_learner(
    recognizer: Recognizer,
    plan: Sequence[Round],
    settings: CycleSettings,
    peak: float,
    masking: Masking | None,
    augment: Augment | None = None,
) -> Learner:
    """A learner whose schedule, with this peak of the learning rate, ends with the last round of the plan."""
    accumulation = settings.gradient_accumulation_steps
    optimizing = Optimizing(settings.weight_decay, settings.max_grad_norm, accumulation, settings.strengths)
    schedule = Schedule(peak, settings.warmup_share, settings.final_lr_share)
    batches = [math.ceil((part.learned + len(part.replayed)) / settings.batch_size) for part in plan]
    steps = sum(math.ceil(count / accumulation) for count in batches)
    return Learner(recognizer, schedule=schedule, steps=steps, optimizing=optimizing, masking=masking, augment=augment)


def _batches(examples: Sequence[Example], settings: CycleSettings, seed: int) -> list[list[int]]:
    return shuffled_batches([len(example.features) for example in examples], settings.batch_size, seed=seed)


def _check_something_was_learned(samples: Sequence[Sample], learner: Learner, cycle: int) -> None:
    if learner.done == 0 or not any(sample.kept for sample in samples):
        best = max((sample.reward for sample in samples if sample.reward is not None), default=None)
        reason = Counter(sample.reason for sample in samples).most_common(1)[0][0]
        raise UserError(
            f"cycle {cycle}: none of {len(samples)} samples was kept (best reward {best}, mostly: {reason}); "
            "lower train.reward_threshold, draw more samples, or start from a better model"
        )


def _keep_all(samples: list[Sample]) -> list[Sample]:
    """What needs no reward is learned without one, too."""
    return [
        sample if sample.reason == selection.CANNOT_LEARN else replace(sample, reason=selection.KEPT)
        for sample in samples
    ]


# The record of a cycle: every sample with its reward and fate (parquet), and the numbers of the whole.


def write(path: Path, samples: Sequence[Sample], clips: Utterances) -> None:
    """One row per sample: `id, sample, text, reward, <parts…>, success, selected, reason`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    parts = sorted({name for sample in samples for name in sample.parts})
    columns: dict[str, list[Any]] = {
        "id": [clips.ids[sample.clip] for sample in samples],
        "sample": [sample.number for sample in samples],
        "text": [sample.text for sample in samples],
        "reward": [sample.reward for sample in samples],
        **{name: [sample.parts.get(name) for sample in samples] for name in parts},
        "success": [sample.success for sample in samples],
        "selected": [sample.kept for sample in samples],
        "reason": [sample.reason for sample in samples],
    }
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), buffer, compression="zstd")
    files.write_bytes(path, buffer.getvalue().to_pybytes())


def summarize(result: CycleResult) -> dict[str, Any]:
    """Flat numbers of one cycle. Samples without a reward are counted and left out of the averages.

    An average of nothing is `None`: a control may learn texts that its verifier cannot score.
    """
    rewards = {index: sample.reward for index, sample in enumerate(result.samples) if sample.reward is not None}
    best: dict[int, float] = {}
    for index, reward in rewards.items():
        clip = result.samples[index].clip
        best[clip] = max(best.get(clip, -math.inf), reward)
    kept = {sample.clip for sample in result.samples if sample.kept}
    return {
        "reward_mean": _mean(rewards.values()),
        "reward_best": _mean(best.values()),
        "reward_kept": _mean(reward for index, reward in rewards.items() if result.samples[index].kept),
        "success_rate": _mean(result.samples[index].success for index in rewards),
        "kept_share": len(kept) / len({sample.clip for sample in result.samples}),
        "not_scorable": len(result.samples) - len(rewards),
        "loss": result.fit.mean_loss,
        "learning_rate": result.learning_rate,
    }


def details(result: CycleResult) -> dict[str, float]:
    """More numbers of one cycle, for the tracker: quantiles of the rewards, variety of the samples, speeds.

    `sample_entropy` is the mean over the clips of the entropy, in nats, of the texts that were drawn.
    """
    rewards = sorted(sample.reward for sample in result.samples if sample.reward is not None)
    drawn: dict[int, Counter[str]] = defaultdict(Counter)
    for sample in result.samples:
        drawn[sample.clip][sample.text] += 1
    percents = (10, 50, 90) if rewards else ()
    quantiles = {f"reward_q{percent}": rewards[(len(rewards) - 1) * percent // 100] for percent in percents}
    return quantiles | {
        "sample_entropy": fmean(_entropy(counts.values()) for counts in drawn.values()),
        "sampling_s": result.seconds["sampling"],
        "training_s": result.seconds["training"],
        "sampling_clips_per_s": len(drawn) / result.seconds["sampling"],
        "training_clips_per_s": result.fit.presentations / result.seconds["training"],
    }


def _mean(values: Iterable[float]) -> float | None:
    numbers = list(values)
    return fmean(numbers) if numbers else None


def _entropy(counts: Iterable[int]) -> float:
    numbers = list(counts)
    total = sum(numbers)
    return -sum(number / total * math.log(number / total) for number in numbers)
