"""Clips from tables, data frames and corpora."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

from soundraft.audio import io
from soundraft.clips.opening import Wanted, open_clips
from soundraft.corpora.base import AudioDataset, AudioSample
from soundraft.parallel import BadClip
from soundraft.runtime import UserError
from tests.tasks import tones

WANTED = Wanted("audio", {"pitch": "pitch", "age": "age"}, ["age"], "pitch")


def test_every_form_of_a_table_says_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = tones.rows(tmp_path, 6)
    frame = pandas.DataFrame(rows)
    tones.write_csv(tmp_path / "a.csv", rows)
    (tmp_path / "a.tsv").write_text((tmp_path / "a.csv").read_text().replace(",", "\t"))
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    frame.to_parquet(tmp_path / "a.parquet")
    monkeypatch.chdir(tmp_path)  # the paths of a data frame count from here
    for source in (tmp_path / "a.csv", tmp_path / "a.tsv", "a.jsonl", "a.parquet", frame):
        found = open_clips(source, WANTED)
        assert found.clips.ids == [row["audio"] for row in rows]
        assert found.clips.paths == found.clips.ids
        assert found.clips.values("pitch") == [row["pitch"] for row in rows]
        assert [int(age) for age in found.clips.values("age")] == [row["age"] for row in rows]
        assert found.clips.audio(3) == (tmp_path / "03.wav").read_bytes()
        assert found.splits is None


def test_columns_by_other_names_and_audio_in_memory(tmp_path: Path) -> None:
    rows = tones.rows(tmp_path, 3)
    data = [(tmp_path / row["audio"]).read_bytes() for row in rows]
    frame = pandas.DataFrame({"clip": data, "how_high": ["a", "b", "c"], "id": [7, 8, 9], "split": [0.0, 1.0, 2.0]})
    found = open_clips(frame, Wanted("clip", {"pitch": "how_high"}))
    assert found.clips.ids == ["7", "8", "9"]
    assert found.clips.values("pitch") == ["a", "b", "c"]
    assert found.clips.audio(2) == data[2]
    assert found.splits == ["train", "validation", "test"]
    packed = pandas.DataFrame({"audio": [{"bytes": each, "path": f"x{n}"} for n, each in enumerate(data)]})
    packed.to_parquet(tmp_path / "p.parquet")
    found = open_clips(tmp_path / "p.parquet", Wanted())
    assert (found.clips.ids, found.clips.audio(1)) == (["x0", "x1", "x2"], data[1])


def test_numbers_that_are_not_there_are_missing_and_counted(tmp_path: Path) -> None:
    rows = tones.rows(tmp_path, 6)
    for place, value in enumerate(("nan", "NaN", "", "31")):
        rows[place]["age"] = value
    source = open_clips(tones.write_csv(tmp_path / "a.csv", rows), WANTED)
    assert source.clips.values("age") == [None, None, None, "31", "24", "25"]
    assert source.notes == ["age: 3 of 6 clips have no number; the network is told so"]
    frame = pandas.DataFrame(rows).assign(audio=str(tmp_path) + "/" + pandas.Series([row["audio"] for row in rows]))
    frame["age"] = [np.nan, 20.5, 21, 22, 23, 24]
    assert open_clips(frame, WANTED).clips.values("age") == [None, 20.5, 21, 22, 23, 24]


def test_a_corpus_in_python(tmp_path: Path) -> None:
    class Mine(AudioDataset):
        name, task = "mine", "classification"

        def load(self) -> list[AudioSample]:
            return [
                AudioSample(None, label, task="classification", metadata={"id": label, "split": "test"},
                            audio_array=tones.clip(label, "ann", 1), sample_rate=tones.RATE_HZ)
                for label in tones.PITCHES_HZ
            ]  # fmt: skip

    found = open_clips(Mine(), Wanted(columns={"label": "label"}, target="label"))
    assert found.clips.values("label") == ["low", "middle", "high"]
    assert found.splits == ["test"] * 3
    samples, rate_hz = io.parse(found.clips.audio(0))
    assert rate_hz == tones.RATE_HZ
    np.testing.assert_allclose(samples[:, 0], tones.clip("low", "ann", 1), atol=1e-4)


def _table(folder: Path, change: Any) -> Path:
    rows = tones.rows(folder, 6)
    change(rows)
    return tones.write_csv(folder / "a.csv", rows)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.clear() or rows.append({"audio": "", "pitch": "", "age": ""}), "no clips"),
        (
            lambda rows: [row.update(audio=f"no/{row['audio']}") for row in rows],
            "none of its 6 audio files exists, such",
        ),
        (lambda rows: [row.pop("pitch") for row in rows], "no column pitch; it has audio, speaker, fold, age"),
        (
            lambda rows: [row.update(wave=row.pop("audio")) for row in rows],
            r"no column with audio \(audio, audio_path\)",
        ),
        (
            lambda rows: rows[1].update(audio="00.wav"),
            "1 name stands for several clips, 00.wav first; .* a column id",
        ),
        (lambda rows: [row.update(split="later") for row in rows], r"column split has 'later' \(6\); allowed: train"),
        (lambda rows: [row.update(split="dev") for row in rows[1:]], r"column split has none \(1\)"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, change: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        open_clips(_table(tmp_path, change), WANTED)


def test_samples_without_a_rate_are_said_to_be_no_audio() -> None:
    found = open_clips(pandas.DataFrame({"audio": [np.zeros(8)]}), Wanted())
    with pytest.raises(BadClip, match="a ndarray has no sample rate: give a path, or the bytes"):
        found.clips.audio(0)


def test_recordings_of_which_nothing_else_is_known(tmp_path: Path) -> None:
    rows = tones.rows(tmp_path, 2)
    places = [tmp_path / row["audio"] for row in rows]
    one, both = open_clips(str(places[1]), Wanted("clip")), open_clips(places, Wanted("clip"))
    assert one.clips.ids == [str(places[1])]
    assert both.clips.ids == [str(place) for place in places]
    assert (one.clips.audio(0), both.clips.audio(1)) == (places[1].read_bytes(), places[1].read_bytes())
    with pytest.raises(UserError, match=r"gone\.wav: no such file"):
        open_clips(tmp_path / "gone.wav", Wanted())
    with pytest.raises(UserError, match=r"00\.wav: no column pitch, age; it has audio: a table can have the rest"):
        open_clips(places[0], WANTED)


def test_what_is_no_data(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("")
    for source, message in (
        (tmp_path / "a.csv", r"a\.csv: is empty"),
        (tmp_path / "b.csv", "no such file"),
        ("emodbb", "neither a table .* nor a corpus; there are espeak"),
        (3, "int is no data"),
    ):
        with pytest.raises(UserError, match=message):
            open_clips(source, WANTED)
