"""Clips from tables, data frames and corpora."""

import json
import shutil
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas
import pytest
import torch

from soundraft.audio import io
from soundraft.clips.base import Reading
from soundraft.clips.opening import open_clips, open_measured
from soundraft.corpora.base import AudioDataset, AudioSample
from soundraft.manifest import SPLITS
from soundraft.parallel import BadClip
from soundraft.runtime import UserError
from soundraft.splits import HELD_OUT_SHARE
from tests.tasks import sounds

READING = Reading("pitch", "audio", {"pitch": "pitch", "age": "age"}, ["age"])


def test_every_form_of_a_table_says_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = sounds.rows(tmp_path, 6)
    frame = pandas.DataFrame(rows)
    sounds.write_csv(tmp_path / "a.csv", rows)
    (tmp_path / "a.tsv").write_text((tmp_path / "a.csv").read_text().replace(",", "\t"))
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    frame.to_parquet(tmp_path / "a.parquet")
    monkeypatch.chdir(tmp_path)  # the paths of a data frame count from here
    for source in (tmp_path / "a.csv", tmp_path / "a.tsv", "a.jsonl", "a.parquet", frame):
        found = open_clips(source, READING)
        assert found.clips.ids == [row["audio"] for row in rows]
        assert found.clips.paths == found.clips.ids
        assert found.clips.values("pitch") == [row["pitch"] for row in rows]
        assert [int(age) for age in found.clips.values("age")] == [row["age"] for row in rows]
        assert found.clips.audio(3) == (tmp_path / "03.wav").read_bytes()
        assert not found.has_splits


def test_columns_by_other_names_and_audio_in_memory(tmp_path: Path) -> None:
    rows = sounds.rows(tmp_path, 3)
    data = [(tmp_path / row["audio"]).read_bytes() for row in rows]
    frame = pandas.DataFrame({"clip": data, "how_high": ["a", "b", "c"], "id": [7, 8, 9], "split": [0.0, 1.0, 2.0]})
    found = open_clips(frame, Reading("pitch", "clip", {"pitch": "how_high"}))
    assert found.clips.ids == ["7", "8", "9"]
    assert found.clips.values("pitch") == ["a", "b", "c"]
    assert found.clips.audio(2) == data[2]
    assert found.splits == ["train", "validation", "test"]
    frame["split"] = pandas.Series(["train", pandas.NA, "0"], dtype="string")
    assert open_clips(frame, Reading("pitch", "clip", {"pitch": "how_high"})).splits == ["train", None, "train"]
    packed = pandas.DataFrame({"audio": [{"bytes": each, "path": f"x{n}"} for n, each in enumerate(data)]})
    packed.to_parquet(tmp_path / "p.parquet")
    found = open_clips(tmp_path / "p.parquet", Reading())
    assert (found.clips.ids, found.clips.audio(1)) == (["x0", "x1", "x2"], data[1])


def test_numbers_that_are_not_there_are_missing_and_counted(tmp_path: Path) -> None:
    rows = sounds.rows(tmp_path, 6)
    for place, value in enumerate(("nan", "NaN", "", "31")):
        rows[place]["age"] = value
    source = open_clips(sounds.write_csv(tmp_path / "a.csv", rows), READING)
    assert source.clips.values("age") == [None, None, None, "31", "24", "25"]
    assert "3 of 6" in source.notes[0]
    frame = pandas.DataFrame(rows).assign(audio=str(tmp_path) + "/" + pandas.Series([row["audio"] for row in rows]))
    frame["age"] = [np.nan, 20.5, 21, 22, 23, 24]
    assert open_clips(frame, READING).clips.values("age") == [None, 20.5, 21, 22, 23, 24]


def test_a_corpus_in_python(tmp_path: Path) -> None:
    class Mine(AudioDataset):
        name, task = "mine", "classification"

        def load(self) -> list[AudioSample]:
            return [
                AudioSample(None, label, task="classification", metadata={"id": label, "split": "test"},
                            audio_array=sounds.wave(label), sample_rate=sounds.RATE_HZ)
                for label in sounds.LABELS
            ]  # fmt: skip

    found = open_clips(Mine(), Reading(columns={"label": "label"}, target="label"))
    assert found.clips.values("label") == list(sounds.LABELS)
    assert found.splits == ["test"] * 3
    samples, rate_hz = io.parse(found.clips.audio(0))
    assert rate_hz == sounds.RATE_HZ
    np.testing.assert_array_equal(samples[:, 0], sounds.wave("high"))


