import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from soundraft.evaluation import scores
from soundraft.evaluation.report import group_rows, worst
from soundraft.evaluation.scores import METRICS, score_labels
from soundraft.metrics.resampling import Bootstrap, compare, interval
from soundraft.runtime import UserError
from tests.evaluation.answers import BOOTSTRAP, CLIPS, IDS, LABELS, TEXTS, labels, texts

WORDS = sum(len(text.split()) for text in TEXTS)


def test_values_are_those_of_all_clips_together() -> None:
    assert texts(30).value("wer") == 30 / WORDS
    found = labels(0.7)
    assert [metric.key for metric in found.metrics] == ["accuracy", "uar"]
    assert found.value("accuracy") == found.label_scores.accuracy == found.correct.mean()
    assert found.value("uar") == found.label_scores.macro.recall


@pytest.mark.parametrize(("key", "given"), [("wer", texts(30)), ("cer", texts(9)), ("accuracy", labels(0.7))])
def test_an_interval_lies_around_the_value_and_a_seed_repeats_it(key: str, given: scores.Scores) -> None:
    found = given.estimate(key, BOOTSTRAP)
    assert found.low < found.value == given.value(key) < found.high
    assert given.estimate(key, BOOTSTRAP) == found
    drawn = key != "accuracy"  # which has Wilson's interval, without a seed
    assert (given.estimate(key, Bootstrap(200, 1)) != found) == drawn
    assert str(found) == f"{found.value:.1%} [{found.low:.1%}–{found.high:.1%}]"


@pytest.mark.parametrize(
    ("good", "bad", "key"), [(texts(10), texts(40), "wer"), (labels(0.5), labels(0.9, 1), "accuracy")]
)
def test_a_difference_draws_the_same_clips_for_both(good: scores.Scores, bad: scores.Scores, key: str) -> None:
    found = good.difference(bad, key, BOOTSTRAP)
    drawn = np.random.default_rng(0).integers(0, CLIPS, size=(200, CLIPS))
    metric = METRICS[key]
    values = [[metric.value(each.counts[metric.counts][clips].sum(0)) for clips in drawn] for each in (good, bad)]
    expected = compare(good.value(key) - bad.value(key), np.subtract(*values))
    assert vars(found) == pytest.approx(vars(expected))
    assert found.high < 0
    estimate = good.estimate(key, BOOTSTRAP)
    near = 1e-6 if key == "wer" else 0.01  # Wilson's
    assert interval(np.array(values[0])) == pytest.approx((estimate.low, estimate.high), abs=near)
    with pytest.raises(ValueError, match="same clips"):
        good.difference(good.part(range(80)), key, BOOTSTRAP)


def test_groups_have_their_own_values() -> None:
    given = labels(0.6)
    rows = group_rows(given, "speaker")
    assert [(row["value"], row["clips"], row["labels"]) for row in rows] == [(f"s{n}", 30, 3) for n in range(4)]
    own = given.by("speaker")["s2"]
    assert own.ids == IDS[2::4]
    assert rows[2]["uar"] == pytest.approx(balanced_accuracy_score(own.known, own.predictions))
    assert (own.confidence == given.confidence[2::4]).all()
    assert list(given.by("one")) == ["not known"]


def test_the_worst_clips_are_the_surest_errors_or_have_the_most() -> None:
    given = labels(0.6)
    found = worst(given, top=1000)
    assert sorted(row["id"] for row in found) == sorted(np.array(given.ids)[~given.correct])
    assert [row["confidence"] for row in found] == sorted((row["confidence"] for row in found), reverse=True)
    assert all(row["reference_probability"] <= row["confidence"] for row in found)
    assert worst(given, top=2) == found[:2]
    assert [(row["id"], row["errors"]) for row in worst(texts(2), top=3)] == [
        ("clip000", 1), ("clip001", 1), ("clip002", 0),
    ]  # fmt: skip


def test_the_majority_class_is_made_of_training_labels_alone() -> None:
    found = scores.majority(["joy"] * 6 + ["sad"] * 3, labels(0.5))
    assert set(found.predictions) == {"joy"}
    assert found.probabilities[0].tolist() == pytest.approx([0, 2 / 3, 1 / 3])
    assert found.value("uar") == pytest.approx(1 / 3)


def test_clips_without_reference_cannot_be_measured() -> None:
    bare = labels(0.5, references=None)
    assert (bare.metrics, len(bare)) == ([], CLIPS)
    for read in (lambda: bare.value("uar"), lambda: bare.label_scores, lambda: bare.correct):
        with pytest.raises(UserError, match="emotion"):
            read()
    with pytest.raises(UserError, match="no clips"):
        score_labels([], np.zeros((0, 3)), LABELS, references=[]).value("accuracy")
    with pytest.raises(ValueError, match="no reference"):
        texts(0, references=["", ""]).value("wer")


def test_labels_that_were_not_seen_in_training_are_counted_and_named() -> None:
    scores.check_labels(["a", "b"], ["b", "b"])
    with pytest.raises(UserError, match=r"test: 3 of 4 clips .*: 'c' \(2\), 'd' \(1\); training has 'a', 'b'"):
        scores.check_labels(["a", "b"], ["c", "d", "c", "a"])
    with pytest.raises(UserError, match=r"training has ('l\d\d', ){9}'l09' and 90 more$"):
        scores.check_labels([f"l{number:02d}" for number in range(100)], ["x"])
    with pytest.raises(UserError, match="'rage'"):
        labels(0.5, references=["rage"] * CLIPS)


def test_training_without_clips_or_with_one_label_is_refused() -> None:
    scores.check_training(["a", "b"])
    for train in ([], ["a"] * 3):
        with pytest.raises(UserError, match="training"):
            scores.check_training(train)


@pytest.mark.parametrize("about", [{"references": ["joy", "joy"]}, {"paths": ["x"]}, {"groups": {"fold": ["1"]}}])
def test_columns_of_other_lengths_are_refused(about: dict[str, list[str]]) -> None:
    with pytest.raises(ValueError, match=r"120 clips|shape"):
        labels(0.5, **about)
    with pytest.raises(ValueError, match=r"\[2, 3\]"):
        score_labels(["a", "b"], np.zeros((2, 3)), ["a", "b"])


def test_no_minus_zero_is_shown() -> None:
    assert METRICS["si_sdri"].show(-0.04) == "0.0 dB"
    assert METRICS["si_sdri"].show(-0.06) == "-0.1 dB"
