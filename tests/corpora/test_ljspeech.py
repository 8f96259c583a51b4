"""Recordings in the form of LJSpeech."""

from pathlib import Path

import numpy as np
import pytest

from soundraft.audio import io
from soundraft.corpora import fetch
from soundraft.corpora.base import CorpusError, Request
from soundraft.manifest import SPLITS

REAL = Path(__file__).resolve().parents[3] / "shared/data/ljspeech"  # eight of its recordings, where they are


def lay_out(folder: Path, lines: list[str]) -> Path:
    for number, line in enumerate(lines):
        noise = 0.1 * np.random.default_rng(number).standard_normal(2000)
        io.write_wav(folder / "wavs" / f"{line.partition('|')[0]}.wav", noise.astype(np.float32), 22050)
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_texts_are_the_normalised_ones_and_splits_are_drawn(tmp_path: Path) -> None:
    lines = [f"LJ{n:03d}|Page {n}, he said.|Page number {n}, he said." for n in range(40)]
    found = fetch("ljspeech", Request(path=lay_out(tmp_path, lines)), tmp_path)
    assert {clip.split for clip in found.clips} == set(SPLITS)
    assert found.drawn
    assert found.clips[7].text == "Page number 7, he said."
    assert found.clips[7].audio_path == "wavs/LJ007.wav"
    assert found.clips[7].sample_rate == 22050
    again = fetch("ljspeech", Request(path=tmp_path), tmp_path)
    assert again.clips == found.clips


def test_bad_lines_and_lost_files_are_named(tmp_path: Path) -> None:
    lay_out(tmp_path, ["a|One.|One."])
    with (tmp_path / "metadata.csv").open("a") as stream:
        stream.write("b|Two.|Two.\na|Again.|Again.\nno text\n")
    found = fetch("ljspeech", Request(path=tmp_path), tmp_path)
    assert [clip.id for clip in found.clips] == ["a"]
    assert {bad.reason for bad in found.rejected} == {
        "no such file", "duplicate id: an earlier line has it", "a line is id|text|normalised text"
    }  # fmt: skip
    (tmp_path / "metadata.csv").write_text("nothing here\n")
    with pytest.raises(CorpusError, match="no line is"):
        fetch("ljspeech", Request(path=tmp_path), tmp_path)
    (tmp_path / "metadata.csv").unlink()
    with pytest.raises(CorpusError, match=r"has no metadata.csv"):
        fetch("ljspeech", Request(path=tmp_path), tmp_path)


@pytest.mark.skipif(not REAL.is_dir(), reason="no recordings of LJSpeech are here")
def test_real_recordings() -> None:
    found = fetch("ljspeech", Request(path=REAL), REAL)
    assert len(found.clips) == 8
    assert not found.rejected
    assert all(1 < (clip.duration or 0) < 12 for clip in found.clips)
