import random
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from soundraft.clips.batches import Utterances, answer_log_probs, best_answers
from soundraft.metrics import text as metric
from soundraft.models.ctc import CTCAdapter
from soundraft.params import defaults
from soundraft.params.sections import Train
from soundraft.rewards import Evidence, LabelReward, TranscriptReward, Verifier, VerifyResult
from soundraft.runtime import UserError
from soundraft.training import raft, selection
from soundraft.training.augment import Augmenter
from soundraft.training.learner import FitReport, Validation, examples_of, fit_epochs
from soundraft.training.raft import CycleResult, Shards, Target, run_cycle
from soundraft.training.selection import KEPT, Sample
from tests.models import classifiers
from tests.training import toy

REWARD = TranscriptReward(defaults().reward)
TARGET, UNSEEN = (toy.clips(80, seed=seed, lean=0.45) for seed in (2, 3))
SETTINGS = toy.settings()
SHORT: dict[str, Any] = {"target": TARGET.part(range(20)), "train": toy.settings(presentations_per_cycle=32)}


def wer(model: CTCAdapter, clips: Utterances = UNSEEN) -> float:
    pairs = zip(clips.targets, best_answers(model, clips, toy.DECODING), strict=True)
    return float(metric.error_rate(np.sum([metric.word_counts(reference=a, hypothesis=b) for a, b in pairs], axis=0)))


def cycle(
    model: CTCAdapter,
    number: int = 1,
    *,
    algorithm: str = "raft",
    reward: Verifier = REWARD,
    train: Train = SETTINGS,
    seed: int = 0,
    target: Utterances = TARGET,
    shards: Path | None = None,
) -> CycleResult:
    replayed = round(train.presentations_per_cycle * train.replay_fraction)
    return run_cycle(
        model, algorithm=algorithm, cycle=number, target=Target(target, [1.0] * len(target)),
        replay=toy.clips(replayed, seed=100 + number) if replayed else None, verifier=reward, train=train,
        decoding=toy.DECODING, seed=seed, shards=Shards(shards), anchor=toy.start_model(),
    )  # fmt: skip


def wer_after(cycles: int, clips: Utterances = UNSEEN, **options: Any) -> float:
    model = toy.start_model()
    for number in range(1, cycles + 1):
        cycle(model, number, **options)
    return wer(model, clips)


class OfEach(Verifier):
    """Scores each text by a function of the reference and the text."""

    def __init__(self, score: Any) -> None:
        self.score = score

    def verify_samples(self, hypotheses: Sequence[str], evidence: Evidence) -> list[VerifyResult]:
        rewards = [self.score(evidence.reference, text) for text in hypotheses]
        return [VerifyResult(reward, False, reason="" if reward else "no reward") for reward in rewards]


NOISE = OfEach(lambda reference, text: random.Random(f"{reference} {text}").random())
SILENT = OfEach(lambda reference, text: None)


def test_every_parameter_moves_and_what_is_kept_has_a_higher_reward() -> None:
    model = toy.start_model()
    for number in (1, 2):
        before = {name: weights.clone() for name, weights in model.model.named_parameters()}
        result = cycle(model, number)
        assert not [name for name, now in model.model.named_parameters() if torch.equal(before[name], now)]
    assert len(result.samples) == len(TARGET) * SETTINGS.samples_per_prompt
    numbers = raft.summarize(result)
    assert numbers["reward_kept"] > numbers["reward_mean"] + 0.1
    assert numbers["learning_rate"] == SETTINGS.learning_rate * SETTINGS.lr_decay_per_cycle


@pytest.mark.parametrize(
    ("rate", "floor", "number", "used"),
    [(1e-3, 1e-5, 3, 8.1e-4), (1e-3, 9e-4, 3, 9e-4), (1e-6, 1e-5, 1, 1e-6), (1e-6, 1e9, 7, 1e-6)],
)
def test_a_floor_of_the_learning_rate_never_lifts_it(rate: float, floor: float, number: int, used: float) -> None:
    model = toy.start_model(epochs=1)
    learned = toy.settings(learning_rate=rate, min_lr=floor, presentations_per_cycle=16, replay_fraction=0.0)
    result = cycle(model, number, algorithm="sft", train=learned, target=TARGET.part(range(8)))
    assert raft.summarize(result)["learning_rate"] == pytest.approx(used)


@pytest.mark.parametrize("algorithm", ["raft", "grpo", "mwer"])
def test_cycles_improve_and_with_a_reward_of_noise_they_hardly_do(algorithm: str) -> None:
    start = wer(toy.start_model())
    assert 0.2 < start < 0.95
    gain = start - wer_after(2, algorithm=algorithm)
    assert gain > 0.2 * start
    if algorithm == "raft":
        assert start - wer_after(2, reward=NOISE) < 0.35 * gain  # what is left of raft is self-training


