"""What K samples of a clip cost when the encoder runs once, and what batches of similar length save.

python benchmarks/bench_sampling.py [MODEL_FOLDER]

Without a folder it takes models/base, which `make repro` leaves; where there is none, the network of params.yaml's
`model.scratch` with random weights. Random weights are unsure of every frame as no trained model is, so the head's are
scaled until the most likely token of a frame has a probability of 0.9 on average. Clips are noise of 1 to 3 s. Threads
are torch's own: OMP_NUM_THREADS=1 measures one core.
"""

import random
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from timing import compare, report

from soundraft import models
from soundraft.clips.batches import batch_clips
from soundraft.models import ctc
from soundraft.models.base import length_batches
from soundraft.models.ctc import CTCAdapter, Spelling
from soundraft.params import defaults
from soundraft.runtime import seed_torch

CLIPS = 128
SAMPLES = 16
SURE = 0.9


def main(folder: Path) -> None:
    rng = random.Random(0)
    noise = np.random.default_rng(0)
    loaded = (folder / "config.json").is_file()
    recognizer = models.load_recognizer(folder) if loaded else untrained()
    recognizer.model.eval()
    rate_hz, size = recognizer.sample_rate_hz, batch_clips(recognizer, defaults().decoding)
    waves = [0.1 * noise.standard_normal(round(rng.uniform(1, 3) * rate_hz)).astype(np.float32) for _ in range(CLIPS)]
    features = [recognizer.extract(wave) for wave in waves]
    if not loaded:
        sharpen(recognizer, features[:size])
    batches = length_batches([len(feature) for feature in features], size)

    def sample(count: int, runs: int) -> None:
        forget(recognizer)
        for batch in batches:
            for run in range(runs):
                encoded = recognizer.encode([features[index] for index in batch])
                recognizer.sample(encoded, count, temperature=1.0, seeds=[run * CLIPS + index for index in batch])

    def singly() -> None:
        forget(recognizer)
        for wave in waves:
            recognizer.best(recognizer.encode([recognizer.extract(wave)]))

    def in_batches(given: Sequence[torch.Tensor] | None) -> None:
        forget(recognizer)
        clips = given or [recognizer.extract(wave) for wave in waves]
        for batch in batches:
            recognizer.best(recognizer.encode([clips[index] for index in batch]))

    once_s, every_s = compare(lambda: sample(SAMPLES, 1), lambda: sample(1, SAMPLES), repeats=3)
    report(f"K = {SAMPLES}, encoder once against encoder per sample", every_s / once_s, "×", 5)
    once_s, one_s = compare(lambda: sample(SAMPLES, 1), lambda: sample(1, 1), repeats=7)
    report(f"K = {SAMPLES} against K = 1", once_s / one_s, "×", 1.3, at_least=False)
    batched_s, singly_s = compare(lambda: in_batches(None), singly, repeats=5)
    report("greedy in batches by length against clip by clip, features made in both", singly_s / batched_s, "×", 4)
    batched_s, singly_s = compare(lambda: in_batches(features), singly, repeats=5)
    report("greedy in batches with features kept against clip by clip without", singly_s / batched_s, "×", 4)


def untrained() -> CTCAdapter:
    seed_torch(0)
    return ctc.build(defaults().model.scratch)


def sharpen(recognizer: CTCAdapter, features: Sequence[torch.Tensor]) -> None:
    """Scale the head until the mean probability of a frame's most likely token is `SURE`."""
    while recognizer.encode(features).log_probs.max(-1).values.exp().mean() < SURE:
        with torch.no_grad():
            for weight in recognizer.model.ctc_head.parameters():
                weight.mul_(1.2)


def forget(recognizer: object) -> None:
    """Each run reads its own texts."""
    if isinstance(recognizer, CTCAdapter):
        recognizer.spelling = Spelling(recognizer.tokenizer, recognizer.blank_id)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("models/base"))
