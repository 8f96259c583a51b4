"""Which samples a RAFT cycle learns from, and in which order: pure functions, but for log-probabilities.

A selection returns all samples, in the order given, each with the reason why it is kept or not.
"""

import math
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from soundraft import runtime
from soundraft.clips.batches import Utterances, answer_log_probs
from soundraft.models.base import Answer, Model
from soundraft.params.sections import Decoding, Train
from soundraft.training.learner import Example
from soundraft.training.objectives import POLICY_GRADIENTS, Group, of_algorithm

KEPT = "kept"
NOT_SCORABLE = "not scorable"
CANNOT_LEARN = "the model cannot read this text back"
NOT_BEST = "not the clip's best"
BELOW_THRESHOLD = "reward below threshold"
OUTSIDE_TOP = "outside the top share"
NOT_DRAWN = "not drawn"
NO_CONTRAST = "all of the clip's rewards are equal"
OUTSIDE_GROUP = "outside the group of its clip"


@dataclass(frozen=True)
class Sample:
    """One sampled answer of one clip.

    Attributes:
        clip: index of the clip in the training split.
        number: index among the clip's samples, in the order drawn.
        reward: the verifier's score; `None` when it had none.
        reason: before selection, why there is no reward; after it, why the sample was or was not kept.
    """

    clip: int
    number: int
    answer: Answer
    reward: float | None
    parts: dict[str, float]
    success: bool = False
    reason: str = ""

    @property
    def kept(self) -> bool:
        return self.reason == KEPT


def best_of_each(samples: Sequence[Sample], *, reward_threshold: float, keep_top_percent: float) -> list[Sample]:
    """RAFT's choice (Dong et al., arXiv 2304.06767): of each clip its first best sample, of those the best share.

    Samples below `reward_threshold` go first; then `keep_top_percent` of the clips stay, at least one.
    """
    best = {clip: max(drawn, key=_reward) for clip, drawn in _scorable(samples).items()}
    passing = [sample for sample in best.values() if _reward(sample) >= reward_threshold]
    ranked = sorted(passing, key=lambda sample: (-_reward(sample), sample.clip))
    kept = {sample.clip for sample in ranked[: math.ceil(len(ranked) * keep_top_percent / 100)]}

    def reason(sample: Sample) -> str:
        if sample.number != best[sample.clip].number:
            return NOT_BEST
        if _reward(sample) < reward_threshold:
            return BELOW_THRESHOLD
        return KEPT if sample.clip in kept else OUTSIDE_TOP

    return _with_reasons(samples, reason)


def groups(samples: Sequence[Sample], *, group_size: int) -> list[Sample]:
    """What a policy gradient learns from: of each clip its best answer and those drawn most often.

    At most `group_size`, the first drawn first; clips whose group has one reward for all are left out.
    """
    chosen: dict[int, set[Answer]] = {}
    rewards: dict[int, set[float | None]] = {}
    for clip, drawn in _scorable(samples).items():
        best = max(drawn, key=_reward).answer
        counts = Counter(sample.answer for sample in drawn)
        frequent = [answer for answer, _ in counts.most_common() if answer != best]
        chosen[clip] = {best, *frequent[: group_size - 1]}
        rewards[clip] = {sample.reward for sample in drawn if sample.answer in chosen[clip]}

    def reason(sample: Sample) -> str:
        if len(rewards[sample.clip]) == 1:
            return NO_CONTRAST
        return KEPT if sample.answer in chosen[sample.clip] else OUTSIDE_GROUP

    return _with_reasons(samples, reason)


def one_of_each(samples: Sequence[Sample], *, seed: int) -> list[Sample]:
    """The control without a reward: of each clip a random sample that the model can learn."""
    rng = random.Random(seed)
    by_clip: dict[int, list[int]] = defaultdict(list)
    for index, sample in enumerate(samples):
        if sample.reason != CANNOT_LEARN:
            by_clip[sample.clip].append(index)
    drawn = {rng.choice(indices) for _, indices in sorted(by_clip.items())}
    return [replace(sample, reason=KEPT if index in drawn else NOT_DRAWN) for index, sample in enumerate(samples)]


