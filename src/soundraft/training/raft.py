"""One RAFT cycle: sample, score, select, fine-tune, in rounds. The controls only choose otherwise what to learn.

RAFT, reward-ranked fine-tuning: Dong et al., arXiv 2304.06767.
"""

import hashlib
import json
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
from soundraft.clips.batches import Utterances, best_answers, decode, shuffled_batches
from soundraft.models.base import Answer, Model
from soundraft.parallel import progress
from soundraft.params.sections import Decoding, Train
from soundraft.rewards.base import Evidence, Verifier
from soundraft.runtime import UserError
from soundraft.training import selection
from soundraft.training.learner import Augment, FitReport, Learner, examples_of
from soundraft.training.selection import Round, Sample

SHARD_CLIPS = 128


class Shards:
    """The samples of one cycle, in shards of clips that survive a kill.

    Sampling and training are repeatable: a cycle that was killed goes through the same states, and finished shards,
    known by their clips and place, need no second sampling. `write` and `read` turn an answer into JSON and back.
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        write: Callable[[Any], Any] = lambda answer: answer,
        read: Callable[[Any], Any] = lambda value: value,
    ) -> None:
        self.folder = folder
        self._write, self._read = write, read
        self._place = 0

    def answers(self, clips: Utterances, sample: Callable[[Utterances], list[list[Any]]]) -> list[list[Any]]:
        found: list[list[Any]] = []
        for start in range(0, len(clips), SHARD_CLIPS):
            found += self._shard(clips.part(range(start, min(start + SHARD_CLIPS, len(clips)))), sample)
        return found

    def clear(self) -> None:
        distributed.wait_for_everyone()
        if self.folder is not None and self.folder.is_dir() and distributed.is_main():
            shutil.rmtree(self.folder)

    def _shard(self, clips: Utterances, sample: Callable[[Utterances], list[list[Any]]]) -> list[list[Any]]:
        self._place += 1
        if self.folder is None:
            return sample(clips)
        names = hashlib.sha256("\x1f".join(clips.ids).encode()).hexdigest()[:16]
        path = self.folder / f"{self._place:05d}-{names}.json"
        finished = _read_shard(path, len(clips))
        if finished is not None:
            return [[self._read(value) for value in drawn] for drawn in finished]
        answers = sample(clips)
        if distributed.is_main():
            files.write_json(path, [[self._write(answer) for answer in drawn] for drawn in answers])
        distributed.wait_for_everyone()
        return answers


def _read_shard(path: Path, clips: int) -> list[list[Any]] | None:
    """The answers in a shard; `None` where there is none, or a damaged one, which is then drawn again."""
    try:
        found = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    whole = isinstance(found, list) and len(found) == clips and all(isinstance(drawn, list) for drawn in found)
    return found if whole else None


@dataclass(frozen=True)
class Target:
    """The clips that a cycle samples, their lengths, and perturbed copies of them for verifiers that ask for such."""

    clips: Utterances
    durations_s: list[float]
    perturbed: list[Utterances] = field(default_factory=list)

    def part(self, indices: Sequence[int]) -> "Target":
        durations_s = [self.durations_s[index] for index in indices]
        return Target(self.clips.part(indices), durations_s, [copy.part(indices) for copy in self.perturbed])


@dataclass(frozen=True)
class Rollouts:
    model: Model
    target: Target
    verifier: Verifier
    train: Train
    decoding: Decoding
    seed: int
    shards: Shards


def raft(rollouts: Rollouts) -> list[Sample]:
    """Sample K answers a clip, keep the best ones by reward."""
    return selection.best_of_each(
        sample_and_score(rollouts),
        reward_threshold=rollouts.train.reward_threshold,
        keep_top_percent=rollouts.train.keep_top_percent,
    )


def policy_gradient(rollouts: Rollouts) -> list[Sample]:
    """Sample K answers a clip, keep those that the gradient of the expected reward is made of."""
    return selection.groups(sample_and_score(rollouts), group_size=rollouts.train.group_size)


def random_choice(rollouts: Rollouts) -> list[Sample]:
    """Control: sample K answers a clip, keep a random one. What remains of RAFT without its reward."""
    return selection.one_of_each(sample_and_score(rollouts), seed=runtime.derive_seed(rollouts.seed, "choice"))


def self_training(rollouts: Rollouts) -> list[Sample]:
    """Control: learn the model's own best answers."""
    answers = best_answers(rollouts.model, rollouts.target.clips, rollouts.decoding)
    return selection.keep_all(_scored(rollouts, [[answer] for answer in answers]))


def supervised(rollouts: Rollouts) -> list[Sample]:
    """Control: learn the references, which RAFT never sees as targets."""
    return selection.keep_all(_scored(rollouts, [[reference] for reference in rollouts.target.clips.targets]))


