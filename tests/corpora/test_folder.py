import json
from dataclasses import replace
from pathlib import Path

import pytest

from soundraft.audio import io
from soundraft.corpora import recordings as folder
from soundraft.corpora.base import CorpusError, Request, copy_in
from soundraft.manifest import SPLITS
from tests.conftest import tone

ALL = {"train": None, "validation": None, "test": None}


def request(path: Path, **clips: int | None) -> Request:
    return Request(path=path, clips={**ALL, **clips})


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    root = tmp_path / "mine"
    for index in range(30):
        io.write_wav(root / f"clips/{index}.wav", tone(), 8000)
    return root


def test_metadata_csv_as_audiofolder_reads_it(recordings: Path, tmp_path: Path) -> None:
    lines = ["file_name,transcription,speaker,accent"]
    lines += [f'clips/{index}.wav,"hello, number {index}",s{index % 10},welsh' for index in range(30)]
    (recordings / "metadata.csv").write_text("\n".join(lines), encoding="utf-8-sig")
    fetched = copy_in(folder.fetch(request(recordings), tmp_path), tmp_path / "out")
    assert not fetched.rejected
    first = next(clip for clip in fetched.clips if clip.audio_path == "clips/0.wav")
    assert (first.text, first.speaker, first.metadata) == ("hello, number 0", "s0", {"accent": "welsh"})
    assert (tmp_path / "out/clips/0.wav").read_bytes() == (recordings / "clips/0.wav").read_bytes()
    speakers = {split: {clip.speaker for clip in fetched.clips if clip.split == split} for split in SPLITS}
    assert not speakers["train"] & speakers["test"]
    assert not speakers["train"] & speakers["validation"]


def test_bad_rows_are_named_and_good_ones_go_through(recordings: Path, tmp_path: Path) -> None:
    rows = [
        '{"id": "ok", "audio_path": "clips/0.wav", "text": "a", "split": "test"}',
        '{"id": "gone", "audio_path": "clips/gone.wav", "text": "a", "split": "test"}',
        '{"id": "up", "audio_path": "../x.wav", "text": "a", "split": "test"}',
        '{"id": "ok", "audio_path": "clips/1.wav", "text": "a", "split": "test"}',
        '{"id": "link", "audio_path": "link.wav", "text": "a", "split": "test"}',
    ]
    (recordings / "manifest.jsonl").write_text("\n".join(rows))
    (tmp_path / "outside.wav").write_bytes(b"secret")
    (recordings / "link.wav").symlink_to(tmp_path / "outside.wav")
    fetched = copy_in(folder.fetch(request(recordings), tmp_path), tmp_path / "out")
    assert [clip.id for clip in fetched.clips] == ["ok"]
    reasons = {bad.id: bad.reason for bad in fetched.rejected}
    assert reasons["gone"] == "no such file"
    assert "leaves its folder" in reasons["up"]
    assert "leaves its folder" in reasons["link"]
    assert "duplicate id" in reasons["ok"]


def test_the_number_of_clips_can_be_limited(recordings: Path, tmp_path: Path) -> None:
    lines = ["file_name,text,split"] + [f"clips/{index}.wav,hi,{SPLITS[index % 3]}" for index in range(30)]
    (recordings / "metadata.csv").write_text("\n".join(lines))
    clips = folder.fetch(request(recordings, train=4), tmp_path / "out").clips
    assert [sum(clip.split == split for clip in clips) for split in SPLITS] == [4, 10, 10]


def test_a_limit_draws_from_all_labels(tmp_path: Path) -> None:
    for label in ("a", "b", "c"):
        for index in range(12):
            io.write_wav(tmp_path / f"train/{label}/{index}.wav", tone(0.1), 8000)
    asked = replace(request(tmp_path), clips={"train": 12, "validation": None, "test": None})
    clips = folder.fetch(asked, tmp_path / "out").clips
    assert len(clips) == 12
    assert {clip.label for clip in clips} == {"a", "b", "c"}
    assert [clip.id for clip in clips] == sorted(clip.id for clip in clips)
    assert clips == folder.fetch(asked, tmp_path / "out").clips
    assert clips != folder.fetch(replace(asked, seed=1), tmp_path / "out").clips


def test_a_folder_without_a_list_says_what_is_needed(recordings: Path, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"neither manifest.jsonl .* nor metadata.csv"):
        copy_in(folder.fetch(request(recordings), tmp_path), tmp_path / "out")
    (recordings / "metadata.csv").write_text("path,words\nx,y\n")
    with pytest.raises(CorpusError, match="no column for text or label; found: path, words"):
        copy_in(folder.fetch(request(recordings), tmp_path), tmp_path / "out")


def write(path: Path, *rows: str) -> None:
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")


