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
import psutil
import pytest

from soundraft import files
from soundraft.audio import ecdc, io
from soundraft.parallel import BadClip
from soundraft.sidecar import format
from soundraft.sidecar.listing import list_clips
from tests.audio import codecs
from tests.robustness import fuzz
from tests.sidecar.workshop import REPOSITORY, script

MEMORY_BYTES = 2 << 30  # of addresses, more than the process has


@pytest.mark.parametrize(("count", "seed"), [(200, 0), pytest.param(2000, 1, marks=pytest.mark.slow)])
def test_readers_refuse_with_a_reason_or_read(count: int, seed: int) -> None:
    command = [sys.executable, "-m", "tests.robustness.fuzz", str(count), str(seed)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "src")}
    run = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr.decode()[-2000:]
    done = json.loads(run.stdout)
    assert done["faults"] == []
    assert sum(done["read"].values()) + sum(done["refused"].values()) == count
    assert all(done["refused"][kind] >= count // 20 for kind in fuzz.KINDS)  # they are malformed


def run(name: str, *arguments: object, code: int = 0) -> list[str]:
    """What a stage script prints that may not take much memory; an exception of it fails the test."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    most = psutil.Process().memory_info().vms + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, before[1]))
    try:
        ended, said = script(name, *arguments)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    assert ended == code, said
    return said.splitlines()


@pytest.fixture(autouse=True)
def _one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOUNDRAFT_JOBS", "1")


def reason_of(read: Callable[[], object]) -> str:
    try:
        read()
    except BadClip as error:
        return str(error)
    return ""


def quarantined(folder: Path) -> dict[str, str]:
    lines = (folder / "quarantine.jsonl").read_text(encoding="utf-8").splitlines()
    return {row["path"]: row["reason"] for row in map(json.loads, lines)}


@pytest.mark.parametrize(("count", "seed"), [(60, 3), pytest.param(2000, 4, marks=pytest.mark.slow)])
def test_a_folder_of_wavs_goes_through_s1_and_s2(tmp_path: Path, count: int, seed: int) -> None:
    checkpoint = codecs.save(tmp_path / "checkpoint")
    raw = codecs.wav_folder(tmp_path / "raw", {f"good {index}.wav": 0.2 + index / 50 for index in range(10)})
    bad = {}
    for index, (name, data) in enumerate(fuzz.mutants("wav", count // 2, seed)):
        (raw / f"mutant {index:04d}.wav").write_bytes(data)
        if reason_of(lambda data=data: io.parse(data)):
            bad[f"mutant {index:04d}.wav"] = name
    run("s1_normalize", raw, tmp_path / "normalized", "--max-bad-fraction", 1)
    mixed = tmp_path / "mixed"
    shutil.copytree(tmp_path / "normalized", mixed, ignore=shutil.ignore_patterns("*.jsonl"))
    for path in raw.iterdir():
        shutil.copy(path, mixed / f"raw {path.name}")  # straight into s2, past s1
    run("s2_encodec", mixed, tmp_path / "tokens", "--checkpoint", checkpoint, "--max-bad-fraction", 1)
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


@pytest.mark.parametrize(("count", "seed"), [(80, 5), pytest.param(2000, 6, marks=pytest.mark.slow)])
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
    roots = ("--audio-root", tokens, "--cond-root", cond)
    assert skipped(run("s3_sidecar_init", *roots, "--skip-errors", "--dtype", "float16")) == bad
    producers = ["--producer", "lin", "--lin", "at=0:1", "--skip-errors"]
    run("s4_sidecar_add", *roots, *producers)
    broken = spoil_sidecars(cond, count // 4, seed)
    assert broken <= skipped(run("s4_sidecar_add", *roots, *producers))
    broken = spoil_sidecars(cond, count // 4, seed)
    found = run("audit", *roots, "--verify-ranges", "--list", "all", code=1)
    findings = {line.split(": ")[1] for line in found if line.count(": ") >= 2}
    assert bad | broken <= findings
    assert not any(f"good {index}.ecdc" in findings for index in range(10))
    assert not any("auditor_error" in line for line in found)


def skipped(lines: list[str]) -> set[str]:
    return {line.removeprefix("SKIPPED ").split(": ")[0] for line in lines if line[:1] == "S"}


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
