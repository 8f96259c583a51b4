"""What is copied, what is linked: files of the cache may be linked, a user's never."""

import errno
import os
from pathlib import Path

import pytest

from soundraft.audio import io
from soundraft.corpora.base import Fetched, copy_in
from soundraft.manifest import Clip
from tests.conftest import tone


@pytest.fixture
def fetched(tmp_path: Path) -> Fetched:
    names = [f"{folder}/{number}.wav" for folder in ("a", "b") for number in range(2)]
    for name in names:
        io.write_wav(tmp_path / "source" / name, tone(), 8000)
    clips = [Clip(id=name, audio_path=name) for name in names]
    return Fetched(clips, len(clips), [], tmp_path / "source", cached=True)


def linked(fetched: Fetched, out: Path) -> list[bool]:
    return [(out / clip.audio_path).samefile(fetched.root / clip.audio_path) for clip in fetched.clips]


def test_files_of_the_cache_are_linked_where_that_is_allowed(fetched: Fetched, tmp_path: Path) -> None:
    assert copy_in(fetched, tmp_path / "out", link=True).clips == fetched.clips
    assert linked(fetched, tmp_path / "out") == [True] * 4
    copy_in(fetched, tmp_path / "copied")
    assert linked(fetched, tmp_path / "copied") == [False] * 4


def test_a_users_own_files_are_never_linked(fetched: Fetched, tmp_path: Path) -> None:
    own = Fetched(fetched.clips, fetched.usable, [], fetched.root)
    copy_in(own, tmp_path / "out", link=True)
    assert linked(own, tmp_path / "out") == [False] * 4


def test_a_file_system_without_links_gets_copies(
    fetched: Fetched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_source: str, target: str) -> None:
        raise OSError(errno.EXDEV, "another device", target)

    monkeypatch.setattr(os, "link", refuse)
    assert copy_in(fetched, tmp_path / "out", link=True).clips == fetched.clips
    assert linked(fetched, tmp_path / "out") == [False] * 4
    assert io.read(tmp_path / "out/b/1.wav")


def test_a_file_that_left_the_cache_is_set_aside(fetched: Fetched, tmp_path: Path) -> None:
    (fetched.root / "a/1.wav").unlink()
    got = copy_in(fetched, tmp_path / "out", link=True)
    assert [(bad.id, bad.reason) for bad in got.rejected] == [("a/1.wav", "no such file")]
    assert got.usable == 3
