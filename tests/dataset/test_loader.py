from pathlib import Path

import numpy as np
import pytest
import torch

from soundraft.clips import batches as loader
from soundraft.params.sections import Materialize
from tests.conftest import tone
from tests.dataset.workshop import corpus


@pytest.mark.parametrize("materialize", ["copy", "embed"])
def test_loading_resamples_and_takes_the_clips_asked_for(tmp_path: Path, materialize: Materialize) -> None:
    corpus(tmp_path / "in").build(tmp_path / "out", materialize)
    clips = loader.load_utterances(
        tmp_path / "out", "train", sample_rate_hz=8000, extract=torch.from_numpy, depends={}, indices=[1, 0, 1]
    )
    assert clips.ids == ["3", "0", "3"]
    assert clips.texts == ["text 3", "text 0", "text 3"]
    assert clips.lengths == [4000, 1600, 4000]
    np.testing.assert_allclose(clips.features[1][400:-400], tone(0.2)[400:-400], atol=2e-3)


def test_the_second_load_computes_nothing_and_is_the_same_to_the_bit(tmp_path: Path) -> None:
    corpus(tmp_path / "in").build(tmp_path / "out", "copy")
    calls: list[int] = []

    def extract(samples: np.ndarray) -> torch.Tensor:
        calls.append(1)
        return torch.from_numpy(samples.copy()).unfold(0, 200, 80).square().mean(-1, keepdim=True).log()

    def load(indices: list[int] | None = None, gain: float = 1.0) -> list[torch.Tensor]:
        return loader.load_utterances(
            tmp_path / "out", "train", sample_rate_hz=8000, extract=extract, depends={"gain": gain}, indices=indices
        ).features

    one = load([1])
    assert len(calls) == 1
    first = load()
    assert len(calls) == 2
    again = load([1, 0, 1])
    assert len(calls) == 2
    for kept, made in zip([*again, *one], [first[1], first[0], first[1], first[1]], strict=True):
        assert torch.equal(kept, made)
    load(gain=2.0)
    assert len(calls) == 4


def test_batches_hold_every_clip_once_and_are_of_similar_length() -> None:
    lengths = [int(value) for value in np.random.default_rng(0).integers(10, 1000, 103)]
    for batches in (loader.length_batches(lengths, 8), loader.shuffled_batches(lengths, 8, seed=3)):
        assert sorted(index for batch in batches for index in batch) == list(range(103))
        padding = sum(max(lengths[i] for i in batch) * len(batch) for batch in batches) / sum(lengths)
        assert padding < 1.25
    assert loader.shuffled_batches(lengths, 8, seed=3) == loader.shuffled_batches(lengths, 8, seed=3)
    assert loader.shuffled_batches(lengths, 8, seed=3) != loader.shuffled_batches(lengths, 8, seed=4)
