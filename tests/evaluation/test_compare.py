from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from soundraft.evaluation import report
from soundraft.evaluation.compare import Predictions, compare, read_predictions, table
from soundraft.evaluation.scores import score, snapped
from soundraft.metrics.resampling import paired_bootstrap
from soundraft.metrics.text import VocabularySnapper, basic
from soundraft.runtime import UserError

CLIPS = 40
REFERENCES = ["turn on the light", "turn off the fan", "open the window", "stop"] * (CLIPS // 4)
SNAPPER = VocabularySnapper(["light"])


def row(algorithm: str, cycle: int, wrong: int, *, references: list[str] = REFERENCES, first: int = 0) -> report.Row:
    """A model that mishears the first word of the first `wrong` clips."""
    heard = [f"x {text.partition(' ')[2]}" if at < wrong else text for at, text in enumerate(references)]
    ids = [f"clip{first + at:03d}" for at in range(len(references))]
    scored = score(ids=ids, references=references, hypotheses=heard, normalizer=basic)
    chain = "trained" if algorithm in ("raft", "grpo") else algorithm
    return report.Row(chain, algorithm, cycle, scored, snapped(scored, SNAPPER), scored)


def written(path: Path, *rows: report.Row) -> Path:
    report.write_predictions(path, rows)
    return path


RUN = (row("start", 0, 30), row("raft", 1, 20), row("raft", 2, 10), row("sft", 2, 0), row("sft", 3, 1))


@pytest.mark.parametrize(
    ("choice", "model"),
    [
        ({}, "raft 2"),
        ({"cycle": 1}, "raft 1"),
        ({"cycle": 0}, "start 0"),
        ({"algorithm": "sft"}, "sft 3"),
        ({"algorithm": "sft", "cycle": 2}, "sft 2"),
        ({"algorithm": "start"}, "start 0"),
    ],
)
def test_the_last_rewarded_cycle_is_taken_unless_another_is_named(
    tmp_path: Path, choice: dict[str, object], model: str
) -> None:
    assert read_predictions(written(tmp_path / "p.parquet", *RUN), **choice).model == model  # type: ignore[arg-type]


def test_a_run_without_cycles_is_its_start_model(tmp_path: Path) -> None:
    assert read_predictions(written(tmp_path / "p.parquet", RUN[0], RUN[3])).model == "start 0"
    assert read_predictions(written(tmp_path / "p.parquet", RUN[0], row("grpo", 4, 3))).model == "grpo 4"


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"algorithm": "rfat"}, "no model for algorithm rfat, cycle not named; it has sft 2, sft 3, start 0, raft 1"),
        ({"cycle": 7}, "no model for algorithm not named, cycle 7; it has sft 2"),
        ({"algorithm": "sft", "cycle": 1}, "no model for algorithm sft, cycle 1"),
    ],
)
def test_a_model_that_is_not_there_is_named_with_those_that_are(
    tmp_path: Path, choice: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        read_predictions(written(tmp_path / "p.parquet", *RUN), **choice)  # type: ignore[arg-type]


def test_two_rewarded_algorithms_must_be_told_apart(tmp_path: Path) -> None:
    path = written(tmp_path / "p.parquet", row("raft", 2, 1), row("grpo", 2, 1))
    with pytest.raises(UserError, match="2 models for algorithm not named, cycle not named; it has grpo 2, raft 2"):
        read_predictions(path)


def runs(tmp_path: Path, wrong: int, also_wrong: int) -> tuple[Predictions, Predictions]:
    first = written(tmp_path / "first.parquet", row("raft", 4, wrong))
    second = written(tmp_path / "second.parquet", row("grpo", 3, also_wrong))
    return read_predictions(first), read_predictions(second)


def test_rates_and_bootstrap_are_those_of_the_clips(tmp_path: Path) -> None:
    first, second = runs(tmp_path, 30, 10)
    found = compare(first, second, samples=999, seed=3)
    words = sum(len(text.split()) for text in REFERENCES)
    assert (found.first.wer, found.second.wer) == pytest.approx((30 / words, 10 / words))
    assert found.difference == paired_bootstrap(first.words, second.words, samples=999, seed=3)
    assert found.difference.difference == pytest.approx(20 / words)
    assert found.difference.p_value == 2 / 1000


def test_a_run_against_itself_has_no_difference(tmp_path: Path) -> None:
    first, second = runs(tmp_path, 5, 5)
    found = compare(first, second, samples=200, seed=0).difference
    assert (found.difference, found.p_value) == (0.0, 1.0)


def test_clips_are_paired_by_id_not_by_line(tmp_path: Path) -> None:
    first, second = runs(tmp_path, 12, 4)
    lines = pq.read_table(second.path).to_pylist()
    pq.write_table(pa.Table.from_pylist(lines[::-1]), tmp_path / "turned.parquet")
    turned = read_predictions(tmp_path / "turned.parquet")
    assert (
        compare(first, turned, samples=99, seed=0).difference == compare(first, second, samples=99, seed=0).difference
    )


def test_the_table_shows_both_and_the_sentence_says_how_sure(tmp_path: Path) -> None:
    first, second = runs(tmp_path, 30, 10)
    lines = table(compare(first, second, samples=999, seed=3)).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[:4]]
    assert cells[0] == ["run", "model", "WER", "sub", "del", "ins"]
    assert cells[2] == [str(first.path), "raft 4", "25.00%", "30", "0", "0"]
    assert cells[3] == [str(second.path), "grpo 3", "8.33%", "10", "0", "0"]
    assert len({len(line) for line in lines[:4]}) == 1
    assert lines[4] == ""
    assert lines[5].startswith("First less second: +16.67 points, 95 % interval [+")
    assert lines[5].endswith("p = 0.002 (paired bootstrap over 40 clips, 999 samples).")


