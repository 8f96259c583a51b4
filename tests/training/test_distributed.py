"""Several processes do what one does: the same samples, and to rounding the same model."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.training import toy, two_processes


@pytest.mark.slow
def test_two_processes_make_the_model_of_one(tmp_path: Path) -> None:
    start, one, two = (tmp_path / f"{name}.pt" for name in ("start", "one", "two"))
    torch.save(toy.trained_weights(20), start)
    two_processes.main(start, one)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # what `accelerate launch` sets, without its own seconds
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "CUDA_VISIBLE_DEVICES": "",
              "PYTHONPATH": f"src{os.pathsep}.", "OMP_NUM_THREADS": "1"}  # fmt: skip
    command = [sys.executable, "tests/training/two_processes.py", str(start), str(two)]
    processes = [
        subprocess.Popen(command, env=os.environ | shared | {"RANK": rank, "LOCAL_RANK": rank}, stderr=subprocess.PIPE)
        for rank in ("0", "1")
    ]
    for process in processes:
        errors = process.communicate()[1]
        assert process.returncode == 0, errors[-3000:]
    alone, together = (torch.load(path, weights_only=True) for path in (one, two))
    assert together["answers"] == alone["answers"]
    assert len(set(alone["answers"])) > 30
    # a bias of the keys is the same for all of them, and changes no attention: its gradient is rounding
    for name in [name for name in alone["weights"] if "k_proj.bias" not in name]:
        weights = alone["weights"][name]
        torch.testing.assert_close(together["weights"][name], weights, atol=2e-4, rtol=1e-3, msg=name)
