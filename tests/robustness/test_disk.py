"""A full disk: one clear line, exit code 1, nothing half-written; with room again the rerun ends as if nothing was."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from soundraft.audio import ecdc
from soundraft.sidecar import format
from tests.audio import codecs
from tests.sidecar.workshop import REPOSITORY, tree

pytestmark = pytest.mark.slow

CLIPS = 40
SIZES = {"s1_normalize": "300k", "s2_encodec": "100k", "s3_sidecar_init": "120k", "s4_sidecar_add": "200k"}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Where a small file system can be mounted; `resize` changes it."""
    place = tmp_path / "disk"
    place.mkdir()
    try:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], capture_output=True, check=False
        )
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    if done.returncode:
        pytest.skip(f"mounting is not permitted here: {done.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", place], check=True)


def resize(disk: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", disk], check=True)


def script(name: str, *arguments: object) -> tuple[int, str]:
    command = [sys.executable, REPOSITORY / f"stages/{name}.py", *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "src"), "SOUNDRAFT_JOBS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    said = [line for line in done.stderr.splitlines() if line and "%|" not in line]  # without the progress bars
    return done.returncode, "\n".join(said)


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, list[object]]:
    """The arguments of each script but its output folder, which come from undisturbed runs of those before."""
    raw = codecs.wav_folder(tmp_path / "raw", {f"clip {index:02d}.wav": 0.5 for index in range(CLIPS)})
    checkpoint = codecs.save(tmp_path / "checkpoint")
    normalized, tokens = tmp_path / "normalized", tmp_path / "tokens"
    assert script("s1_normalize", raw, normalized)[0] == 0
    assert script("s2_encodec", normalized, tokens, "--checkpoint", checkpoint)[0] == 0
    return {
        "s1_normalize": [raw],
        "s2_encodec": ["--checkpoint", checkpoint, normalized],
        "s3_sidecar_init": ["--audio-root", tokens, "--cond-root"],
        "s4_sidecar_add": [
            "--create-missing", "--producer", "lin", "--lin", "a=0:1", "--audio-root", tokens, "--cond-root",
        ],
    }  # fmt: skip


def half_written(folder: Path) -> list[str]:
    """Files that no reader takes, or that nobody ought to see."""
    bad = []
    for path in folder.rglob("*"):
        if path.name.endswith(".tmp"):
            bad.append(path.name)
        elif path.suffix == ".ecdc":
            ecdc.read(path)
        elif path.name.endswith(".cond.npy") and format.exists(str(path))[1]:
            format.read(str(path))
    return bad


def test_a_full_disk(tmp_path: Path, small_disk: Path, inputs: dict[str, list[object]]) -> None:
    for name, size in SIZES.items():
        assert script(name, *inputs[name], tmp_path / "whole" / name)[0] == 0
        expected = tree(tmp_path / "whole" / name)
        resize(small_disk, size)
        out = small_disk / name
        code, said = script(name, *inputs[name], out)
        assert code == 1, (name, said)
        assert said.count("\n") == 0, said
        assert said.startswith(f"{name}: "), said
        assert "No space left on device" in said
        assert str(out) in said
        assert half_written(out) == [], name
        left = tree(out)
        assert {
            path for path, data in left.items() if path.endswith((".wav", ".ecdc")) and data != expected[path]
        } == set()
        resize(small_disk, "64m")
        assert script(name, *inputs[name], out)[0] == 0
        assert tree(out) == expected
        shutil.rmtree(out)  # the next disk is smaller than what is on this one
