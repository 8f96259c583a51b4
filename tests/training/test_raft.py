import dataclasses
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean

import numpy as np
import pytest
import torch

from soundraft.clips.batches import Utterances
from soundraft.clips.decoding import text_scores, transcribe
from soundraft.metrics import text as metric
from soundraft.models.ctc import CTCAdapter
from soundraft.params import defaults
from soundraft.rewards.base import Evidence, Verifier, VerifyResult
from soundraft.runtime import UserError, derive_seed
from soundraft.tasks import asr
from soundraft.training import raft, selection
from soundraft.training import selection as lessons
from soundraft.training.raft import CycleResult, Shards, Target, run_cycle
from soundraft.training.selection import CycleSettings
from tests.training import toy

REWARD = asr.build(defaults().reward.model_dump(), texts=[])
TARGET = toy.clips(80, seed=2, lean=0.45)
UNSEEN = toy.clips(80, seed=3, lean=0.45)


def wer(recognizer: CTCAdapter) -> float:
    texts = transcribe(recognizer, UNSEEN)
    return error_rate(zip(UNSEEN.texts, texts, strict=True))


def error_rate(pairs: Iterable[tuple[str, str]]) -> float:
    return float(metric.error_rate(np.sum([metric.word_counts(reference=a, hypothesis=b) for a, b in pairs], axis=0)))


def cycle(
    recognizer: CTCAdapter,
    number: int = 1,
    *,
    algorithm: str = "raft",
    reward: Verifier = REWARD,
    settings: CycleSettings = toy.SETTINGS,
    seed: int = 0,
    target: Utterances = TARGET,
    shards: Path | None = None,
) -> CycleResult:
    replay = toy.clips(settings.replayed, seed=100 + number) if settings.replayed else None
    return run_cycle(
        recognizer, algorithm=algorithm, cycle=number, target=Target(target, [1.0] * len(target)), replay=replay,
        verifier=reward, settings=settings, masking=None, seed=seed, shards=Shards(shards), anchor=toy.start_model(),
    )  # fmt: skip


def wer_after(cycles: int, **options: object) -> float:
    recognizer = toy.start_model()
    for number in range(1, cycles + 1):
        cycle(recognizer, number, **options)  # type: ignore[arg-type]
    return wer(recognizer)


class NoiseReward:
    """As good as no reward: a number of the text alone."""

    needs_perturbed = False

    def verify_samples(self, hypotheses: Sequence[str], evidence: Evidence) -> list[VerifyResult]:
        values = [random.Random(f"{evidence.reference} {text}").random() for text in hypotheses]
        return [VerifyResult(value, value > 0.7, {"wer": 1 - value}) for value in values]


def test_every_parameter_moves_in_every_cycle() -> None:
    recognizer = toy.start_model()
    for number in (1, 2, 3):
        before = {name: weights.clone() for name, weights in recognizer.model.named_parameters()}
        cycle(recognizer, number)
        still = [name for name, weights in recognizer.model.named_parameters() if torch.equal(before[name], weights)]
        assert still == []


def test_kept_samples_have_a_higher_reward_than_all() -> None:
    result = cycle(toy.start_model())
    rewards = [sample.reward or 0.0 for sample in result.samples]
    kept = [sample.reward or 0.0 for sample in result.samples if sample.kept]
    assert len(result.samples) == len(TARGET) * toy.SETTINGS.samples_per_prompt
    assert sum(kept) / len(kept) > sum(rewards) / len(rewards) + 0.1


def test_raft_improves_and_with_a_reward_of_noise_next_to_nothing_is_left() -> None:
    start = wer(toy.start_model())
    with_reward = [wer_after(3, seed=seed) for seed in (0, 1)]
    with_noise = [wer_after(3, seed=seed, reward=NoiseReward()) for seed in (0, 1)]
    assert 0.2 < start < 0.9
    assert max(with_reward) < 0.75 * start
    gain, gain_from_noise = start - mean(with_reward), start - mean(with_noise)
    assert gain_from_noise < 0.25 * gain  # what is left is self-training


