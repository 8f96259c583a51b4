import dataclasses
import random

import pytest

from soundraft.training import selection
from soundraft.training.learner import spoken
from soundraft.training.objectives import Group
from soundraft.training.selection import KEPT, Sample
from tests.training import toy


@pytest.mark.parametrize(("clips", "replay", "rounds"), [(80, 60, 8), (7, 3, 4), (3, 0, 8), (5, 240, 2)])
def test_rounds_deal_out_every_clip_and_presentation_once(clips: int, replay: int, rounds: int) -> None:
    settings = toy.settings(rounds_per_cycle=rounds, presentations_per_cycle=240)
    plan = selection.plan_rounds(clips, replay, settings, seed=3)
    assert len(plan) == min(rounds, clips)
    assert sorted(clip for part in plan for clip in part.clips) == list(range(clips))
    assert [index for part in plan for index in part.replayed] == list(range(replay))
    assert sum(part.learned for part in plan) == 240 - replay
    for sizes in ([len(part.clips) for part in plan], [part.learned for part in plan]):
        assert max(sizes) - min(sizes) <= 1


def test_rounds_mix_the_clips_by_their_seed() -> None:
    first, again, other = (selection.plan_rounds(80, 0, toy.SETTINGS, seed=seed)[0].clips for seed in (1, 1, 2))
    assert first == again != other
    assert first != sorted(first)


def test_lessons_are_presented_evenly() -> None:
    clips = toy.clips(5, seed=1)
    examples = selection.presented(spoken(clips.features, clips.texts), 13, seed=0)
    times = [sum(example.features is features for example in examples) for features in clips.features]
    assert sorted(times) == [2, 2, 3, 3, 3]
    assert selection.presented([], 13, seed=0) == []


def test_a_group_has_rewards_counts_and_probabilities_of_its_texts() -> None:
    clips = toy.clips(2, seed=1)
    rng = random.Random(0)
    samples = [
        Sample(1, number, text, reward, {}, reason=KEPT)
        for number, (text, reward) in enumerate([("one", 0.5), ("two", 0.2), ("one", 0.5)])
    ]
    rng.shuffle(samples)
    recognizer = toy.start_model(epochs=1)
    settings = dataclasses.replace(toy.SETTINGS, reference_weight=0.5)
    (lesson,) = selection.make_lessons(
        samples, clips, algorithm="grpo", settings=settings, recognizer=recognizer, anchor=recognizer
    )
    group = lesson.group
    assert lesson.features is clips.features[1]
    assert lesson.objective == "grpo"
    assert set(group.texts[:2]) == {"one", "two"}
    assert group.texts[2] == clips.texts[1]
    assert dict(zip(group.texts, group.times, strict=False)) == {"one": 2, "two": 1}
    assert dict(zip(group.texts, group.rewards, strict=False)) == {"one": 0.5, "two": 0.2}
    assert group.behaviour == group.anchor == pytest.approx(group.behaviour)
    scores = recognizer.score([clips.features[1]], [list(group.texts[:2])])[0]
    assert list(group.behaviour) == pytest.approx(scores.log_probs.tolist(), abs=1e-3)


def test_raft_learns_the_kept_text_alone() -> None:
    clips = toy.clips(2, seed=1)
    samples = [Sample(0, 0, "one", 0.5, {}, reason=KEPT), Sample(0, 1, "two", 0.2, {}), Sample(1, 0, "six", 0.1, {})]
    recognizer = toy.start_model(epochs=1)
    learned = selection.make_lessons(
        samples, clips, algorithm="raft", settings=toy.SETTINGS, recognizer=recognizer, anchor=None
    )
    assert [lesson.group for lesson in learned] == [Group(("one",))]


def test_only_grpo_asks_how_likely_a_text_was_when_it_was_drawn() -> None:
    clips = toy.clips(1, seed=1)
    samples = [Sample(0, n, text, 0.1 * n, {}, reason=KEPT) for n, text in enumerate(["one", "two"])]
    recognizer = toy.start_model(epochs=1)
    (lesson,) = selection.make_lessons(
        samples, clips, algorithm="mwer", settings=toy.SETTINGS, recognizer=recognizer, anchor=None
    )
    assert lesson.group.behaviour == lesson.group.anchor == ()
    assert lesson.group.rewards == (0.0, 0.1)