ALGORITHMS: dict[str, Callable[[Rollouts], list[Sample]]] = {
    "raft": raft,
    "grpo": policy_gradient,
    "mwer": policy_gradient,
    "sft": supervised,
    "self_training": self_training,
    "random": random_choice,
}


@dataclass(frozen=True)
class CycleResult:
    """What a cycle did. `seconds` of sampling (with scoring) and training are no part of the record."""

    samples: list[Sample]
    fit: FitReport
    learning_rate: float
    seconds: dict[str, float]


def run_cycle(
    model: Model,
    *,
    algorithm: str,
    cycle: int,
    target: Target,
    replay: Utterances | None,
    verifier: Verifier,
    train: Train,
    decoding: Decoding,
    seed: int,
    shards: Shards,
    anchor: Model | None = None,
    augment: Augment | None = None,
) -> CycleResult:
    """Improve the model in place: `train.rounds_per_cycle` times sample a part of the clips and train on it.

    Args:
        algorithm: of a control another one than `train.algorithm`.
        replay: clips of the start corpus to mix in with their references.
        anchor: the start model, needed where `train.kl_weight` is above 0.

    Raises:
        UserError: when no sample passes the selection: there is nothing to learn.
    """
    cycle_seed = runtime.derive_seed(seed, "cycle", cycle)
    plan = selection.plan_rounds(len(target.clips), len(replay) if replay else 0, train, seed=cycle_seed)
    # a floor, which never lifts the rate above the one that was asked for
    peak = max(min(train.min_lr, train.learning_rate), train.learning_rate * train.lr_decay_per_cycle ** (cycle - 1))
    learner = learner_of(model, plan, train, peak, augment)
    runtime.seed_torch(cycle_seed)
    samples: list[Sample] = []
    seconds = {"sampling": 0.0, "training": 0.0}
    with progress(learner.steps, title=f"{algorithm} cycle {cycle}", unit="step") as bar:
        for number, part in enumerate(plan):
            began = time.monotonic()
            round_seed = runtime.derive_seed(cycle_seed, "round", number)
            rollouts = Rollouts(model, target.part(part.clips), verifier, train, decoding, round_seed, shards)
            chosen = ALGORITHMS[algorithm](rollouts)
            samples += [replace(sample, clip=part.clips[sample.clip]) for sample in chosen]
            sampled = time.monotonic()
            made = selection.examples_of_samples(
                chosen, rollouts.target.clips, algorithm=algorithm, train=train, decoding=decoding, model=model,
                anchor=anchor,
            )  # fmt: skip
            examples = selection.presented(made, part.learned, seed=runtime.derive_seed(round_seed, "presentations"))
            if replay:
                again = replay.part(part.replayed)
                examples += examples_of(again.features, again.targets)
            lengths = [len(example.features) for example in examples]
            learner.learn(examples, shuffled_batches(lengths, train.batch_size, seed=round_seed), bar)
            seconds["sampling"] += sampled - began
            seconds["training"] += time.monotonic() - sampled
    if learner.done == 0 or not any(sample.kept for sample in samples):
        best = max((sample.reward for sample in samples if sample.reward is not None), default=None)
        reason = Counter(sample.reason for sample in samples).most_common(1)[0][0]
        raise UserError(
            f"cycle {cycle}: none of {len(samples)} samples was kept (best reward {best}, mostly: {reason}); "
            "lower train.reward_threshold, draw more samples, or start from a better model"
        )
    samples.sort(key=lambda sample: (sample.clip, sample.number))
    return CycleResult(samples, learner.report(), peak, seconds)


def draw_replay(clips: int, train: Train, *, seed: int, cycle: int) -> list[int]:
    """Which of the start corpus's clips a cycle replays: other ones each cycle, none twice while there are enough."""
    rng = random.Random(runtime.derive_seed(seed, "replay", cycle))
    rounds, rest = divmod(round(train.presentations_per_cycle * train.replay_fraction), clips)
    return list(range(clips)) * rounds + rng.sample(range(clips), rest)


def learner_of(
    model: Model, plan: Sequence[Round], train: Train, peak: float, augment: Augment | None = None
) -> Learner:
    """A learner whose schedule, with this peak, ends with the last round of the plan."""
    batches = [math.ceil((part.learned + len(part.replayed)) / train.batch_size) for part in plan]
    steps = sum(math.ceil(count / train.gradient_accumulation_steps) for count in batches)
    return Learner(model, train, peak=peak, steps=steps, augment=augment)


