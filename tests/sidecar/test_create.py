import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soundraft.audio import ecdc
from soundraft.runtime import UserError
from soundraft.sidecar import format
from soundraft.sidecar.features import create_sidecars
from soundraft.sidecar.format import Sidecar
from soundraft.sidecar.listing import Shard
from tests.sidecar.workshop import NAMES, make_empty, script, token_folder, tree


def test_every_token_file_gets_an_empty_sidecar_with_its_frames(tmp_path: Path) -> None:
    tokens = token_folder(tmp_path / "t")
    done = create_sidecars(tokens, tmp_path / "c", dtype="float16")
    assert (done.made, done.kept, done.rejected) == (5, 0, [])
    for number, name in enumerate(NAMES):
        sidecar = format.read(f"{tmp_path}/c/{name.removesuffix('.ecdc')}.cond.npy")
        assert sidecar.values.shape == (5 + number, 0)
        assert sidecar.values.dtype == np.float16


def test_dotted_names_do_not_collide(tmp_path: Path) -> None:
    """The public workflow takes x_120.0.ecdc for x_120 and lets it overwrite its neighbours."""
    cond = make_empty(token_folder(tmp_path / "t", ("x_120.0.ecdc", "x_120.5.ecdc", "x_120.ecdc")), tmp_path / "c")
    assert sorted(tree(cond)) == sorted(
        f"{name}.cond.{end}" for name in ("x_120", "x_120.0", "x_120.5") for end in ("npy", "json")
    )


@settings(max_examples=30)
@given(st.sets(st.text("ab._1 ü", min_size=1, max_size=6).filter(lambda name: not name.startswith(".")), min_size=1))
def test_any_names_stay_apart(tmp_path_factory: pytest.TempPathFactory, names: set[str]) -> None:
    folder = tmp_path_factory.mktemp("n")
    tokens = token_folder(folder / "t", tuple(f"{name}.ecdc" for name in sorted(names)))
    cond = make_empty(tokens, folder / "c")
    assert sorted(tree(cond)) == sorted(f"{name}.cond.{end}" for name in names for end in ("npy", "json"))


@settings(max_examples=10)
@given(count=st.integers(1, 6))
def test_shards_together_are_the_whole_and_disjoint(tmp_path_factory: pytest.TempPathFactory, count: int) -> None:
    folder = tmp_path_factory.mktemp("n")
    tokens = token_folder(folder / "t", tuple(f"{index}.ecdc" for index in range(12)))
    whole = tree(make_empty(tokens, folder / "whole"))
    parts = [tree(make_empty(tokens, folder / f"{index}", shard=Shard(index, count))) for index in range(count)]
    assert sum(map(len, parts)) == len(whole)
    assert {name: data for part in parts for name, data in part.items()} == whole


def test_frames_come_from_the_index_and_no_token_file_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = token_folder(tmp_path / "t")
    by_index = tree(make_empty(tokens, tmp_path / "c"))
    (tokens / "tokens.jsonl").unlink()
    assert tree(make_empty(tokens, tmp_path / "d")) == by_index
    token_folder(tokens)
    monkeypatch.setattr(ecdc.ecdc, "read", lambda path: pytest.fail("opened"))
    assert tree(make_empty(tokens, tmp_path / "e")) == by_index


def test_bad_token_files_fail_or_are_skipped(tmp_path: Path) -> None:
    tokens = token_folder(tmp_path / "t", index=False)
    (tokens / "bad.ecdc").write_bytes(b"junk")
    code, said = script("s3_sidecar_init", "--audio-root", tokens, "--cond-root", tmp_path / "c")
    assert code == 1
    assert "bad.ecdc: not a token file" in said
    assert not (tmp_path / "c").exists()
    code, said = script("s3_sidecar_init", "--audio-root", tokens, "--cond-root", tmp_path / "c", "--skip-errors")
    assert code == 0
    assert "SKIPPED bad.ecdc: not a token file" in said
    assert "5 made, 0 kept, 1 skipped" in said
    assert len(tree(tmp_path / "c")) == 10
    for name in NAMES:
        (tokens / name).write_bytes(b"junk")
    assert script("s3_sidecar_init", "--audio-root", tokens, "--skip-errors")[0] == 1


def test_two_token_files_of_one_sidecar(tmp_path: Path) -> None:
    tokens = token_folder(tmp_path / "t", ("a.ECDC", "a.ecdc"), index=False)
    with pytest.raises(UserError, match=r"a.ecdc: shares its sidecar with a.ECDC"):
        make_empty(tokens, tmp_path / "c")


