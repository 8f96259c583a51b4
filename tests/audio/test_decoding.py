"""Decoding in batches and as codes come, against decoding whole clips one by one."""

import functools
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from soundraft.audio import decoding
from soundraft.audio.codec import Codec, CodecError
from soundraft.audio.ecdc import SAMPLES_PER_FRAME
from tests.audio import codecs

SIZES = {
    "small": codecs.SMALL,
    "like tiny": codecs.LIKE_TINY,
    "more residual layers": codecs.SMALL | {"num_residual_layers": 3, "use_conv_shortcut": False},
}
LOOKS_AHEAD = codecs.SMALL | {"trim_right_ratio": 0.5}


@functools.cache
def codec(name: str) -> Codec:
    torch.set_num_threads(1)
    return codecs.codec_of(codecs.random_model(SIZES[name]))


def codes(frames: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 1024, (4, frames))


def near(wave: np.ndarray, expected: np.ndarray) -> None:
    assert wave.dtype == np.float32
    np.testing.assert_allclose(wave, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("blocks", [[1] * 11, [40], [3, 3, 0, 1, 15, 7], [2, 3], [0]])
def test_a_stream_is_the_whole_in_parts(name: str, blocks: list[int]) -> None:
    whole = codes(sum(blocks))
    taken: list[int] = []

    def given() -> Iterator[np.ndarray]:
        for block in np.split(whole, np.cumsum(blocks)[:-1], axis=1):
            taken.append(block.shape[1])
            yield block

    waves = []
    for wave in decoding.stream(codec(name), given()):
        waves.append(wave)
        assert sum(map(len, waves)) == sum(taken) * SAMPLES_PER_FRAME  # nothing that is there waits
    if whole.shape[1]:
        near(np.concatenate(waves), codec(name).decode(whole))
    else:
        assert waves == []


def test_only_the_beginning_waits() -> None:
    least = decoding.reach_of(codec("small").model.decoder).least_frames
    assert least == 7  # the kernel of the first convolution
    lengths = [
        len(wave) // SAMPLES_PER_FRAME
        for wave in decoding.stream(codec("small"), (codes(1, seed) for seed in range(12)))
    ]
    assert lengths == [least] + [1] * (12 - least)


@pytest.mark.parametrize("name", SIZES)
def test_no_frame_reaches_further_than_stated(name: str) -> None:
    decoder = codec(name).model.decoder
    reach = decoding.reach_of(decoder)
    torch.manual_seed(0)
    hidden = torch.randn(1, decoder.model[1].lstm.hidden_size, 40, requires_grad=True)
    decoder.model[2:](hidden)[0, 0, 30 * SAMPLES_PER_FRAME : 31 * SAMPLES_PER_FRAME].square().sum().backward()
    assert hidden.grad is not None
    seen = torch.nonzero(hidden.grad.abs().sum((0, 1))).flatten()
    assert 30 - reach.other_frames <= int(seen.min()) < int(seen.max()) == 30
    assert int(seen.min()) - (30 - reach.other_frames) <= 2  # and not much less far


def test_a_batch_decodes_each_clip_as_if_alone() -> None:
    clips = [codes(frames, frames) for frames in (1, 40, 6, 7, 23, 40)]
    for name in SIZES:
        for batch_clips in (2, 8):
            waves = decoding.decode_batch(codec(name), clips, batch_clips=batch_clips)
            for wave, clip in zip(waves, clips, strict=True):
                near(wave, codec(name).decode(clip))
    assert decoding.decode_batch(codec("small"), []) == []


def test_a_decoder_that_looks_ahead_is_not_streamed_and_not_batched() -> None:
    ahead = codecs.codec_of(codecs.random_model(LOOKS_AHEAD))
    with pytest.raises(CodecError, match="looks ahead"):
        decoding.stream(ahead, [codes(9)])
    clips = [codes(9), codes(30)]
    for wave, clip in zip(decoding.decode_batch(ahead, clips), clips, strict=True):
        near(wave, ahead.decode(clip))