def test_replay_keeps_what_the_start_model_knew() -> None:
    plain = toy.clips(80, seed=4)
    far = toy.clips(80, seed=5, lean=0.55)

    def forgotten(fraction: float) -> float:
        recognizer = toy.start_model()
        for number in (1, 2, 3):
            cycle(recognizer, number, settings=dataclasses.replace(toy.SETTINGS, replay_fraction=fraction), target=far)
        return error_rate(zip(plain.texts, transcribe(recognizer, plain), strict=True))

    assert forgotten(0.25) < 0.5 * forgotten(0.0)


def test_the_same_seed_gives_the_same_cycle_and_another_does_not() -> None:
    def once(seed: int) -> tuple[list[str], dict[str, torch.Tensor]]:
        recognizer = toy.start_model()
        samples = cycle(recognizer, seed=seed).samples
        return [sample.text for sample in samples], recognizer.model.state_dict()

    texts, weights = once(5)
    texts_again, weights_again = once(5)
    assert texts == texts_again
    assert all(torch.equal(weights[name], weights_again[name]) for name in weights)
    assert once(6)[0] != texts


@pytest.mark.parametrize("algorithm", ["sft", "self_training", "random"])
def test_controls_see_as_many_presentations(algorithm: str) -> None:
    result = cycle(toy.start_model(), algorithm=algorithm)
    assert result.fit.presentations == toy.SETTINGS.presentations_per_cycle
    kept = [sample for sample in result.samples if sample.kept]
    assert sorted(sample.clip for sample in kept) == list(range(len(TARGET)))
    if algorithm == "sft":
        assert [sample.text for sample in kept] == TARGET.texts
    if algorithm == "self_training":
        first = lessons.plan_rounds(len(TARGET), 60, toy.SETTINGS, seed=derive_seed(0, "cycle", 1))[0].clips
        texts = {sample.clip: sample.text for sample in kept}
        assert [texts[clip] for clip in first] == transcribe(toy.start_model(), TARGET.part(first))


def test_the_learning_rate_decays_to_its_floor() -> None:
    settings = dataclasses.replace(toy.SETTINGS, learning_rate=1e-3, lr_decay_per_cycle=0.5, min_lr=2e-4)
    assert [settings.lr(number) for number in (1, 2, 3, 4, 9)] == [1e-3, 5e-4, 2.5e-4, 2e-4, 2e-4]


def test_nothing_to_learn_is_an_error_that_says_what_to_change() -> None:
    settings = dataclasses.replace(toy.SETTINGS, reward_threshold=1.0, samples_per_prompt=1, temperature=50.0)
    with pytest.raises(UserError, match=r"none of 80 samples was kept \(best reward .*, mostly: reward below"):
        cycle(toy.start_model(), settings=settings)


def test_replay_draws_other_clips_each_cycle() -> None:
    first = raft.draw_replay(100, toy.SETTINGS, seed=0, cycle=1)
    assert len(first) == len(set(first)) == toy.SETTINGS.replayed
    assert first == raft.draw_replay(100, toy.SETTINGS, seed=0, cycle=1)
    assert sorted(first) != sorted(raft.draw_replay(100, toy.SETTINGS, seed=0, cycle=2))
    assert sorted(raft.draw_replay(25, toy.SETTINGS, seed=0, cycle=1))[:6] == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("algorithm", ["grpo", "mwer"])
def test_policy_gradients_improve_and_with_a_reward_of_noise_they_do_not(algorithm: str) -> None:
    start = wer(toy.start_model())
    assert wer_after(3, algorithm=algorithm) < 0.75 * start
    assert wer_after(3, algorithm=algorithm, reward=NoiseReward()) > 0.9 * start