def test_replay_keeps_what_the_start_model_knew() -> None:
    plain, far = toy.clips(80, seed=4), toy.clips(80, seed=5, lean=0.55)
    kept, lost = (wer_after(3, plain, train=toy.settings(replay_fraction=x), target=far) for x in (0.25, 0.0))
    assert kept < 0.5 * lost
    drawn = [raft.draw_replay(100, SETTINGS, seed=0, cycle=number) for number in (1, 1, 2)]
    assert drawn[0] == drawn[1]
    assert sorted(drawn[0]) != sorted(drawn[2])
    assert len(set(drawn[0])) == len(drawn[0]) == 60
    assert sorted(raft.draw_replay(25, SETTINGS, seed=0, cycle=1))[:6] == [0, 0, 1, 1, 2, 2]


def test_the_same_seed_gives_the_same_cycle_and_another_does_not() -> None:
    def once(seed: int) -> tuple[list[object], dict[str, torch.Tensor]]:
        model = toy.start_model()
        return [sample.answer for sample in cycle(model, seed=seed, **SHORT).samples], model.model.state_dict()

    (answers, weights), (answers_again, weights_again) = once(5), once(5)
    assert answers == answers_again != once(6)[0]
    assert all(torch.equal(weights[name], weights_again[name]) for name in weights)


@pytest.mark.parametrize("reward", [REWARD, SILENT])
@pytest.mark.parametrize("algorithm", ["sft", "self_training", "random"])
def test_controls_see_as_many_presentations_and_need_no_reward(algorithm: str, reward: Verifier) -> None:
    result = cycle(toy.start_model(), algorithm=algorithm, reward=reward, **SHORT)
    assert result.fit.presentations == 32
    kept = [sample for sample in result.samples if sample.kept]
    assert [sample.clip for sample in kept] == list(range(20))
    if algorithm == "sft":
        assert [sample.answer for sample in kept] == TARGET.targets[:20]


def test_nothing_to_learn_is_an_error_that_says_why() -> None:
    hard = toy.settings(reward_threshold=1.0, samples_per_prompt=1, temperature=50.0)
    for options, reason in (({"train": hard}, selection.BELOW_THRESHOLD), ({"reward": SILENT}, "no reward")):
        with pytest.raises(UserError, match=reason):
            cycle(toy.start_model(), **options)


def test_learning_the_reference_as_well_brings_raft_towards_supervised_training() -> None:
    alone, mixed = (wer_after(2, train=toy.settings(reference_weight=weight)) for weight in (0.0, 0.5))
    assert wer_after(2, algorithm="sft") < mixed < alone


def test_a_divergence_with_weight_keeps_the_model_near_its_start() -> None:
    def moved(weight: float) -> float:
        model, start = toy.start_model(), toy.start_model()
        cycle(model, algorithm="grpo", train=toy.settings(kl_weight=weight, replay_fraction=0.0))
        texts = [(text,) for text in best_answers(start, UNSEEN, toy.DECODING)]
        now, then = (answer_log_probs(each, UNSEEN, texts, toy.DECODING) for each in (model, start))
        return mean(abs(a - b) for (a,), (b,) in zip(now, then, strict=True))

    assert moved(0.5) < 0.7 * moved(0.0)


