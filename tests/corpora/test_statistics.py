"""Statistics against numbers counted by hand."""

from pathlib import Path

import numpy as np
import pytest

from soundraft.audio import io
from soundraft.corpora import checks
from soundraft.manifest import Clip
from soundraft.runtime import UserError
from tests.conftest import tone


def clips(root: Path) -> list[Clip]:
    """Three clips that state their duration, and one whose header must tell."""
    io.write_wav(root / "d.wav", tone(0.5, 16000), 16000)
    rows = [
        ("a", "train", "one two two", "ann", 1.0, 8000),
        ("b", "train", "two three", "bob", 3.0, 8000),
        ("c", "train", None, "bob", 8.0, 8000),
        ("d", "test", "one", "cid", None, None),
    ]
    return [
        Clip(id=id_, audio_path=f"{id_}.wav", split=split, text=text, speaker=who, duration=seconds, sample_rate=rate)  # type: ignore[arg-type]
        for id_, split, text, who, seconds, rate in rows
    ]


def test_each_number(tmp_path: Path) -> None:
    found, unreadable = checks.measure(clips(tmp_path), tmp_path)
    assert not unreadable
    assert list(found) == ["train", "test", "all"]
    train = found["train"]
    assert (train.clips, train.vocabulary, train.words.tolist()) == (3, 3, [3, 2])
    assert train.durations.tolist() == [1.0, 3.0, 8.0]
    assert (train.speakers, train.rates, train.labels) == ({"bob": 2, "ann": 1}, {8000: 3}, {})
    assert (found["test"].durations.tolist(), found["test"].rates) == ([0.5], {16000: 1})
    assert (found["all"].clips, found["all"].vocabulary, found["all"].words.sum()) == (4, 3, 6)
    table = checks.table(found)
    assert table[1] == ("train", "3", "0.00", "1.00 s", "3.00 s", "8.00 s", "5", "3", "–", "2", "8 kHz")
    assert table[3][-1] == "8 kHz, 16 kHz"
    assert checks.labels_table(found, 5) == []
    assert checks.splits_of(found) == ["train", "test"]


def test_labels_several_a_clip_and_the_most_frequent_first(tmp_path: Path) -> None:
    known = {"duration": 1.0, "sample_rate": 8000}
    given = [
        Clip(id="a", audio_path="a.wav", split="train", label="dog", **known),
        Clip(id="b", audio_path="b.wav", split="test", label="cat", metadata={"all_labels": ["cat", "dog"]}, **known),
        Clip(id="c", audio_path="c.wav", split="test", label="rain", **known),
    ]
    found, _ = checks.measure(given, tmp_path)
    assert checks.labels_table(found, 2) == [
        ("label", "train", "test", "all"),
        ("dog", "1", "1", "2"),
        ("cat", "–", "1", "1"),
        ("and 1 more", "", "", ""),
    ]
    assert len(checks.labels_table(found, 3)) == 4


def test_one_group_has_no_sum_and_need_not_be_a_split(tmp_path: Path) -> None:
    found, _ = checks.measure([Clip(id="a", audio_path="a.wav", duration=2.0, sample_rate=8000)], tmp_path)
    assert list(found) == ["no split"]


def test_what_cannot_be_read_is_named_and_not_counted(tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(b"RIFF junk")
    given = [*clips(tmp_path), *(Clip(id=name, audio_path=f"{name}.wav", split="test") for name in ("x", "gone"))]
    found, unreadable = checks.measure(given, tmp_path)
    assert [item.path for item in unreadable] == ["x.wav", "gone.wav"]
    assert unreadable[1].reason == "no such file"
    assert found["test"].clips == 1
    with pytest.raises(UserError, match=r"no clips to measure: gone\.wav: no such file"):
        checks.measure(given[-1:], tmp_path)
    with pytest.raises(UserError, match=r"no clips to measure$"):
        checks.measure([], tmp_path)


def test_durations_agree_with_the_decoded_audio(tmp_path: Path) -> None:
    given = [clip.model_copy(update={"duration": None}) for clip in clips(tmp_path) if clip.id == "d"]
    found, _ = checks.measure(given, tmp_path)
    samples, rate_hz = io.read(tmp_path / "d.wav")
    np.testing.assert_allclose(found["test"].durations, [len(samples) / rate_hz])