def test_defaults_beside_the_token_files_and_what_is_there_is_kept(tmp_path: Path) -> None:
    tokens = token_folder(tmp_path / "t")
    assert script("s3_sidecar_init", "--audio-root", tokens)[0] == 0
    path = f"{tokens}/a.cond.npy"
    assert format.read(path).values.dtype == np.float16
    format.write(path, Sidecar(np.ones((5, 1), np.float32), ("mine",)))
    assert "0 made, 5 kept" in script("s3_sidecar_init", "--audio-root", tokens)[1]
    assert format.read(path).names == ("mine",)
    assert "5 made, 0 kept" in script("s3_sidecar_init", "--audio-root", tokens, "--overwrite", "--dtype", "float32")[1]
    assert format.read(path).names == ()
    assert format.read(path).values.dtype == np.float32


def test_half_a_sidecar_is_made_again_unless_it_has_features(tmp_path: Path) -> None:
    tokens = token_folder(tmp_path / "t")
    make_empty(tokens, tokens)
    (tokens / "a.cond.json").unlink()
    assert create_sidecars(tokens, tokens, dtype="float32").made == 1
    format.write(f"{tokens}/a.cond.npy", Sidecar(np.ones((5, 1), np.float32), ("mine",)))
    (tokens / "a.cond.json").unlink()
    with pytest.raises(UserError, match="has features, but its json is gone; --overwrite makes it anew"):
        create_sidecars(tokens, tokens, dtype="float32")


def test_a_sidecar_of_another_length_is_made_again_unless_it_has_features(tmp_path: Path) -> None:
    tokens = token_folder(tmp_path / "t")
    make_empty(tokens, tokens)
    frames = len(format.read(f"{tokens}/a.cond.npy").values)
    format.write(f"{tokens}/a.cond.npy", Sidecar(np.empty((frames + 2, 0), np.float32), ()))
    done = create_sidecars(tokens, tokens, dtype="float32")
    assert (done.made, done.kept) == (1, 4)
    assert len(format.read(f"{tokens}/a.cond.npy").values) == frames
    format.write(f"{tokens}/a.cond.npy", Sidecar(np.ones((frames + 2, 1), np.float32), ("mine",)))
    with pytest.raises(UserError, match=f"has {frames + 2} frames of features, the token file {frames}; --overwrite"):
        create_sidecars(tokens, tokens, dtype="float32")
    assert create_sidecars(tokens, tokens, dtype="float32", overwrite=True).made == 5


def test_suffix_table_and_shards_as_options(tmp_path: Path) -> None:
    tokens = token_folder(tmp_path / "t")
    common = ("--audio-root", tokens, "--cond-root", tmp_path / "c", "--suffix", ".feat.npy")
    code, said = script("s3_sidecar_init", *common, "--manifest-csv", tmp_path / "all.csv")
    assert code == 0, said
    assert (tmp_path / "c/sub/ü b.feat.json").is_file()
    rows = list(csv.DictReader((tmp_path / "all.csv").open(encoding="utf-8")))
    assert list(rows[0]) == ["rel_ecdc", "rel_cond", "frames", "D", "fps", "codebooks"]
    row = next(row for row in rows if row["rel_ecdc"] == "x_120.0.ecdc")
    assert list(row.values()) == ["x_120.0.ecdc", "x_120.0.feat.npy", "6", "0", "75", "2"]
    found = []
    for index in range(3):
        table = tmp_path / f"{index}.csv"
        assert (
            script("s3_sidecar_init", *common, "--shard-index", index, "--shard-count", 3, "--manifest-csv", table)[0]
            == 0
        )
        found += [row["rel_ecdc"] for row in csv.DictReader(table.open(encoding="utf-8"))]
    assert sorted(found) == sorted(NAMES)
    assert script("s3_sidecar_init", *common, "--shard-index", 3, "--shard-count", 3)[0] == 1
    assert script("s3_sidecar_init", "--audio-root", tokens, "--suffix", ".cond")[0] == 1


def test_an_empty_folder_and_an_absent_one(tmp_path: Path) -> None:
    assert "no token files" in script("s3_sidecar_init", "--audio-root", tmp_path)[1]
    assert "no such folder" in script("s3_sidecar_init", "--audio-root", tmp_path / "nowhere")[1]
