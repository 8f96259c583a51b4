from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soundraft.training import selection
from soundraft.training.learner import examples_of
from soundraft.training.objectives import Group
from soundraft.training.selection import KEPT, Sample, best_of_each, examples_of_samples, groups, one_of_each
from tests.training import toy

REWARDS = st.lists(st.lists(st.one_of(st.none(), st.sampled_from([0.0, 0.2, 0.5, 0.9, 1.0])), max_size=5), max_size=8)


def samples(rewards: list[list[float | None]]) -> list[Sample]:
    return [
        Sample(clip, number, f"{clip}/{number}", reward, {}, reason="" if reward is not None else "no text")
        for clip, drawn in enumerate(rewards)
        for number, reward in enumerate(drawn)
    ]


def test_each_sample_has_its_reason() -> None:
    drawn = samples([[0.5, 0.9, 0.9], [0.1, 0.2], [None, 0.6], [None], [0.7]])
    chosen = best_of_each(drawn, reward_threshold=0.3, keep_top_percent=67)
    not_scorable = f"{selection.NOT_SCORABLE}: no text"
    assert [sample.reason for sample in chosen] == [
        selection.NOT_BEST, KEPT, selection.NOT_BEST, selection.NOT_BEST, selection.BELOW_THRESHOLD, not_scorable,
        KEPT, not_scorable, KEPT,
    ]  # fmt: skip
    chosen = best_of_each(samples([[0.5], [0.9], [0.7], [1.0]]), reward_threshold=0.0, keep_top_percent=50)
    assert [sample.reason for sample in chosen] == [selection.OUTSIDE_TOP, KEPT] * 2


@given(REWARDS, st.sampled_from([0.0, 0.3, 1.0]), st.sampled_from([1.0, 40.0, 100.0]))
def test_kept_is_at_most_one_a_clip_its_best_and_above_the_threshold(
    rewards: list[list[float | None]], threshold: float, percent: float
) -> None:
    before = samples(rewards)
    chosen = best_of_each(before, reward_threshold=threshold, keep_top_percent=percent)
    assert [(s.clip, s.number, s.answer) for s in chosen] == [(s.clip, s.number, s.answer) for s in before]
    assert all(sample.reason for sample in chosen)
    kept = [sample for sample in chosen if sample.kept]
    assert all(count == 1 for count in Counter(sample.clip for sample in kept).values())
    bests = [max((r for r in drawn if r is not None), default=-1.0) for drawn in rewards]
    assert all(sample.reward == bests[sample.clip] >= threshold for sample in kept)
    passing = [best for best in bests if best >= threshold]
    assert bool(kept) == bool(passing)
    assert percent < 100.0 or len(kept) == len(passing)


def test_the_random_control_keeps_one_of_each_whatever_its_reward() -> None:
    rewards: list[list[float | None]] = [[0.0, 1.0, 0.5, None]] * 400
    chosen = one_of_each(samples(rewards), seed=3)
    kept = [sample for sample in chosen if sample.kept]
    assert [sample.clip for sample in kept] == list(range(400))
    assert all(60 < count < 140 for count in Counter(sample.number for sample in kept).values())
    assert one_of_each(samples(rewards), seed=3) == chosen


def test_a_group_has_the_answers_drawn_most_often_and_the_best() -> None:
    drawn = [("a", 0.1), ("b", 0.2), ("b", 0.2), ("c", 0.3), ("c", 0.3), ("d", 0.9), ("e", None)]
    before = [Sample(0, number, answer, reward, {}) for number, (answer, reward) in enumerate(drawn)]
    chosen = groups(before, group_size=3)
    assert [sample.answer for sample in chosen if sample.kept] == ["b", "b", "c", "c", "d"]
    assert chosen[0].reason == selection.OUTSIDE_GROUP
    assert chosen[-1].reason.startswith(selection.NOT_SCORABLE)
    equal = groups(samples([[0.5, 0.5, 0.5]]), group_size=2)
    assert {sample.reason for sample in equal} == {selection.NO_CONTRAST}


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


def test_examples_are_presented_evenly() -> None:
    clips = toy.clips(5, seed=1)
    examples = selection.presented(examples_of(clips.features, clips.targets), 13, seed=0)
    times = [sum(example.features is features for example in examples) for features in clips.features]
    assert sorted(times) == [2, 2, 3, 3, 3]
    assert selection.presented([], 13, seed=0) == []


@pytest.mark.parametrize("algorithm", ["grpo", "mwer", "raft"])
def test_examples_have_the_answers_that_the_algorithm_learns(algorithm: str) -> None:
    clips, model = toy.clips(2, seed=1), toy.start_model(epochs=1)
    drawn = [("one", 0.5, KEPT), ("two", 0.2, KEPT), ("one", 0.5, KEPT), ("six", 0.1, "")]
    (example,) = examples_of_samples(
        [Sample(1, number, answer, reward, {}, reason=reason) for number, (answer, reward, reason) in enumerate(drawn)],
        clips, algorithm=algorithm, train=toy.settings(reference_weight=0.5), decoding=toy.DECODING, model=model,
        anchor=model if algorithm == "grpo" else None,
    )  # fmt: skip
    group, reference = example.group, clips.targets[1]
    assert example.features is clips.features[1]
    if algorithm == "raft":
        assert group == Group(("one", reference))
        return
    assert (group.answers, group.times, group.rewards) == (("one", "two", reference), (2, 1), (0.5, 0.2))
    likely = model.loss([clips.features[1]], [("one", "two")])[0].log_probs.tolist() if algorithm == "grpo" else []
    assert list(group.behaviour) == list(group.anchor) == pytest.approx(likely, abs=1e-3)
