"""A toy language that a small CTC model learns in seconds: each word is a pattern of frames, a domain bends them."""

import functools
import random
from typing import Any

import torch

from soundraft.clips.batches import Utterances
from soundraft.models.ctc import CTCAdapter
from soundraft.params import defaults
from soundraft.params.sections import Train
from soundraft.training.learner import examples_of, fit
from tests.conftest import tiny_recognizer

WORDS = ("one", "two", "six", "nine", "zero", "four")
MEL_BINS = 16
FRAMES_PER_LETTER = 6
NOISE = 0.8
DECODING = defaults().decoding
NO_MASKS = defaults().train.masking.model_copy(update={"masks": 0})


def settings(**changes: Any) -> Train:
    small = {
        "rounds_per_cycle": 2, "samples_per_prompt": 16, "keep_top_percent": 100.0, "learning_rate": 3e-3,
        "lr_decay_per_cycle": 0.9, "final_lr_share": 0.1, "weight_decay": 0.0, "best_weight": 0.0,
        "presentations_per_cycle": 240, "replay_fraction": 0.25, "masking": NO_MASKS,
    }  # fmt: skip
    return defaults().train.model_copy(update=small | changes)


def start_settings(epochs: int, rate: float = 5e-3, batch_size: int = 16) -> Train:
    """Of a supervised start."""
    own = defaults().train.supervised.model_copy(update={"learning_rate": rate, "batch_size": batch_size})
    return settings(epochs=epochs, supervised=own, final_lr_share=0.05)


def clips(count: int, *, seed: int, lean: float = 0.0) -> Utterances:
    """Clips of two to four words; each letter's pattern leans by this share towards another letter's."""
    rng = random.Random(seed)
    generator = torch.Generator().manual_seed(seed)
    letters = sorted({letter for word in WORDS for letter in word} | {" "})
    prototypes = torch.randn(len(letters), MEL_BINS, generator=torch.Generator().manual_seed(99))
    prototypes = (1 - lean) * prototypes + lean * prototypes.roll(1, dims=0)
    texts = [" ".join(rng.choices(WORDS, k=rng.randint(2, 4))) for _ in range(count)]
    features = []
    for text in texts:
        frames = prototypes[[letters.index(letter) for letter in text for _ in range(FRAMES_PER_LETTER)]]
        features.append(frames + NOISE * torch.randn(frames.shape, generator=generator))
    names = [f"{lean}/{seed}/{index}" for index in range(count)]
    return Utterances(names, texts, features)


@functools.cache
def trained_weights(epochs: int) -> dict[str, torch.Tensor]:
    """Of a start model that has learned the patterns as they are."""
    recognizer = tiny_recognizer(mel_bins=MEL_BINS)
    start = clips(240, seed=1)
    fit(recognizer, examples_of(start.features, start.targets), start_settings(epochs), seed=0, title="toy start")
    return {name: weights.clone() for name, weights in recognizer.model.state_dict().items()}


def start_model(epochs: int = 20) -> CTCAdapter:
    recognizer = tiny_recognizer(mel_bins=MEL_BINS)
    recognizer.model.load_state_dict(trained_weights(epochs))
    recognizer.model.eval()
    return recognizer


def freeze_batch_statistics(recognizer: CTCAdapter) -> None:
    """Batch normalisation as in inference, so that a step does not depend on how its batch is divided."""
    for module in recognizer.model.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.momentum = 0.0
            module.train = lambda mode=True: None  # type: ignore[method-assign,assignment,misc]
            module.training = False