def test_what_was_set_aside_is_no_list(recordings: Path, tmp_path: Path) -> None:
    (recordings / "quarantine.jsonl").write_text("")
    with pytest.raises(CorpusError, match="no list of the recordings is there"):
        folder.fetch(request(recordings), tmp_path)
    (recordings / "mine.csv").write_text("file_name,text\nclips/0.wav,a\n")
    assert [clip.audio_path for clip in folder.fetch(request(recordings), tmp_path).clips] == ["clips/0.wav"]


def test_common_spellings_a_mapping_and_what_is_left(recordings: Path, tmp_path: Path) -> None:
    write(
        recordings / "clips.tsv",
        "path\tsentence\tclient_id\tkind\tclass\tsubset\trecording\taccent",
        *(f"clips/{index}.wav\thello {index}\t{index % 7}\tdog\tx\tdev\t{index // 2}\tnorth" for index in range(30)),
    )
    mapping = {"audio": "path", "label": "kind", "split": "subset", "source": "recording"}
    fetched = folder.fetch(replace(request(recordings), columns=mapping), tmp_path)
    assert fetched.source == {"form": "clips.tsv, table with tab between columns"}
    clip = next(clip for clip in fetched.clips if clip.id == "clips/9.wav")
    assert (clip.text, clip.speaker, clip.label, clip.split) == ("hello 9", "2", "dog", "validation")
    assert clip.metadata == {"class": "x", "accent": "north", "source": "4"}
    assert (clip.duration, clip.sample_rate) == (0.5, 8000)
    for wrong, message in (
        ({"label": "kinds"}, r"clips.tsv:1: columns: no column kinds; found: path, sentence, .*tab between columns"),
        ({"dialect": "accent"}, "columns: dialect is none of ours; ours are audio_path, .*text"),
    ):
        with pytest.raises(CorpusError, match=message):
            folder.fetch(replace(request(recordings), columns=wrong), tmp_path)


def test_every_row_that_cannot_be_used_is_named(recordings: Path, tmp_path: Path) -> None:
    for name, data in (("empty", b""), ("noise", b"no audio")):
        (recordings / f"clips/{name}.wav").write_bytes(data)
    io.write_wav(recordings / "clips/none.wav", tone()[:0], 8000)
    write(
        recordings / "metadata.csv",
        "file_name,text,label,split,duration",
        "clips/0.wav,hi,dog,train,0.52",
        "clips/1.wav,hi,cow,train,0.5",
        "clips/2.wav,hi,,train,0.5",
        "clips/3.wav,hi,dog,eval,0.5",
        "clips/4.wav,hi,dog,dev,0.56",
        "clips/5.wav,hi,dog,VALID,soon",
        "clips/6.wav,hi,dog",
        "clips/empty.wav,hi,dog,test,",
        "clips/noise.wav,hi,dog,test,",
        "clips/none.wav,hi,dog,test,",
        "/clips/7.wav,hi,dog,test,",
        ",hi,dog,test,",
        "clips/8.wav,hi,dog,test,-1",
        "clips,hi,dog,test,",
    )
    fetched = folder.fetch(replace(request(recordings), labels=("dog", "cat")), tmp_path)
    assert [clip.id for clip in fetched.clips] == ["clips/0.wav"]
    assert {bad.path.removeprefix("metadata.csv:"): bad.reason for bad in fetched.rejected} == {
        "3": "label 'cow' is none of: dog, cat",
        "4": "no label, which is none of: dog, cat",
        "5": "split 'eval' is none of: train, training, validation, valid, val, dev, development, test, testing",
        "6": "duration 0.56 s is stated, the audio has 0.500 s",
        "7": "duration must be a number from 0, not 'soon'",
        "8": "3 columns, the first line has 5 (table with comma between columns)",
        "9": "empty file",
        "10": "not readable as audio: Format not recognised.",
        "11": "no samples",
        "12": "path leaves its folder: '/clips/7.wav'",
        "13": "names no audio",
        "14": "duration must be a number from 0, not '-1'",
        "15": "a folder, not a file",
    }


def test_without_text_and_label_a_row_is_of_no_use(recordings: Path, tmp_path: Path) -> None:
    write(recordings / "metadata.csv", "file_name,text,label", "clips/0.wav,,", "clips/1.wav,,dog", "clips/2.wav,hi,")
    fetched = folder.fetch(request(recordings), tmp_path)
    assert {clip.id: clip.task for clip in fetched.clips} == {"clips/1.wav": "classification", "clips/2.wav": "asr"}
    assert [(bad.path, bad.reason) for bad in fetched.rejected] == [("metadata.csv:2", "neither text nor label")]


