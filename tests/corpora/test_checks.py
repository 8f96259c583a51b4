"""What is wrong with recordings, what splits share, and what a corpus consists of, each counted by hand."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from soundraft.audio import io
from soundraft.corpora import checks, recordings
from soundraft.corpora.base import CorpusError, Request, copy_in
from soundraft.corpora.checks import Finding, Values, validate
from soundraft.manifest import Clip
from soundraft.runtime import UserError
from tests.conftest import tone
from tests.corpora.test_archive import zipped

ALL: dict[Any, int | None] = {"train": None, "validation": None, "test": None}


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    root = tmp_path / "mine"
    for index in range(12):
        io.write_wav(root / f"clips/{index}.wav", tone(frequency_hz=200 + 10 * index), 8000)
    return root


def write(root: Path, *rows: str, name: str = "metadata.csv") -> Path:
    (root / name).write_text("\n".join(rows) + "\n", encoding="utf-8")
    return root


def found(findings: list[Finding]) -> list[tuple[str, str, str]]:
    return [(item.place, item.code, item.severity) for item in findings]


def good(*, skip: int = 0) -> list[str]:
    return [f"clips/{index}.wav,text {index},s{index}" for index in range(skip, 12)]


def test_every_kind_of_bad_line(mine: Path) -> None:
    assert validate(write(mine, "file_name,text,speaker", *good())) == []
    io.write_wav(mine / "clips/0.wav", tone(rate_hz=16000), 16000)
    shutil.copy(mine / "clips/1.wav", mine / "clips/copy.wav")
    (mine / "clips/empty.wav").write_bytes(b"")
    whole = (mine / "clips/2.wav").read_bytes()
    (mine / "clips/cut.wav").write_bytes(whole[: len(whole) // 2])
    io.write_wav(mine / "clips/unlisted.wav", tone(0.3), 8000)
    (mine / "clips/noise.wav").write_bytes(b"no audio")
    io.write_wav(mine / "clips/none.wav", tone()[:0], 8000)
    (mine.parent / "outside.wav").write_bytes(b"secret")
    (mine / "link.wav").symlink_to(mine.parent / "outside.wav")
    write(
        mine,
        "id,file_name,text,speaker,split,duration,mood",
        *(f"{index},clips/{index}.wav,text {index},s{index},train,0.5,good" for index in range(8)),
        "8,clips/copy.wav,other text,s8,train,,good",
        "9,clips/empty.wav,x,s9,train,,good",
        "10,clips/cut.wav,x,s9,train,,good",
        "11,clips/gone.wav,x,s9,train,,good",
        "3,clips/8.wav,x,s9,train,,good",
        "12,clips/9.wav,x,s9,sometimes,,good",
        "13,clips/10.wav,,s9,train,,good",
        "14,clips/11.wav,x,s1,test,,good",
        "15,../up.wav,x,s9,train,,good",
        "16,/abs.wav,x,s9,train,,good",
        "17,clips/3.wav,x,s9,train,0.56,good",
        "18,clips/4.wav,x,s9",
        "19,clips/noise.wav,x,s9,train,,good",
        "20,clips/none.wav,x,s9,train,,good",
        "21,clips,x,s9,train,,good",
        "22,link.wav,x,s9,train,,good",
        "23,,x,s9,train,,good",
        "24,clips/5.wav,x,s9,train,soon,good",
        "25,clips/5.wav,x,s9,train,-1,good",
    )
    findings = validate(mine)
    others = [("clips/unlisted.wav", "unlisted_file", "warning"), ("mine", "empty_split", "warning")]
    assert found(findings)[:2] == others
    assert {int(item.place.removeprefix("metadata.csv:")): item.code for item in findings[2:]} == {
        1: "extra_column", 2: "mixed_rates", 10: "duplicate_audio", 11: "no_samples", 12: "unreadable", 13: "no_file",
        14: "duplicate_id", 15: "unknown_split", 16: "empty_annotation", 17: "divided_speaker", 18: "path_leaves",
        19: "path_leaves", 20: "duration", 21: "column_count", 22: "unreadable", 23: "no_samples", 24: "unreadable",
        25: "path_leaves", 26: "no_audio", 27: "bad_value", 28: "bad_value",
    }  # fmt: skip
    messages = {item.place: item.message for item in findings}
    assert "mood" in messages["metadata.csv:1"]
    assert "16000 Hz" in messages["metadata.csv:2"]
    assert "metadata.csv:3" in messages["metadata.csv:10"]
    assert "s1" in messages["metadata.csv:17"]
    # what fetch rejects are the errors
    fetched = recordings.fetch(Request(path=mine, clips=ALL), mine)
    errors = {item.place for item in findings if item.severity == "error"}
    assert {bad.path for bad in copy_in(fetched, mine.parent / "out").rejected} == errors


def test_validate_takes_the_options_of_fetch(mine: Path) -> None:
    write(mine, "file_name,kind", *(f"clips/{index}.wav,{'dog' if index else 'cow'}" for index in range(12)))
    assert [item.code for item in validate(mine)] == ["missing_column"]
    findings = validate(mine, columns={"label": "kind"}, labels=["dog"])
    assert found(findings) == [("metadata.csv:2", "unknown_label", "error")]
    for columns in ({"label": "sort"}, {"audio": "sound"}):
        assert found(validate(mine, columns=columns)) == [("metadata.csv:1", "missing_column", "error")]
        with pytest.raises(CorpusError, match=r"^metadata.csv:1: "):
            recordings.fetch(Request(path=mine, columns=columns), mine)


def test_lists_alone_folders_without_one_and_archives(mine: Path, tmp_path: Path) -> None:
    rows = ['{"audio_filepath": "clips/0.wav", "text": "a", "offset": 1.5}', "{", '{"audio_filepath": "clips/1.wav"}']
    write(mine, *rows, '{"audio_filepath": "clips/2.wav", "text": "a", "source": 1}', name="m.jsonl")
    assert found(validate(mine / "m.jsonl")) == [
        ("m.jsonl", "empty_split", "warning"),
        ("m.jsonl", "empty_split", "warning"),
        ("m.jsonl:1", "extra_column", "warning"),
        ("m.jsonl:1", "offset", "error"),
        ("m.jsonl:2", "not_json", "error"),
        ("m.jsonl:3", "empty_annotation", "error"),
    ]
    assert [item.code for item in validate(tmp_path / "nowhere")] == ["no_file"]
    assert found(validate(mine / "clips")) == [("clips", "no_list", "error")]
    write(mine, "file_name,text,speaker", *good(skip=1), "clips/gone.wav,x,s1")
    packed = Path(shutil.make_archive(str(tmp_path / "mine"), "zip", tmp_path, "mine"))
    assert found(validate(packed)) == [
        ("clips/0.wav", "unlisted_file", "warning"),
        ("metadata.csv:13", "no_file", "error"),
    ]
    slip = zipped(tmp_path / "slip.zip", ("../a.wav", b"1"), ("b.wav", b"1"), ("/c.wav", b"1"))
    assert [item.code for item in validate(slip)] == ["path_leaves", "path_leaves"]
    (tmp_path / "bad.zip").write_bytes(b"nothing")
    assert found(validate(tmp_path / "bad.zip")) == [("bad.zip", "bad_archive", "error")]
    assert found(validate(zipped(tmp_path / "empty.zip"))) == [("empty.zip", "no_list", "error")]


def corpus(root: Path, *rows: dict[str, Any]) -> list[Clip]:
    """A clip and its file for each row; every file sounds different."""
    for number in range(len(rows)):
        io.write_wav(root / f"{number}.wav", tone(0.1, frequency_hz=300 + 50 * number), 8000)
    return [Clip(**({"id": str(number), "audio_path": f"{number}.wav"} | row)) for number, row in enumerate(rows)]


def leaks(clips: list[Clip], root: Path) -> dict[str, Values]:
    found, unreadable = checks.examine(clips, root, texts=False)
    assert not unreadable
    return {kind: checks.leaks(values) for kind, values in found.items()}


def test_what_is_in_two_splits(tmp_path: Path) -> None:
    clips = corpus(
        tmp_path,
        {"split": "test", "speaker": "ann", "metadata": {"source": 7}},
        {"split": "train", "speaker": "ann"},
        {"split": "train", "speaker": "bob", "metadata": {"source": 8}},
        {"split": "train", "speaker": "ann", "metadata": {"source": 7}},
        {"split": "validation", "speaker": "cid"},
    )
    assert leaks(clips, tmp_path) == {
        "speaker": {"ann": {"train": ["1", "3"], "test": ["0"]}},
        "source": {"7": {"train": ["3"], "test": ["0"]}},
        "audio": {},
    }
    with pytest.raises(UserError, match="1 of 1 clips have no split"):
        checks.examine(corpus(tmp_path, {}), tmp_path, texts=False)


def test_the_same_sound_in_two_files_whatever_their_format(tmp_path: Path) -> None:
    clips = corpus(tmp_path, *({"split": split} for split in ("train", "test", "validation", "train")))
    samples = np.rint(tone(0.1, frequency_hz=300) * 32768).astype(np.int16)
    soundfile.write(tmp_path / "1.wav", samples, 8000, format="FLAC")
    io.write_wav(tmp_path / "2.wav", tone(0.1, frequency_hz=300), 16000)  # the same samples, faster
    (tmp_path / "3.wav").write_bytes((tmp_path / "0.wav").read_bytes())
    assert list(leaks(clips, tmp_path)["audio"].values()) == [{"train": ["0", "3"], "test": ["1"]}]
    soundfile.write(tmp_path / "0.wav", samples[:16], 8000)  # not the mono file with its samples in a row
    soundfile.write(tmp_path / "1.wav", samples[:16].reshape(8, 2), 8000)
    assert leaks(clips, tmp_path)["audio"] == {}


def test_each_number_of_the_statistics(tmp_path: Path) -> None:
    io.write_wav(tmp_path / "d.wav", tone(0.5, 16000), 16000)
    known: list[dict[str, Any]] = [
        {"text": "one two two", "speaker": "ann", "duration": 1.0, "label": "dog"},
        {"text": "two three", "speaker": "bob", "duration": 3.0, "metadata": {"all_labels": ["cat", "dog"]}},
        {"speaker": "bob", "duration": 8.0, "label": "rain"},
    ]
    given = [
        Clip(id=str(n), audio_path="gone.wav", split="train", sample_rate=8000, **row) for n, row in enumerate(known)
    ]
    given.append(Clip(id="d", audio_path="d.wav", split="test", text="one", speaker="cid"))  # its header is read
    given.append(Clip(id="e", audio_path="gone.wav", split="test"))
    made, unreadable = checks.measure(given, tmp_path)
    assert [(item.id, item.reason) for item in unreadable] == [("e", "no such file")]
    assert list(made) == [*checks.splits_of(made), "all"] == ["train", "test", "all"]
    train = made["train"]
    assert (train.clips, train.vocabulary, train.words.tolist()) == (3, 3, [3, 2])
    assert train.durations.tolist() == [1.0, 3.0, 8.0]
    assert (train.speakers, train.rates) == ({"bob": 2, "ann": 1}, {8000: 3})
    assert train.labels == {"dog": 2, "cat": 1, "rain": 1}
    assert (made["test"].durations.tolist(), made["test"].rates) == ([0.5], {16000: 1})
    assert (made["all"].clips, made["all"].vocabulary, made["all"].words.sum()) == (4, 3, 6)
    with pytest.raises(UserError, match=r"gone\.wav: no such file"):
        checks.measure(given[-1:], tmp_path)
