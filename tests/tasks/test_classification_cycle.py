from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from soundraft import files
from soundraft.clips.base import from_dataset
from soundraft.models.classifier import load_classifier
from soundraft.params.sections import Params
from soundraft.rewards.base import Evidence, VerifyResult
from soundraft.runtime import CACHE_VARIABLE, UserError
from soundraft.tasks import steps
from soundraft.tasks.classification import Judged, fit, rules
from soundraft.tasks.steps import Rules
from soundraft.training.augment import Augmentation, Augmenter
from soundraft.training.learner import Example
from soundraft.training.objectives import Group
from tests.tasks import sounds
from tests.tasks.test_labelled import count_spectra


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A dataset, and `base`, a start that has learned next to nothing."""
    folder = tmp_path_factory.mktemp("cycle")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(folder / "cache"))
        sounds.dataset(
            folder / "dataset", train=sounds.clips(36, seed=1), validation=sounds.clips(18, seed=2),
            test=sounds.clips(9, seed=3),
        )  # fmt: skip
        target = folder / "dataset/target"
        options = sounds.params(classification__trainer__epochs=1, classification__trainer__learning_rate=1e-5)
        found = fit(
            from_dataset(target, "train"), from_dataset(target, "validation"), options.classification, seed=0,
            max_bad_fraction=0.0,
        )  # fmt: skip
        found.classifier.save(folder / "base")
    return folder


def improved(
    place: Path, out: Path, given: Params | None = None, *, learned_by: Rules | None = None, algorithm: str = "raft"
) -> dict[str, Any]:
    """The metrics of cycle 1."""
    rule = learned_by or rules(given or sounds.params(train__replay_fraction=0.0), place / "dataset")
    inputs = steps.load_inputs(place / "dataset", rule.subject.load_model(place / "base"), rule, cycle=1)
    return steps.improve(place / "base", out, inputs, rule, algorithm=algorithm, cycle=1, base=place / "base")[0]


def start_accuracy(place: Path) -> float:
    rule = rules(sounds.params(), place / "dataset")
    model = rule.subject.load_model(place / "base")
    clips = rule.subject.load_clips(place / "dataset/target", "validation", model)
    return rule.subject.validate(model, clips, "target")["accuracy_target_validation"]


def test_raft_improves_a_start_that_has_learned_little(place: Path, tmp_path: Path) -> None:
    before = start_accuracy(place)
    found = improved(place, tmp_path)
    assert before < 0.6
    assert found["accuracy_target_validation"] > before + 0.25
    assert found["reward_kept"] == 1.0
    assert found["reward_mean"] < 1.0
    rows = pq.read_table(tmp_path / "rollouts.parquet").to_pylist()
    assert len(rows) == 36 * 8
    labels = labels_of(place)
    assert all(row["reward"] == float(row["text"] == labels[row["id"]]) for row in rows)
    assert all(row["text"] == labels[row["id"]] for row in rows if row["selected"])


def labels_of(place: Path) -> dict[str, Any]:
    """Of the training clips, by id."""
    train = from_dataset(place / "dataset/target", "train")
    return dict(zip(train.ids, train.values("label"), strict=True))


class Indifferent:
    """Everything is right."""

    needs_perturbed = False

    def verify_samples(self, hypotheses: Sequence[str], evidence: Evidence) -> list[VerifyResult]:
        return [VerifyResult(1.0, True, {"match": 1.0})] * len(hypotheses)


def test_a_constant_verifier_selects_nothing(place: Path, tmp_path: Path) -> None:
    rule = rules(sounds.params(train__replay_fraction=0.0), place / "dataset")
    rule.subject.verifier = Indifferent()
    found = improved(place, tmp_path, learned_by=rule)
    labels = labels_of(place)
    rows = pq.read_table(tmp_path / "rollouts.parquet").to_pylist()
    # of equal samples the first stands for its clip, right or wrong: as often right as all of them
    assert all(row["sample"] == 0 for row in rows if row["selected"])
    drawn, kept = (
        [row["text"] == labels[row["id"]] for row in rows if row["selected"] or everything]
        for everything in (True, False)
    )
    assert abs(sum(kept) / len(kept) - sum(drawn) / len(drawn)) < 0.2
    assert found["reward_mean"] == found["reward_kept"] == 1.0
    assert found["accuracy_target_validation"] < improved(place, tmp_path / "real")["accuracy_target_validation"] - 0.2


def test_a_cycle_is_repeatable_and_computes_no_feature_again(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = improved(place, tmp_path / "first", sounds.params())
    computed = count_spectra(monkeypatch)
    assert improved(place, tmp_path / "again", sounds.params()) == first
    assert computed == []
    one, two = (files.content_hash(tmp_path / name / "model.safetensors") for name in ("first", "again"))
    assert one == two != files.content_hash(place / "base/model.safetensors")


@pytest.mark.parametrize("algorithm", ["grpo", "mwer"])
def test_policy_gradients_learn_with_augmentation(place: Path, tmp_path: Path, algorithm: str) -> None:
    mixing = {"classification__augment__mixup": 0.4, "classification__augment__mixup_probability": 0.5}
    given = sounds.params(train__algorithm=algorithm, **mixing)
    found = improved(place, tmp_path, given, algorithm=algorithm)
    assert found["accuracy_target_validation"] > start_accuracy(place) + 0.2


@pytest.mark.parametrize("algorithm", ["sft", "self_training", "random"])
def test_controls_run(place: Path, tmp_path: Path, algorithm: str) -> None:
    rule = rules(sounds.params(train__presentations_per_cycle=32), place / "dataset").of_controls()
    assert "accuracy_target_validation" in improved(place, tmp_path, learned_by=rule, algorithm=algorithm)


def test_a_cycle_calibrates_its_model_anew(place: Path, tmp_path: Path) -> None:
    improved(place, tmp_path)
    model, start = load_classifier(tmp_path), load_classifier(place / "base")
    assert model.temperature != start.temperature
    rule = rules(sounds.params(), place / "dataset")
    clips = rule.subject.load_clips(place / "dataset/target", "validation", model)
    fitted = model.temperature
    model.temperature = 7.0
    rule.subject.validate(model, clips, "target")
    assert model.temperature == fitted


def subject(**changes: Any) -> Judged:
    given = sounds.params(**changes)
    return Judged(
        "label", sounds.LABELS, reward=given.reward.labels.model_dump(),
        augment=given.classification.augment.model_dump(),
    )  # fmt: skip


def test_other_ways_to_say_a_label_reach_the_verifier() -> None:
    aliases = {"reward__labels__aliases": ["low=deep", "low=bass", "high=shrill"]}

    def reward(given: Judged, answer: str) -> float | None:
        return given.verifier.verify_samples([answer], Evidence("low"))[0].reward

    assert [reward(subject(**aliases), answer) for answer in ("deep", "BASS", "shrill", "low")] == [1, 1, 0, 1]
    assert reward(subject(), "deep") == 0
    assert reward(subject(**aliases, reward__labels__ignore_case=False), "BASS") == 0
    assert reward(subject(reward__labels__fuzzy_threshold=0.7), "lows") == 1
    with pytest.raises(UserError, match="aliases: bass is none of the labels high, low, rising"):
        subject(reward__labels__aliases=["bass=deep"])


def test_what_decides_the_samples_tells_subjects_apart() -> None:
    plain = subject().judged_by
    assert subject().judged_by == plain
    assert subject(reward__labels__ignore_case=False).judged_by != plain
    # of a killed cycle, later rounds sampled a model that had learned clips altered so
    assert subject(classification__augment__mixup=0.2).judged_by != plain


def test_a_label_that_the_model_does_not_know_is_named(place: Path, tmp_path: Path) -> None:
    given = sounds.clips(9)
    given.facts[0]["label"] = "falling"
    folder = sounds.dataset(tmp_path, train=given, validation=given, test=given)
    rule = rules(sounds.params(), folder)
    with pytest.raises(
        UserError, match=r"train: 1 of 9 clips have labels that were not seen in training: 'falling' \(1\)"
    ):
        steps.load_inputs(folder, rule.subject.load_model(place / "base"), rule, cycle=1)


def graded(value: float, objective: str) -> Example:
    group = Group(("low", "high"), rewards=(1.0, 0.0), times=(3.0, 1.0), behaviour=(-0.5, -1.0))
    return Example(torch.full((20, 4), value), group, objective)


def augmenter(**how: Any) -> Augmenter:
    plain: Mapping[str, Any] = {
        "mean": torch.zeros(4), "std": torch.ones(4), "labels": sounds.LABELS, "weights": None, "bands": 4,
        "decibels": 1.0, "seed": 0,
    }  # fmt: skip
    return Augmenter(Augmentation(**how), **plain)


@pytest.mark.parametrize("objective", ["grpo", "mwer"])
def test_augmentation_leaves_the_groups_of_a_policy_gradient_whole(objective: str) -> None:
    batch = [graded(100.0, objective), *(Example(torch.full((20, 4), float(n)), Group(("low",))) for n in range(3))]
    altered = augmenter(mixup=1.0, mixup_probability=1.0, label_smoothing=0.1)
    for _ in range(20):
        first, *others = altered(batch)
        assert (first.group, first.objective) == (batch[0].group, objective)
        assert torch.equal(first.features, batch[0].features)
        assert all(item.objective == "mixture" for item in others)
        assert all(float(item.features.max()) <= 2 for item in others), "nobody's partner"
    assert not torch.equal(augmenter(noise=0.5)(batch)[0].features, batch[0].features)


def test_augmentation_keeps_a_reference_that_is_learned_beside_a_sample() -> None:
    both = Example(torch.zeros(20, 4), Group(("low", "high")))
    found = augmenter(mixup=1.0, mixup_probability=1.0, noise=0.5)([both, Example(torch.ones(20, 4), Group(("low",)))])
    assert (found[0].group, found[0].objective) == (both.group, "likelihood")
    assert not torch.equal(found[0].features, both.features)
