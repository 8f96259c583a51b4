"""A RAFT cycle of classification: labels are sampled, rewarded and learned like texts."""

import dataclasses

import numpy as np
import torch

from soundraft.clips.decoding import transcribe
from soundraft.models.classifier import AudioClassifier
from soundraft.rewards.labels import LabelReward
from soundraft.training.augment import Augmentation, Augmenter
from soundraft.training.learner import Judgement, Optimizing, Schedule, epoch_batches, fit_epochs, spoken
from soundraft.training.raft import CycleResult, Shards, Target, run_cycle
from tests.models.classifiers import LABELS, classifier, clips
from tests.training import toy

START, TARGET, UNSEEN = (clips(n, seed=n, noise=2.5) for n in (30, 90, 150))
SETTINGS = dataclasses.replace(
    toy.SETTINGS, samples_per_prompt=4, reward_threshold=0.5, presentations_per_cycle=270, replay_fraction=0.0
)


def start_model() -> AudioClassifier:
    model = classifier()
    model.fit_normalisation(START.features)
    fit_epochs(
        model,
        spoken(START.features, START.texts),
        epochs=3,
        batches=epoch_batches("balanced", lengths=START.lengths, labels=START.texts, batch_size=10, seed=0),
        schedule=Schedule(3e-3, 0.1, 0.1),
        optimizing=Optimizing(weight_decay=0.0, max_grad_norm=1.0, accumulation=1),
        validate=lambda: Judgement(0.0, 0.0, np.zeros(1)),
        patience=0,
    )
    return model


def accuracy(model: AudioClassifier) -> float:
    return sum(map(str.__eq__, transcribe(model, UNSEEN), UNSEEN.texts)) / len(UNSEEN)


def cycle(model: AudioClassifier, algorithm: str, augmentation: Augmentation | None = None) -> CycleResult:
    augment = None
    if augmentation:
        mean, std = model.normalisation()
        augment = Augmenter(
            augmentation, mean=mean, std=std, labels=LABELS, weights=None, bands=len(mean), decibels=1.0, seed=0
        )
    return run_cycle(
        model, algorithm=algorithm, cycle=1, target=Target(TARGET, [1.0] * len(TARGET)), replay=None,
        verifier=LabelReward(labels=LABELS), settings=SETTINGS, masking=None, seed=0, shards=Shards(None),
        augment=augment,
    )  # fmt: skip


def test_a_cycle_improves_and_learns_right_labels_alone() -> None:
    model = start_model()
    before = accuracy(model)
    result = cycle(model, "raft")
    kept = [sample for sample in result.samples if sample.kept]
    assert kept
    assert all(sample.text == TARGET.texts[sample.clip] for sample in kept)
    assert accuracy(model) > before + 0.1


def test_a_policy_gradient_improves_too() -> None:
    model = start_model()
    before = accuracy(model)
    cycle(model, "grpo")
    assert accuracy(model) > before + 0.1


def test_clips_can_be_altered_when_they_are_learned() -> None:
    plain, noisy = start_model(), start_model()
    cycle(plain, "raft")
    cycle(noisy, "raft", Augmentation(noise=0.5))
    weights = plain.model.state_dict()
    assert not all(torch.equal(weights[name], value) for name, value in noisy.model.state_dict().items())
