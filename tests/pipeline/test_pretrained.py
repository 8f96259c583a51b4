"""`train.epochs: 0`: a checkpoint folder, as a hub id would give it, goes through the whole pipeline."""

import json
from pathlib import Path

import numpy as np
import pytest

from soundraft import models
from soundraft.training.learner import examples_of, fit
from tests.models.families import hub_like
from tests.models.test_whisper import checkpoint
from tests.pipeline.workshop import Workshop
from tests.training.toy import start_settings

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("family", ["whisper", "wav2vec2"])
def test_a_pretrained_checkpoint_is_taken_as_it_is_and_improved(tmp_path: Path, family: str) -> None:
    folder = tmp_path / "checkpoint"
    if family == "whisper":
        checkpoint(folder, window_s=6)
        learn_letters(folder)
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


def learn_letters(folder: Path) -> None:
    """Random weights write bytes that are no text, from which nothing can be learned; after this they write letters."""
    recognizer = models.load_recognizer(folder, language="en")
    noise = np.random.default_rng(0)
    features = [recognizer.extract(0.1 * noise.standard_normal(16000).astype(np.float32)) for _ in range(4)]
    texts = ["turn on the light", "turn off the fan", "open the window", "one two three four"]
    fit(recognizer, examples_of(features, texts), start_settings(150, rate=3e-3), seed=0, title="letters")
    samples = recognizer.sample(recognizer.encode(features), 8, temperature=1.0, seeds=[0, 1, 2, 3])
    assert all(any(recognizer.can_learn(text) for text in drawn) for drawn in samples)
    recognizer.save(folder)
