import random

import numpy as np
import pytest

from soundraft.metrics import resampling
from soundraft.metrics.resampling import paired_bootstrap
from soundraft.metrics.text import Counts


def system(errors: list[int], words: int = 8) -> list[Counts]:
    return [Counts(words - wrong, wrong, 0, 0) for wrong in errors]


def errors(share: float, clips: int, seed: int) -> list[int]:
    rng = random.Random(seed)
    return [sum(rng.random() < share for _ in range(8)) for _ in range(clips)]


def test_equal_systems_do_not_differ() -> None:
    same = system(errors(0.3, 100, seed=0))
    found = paired_bootstrap(same, same, samples=500, seed=0)
    assert (found.difference, found.low, found.high, found.p_value) == (0.0, 0.0, 0.0, 1.0)


def test_a_clear_difference_has_the_least_p_value_that_the_samples_allow() -> None:
    bad, good = system(errors(0.4, 200, seed=1)), system(errors(0.1, 200, seed=2))
    found = paired_bootstrap(bad, good, samples=999, seed=0)
    assert found.p_value == 2 / 1000
    assert 0.2 < found.low < found.difference < found.high < 0.4


def test_the_other_way_round_only_the_sign_changes() -> None:
    one, other = system(errors(0.3, 80, seed=3)), system(errors(0.27, 80, seed=4))
    there = paired_bootstrap(one, other, samples=400, seed=5)
    back = paired_bootstrap(other, one, samples=400, seed=5)
    assert (there.difference, there.p_value) == (-back.difference, back.p_value)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))


def test_it_finds_what_a_plain_loop_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(6)
    lengths = [rng.randint(0, 9) for _ in range(40)]
    one = [Counts(n // 2, n - n // 2, 0, rng.randint(0, 2)) for n in lengths]
    other = [Counts(n - n // 3, 0, n // 3, rng.randint(0, 2)) for n in lengths]
    drawn = np.random.default_rng(7).integers(0, 40, size=(300, 40))
    differences = []
    for clips in drawn.tolist():
        units = sum(lengths[clip] for clip in clips)
        differences.append(
            sum(one[clip].errors for clip in clips) / units - sum(other[c].errors for c in clips) / units
        )
    least = min(sum(value <= 0 for value in differences), sum(value >= 0 for value in differences))
    for at_once in (resampling._PAIRS_DRAWN_AT_ONCE, 90):  # in one go, and two sets at a time
        monkeypatch.setattr(resampling, "_DRAWN_AT_ONCE", at_once)
        found = paired_bootstrap(one, other, samples=300, seed=7)
        assert found.p_value == min(1.0, 2 * (least + 1) / 301)
        assert (found.low, found.high) == pytest.approx(tuple(np.quantile(differences, [0.025, 0.975])))


def test_equally_good_systems_seem_different_as_often_as_the_p_value_says() -> None:
    p_values = [
        paired_bootstrap(
            system(errors(0.3, 60, seed=trial)), system(errors(0.3, 60, seed=10_000 + trial)), samples=199, seed=trial
        ).p_value
        for trial in range(300)
    ]
    assert 0.01 <= np.mean([value <= 0.05 for value in p_values]) <= 0.1
    assert 0.4 <= np.mean(p_values) <= 0.6


def test_other_references_and_no_words_are_refused() -> None:
    with pytest.raises(ValueError, match="not scored on the same references"):
        paired_bootstrap(system([1], words=8), system([1], words=9), samples=10, seed=0)
    with pytest.raises(ValueError, match="not scored on the same references"):
        paired_bootstrap(system([1, 2]), system([1]), samples=10, seed=0)
    with pytest.raises(ValueError, match="no reference word"):
        paired_bootstrap([], [], samples=10, seed=0)