def test_a_nemo_manifest(recordings: Path, tmp_path: Path) -> None:
    write(
        recordings / "nemo.json",
        '{"audio_filepath": "clips/0.wav", "duration": 0.5, "text": "hi", "offset": 0, "lang": "en", "speaker": 7}',
        '{"audio_filepath": "clips/1.wav", "duration": 0.5, "command": "stop"}',
        '{"audio_filepath": "clips/2.wav", "duration": 0.1, "text": "hi", "offset": 0.2}',
        '{"audio_filepath": "clips/3.wav", "duration": 0.9, "text": "hi"}',
        '{"audio_filepath": "clips/4.wav", "text": ["hi"]}',
        '{"audio_filepath": "clips/0.wav", "text": "again"}',
        '{"audio_filepath": "clips/5.wav", "text": "hi", "metadata": {"mood": "good"}, "id": 5}',
        '{"audio_filepath": "clips/6.wav", "text": "hi", "metadata": "good"}',
        '{"audio_filepath": "\\u0000.wav", "text": "hi"}',
    )
    fetched = folder.fetch_jsonl(request(recordings / "nemo.json"), tmp_path)
    clips = {clip.id: clip for clip in fetched.clips}
    assert (clips["clips/0.wav"].speaker, clips["clips/0.wav"].metadata) == ("7", {"lang": "en"})
    assert (clips["clips/1.wav"].label, clips["clips/1.wav"].task) == ("stop", "classification")
    assert clips["5"].metadata == {"mood": "good"}
    assert {bad.path: bad.reason.split(" (")[0] for bad in fetched.rejected} == {
        "nemo.json:3": "offset 0.2: cut the parts of a recording into files of their own first",
        "nemo.json:4": "duration 0.9 s is stated, the audio has 0.500 s",
        "nemo.json:5": "text: Input should be a valid string, not ['hi']",
        "nemo.json:6": "duplicate id 'clips/0.wav': nemo.json:1 has it",
        "nemo.json:8": "metadata must be an object, not 'good'",
        "nemo.json:9": "path holds a zero byte",
    }
    with pytest.raises(CorpusError, match=r"jsonl takes a file of JSON lines; for .* take folder"):
        folder.fetch_jsonl(request(recordings), tmp_path)


def test_an_id_may_be_zero(recordings: Path, tmp_path: Path) -> None:
    rows = [{"audio_path": f"clips/{n}.wav", "text": "x", "id": given} for n, given in enumerate((0, 1, "", None))]
    write(recordings / "x.jsonl", *map(json.dumps, rows))
    clips = folder.fetch_jsonl(request(recordings / "x.jsonl"), tmp_path).clips
    assert {clip.id for clip in clips} == {"0", "1", "clips/2.wav", "clips/3.wav"}


def test_a_task_is_one_of_ours(recordings: Path, tmp_path: Path) -> None:
    rows = [{"audio_path": f"clips/{n}.wav", "text": "x", "task": task} for n, task in enumerate(("speaker", "sing"))]
    write(recordings / "x.jsonl", *map(json.dumps, rows))
    fetched = folder.fetch_jsonl(request(recordings / "x.jsonl"), tmp_path)
    assert [clip.task for clip in fetched.clips] == ["speaker"]
    assert [bad.reason for bad in fetched.rejected] == ["task 'sing' is none of: asr, classification, speaker"]


def test_the_lines_of_to_rlvr_format(recordings: Path, tmp_path: Path) -> None:
    known = {"id": "n1", "label": "dog", "speaker": "s1", "split": "validation", "mood": "good"}
    row = {"audio_path": "clips/0.wav", "text": "dog", "duration": 0.5, "task": "classification", "metadata": known}
    write(recordings / "x.jsonl", json.dumps(row), json.dumps(row | {"audio_path": str(recordings / "clips/1.wav")}))
    fetched = folder.fetch_jsonl(request(recordings / "x.jsonl"), tmp_path)
    (clip,) = fetched.clips
    assert (clip.id, clip.label, clip.speaker, clip.split, clip.task) == (
        "n1",
        "dog",
        "s1",
        "validation",
        "classification",
    )
    assert clip.metadata == {"mood": "good"}
    assert [(bad.path, bad.reason.split(":")[0]) for bad in fetched.rejected] == [
        ("x.jsonl:2", "path leaves its folder")
    ]


