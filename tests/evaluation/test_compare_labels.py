from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from soundraft.evaluation.compare_labels import Answers, compare, numbers, read_predictions, table
from soundraft.evaluation.predictions import Model, write_models, write_predictions
from soundraft.evaluation.scores import Predicted, predicted
from soundraft.metrics.resampling import paired_bootstrap
from soundraft.metrics.text import Counts
from soundraft.runtime import UserError

LABELS = ("anger", "joy", "rare")
REFERENCES = [LABELS[0 if n % 2 else 1 if n % 10 else 2] for n in range(60)]
IDS = [f"clip{n:02d}" for n in range(60)]


def answers(wrong: int, *, labels: tuple[str, ...] = LABELS, order: int = 1, **about: Any) -> Predicted:
    """A model that is wrong about the first `wrong` clips; `order` -1: the lines are the other way round."""
    told = [label if n >= wrong else labels[labels.index(label) - 1] for n, label in enumerate(REFERENCES)]
    shares = np.full((60, len(labels)), 0.1)
    shares[range(60), [labels.index(label) for label in told]] = 0.8
    given = {"references": REFERENCES[::order], "target": "emotion"} | about
    return predicted(IDS[::order], shares[::order], labels, **given)


def written(path: Path, given: Predicted) -> Answers:
    write_predictions(path, given)
    return read_predictions(path)


def pair(tmp_path: Path, wrong: int, also_wrong: int, **about: Any) -> tuple[Answers, Answers]:
    second = written(tmp_path / "second.parquet", answers(also_wrong, **about))
    return written(tmp_path / "first.parquet", answers(wrong)), second


def test_rates_and_intervals_are_those_of_the_clips(tmp_path: Path) -> None:
    first, second = pair(tmp_path, 6, 24)
    found = compare(first, second, samples=999, seed=3)
    for answered in (first, second):
        told = answered.predicted.predictions
        assert answered.rates == pytest.approx(
            (accuracy_score(REFERENCES, told), balanced_accuracy_score(REFERENCES, told))
        )
    assert found.differences.uar.difference == pytest.approx(first.rates[1] - second.rates[1])
    errors = [[Counts(int(hit), int(not hit), 0, 0) for hit in each.predicted.correct] for each in (second, first)]
    assert vars(found.differences.accuracy) == pytest.approx(
        vars(paired_bootstrap(errors[0], errors[1], samples=999, seed=3))
    )
    flat = numbers(found)
    assert (flat["accuracy_a"], flat["uar_b"], flat["clips"]) == (first.rates[0], second.rates[1], 60)
    assert flat["accuracy_difference"] == pytest.approx(0.3)
    assert flat["uar_low"] < flat["uar_difference"] < flat["uar_high"]
    assert flat["accuracy_p_value"] == 2 / 1000


def test_a_run_against_itself_has_no_difference(tmp_path: Path) -> None:
    first, second = pair(tmp_path, 5, 5)
    found = compare(first, second, samples=200, seed=0).differences
    assert {(each.difference, each.p_value) for each in (found.accuracy, found.uar)} == {(0.0, 1.0)}


def test_clips_are_paired_by_id_and_labels_by_name(tmp_path: Path) -> None:
    first, second = pair(tmp_path, 12, 4)
    other = written(tmp_path / "turned.parquet", answers(4, labels=("rare", "anger", "joy"), order=-1))
    assert other.predicted.predictions == second.predicted.predictions
    assert other.predicted.confidence == pytest.approx(second.predicted.confidence)
    assert (
        compare(first, other, samples=99, seed=0).differences == compare(first, second, samples=99, seed=0).differences
    )


def test_a_label_that_one_of_them_never_told_is_no_hindrance(tmp_path: Path) -> None:
    first, second = pair(tmp_path, 12, 0, labels=("spare", *LABELS))
    assert second.rates == (1.0, 1.0)
    assert compare(first, second, samples=99, seed=0).differences.accuracy.difference == pytest.approx(-0.2)


