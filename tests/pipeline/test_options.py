"""Each way to learn runs through the real pipeline and leaves its mark; several processes write what one writes."""

import json
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.pipeline.workshop import Workshop

pytestmark = pytest.mark.slow
GRADED = {"reward.cer_weight": 1.0, "reward.clipped": False}  # a model that knows nothing still says better and worse


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    built = Workshop.build(tmp_path_factory.mktemp("options") / "repo")
    built.run("dvc", "repro", "train", "plan")
    built.commit("trained")
    return built


def set_params(shop: Workshop, changes: dict[str, Any]) -> None:
    """The committed params with these changes; `git checkout` may miss a change that keeps the size of the file."""
    (shop.folder / "params.yaml").write_text(shop.run("git", "show", "HEAD:params.yaml"))
    shop.change(changes)


def cycle(shop: Workshop, changes: dict[str, Any], **environment: str) -> Path:
    """The first cycle, with these params changed; its folder."""
    set_params(shop, changes)
    shop.run("dvc", "repro", "raft_train@c01", **environment)
    return shop.folder / "models/raft/01"


@pytest.mark.parametrize("algorithm", ["grpo", "mwer", "sft", "self_training", "random"])
def test_every_algorithm(shop: Workshop, algorithm: str) -> None:
    folder = cycle(shop, {"train.algorithm": algorithm} | GRADED)
    rows = pq.read_table(folder / "rollouts.parquet").to_pylist()
    assert len(rows) == 8 * (1 if algorithm in ("sft", "self_training") else 4)
    assert (folder / "model.safetensors").is_file()


def test_a_reward_without_transcripts_with_every_part(shop: Workshop) -> None:
    parts = ("agreement", "words", "vocabulary", "length", "language", "stability")
    changes = {f"reward.unsupervised.weights.{part}": 1.0 for part in parts}
    folder = cycle(shop, {"reward.kind": "unsupervised"} | changes)
    rows = pq.read_table(folder / "rollouts.parquet").to_pylist()
    assert set(parts) <= rows[0].keys()
    assert "wer" not in rows[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"train.lora.rank": 2},
        {"train.freeze": "encoder"},
        {"train.precision": "bfloat16"},
        {"train.algorithm": "grpo", "train.kl_weight": 0.1} | GRADED,
        {"train.reference_weight": 0.5},
        {"train.rounds_per_cycle": 1},
    ],
)
def test_every_way_to_train(shop: Workshop, changes: dict[str, Any]) -> None:
    folder = cycle(shop, changes)
    assert json.loads((folder / "metrics.json").read_text())["loss"] is not None


def test_two_processes_write_the_rollouts_of_one(shop: Workshop) -> None:
    alone = pq.read_table(cycle(shop, {"train.rounds_per_cycle": 1}) / "rollouts.parquet")
    launch = f"{sys.executable} -m accelerate.commands.launch --cpu --num_processes 2 --num_machines 1"
    set_params(shop, {"train.rounds_per_cycle": 1})
    shop.run(
        "dvc", "repro", "--single-item", "--force", "raft_train@c01",
        SOUNDRAFT_LAUNCH=f"{launch} --mixed_precision no --dynamo_backend no", CUDA_VISIBLE_DEVICES="",
    )  # fmt: skip
    assert pq.read_table(shop.folder / "models/raft/01/rollouts.parquet").equals(alone)