def test_which_file_is_the_list(recordings: Path, tmp_path: Path) -> None:
    write(recordings / "README.txt", "Recorded in May.")
    with pytest.raises(CorpusError, match="no list of the recordings"):
        folder.fetch(request(recordings), tmp_path)
    write(recordings / "words.txt", "audio|text", "clips/0.wav|one")
    with pytest.raises(CorpusError, match=r"several lists: README.txt, words.txt; give the path of one"):
        folder.fetch(request(recordings), tmp_path)
    assert [clip.text for clip in folder.fetch(request(recordings / "words.txt"), tmp_path).clips] == ["one"]
    (recordings / "README.txt").unlink()
    assert [clip.text for clip in folder.fetch(request(recordings), tmp_path).clips] == ["one"]
    write(recordings / "a.csv", "audio,text", "clips/0.wav,two")
    assert [clip.text for clip in folder.fetch(request(recordings), tmp_path).clips] == ["two"]
    write(recordings / "b.csv", "audio,text", "clips/0.wav,three")
    with pytest.raises(CorpusError, match=r"several lists: a.csv, b.csv; give the path of one"):
        folder.fetch(request(recordings), tmp_path)
    write(recordings / "metadata.jsonl", '{"file_name": "clips/0.wav", "text": "four"}')
    assert [clip.text for clip in folder.fetch(request(recordings), tmp_path).clips] == ["four"]
    with pytest.raises(CorpusError, match=r"0.wav: no list: a list ends in .csv"):
        folder.fetch(request(recordings / "clips/0.wav"), tmp_path)
    with pytest.raises(CorpusError, match="no such file or folder"):
        folder.fetch(request(recordings / "no.csv"), tmp_path)


def test_a_folder_for_each_label(tmp_path: Path) -> None:
    root = tmp_path / "mine"
    for name in ("dog/a.wav", "dog/b.wav", "cat/a.wav", "stray.wav", "cat/deep/c.wav", "cow/a.wav"):
        io.write_wav(root / name, tone(), 8000)
    fetched = folder.fetch(replace(request(root), labels=("cat", "dog")), tmp_path)
    assert {clip.id: (clip.label, clip.task) for clip in fetched.clips} == {
        "cat/a.wav": ("cat", "classification"),
        "dog/a.wav": ("dog", "classification"),
        "dog/b.wav": ("dog", "classification"),
    }
    assert {bad.id: bad.reason for bad in fetched.rejected} == {
        "cow/a.wav": "label 'cow' is none of: cat, dog",
        "stray.wav": "not in a folder LABEL: it has no label",
        "cat/deep/c.wav": "not in a folder LABEL: it has no label",
    }
    for split in ("train", "val", "test"):
        for label in ("yes", "no"):
            io.write_wav(tmp_path / f"split/{split}/{label}/1.wav", tone(), 8000)
    clips = folder.fetch(request(tmp_path / "split"), tmp_path).clips
    assert {clip.id: (clip.label, clip.split) for clip in clips if clip.label == "no"} == {
        "train/no/1.wav": ("no", "train"),
        "val/no/1.wav": ("no", "validation"),
        "test/no/1.wav": ("no", "test"),
    }


def test_copies_of_one_recording_are_in_one_split(tmp_path: Path) -> None:
    for index in range(40):
        io.write_wav(tmp_path / f"mine/{index}.wav", tone(2.5, 16000, frequency_hz=100 + index // 2), 16000)
    rows = (f"{index}.wav,text {index}" for index in range(40))
    write(tmp_path / "mine/list.csv", "audio,text", *rows)
    chosen = {clip.id: clip.split for clip in folder.fetch(request(tmp_path / "mine"), tmp_path).clips}
    assert all(chosen[f"{2 * pair}.wav"] == chosen[f"{2 * pair + 1}.wav"] for pair in range(20))
    assert set(chosen.values()) == set(SPLITS)


def test_clips_without_texts_are_train_where_they_may_lack_them(tmp_path: Path) -> None:
    for name in ("a.wav", "b/c.wav", "b/d.wav", "e/f.wav"):
        io.write_wav(tmp_path / name, tone(0.2), 8000)
    for name in ("README.txt", "a.txt"):
        (tmp_path / name).write_text("no list\n")
    asked = replace(request(tmp_path), unlabelled=True)
    plain = folder.fetch(asked, tmp_path).clips
    assert [(clip.id, clip.split, clip.task) for clip in plain] == [
        (name, "train", "asr") for name in ("a.wav", "b/c.wav", "b/d.wav", "e/f.wav")
    ]
    write(
        tmp_path / "metadata.csv", "file_name,text,split", "a.wav,,", "b/c.wav,,test", "b/d.wav,one,test", "e/f.wav,,"
    )
    listed = {clip.id: (clip.split, clip.text) for clip in folder.fetch(asked, tmp_path).clips}
    assert listed == {
        "a.wav": ("train", None), "b/c.wav": ("test", None), "b/d.wav": ("test", "one"), "e/f.wav": ("train", None),
    }  # fmt: skip
    strict = folder.fetch(request(tmp_path), tmp_path)
    assert [clip.id for clip in strict.clips] == ["b/d.wav"]
    assert {item.reason for item in strict.rejected} == {"neither text nor label"}
