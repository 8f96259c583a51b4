from pathlib import Path

import pytest
import torch

from soundraft import models
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
