from pathlib import Path

import pytest
import safetensors.torch
import torch

from soundraft import files
from soundraft.runtime import UserError


def test_a_write_that_fails_leaves_the_old_file_and_no_scratch(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    files.write_json(target, {"x": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(target, {"x": float("nan")})
    assert files.read_json(target) == {"x": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_building_that_dies_leaves_the_old_directory(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with files.building(out) as scratch:
        (scratch / "a").write_text("old")
    with pytest.raises(RuntimeError), files.building(out) as scratch:
        (scratch / "a").write_text("new")
        raise RuntimeError
    assert (out / "a").read_text() == "old"
    with files.building(out) as scratch:
        assert list(scratch.iterdir()) == []
        (scratch / "b").write_text("new")
    assert [path.name for path in out.iterdir()] == ["b"]


def test_files_of_a_folder_that_is_built_have_the_usual_mode_and_links_keep_theirs(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.write_bytes(b"of the user")
    theirs.chmod(0o600)
    with files.building(tmp_path / "out") as out:
        (out / "sub").mkdir()
        safetensors.torch.save_file({"weight": torch.zeros(2)}, out / "sub/model.safetensors")
        files.write_text(out / "config.json", "{}")
        (out / "link").hardlink_to(theirs)
        (out / "soft").symlink_to(theirs)
    usual = (tmp_path / "out/config.json").stat().st_mode
    assert (tmp_path / "out/sub/model.safetensors").stat().st_mode == usual
    assert theirs.stat().st_mode & 0o777 == 0o600


def test_a_place_where_no_folder_can_be_made_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    message = "file/out: no folder can be made there: Not a directory"
    with pytest.raises(UserError, match=message), files.building(tmp_path / "file/out"):
        raise AssertionError("nothing may be built")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("name", ["../x.wav", "/etc/passwd", "a/../../x.wav"])
def test_a_path_that_leaves_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="leaves its folder"):
        files.inside(tmp_path, name)


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret.wav").write_bytes(b"x")
    (root / "link.wav").symlink_to(tmp_path / "secret.wav")
    with pytest.raises(ValueError, match="leaves its folder"):
        files.inside(root, "link.wav")


def test_sorted_files_finds_any_case_and_dotted_names(tmp_path: Path) -> None:
    for name in ("b.WAV", "a.wav", "x_120.0.wav", "sub/ü.wav", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [path.relative_to(tmp_path).as_posix() for path in files.sorted_files(tmp_path, [".wav"])]
    assert found == ["a.wav", "b.WAV", "sub/ü.wav", "x_120.0.wav"]


def test_sorted_names_of_one_folder_or_of_all(tmp_path: Path) -> None:
    for name in ("b.wav", "sub/a.wav", "sub.wav/c.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "broken.wav").symlink_to(tmp_path / "nowhere")
    assert files.sorted_names(tmp_path, [".wav"]) == ["b.wav", "sub.wav/c.wav", "sub/a.wav"]
    assert files.sorted_names(tmp_path, [".wav"], recursive=False) == ["b.wav"]
