from pathlib import Path

import pytest

from soundraft.audio import io
from soundraft.corpora import folder
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


def test_a_folder_without_a_list_says_what_is_needed(recordings: Path, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"neither manifest.jsonl .* nor metadata.csv"):
        copy_in(folder.fetch(request(recordings), tmp_path), tmp_path / "out")
    (recordings / "metadata.csv").write_text("path,words\nx,y\n")
    with pytest.raises(CorpusError, match="no column for text or label; found: path, words"):
        copy_in(folder.fetch(request(recordings), tmp_path), tmp_path / "out")
