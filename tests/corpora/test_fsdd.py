from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from soundraft import files
from soundraft.audio import io
from soundraft.corpora import fsdd
from soundraft.corpora.base import CorpusError, Request, copy_in
from soundraft.corpora.espeak import DIGITS
from tests.conftest import tone

RATE_HZ = 8000


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Ten digits, two speakers, takes 5–12: each recording is a tone whose pitch says digit, speaker and take."""
    folder = tmp_path / "recordings"
    for digit in range(10):
        for number, speaker in enumerate(("ann", "bob_x")):
            for take in range(5, 13):
                frequency_hz = 200 + 100 * digit + 30 * number + 2 * take
                samples = tone(0.1 + 0.01 * digit, RATE_HZ, 0.3, frequency_hz)
                io.write_wav(folder / f"{digit}_{speaker}_{take}.wav", samples, RATE_HZ)
    return folder


def request(folder: Path | None, **options: int) -> Request:
    sizes = {"train": 30, "validation": 8, "test": 8}
    return Request(path=folder, clips=sizes, options={"test_takes": 2, "validation_takes": 2} | options)


def test_strings_are_the_recordings_one_after_the_other(recordings: Path, tmp_path: Path) -> None:
    fetched = fsdd.fetch(request(recordings), tmp_path / "out")
    assert len(fetched.clips) == 46
    takes: dict[str, set[int]] = {"train": set(), "validation": set(), "test": set()}
    for clip in fetched.clips:
        words = (clip.text or "").split()
        assert 3 <= len(words) <= 6
        parts = [
            io.read(recordings / f"{DIGITS.index(word)}_{clip.speaker}_{take}.wav")[0]
            for word, take in zip(words, clip.metadata["takes"], strict=True)
        ]
        samples, rate_hz = io.read(tmp_path / "out" / clip.audio_path)
        assert rate_hz == RATE_HZ
        np.testing.assert_array_equal(samples, np.concatenate(parts))
        takes[str(clip.split)] |= set(clip.metadata["takes"])
    assert takes == {"test": {5, 6}, "validation": {7, 8}, "train": {9, 10, 11, 12}}
    again = fsdd.fetch(request(recordings), tmp_path / "again")
    assert again.clips == fetched.clips
    hashes = [files.content_hash(*(root / c.audio_path for c in again.clips)) for root in (again.root, fetched.root)]
    assert hashes[0] == hashes[1]


def test_bad_files_are_rejected_and_bad_requests_refused(recordings: Path, tmp_path: Path) -> None:
    (recordings / "3_ann_14.wav").write_bytes(b"")
    io.write_wav(recordings / "hello.wav", tone(), RATE_HZ)
    fetched = fsdd.fetch(request(recordings), tmp_path / "out")
    assert {bad.id for bad in fetched.rejected} == {"3_ann_14.wav", "hello.wav"}
    for bad, word in (
        (request(None), "path"),
        (request(tmp_path / "nowhere"), "nowhere"),
        (request(recordings, test_takes=4, validation_takes=8), "train"),
        (replace(request(recordings), config="letters"), "strings"),
        (replace(request(recordings), clips={"train": None, "validation": 1, "test": 1}), "clips.train"),
    ):
        with pytest.raises(CorpusError, match=word):
            fsdd.fetch(bad, tmp_path / "out")


def test_single_digits_are_the_recordings_as_they_are(recordings: Path, tmp_path: Path) -> None:
    asked = replace(request(recordings), config="digits", clips={"train": None, "validation": 20, "test": None})
    fetched = copy_in(fsdd.fetch(asked, tmp_path / "out"), tmp_path / "out")
    assert Counter(clip.split for clip in fetched.clips) == {"train": 80, "validation": 20, "test": 40}
    for clip in fetched.clips:
        digit, speaker = clip.audio_path.split("_", 1)
        assert clip.label == clip.text == DIGITS[int(digit)]
        assert speaker == f"{clip.speaker}_{clip.metadata['take']}.wav"
        assert (tmp_path / "out" / clip.audio_path).read_bytes() == (recordings / clip.audio_path).read_bytes()
    assert {clip.metadata["take"] for clip in fetched.clips if clip.split == "test"} == {5, 6}
    validation = Counter(clip.label for clip in fetched.clips if clip.split == "validation")
    assert set(validation.values()) == {2}  # of every digit as many


def test_speakers_can_be_held_out(recordings: Path, tmp_path: Path) -> None:
    asked = replace(request(recordings), config="speakers")
    with pytest.raises(CorpusError, match="2 speakers; each split needs one of its own"):
        fsdd.fetch(asked, tmp_path / "few")
    for digit in range(10):
        io.write_wav(recordings / f"{digit}_cy_5.wav", tone(0.1, RATE_HZ, 0.3, 500 + digit), RATE_HZ)
    clips = fsdd.fetch(asked, tmp_path / "out").clips
    speakers = {split: {clip.speaker for clip in clips if clip.split == split} for split in ("train", "test")}
    speakers |= {"validation": {clip.speaker for clip in clips if clip.split == "validation"}}
    assert [len(found) for found in speakers.values()] == [1, 1, 1]
    assert set.union(*speakers.values()) == {"ann", "bob_x", "cy"}
