"""The package without a checkout around it has all that the five steps need."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from soundraft import files
from soundraft.audio import io
from tests.conftest import tone

ROOT = Path(__file__).resolve().parents[1]


def test_the_steps_run_from_the_installed_package(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "src/soundraft", tmp_path / "site/soundraft", ignore=shutil.ignore_patterns("__pycache__"))
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    for name, place in wheel["force-include"].items():
        (tmp_path / "site" / place).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / "site" / place)
    files.write_bytes(tmp_path / "in/a.wav", io.wav_bytes(tone(), 8000))
    for step in ("s1 in normalized", "s2 normalized tokens"):
        ran = subprocess.run(
            [sys.executable, "-m", "soundraft", *step.split()],
            cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path / "site")}, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "tokens/a.ecdc").is_file()
