import collections

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from soundraft.models import ctc


def by_the_rule(path: list[int]) -> tuple[int, ...]:
    runs = [token for index, token in enumerate(path) if index == 0 or path[index - 1] != token]
    return tuple(token for token in runs if token != 0)


@given(
    st.integers(1, 9).flatmap(
        lambda size: st.lists(st.lists(st.integers(0, 3), min_size=size, max_size=size), min_size=1)
    )
)
def test_collapse_is_the_rule_of_ctc(paths: list[list[int]]) -> None:
    array = np.array(paths, dtype=np.int32).reshape(len(paths), -1)
    assert ctc.collapse(array, 0) == [by_the_rule(path) for path in paths]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7])
def test_frequencies_are_the_softmax_of_every_frame(temperature: float) -> None:
    torch.manual_seed(0)
    scales = torch.tensor([0.3, 1.0, 3.0, 8.0, 40.0])[None, :, None]  # from almost flat to certain
    log_probs = torch.log_softmax(torch.randn(1, 5, 6) * scales, dim=-1)
    drawn = ctc.draw(log_probs, torch.tensor([5]), 40000, temperature=temperature, seeds=[3], blank=0)[0]
    expected = torch.softmax(log_probs[0].double() / temperature, dim=-1).numpy()
    for frame in range(5):
        observed = np.bincount(drawn[:, frame], minlength=6) / 40000
        np.testing.assert_allclose(observed, expected[frame], atol=0.01)


def test_frames_are_drawn_independently() -> None:
    log_probs = torch.full((1, 2, 2), 0.5).log()
    drawn = ctc.draw(log_probs, torch.tensor([2]), 20000, temperature=1.0, seeds=[1], blank=0)[0]
    counts = collections.Counter(map(tuple, drawn.tolist()))
    assert all(abs(counts[pair] / 20000 - 0.25) < 0.015 for pair in [(0, 0), (0, 1), (1, 0), (1, 1)])


def test_a_token_without_probability_is_never_drawn() -> None:
    log_probs = torch.tensor([0.6, 0.4, 0.0, 0.0]).log()[None, None].expand(1, 50, 4).contiguous()
    drawn = ctc.draw(log_probs, torch.tensor([50]), 2000, temperature=1.0, seeds=[1], blank=0)
    assert set(np.unique(drawn)) == {0, 1}


def test_a_clips_paths_depend_on_its_frames_and_its_seed_alone() -> None:
    torch.manual_seed(0)
    log_probs = torch.log_softmax(torch.randn(3, 20, 7), dim=-1)
    lengths = torch.tensor([20, 9, 14])
    together = ctc.draw(log_probs, lengths, 16, temperature=1.0, seeds=[5, 6, 7], blank=0)
    for clip, (length, seed) in enumerate(zip(lengths.tolist(), [5, 6, 7], strict=True)):
        alone = ctc.draw(
            log_probs[clip : clip + 1, :length], lengths[clip : clip + 1], 16, temperature=1.0, seeds=[seed], blank=0
        )
        np.testing.assert_array_equal(together[clip, :, :length], alone[0])
        assert (together[clip, :, length:] == 0).all()
