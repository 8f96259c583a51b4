import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import balanced_accuracy_score

from soundraft.evaluation import predictions, scores
from soundraft.evaluation.predictions import Model, read_predictions, write_models, write_predictions
from soundraft.evaluation.scores import Predicted, predicted
from soundraft.metrics.resampling import paired_bootstrap
from soundraft.metrics.text import Counts
from soundraft.runtime import UserError

LABELS = ["anger", "joy", "sad"]


def answers(seed: int, clips: int = 90, strength: float = 1.0, **about: Any) -> Predicted:
    """The references depend on the number of clips alone, so that two models have the same."""
    right = np.random.default_rng(clips).integers(0, 3, clips)
    logits = np.random.default_rng(seed).normal(size=(clips, 3))
    logits[np.arange(clips), right] += strength
    given: dict[str, Any] = {
        "references": [LABELS[place] for place in right],
        "groups": {"speaker": [f"s{number % 4}" for number in range(clips)], "fold": [None] * clips},
        "target": "emotion",
    }
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return predicted([f"clip{number:03d}" for number in range(clips)], shares, LABELS, **given | about)


def same(one: Predicted, other: Predicted) -> bool:
    return {**vars(one), "probabilities": one.probabilities.tolist()} == {
        **vars(other),
        "probabilities": other.probabilities.tolist(),
    }


def test_what_was_written_is_read(tmp_path: Path) -> None:
    given = answers(0, paths=[f"wav/{number}.wav" for number in range(90)])
    write_predictions(tmp_path / "p.parquet", given)
    assert same(read_predictions(tmp_path / "p.parquet"), given)
    names = pq.read_schema(tmp_path / "p.parquet").names
    assert names == [
        "id", "path", "reference", "emotion_predictions", "emotion_probability", "emotion_probabilities_anger",
        "emotion_probabilities_joy", "emotion_probabilities_sad", "speaker", "fold",
    ]  # fmt: skip
    line = pq.read_table(tmp_path / "p.parquet").to_pylist()[3]
    assert line["emotion_probability"] == line[f"emotion_probabilities_{line['emotion_predictions']}"]
    write_predictions(tmp_path / "again.parquet", given)
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "p.parquet").read_bytes()


def test_answers_to_new_audio_have_no_references(tmp_path: Path) -> None:
    given = answers(0, references=None, groups={})
    write_predictions(tmp_path / "p.parquet", given)
    found = read_predictions(tmp_path / "p.parquet")
    assert found.references is None
    with pytest.raises(UserError, match="the 90 clips have no emotion"):
        scores.label_scores(found)


def test_labels_and_targets_with_awkward_names_survive(tmp_path: Path) -> None:
    labels = ["x_predictions", "_probability", "ärger/freude 日本"]
    given = replace(answers(0, references=None), labels=labels, target="a_probabilities_b")
    given = replace(given, predictions=[labels[place] for place in given.probabilities.argmax(1)])
    write_predictions(tmp_path / "p.parquet", given)
    assert same(read_predictions(tmp_path / "p.parquet"), given)