def test_a_killed_cycle_takes_its_finished_samples_and_ends_in_the_same_model(tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    class Dying(Verifier):
        calls = 0

        def verify_samples(self, hypotheses: Sequence[str], evidence: Evidence) -> list[VerifyResult]:
            self.calls += 1
            if self.calls > 15:  # in the second of two rounds of 10 clips
                raise Killed
            return REWARD.verify_samples(hypotheses, evidence)

    whole, again = toy.start_model(), toy.start_model()
    cycle(whole, **SHORT)
    with pytest.raises(Killed):
        cycle(toy.start_model(), reward=Dying(), shards=tmp_path / "rollouts", **SHORT)
    again.sample = None  # type: ignore[method-assign,assignment]
    first, *_ = sorted((tmp_path / "rollouts").iterdir())
    for damaged in (b"", first.read_bytes()[:100], b"[]", b"\xff"):
        first.with_name("damaged").write_bytes(damaged)
        assert raft._read_shard(first.with_name("damaged"), 10) is None
    cycle(again, shards=tmp_path / "rollouts", **SHORT)
    weights = whole.model.state_dict()
    assert all(torch.equal(weights[name], now) for name, now in again.model.state_dict().items())


@pytest.mark.parametrize("algorithm", ["raft", "grpo", "random"])
def test_answers_that_the_model_cannot_learn_are_left_out(algorithm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = toy.start_model()
    monkeypatch.setattr(model, "can_learn", lambda text: not text.startswith("o"))
    samples = cycle(model, algorithm=algorithm, **SHORT).samples
    assert any(sample.kept for sample in samples)
    left_out = [sample for sample in samples if str(sample.answer).startswith("o")]
    assert left_out
    assert not any(sample.kept or sample.reward is not None for sample in left_out)


def test_answers_need_not_be_text(tmp_path: Path) -> None:
    """Tuples, which JSON has not."""
    drawn = [[("a", 1), ("b", 2)], [("c", 3), ("a", 1)]]
    clips = toy.clips(2, seed=0)
    for sample in (lambda _: drawn, None):  # the second time they are read
        shards = Shards(tmp_path / "shards", write=list, read=tuple)
        assert shards.answers(clips, sample) == drawn  # type: ignore[arg-type]
    samples = [Sample(clip, n, answer, 0.1 * n, {}) for clip, each in enumerate(drawn) for n, answer in enumerate(each)]
    assert any(sample.kept for sample in selection.groups(samples, group_size=2))
    raft.write(tmp_path / "rollouts.parquet", samples, clips, text=str)
    assert pq.read_table(tmp_path / "rollouts.parquet")["text"].to_pylist()[0] == "('a', 1)"


def test_every_sample_is_a_row_and_the_numbers_leave_out_what_has_no_reward(tmp_path: Path) -> None:
    samples = [
        Sample(0, 0, "a", -1.0, {"wer": 0.5}, True, KEPT),
        Sample(0, 1, "b", -2.0, {}),
        Sample(1, 0, "a", None, {}, reason="empty"),
    ]
    clips = toy.clips(2, seed=0)
    raft.write(tmp_path / "r.parquet", samples, clips)
    first, _, last = pq.read_table(tmp_path / "r.parquet").to_pylist()
    assert first == {"id": clips.ids[0], "sample": 0, "text": "a", "reward": -1.0, "wer": 0.5, "success": True,
                     "selected": True, "reason": KEPT}  # fmt: skip
    assert (last["reward"], last["wer"], last["selected"], last["reason"]) == (None, None, False, "empty")
    fit, seconds = FitReport(steps=4, presentations=60, mean_loss=0.5, final_loss=0.4), {"sampling": 2.0, "training": 3}
    result = CycleResult(samples, fit, 1e-3, seconds)
    assert raft.summarize(result) == {
        "reward_mean": -1.5, "reward_best": -1.0, "reward_kept": -1.0, "success_rate": 0.5, "kept_share": 0.5,
        "not_scorable": 1, "loss": 0.5, "learning_rate": 1e-3,
    }  # fmt: skip
    assert raft.details(result)["sample_entropy"] == pytest.approx(np.log(2) / 2)
    assert raft.details(result)["training_clips_per_s"] == 20.0
    nothing = CycleResult(samples[2:], fit, 1e-3, seconds)
    assert raft.summarize(nothing)["reward_mean"] is raft.summarize(nothing)["success_rate"] is None


@pytest.mark.parametrize(("algorithm", "noise"), [("raft", 0.0), ("raft", 0.5), ("grpo", 0.0)])
def test_a_cycle_of_classification_improves(algorithm: str, noise: float) -> None:
    start, target, unseen = (classifiers.clips(count, seed=count, noise=2.5) for count in (30, 90, 150))
    options, model = defaults().classification, classifiers.classifier()
    model.fit_normalisation(start.features)
    few = {"epochs": 3, "batch_size": 10, "sampling": "balanced", "early_stop": 0, "average_decay": 0.0}
    fit_epochs(
        model, examples_of(start.features, start.targets), options.trainer.model_copy(update=few), seed=0,
        validate=lambda: Validation(0.0, 0.0, np.zeros(1)),
    )  # fmt: skip

    def accuracy() -> float:
        return mean(map(str.__eq__, best_answers(model, unseen, toy.DECODING), unseen.targets))

    before, (centre, spread) = accuracy(), model.normalisation()
    only_noise = {name: 0.0 for name, value in options.augment.leaves().items() if isinstance(value, float)}
    augment = Augmenter(
        options.augment.model_copy(update=only_noise | {"noise": noise}), mean=centre, std=spread, labels=model.labels,
        weights=None, bands=len(centre), decibels=1.0, seed=0,
    )  # fmt: skip
    result = run_cycle(
        model, algorithm=algorithm, cycle=1, target=Target(target, [1.0] * len(target)), replay=None,
        verifier=LabelReward(defaults().reward.labels, labels=model.labels), decoding=toy.DECODING, seed=0,
        train=toy.settings(samples_per_prompt=4, reward_threshold=0.5, replay_fraction=0.0), shards=Shards(None),
        augment=augment if noise else None,
    )  # fmt: skip
    kept = [sample for sample in result.samples if sample.kept]
    assert kept
    assert algorithm == "grpo" or all(sample.answer == target.targets[sample.clip] for sample in kept)
    assert accuracy() > before + 0.1
