"""Token files, their index, and s3: an empty sidecar for each of them."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soundraft.audio import ecdc
from soundraft.audio.ecdc import INDEX_NAME, TokenFile
from soundraft.runtime import UserError
from soundraft.sidecar import format
from soundraft.sidecar.features import create_sidecars
from soundraft.sidecar.format import Sidecar
from soundraft.sidecar.listing import Shard, list_clips
from tests.sidecar.workshop import NAMES, make_empty, script, token_folder, tree

# --- the index ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    ["{", "", "[1]", '"a"', '{"path": "a.ecdc"}', '{"path": "a.ecdc", "wav": "a.wav", "frames": "many", '
     '"codebooks": 2, "samples": 9}', '{"path": "a.ecdc", "wav": null, "frames": 1, "codebooks": 2, "samples": 9}',
     '{"path": "a.ecdc", "wav": "a.wav", "frames": -1, "codebooks": 2, "samples": 9}', "\xff"],
)  # fmt: skip
def test_a_malformed_line_is_named(tmp_path: Path, line: str) -> None:
    token_folder(tmp_path, NAMES[:2])
    with (tmp_path / INDEX_NAME).open("ab") as stream:
        stream.write(line.encode("latin-1") + b"\n")
    with pytest.raises(UserError, match=f"{INDEX_NAME}:3"):
        list_clips(tmp_path, format.SUFFIX)


@pytest.mark.parametrize("mark", ["\u2028", "\x85", "\x1c", "\r", "\n"])
def test_names_may_hold_what_ends_a_line_elsewhere(tmp_path: Path, mark: str) -> None:
    row = TokenFile(f"a{mark}b.ecdc", f"a{mark}b.wav", 4, 2, 1280)
    ecdc.write_index(tmp_path, [row])
    assert ecdc.read_index(tmp_path) == [row]


def test_frames_come_from_the_index_else_from_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = token_folder(tmp_path / "t")
    rows = list_clips(tokens, format.SUFFIX)
    (tokens / INDEX_NAME).unlink()
    assert list_clips(tokens, format.SUFFIX) == rows
    (tokens / "broken.ecdc").write_bytes(b"ECDC")
    (tokens / "notes.txt").write_text("no tokens")
    broken = next(row for row in list_clips(tokens, format.SUFFIX) if row.path == "broken.ecdc")
    assert (broken.frames, "truncated" in broken.problem) == (0, True)
    assert [row.path for row in list_clips(tokens, format.SUFFIX, recursive=False)] == [
        row.path for row in sorted([*rows, broken], key=lambda row: row.path) if "/" not in row.path
    ]
    (tokens / "broken.ecdc").unlink()
    moved = replace(rows[0], wav="elsewhere.wav")  # which only an index can know
    ecdc.write_index(tokens, [moved])
    assert list_clips(tokens, format.SUFFIX) == [moved, *rows[1:]]
    ecdc.write_index(tokens, rows)
    monkeypatch.setattr(ecdc, "read", lambda path: pytest.fail(f"{path} was opened"))
    assert list_clips(tokens, format.SUFFIX) == rows
    assert create_sidecars(tokens, tmp_path / "c", dtype="float16").made == len(NAMES)


# --- s3 -------------------------------------------------------------------------------------------------------------


@settings(max_examples=25)
@given(st.sets(st.text("ab._1 ü", min_size=1, max_size=6).filter(lambda name: not name.startswith(".")), min_size=1))
def test_every_token_file_gets_an_empty_sidecar_of_its_name(
    tmp_path_factory: pytest.TempPathFactory, names: set[str]
) -> None:
    """The public workflow takes x_120.0.ecdc for x_120 and lets it overwrite its neighbours."""
    folder = tmp_path_factory.mktemp("n")
    tokens = token_folder(folder / "t", tuple(f"{name}.ecdc" for name in sorted(names)))
    cond = make_empty(tokens, folder / "c", "float16")
    assert sorted(tree(cond)) == sorted(f"{name}.cond.{end}" for name in names for end in ("npy", "json"))
    for number, name in enumerate(sorted(names)):
        sidecar = format.read(f"{cond}/{name}.cond.npy")
        assert (sidecar.values.shape, sidecar.values.dtype) == ((5 + number, 0), np.float16)


@settings(max_examples=10)
@given(count=st.integers(1, 6))
def test_shards_together_are_the_whole_and_disjoint(tmp_path_factory: pytest.TempPathFactory, count: int) -> None:
    folder = tmp_path_factory.mktemp("n")
    tokens = token_folder(folder / "t", tuple(f"{index}.ecdc" for index in range(12)))
    whole = tree(make_empty(tokens, folder / "whole"))
    parts = [tree(make_empty(tokens, folder / f"{index}", shard=Shard(index, count))) for index in range(count)]
    assert sum(map(len, parts)) == len(whole)
    assert {name: data for part in parts for name, data in part.items()} == whole
    for index, of in ((count, count), (-1, count), (0, 0)):
        with pytest.raises(UserError, match="no shard"):
            list_clips(tokens, format.SUFFIX, Shard(index, of))


def test_two_token_files_of_one_sidecar(tmp_path: Path) -> None:
    tokens = token_folder(tmp_path / "t", ("a.ECDC", "a.ecdc"), index=False)
    with pytest.raises(UserError, match=r"a.ecdc: shares its sidecar with a.ECDC"):
        make_empty(tokens, tmp_path / "c")


@pytest.mark.parametrize("frames", [5, 7])
def test_what_does_not_fit_is_made_again_unless_it_has_features(tmp_path: Path, frames: int) -> None:
    """Half of a sidecar, or one of another length than the token file."""
    tokens = token_folder(tmp_path / "t")
    make_empty(tokens, tokens)

    def spoil(columns: int) -> None:
        names = ("mine",)[:columns]
        format.write(f"{tokens}/a.cond.npy", Sidecar(np.ones((frames, columns), np.float32), names))
        if frames == 5:
            (tokens / "a.cond.json").unlink()

    spoil(columns=0)
    assert (create_sidecars(tokens, tokens, dtype="float32").made, len(format.read(f"{tokens}/a.cond.npy").values)) == (
        1, 5,
    )  # fmt: skip
    spoil(columns=1)
    with pytest.raises(UserError, match=r"a.cond.npy has .*--overwrite"):
        create_sidecars(tokens, tokens, dtype="float32")
    assert create_sidecars(tokens, tokens, dtype="float32", overwrite=True).made == 5


def test_what_is_there_is_kept_and_bad_token_files_are_named(tmp_path: Path) -> None:
    tokens = token_folder(tmp_path / "t", index=False)
    argv = ("s3_sidecar_init", "--audio-root", tokens, "--manifest-csv", tmp_path / "all.csv", "--suffix", ".feat.npy")
    (tokens / "bad.ecdc").write_bytes(b"junk")
    code, output = script(*argv)
    assert (code, "bad.ecdc: not a token file" in output, len(list(tokens.rglob("*.npy")))) == (1, True, 0)
    code, output = script(*argv, "--skip-errors")
    assert (code, "SKIPPED bad.ecdc: not a token file" in output, "5 made, 0 kept" in output) == (0, True, True)
    row = next(row for row in csv.DictReader((tmp_path / "all.csv").open()) if row["rel_ecdc"] == "x_120.0.ecdc")
    assert list(row) == ["rel_ecdc", "rel_cond", "frames", "D", "fps", "codebooks"]
    assert list(row.values()) == ["x_120.0.ecdc", "x_120.0.feat.npy", "6", "0", "75", "2"]
    (tokens / "bad.ecdc").unlink()
    path = f"{tokens}/a.feat.npy"
    format.write(path, Sidecar(np.ones((5, 1), np.float32), ("mine",)))
    assert "0 made, 5 kept" in script(*argv)[1]
    assert format.read(path).names == ("mine",)
    assert "5 made, 0 kept" in script(*argv, "--overwrite", "--dtype", "float32")[1]
    assert (format.read(path).names, format.read(path).values.dtype) == ((), np.float32)
    for wrong in (("--shard-index", 3, "--shard-count", 3), ("--suffix", ".cond"), ("--audio-root", tmp_path / "no")):
        assert script(*argv, *wrong)[0] == 1
    (tmp_path / "empty").mkdir()
    assert "no token files" in script("s3_sidecar_init", "--audio-root", tmp_path / "empty")[1]
    for name in NAMES:
        (tokens / name).write_bytes(b"junk")
    assert script(*argv, "--skip-errors")[0] == 1