def test_learning_the_reference_as_well_brings_raft_towards_supervised_training() -> None:
    def after(weight: float) -> float:
        return wer_after(2, settings=dataclasses.replace(toy.SETTINGS, reference_weight=weight))

    alone, mixed, supervised = after(0.0), after(0.5), wer_after(2, algorithm="sft")
    assert supervised < mixed < alone
    assert after(1.0) == pytest.approx(supervised, abs=0.05)


def test_a_divergence_with_weight_keeps_the_model_near_its_start() -> None:
    def moved(weight: float) -> float:
        settings = dataclasses.replace(toy.SETTINGS, kl_weight=weight, replay_fraction=0.0)
        recognizer = toy.start_model()
        cycle(recognizer, algorithm="grpo", settings=settings)
        texts = [(text,) for text in transcribe(toy.start_model(), UNSEEN)]
        now, then = text_scores(recognizer, UNSEEN, texts), text_scores(toy.start_model(), UNSEEN, texts)
        return mean(abs(a - b) for (a,), (b,) in zip(now, then, strict=True))

    assert moved(0.5) < 0.7 * moved(0.0)


def test_a_killed_cycle_takes_its_finished_samples_and_ends_in_the_same_model(tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    class DyingReward:
        needs_perturbed = False
        calls = 0

        def verify_samples(self, hypotheses: Sequence[str], evidence: Evidence) -> list[VerifyResult]:
            self.calls += 1
            if self.calls > 60:  # in the second of two rounds of 40 clips
                raise Killed
            return REWARD.verify_samples(hypotheses, evidence)

    whole = toy.start_model()
    cycle(whole)
    with pytest.raises(Killed):
        cycle(toy.start_model(), reward=DyingReward(), shards=tmp_path / "rollouts")
    again = toy.start_model()
    drawn: list[int] = []
    sample = again.sample
    again.sample = lambda encoded, count, **options: drawn.append(1) or sample(encoded, count, **options)  # type: ignore[method-assign,func-returns-value]
    cycle(again, shards=tmp_path / "rollouts")
    assert drawn == []
    weights = whole.model.state_dict()
    assert all(torch.equal(weights[name], now) for name, now in again.model.state_dict().items())


def test_more_rounds_than_clips_are_as_many_rounds_as_clips() -> None:
    settings = dataclasses.replace(toy.SETTINGS, rounds_per_cycle=50, presentations_per_cycle=16, reward_threshold=0.0)
    result = cycle(toy.start_model(), settings=settings, target=TARGET.part(range(5)))
    assert {sample.clip for sample in result.samples} == set(range(5))
    assert result.fit.presentations == 16


class Silent:
    """Can score nothing."""

    needs_perturbed = False

    def verify_samples(self, hypotheses: Sequence[str], evidence: Evidence) -> list[VerifyResult]:
        return [VerifyResult(None, False, reason="no other sample to agree with")] * len(hypotheses)


@pytest.mark.parametrize("algorithm", ["sft", "self_training", "random"])
def test_controls_need_no_reward(algorithm: str) -> None:
    result = cycle(toy.start_model(), algorithm=algorithm, reward=Silent())
    assert {sample.clip for sample in result.samples if sample.kept} == set(range(len(TARGET)))


def test_raft_without_any_reward_says_why() -> None:
    with pytest.raises(UserError, match="mostly: not scorable: no other sample to agree with"):
        cycle(toy.start_model(), reward=Silent())


@pytest.mark.parametrize("algorithm", ["raft", "grpo", "random"])
def test_texts_that_the_model_cannot_read_back_are_left_out(algorithm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recognizer = toy.start_model()
    monkeypatch.setattr(recognizer, "can_score", lambda text: not text.startswith("o"))
    samples = cycle(recognizer, algorithm=algorithm).samples
    assert {sample.reason for sample in samples if sample.text.startswith("o")} <= {
        selection.CANNOT_LEARN, f"{selection.NOT_SCORABLE}: {selection.CANNOT_LEARN}", selection.NOT_DRAWN
    }  # fmt: skip
    assert any(sample.kept for sample in samples)
    assert not any(sample.kept for sample in samples if sample.text.startswith("o"))
