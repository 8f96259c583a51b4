"""Features of a classifier in the feature cache: made once, for as many epochs and runs as want them."""

import numpy as np
import pytest
import torch

from soundraft.audio import io
from soundraft.audio.spectra import Spectra
from soundraft.clips.features import FeatureCache
from tests.audio.test_spectra import make, noise

CLIPS = [io.wav_bytes(noise(samples, seed=samples), 16000) for samples in (1000, 4000, 16000)]


def load(spectra: Spectra) -> tuple[list[torch.Tensor], int]:
    """Features of all clips, and how many of them were made for it."""
    made = []

    def compute(audio: bytes) -> torch.Tensor:
        made.append(audio)
        return torch.from_numpy(spectra(io.decode(audio, 16000)))

    with FeatureCache(spectra.depends(), compute) as cache:
        return [cache.of(clip) for clip in CLIPS], len(made)


@pytest.mark.parametrize("kind", ["raw", "fbank", "stft", "stft_phase", "group_delay", "mel", "mfcc"])
def test_a_second_load_makes_no_features(kind: str) -> None:
    spectra = make(type=kind, norm="per_file")
    first, made = load(spectra)
    assert made == len(CLIPS)
    second, made = load(make(type=kind, norm="per_file"))
    assert made == 0
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)
    np.testing.assert_array_equal(first[2], spectra(io.decode(CLIPS[2], 16000)))


def test_another_setting_makes_them_anew() -> None:
    load(make())
    assert load(make(num_fft_points=1024))[1] == len(CLIPS)
    assert load(make(norm="per_file"))[1] == len(CLIPS)
    assert load(make())[1] == 0
