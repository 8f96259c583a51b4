"""What a cycle learns in which order: its rounds, and the lessons that come of a round's samples."""

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from soundraft import runtime
from soundraft.dataset.loader import Utterances
from soundraft.models.base import Recognizer
from soundraft.models.decoding import text_scores
from soundraft.training.objectives import POLICY_GRADIENTS, Group
from soundraft.training.selection import Sample
from soundraft.training.settings import CycleSettings
from soundraft.training.supervised import Example


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
