import pytest

from soundraft.rewards.base import Evidence
from soundraft.rewards.labels import LabelReward
from soundraft.runtime import UserError

LABELS = ["yes", "no", "Stop it"]


def test_the_right_label_in_any_case_and_its_aliases() -> None:
    score = LabelReward(labels=LABELS, aliases={"yes": ["yeah", "yep"]})
    answers = ["yes", " YES ", "Yeah", "yep", "no", "stop  IT"]
    results = score.verify_samples(answers, Evidence("yes"))
    assert [(result.reward, result.success, result.reason) for result in results] == [
        *[(1.0, True, "")] * 4,
        *[(0.0, False, "")] * 2,
    ]
    assert score.verify(hypothesis="yes", reference="Yeah").reward == 1.0


def test_case_can_matter() -> None:
    score = LabelReward(labels=["US", "us"], ignore_case=False)
    assert [score.verify(hypothesis=text, reference="US").reward for text in ("US", "us")] == [1.0, 0.0]
    with pytest.raises(UserError, match="'us' means both 'US' and 'us'"):
        LabelReward(labels=["US", "us"])


def test_an_answer_that_is_no_label_says_so() -> None:
    result = LabelReward(labels=LABELS).verify(hypothesis="maybe", reference="no")
    assert (result.reward, result.reason) == (0.0, "not a label")
    assert LabelReward(labels=LABELS).verify(hypothesis="", reference="no").reason == "not a label"


@pytest.mark.parametrize(
    ("answer", "label"),
    [("rigth", "right"), ("leftt", "left"), ("righ", "right"), ("forward", None), ("", None), ("ab", None)],
)
def test_near_answers_count_only_when_asked(answer: str, label: str | None) -> None:
    labels = ["right", "left", "aba", "abc"]
    assert LabelReward(labels=labels, fuzzy_threshold=0.8).label_of(answer) == label  # "ab" is as near to two
    assert LabelReward(labels=labels).label_of(answer) is None


def test_a_reference_that_is_no_label_is_not_scorable() -> None:
    score = LabelReward(labels=LABELS, fuzzy_threshold=0.5)
    assert score.verify(hypothesis="yes", reference="yess").reward is None
    assert score.verify(hypothesis="yes", reference="yess").reason == "the reference 'yess' is not a label"
    assert score.verify(hypothesis="yes").reason == "no reference"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": []}, "labels: got none"),
        ({"labels": ["yes"], "aliases": {"no": ["nope"]}}, "aliases: no is none of the labels yes"),
        ({"labels": ["yes", "no"], "aliases": {"yes": ["ok"], "no": ["OK"]}}, "'OK' means both 'yes' and 'no'"),
        ({"labels": ["yes"], "fuzzy_threshold": 80}, "got 80; allowed: 0–1"),
    ],
)
def test_contradictions_die_when_it_is_built(options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        LabelReward(**options)  # type: ignore[arg-type]
