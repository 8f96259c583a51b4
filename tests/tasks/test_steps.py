"""The steps of a run, for both tasks: a cycle trains, is repeatable, and survives a kill."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from soundraft import AudioRAFTConfig, AudioRAFTTrainer, files
from soundraft.evaluation.scores import Scores
from soundraft.models.classifier import load_classifier
from soundraft.rewards.base import Evidence, Verifier, VerifyResult
from soundraft.runtime import CACHE_VARIABLE
from soundraft.tasks import measure, steps
from soundraft.tasks.base import Data, Task
from soundraft.tasks.classification import Classification
from soundraft.tracking import Tracker
from soundraft.training import raft
from tests.tasks import letters, sounds


@dataclass
class Begun:
    """A start model that has learned little, and how its task and data are made."""

    start: Path
    task: Callable[..., Task]
    data: Callable[[Task], Data]

    @cached_property
    def whole(self) -> tuple[Path, dict[str, Any]]:
        """The model of cycle 1, and its metrics."""
        out = self.start.parent / "whole"
        return out, self.cycle(out)

    def cycle(self, out: Path, *, control: str = "", task: Task | None = None, **changes: Any) -> dict[str, Any]:
        """The metrics of cycle 1; its model is in `out`."""
        chosen = task or self.task(train__samples_per_prompt=8, **changes)
        return steps.cycle(chosen, self.data(chosen), self.start, out, number=1, base=self.start, control=control)[0]


def begin(name: str, folder: Path) -> Begun:
    if name == "asr":
        parts = {
            "train": letters.clips(range(24), accent=0.04),
            "validation": letters.clips(range(50, 56), accent=0.04),
        }
        begun = Begun(folder / "start", letters.task, lambda task: Data(parts))
        task = letters.task()
    else:
        sounds.dataset(folder / "dataset", train=sounds.clips(36, seed=1), validation=sounds.clips(18, seed=2),
                       test=sounds.clips(9, seed=3))  # fmt: skip
        begun = Begun(
            folder / "start", lambda **changes: Classification(sounds.params(**changes)),
            lambda task: steps.dataset_of(task, folder / "dataset", ("train", "validation")),
        )  # fmt: skip
        task = begun.task(classification__trainer__epochs=1, classification__trainer__learning_rate=1e-5)
    steps.start(task, begun.data(task), begun.start, Tracker())
    return begun


@pytest.fixture(scope="module", params=["asr", "classification"])
def begun(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(folder / "cache"))
        yield begin(request.param, folder)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("classifier")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(folder / "cache"))
        yield begin("classification", folder)


def digest(folder: Path) -> str:
    return files.content_hash(*sorted(folder.iterdir()))


def test_a_cycle_moves_the_weights_and_is_repeatable(begun: Begun, tmp_path: Path) -> None:
    place, first = begun.whole
    assert first == begun.cycle(tmp_path / "again")
    begun.cycle(tmp_path / "other", seed=1)
    assert digest(place) == digest(tmp_path / "again") != digest(tmp_path / "other")
    before, after = (load_file(folder / "model.safetensors") for folder in (begun.start, place))
    moved = [name for name in before if name.endswith("weight") and (before[name] != after[name]).any()]
    assert len(moved) == len([name for name in before if name.endswith("weight")])
    rows = pq.read_table(place / "rollouts.parquet").to_pylist()
    train = begun.data(begun.task()).target["train"]
    assert len(rows) == 8 * len(train)
    assert {row["id"] for row in rows} == set(train.ids)
    assert first["reward_kept"] > first["reward_mean"]


def test_a_killed_cycle_goes_on_and_makes_the_model_of_an_unbroken_one(
    begun: Begun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, drawn = begun.whole[0], list[int]()
    learn, decode = raft.Learner.learn, raft.decode

    def killed(self: Any, *args: Any) -> None:
        learn(self, *args)
        raise KeyboardInterrupt

    monkeypatch.setattr(raft, "decode", lambda model, clips, *a, **k: drawn.append(len(clips)) or decode(
        model, clips, *a, **k))  # fmt: skip
    with monkeypatch.context() as patched:
        patched.setattr(raft.Learner, "learn", killed)
        with pytest.raises(KeyboardInterrupt):
            begun.cycle(tmp_path / "killed")
    first = sum(drawn)
    begun.cycle(tmp_path / "killed")
    assert first > 0
    assert sum(drawn) == len(begun.data(begun.task()).target["train"]), "what was sampled before is not sampled again"
    assert digest(tmp_path / "killed") == digest(whole)


def test_each_cycle_draws_adapters_of_its_own(
    classifier: Begun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[list[float]] = []

    class Stopped(Exception):
        pass

    def tuned(*_: object) -> None:
        drawn.append(torch.rand(4).tolist())  # what adapters would be made of
        raise Stopped

    monkeypatch.setattr(steps, "tuned", tuned)
    for seed, number in ((0, 1), (0, 1), (0, 2), (1, 1)):
        task = classifier.task(seed=seed)
        with pytest.raises(Stopped):
            steps.cycle(task, classifier.data(task), classifier.start, tmp_path, number=number, base=classifier.start)
    assert drawn[0] == drawn[1]
    assert len(set(map(tuple, drawn))) == 3, "cycle and seed decide them"


def test_masks_and_augmentation_reach_the_training(begun: Begun, tmp_path: Path) -> None:
    masks = {"masks": 2, "frequency_bins": 10, "time_share": 0.2}
    changes = {"classification__augment__noise": 0.9} if "class" in str(begun.start) else {"train__masking": masks}
    begun.cycle(tmp_path / "perturbed", **changes)
    assert digest(begun.whole[0]) != digest(tmp_path / "perturbed")


@pytest.mark.parametrize("algorithm", ["raft", "grpo", "mwer", "sft", "self_training", "random"])
def test_every_algorithm_trains_and_those_with_the_reward_improve(
    classifier: Begun, tmp_path: Path, algorithm: str
) -> None:
    control = algorithm if algorithm in ("sft", "self_training", "random") else ""
    found = classifier.cycle(tmp_path / "out", control=control, **({} if control else {"train__algorithm": algorithm}))
    task = classifier.task()
    quality, machine, _ = measure.benchmark(task, classifier.data(task), classifier.start)
    assert machine["real_time_factor"] > 0
    before = quality["accuracy_target_validation"]
    assert before < 0.6
    assert digest(tmp_path / "out") != digest(classifier.start)
    if algorithm in ("raft", "grpo", "mwer", "sft"):
        assert found["accuracy_target_validation"] > before + 0.2


def test_a_benchmark_answers_each_clip_once_for_all_metrics(begun: Begun, monkeypatch: pytest.MonkeyPatch) -> None:
    task = begun.task()
    scored: list[str] = []

    def count(*args: Any, title: str, score: Any = task.score) -> Scores:
        scored.append(title)
        found: Scores = score(*args, title=title)
        return found

    monkeypatch.setattr(task, "score", count)
    quality, _, _ = measure.benchmark(task, begun.data(task), begun.start)
    assert len(scored) == 1
    assert set(quality) == {f"{key}_target_validation" for key in task.metrics}


class Indifferent(Verifier):
    """Every answer is right."""

    def verify_samples(self, hypotheses: Sequence[str], evidence: Evidence) -> list[VerifyResult]:
        return [VerifyResult(1.0, True, {"match": 1.0})] * len(hypotheses)


def test_a_constant_verifier_selects_nothing(classifier: Begun, tmp_path: Path) -> None:
    task = classifier.task()
    task.verifier = lambda data: Indifferent()  # type: ignore[method-assign]
    found = classifier.cycle(tmp_path / "constant", task=task)
    train = classifier.data(task).target["train"]
    labels = dict(zip(train.ids, train.values("label"), strict=True))
    rows = pq.read_table(tmp_path / "constant/rollouts.parquet").to_pylist()
    # of equal samples the first stands for its clip, right or wrong: as often right as all of them
    assert all(row["sample"] == 0 for row in rows if row["selected"])
    drawn, kept = (
        [row["text"] == labels[row["id"]] for row in rows if row["selected"] or everything]
        for everything in (True, False)
    )
    assert abs(sum(kept) / len(kept) - sum(drawn) / len(drawn)) < 0.2
    real = classifier.cycle(tmp_path / "real")
    assert found["accuracy_target_validation"] < real["accuracy_target_validation"] - 0.2
    rows = pq.read_table(tmp_path / "real/rollouts.parquet").to_pylist()
    assert all(row["reward"] == float(row["text"] == labels[row["id"]]) for row in rows)
    temperatures = [load_classifier(folder).temperature for folder in (classifier.start, tmp_path / "real")]
    assert temperatures[0] != temperatures[1], "a cycle calibrates its model anew"


def test_a_run_without_the_pipeline_makes_the_models_of_the_stages(classifier: Begun, tmp_path: Path) -> None:
    task = classifier.task()
    steps.start(task, classifier.data(task), tmp_path / "start", Tracker())
    own = Begun(tmp_path / "start", classifier.task, classifier.data)
    own.cycle(tmp_path / "01")
    numbers = {key: value for key, value in sounds.TOY.items() if Classification.is_read(key) and key != "task"}
    config = AudioRAFTConfig(output_dir=tmp_path / "run", task="classification", params=numbers)
    result = AudioRAFTTrainer(config).train(classifier.start.parent / "dataset/target")
    assert digest(tmp_path / "run/start") == digest(tmp_path / "start")
    assert digest(result.last_model) == digest(tmp_path / "01")
    assert result.cycles == [files.read_json(tmp_path / "01/metrics.json")]
