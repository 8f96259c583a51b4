"""The numbers of a cycle, under the names that they have in `train` of the params."""

import math
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from soundraft import runtime
from soundraft.clips.batches import Utterances
from soundraft.clips.decoding import text_scores
from soundraft.models.base import Recognizer
from soundraft.training.learner import Example
from soundraft.training.objectives import POLICY_GRADIENTS, Group, Strengths


@dataclass(frozen=True)
class CycleSettings:
    """The `train` params that a cycle uses."""

    rounds_per_cycle: int
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
    group_size: int
    ratio_clip: float
    best_weight: float
    reference_weight: float
    kl_weight: float
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

    @property
    def strengths(self) -> Strengths:
        return Strengths(self.ratio_clip, self.best_weight, self.reference_weight, self.kl_weight)


# Which samples a RAFT cycle learns from: pure functions over scored samples.


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
    """One sampled text of one clip.

    Attributes:
        clip: index of the clip in the training split.
        number: index among the clip's samples, in the order drawn.
        reward: the verifier's score; `None` when it had none.
        reason: before selection, why there is no reward; after it, why the sample was or was not kept.
    """

    clip: int
    number: int
    text: str
    reward: float | None
    parts: dict[str, float]
    success: bool = False
    reason: str = ""

    @property
    def kept(self) -> bool:
        return self.reason == KEPT


def best_of_each(samples: Sequence[Sample], *, reward_threshold: float, keep_top_percent: float) -> list[Sample]:
    """RAFT's choice (Dong et al., arXiv 2304.06767): of each clip its best sample, of those the best share.

    A clip's first best sample stands for it, so equal texts count once. Samples below `reward_threshold` go first;
    then the `keep_top_percent` of the clips with the highest rewards stay, at least one.

    Returns:
        All samples, in the order given, with their reason.
    """
    best: dict[int, int] = {}
    for index, sample in enumerate(samples):
        if sample.reward is None:
            continue
        rival = best.get(sample.clip)
        if rival is None or sample.reward > _reward(samples[rival]):
            best[sample.clip] = index
    passing = [index for index in best.values() if _reward(samples[index]) >= reward_threshold]
    ranked = sorted(passing, key=lambda index: (-_reward(samples[index]), samples[index].clip))
    kept = set(ranked[: math.ceil(len(ranked) * keep_top_percent / 100)])
    above = set(passing)
    winners = set(best.values())

    def reason(index: int, sample: Sample) -> str:
        if sample.reward is None:
            return f"{NOT_SCORABLE}: {sample.reason}"
        if index not in winners:
            return NOT_BEST
        if index not in above:
            return BELOW_THRESHOLD
        return KEPT if index in kept else OUTSIDE_TOP

    return [replace(sample, reason=reason(index, sample)) for index, sample in enumerate(samples)]


def one_of_each(samples: Sequence[Sample], *, seed: int) -> list[Sample]:
    """The control without a reward: of each clip a random sample that the model can learn."""
    rng = random.Random(seed)
    by_clip: dict[int, list[int]] = defaultdict(list)
    for index, sample in enumerate(samples):
        if sample.reason != CANNOT_LEARN:
            by_clip[sample.clip].append(index)
    drawn = {rng.choice(indices) for _, indices in sorted(by_clip.items())}
    return [replace(sample, reason=KEPT if index in drawn else NOT_DRAWN) for index, sample in enumerate(samples)]


def groups(samples: Sequence[Sample], *, group_size: int) -> list[Sample]:
    """What a policy gradient learns from: of each clip the samples whose texts were drawn most often, and the best.

    At most `group_size` different texts, the first best one always among them; ties go to the text drawn first. Clips
    whose group has one reward for all have no gradient and are left out.

    Returns:
        All samples, in the order given, with their reason.
    """
    by_clip: dict[int, list[Sample]] = defaultdict(list)
    for sample in samples:
        if sample.reward is not None:
            by_clip[sample.clip].append(sample)
    chosen = {clip: _group(drawn, group_size) for clip, drawn in by_clip.items()}
    rewards = {clip: {sample.reward for sample in by_clip[clip] if sample.text in chosen[clip]} for clip in by_clip}

    def reason(sample: Sample) -> str:
        if sample.reward is None:
            return f"{NOT_SCORABLE}: {sample.reason}"
        if len(rewards[sample.clip]) == 1:
            return NO_CONTRAST
        return KEPT if sample.text in chosen[sample.clip] else OUTSIDE_GROUP

    return [replace(sample, reason=reason(sample)) for sample in samples]


