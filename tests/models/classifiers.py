"""A small classifier and clips that it can learn: each label is a pattern of bins that comes and goes."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from soundraft.clips.batches import Utterances
from soundraft.models.classifier import AudioClassifier, build
from soundraft.models.networks import SideInput
from soundraft.runtime import seed_torch

LABELS = ("calm", "glad", "sad")
BINS = 16
FEATURES: dict[str, Any] = {
    "type": "fbank", "sample_rate_hz": 8000, "window_length_in_s": 0.032, "window_shift_in_s": 0.016,
    "num_fft_points": 0, "window_type": "hamming", "num_filter_bands": BINS, "num_coefficients": 13, "norm": "none",
}  # fmt: skip
SMALL: dict[str, dict[str, Any]] = {
    "stacked_cnn_2d": {
        "num_filters": [4, 6],
        "filter_sizes": [3, 2],
        "pool_sizes": [3, 1],
        "band_pool_sizes": [1, 2],
        "width": 12,
    },
    "stacked_cnn": {"num_filters": 16},
    "parallel_cnn": {"num_filters": 8, "pool_size": 3},
    "stacked_parallel_cnn": {"num_filters": 4, "num_stacks": 2},
    "rnn": {"hidden_size": 12},
    "cnnrnn": {"num_filters": 12, "hidden_size": 12, "cell_type": "gru"},
    "stacked_cnn_rnn": {"num_filters": 12, "hidden_size": 12},
    "transformer": {"hidden_size": 16, "num_heads": 2, "transformer_output_size": 32},
}


def classifier(
    name: str = "stacked_cnn",
    *,
    labels: Sequence[str] = LABELS,
    features: Mapping[str, Any] = FEATURES,
    side: Sequence[SideInput] = (),
    seed: int = 0,
    **encoder: Any,
) -> AudioClassifier:
    seed_torch(seed)
    settings = {"type": name, **SMALL[name], "output_size": 24, "dropout": 0.0, "fc_dropout": 0.0, **encoder}
    return build(labels, features=features, encoder=settings, side=side)


def clips(count: int, *, seed: int, noise: float = 1.0, frames: tuple[int, int] = (12, 40)) -> Utterances:
    """Labels by turns; frames of noise, with their label's pattern in the middle third."""
    generator = torch.Generator().manual_seed(seed)
    patterns = torch.randn(len(LABELS), BINS, generator=torch.Generator().manual_seed(77))
    labels = [LABELS[index % len(LABELS)] for index in range(count)]
    features = []
    for label in labels:
        length = int(torch.randint(*frames, (1,), generator=generator))
        clip = noise * torch.randn(length, BINS, generator=generator) - 5.0
        clip[length // 3 : 2 * length // 3] += patterns[LABELS.index(label)]
        features.append(clip)
    return Utterances([f"{seed}/{index}" for index in range(count)], labels, features)
