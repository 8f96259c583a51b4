"""What two splits share is found, by value and by sound; what they do not share is not."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from soundraft.audio import io
from soundraft.corpora import checks as leaks
from soundraft.corpora.checks import Check, Leak
from soundraft.manifest import Clip
from soundraft.runtime import UserError
from tests.conftest import tone


def corpus(root: Path, *rows: dict[str, Any]) -> list[Clip]:
    """A clip and its file for each row; every file sounds different."""
    clips = []
    for number, row in enumerate(rows):
        path = f"{number}.wav"
        io.write_wav(root / path, tone(0.1, frequency_hz=300 + 50 * number), 8000)
        clips.append(Clip(**({"id": str(number), "audio_path": path} | row)))
    return clips


def checks(clips: list[Clip], root: Path, texts: bool = False) -> dict[str, Check]:
    found, unreadable = leaks.examine(clips, root, texts=texts)
    assert not unreadable
    return {check.kind: check for check in found}


def test_a_speaker_or_a_source_in_two_splits(tmp_path: Path) -> None:
    clips = corpus(
        tmp_path,
        {"split": "test", "speaker": "ann", "metadata": {"source": 7}},
        {"split": "train", "speaker": "ann"},
        {"split": "train", "speaker": "bob", "metadata": {"source": 8}},
        {"split": "train", "speaker": "ann", "metadata": {"source": 7}},
        {"split": "validation", "speaker": "cid"},
    )
    found = checks(clips, tmp_path)
    assert found["speaker"].leaks == [Leak("speaker", "ann", {"train": ["1", "3"], "test": ["0"]})]
    assert list(found["speaker"].leaks[0].clips) == ["train", "test"]
    assert (found["speaker"].known, found["speaker"].different) == (5, {"train": 2, "validation": 1, "test": 1})
    assert found["source"].leaks == [Leak("source", "7", {"train": ["3"], "test": ["0"]})]
    assert found["source"].known == 3
    assert found["audio"].leaks == []
    assert found["audio"].known == 5
    assert "text" not in found


def test_the_same_sound_in_two_files_whatever_their_format(tmp_path: Path) -> None:
    clips = corpus(tmp_path, *({"split": split} for split in ("train", "test", "validation", "train")))
    samples = np.rint(tone(0.1, frequency_hz=300) * 32768).astype(np.int16)
    soundfile.write(tmp_path / "1.wav", samples, 8000, format="FLAC")
    assert (tmp_path / "1.wav").read_bytes() != (tmp_path / "0.wav").read_bytes()
    io.write_wav(tmp_path / "2.wav", tone(0.1, frequency_hz=300), 16000)  # the same samples, faster
    (tmp_path / "3.wav").write_bytes((tmp_path / "0.wav").read_bytes())
    (leak,) = checks(clips, tmp_path)["audio"].leaks
    assert leak.clips == {"train": ["0", "3"], "test": ["1"]}
    assert checks(clips, tmp_path)["audio"].different == {"train": 1, "validation": 1, "test": 1}


def test_stereo_is_not_the_mono_file_with_its_samples_in_a_row(tmp_path: Path) -> None:
    samples = np.arange(-8, 8, dtype=np.int16)
    soundfile.write(tmp_path / "mono.wav", samples, 8000)
    soundfile.write(tmp_path / "stereo.wav", samples.reshape(8, 2), 8000)
    assert leaks.audio_hash(tmp_path, "mono.wav") != leaks.audio_hash(tmp_path, "stereo.wav")


def test_texts_only_where_asked_and_without_case_and_punctuation(tmp_path: Path) -> None:
    texts = [("train", "Good morning."), ("test", "good  MORNING"), ("validation", "good evening"), ("train", None)]
    clips = corpus(tmp_path, *({"split": split, "text": text} for split, text in texts))
    check = checks(clips, tmp_path, texts=True)["text"]
    assert check.leaks == [Leak("text", "good morning", {"train": ["0"], "test": ["1"]})]
    assert check.known == 3


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    clips = corpus(tmp_path, {"split": "train"}, {"split": "test"}, {"split": "test"})
    (tmp_path / "1.wav").unlink()
    (tmp_path / "2.wav").unlink()
    (tmp_path / "2.wav").symlink_to("/dev/null")
    found, unreadable = leaks.examine(clips, tmp_path, texts=False)
    assert [(item.id, item.path) for item in unreadable] == [("1", "1.wav"), ("2", "2.wav")]
    assert unreadable[0].reason == "no such file"
    assert "leaves its folder" in unreadable[1].reason
    assert next(check for check in found if check.kind == "audio").known == 1


def test_clips_without_a_split_prove_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="1 of 2 clips have no split, 1 among them"):
        leaks.examine(corpus(tmp_path, {"split": "train"}, {}), tmp_path, texts=False)
