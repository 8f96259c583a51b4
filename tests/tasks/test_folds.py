"""Cross-validation: each clip is answered once, by a model that was not trained on it."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from scipy import stats

import soundraft
from soundraft import files
from soundraft.runtime import UserError
from soundraft.tasks.folds import t_interval
from tests.tasks import sounds

QUICK = sounds.CONFIG | {"trainer": sounds.CONFIG["trainer"] | {"epochs": 2}}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sounds.table(tmp_path_factory.mktemp("sounds"))


def test_official_folds(table: Path, tmp_path: Path) -> None:
    out, said = tmp_path / "out", list[str]()
    found = soundraft.cross_validate(sounds.CONFIG, table, folds="official", output_dir=out, say=said.append)
    assert [(each.name, each.test, each.train + each.validation) for each in found.scores] == [
        (name, 15, 30) for name in "123"
    ]
    assert found.means["accuracy"].mean == pytest.approx(np.mean([each.accuracy for each in found.scores]))
    gains = [each.uar - each.svm_uar for each in found.scores]
    assert found.means["uar_gain"].mean == pytest.approx(np.mean(gains))
    assert sorted(found.pooled.ids) == [f"{number:02d}.wav" for number in range(45)]
    assert found.pooled.correct.mean() == pytest.approx(found.means["accuracy"].mean)
    assert found.means["accuracy"].mean > 0.7
    assert [each["name"] for each in files.read_json(out / "folds.json")["scores"]] == ["1", "2", "3"]
    rows = pandas.read_parquet(out / "predictions.parquet")
    assert dict(zip(rows.id, map(int, rows.held_out), strict=True)) == dict(
        pandas.read_csv(table)[["audio", "fold"]].itertuples(index=False)
    )
    alone = soundraft.predict(out / "models/2", table).set_index("id")
    tested = rows[rows.held_out == "2"]
    assert list(alone.loc[tested.id].pitch_predictions) == list(tested.pitch_predictions)
    assert "mean ± 95 %" in (out / "folds.md").read_text()
    with pytest.raises(UserError, match="models/1"):
        soundraft.predict(out, table)


def test_killed_it_goes_on_with_the_folds_that_are_left(table: Path, tmp_path: Path) -> None:
    def killed(line: str) -> None:
        if line.startswith("fold 2: "):
            raise KeyboardInterrupt

    def validate(name: str, *, say: Any = None, config: Any = QUICK) -> Any:
        return soundraft.cross_validate(config, table, folds="official", output_dir=tmp_path / name, say=say)

    with pytest.raises(KeyboardInterrupt):
        validate("killed", say=killed)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "killed/models").glob("*/*")}
    assert {path.parent.name for path in before} == {"1", "2"}
    other = QUICK | {"trainer": QUICK["trainer"] | {"epochs": 3}}
    with pytest.raises(UserError, match="other numbers"):
        validate("killed", config=other)
    found, whole = validate("killed"), validate("whole")
    assert all(path.stat().st_mtime_ns == made for path, made in before.items())  # not trained again
    assert found.scores == whole.scores
    assert (tmp_path / "killed/folds.md").read_text() == (tmp_path / "whole/folds.md").read_text()
    with pytest.raises(UserError, match="not empty"):
        validate("killed")


def test_folds_of_the_declaration_and_extra_clips_in_each(table: Path, tmp_path: Path) -> None:
    declared = QUICK | {"folds": "k", "k": 2}
    more = sounds.write_csv(tmp_path / "more.csv", [
        {**row, "id": f"more {row['audio']}"} for row in sounds.rows(tmp_path, 12)
    ])  # fmt: skip
    said: list[str] = []
    without = soundraft.cross_validate(declared, table)
    found = soundraft.cross_validate(declared, table, extra=more, say=said.append)
    assert sum("very audio" in line for line in said) == 2, "the extra clips are also tested ones, in each fold"
    assert (found.kind, len(found.scores), found.folder) == ("k", 2, None)
    assert [each.train - bare.train for each, bare in zip(found.scores, without.scores, strict=True)] == [12, 12]
    assert sorted(found.pooled.ids) == sorted(without.pooled.ids)
    by_speaker = soundraft.cross_validate(declared, table, folds="speaker")
    assert [each.name for each in by_speaker.scores] == sorted(sounds.SPEAKERS)


def test_what_cannot_be_folded_costs_no_training(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("soundraft.tasks.classification.fit_epochs")
    frame = pandas.read_csv(table)
    frame["audio"] = str(table.parent) + "/" + frame.audio
    frame.loc[frame.index[-1], "pitch"] = "shrill"  # of the last fold
    split = copy.deepcopy(QUICK) | {"preprocessing": {"split": {"type": "speaker"}}}
    cases: list[tuple[Any, Any, str | None, str]] = [
        (QUICK, frame, "official", "fold 3.*'shrill'"),
        (split, table, "speaker", "leave one out"),
        (QUICK, table, None, "official"),
    ]
    for config, data, folds, words in cases:
        with pytest.raises(UserError, match=words):
            soundraft.cross_validate(config, data, folds=folds)
    with pytest.raises(UserError, match="cross_validate"):
        soundraft.fit(QUICK | {"folds": "speaker"}, table)


def test_the_interval_is_students() -> None:
    values = np.array([0.7, 0.8, 0.75, 0.9])
    found = t_interval(values)
    low, high = stats.t.interval(0.95, 3, values.mean(), stats.sem(values))
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
