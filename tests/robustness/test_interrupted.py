"""Kills and a full disk at any moment of s1 to s4: nothing is half-written, and the rerun ends as if undisturbed."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from soundraft.audio import ecdc
from soundraft.sidecar import format
from tests.audio import codecs
from tests.sidecar.workshop import REPOSITORY, tree

pytestmark = pytest.mark.slow

CLIPS = 40
CLIPS_TO_KILL = 200
KILLS = 20
MADE = (".wav", ".ecdc")
SIZES = {"s1_normalize": "300k", "s2_encodec": "100k", "s3_sidecar_init": "120k", "s4_sidecar_add": "200k"}


def start(name: str, *arguments: object, jobs: int = 2, **pipes: Any) -> subprocess.Popen[str]:
    command = [sys.executable, REPOSITORY / f"stages/{name}.py", *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "src"), "SOUNDRAFT_JOBS": str(jobs)}
    given = pipes or dict.fromkeys(("stdout", "stderr"), subprocess.DEVNULL)
    return subprocess.Popen(command, env=environment, start_new_session=True, text=True, **given)


def script(name: str, *arguments: object) -> tuple[int, str]:
    run = start(name, *arguments, jobs=1, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    said = run.communicate()[1]
    lines = [line for line in said.splitlines() if line and "%|" not in line]  # without the progress bars
    return run.returncode, "\n".join(lines)


def undisturbed_s(name: str, *arguments: object) -> float:
    started = time.monotonic()
    assert start(name, *arguments).wait() == 0
    return time.monotonic() - started


def first_change_s(out: Path, name: str, *arguments: object) -> float:
    """How long a run takes until it writes; a kill before that disturbs nothing."""
    started = time.monotonic()
    process = start(name, *arguments)
    while not out.exists() and process.poll() is None:
        time.sleep(0.005)
    reached_s = time.monotonic() - started
    kill(process)
    return reached_s


def await_change(out: Path, process: subprocess.Popen[str]) -> None:
    """Until the run writes, however long its imports take today; or ends, because all was done."""
    before = names_in(out)
    while names_in(out) == before and process.poll() is None:
        time.sleep(0.005)


def names_in(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*")) if folder.exists() else []


def kill(process: subprocess.Popen[str]) -> None:
    """With all its workers, and what they then leave in shared memory, where joblib names it by the process."""
    with suppress(ProcessLookupError):  # it has ended already
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for path in Path("/dev/shm").glob(f"sem.loky-{process.pid}-*"):
        path.unlink()
    for path in Path("/dev/shm").glob(f"joblib_memmapping_folder_{process.pid}_*"):
        shutil.rmtree(path)


@pytest.mark.parametrize("name", ["s1_normalize", "s2_encodec"])
def test_killed_twenty_times_and_run_again(tmp_path: Path, name: str) -> None:
    names = {f"sub {index % 7}/clip {index:03d}.wav": 0.3 + index % 10 / 10 for index in range(CLIPS_TO_KILL)}
    source = codecs.wav_folder(tmp_path / "source", names)
    options = ["--checkpoint", codecs.save(tmp_path / "checkpoint")] if name == "s2_encodec" else []
    whole_s = undisturbed_s(name, source, tmp_path / "undisturbed", *options)
    expected = tree(tmp_path / "undisturbed")
    begin_s = first_change_s(tmp_path / "probe", name, source, tmp_path / "probe", *options)
    rng = random.Random(0)
    half_done = 0
    for number in range(KILLS):
        out = tmp_path / f"out {number % 4}"  # four begin with nothing, the others where a kill left them
        process = start(name, source, out, *options)
        await_change(out, process)
        time.sleep(rng.uniform(0, max(0.0, whole_s - begin_s)))
        kill(process)
        left = tree(out) if out.exists() else {}
        half_done += 0 < len(left) < len(expected)
        assert [path for path, data in left.items() if path.endswith(MADE) and data != expected[path]] == []
    assert half_done > 0  # the kills did hit the work
    for number in range(4):
        assert start(name, source, tmp_path / f"out {number}", *options).wait() == 0
        assert tree(tmp_path / f"out {number}") == expected


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