def _table(folder: Path, change: Any) -> Path:
    rows = sounds.rows(folder, 6)
    change(rows)
    return sounds.write_csv(folder / "a.csv", rows)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda rows: rows.clear() or rows.append({"audio": "", "pitch": "", "age": ""}), "no clips"),
        (lambda rows: [row.update(audio=f"no/{row['audio']}") for row in rows], "none of its 6 audio files"),
        (lambda rows: [row.pop("pitch") for row in rows], "pitch"),
        (lambda rows: [row.update(wave=row.pop("audio")) for row in rows], "wave"),
        (lambda rows: rows[1].update(audio="00.wav"), "00.wav"),
        (lambda rows: [row.update(split="later") for row in rows], "later"),
    ],
)
def test_what_is_wrong_with_a_table_is_named(tmp_path: Path, change: Any, word: str) -> None:
    with pytest.raises(UserError, match=word):
        open_clips(_table(tmp_path, change), READING)


def test_the_same_recordings_get_the_same_splits_however_they_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """48 recordings of eight speakers: no speaker in two splits, and no form of listing them changes one clip."""
    speakers = [f"speaker {number % 8}" for number in range(48)]
    rows = [
        {**row, "label": row["pitch"], "speaker": speaker}
        for row, speaker in zip(sounds.rows(tmp_path / "clips", 48), speakers, strict=True)
    ]
    csv = sounds.write_csv(tmp_path / "clips" / "clips.csv", rows)
    elsewhere = [{**row, "audio": f"clips/{row['audio']}", "id": f"other name {n}"} for n, row in enumerate(rows)]
    (tmp_path / "list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in elsewhere[::-1]))
    folder = tmp_path / "folder"
    shutil.copytree(tmp_path / "clips", folder, ignore=shutil.ignore_patterns("*.csv"))
    sounds.write_csv(folder / "metadata.csv", [{**row, "file_name": row["audio"]} for row in rows])
    monkeypatch.chdir(tmp_path)
    frame = pandas.DataFrame(elsewhere).drop(columns="id").sample(frac=1, random_state=0)
    samples = [
        AudioSample(tmp_path / "clips" / row["audio"], row["label"], task="classification", metadata=dict(row))
        for row in rows
    ]
    reading = Reading("label")
    found = []
    for source in (csv, tmp_path / "list.jsonl", folder, folder / "metadata.csv", frame, samples):
        opened = open_clips(source, reading)
        splits = opened.grouped(0, HELD_OUT_SHARE)
        found.append(dict(zip(opened.clips.contents(), splits, strict=True)))
        who = {split: {facts["speaker"] for facts, own in zip(opened.clips.facts, splits, strict=True) if own == split}
               for split in SPLITS}  # fmt: skip
        assert not who["train"] & who["test"]
        assert not who["train"] & who["validation"]
        assert all(who.values())
    assert all(each == found[0] for each in found)
    # without speakers by the audio itself, again whatever the files are called
    bare = [{name: value for name, value in row.items() if name != "speaker"} for row in elsewhere]
    one = open_clips(pandas.DataFrame(bare), reading)
    other = open_clips(sounds.write_csv(tmp_path / "clips" / "bare.csv", [
        {name: value for name, value in row.items() if name != "speaker"} for row in rows[::-1]
    ]), reading)  # fmt: skip
    labels = tmp_path / "by label"
    for row in rows:
        (labels / row["label"]).mkdir(parents=True, exist_ok=True)
        shutil.copy(tmp_path / "clips" / row["audio"], labels / row["label"] / f"copy of {row['audio']}")
    third = open_clips(labels, reading)
    by_audio = [
        dict(zip(each.clips.contents(), each.grouped(0, HELD_OUT_SHARE), strict=True)) for each in (one, other, third)
    ]
    assert by_audio[0] == by_audio[1] == by_audio[2]
    assert set(by_audio[0].values()) == set(SPLITS)


def test_a_column_under_another_spelling(tmp_path: Path) -> None:
    rows = [{"audio_filepath": row["audio"], "sentence": "one two"} for row in sounds.rows(tmp_path, 2)]
    found = open_clips(sounds.write_csv(tmp_path / "a.csv", rows), Reading("text"))
    assert found.clips.values("text") == ["one two", "one two"]


def test_a_limit_is_drawn_by_the_ids(tmp_path: Path) -> None:
    table = sounds.table(tmp_path)
    few = open_clips(table, READING, limit=5, seed=1).clips.ids
    assert len(few) == 5
    assert few != open_clips(table, READING, limit=5, seed=2).clips.ids


def test_an_array_that_is_no_audio_costs_its_clip_as_a_file_does() -> None:
    good, odd = (
        sounds.wave("low"),
        [np.full(800, np.nan), np.zeros(0), np.zeros((20, 30)), np.array(["a"]), [[1], [2, 3]]],
    )
    arrays = [good, *odd, torch.from_numpy(good), good.tolist()]
    rows = [
        {"id": f"c{n}", "text": "one", "audio": {"array": each, "sampling_rate": 8000}} for n, each in enumerate(arrays)
    ]
    flat = [{"id": row["id"], "text": "one", "audio_array": row["audio"]["array"], "sample_rate": 8000} for row in rows]
    samples = [
        AudioSample(None, "one", metadata={"id": row["id"]}, audio_array=row["audio_array"], sample_rate=8000)
        for row in flat
    ]
    for given in (rows, flat, samples, pandas.DataFrame(flat)):
        clips = open_clips(given, Reading("text")).clips
        known = clips.contents()
        assert [content is None for content in known] == [False, *[True] * len(odd), False, False]
        assert known[0] == known[-1] == known[-2]
        np.testing.assert_array_equal(io.parse(clips.audio(0))[0][:, 0], good)
    for rate in (None, "fast", 0):
        with pytest.raises(BadClip):
            open_clips([{"audio": good, "sample_rate": rate}], Reading()).clips.audio(0)


def test_datasets_in_memory_and_on_disk(tmp_path: Path) -> None:
    names = datasets.ClassLabel(names=list(sounds.LABELS))
    rows = [
        {"audio": {"bytes": sounds.wav(label), "path": f"{label}.wav"}, "label": n}
        for n, label in enumerate(sounds.LABELS)
    ]
    whole = datasets.Dataset.from_list(rows).cast_column("audio", datasets.Audio()).cast_column("label", names)
    whole.save_to_disk(tmp_path / "saved/train")
    (tmp_path / "saved/dataset_dict.json").write_text('{"splits": ["train"]}')
    for given in (whole, whole.select([2, 1, 0]), tmp_path / "saved"):
        clips = open_clips(given, Reading("label")).clips.sorted()
        assert clips.ids == ["high.wav", "low.wav", "rising.wav"]
        assert clips.labels("label") == list(sounds.LABELS)
        assert clips.audio(2) == sounds.wav("rising")
    both = datasets.DatasetDict({"train": whole, "valid": whole.select([0])})
    found = open_clips(both, Reading("label"))
    assert found.splits == ["train"] * 3 + ["validation"]
    assert found.clips.ids == ["train/high.wav", "low.wav", "rising.wav", "valid/high.wav"]
    frames = {"train": pandas.DataFrame(rows), "test": rows[:1]}
    assert open_clips(frames, Reading("label")).splits == ["train"] * 3 + ["test"]


def test_what_a_model_is_measured_on(tmp_path: Path) -> None:
    sounds.table(tmp_path / "a", 20)
    frame = pandas.read_csv(tmp_path / "a/clips.csv").assign(audio=lambda rows: f"{tmp_path}/a/" + rows.audio)
    (tmp_path / "a/clips.csv").write_text((tmp_path / "a/clips.csv").read_text().replace("pitch", "label"))
    for source in (frame, tmp_path / "a"):  # neither has splits; of the folder, some are drawn to train on
        for limit, count in ((None, 20), (5, 5)):
            found, split = open_measured(source, Reading(), limit=limit, seed=0)
            assert (len(found.clips), split, found.has_splits) == (count, None, False)
    assert set(open_clips(tmp_path / "a", Reading()).splits) == set(SPLITS)
    for splits, measured in (
        (["train"] * 8 + ["dev"] * 5 + ["test"] * 7, "test"),
        (["train"] * 15 + ["dev"] * 5, "dev"),
    ):
        found, split = open_measured(frame.assign(split=splits), Reading(), limit=4, seed=0)
        assert (len(found.clips), split) == (4, {"dev": "validation"}.get(measured, measured))
        assert set(found.splits) == {split}
    found, split = open_measured("espeak", Reading("text"), limit=2, seed=0)
    assert (found.splits, split) == (["test"] * 2, "test")


def test_recordings_of_which_nothing_else_is_known(tmp_path: Path) -> None:
    rows = sounds.rows(tmp_path, 2)
    places = [tmp_path / row["audio"] for row in rows]
    one, both = open_clips(str(places[1]), Reading(audio="clip")), open_clips(places, Reading(audio="clip"))
    assert one.clips.ids == [str(places[1])]
    assert both.clips.ids == [str(place) for place in places]
    assert (one.clips.audio(0), both.clips.audio(1)) == (places[1].read_bytes(), places[1].read_bytes())
    with pytest.raises(UserError, match="gone"):
        open_clips(tmp_path / "gone.wav", Reading())
    with pytest.raises(UserError, match="pitch, age"):
        open_clips(places[0], READING)


def test_what_is_no_data(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("")
    for source, message in (
        (tmp_path / "a.csv", "empty"),
        (tmp_path / "b.csv", "no such file"),
        ("emodbb", "espeak"),
        (3, "int"),
        (None, "None"),
        ([], "no clips"),
        ([{"audio": "a.wav"}, 3], "list"),
        ({"audio": ["a.wav"]}, "dict"),
    ):
        with pytest.raises(UserError, match=message):
            open_clips(source, READING)
    for limit in ("5", 0, True, 2.5):
        with pytest.raises(UserError, match="limit"):
            open_clips(sounds.table(tmp_path / "t", 3), READING, limit=limit)
