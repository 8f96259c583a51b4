"""The user's own recordings, in every form in which they may be listed."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from soundraft.audio import io
from soundraft.corpora import recordings
from soundraft.corpora.base import CorpusError, Fetched, Request, copy_in
from soundraft.manifest import SPLITS
from tests.conftest import tone

ALL: dict[Any, int | None] = {"train": None, "validation": None, "test": None}


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    root = tmp_path / "mine"
    for index in range(30):
        io.write_wav(root / f"clips/{index}.wav", tone(), 8000)
    return root


def fetch(path: Path, **asked: Any) -> Fetched:
    request = Request(path=path, **{"clips": ALL} | asked)
    family = recordings.fetch_jsonl if path.suffix in (".jsonl", ".json") else recordings.fetch
    return family(request, path)


def write(path: Path, *rows: str | dict[str, Any]) -> Path:
    lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def reasons(fetched: Fetched) -> dict[str, str]:
    """By line: which line is bad, and the first word of why."""
    return {bad.path.rpartition(":")[2]: bad.reason.split()[0].strip(":") for bad in fetched.rejected}


def test_metadata_csv_as_audiofolder_reads_it(mine: Path, tmp_path: Path) -> None:
    lines = ["file_name,transcription,speaker,accent"]
    lines += [f'clips/{index}.wav,"hello, number {index}",s{index % 10},welsh' for index in range(30)]
    (mine / "metadata.csv").write_text("\n".join(lines), encoding="utf-8-sig")
    fetched = copy_in(fetch(mine), tmp_path / "out")
    assert not fetched.rejected
    first = next(clip for clip in fetched.clips if clip.audio_path == "clips/0.wav")
    assert (first.text, first.speaker, first.metadata) == ("hello, number 0", "s0", {"accent": "welsh"})
    assert (tmp_path / "out/clips/0.wav").read_bytes() == (mine / "clips/0.wav").read_bytes()
    speakers = {split: {clip.speaker for clip in fetched.clips if clip.split == split} for split in SPLITS}
    assert sum(map(len, speakers.values())) == len(set.union(*speakers.values())) == 10


def test_a_limit_draws_from_all_labels(tmp_path: Path) -> None:
    for label in ("a", "b", "c"):
        for index in range(12):
            io.write_wav(tmp_path / f"train/{label}/{index}.wav", tone(0.1), 8000)
        io.write_wav(tmp_path / f"test/{label}/0.wav", tone(0.1), 8000)
    asked = {"train": 12, "validation": None, "test": None}
    clips = fetch(tmp_path, clips=asked).clips
    train = [clip for clip in clips if clip.split == "train"]
    assert (len(train), len(clips)) == (12, 15)
    assert {clip.label for clip in train} == {"a", "b", "c"}
    assert [clip.id for clip in train] == sorted(clip.id for clip in train)
    assert clips == fetch(tmp_path, clips=asked).clips
    assert clips != fetch(tmp_path, clips=asked, seed=1).clips


def test_common_spellings_a_mapping_and_what_is_left(mine: Path) -> None:
    write(
        mine / "clips.tsv",
        "path\tsentence\tclient_id\tkind\tclass\tsubset\trecording\taccent",
        *(f"clips/{index}.wav\thello {index}\t{index % 7}\tdog\tx\tdev\t{index // 2}\tnorth" for index in range(30)),
    )
    mapping = {"audio": "path", "label": "kind", "split": "subset", "source": "recording"}
    fetched = fetch(mine, columns=mapping)
    clip = next(clip for clip in fetched.clips if clip.id == "clips/9.wav")
    assert (clip.text, clip.speaker, clip.label, clip.split) == ("hello 9", "2", "dog", "validation")
    assert clip.metadata == {"class": "x", "accent": "north", "source": "4"}
    assert (clip.duration, clip.sample_rate) == (0.5, 8000)
    for wrong in ({"label": "kinds"}, {"dialect": "accent"}):
        with pytest.raises(CorpusError, match=r"clips.tsv:1: columns: .*(kinds|dialect)"):
            fetch(mine, columns=wrong)


def test_a_row_needs_a_text_or_a_label_and_one_of_the_labels_asked_for(mine: Path) -> None:
    rows = ("file_name,text,label", "clips/0.wav,,", "clips/1.wav,,dog", "clips/2.wav,hi,", "clips/3.wav,hi,cow")
    write(mine / "metadata.csv", *rows)
    fetched = fetch(mine)
    tasks = {clip.id.removeprefix("clips/"): clip.task for clip in fetched.clips}
    assert tasks == {"1.wav": "classification", "2.wav": "asr", "3.wav": "asr"}
    assert [bad.path for bad in fetched.rejected] == ["metadata.csv:2"]
    assert reasons(fetch(mine, labels=("dog", "cat"))) == {"2": "neither", "4": "no", "5": "label"}


def test_a_nemo_manifest(mine: Path) -> None:
    path = write(
        mine / "nemo.json",
        '{"audio_filepath": "clips/0.wav", "duration": 0.5, "text": "hi", "offset": 0, "lang": "en", "speaker": 7}',
        '{"audio_filepath": "clips/1.wav", "duration": 0.5, "command": "stop"}',
        '{"audio_filepath": "clips/2.wav", "duration": 0.1, "text": "hi", "offset": 0.2}',
        '{"audio_filepath": "clips/3.wav", "duration": 0.9, "text": "hi"}',
        '{"audio_filepath": "clips/4.wav", "text": ["hi"]}',
        '{"audio_filepath": "clips/0.wav", "text": "again"}',
        '{"audio_filepath": "clips/5.wav", "text": "hi", "metadata": {"mood": "good"}, "id": 5}',
        '{"audio_filepath": "clips/6.wav", "text": "hi", "metadata": "good"}',
        '{"audio_filepath": "\\u0000.wav", "text": "hi"}',
        '{"audio_filepath": "clips/7.wav", "text": "hi", "task": "sing"}',
        '{"audio_filepath": "clips/8.wav", "text": "hi", "task": "speaker", "id": 0}',
    )
    fetched = fetch(path)
    clips = {clip.id: clip for clip in fetched.clips}
    assert (clips["clips/0.wav"].speaker, clips["clips/0.wav"].metadata) == ("7", {"lang": "en"})
    assert (clips["clips/1.wav"].label, clips["clips/1.wav"].task) == ("stop", "classification")
    assert clips["5"].metadata == {"mood": "good"}
    assert clips["0"].task == "speaker"
    assert reasons(fetched) == {
        "3": "offset", "4": "duration", "5": "text", "6": "duplicate", "8": "metadata", "9": "path", "10": "task",
    }  # fmt: skip
    with pytest.raises(CorpusError, match="JSON lines"):
        recordings.fetch_jsonl(Request(path=mine), mine)


def test_which_file_is_the_list(mine: Path) -> None:
    def texts(path: Path = mine) -> list[str | None]:
        return [clip.text for clip in fetch(path).clips]

    write(mine / "README.txt", "Recorded in May.")
    (mine / "quarantine.jsonl").write_text("")  # lists what is not there
    with pytest.raises(CorpusError, match="no list of the recordings"):
        fetch(mine)
    write(mine / "words.txt", "audio|text", "clips/0.wav|one")
    with pytest.raises(CorpusError, match=r"README.txt, words.txt"):
        fetch(mine)
    assert texts(mine / "words.txt") == ["one"]
    (mine / "README.txt").unlink()
    assert texts() == ["one"]
    write(mine / "a.csv", "audio,text", "clips/0.wav,two")
    assert texts() == ["two"]
    write(mine / "b.csv", "audio,text", "clips/0.wav,three")
    with pytest.raises(CorpusError, match=r"a.csv, b.csv"):
        fetch(mine)
    write(mine / "metadata.jsonl", '{"file_name": "clips/0.wav", "text": "four"}')
    assert texts() == ["four"]
    write(mine / "metadata.csv", "path,words", "x,y")
    with pytest.raises(CorpusError, match="text or label"):
        fetch(mine)
    for wrong in ("clips/0.wav", "clips/no.csv"):
        with pytest.raises(CorpusError, match=wrong.rpartition("/")[2]):
            fetch(mine / wrong)


def test_a_folder_for_each_label(tmp_path: Path) -> None:
    root = tmp_path / "mine"
    for name in ("dog/a.wav", "dog/b.wav", "cat/a.wav", "stray.wav", "cat/deep/c.wav", "cow/a.wav"):
        io.write_wav(root / name, tone(), 8000)
    fetched = fetch(root, labels=("cat", "dog"))
    assert {clip.id: (clip.label, clip.task) for clip in fetched.clips} == {
        "cat/a.wav": ("cat", "classification"),
        "dog/a.wav": ("dog", "classification"),
        "dog/b.wav": ("dog", "classification"),
    }
    assert {bad.id for bad in fetched.rejected} == {"cow/a.wav", "stray.wav", "cat/deep/c.wav"}
    for split in ("train", "val", "test"):
        for label in ("yes", "no"):
            io.write_wav(tmp_path / f"split/{split}/{label}/1.wav", tone(), 8000)
    clips = fetch(tmp_path / "split").clips
    assert {clip.id: clip.split for clip in clips if clip.label == "no"} == {
        "train/no/1.wav": "train",
        "val/no/1.wav": "validation",
        "test/no/1.wav": "test",
    }


def test_copies_of_one_recording_are_in_one_split(tmp_path: Path) -> None:
    for index in range(40):
        io.write_wav(tmp_path / f"mine/{index}.wav", tone(2.5, 16000, frequency_hz=100 + index // 2), 16000)
    write(tmp_path / "mine/list.csv", "audio,text", *(f"{index}.wav,text {index}" for index in range(40)))
    chosen = {clip.id: clip.split for clip in fetch(tmp_path / "mine").clips}
    assert all(chosen[f"{2 * pair}.wav"] == chosen[f"{2 * pair + 1}.wav"] for pair in range(20))
    assert set(chosen.values()) == set(SPLITS)


def test_clips_without_texts_are_train_where_they_may_lack_them(tmp_path: Path) -> None:
    names = ("a.wav", "b/c.wav", "b/d.wav", "e/f.wav")
    for name in names:
        io.write_wav(tmp_path / name, tone(0.2), 8000)
    for name in ("README.txt", "a.txt"):
        write(tmp_path / name, "no list")
    plain = fetch(tmp_path, unlabelled=True).clips
    assert [(clip.id, clip.split, clip.task) for clip in plain] == [(name, "train", "asr") for name in names]
    lines = ("file_name,text,split", "a.wav,,", "b/c.wav,,test", "b/d.wav,one,test", "e/f.wav,,")
    write(tmp_path / "metadata.csv", *lines)
    listed = {clip.id: (clip.split, clip.text) for clip in fetch(tmp_path, unlabelled=True).clips}
    assert listed == {
        "a.wav": ("train", None), "b/c.wav": ("test", None), "b/d.wav": ("test", "one"), "e/f.wav": ("train", None),
    }  # fmt: skip
    assert [clip.id for clip in fetch(tmp_path).clips] == ["b/d.wav"]


def test_files_of_the_cache_are_linked_where_allowed_and_the_users_never(
    mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(mine / "metadata.csv", "file_name,text", *(f"clips/{index}.wav,x" for index in range(4)))
    own = fetch(mine)
    cached = replace(own, cached=True)

    def linked(out: str, fetched: Fetched, *, link: bool) -> set[bool]:
        assert copy_in(fetched, tmp_path / out, link=link).clips == fetched.clips
        return {(tmp_path / out / clip.audio_path).samefile(mine / clip.audio_path) for clip in fetched.clips}

    assert linked("1", cached, link=True) == {True}
    assert linked("2", cached, link=False) == linked("3", own, link=True) == {False}

    def refuse(*_: object) -> None:
        raise OSError("another device")

    monkeypatch.setattr("os.link", refuse)
    assert linked("4", cached, link=True) == {False}
    (mine / "clips/1.wav").unlink()
    got = copy_in(cached, tmp_path / "5", link=True)
    assert [(bad.id, bad.reason) for bad in got.rejected] == [("clips/1.wav", "no such file")]
    assert got.usable == 3