def sample_and_score(rollouts: Rollouts) -> list[Sample]:
    """K samples of each clip, seeded by (cycle, clip), with their rewards."""
    model, train = rollouts.model, rollouts.train

    def draw(encoded: object, ids: list[str]) -> Sequence[list[Any]]:
        seeds = [runtime.derive_seed(rollouts.seed, "sample", name) for name in ids]
        return model.sample(encoded, train.samples_per_prompt, temperature=train.temperature, seeds=seeds)

    def sample(clips: Utterances) -> list[list[Any]]:
        return decode(model, clips, draw, rollouts.decoding, title="sample")

    return _scored(rollouts, rollouts.shards.answers(rollouts.target.clips, sample))


def _scored(rollouts: Rollouts, answers: Sequence[Sequence[Any]]) -> list[Sample]:
    model, target = rollouts.model, rollouts.target
    perturbed = [best_answers(model, copy, rollouts.decoding, title="perturbed") for copy in target.perturbed]
    evidence = [
        Evidence(target.clips.targets[clip], target.durations_s[clip], tuple(each[clip] for each in perturbed))
        for clip in range(len(answers))
    ]
    scored_clips = rollouts.verifier.verify_all(answers, evidence)
    samples = []
    for clip, (drawn, results) in enumerate(zip(answers, scored_clips, strict=True)):
        learnable = {answer: model.can_learn(answer) for answer in set(drawn)}
        for number, (answer, result) in enumerate(zip(drawn, results, strict=True)):
            scored = Sample(clip, number, answer, result.reward, result.parts, result.success, result.reason)
            samples.append(scored if learnable[answer] else replace(scored, reward=None, reason=selection.CANNOT_LEARN))
    return samples


# The record of a cycle: every sample with its reward and fate (parquet), and the numbers of the whole.


def write(
    path: Path, samples: Sequence[Sample], clips: Utterances, *, text: Callable[[Any], Any] = lambda answer: answer
) -> None:
    """One row per sample: `id, sample, text, reward, <parts…>, success, selected, reason`; `text` is of an answer."""
    parts = sorted({name for sample in samples for name in sample.parts})
    columns: dict[str, list[Any]] = {
        "id": [clips.ids[sample.clip] for sample in samples],
        "sample": [sample.number for sample in samples],
        "text": [text(sample.answer) for sample in samples],
        "reward": [sample.reward for sample in samples],
        **{name: [sample.parts.get(name) for sample in samples] for name in parts},
        "success": [sample.success for sample in samples],
        "selected": [sample.kept for sample in samples],
        "reason": [sample.reason for sample in samples],
    }
    files.write_parquet(path, columns)


def summarize(result: CycleResult) -> dict[str, Any]:
    """Flat numbers of one cycle. Samples without a reward are left out of the averages; of nothing these are `None`."""
    scored = [sample for sample in result.samples if sample.reward is not None]
    best: dict[int, float] = {}
    for sample in scored:
        best[sample.clip] = max(best.get(sample.clip, -math.inf), sample.reward or 0.0)
    clips = {sample.clip for sample in result.samples}
    return {
        "reward_mean": _mean(sample.reward for sample in scored),
        "reward_best": _mean(best.values()),
        "reward_kept": _mean(sample.reward for sample in scored if sample.kept),
        "success_rate": _mean(sample.success for sample in scored),
        "kept_share": len({sample.clip for sample in result.samples if sample.kept}) / len(clips),
        "not_scorable": len(result.samples) - len(scored),
        "loss": result.fit.mean_loss,
        "learning_rate": result.learning_rate,
    }


def details(result: CycleResult) -> dict[str, float]:
    """For the tracker: quantiles of the rewards, the mean entropy of a clip's answers in nats, speeds."""
    rewards = sorted(sample.reward for sample in result.samples if sample.reward is not None)
    drawn: dict[int, Counter[Answer]] = defaultdict(Counter)
    for sample in result.samples:
        drawn[sample.clip][sample.answer] += 1
    percents = (10, 50, 90) if rewards else ()
    quantiles = {f"reward_q{percent}": rewards[(len(rewards) - 1) * percent // 100] for percent in percents}
    return quantiles | {
        "sample_entropy": fmean(_entropy(counts.values()) for counts in drawn.values()),
        "sampling_s": result.seconds["sampling"],
        "training_s": result.seconds["training"],
        "sampling_clips_per_s": len(drawn) / result.seconds["sampling"],
        "training_clips_per_s": result.fit.presentations / result.seconds["training"],
    }


def _mean(values: Iterable[Any]) -> float | None:
    numbers = list(values)
    return fmean(numbers) if numbers else None


def _entropy(counts: Iterable[int]) -> float:
    numbers = list(counts)
    total = sum(numbers)
    return -sum(number / total * math.log(number / total) for number in numbers)
