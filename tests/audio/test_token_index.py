from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soundraft import files
from soundraft.audio import ecdc
from soundraft.audio.ecdc import INDEX_NAME, TokenFile, list_tokens, token_path, wav_of
from soundraft.runtime import UserError

ROWS = [
    TokenFile("a.WAV.ecdc", "a.WAV", 3, 2, 950),
    TokenFile("a.ecdc", "a.wav", 4, 2, 1280),
    TokenFile("sub/ü b.ecdc", "sub/ü b.wav", 5, 2, 1600),
    TokenFile("x_120.0.ecdc", "x_120.0.wav", 6, 2, 1900),
]


def token_folder(folder: Path, rows: list[TokenFile] = ROWS) -> Path:
    for row in rows:
        tokens = ecdc.Tokens(np.zeros((row.codebooks, row.frames), np.int64), row.samples)
        files.write_bytes(folder / row.path, ecdc.encodec_bytes(tokens))
    return folder


def test_listing_takes_the_index_and_opens_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = token_folder(tmp_path / "tokens")
    ecdc.write_index(folder, reversed(ROWS))
    monkeypatch.setattr(ecdc, "read", lambda path: pytest.fail(f"{path} was opened"))
    assert list_tokens(folder) == ROWS
    assert [row.name for row in ROWS] == ["a.WAV", "a", "sub/ü b", "x_120.0"]


def test_without_an_index_the_files_say_it(tmp_path: Path) -> None:
    folder = token_folder(tmp_path / "tokens")
    (folder / "broken.ecdc").write_bytes(b"ECDC")
    (folder / "notes.txt").write_text("no tokens")
    found = {row.path: row for row in list_tokens(folder)}
    # only the index knows that a.WAV was no a.WAV.wav
    assert [found[row.path] for row in ROWS] == [replace(ROWS[0], wav="a.WAV.wav"), *ROWS[1:]]
    broken = found.pop("broken.ecdc")
    assert (broken.frames, broken.problem) == (0, "truncated: no whole header")
    assert len(found) == len(ROWS)
    assert [row.path for row in list_tokens(folder, recursive=False)] == [
        "a.WAV.ecdc", "a.ecdc", "broken.ecdc", "x_120.0.ecdc",
    ]  # fmt: skip


def test_a_file_that_the_index_lacks_is_opened(tmp_path: Path) -> None:
    folder = token_folder(tmp_path / "tokens")
    ecdc.write_index(folder, ROWS[:2])
    assert list_tokens(folder) == ROWS


@given(count=st.integers(1, 7), names=st.sets(st.text("abcäß._- 日", min_size=1, max_size=8), max_size=12))
def test_shards_are_disjoint_and_together_the_whole(
    tmp_path_factory: pytest.TempPathFactory, count: int, names: set[str]
) -> None:
    folder = tmp_path_factory.mktemp("tokens")
    for name in names:
        (folder / f"{name}.ecdc").write_bytes(b"")
    shards = [list_tokens(folder, shard_index=index, shard_count=count) for index in range(count)]
    assert sorted(row.path for shard in shards for row in shard) == [row.path for row in list_tokens(folder)]


def test_a_shard_that_does_not_exist(tmp_path: Path) -> None:
    for index, count in ((2, 2), (-1, 2), (0, 0)):
        with pytest.raises(UserError, match=f"there is no shard {index} of {count}; they count from 0"):
            list_tokens(tmp_path, shard_index=index, shard_count=count)
    with pytest.raises(UserError, match="no such folder"):
        list_tokens(tmp_path / "absent")


@pytest.mark.parametrize(
    "line",
    ["{", "", "[1]", '"a"', "7", '{"path": "a.ecdc"}', '{"path": "a.ecdc", "wav": "a.wav", "frames": "many", '
     '"codebooks": 2, "samples": 9}', '{"path": "a.ecdc", "wav": null, "frames": 1, "codebooks": 2, "samples": 9}',
     '{"path": "a.ecdc", "wav": "a.wav", "frames": -1, "codebooks": 2, "samples": 9}', "\xff"],
)  # fmt: skip
def test_a_malformed_line_is_named(tmp_path: Path, line: str) -> None:
    ecdc.write_index(token_folder(tmp_path), ROWS[:2])
    with (tmp_path / INDEX_NAME).open("ab") as stream:
        stream.write(line.encode("latin-1") + b"\n")
    with pytest.raises(UserError, match=rf"{INDEX_NAME}:3: not a row of the token index"):
        list_tokens(tmp_path)


@pytest.mark.parametrize("mark", ["\u2028", "\x85", "\x1c", "\r", "\n"])
def test_names_may_hold_what_ends_a_line_elsewhere(tmp_path: Path, mark: str) -> None:
    row = replace(ROWS[1], path=f"a{mark}b.ecdc", wav=f"a{mark}b.wav")
    ecdc.write_index(tmp_path, [row])
    assert ecdc.read_index(tmp_path) == [row]


@given(st.text("ab.", max_size=6).map("a{}".format), st.sampled_from([".WAV", ".flac", ".wav.flac", ""]))
def test_names_with_dots_do_not_collide(name: str, ending: str) -> None:
    assert token_path(f"{name}.wav") == f"{name}.ecdc"
    assert wav_of(f"{name}.ecdc") == f"{name}.wav"
    other = f"{name}{ending}"
    assert other.endswith(".wav") or token_path(other) == f"{other}.ecdc"
