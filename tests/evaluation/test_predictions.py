from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from soundraft.evaluation.predictions import read_model, write_predictions, write_results
from soundraft.evaluation.results import Result
from soundraft.evaluation.scores import Scores, score_labels
from soundraft.runtime import UserError
from tests.evaluation.answers import CLIPS, LABELS, labels, model, text_result, texts

PATHS = [f"wav/{number}.wav" for number in range(CLIPS)]


def plain(scores: Scores) -> dict[str, Any]:
    """Without the counts of characters, which no file has."""
    counts = {name: each.tolist() for name, each in scores.counts.items() if name != "characters"}
    groups = list(scores.groups.items())  # with their order
    about = {"counts": counts, "groups": groups, "label_scores": None}
    return {**vars(scores), "probabilities": scores.probabilities.tolist(), **about}


@pytest.mark.parametrize(
    "given",
    [
        labels(0.5, paths=PATHS),
        labels(0.5, references=None, groups={}),
        labels(0.5, target="a_probabilities_b", names=["x_predictions", "_probability", "日本 ä/é", *LABELS]),
        score_labels([], np.zeros((0, 3)), LABELS, references=[]),
        texts(20),
        replace(
            texts(20), raw={"reference_raw": [f"Raw {n}!" for n in range(CLIPS)], "prediction_raw": ["R."] * CLIPS}
        ),
    ],
    ids=["labels", "no references", "odd names", "no clips", "texts", "raw texts"],
)
def test_what_was_written_is_read(given: Scores, tmp_path: Path) -> None:
    for name in ("one.parquet", "two.parquet"):
        write_predictions(tmp_path / name, given)
    assert plain(read_model(tmp_path / "one.parquet")[1]) == plain(given)
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()


def test_columns_have_their_names(tmp_path: Path) -> None:
    write_predictions(tmp_path / "p.parquet", labels(0.5, paths=PATHS))
    line = pq.read_table(tmp_path / "p.parquet").to_pylist()[3]
    assert list(line) == [
        "id", "path", "reference", "emotion_predictions", "emotion_probability", "emotion_probabilities_anger",
        "emotion_probabilities_joy", "emotion_probabilities_sad", "speaker", "one",
    ]  # fmt: skip
    assert line["emotion_probability"] == line[f"emotion_probabilities_{line['emotion_predictions']}"]
    write_results(tmp_path / "t.parquet", [text_result("start", 0, 1), text_result("raft", 1, 0)])
    lines = pq.read_table(tmp_path / "t.parquet").to_pylist()
    assert len(lines) == 2 * CLIPS
    assert lines[0] == {
        "chain": "start", "algorithm": "start", "cycle": 0, "id": "clip000",
        "reference": "turn on the light", "prediction": "trn on the light",
        "hits": 3, "substitutions": 1, "deletions": 0, "insertions": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({}, "raft 2"),
        ({"cycle": 1}, "raft 1"),
        ({"cycle": 0}, "start 0"),
        ({"algorithm": "sft"}, "sft 3"),
        ({"algorithm": "sft", "cycle": 2}, "sft 2"),
        ({"algorithm": "start"}, "start 0"),
        ({"algorithm": "svm"}, "svm 0"),
        ({"algorithm": "rfat"}, UserError),
        ({"cycle": 7}, UserError),
        ({"algorithm": "sft", "cycle": 1}, UserError),
    ],
)
def test_of_several_models_one_is_chosen(tmp_path: Path, choice: dict[str, Any], expected: Any) -> None:
    models = [("start", 0), ("raft", 1), ("raft", 2), ("sft", 2), ("sft", 3), ("svm", 0)]
    given = {f"{name} {cycle}": Result(model(name, cycle), labels(at / 6)) for at, (name, cycle) in enumerate(models)}
    write_results(tmp_path / "p.parquet", list(given.values()))
    if expected is UserError:
        with pytest.raises(UserError, match=r"no model .*it has sft 2, sft 3, start 0, svm 0, raft 1, raft 2"):
            read_model(tmp_path / "p.parquet", **choice)
        return
    found, scores = read_model(tmp_path / "p.parquet", **choice)
    assert str(found) == expected
    assert plain(scores) == plain(given[expected].scores)


def test_a_run_without_cycles_is_its_start_model_and_two_algorithms_must_be_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    write_results(path, [text_result("start", 0, 3), text_result("sft", 2, 1)])
    assert str(read_model(path)[0]) == "start 0"
    write_results(path, [text_result("raft", 2, 3), text_result("grpo", 2, 1)])
    with pytest.raises(UserError, match=r"2 models .*it has grpo 2, raft 2"):
        read_model(path)


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"

    def refused(match: str, **choice: Any) -> None:
        with pytest.raises(UserError, match=match):
            read_model(path, **choice)

    refused("no file")
    path.write_text("no")
    refused("not a parquet")
    pq.write_table(pa.table({"id": ["a"], "text": ["b"]}), path)
    refused("it has id, text")
    pq.write_table(pa.table({"id": ["a"], "reference": ["b"], "prediction": ["b"], "chain": ["start"]}), path)
    refused("no column algorithm, cycle")
    write_predictions(path, replace(labels(0.5), probabilities=np.full((CLIPS, 3), np.nan)))
    refused("emotion_probabilities_anger")
    write_predictions(path, texts(3))
    refused("one model", cycle=1)
    lines = pq.read_table(path).to_pylist()
    pq.write_table(pa.Table.from_pylist([*lines, {**lines[0], "hits": None}]), path)
    refused("hits")
    pq.write_table(pa.Table.from_pylist([*lines, {**lines[0], "reference": None}]), path)
    refused("1 of 121 clips have no reference")
    with pytest.raises(UserError, match="'reference'"):
        write_predictions(path, replace(labels(0.5), groups={"reference": ["x"] * CLIPS}))