def keep_all(samples: Sequence[Sample]) -> list[Sample]:
    return [sample if sample.reason == CANNOT_LEARN else replace(sample, reason=KEPT) for sample in samples]


def _scorable(samples: Sequence[Sample]) -> dict[int, list[Sample]]:
    by_clip: dict[int, list[Sample]] = defaultdict(list)
    for sample in samples:
        if sample.reward is not None:
            by_clip[sample.clip].append(sample)
    return by_clip


def _reward(sample: Sample) -> float:
    assert sample.reward is not None
    return sample.reward


def _with_reasons(samples: Sequence[Sample], reason: Callable[[Sample], str]) -> list[Sample]:
    return [
        replace(sample, reason=f"{NOT_SCORABLE}: {sample.reason}" if sample.reward is None else reason(sample))
        for sample in samples
    ]


# Rounds of a cycle, and the examples that are made of a round's samples.


@dataclass(frozen=True)
class Round:
    """The clips that are sampled, how often one of them is presented, the clips that are replayed."""

    clips: list[int]
    learned: int
    replayed: list[int]


def plan_rounds(clips: int, replay: int, train: Train, *, seed: int) -> list[Round]:
    """Deal clips, presentations and replay out to at most as many rounds as clips, evenly and in a random order."""
    rounds = min(train.rounds_per_cycle, clips)
    order = random.Random(runtime.derive_seed(seed, "rounds")).sample(range(clips), clips)
    wanted = train.presentations_per_cycle - replay

    def part(total: int, number: int) -> range:
        return range(total * number // rounds, total * (number + 1) // rounds)

    return [
        Round([order[i] for i in part(clips, n)], len(part(wanted, n)), list(part(replay, n))) for n in range(rounds)
    ]


def presented(items: Sequence[Example], count: int, *, seed: int) -> list[Example]:
    """The items over and over in shuffled rounds, `count` in all; none when there are no items."""
    rng = random.Random(seed)
    chosen: list[Example] = []
    while items and len(chosen) < count:
        chosen += rng.sample(list(items), len(items))
    return chosen[:count]


def examples_of_samples(
    samples: Sequence[Sample],
    clips: Utterances,
    *,
    algorithm: str,
    train: Train,
    decoding: Decoding,
    model: Model,
    anchor: Model | None,
) -> list[Example]:
    """One example for each clip with kept samples, in the order of the clips.

    Args:
        samples: of one round; their `clip` counts in `clips`.
        model: the one that drew them, as it was then.
        anchor: the start model, where `train.kl_weight` is above 0.
    """
    kept: dict[int, list[Sample]] = defaultdict(list)
    for sample in samples:
        if sample.kept:
            kept[sample.clip].append(sample)
    indices = sorted(kept)
    objective = of_algorithm(algorithm, train)
    references = [(clips.targets[index],) if train.reference_weight else () for index in indices]
    if algorithm not in POLICY_GRADIENTS:
        return [
            Example(clips.features[index], Group((kept[index][0].answer, *reference)), objective)
            for index, reference in zip(indices, references, strict=True)
        ]
    times = [Counter(sample.answer for sample in kept[index]) for index in indices]
    rewards = [{sample.answer: sample.reward or 0.0 for sample in kept[index]} for index in indices]
    part, answers, nothing = clips.part(indices), [tuple(count) for count in times], [()] * len(indices)
    # of the two only GRPO compares with the probability at the time of sampling
    behaviour = answer_log_probs(model, part, answers, decoding) if algorithm == "grpo" else nothing
    anchored = answer_log_probs(anchor, part, answers, decoding) if anchor else nothing
    return [
        Example(
            features,
            Group(
                answers=answers[n] + references[n],
                rewards=tuple(rewards[n].values()),
                times=tuple(times[n].values()),
                behaviour=behaviour[n],
                anchor=anchored[n],
            ),
            objective,
        )
        for n, features in enumerate(part.features)
    ]