def test_of_several_models_one_is_chosen(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    models = [("start", "start", 0), ("trained", "raft", 1), ("trained", "raft", 2), ("svm", "svm", 0)]
    given = {model: answers(number) for number, model in enumerate(models)}
    write_models(path, [(Model(*model), each) for model, each in given.items()])
    assert same(read_predictions(path), given["trained", "raft", 2])
    assert same(read_predictions(path, cycle=1), given["trained", "raft", 1])
    assert same(read_predictions(path, algorithm="svm"), given["svm", "svm", 0])
    with pytest.raises(UserError, match="no model for algorithm not named, cycle 7; it has start 0, svm 0, raft 1"):
        read_predictions(path, cycle=7)


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    with pytest.raises(UserError, match="there is no file"):
        read_predictions(path)
    path.write_text("no")
    with pytest.raises(UserError, match="not a parquet file"):
        read_predictions(path)
    pq.write_table(pa.table({"id": ["a"], "text": ["b"]}), path)
    with pytest.raises(UserError, match="it has id, text"):
        read_predictions(path)
    write_predictions(path, replace(answers(0), probabilities=np.full((90, 3), np.nan)))
    with pytest.raises(UserError, match="emotion_probabilities_… is missing or lies outside 0–1"):
        read_predictions(path)
    write_predictions(path, answers(0))
    with pytest.raises(UserError, match="answers of one model"):
        read_predictions(path, cycle=1)
    with pytest.raises(UserError, match="a group cannot be called 'reference'"):
        write_predictions(path, replace(answers(0), groups={"reference": ["x"] * 90}))


def test_no_answer_is_written_and_read_too(tmp_path: Path) -> None:
    given = predicted([], np.zeros((0, 3)), LABELS, references=[])
    predictions.write_predictions(tmp_path / "p.parquet", given)
    with pytest.raises(UserError, match="no clips"):
        scores.label_scores(read_predictions(tmp_path / "p.parquet"))


def test_scores_are_of_these_answers() -> None:
    given = answers(0)
    found = scores.label_scores(given)
    assert found.accuracy == given.correct.mean()
    assert [score.label for score in found.classes] == LABELS
    assert given.confidence == pytest.approx(given.probabilities.max(1))


def test_each_group_has_its_own_rates() -> None:
    given = answers(1)
    found = scores.by_group(given, "speaker")
    assert [group.value for group in found] == ["s0", "s1", "s2", "s3"]
    assert sum(group.clips for group in found) == 90
    own = [number for number in range(90) if number % 4 == 2]
    said, told = [given.known[number] for number in own], [given.predictions[number] for number in own]
    assert found[2].uar == pytest.approx(balanced_accuracy_score(said, told))
    assert [group.value for group in scores.by_group(given, "fold")] == ["not known"]
    with pytest.raises(UserError, match="no group 'gender'; there is fold, speaker"):
        scores.by_group(given, "gender")


def test_intervals_lie_around_the_rates_and_a_seed_repeats_them() -> None:
    given = answers(2)
    accuracy, uar = scores.intervals(given, samples=200, seed=0)
    found = scores.label_scores(given)
    assert accuracy.low < found.accuracy < accuracy.high
    assert uar.low < found.macro.recall < uar.high
    assert scores.intervals(given, samples=200, seed=0) == (accuracy, uar)


def test_differences_are_those_of_the_paired_bootstrap_of_errors() -> None:
    good, bad = answers(3, strength=3.0), answers(4, strength=0.5)
    found = scores.differences(good, bad, samples=200, seed=1)
    errors = [[Counts(int(hit), int(not hit), 0, 0) for hit in each.correct] for each in (bad, good)]
    expected = paired_bootstrap(errors[0], errors[1], samples=200, seed=1)
    assert found.accuracy.difference == pytest.approx(expected.difference)
    assert (found.accuracy.low, found.accuracy.high) == pytest.approx((expected.low, expected.high))
    assert found.uar.low > 0
    with pytest.raises(ValueError, match="same clips in the same order"):
        scores.differences(good, answers(3, clips=80), samples=5, seed=0)


def test_the_worst_clips_are_the_surest_errors() -> None:
    given = answers(5)
    found = scores.worst(given, top=1000)
    assert len(found) == (~given.correct).sum()
    assert all(clip.reference != clip.prediction for clip in found)
    sure = [clip.confidence for clip in found]
    assert sure == sorted(sure, reverse=True)
    assert all(clip.reference_probability <= clip.confidence for clip in found)
    assert scores.worst(given, top=2) == found[:2]
    assert json.dumps([vars(clip) for clip in found[:2]])


def test_the_majority_class_knows_the_training_labels_alone() -> None:
    given = answers(6)
    found = scores.majority(["joy"] * 6 + ["sad"] * 3, given)
    assert set(found.predictions) == {"joy"}
    assert found.probabilities[0].tolist() == pytest.approx([0, 2 / 3, 1 / 3])
    assert scores.label_scores(found).macro.recall == pytest.approx(1 / 3)


def test_labels_that_training_never_saw_are_counted_and_named() -> None:
    scores.check_labels(["a", "b"], ["b", "b"])
    with pytest.raises(
        UserError, match=r"test: 3 of 4 clips .* never saw: 'c' \(2\), 'd' \(1\); training has 'a', 'b'"
    ):
        scores.check_labels(["a", "b"], ["c", "d", "c", "a"])
    with pytest.raises(UserError, match=r"training has ('l\d\d', ){9}'l09' and 90 more$"):
        scores.check_labels([f"l{number:02d}" for number in range(100)], ["x"])
    with pytest.raises(UserError, match="'rage'"):
        scores.label_scores(answers(0, references=["rage"] * 90))


def test_training_without_clips_or_with_one_label_is_refused() -> None:
    scores.check_training(["a", "b"])
    with pytest.raises(UserError, match="all 3 training clips are 'a'"):
        scores.check_training(["a"] * 3)
    with pytest.raises(UserError, match="no clips"):
        scores.check_training([])


def test_lists_that_are_not_parallel_are_refused() -> None:
    with pytest.raises(ValueError, match="90 clips, but 2 references"):
        answers(0, references=["joy", "joy"])
    with pytest.raises(ValueError, match=r"\[90, 3\] of 2 labels"):
        replace(answers(0), labels=["a", "b"])
