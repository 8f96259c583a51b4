"""A small classifier and clips that it can learn: each label is a pattern of bins that comes and goes."""

from collections.abc import Sequence
from typing import Any

import torch

from soundraft.clips.batches import Utterances
from soundraft.models.classifier import AudioClassifier, build
from soundraft.models.networks import SideInput
from soundraft.params import defaults
from soundraft.params.base import Section
from soundraft.params.classification import EncoderParams
from soundraft.runtime import seed_torch

LABELS = ("calm", "glad", "sad")
BINS = 16
OPTIONS = defaults().classification
FEATURES = OPTIONS.features.model_copy(
    update={"type": "fbank", "sample_rate_hz": 8000, "window_length_in_s": 0.032, "window_shift_in_s": 0.016,
            "num_filter_bands": BINS, "num_coefficients": 13}
)  # fmt: skip
SMALL: dict[str, dict[str, Any]] = {
    "stacked_cnn_2d": {"num_filters": [4, 6], "filter_sizes": [3, 2], "pool_sizes": [3, 1], "band_pool_sizes": [1, 2],
                       "width": 12},
    "stacked_cnn": {"num_filters": 16},
    "parallel_cnn": {"num_filters": 8, "pool_size": 3},
    "stacked_parallel_cnn": {"num_filters": 4, "num_stacks": 2},
    "rnn": {"hidden_size": 12},
    "cnnrnn": {"num_filters": 12, "hidden_size": 12, "cell_type": "gru"},
    "transformer": {"hidden_size": 16, "num_heads": 2, "transformer_output_size": 32},
}  # fmt: skip


def knobs(name: str, **changes: Any) -> Section:
    """The section of a small encoder."""
    section: Section = getattr(OPTIONS.encoder, name)
    return section.model_copy(update=SMALL.get(name, {}) | changes)


def encoder(name: str, own: dict[str, Any] | None = None, **choice: Any) -> EncoderParams:
    """The section `encoder` with a small one of this name."""
    plain = {"type": name, "output_size": 24, "fc_dropout": 0.0}
    place = name if name in SMALL else "pretrained"
    dropout = {"dropout": 0.0} if name in SMALL else {}
    return OPTIONS.encoder.model_copy(update=plain | choice | {place: knobs(place, **dropout | (own or {}))})


def classifier(
    name: str = "stacked_cnn",
    *,
    labels: Sequence[str] = LABELS,
    features: Section = FEATURES,
    side: Sequence[SideInput] = (),
    own: dict[str, Any] | None = None,
    place: dict[str, Any] | None = None,
    channels: int = 1,
    **choice: Any,
) -> AudioClassifier:
    """A small one; `own` are keys of the encoder's section, `place` of `classification`, `choice` of `encoder`."""
    seed_torch(0)
    changes = {"features": features, "encoder": encoder(name, own, **choice), "level_db": None} | (place or {})
    return build(labels, OPTIONS.model_copy(update=changes), side=side, channels=channels)


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
