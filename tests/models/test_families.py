import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from soundraft import models
from soundraft.models.base import ModelError
from soundraft.models.ctc import CTC_MODEL_TYPES, CTCAdapter
from tests.conftest import tone
from tests.models import families

SECONDS = (0.6, 1.0)


@pytest.mark.parametrize("model_type", CTC_MODEL_TYPES)
def test_every_family_reads_decodes_learns_and_is_saved(tmp_path: Path, model_type: str) -> None:
    recognizer = models.load_recognizer(families.hub_like(tmp_path / "hub", model_type))
    assert isinstance(recognizer, CTCAdapter)
    assert recognizer.model.config.model_type == model_type
    recognizer.model.eval()
    features = [recognizer.extract(tone(seconds, recognizer.sample_rate_hz)) for seconds in SECONDS]
    encoded = recognizer.encode(features)
    alone = recognizer.encode(features[:1])
    length = int(alone.lengths[0])
    assert int(encoded.lengths[0]) == length < int(encoded.lengths[1])
    torch.testing.assert_close(encoded.log_probs[0, :length], alone.log_probs[0], atol=1e-3, rtol=1e-3)
    assert len(recognizer.greedy(encoded)) == 2
    assert [len(texts) for texts in recognizer.sample(encoded, 4, temperature=1.0, seeds=[1, 2])] == [4, 4]
    assert len(recognizer.beam(encoded, width=4)) == 2
    optimizer = torch.optim.Adam(recognizer.model.parameters(), 1e-2)
    sums = []
    for _ in range(10):
        loss = -torch.cat([scores.log_probs for scores in recognizer.score(features, [["one", "on"], ["two"]])]).sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        sums.append(float(loss.detach()))
    assert sums[-1] < sums[0]
    recognizer.save(tmp_path / "saved")
    again = models.load_recognizer(tmp_path / "saved")
    again.model.eval()
    torch.testing.assert_close(again.encode(features).log_probs, recognizer.encode(features).log_probs)


@pytest.mark.parametrize("model_type", CTC_MODEL_TYPES)
def test_a_clip_too_short_for_the_network_is_refused_and_the_shortest_is_taken(tmp_path: Path, model_type: str) -> None:
    recognizer = models.load_recognizer(families.hub_like(tmp_path / "hub", model_type))
    assert isinstance(recognizer, CTCAdapter)
    recognizer.model.eval()
    noise = np.random.default_rng(0).normal(size=recognizer.sample_rate_hz).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        least = recognizer.least_samples
    least_ms = 1000 * least / recognizer.sample_rate_hz
    for count in (0, round(0.002 * recognizer.sample_rate_hz), least - 1):
        got_ms = 1000 * count / recognizer.sample_rate_hz
        with pytest.raises(ModelError, match=f"clip of {got_ms:.1f} ms; this model takes {least_ms:.1f} ms or more"):
            recognizer.extract(noise[:count])
    encoded = recognizer.encode([recognizer.extract(noise[:least])])
    assert encoded.lengths.tolist() == [1]
    assert encoded.log_probs.isfinite().all()
    with pytest.raises((RuntimeError, ValueError, AssertionError)):  # one sample less is really too few
        shorter = recognizer.encode([recognizer._features(noise[: least - 1])])
        assert shorter.log_probs.isfinite().all()
