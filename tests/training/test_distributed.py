"""Several processes do what one does: the same samples, and to rounding the same model."""

import os
import subprocess
import sys
from pathlib import Path

import torch

from tests.training import toy, two_processes

LAUNCH = ("-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", "--num_machines", "1",
          "--mixed_precision", "no", "--dynamo_backend", "no", "--num_cpu_threads_per_process", "1")  # fmt: skip


def test_two_processes_make_the_model_of_one(tmp_path: Path) -> None:
    start, one, two = (tmp_path / f"{name}.pt" for name in ("start", "one", "two"))
    torch.save(toy.trained_weights(20), start)
    two_processes.main(start, one)
    environment = os.environ | {"PYTHONPATH": f"src{os.pathsep}.", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, *LAUNCH, "tests/training/two_processes.py", str(start), str(two)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    alone, shared = (torch.load(path, weights_only=True) for path in (one, two))
    assert shared["answers"] == alone["answers"]
    assert len(set(alone["answers"])) > 30
    for name, weights in alone["weights"].items():
        torch.testing.assert_close(shared["weights"][name], weights, atol=2e-4, rtol=1e-3, msg=name)
