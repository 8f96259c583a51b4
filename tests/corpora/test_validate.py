"""Everything wrong with somebody's recordings, each with its line."""

import shutil
from pathlib import Path

import pytest

from soundraft.audio import io
from soundraft.corpora import recordings as folder
from soundraft.corpora.base import CorpusError, Request, copy_in
from soundraft.corpora.checks import Finding, validate
from tests.conftest import tone
from tests.corpora.test_archive import zipped


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    root = tmp_path / "mine"
    for index in range(12):
        io.write_wav(root / f"clips/{index}.wav", tone(frequency_hz=200 + 10 * index), 8000)
    return root


def lines(root: Path, *rows: str, name: str = "metadata.csv") -> Path:
    (root / name).write_text("\n".join(rows) + "\n", encoding="utf-8")
    return root


def told(findings: list[Finding]) -> list[tuple[str, str, str]]:
    return [(item.place, item.code, item.severity) for item in findings]


def good(*, skip: int = 0) -> list[str]:
    return [f"clips/{index}.wav,text {index},s{index}" for index in range(skip, 12)]


def test_nothing_is_wrong_with_good_recordings(recordings: Path) -> None:
    assert validate(lines(recordings, "file_name,text,speaker", *good())) == []


def test_every_kind_of_bad_line(recordings: Path) -> None:
    io.write_wav(recordings / "clips/0.wav", tone(rate_hz=16000), 16000)
    shutil.copy(recordings / "clips/1.wav", recordings / "clips/copy.wav")
    (recordings / "clips/empty.wav").write_bytes(b"")
    whole = (recordings / "clips/2.wav").read_bytes()
    (recordings / "clips/cut.wav").write_bytes(whole[: len(whole) // 2])
    io.write_wav(recordings / "clips/unlisted.wav", tone(0.3), 8000)
    header = "id,file_name,text,speaker,split,duration,mood"
    rows = [f"{index},clips/{index}.wav,text {index},s{index},train,0.5,good" for index in range(8)]
    lines(
        recordings,
        header,
        *rows,
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
    )
    assert told(validate(recordings)) == [
        ("clips/unlisted.wav", "unlisted_file", "warning"),
        ("mine", "empty_split", "warning"),
        ("metadata.csv:1", "extra_column", "warning"),
        ("metadata.csv:2", "mixed_rates", "warning"),
        ("metadata.csv:10", "duplicate_audio", "warning"),
        ("metadata.csv:11", "no_samples", "error"),
        ("metadata.csv:12", "unreadable", "error"),
        ("metadata.csv:13", "no_file", "error"),
        ("metadata.csv:14", "duplicate_id", "error"),
        ("metadata.csv:15", "unknown_split", "error"),
        ("metadata.csv:16", "empty_annotation", "error"),
        ("metadata.csv:17", "divided_speaker", "warning"),
        ("metadata.csv:18", "path_leaves", "error"),
        ("metadata.csv:19", "path_leaves", "error"),
        ("metadata.csv:20", "duration", "error"),
        ("metadata.csv:21", "column_count", "error"),
    ]
    messages = {item.place: item.message for item in validate(recordings)}
    assert messages["metadata.csv:1"] == "kept as metadata: mood"
    assert messages["metadata.csv:2"] == "16000 Hz; most clips have 8000 Hz"
    assert messages["metadata.csv:10"] == "the audio of metadata.csv:3, with another text or label"
    assert messages["metadata.csv:17"] == "speaker s1 is in split test; metadata.csv:3 has it in train"
    # what fetch sets aside are the errors; a file that is cut short is found when s1 decodes it
    clips = {"train": None, "validation": None, "test": None}
    fetched = folder.fetch(Request(path=recordings, clips=clips), recordings)  # type: ignore[arg-type]
    errors = {item.place for item in validate(recordings) if item.severity == "error"}
    assert {bad.path for bad in copy_in(fetched, recordings.parent / "out").rejected} == errors - {"metadata.csv:12"}


@pytest.mark.parametrize(
    ("data", "place", "code"),
    [
        (b"file_name,text\nclips/0.wav,K\xe4se\n", "metadata.csv:2", "encoding"),
        ("file_name,text\nclips/0.wav,x\n".encode("utf-16"), "metadata.csv:1", "encoding"),
        (b"file_name,words\nclips/0.wav,x\n", "metadata.csv:1", "missing_column"),
        (b"sound,text\nclips/0.wav,x\n", "metadata.csv:1", "missing_column"),
        (b'file_name,text\nclips/0.wav,"x\n', "metadata.csv:2", "quotes"),
        (b"file_name,text,text\n", "metadata.csv:1", "duplicate_column"),
        (b"", "metadata.csv", "empty_list"),
    ],
)
def test_lists_that_cannot_be_used(data: bytes, place: str, code: str, recordings: Path) -> None:
    (recordings / "metadata.csv").write_bytes(data)
    assert told(validate(recordings)) == [(place, code, "error")]
    with pytest.raises(CorpusError, match=f"^{place}: "):
        folder.fetch(Request(path=recordings), recordings)


def test_options_are_those_of_fetch(recordings: Path) -> None:
    lines(recordings, "file_name,kind", *(f"clips/{index}.wav,{'dog' if index else 'cow'}" for index in range(12)))
    assert [item.code for item in validate(recordings)] == ["missing_column"]
    findings = validate(recordings, columns={"label": "kind"}, labels=["dog"])
    assert told(findings) == [("metadata.csv:2", "unknown_label", "error")]
    assert told(validate(recordings, columns={"label": "sort"})) == [("metadata.csv:1", "missing_column", "error")]


def test_a_manifest_alone_and_nothing_at_all(recordings: Path, tmp_path: Path) -> None:
    rows = ['{"audio_filepath": "clips/0.wav", "text": "a", "offset": 1.5}', "{", '{"audio_filepath": "clips/1.wav"}']
    lines(recordings, *rows, '{"audio_filepath": "clips/2.wav", "text": "a", "source": 1}', name="m.jsonl")
    assert told(validate(recordings / "m.jsonl")) == [
        ("m.jsonl", "empty_split", "warning"),
        ("m.jsonl", "empty_split", "warning"),
        ("m.jsonl:1", "extra_column", "warning"),
        ("m.jsonl:1", "offset", "error"),
        ("m.jsonl:2", "not_json", "error"),
        ("m.jsonl:3", "empty_annotation", "error"),
    ]
    assert [item.code for item in validate(tmp_path / "nowhere")] == ["no_file"]
    assert told(validate(recordings / "clips")) == [("clips", "no_list", "error")]


def test_archives(recordings: Path, tmp_path: Path) -> None:
    lines(recordings, "file_name,text,speaker", *good(skip=1), "clips/gone.wav,x,s1")
    packed = Path(shutil.make_archive(str(tmp_path / "mine"), "zip", tmp_path, "mine"))
    assert told(validate(packed)) == [
        ("clips/0.wav", "unlisted_file", "warning"),
        ("metadata.csv:13", "no_file", "error"),
    ]
    slip = zipped(tmp_path / "slip.zip", ("../a.wav", b"1"), ("b.wav", b"1"), ("/c.wav", b"1"))
    assert told(validate(slip)) == [
        ("slip.zip:'../a.wav'", "path_leaves", "error"),
        ("slip.zip:'/c.wav'", "path_leaves", "error"),
    ]
    (tmp_path / "bad.zip").write_bytes(b"nothing")
    assert told(validate(tmp_path / "bad.zip")) == [("bad.zip", "bad_archive", "error")]
    assert told(validate(zipped(tmp_path / "empty.zip"))) == [("empty.zip", "no_list", "error")]
