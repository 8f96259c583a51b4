"""A toy language that a small CTC model learns in seconds: each word is a pattern of frames, a domain bends them."""

import dataclasses
import functools
import random
from typing import Any

import torch

from soundraft.clips.batches import Utterances, shuffled_batches
from soundraft.models.ctc import CTCAdapter
from soundraft.training.learner import Optimizing, Schedule, fit, spoken
from soundraft.training.selection import CycleSettings
from tests.conftest import tiny_recognizer

WORDS = ("one", "two", "six", "nine", "zero", "four")
MEL_BINS = 16
FRAMES_PER_LETTER = 6
NOISE = 0.8

SETTINGS = CycleSettings(
    rounds_per_cycle=2,
    samples_per_prompt=16,
    temperature=1.0,
    reward_threshold=0.3,
    keep_top_percent=100.0,
    learning_rate=3e-3,
    lr_decay_per_cycle=0.9,
    min_lr=1e-5,
    warmup_share=0.1,
    final_lr_share=0.1,
    weight_decay=0.0,
    max_grad_norm=1.0,
    group_size=8,
    ratio_clip=0.2,
    best_weight=0.0,
    reference_weight=0.0,
    kl_weight=0.0,
    presentations_per_cycle=240,
    replay_fraction=0.25,
    batch_size=16,
    gradient_accumulation_steps=1,
)


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


def settings(**changes: Any) -> CycleSettings:
    return dataclasses.replace(SETTINGS, **changes)


@functools.cache
def trained_weights(epochs: int) -> dict[str, torch.Tensor]:
    """A start model that knows the patterns as they are."""
    recognizer = tiny_recognizer(mel_bins=MEL_BINS)
    start = clips(240, seed=1)
    fit(
        recognizer,
        spoken(start.features, start.texts),
        [batch for epoch in range(epochs) for batch in shuffled_batches(start.lengths, 16, seed=epoch)],
        schedule=Schedule(5e-3, 0.1, 0.05),
        optimizing=Optimizing(weight_decay=0.0, max_grad_norm=1.0, accumulation=1),
        masking=None,
        title="toy start",
    )
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