def _group(drawn: Sequence[Sample], size: int) -> set[str]:
    best = max(drawn, key=_reward).text
    frequent = [text for text, _ in Counter(sample.text for sample in drawn).most_common() if text != best]
    return {best, *frequent[: size - 1]}


def _reward(sample: Sample) -> float:
    assert sample.reward is not None
    return sample.reward


# What a cycle learns in which order: its rounds, and the lessons that come of a round's samples.


@dataclass(frozen=True)
class Round:
    """One part of a cycle.

    Attributes:
        clips: which clips of the target corpus are sampled, by index.
        learned: how often one of them is presented in training.
        replayed: which replay clips are presented, by index.
    """

    clips: list[int]
    learned: int
    replayed: list[int]


def plan_rounds(clips: int, replay: int, settings: CycleSettings, *, seed: int) -> list[Round]:
    """Deal clips, presentations and replay out to the rounds as evenly as can be, in a random order.

    With more rounds than clips there are as many rounds as clips.
    """
    rounds = min(settings.rounds_per_cycle, clips)
    order = random.Random(runtime.derive_seed(seed, "rounds")).sample(range(clips), clips)
    wanted = settings.presentations_per_cycle - replay

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


def replay_lessons(replay: Utterances | None, indices: Sequence[int]) -> list[Example]:
    if replay is None:
        return []
    return [Example(replay.features[index], Group((replay.texts[index],))) for index in indices]


def make_lessons(
    samples: Sequence[Sample],
    clips: Utterances,
    *,
    algorithm: str,
    settings: CycleSettings,
    recognizer: Recognizer,
    anchor: Recognizer | None,
) -> list[Example]:
    """One lesson for each clip with kept samples, in the order of the clips.

    Args:
        samples: selected ones of one round; their `clip` counts in `clips`.
        recognizer: the model that drew them, as it was then.
        anchor: the start model; only needed where `settings.kl_weight` is above 0.
    """
    kept: dict[int, list[Sample]] = defaultdict(list)
    for sample in samples:
        if sample.kept:
            kept[sample.clip].append(sample)
    extra: dict[int, tuple[str, ...]] = {
        index: ((clips.texts[index],) if settings.reference_weight else ()) for index in kept
    }
    if algorithm not in POLICY_GRADIENTS:
        return [
            Example(clips.features[index], Group((chosen[0].text, *extra[index])))
            for index, chosen in sorted(kept.items())
        ]
    return _graded_lessons(kept, extra, clips, objective=algorithm, recognizer=recognizer, anchor=anchor)


def _graded_lessons(
    kept: dict[int, list[Sample]],
    extra: dict[int, tuple[str, ...]],
    clips: Utterances,
    *,
    objective: str,
    recognizer: Recognizer,
    anchor: Recognizer | None,
) -> list[Example]:
    indices = sorted(kept)
    times = [Counter(sample.text for sample in kept[index]) for index in indices]
    rewards = [{sample.text: sample.reward or 0.0 for sample in kept[index]} for index in indices]
    texts = [tuple(count) for count in times]
    part = clips.part(indices)
    # of the two only GRPO compares with what the text's probability was
    behaviour = text_scores(recognizer, part, texts) if objective == "grpo" else [() for _ in indices]
    anchored = text_scores(anchor, part, texts) if anchor else [() for _ in indices]
    return [
        Example(
            clips.features[index],
            Group(
                texts=texts[n] + extra[index],
                rewards=tuple(rewards[n][text] for text in texts[n]),
                times=tuple(times[n][text] for text in texts[n]),
                behaviour=behaviour[n],
                anchor=anchored[n],
            ),
            objective,
        )
        for n, index in enumerate(indices)
    ]
