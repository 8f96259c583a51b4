"""Malformed files of every kind: refused with a reason or read, and nothing else ever happens."""

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from soundraft import files
from soundraft.audio import ecdc, io
from soundraft.parallel import BadClip
from soundraft.sidecar import format
from soundraft.sidecar.listing import list_clips
from tests.audio import codecs
from tests.robustness import fuzz
from tests.sidecar.workshop import REPOSITORY

RUN_S = 120
MEMORY_BYTES = 8 << 30  # of addresses, of which torch takes most


def read_mutants(count: int, seed: int) -> dict:
    command = [sys.executable, "-m", "tests.robustness.fuzz", str(count), str(seed)]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment(), capture_output=True, timeout=RUN_S, check=False)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return json.loads(done.stdout)


def environment(**more: str) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(REPOSITORY / "src"), "SOUNDRAFT_JOBS": "1"} | more


@pytest.mark.parametrize(("count", "seed"), [(200, 0), pytest.param(2000, 1, marks=pytest.mark.slow)])
def test_readers_refuse_with_a_reason_or_read(count: int, seed: int) -> None:
    done = read_mutants(count, seed)
    assert done["faults"] == []
    assert sum(done["read"].values()) + sum(done["refused"].values()) == count
    assert all(done["refused"][kind] >= count // 20 for kind in fuzz.KINDS)  # they are malformed


def script(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """A stage script that may not have much memory."""
    command = [sys.executable, REPOSITORY / f"stages/{name}.py", *map(str, arguments)]
    return subprocess.run(
        command, env=environment(), capture_output=True, text=True, timeout=RUN_S, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES)),
    )  # fmt: skip


def reason_of(read: Callable[[], object]) -> str:
    try:
        read()
    except BadClip as error:
        return str(error)
    return ""


def quarantined(folder: Path) -> dict[str, str]:
    lines = (folder / "quarantine.jsonl").read_text(encoding="utf-8").splitlines()
    return {row["path"]: row["reason"] for row in map(json.loads, lines)}


def no_crash(done: subprocess.CompletedProcess[str], exit_code: int) -> None:
    assert done.returncode == exit_code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("count", "seed"), [(200, 3), pytest.param(2000, 4, marks=pytest.mark.slow)])
def test_a_folder_of_wavs_goes_through_s1_and_s2(tmp_path: Path, count: int, seed: int) -> None:
    checkpoint = codecs.save(tmp_path / "checkpoint")
    raw = codecs.wav_folder(tmp_path / "raw", {f"good {index}.wav": 0.2 + index / 50 for index in range(10)})
    bad = {}
    for index, (name, data) in enumerate(fuzz.mutants("wav", count // 2, seed)):
        (raw / f"mutant {index:04d}.wav").write_bytes(data)
        if reason_of(lambda data=data: io.parse(data)):
            bad[f"mutant {index:04d}.wav"] = name
    no_crash(script("s1_normalize", raw, tmp_path / "normalized", "--max-bad-fraction", 1), 0)
    mixed = tmp_path / "mixed"
    shutil.copytree(tmp_path / "normalized", mixed, ignore=shutil.ignore_patterns("*.jsonl"))
    for path in raw.iterdir():
        shutil.copy(path, mixed / f"raw {path.name}")  # straight into s2, past s1
    no_crash(
        script("s2_encodec", mixed, tmp_path / "tokens", "--checkpoint", checkpoint,
               "--max-bad-fraction", 1), 0,
    )  # fmt: skip
    rejected, not_encoded = quarantined(tmp_path / "normalized"), quarantined(tmp_path / "tokens")
    assert bad.keys() <= rejected.keys()
    assert {f"raw {name}" for name in bad} <= not_encoded.keys()
    assert all(rejected.values())
    assert all(not_encoded.values())
    for index in range(10):
        assert (tmp_path / f"normalized/good {index}.wav").is_file()
        for name in (f"good {index}", f"raw good {index}"):
            assert ecdc.read(tmp_path / f"tokens/{name}.ecdc").frames > 0
    made = {path.removesuffix(".wav") for path in files.sorted_names(mixed, [".wav"])}
    assert {row.name for row in list_clips(tmp_path / "tokens", format.SUFFIX)} == made - {
        name.removesuffix(".wav") for name in not_encoded
    }


@pytest.mark.parametrize(("count", "seed"), [(200, 5), pytest.param(2000, 6, marks=pytest.mark.slow)])
def test_a_folder_of_token_files_and_sidecars_goes_through_s3_s4_and_audit(
    tmp_path: Path, count: int, seed: int
) -> None:
    tokens, cond = tmp_path / "tokens", tmp_path / "cond"
    good = ecdc.Tokens(np.zeros((8, 15), np.int64), 4800)
    bad = set()
    for kind in ("esf", "encodec"):
        for index, (_, data) in enumerate(fuzz.mutants(kind, count // 4, seed)):
            files.write_bytes(tokens / f"{kind} {index:04d}.ecdc", data)
            if reason_of(lambda data=data: ecdc.parse(data)):
                bad.add(f"{kind} {index:04d}.ecdc")
    names = [f"good {index}" for index in range(10)]
    names += [f"{kind} {index:04d}" for kind in ("npy", "json") for index in range(count // 4)]
    for name in names:
        files.write_bytes(tokens / f"{name}.ecdc", ecdc.encodec_bytes(good))
    made = script("s3_sidecar_init", "--audio-root", tokens, "--cond-root", cond, "--skip-errors", "--dtype", "float16")
    no_crash(made, 0)
    assert {line.removeprefix("SKIPPED ").split(": ")[0] for line in made.stdout.splitlines() if line[:1] == "S"} == bad
    producers = ["--producer", "lin", "--lin", "at=0:1", "--skip-errors"]
    no_crash(script("s4_sidecar_add", "--audio-root", tokens, "--cond-root", cond, *producers), 0)
    broken = spoil_sidecars(cond, count // 4, seed)
    again = script("s4_sidecar_add", "--audio-root", tokens, "--cond-root", cond, *producers)
    no_crash(again, 0)
    named = {line.removeprefix("SKIPPED ").split(": ")[0] for line in again.stdout.splitlines() if line[:1] == "S"}
    assert broken <= named
    broken = spoil_sidecars(cond, count // 4, seed)
    found = script("audit", "--audio-root", tokens, "--cond-root", cond, "--verify-ranges", "--list", "all")
    no_crash(found, 1)
    findings = {line.split(": ")[1] for line in found.stdout.splitlines() if line.count(": ") >= 2}
    assert bad | broken <= findings
    assert not any(f"good {index}.ecdc" in findings for index in range(10))
    assert "auditor_error" not in found.stdout


def spoil_sidecars(cond: Path, count: int, seed: int) -> set[str]:
    """Mutants in place of sidecars; the token files of those that no reader takes."""
    broken = set()
    for kind in ("npy", "json"):
        for index, (_, data) in enumerate(fuzz.mutants(kind, count, seed)):
            name = f"{kind} {index:04d}"
            (cond / f"{name}.cond.{kind}").write_bytes(data)
            if reason_of(lambda name=name: format.read(f"{cond}/{name}.cond.npy")):
                broken.add(f"{name}.ecdc")
    return broken
