"""What a classifier costs in training and in prediction, and what it saves to make features once, not every epoch.

    python benchmarks/bench_classifier.py

Clips of noise of 2 to 3 s at 16 kHz, the section `classification` of params.yaml as it stands. Threads are torch's own:
OMP_NUM_THREADS=1 measures one core.
"""

import random

import numpy as np
import torch
from timing import compare, report

from soundraft import runtime
from soundraft.clips.batches import Utterances, best_answers, shuffled_batches
from soundraft.models.classifier import build
from soundraft.parallel import progress
from soundraft.params import defaults
from soundraft.tasks.classification import Classification
from soundraft.training.learner import Learner, examples_of

CLIPS = 256
LABELS = 7


def main() -> None:
    options = defaults().classification
    rng, noise = random.Random(0), np.random.default_rng(0)
    runtime.seed_torch(0)
    labels = [f"label {number}" for number in range(LABELS)]
    classifier = build(labels, options)
    rate_hz = classifier.sample_rate_hz
    waves = [0.1 * noise.standard_normal(round(rng.uniform(2, 3) * rate_hz)).astype(np.float32) for _ in range(CLIPS)]
    texts = [rng.choice(labels) for _ in waves]
    features = [classifier.extract(wave) for wave in waves]
    classifier.fit_normalisation(features)
    learner = Learner(
        classifier, options.trainer, peak=1e-4, steps=10**6,
        augment=Classification(defaults()).augment(classifier, seed=0),
    )  # fmt: skip
    batches = shuffled_batches([len(clip) for clip in features], options.trainer.batch_size, seed=0)

    def epoch(made: list[torch.Tensor] | None) -> None:
        clips = made or [classifier.extract(wave) for wave in waves]
        with progress(len(batches), title="epoch", unit="step") as bar:
            learner.learn(examples_of(clips, texts), batches, bar)

    def batched() -> None:
        ids = [str(number) for number in range(CLIPS)]
        best_answers(classifier, Utterances(ids, texts, features), defaults().decoding)

    def singly() -> None:
        for wave in waves:
            classifier.best(classifier.encode([classifier.extract(wave)]))

    kept_s, anew_s = compare(lambda: epoch(features), lambda: epoch(None), repeats=3)
    parameters = sum(weights.numel() for weights in classifier.model.parameters())
    print(f"{parameters:,} parameters; {CLIPS / kept_s:.0f} clips/s in training")
    report("an epoch with features made anew against one with features kept", anew_s / kept_s, "×", 1)
    batched_s, singly_s = compare(batched, singly, repeats=3)
    print(f"{CLIPS / batched_s:.0f} clips/s from features to label, {CLIPS / singly_s:.0f} one by one from samples")
    print(f"{runtime.peak_memory_bytes() / 2**30:.2f} GiB of memory at most")


if __name__ == "__main__":
    main()
