"""`soundraft compare` and what is below it, on the files that the tasks write."""

import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from soundraft.evaluation.compare import Candidate, compare, numbers, read_candidate, table
from soundraft.evaluation.predictions import write_predictions, write_results
from soundraft.evaluation.scores import RAW, Scores, score_texts
from soundraft.metrics.resampling import Bootstrap
from soundraft.runtime import UserError
from tests.conftest import soundraft
from tests.evaluation.answers import BOOTSTRAP, IDS, TEXTS, label_results, labels, text_result, texts
from tests.evaluation.test_report import cells


def written(path: Path, given: Scores) -> Candidate:
    write_predictions(path, given)
    return read_candidate(path)


def test_values_and_differences_are_those_of_the_clips(tmp_path: Path) -> None:
    first, second = labels(0.9), labels(0.6, 1)
    found = compare(written(tmp_path / "a.parquet", first), written(tmp_path / "b.parquet", second), BOOTSTRAP)
    flat = numbers(found)
    assert flat.pop("clips") == 120
    for key in ("accuracy", "uar"):
        assert (flat.pop(f"{key}_a"), flat.pop(f"{key}_b")) == (first.value(key), second.value(key))
        expected = vars(first.difference(second, key, BOOTSTRAP))
        assert {name: flat.pop(f"{key}_{name}") for name in expected} == expected
    assert not flat
    lines = table(found).splitlines()
    assert [row[1:] for row in cells("\n".join(lines[:4]))] == [
        ["model", "120", "90.00%", f"{first.value('uar'):.2%}"],
        ["model", "120", "60.00%", f"{second.value('uar'):.2%}"],
    ]
    assert lines[5].startswith("Accuracy, first less second: +30.00 points, 95 % interval [+")
    assert lines[6].startswith("UAR, first less second: +")


def test_transcripts_are_compared_by_wer_with_the_edits(tmp_path: Path) -> None:
    pair = [written(tmp_path / f"{wrong}.parquet", texts(wrong)) for wrong in (90, 30)]
    found = compare(*pair, Bootstrap(999, 3))
    assert list(numbers(found)) == ["clips", "wer_a", "wer_b", "difference", "low", "high", "p_value"]
    lines = table(found).splitlines()
    assert [row[3:] for row in cells("\n".join(lines[:4]))] == [
        ["25.00%", "270", "90", "0", "0"], ["8.33%", "330", "30", "0", "0"],
    ]  # fmt: skip
    assert lines[5].endswith("p = 0.002 (paired bootstrap over 120 clips, 999 samples).")
    same = compare(pair[0], pair[0], BOOTSTRAP).differences["wer"]
    assert (same.difference, same.p_value) == (0.0, 1.0)


def test_transcripts_can_be_compared_by_another_text_normalisation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written_as = {"digits": ["3, 5, 7", "21"], "words": ["three five seven", "two one"]}
    paths = {}
    for name, hypotheses in written_as.items():
        found = score_texts(ids=["a", "b"], references=written_as["words"], hypotheses=hypotheses, normalizer=str)
        raw = dict(zip(RAW, (written_as["words"], hypotheses), strict=True))
        paths[name] = tmp_path / f"{name}.parquet"
        write_predictions(paths[name], replace(found, raw=raw))
    pair = [str(paths[name]) for name in written_as]
    for option, wer in (([], 1.0), (["--normalizer", "spoken-digits"], 0.0)):
        soundraft(capsys, "compare", *pair, *option, "--json", tmp_path / "found.json")
        assert json.loads((tmp_path / "found.json").read_text())["wer_a"] == wer

    write_predictions(paths["words"], replace(found, raw={}))
    with pytest.raises(UserError, match="reference_raw"):
        read_candidate(paths["words"], normalize=str)


def test_clips_are_paired_by_id_and_labels_by_name(tmp_path: Path) -> None:
    first, second = written(tmp_path / "a.parquet", labels(0.9)), written(tmp_path / "b.parquet", labels(0.6))
    turned = written(tmp_path / "c.parquet", labels(0.6, order=-1, names=["sad", "spare", "anger", "joy"]))
    assert turned.scores.predictions == second.scores.predictions
    assert compare(first, turned, BOOTSTRAP).differences == compare(first, second, BOOTSTRAP).differences


def test_other_clips_references_or_metrics_cannot_be_compared(tmp_path: Path) -> None:
    first, fewer = (
        written(tmp_path / "first.parquet", texts(3)),
        written(tmp_path / "f.parquet", texts(3).part(range(9))),
    )
    for one, other in ((first, fewer), (fewer, first)):
        with pytest.raises(UserError, match=r"111 of 120 clips of .*first.parquet .*f.parquet, clip009"):
            compare(one, other, BOOTSTRAP)
    changed = written(tmp_path / "loud.parquet", texts(3, references=[*TEXTS[:-1], "halt"]))
    with pytest.raises(UserError, match=r"1 of 120 references .* clip119: 'stop' and 'halt'"):
        compare(first, changed, BOOTSTRAP)
    mood = replace(labels(0.5), references=["joy"] * len(IDS), target="mood")
    with pytest.raises(UserError, match="emotion and mood"):
        compare(written(tmp_path / "l.parquet", labels(0.5)), written(tmp_path / "m.parquet", mood), BOOTSTRAP)
    with pytest.raises(UserError, match=r"first.parquet has WER and .*l.parquet has accuracy, UAR"):
        compare(first, read_candidate(tmp_path / "l.parquet"), BOOTSTRAP)


def test_files_that_cannot_be_compared_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"bare.parquet: .*no emotion"):
        written(tmp_path / "bare.parquet", labels(0, references=None))
    with pytest.raises(UserError, match=r"empty.parquet: all references are empty"):
        written(tmp_path / "empty.parquet", texts(0, references=["", ""]))
    lines = pq.read_table(written(tmp_path / "a.parquet", labels(0.5)).path).to_pylist()
    pq.write_table(pa.Table.from_pylist([*lines, lines[3]]), tmp_path / "twice.parquet")
    with pytest.raises(UserError, match="clip003 twice"):
        read_candidate(tmp_path / "twice.parquet")


def test_the_command_finds_runs_and_their_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_predictions(tmp_path / "one/predictions.parquet", labels(0.9))
    write_results(tmp_path / "repository/reports/evaluate/predictions.parquet", label_results(0.6, 0.8))
    write_results(tmp_path / "speech/predictions.parquet", [text_result("start", 0, 3)])
    argv = ("compare", tmp_path / "one", tmp_path / "repository", "--samples", 100, "--json", tmp_path / "c.json")
    said = soundraft(capsys, *argv).splitlines()
    assert [cell.strip() for cell in said[3].split("|")[2:5]] == ["raft 1", "120", "80.00%"]
    assert said[5].startswith("Accuracy, first less second: +10.00 points")
    found = json.loads((tmp_path / "c.json").read_text())
    assert (found["accuracy_a"], found["accuracy_b"], found["clips"]) == (0.9, 0.8, 120)
    assert "+30.00 points" in soundraft(capsys, *argv, "--cycle-b", 0)
    assert "+30.00 points" in soundraft(capsys, *argv, "--algorithm-b", "start")
    soundraft(capsys, *argv, "--cycle-b", 4, code="it has majority 0, start 0, svm 0, raft 1")
    soundraft(capsys, *argv, "--cycle-a", 1, code="one model")
    soundraft(capsys, "compare", tmp_path / "one", tmp_path / "speech", code="nothing is common")
    soundraft(capsys, "compare", tmp_path / "one", tmp_path / "none", code="no such run")
