"""Which samples a RAFT cycle learns from: pure functions over scored samples."""

import math
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

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
