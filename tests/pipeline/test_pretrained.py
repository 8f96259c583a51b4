"""`train.epochs: 0`: a checkpoint folder, as a hub id would give it, goes through the whole pipeline."""

import json
from pathlib import Path

import pytest

from tests.models.test_ctc import hub_like
from tests.models.test_whisper import checkpoint
from tests.pipeline.workshop import Workshop

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("family", ["whisper", "wav2vec2"])
def test_a_pretrained_checkpoint_is_taken_as_it_is_and_improved(tmp_path: Path, family: str) -> None:
    folder = tmp_path / "checkpoint"
    if family == "whisper":
        checkpoint(folder, window_s=6)
    else:
        hub_like(folder, family)
    changes = {
        "train.epochs": 0,
        "model.checkpoint": str(folder),
        "model.language": "en" if family == "whisper" else "",
    }
    shop = Workshop.build(tmp_path / "repo", changes)
    shop.repro()
    before, after = (shop.folder / "models" / name / "model.safetensors" for name in ("base", "raft/01"))
    assert before.stat().st_size == (folder / "model.safetensors").stat().st_size
    assert before.read_bytes() != after.read_bytes()
    assert json.loads((shop.folder / "models/base/metrics.json").read_text())["presentations"] == 0
    assert json.loads((shop.folder / "reports/evaluate/metrics.json").read_text())["cycles"] == 1
