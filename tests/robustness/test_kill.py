"""SIGKILL at any moment of s1 and of s2: the rerun ends with the folder of an undisturbed run, byte for byte."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.audio import codecs
from tests.sidecar.workshop import REPOSITORY, tree

pytestmark = pytest.mark.slow

CLIPS = 200
KILLS = 20
MADE = (".wav", ".ecdc")


def start(name: str, *arguments: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, REPOSITORY / f"stages/{name}.py", *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "src"), "SOUNDRAFT_JOBS": "2"}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


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


def await_change(out: Path, process: subprocess.Popen[bytes]) -> None:
    """Until the run writes, however long its imports take today; or ends, because all was done."""
    before = names_in(out)
    while names_in(out) == before and process.poll() is None:
        time.sleep(0.005)


def names_in(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*")) if folder.exists() else []


def kill(process: subprocess.Popen[bytes]) -> None:
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
    names = {f"sub {index % 7}/clip {index:03d}.wav": 0.3 + index % 10 / 10 for index in range(CLIPS)}
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
