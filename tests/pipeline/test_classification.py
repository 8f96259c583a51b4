"""The real pipeline with task: classification on a toy configuration, and from one task to the other and back."""

import json
import shutil
from pathlib import Path
from typing import Any

import datasets
import pyarrow.parquet as pq
import pytest

from tests.pipeline.workshop import TOY as TOY_ASR
from tests.pipeline.workshop import Workshop
from tests.tasks import sounds

COUNTS = {"train": 18, "validation": 9, "test": 9}
FOLDERS = ("raw", "normalized", "tokens", "sidecars", "dataset")
STAGES = {
    "check", "imports", "fetch", "s1_normalize", "s2_encodec", "s3_sidecar_init", "s4_sidecar_add", "audit",
    "s5_build_dataset", "train", "benchmark", "plan", "raft_train", "controls", "evaluate", "report",
}  # fmt: skip


def toy(recordings: Path) -> dict[str, Any]:
    """As a user would ask for it: their own folder of recordings."""
    return sounds.TOY | {
        "corpus.target.path": str(recordings),
        "corpus.target.clips": dict.fromkeys(COUNTS),
        "classification.trainer.epochs": 4,
        "train.presentations_per_cycle": 32,
    }


def build(folder: Path) -> Workshop:
    return Workshop.build(folder, toy(sounds.folder_corpus(folder.parent / "recordings", counts=COUNTS)))


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    built = build(tmp_path_factory.mktemp("classification") / "repo")
    built.ran = built.repro()  # type: ignore[attr-defined]
    return built


def test_every_stage_ran_and_left_what_it_promises(shop: Workshop) -> None:
    assert {name.split("@")[0] for name in shop.ran} == STAGES  # type: ignore[attr-defined]
    folder = shop.folder
    train = datasets.load_from_disk(str(folder / "data/dataset/target"))["train"]
    assert set(train["label"]) == set(sounds.LABELS)
    labels = dict(zip(train["id"], train["label"], strict=True))
    rollouts = pq.read_table(folder / "models/raft/01/rollouts.parquet").to_pylist()
    assert len(rollouts) == 18 * 8
    assert all(row["reward"] == float(row["text"] == labels[row["id"]]) for row in rollouts)
    assert json.loads((folder / "models/raft/02/inactive.json").read_text()) == {"active": False}
    table = (folder / "reports/evaluate/report.md").read_text()
    for label in (
        "start model", "RAFT", "supervised on references", "greedy self-training", "a random one of K",
        "control: statistics SVM", "control: majority class",
    ):  # fmt: skip
        assert f"| {label}" in table or f"| control: {label}" in table
    numbers = json.loads((folder / "reports/evaluate/metrics.json").read_text())
    assert numbers["cycles"] == 1
    assert numbers["majority_accuracy"] == pytest.approx(1 / 3)
    predictions = pq.read_table(folder / "reports/evaluate/predictions.parquet")
    assert predictions.num_rows == 9 * 7
    assert {"label_predictions", "label_probability", "label_probabilities_rising", "speaker"} <= set(
        predictions.column_names
    )


def test_a_second_repro_runs_nothing(shop: Workshop) -> None:
    before = shop.lock()
    assert shop.repro() == []
    assert shop.lock() == before


def test_from_one_task_to_the_other_and_back_nothing_stale_is_left(shop: Workshop) -> None:
    path = shop.folder / "params.yaml"
    before, kept = shop.lock(), path.read_text()
    assert corpora(shop) == {name: ["target"] for name in FOLDERS} | {"dataset": ["start", "target"]}
    shop.change(TOY_ASR | {"task": "asr", "corpus.target.name": "espeak", "corpus.target.path": ""})
    shop.run("dvc", "repro", "s5_build_dataset")
    assert corpora(shop) == {name: ["start", "target"] for name in FOLDERS}
    path.write_text(kept)
    shop.run("dvc", "repro", "s5_build_dataset")
    assert corpora(shop) == {name: ["target"] for name in FOLDERS} | {"dataset": ["start", "target"]}
    assert shop.lock() == before


def test_two_runs_from_nothing_have_one_lock(shop: Workshop, tmp_path: Path) -> None:
    other = build(tmp_path / "repo")
    recordings = tmp_path / "recordings"
    other.change({"corpus.target.path": str(shop.folder.parent / "recordings")})
    shutil.rmtree(recordings)
    assert {name.split("@")[0] for name in other.repro(SOUNDRAFT_JOBS="1")} == STAGES
    assert other.lock() == shop.lock()


def corpora(shop: Workshop) -> dict[str, list[str]]:
    """The folders that each stage's out has."""
    return {
        name: sorted(path.name for path in (shop.folder / "data" / name).iterdir() if path.is_dir()) for name in FOLDERS
    }
