from typing import Any

import pytest

from soundraft.params import defaults
from soundraft.rewards.base import Evidence
from soundraft.rewards.labels import LabelReward
from soundraft.runtime import UserError

LABELS = ["yes", "no", "Stop it"]


def reward(labels: list[str] = LABELS, **changes: Any) -> LabelReward:
    return LabelReward(defaults().reward.labels.model_copy(update=changes), labels=labels)


def test_the_right_label_in_any_case_and_its_aliases() -> None:
    score = reward(aliases=["yes=yeah", "yes=yep"])
    results = score.verify_samples(["yes", " YES ", "Yeah", "yep", "no", "stop  IT", "maybe", ""], Evidence("Yeah"))
    assert [result.reward for result in results] == [1.0] * 4 + [0.0] * 4
    assert [result.success for result in results] == [True] * 4 + [False] * 4
    assert [result.reason for result in results] == [""] * 6 + ["not a label"] * 2


def test_case_can_matter() -> None:
    score = reward(["US", "us"], ignore_case=False)
    assert [score.verify(hypothesis=text, reference="US").reward for text in ("US", "us")] == [1.0, 0.0]


@pytest.mark.parametrize(
    ("answer", "label"),
    [("rigth", "right"), ("leftt", "left"), ("righ", "right"), ("forward", None), ("", None), ("ab", None)],
)
def test_near_answers_count_only_when_asked(answer: str, label: str | None) -> None:
    labels = ["right", "left", "aba", "abc"]
    assert reward(labels, fuzzy_threshold=0.8).label_of(answer) == label  # "ab" is as near to two
    assert reward(labels).label_of(answer) is None


@pytest.mark.parametrize("reference", ["yess", None])
def test_a_reference_that_is_no_label_is_not_scorable(reference: str | None) -> None:
    result = reward(fuzzy_threshold=0.5).verify(hypothesis="yes", reference=reference)
    assert result.reward is None
    assert "reference" in result.reason


@pytest.mark.parametrize(
    ("labels", "aliases", "named"),
    [([], [], "labels"), (["yes"], ["no=nope"], "aliases"), (["yes", "no"], ["yes=ok", "no=OK"], "'OK'"),
     (["US", "us"], [], "'us'")],
)  # fmt: skip
def test_contradictions_are_refused(labels: list[str], aliases: list[str], named: str) -> None:
    with pytest.raises(UserError, match=named):
        reward(labels, aliases=aliases)


@pytest.mark.parametrize(
    ("answer", "reference", "expected", "success"),
    [
        (("cat", "dog"), ("cat", "dog"), 1.0, True),
        (("CAT", "puss"), ("cat",), 1.0, True),
        (("cat",), ("cat", "dog"), 0.5, False),
        (("cat", "dog"), ("dog", "emu"), 1 / 3, False),
        (("cow",), ("cat",), 0.0, False),
        (("cat", "cow"), ("cat",), 0.5, False),
        ((), (), 1.0, True),
        ((), ("cat",), 0.0, False),
        (("cat",), (), 0.0, False),
    ],
)
def test_sets_are_rewarded_by_what_they_have_in_common(
    answer: tuple[str, ...], reference: tuple[str, ...], expected: float, success: bool
) -> None:
    given = reward(["cat", "dog", "emu"], aliases=["cat=puss"])
    found = given.verify(hypothesis=answer, reference=reference)
    assert (found.reward, found.success) == (pytest.approx(expected), success)
    assert given.verify(hypothesis=answer, reference=("cat", "cow")).reward is None, "cow is no label"
