import json
from pathlib import Path

import pytest

from soundraft.manifest import (
    MANIFEST_NAME,
    Clip,
    ManifestError,
    Rejected,
    TooManyBad,
    check_bad_fraction,
    find_clips,
    parse_manifest,
    read_manifest,
    write_manifest,
)


def test_round_trip_is_sorted_and_leaves_absent_values_out(tmp_path: Path) -> None:
    clips = [Clip(id="b", audio_path="b.wav", text="two"), Clip(id="a", audio_path="ä/a.wav", duration=1.5)]
    write_manifest(tmp_path, clips, [])
    lines = (tmp_path / MANIFEST_NAME).read_text(encoding="utf-8").splitlines()
    assert json.loads(lines[0]) == {"id": "a", "audio_path": "ä/a.wav", "duration": 1.5, "task": "asr"}
    assert read_manifest(tmp_path / MANIFEST_NAME) == sorted(clips, key=lambda clip: clip.id)


def test_the_other_spelling_of_the_path_is_read(tmp_path: Path) -> None:
    path = tmp_path / MANIFEST_NAME
    path.write_text('{"audio_filepath": "x.wav", "text": "hi"}\n')
    (clip,) = read_manifest(path)
    assert (clip.id, clip.audio_path) == ("x.wav", "x.wav")


def test_every_bad_line_is_named_and_every_good_one_is_kept(tmp_path: Path) -> None:
    path = tmp_path / MANIFEST_NAME
    lines = [
        b'{"id": "good", "audio_path": "good.wav"}',
        b"{not json",
        b'{"id": "up", "audio_path": "../up.wav"}',
        b'{"id": "abs", "audio_path": "/abs.wav"}',
        b'{"id": "good", "audio_path": "other.wav"}',
        b'{"id": "typo", "audio_path": "t.wav", "txt": "x"}',
        b"[1]",
        b'{"id": "latin", "audio_path": "\xe4.wav"}',
        b'{"id": "last", "audio_path": "last.wav", "duration": -1}',
    ]
    path.write_bytes(b"\n".join(lines))
    clips, rejected = parse_manifest(path)
    assert [clip.id for clip in clips] == ["good"]
    reasons = {bad.path.split(":")[1]: bad.reason for bad in rejected}
    assert sorted(reasons) == ["2", "3", "4", "5", "6", "7", "8", "9"]
    assert "leaves its folder" in reasons["3"]
    assert "leaves its folder" in reasons["4"]
    assert "duplicate id" in reasons["5"]
    assert "txt" in reasons["6"]
    with pytest.raises(ManifestError, match=r"manifest.jsonl:5: duplicate id"):
        read_manifest(path)


def test_the_limit_of_bad_clips() -> None:
    bad = [Rejected("x", "x.wav", "silent")]
    check_bad_fraction(99, bad, 0.01)
    with pytest.raises(TooManyBad, match=r"1 of 99 clips are bad(.|\n)*x.wav: silent"):
        check_bad_fraction(98, bad, 0.01)
    with pytest.raises(TooManyBad, match=r"^1 of 1 clips are bad\n  x.wav: silent$"):  # no limit to speak of
        check_bad_fraction(0, bad, 1.0)
    with pytest.raises(TooManyBad):
        check_bad_fraction(0, [], 1.0)


def test_what_chooses_among_files_chooses_among_the_clips_of_a_manifest_too(tmp_path: Path) -> None:
    """Every output of s1 has one."""
    names = ["a.wav", "b.FLAC", "sub/c.wav", "sub/d.mp3"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    def found(**chosen: object) -> list[str]:
        return [clip.audio_path for clip in find_clips(tmp_path, [".wav", ".flac", ".mp3"], **chosen)]

    for _ in ("a folder", "its manifest"):
        assert found() == names
        assert found(recursive=False) == names[:2]
        assert found(chosen=[".flac", ".mp3"]) == ["b.FLAC", "sub/d.mp3"]
        assert found(chosen=[".wav"], recursive=False) == ["a.wav"]
        write_manifest(tmp_path, [Clip(id=name, audio_path=name) for name in names], [])