def test_the_table_shows_both_and_the_sentences_say_how_sure(tmp_path: Path) -> None:
    first, second = pair(tmp_path, 6, 24)
    lines = table(compare(first, second, samples=999, seed=3)).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[:4]]
    assert cells[0] == ["run", "model", "clips", "accuracy", "UAR"]
    assert cells[2] == [str(first.path), "classifier", "60", "90.00%", f"{first.rates[1]:.2%}"]
    assert cells[3] == [str(second.path), "classifier", "60", "60.00%", f"{second.rates[1]:.2%}"]
    assert lines[5].startswith("Accuracy, first less second: +30.00 points, 95 % interval [+")
    assert lines[5].endswith("p = 0.002 (paired bootstrap over 60 clips, 999 samples).")
    assert lines[6].startswith(f"UAR, first less second: {100 * (first.rates[1] - second.rates[1]):+.2f} points, 95 %")


MODELS = [("start", "start", 0), ("trained", "raft", 1), ("trained", "raft", 2), ("sft", "sft", 2), ("svm", "svm", 0)]


@pytest.mark.parametrize(
    ("choice", "model", "wrong"),
    [
        ({}, "raft 2", 2),
        ({"cycle": 1}, "raft 1", 1),
        ({"cycle": 0}, "start 0", 0),
        ({"algorithm": "sft"}, "sft 2", 3),
        ({"algorithm": "svm"}, "svm 0", 4),
    ],
)
def test_of_several_models_one_is_chosen(tmp_path: Path, choice: dict[str, Any], model: str, wrong: int) -> None:
    path = tmp_path / "p.parquet"
    write_models(path, [(Model(*each), answers(place)) for place, each in enumerate(MODELS)])
    found = read_predictions(path, **choice)
    assert (found.model, int((~found.predicted.correct).sum())) == (model, wrong)
    with pytest.raises(UserError, match="no model for algorithm rfat, cycle not named; it has sft 2, start 0, svm 0"):
        read_predictions(path, algorithm="rfat")


def test_other_clips_or_references_cannot_be_compared(tmp_path: Path) -> None:
    first, _ = pair(tmp_path, 3, 3)
    given = answers(3)
    fewer = predicted(IDS[2:], given.probabilities[2:], LABELS, references=REFERENCES[2:], target="emotion")
    other = written(tmp_path / "other.parquet", fewer)
    for one, two in ((first, other), (other, first)):
        with pytest.raises(UserError, match=r"2 of 60 clips of .*first.parquet are not in .*other.parquet, clip00 amo"):
            compare(one, two, samples=99, seed=0)
    changed = written(tmp_path / "loud.parquet", replace(given, references=[*REFERENCES[:-1], "joy"], target="mood"))
    with pytest.raises(
        UserError, match=r"1 of 60 references differ .* clip59: 'anger' and 'joy'. They tell emotion and mood"
    ):
        compare(first, changed, samples=99, seed=0)


def test_files_that_cannot_be_compared_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"bare.parquet: the 60 clips have no emotion"):
        written(tmp_path / "bare.parquet", answers(0, references=None))
    first, _ = pair(tmp_path, 3, 3)
    with pytest.raises(UserError, match=r"first.parquet has the answers of one model: give neither an algorithm nor a"):
        read_predictions(first.path, algorithm="raft")
    lines = pq.read_table(first.path).to_pylist()
    pq.write_table(pa.Table.from_pylist([*lines, lines[3]]), tmp_path / "twice.parquet")
    with pytest.raises(UserError, match="classifier has the clip clip03 twice"):
        read_predictions(tmp_path / "twice.parquet")
    lines[7]["reference"] = None
    pq.write_table(pa.Table.from_pylist(lines), tmp_path / "gap.parquet")
    with pytest.raises(UserError, match="1 of 60 clips have no emotion"):
        read_predictions(tmp_path / "gap.parquet")
