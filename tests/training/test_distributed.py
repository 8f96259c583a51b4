"""Several processes do what one does: the same samples, and to rounding the same model."""

import os
import subprocess
import sys
from pathlib import Path

import torch

SCRIPT = "tests/training/two_processes.py"
LAUNCH = ("-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", "--num_machines", "1",
          "--mixed_precision", "no", "--dynamo_backend", "no", "--num_cpu_threads_per_process", "1")  # fmt: skip


def test_two_processes_make_the_model_of_one(tmp_path: Path) -> None:
    alone, shared = run(tmp_path / "one.pt"), run(tmp_path / "two.pt", *LAUNCH)
    assert shared["answers"] == alone["answers"]
    assert len(set(alone["answers"])) > 50
    for name, weights in alone["weights"].items():
        torch.testing.assert_close(shared["weights"][name], weights, atol=2e-4, rtol=1e-3, msg=name)


def run(path: Path, *launch: str) -> dict:
    environment = os.environ | {"PYTHONPATH": f"src{os.pathsep}.", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, *launch, SCRIPT, str(path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return torch.load(path, weights_only=True)
