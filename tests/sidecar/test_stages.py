"""The three scripts as the pipeline runs them: no torch anywhere, all clips through."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from soundraft import files
from soundraft.audio import io
from soundraft.manifest import Clip, write_manifest
from soundraft.sidecar import format
from tests.sidecar.workshop import NAMES, REPOSITORY, script, token_folder

RUN = """
import runpy, sys
for name in ("s3_sidecar_init", "s4_sidecar_add", "audit"):
    sys.argv = ["stages/" + name + ".py"]
    runpy.run_path(f"{%r}/{sys.argv[0]}", run_name="__main__")
assert "torch" not in sys.modules, "torch was imported"
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Two roles with tokens and normalised audio, and params that ask for every shipped producer and one of ours."""
    for role in ("start", "target"):
        token_folder(tmp_path / "data/tokens" / role)
        audio = tmp_path / "data/normalized" / role
        clips = []
        for number, name in enumerate(NAMES):
            wav = name.replace(".ecdc", ".wav")
            io.write_wav(audio / wav, np.full((5 + number) * 320 - 9, 0.5, np.float32), 24000)
            clips.append(Clip(id=wav, audio_path=wav, duration=number + 1.0))
        write_manifest(audio, clips, [])
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    params["sidecar"]["producers"] = ["from_audio", "const", "lin", "from_filename", "from_manifest", "slope"]
    params["sidecar"]["arguments"] = [
        *("--audio-features", "rms_db", "--const", "gain=2", "--lin", "at=0:1"),
        *("--manifest-column", "duration"),
    ]
    params["audit"]["require"] = ["rms_db", "gain", "at", "duration", "slope_db_s"]
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    shutil.copytree(REPOSITORY / "paramproducers", tmp_path / "paramproducers")
    return tmp_path


def change(folder: Path, section: str, **values: object) -> None:
    params = yaml.safe_load((folder / "params.yaml").read_text())
    params[section] |= values
    (folder / "params.yaml").write_text(yaml.safe_dump(params))


def test_the_three_stages_without_torch(workspace: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "src")}
    command = [sys.executable, "-c", RUN % str(REPOSITORY)]
    done = subprocess.run(command, cwd=workspace, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "s5_build_dataset makes the dataset" in done.stdout
    for role in ("start", "target"):
        sidecar = format.read(f"{workspace}/data/sidecars/{role}/foo_pitch_64.00_amp_.75.cond.npy")
        assert sidecar.names == ("rms_db", "gain", "at", "pitch", "amp", "duration", "slope_db_s")
        assert sidecar.values.dtype == np.float16
        assert sidecar.values[3].tolist() == pytest.approx([-6.02, 2, 3 / 8, 64, 0.75, 5, 0], abs=3e-3)
        assert len(files.sorted_names(workspace / "data/sidecar_init" / role, [".cond.npy", ".cond.json"])) == 10
        report = files.read_json(workspace / f"reports/audit/{role}.json")
        assert (report["clips"], report["findings"], report["verdict"]) == (5, {"unlike_others": 1}, "passed")
        assert (workspace / f"reports/audit/{role}.csv").read_text().count("\n") == 2


def test_bad_clips_are_quarantined_up_to_the_limit_and_the_audit_reports_before_it_fails(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workspace)
    change(workspace, "sidecar", producers=["from_audio"], arguments=[])
    change(workspace, "audit", require=[])
    assert script("s3_sidecar_init")[0] == 0
    (workspace / "data/normalized/start/a.wav").unlink()
    code, output = script("s4_sidecar_add")
    assert (code, "1 of 5 clips are bad" in output, "a.ecdc: producer from_audio: " in output) == (1, True, True)
    assert not (workspace / "data/sidecars").exists()
    change(workspace, "limits", max_bad_fraction=0.5)
    assert script("s4_sidecar_add")[0] == 0
    assert "a.ecdc" in (workspace / "data/sidecars/start/quarantine.jsonl").read_text()
    code, output = script("audit")
    assert (code, "missing_sidecar: a.ecdc" in output) == (1, True)
    assert files.read_json(workspace / "reports/audit/start.json")["verdict"] == "failed"
    assert files.read_json(workspace / "reports/audit/target.json")["verdict"] == "passed"