def test_other_clips_or_references_cannot_be_compared(tmp_path: Path) -> None:
    first, _ = runs(tmp_path, 3, 3)
    other = read_predictions(written(tmp_path / "other.parquet", row("raft", 1, 3, first=2)))
    with pytest.raises(UserError, match=r"2 of 40 clips of .*first.parquet are not in .*other.parquet, clip000 among"):
        compare(first, other, samples=99, seed=0)
    more = read_predictions(written(tmp_path / "more.parquet", row("raft", 1, 3, references=[*REFERENCES, "go"])))
    with pytest.raises(UserError, match=r"1 of 41 clips of .*more.parquet are not in .*first.parquet, clip040 among"):
        compare(first, more, samples=99, seed=0)
    changed = [*REFERENCES[:-1], "halt"]
    loud = read_predictions(written(tmp_path / "loud.parquet", row("raft", 1, 3, references=changed)))
    with pytest.raises(UserError, match=r"1 of 40 references differ .* clip039: 'stop' and 'halt'"):
        compare(first, loud, samples=99, seed=0)


def test_files_that_are_no_predictions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no file"):
        read_predictions(tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("hello")
    with pytest.raises(UserError, match="is not a parquet file"):
        read_predictions(tmp_path / "text.parquet")
    pq.write_table(pa.table({"id": ["a"], "algorithm": ["raft"]}), tmp_path / "few.parquet")
    with pytest.raises(UserError, match=r"has no column chain, cycle, reference, hits, .*; it has id, algorithm"):
        read_predictions(tmp_path / "few.parquet")
    lines = pq.read_table(written(tmp_path / "p.parquet", row("raft", 1, 0))).to_pylist()
    pq.write_table(pa.Table.from_pylist([*lines, lines[3]]), tmp_path / "twice.parquet")
    with pytest.raises(UserError, match="raft 1 has the clip clip003 twice"):
        read_predictions(tmp_path / "twice.parquet")
