import csv
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from soundraft import files
from soundraft.evaluation import plots, report
from soundraft.evaluation.report import Bootstrap, Row
from soundraft.evaluation.scores import Scored, score, snapped
from soundraft.metrics.text import VocabularySnapper, basic

REFERENCES = ["one two three", "four five", "six seven eight nine"]
SNAPPER = VocabularySnapper(["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])
BOOTSTRAP = Bootstrap(samples=200, seed=0)


def scored(*hypotheses: str) -> Scored:
    return score(ids=["a", "b", "c"], references=REFERENCES, hypotheses=hypotheses, normalizer=basic)


def row(chain: str, cycle: int, *hypotheses: str) -> Row:
    target = scored(*hypotheses)
    algorithm = "raft" if chain == "trained" else chain
    return Row(chain, algorithm, cycle, target, snapped(target, SNAPPER), scored(*REFERENCES))


ROWS = [
    row("start", 0, "oe to three", "for five", "six seven"),
    row("trained", 1, "one two three", "for five", "six seven eight"),
    row("trained", 2, "one two three", "four five", "six seven eight"),
    row("random", 2, "one", "for", "six"),
    row("sft", 1, "one", "four five", "six seven eight nine"),
    row("sft", 2, "One, two three!", "four five", "six seven eight nine"),
]


def test_the_table_has_start_every_cycle_and_the_last_of_each_control() -> None:
    lines = report.markdown_table(ROWS, BOOTSTRAP).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert [line[:2] for line in cells] == [
        ["start model", "0"],
        ["RAFT", "1"],
        ["RAFT", "2"],
        ["control: supervised on references", "2"],
        ["control: a random one of K, no reward", "2"],
    ]
    assert cells[0][2].startswith("55.6% [")
    assert cells[0][4:7] == ["3", "2", "0"]
    assert cells[0][7].startswith("22.2% [")
    assert cells[2][2].startswith("11.1% [")
    assert len({len(line) for line in lines}) == 1


def test_the_summary_is_flat_short_and_right() -> None:
    numbers = report.summary(ROWS, BOOTSTRAP)
    assert len(numbers) <= 12
    assert json.loads(json.dumps(numbers, allow_nan=False)) == numbers
    assert numbers["cycles"] == 2
    assert numbers["wer_before"] == pytest.approx(5 / 9)
    assert numbers["wer_after"] == pytest.approx(1 / 9)
    assert numbers["wer_relative_reduction"] == pytest.approx(0.8)
    assert numbers["wer_after_low"] <= numbers["wer_after"] <= numbers["wer_after_high"]


def test_files_hold_every_detail_and_the_same_bytes_twice(tmp_path: Path) -> None:
    for name in ("one", "two"):
        folder = tmp_path / name
        report.write_curves(folder / "curves.csv", ROWS, BOOTSTRAP)
        report.write_predictions(folder / "predictions.parquet", ROWS)
        report.write_errors(folder, ROWS[0], top=2)
        plots.plot_wer(folder / "wer.png", ROWS, BOOTSTRAP)
        plots.plot_reward(folder / "reward.png", {1: {"reward_mean": 0.4, "reward_best": 0.7, "reward_kept": 0.8}})
    for path in (tmp_path / "one").iterdir():
        assert files.content_hash(path) == files.content_hash(tmp_path / "two" / path.name)
    predictions = pq.read_table(tmp_path / "one/predictions.parquet").to_pylist()
    assert len(predictions) == 18
    assert predictions[0] == {
        "chain": "start", "algorithm": "start", "cycle": 0, "id": "a",
        "reference": "one two three", "prediction": "oe to three",
        "hits": 1, "substitutions": 2, "deletions": 0, "insertions": 0,
    }  # fmt: skip
    with (tmp_path / "one/worst_clips.csv").open() as stream:
        assert [(line["id"], line["errors"]) for line in csv.DictReader(stream)] == [("a", "2"), ("c", "2")]
    with (tmp_path / "one/confusions.csv").open() as stream:
        assert [tuple(line.values()) for line in csv.DictReader(stream)] == [("eight", "", "1"), ("four", "for", "1")]
    with (tmp_path / "one/curves.csv").open() as stream:
        lines = list(csv.DictReader(stream))
    assert [float(line["trained"]) for line in lines] == pytest.approx([5 / 9, 2 / 9, 1 / 9])
    assert [float(line["sft"]) for line in lines] == pytest.approx([5 / 9, 2 / 9, 0])


def test_a_run_without_cycles_reports_the_start_model(tmp_path: Path) -> None:
    numbers = report.summary(ROWS[:1], BOOTSTRAP)
    assert (numbers["cycles"], numbers["wer_relative_reduction"]) == (0, 0.0)
    plots.plot_wer(tmp_path / "wer.png", ROWS[:1], BOOTSTRAP)
    plots.plot_reward(tmp_path / "reward.png", {})
    assert (tmp_path / "wer.png").stat().st_size > 1000
