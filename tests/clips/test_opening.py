"""Clips from tables, data frames, datasets, corpora and memory."""

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
from soundraft.clips.opening import Source, open_clips
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
    for source in (tmp_path / "a.csv", tmp_path / "a.tsv", "a.jsonl", "a.parquet", frame, rows):
        found = open_clips(source, READING)
        assert found.clips.ids == found.clips.paths == [row["audio"] for row in rows]
        assert found.clips.values("pitch") == [row["pitch"] for row in rows]
        assert [int(age) for age in found.clips.values("age")] == [row["age"] for row in rows]
        assert found.clips.audio(3) == (tmp_path / "03.wav").read_bytes()
        assert not found.has_splits
    few = open_clips("a.csv", READING, limit=2, seed=1).clips.ids
    assert len(few) == 2
    assert any(few != open_clips("a.csv", READING, limit=2, seed=seed).clips.ids for seed in range(2, 6))


def test_columns_by_other_names_and_audio_in_memory(tmp_path: Path) -> None:
    rows = sounds.rows(tmp_path, 3)
    data = [(tmp_path / row["audio"]).read_bytes() for row in rows]
    frame = pandas.DataFrame({"clip": data, "how_high": ["a", "b", "c"], "id": [7, 8, 9], "split": [0.0, 1.0, 2.0]})
    reading = Reading("pitch", "clip", {"pitch": "how_high"})
    found = open_clips(frame, reading)
    assert (found.clips.ids, found.clips.values("pitch")) == (["7", "8", "9"], ["a", "b", "c"])
    assert (found.clips.audio(2), found.splits) == (data[2], ["train", "validation", "test"])
    frame["split"] = pandas.Series(["train", pandas.NA, "0"], dtype="string")
    assert open_clips(frame, reading).splits == ["train", None, "train"]
    packed = pandas.DataFrame({"audio": [{"bytes": each, "path": f"x{n}"} for n, each in enumerate(data)]})
    packed.to_parquet(tmp_path / "p.parquet")
    found = open_clips(tmp_path / "p.parquet", Reading())
    assert (found.clips.ids, found.clips.audio(1)) == (["x0", "x1", "x2"], data[1])
    spelled = [{"audio_filepath": row["audio"], "sentence": "one two"} for row in rows]
    found = open_clips(sounds.write_csv(tmp_path / "a.csv", spelled), Reading("text"))
    assert found.clips.values("text") == ["one two"] * 3


def test_numbers_that_are_not_there_are_missing_and_counted(tmp_path: Path) -> None:
    rows = sounds.rows(tmp_path, 6)
    for place, value in enumerate(("nan", "NaN", "", "31")):
        rows[place]["age"] = value
    source = open_clips(sounds.write_csv(tmp_path / "a.csv", rows), READING)
    assert source.clips.values("age") == [None, None, None, "31", "24", "25"]
    assert "3 of 6" in source.notes[0]
    frame = pandas.DataFrame(rows).assign(audio=[f"{tmp_path}/{row['audio']}" for row in rows])
    frame["age"] = [np.nan, 20.5, 21, 22, 23, 24]
    assert open_clips(frame, READING).clips.values("age") == [None, 20.5, 21, 22, 23, 24]


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
    rows = sounds.rows(tmp_path, 6)
    change(rows)
    with pytest.raises(UserError, match=word):
        open_clips(sounds.write_csv(tmp_path / "a.csv", rows), READING)


def drawn(source: Source) -> dict[str | None, str]:
    return dict(zip(source.clips.contents(), source.grouped(0, HELD_OUT_SHARE), strict=True))


