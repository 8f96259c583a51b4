from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from soundraft.training import selection
from soundraft.training.selection import Sample, best_of_each, groups, one_of_each

REWARDS = st.lists(st.lists(st.one_of(st.none(), st.sampled_from([0.0, 0.2, 0.5, 0.9, 1.0])), max_size=5), max_size=8)


def samples(rewards: list[list[float | None]]) -> list[Sample]:
    return [
        Sample(clip, number, f"{clip}/{number}", reward, {}, reason="" if reward is not None else "no text")
        for clip, drawn in enumerate(rewards)
        for number, reward in enumerate(drawn)
    ]


def test_each_sample_has_its_reason() -> None:
    chosen = best_of_each(
        samples([[0.5, 0.9, 0.9], [0.1, 0.2], [None, 0.6], [None], [0.7]]), reward_threshold=0.3, keep_top_percent=67
    )
    assert [(sample.clip, sample.number, sample.reason) for sample in chosen] == [
        (0, 0, selection.NOT_BEST),
        (0, 1, selection.KEPT),
        (0, 2, selection.NOT_BEST),
        (1, 0, selection.NOT_BEST),
        (1, 1, selection.BELOW_THRESHOLD),
        (2, 0, "not scorable: no text"),
        (2, 1, selection.KEPT),
        (3, 0, "not scorable: no text"),
        (4, 0, selection.KEPT),
    ]


def test_the_top_share_is_of_clips_by_reward() -> None:
    chosen = best_of_each(samples([[0.5], [0.9], [0.7], [1.0]]), reward_threshold=0.0, keep_top_percent=50)
    assert [sample.clip for sample in chosen if sample.kept] == [1, 3]
    assert [sample.reason for sample in chosen if not sample.kept] == [selection.OUTSIDE_TOP] * 2


@given(REWARDS, st.sampled_from([0.0, 0.3, 1.0]), st.sampled_from([1.0, 40.0, 100.0]))
def test_kept_is_at_most_one_a_clip_its_best_and_above_the_threshold(
    rewards: list[list[float | None]], threshold: float, percent: float
) -> None:
    given_samples = samples(rewards)
    chosen = best_of_each(given_samples, reward_threshold=threshold, keep_top_percent=percent)
    assert [(s.clip, s.number, s.text) for s in chosen] == [(s.clip, s.number, s.text) for s in given_samples]
    assert all(sample.reason for sample in chosen)
    kept = [sample for sample in chosen if sample.kept]
    assert all(count == 1 for count in Counter(sample.clip for sample in kept).values())
    for sample in kept:
        best = max(reward for reward in rewards[sample.clip] if reward is not None)
        assert sample.reward == best >= threshold
    passing = [
        best
        for best in (max((r for r in drawn if r is not None), default=-1.0) for drawn in rewards)
        if best >= threshold
    ]
    assert bool(kept) == bool(passing)
    if kept and percent == 100.0:
        assert len(kept) == len(passing)


def test_the_random_control_keeps_one_of_each_whatever_its_reward() -> None:
    rewards: list[list[float | None]] = [[0.0, 1.0, 0.5, None]] * 400
    chosen = one_of_each(samples(rewards), seed=3)
    kept = [sample for sample in chosen if sample.kept]
    assert [sample.clip for sample in kept] == list(range(400))
    assert all(60 < count < 140 for count in Counter(sample.number for sample in kept).values())
    assert one_of_each(samples(rewards), seed=3) == chosen


def test_a_group_has_the_texts_drawn_most_often_and_the_best() -> None:
    drawn = [("a", 0.1), ("b", 0.2), ("b", 0.2), ("c", 0.3), ("c", 0.3), ("d", 0.9), ("e", None)]
    given_samples = [Sample(0, number, text, reward, {}) for number, (text, reward) in enumerate(drawn)]
    chosen = groups(given_samples, group_size=3)
    assert {sample.text for sample in chosen if sample.kept} == {"d", "b", "c"}
    assert [sample.reason for sample in chosen if sample.text == "a"] == [selection.OUTSIDE_GROUP]
    assert chosen[-1].reason.startswith(selection.NOT_SCORABLE)
    assert sum(sample.kept for sample in chosen) == 5


def test_a_clip_whose_rewards_are_all_equal_teaches_nothing() -> None:
    assert {sample.reason for sample in groups(samples([[0.5, 0.5, 0.5]]), group_size=2)} == {selection.NO_CONTRAST}


@given(REWARDS)
def test_groups_keep_order_and_the_best(rewards: list[list[float | None]]) -> None:
    before = samples(rewards)
    after = groups(before, group_size=2)
    assert [(s.clip, s.number) for s in after] == [(s.clip, s.number) for s in before]
    for clip, drawn in enumerate(rewards):
        kept = [s.reward for s in after if s.clip == clip and s.kept]
        if kept:
            assert max(r for r in drawn if r is not None) in kept
