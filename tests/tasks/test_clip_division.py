"""What clips a classifier is made of: bad and missing values, rows to drop, their order; all before the training."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

import soundraft
from soundraft.audio import io
from soundraft.runtime import UserError
from soundraft.tasks import classifier_run
from tests.tasks import tones


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tones.table(tmp_path_factory.mktemp("tones"))


def config(**top: Any) -> dict[str, Any]:
    return copy.deepcopy(tones.CONFIG) | {"trainer": {"epochs": 1}} | top


def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on a training is an error."""
    monkeypatch.delattr(classifier_run.classification, "learn")


def test_test_clips_that_cannot_be_used_cost_no_training(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(table.parent)
    frame = pandas.read_csv(table)
    frame["split"] = ["train"] * 30 + ["validation"] * 9 + ["test"] * 9
    frame.loc[47, "audio"] = "nowhere.wav"
    untrained(monkeypatch)
    with pytest.raises(UserError, match=r"1 of 9 clips are bad; .*\n  nowhere.wav: no such file"):
        soundraft.fit(tones.CONFIG, frame)


def with_age() -> dict[str, Any]:
    given = config()
    given["input_features"] += [{"name": "age", "type": "number"}]
    return given


def test_an_input_that_is_unknown_is_missing_but_not_in_training(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(table.parent)
    frame = pandas.read_csv(table)
    frame["split"] = ["train"] * 30 + ["validation"] * 9 + ["test"] * 9
    result = soundraft.fit(with_age(), frame.assign(age=[*frame.age[:30], *[None] * 18]))
    frame.loc[5, "age"] = None
    together = soundraft.predict(result, frame).filter(like="probabilities").to_numpy()[5]
    alone = soundraft.predict(result, frame[5:6]).filter(like="probabilities").to_numpy()[0]
    np.testing.assert_allclose(alone, together, atol=1e-6)
    monkeypatch.delattr("soundraft.tasks.classification.hear")
    with pytest.raises(UserError, match="no clip has a age"):
        soundraft.fit(with_age(), frame.assign(age=[*[None] * 30, *frame.age[30:]]))
    with pytest.raises(UserError, match=r"input age: no training clip has a number; 00\.wav has 'x'"):
        soundraft.fit(with_age(), frame.assign(age="x"))


def test_text_for_a_number_sets_its_clip_aside(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(table.parent)
    frame = pandas.read_csv(table)
    frame["split"] = ["train"] * 30 + ["validation"] * 9 + ["test"] * 9
    odd = frame.assign(age=["abc", *frame.age[1:]])
    with pytest.raises(UserError, match=r"1 of 30 clips are bad; .*\n  00\.wav: input age: 'abc' is no number"):
        soundraft.fit(with_age(), odd)
    result = soundraft.fit(with_age() | {"limits": {"max_bad_fraction": 0.1}}, odd)
    assert [(bad.id, bad.reason) for bad in result.rejected] == [("00.wav", "input age: 'abc' is no number")]
    assert result.classifier.side[0].mean == pytest.approx(frame.age[1:30].mean())


def test_rows_are_dropped_where_that_is_asked(table: Path, tmp_path: Path) -> None:
    frame = pandas.read_csv(table)
    holes = frame.assign(pitch=[None, *frame.pitch[1:47], " "], audio=[*frame.audio[:46], None, frame.audio[47]])
    holes.to_csv(table.with_name("holes.csv"), index=False)
    given = config(trainer={"epochs": 1}, preprocessing={"audio": {"missing_value_strategy": "drop_row"}})
    with pytest.raises(UserError, match=r"clips are bad; .*\n  00\.wav: no pitch"):
        soundraft.fit(given, table.with_name("holes.csv"))
    given["output_features"] = [
        {"name": "pitch", "type": "category", "preprocessing": {"missing_value_strategy": "drop_row"}}
    ]
    notes = [
        f"{many} of 48 rows have no {what} and are dropped, as missing_value_strategy: drop_row asks"
        for many, what in ((2, "pitch"), (1, "audio"))
    ]
    result = soundraft.fit(given, table.with_name("holes.csv"), output_dir=tmp_path / "out")
    lost = [("00.wav", "no pitch, dropped"), ("row 47", "no audio, dropped"), ("47.wav", "no pitch, dropped")]
    assert [(bad.id, bad.reason) for bad in result.rejected] == lost
    assert result.division.notes[:2] == notes
    assert sum(len(clips) for clips in result.division.parts.values()) == 45
    quarantine = (tmp_path / "out/quarantine.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in quarantine] == [name for name, _ in lost]
    for model in (result, tmp_path / "out"):
        found = soundraft.evaluate(model, table.with_name("holes.csv"))
        assert (found.predicted.ids, found.notes[:2]) == (result.test.ids, notes)
        assert [bad.id for bad in found.rejected] == [name for name, _ in lost]
        told = soundraft.predict(model, table.with_name("holes.csv"))
        assert len(told) == 47
        assert [bad["reason"] for bad in told.attrs["rejected"]] == ["no audio"]
    folds = soundraft.cross_validate(given, table.with_name("holes.csv"), folds="k", k=2)
    assert [bad.id for bad in folds.rejected] == [name for name, _ in lost]
    frame.assign(pitch=None).to_csv(table.with_name("holes.csv"), index=False)
    with pytest.raises(UserError, match=r"48 of 48 rows have no pitch and are dropped, .*: no clip is left"):
        soundraft.fit(given, table.with_name("holes.csv"))


@pytest.mark.parametrize("place", ["file/x", "file/x/y", "/proc/x"])
def test_a_place_that_cannot_be_written_costs_no_training(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    (tmp_path / "file").write_text("")
    untrained(monkeypatch)
    with pytest.raises(UserError, match=f"{place}: no folder can be made there: "):
        soundraft.fit(tones.CONFIG, table, output_dir=tmp_path / place)


def test_the_order_of_the_rows_changes_no_weight(table: Path, tmp_path: Path) -> None:
    mixed = table.with_name("mixed.csv")
    pandas.read_csv(table).sample(frac=1, random_state=0).to_csv(mixed, index=False)
    run, again = (soundraft.fit(tones.CONFIG, each, output_dir=tmp_path / each.stem) for each in (table, mixed))
    assert again.test.ids != run.test.ids
    assert set(again.test.ids) == set(run.test.ids)
    for name in ("model.safetensors", "config.json"):
        first, second = ((tmp_path / each / "model" / name).read_bytes() for each in ("clips", "mixed"))
        assert first == second


def test_clips_that_are_cut_are_counted(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each clip has 2,400 samples at 8 kHz; two are made longer by one, the limit is exactly theirs."""
    monkeypatch.chdir(table.parent)
    frame = pandas.read_csv(table)
    for number in (3, 45):
        samples, rate_hz = io.read(table.parent / frame.audio[number])
        longer = np.append(samples[:, 0], np.float32(0.1))
        frame.loc[number, "audio"] = f"longer{number}.wav"
        io.write_wav(table.parent / f"longer{number}.wav", longer, rate_hz)
    given = config()
    said: list[str] = []
    assert not any("longer than" in note for note in soundraft.fit(given, frame, tell=said.append).notes)
    given["input_features"][0]["preprocessing"]["audio_file_length_limit_in_s"] = 0.3
    note = "2 of 48 clips are longer than 0.3 s: only the first 0.3 s are heard"
    result = soundraft.fit(given, frame, output_dir=tmp_path / "out", tell=said.append)
    assert said[-1] == f"note: {note}"
    assert note in json.loads((tmp_path / "out/description.json").read_text())["notes"]
    assert soundraft.evaluate(result, frame, split="all").notes[-1] == note
    assert soundraft.predict(result, frame).attrs["notes"] == [note]
    one = soundraft.predict(result, frame[3:4]).attrs["notes"]
    assert one == ["1 of 1 clips is longer than 0.3 s: only the first 0.3 s are heard"]
    soundraft.cross_validate(given, frame, folds="k", k=2, tell=said.append)
    assert said.count(f"note: {note}") == 2