def test_the_same_recordings_get_the_same_splits_however_they_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """48 recordings of eight speakers: no speaker in two splits, and no form of listing them changes one clip."""
    place, reading = tmp_path / "clips", Reading("label")
    rows = [
        {**row, "label": row["pitch"], "speaker": f"speaker {number % 8}"}
        for number, row in enumerate(sounds.rows(place, 48))
    ]
    csv = sounds.write_csv(place / "clips.csv", rows)
    elsewhere = [{**row, "audio": f"clips/{row['audio']}", "id": f"other name {n}"} for n, row in enumerate(rows)]
    (tmp_path / "list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in elsewhere[::-1]))
    folder = shutil.copytree(place, tmp_path / "folder", ignore=shutil.ignore_patterns("*.csv"))
    table = sounds.write_csv(folder / "metadata.csv", [{**row, "file_name": row["audio"]} for row in rows])
    monkeypatch.chdir(tmp_path)
    frame = pandas.DataFrame(elsewhere).drop(columns="id").sample(frac=1, random_state=0)
    samples = [AudioSample(place / row["audio"], row["label"], task="classification", metadata=row) for row in rows]
    found = [open_clips(each, reading) for each in (csv, tmp_path / "list.jsonl", folder, table, frame, samples)]
    first = drawn(found[0])
    for opened in found:
        assert drawn(opened) == first
        splits = [first[content] for content in opened.clips.contents()]
        pairs = {(facts["speaker"], split) for facts, split in zip(opened.clips.facts, splits, strict=True)}
        assert (len(pairs), {split for _, split in pairs}) == (8, set(SPLITS))
    # without speakers by the audio itself, again whatever the files are called
    bare = [{name: value for name, value in row.items() if name != "speaker"} for row in elsewhere]
    nearby = [{**row, "audio": row["audio"].removeprefix("clips/")} for row in bare[::-1]]
    for row in rows:
        (tmp_path / "by label" / row["label"]).mkdir(parents=True, exist_ok=True)
        shutil.copy(place / row["audio"], tmp_path / "by label" / row["label"] / f"copy of {row['audio']}")
    one, two, three = (
        drawn(open_clips(each, reading))
        for each in (pandas.DataFrame(bare), sounds.write_csv(place / "bare.csv", nearby), tmp_path / "by label")
    )
    assert one == two == three
    assert set(one.values()) == set(SPLITS)


def test_an_array_that_is_no_audio_costs_its_clip_as_a_file_does() -> None:
    class Mine(AudioDataset):
        name, task = "mine", "asr"

        def load(self) -> list[AudioSample]:
            return samples

    good = sounds.wave("low")
    odd: list[Any] = [np.full(800, np.nan), np.zeros(0), np.zeros((20, 30)), np.array(["a"]), [[1], [2, 3]]]
    arrays = [good, *odd, torch.from_numpy(good), good.tolist()]
    rows = [{"id": f"c{n}", "text": "one", "split": "test", "audio_array": each} for n, each in enumerate(arrays)]
    flat = [{**row, "sample_rate": sounds.RATE_HZ} for row in rows]
    nested = [{**row, "audio": {"array": row.pop("audio_array"), "sampling_rate": sounds.RATE_HZ}} for row in rows]
    samples = [
        AudioSample(None, "one", metadata={"id": row["id"], "split": "test"}, audio_array=row["audio_array"],
                    sample_rate=sounds.RATE_HZ)
        for row in flat
    ]  # fmt: skip
    for given in (nested, flat, samples, Mine(), pandas.DataFrame(flat)):
        found = open_clips(given, Reading("text"))
        known = found.clips.contents()
        assert [content is None for content in known] == [False, *[True] * len(odd), False, False]
        assert known[0] == known[-1] == known[-2]
        assert (found.splits, found.clips.values("text")) == (["test"] * 8, ["one"] * 8)
        samples_read, rate_hz = io.parse(found.clips.audio(0))
        np.testing.assert_array_equal(samples_read[:, 0], good)
        assert rate_hz == sounds.RATE_HZ
    for rate in (None, "fast", 0):
        with pytest.raises(BadClip):
            open_clips([{"audio": good, "sample_rate": rate}], Reading()).clips.audio(0)


def test_datasets_in_memory_and_on_disk(tmp_path: Path) -> None:
    names = datasets.ClassLabel(names=list(sounds.LABELS))
    rows = [
        {"audio": {"bytes": sounds.wav(label), "path": f"{label}.wav"}, "label": number}
        for number, label in enumerate(sounds.LABELS)
    ]
    whole = datasets.Dataset.from_list(rows).cast_column("audio", datasets.Audio()).cast_column("label", names)
    whole.save_to_disk(tmp_path / "saved/train")
    (tmp_path / "saved/dataset_dict.json").write_text('{"splits": ["train"]}')
    for given in (whole, whole.select([2, 1, 0]), tmp_path / "saved", tmp_path / "saved/train"):
        clips = open_clips(given, Reading("label")).clips.sorted()
        assert clips.ids == ["high.wav", "low.wav", "rising.wav"]
        assert clips.labels("label") == list(sounds.LABELS)
        assert clips.audio(2) == sounds.wav("rising")
    found = open_clips(datasets.DatasetDict({"train": whole, "valid": whole.select([0])}), Reading("label"))
    assert found.splits == ["train"] * 3 + ["validation"]
    assert found.clips.ids == ["train/high.wav", "low.wav", "rising.wav", "valid/high.wav"]
    frames = {"train": pandas.DataFrame(rows), "test": rows[:1]}
    assert open_clips(frames, Reading("label")).splits == ["train"] * 3 + ["test"]


def test_a_folder_whose_splits_were_drawn_has_none_of_its_own(tmp_path: Path) -> None:
    rows = [{**row, "label": row["pitch"]} for row in sounds.rows(tmp_path, 20)]
    sounds.write_csv(tmp_path / "clips.csv", rows)
    found = open_clips(tmp_path, Reading("label"))
    assert (set(found.splits), found.has_splits) == (set(SPLITS), False)
    sounds.write_csv(tmp_path / "clips.csv", [{**row, "split": "test" if row["fold"] == 1 else ""} for row in rows])
    assert open_clips(tmp_path, Reading("label")).has_splits


def test_several_labels_of_a_clip_are_refused_or_said(tmp_path: Path) -> None:
    rows = [{"audio": sounds.wav("low"), "label": label} for label in (["dog"], ["dog", "cat"])]
    assert open_clips(rows[:1], Reading("label")).clips.labels("label") == ["dog"]
    with pytest.raises(UserError, match=r"\['dog', 'cat'\] is no single label"):
        open_clips(rows, Reading("label"))
    rows = [{"audio": sounds.wav("low"), "label": label} for label in ("dog", "cat", "dog, cat")]
    assert "'dog, cat' looks like several" in open_clips(rows, Reading("label")).notes[0]


def test_recordings_of_which_nothing_else_is_known(tmp_path: Path) -> None:
    places = [tmp_path / row["audio"] for row in sounds.rows(tmp_path, 2)]
    one, both = open_clips(str(places[1]), Reading(audio="clip")), open_clips(places, Reading(audio="clip"))
    assert (one.clips.ids, both.clips.ids) == ([str(places[1])], [str(place) for place in places])
    assert one.clips.audio(0) == both.clips.audio(1) == places[1].read_bytes()
    with pytest.raises(UserError, match="pitch, age"):
        open_clips(places[0], READING)


def test_what_is_no_data(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("")
    for source, message in (
        (tmp_path / "a.csv", "empty"),
        (tmp_path / "b.csv", "no such file"),
        (tmp_path / "gone.wav", "gone"),
        ("emodbb", "espeak"),
        (3, "int"),
        (None, "None"),
        ([], "no clips"),
        ([{"audio": "a.wav"}, 3], "int"),
        ([None], "NoneType"),
        ({"audio": ["a.wav"]}, "dict"),
    ):
        with pytest.raises(UserError, match=message):
            open_clips(source, READING)
    for limit in ("5", 0, True, 2.5):
        with pytest.raises(UserError, match="limit"):
            open_clips(sounds.table(tmp_path / "t", 3), READING, limit=limit)


def test_of_a_corpus_by_name_only_the_split_that_is_asked_for_is_brought_in() -> None:
    found = open_clips("espeak", Reading("text"), split="test", limit=2)
    assert found.splits == ["test"] * 2
