"""Several processes do what one does: the same samples, and to rounding the same model."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = "tests/training/two_processes.py"


@pytest.mark.parametrize("processes", [2])
def test_two_processes_make_the_model_of_one(tmp_path: Path, processes: int) -> None:
    launch = ("-m", "accelerate.commands.launch", "--cpu", "--num_processes", str(processes), "--num_machines", "1",
              "--mixed_precision", "no", "--dynamo_backend", "no", "--num_cpu_threads_per_process", "1")  # fmt: skip
    alone = run(tmp_path / "one.pt")
    shared = run(tmp_path / "two.pt", *launch)
    assert shared["texts"] == alone["texts"]
    assert len(set(alone["texts"])) > 50
    for name, weights in alone["weights"].items():
        torch.testing.assert_close(shared["weights"][name], weights, atol=2e-4, rtol=1e-3, msg=name)


def run(path: Path, *launch: str) -> dict:
    environment = os.environ | {"PYTHONPATH": f"src{os.pathsep}.", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, *launch, SCRIPT, str(path)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return torch.load(path, weights_only=True)
