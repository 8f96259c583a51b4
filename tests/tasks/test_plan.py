"""The plan of a run: its counts are those of the run itself, and making it changes nothing."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from soundraft import AudioRAFTConfig, AudioRAFTTrainer
from soundraft.runtime import UserError
from soundraft.tasks import plan as cost
from soundraft.tasks.plan import Plan, duration, make_plan
from soundraft.tasks.run import Run, open_run, weights_digest
from tests.tasks import workshop


def opened(folder: Path, algorithm: str = "raft", cycles: int = 2, replay: bool = False) -> Run:
    config = AudioRAFTConfig(
        model_name=str(workshop.checkpoint()),
        output_dir=folder,
        num_cycles=cycles,
        samples_per_prompt=4,
        algorithm=algorithm,
        params=workshop.SMALL | {"train.gradient_accumulation_steps": 2},
    )
    return open_run(
        config, workshop.samples(20), workshop.samples(6, first=50), None, workshop.samples(9) if replay else None
    )


@pytest.mark.parametrize("algorithm", ["raft", "grpo", "sft", "self_training"])
def test_a_plan_is_measured_and_changes_nothing(tmp_path: Path, algorithm: str) -> None:
    run = opened(tmp_path / "out", algorithm)
    before = weights_digest(run.recognizer)
    plan = make_plan(run)
    assert weights_digest(run.recognizer) == before
    assert list(tmp_path.iterdir()) == []
    assert plan.splits["train"][0] == 20
    assert plan.splits["train"][1] == pytest.approx(
        sum(len(workshop.text_of(n)) for n in range(20)) * workshop.LETTER_S
    )
    assert all(seconds > 0 for seconds in plan.seconds.values())
    assert plan.memory_bytes > 2**27
    assert plan.trainable == plan.parameters == sum(w.numel() for w in run.recognizer.model.parameters())
    assert [name for name, _ in plan.rows()] == ["model", "clips", "cycles", "in each", "output", "time", "memory"]


def test_its_steps_are_those_that_a_run_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOUNDRAFT_CACHE", str(tmp_path / "cache"))
    run = opened(tmp_path / "out", cycles=1, replay=True)
    plan: Plan = make_plan(run)
    steps = []
    step = torch.optim.AdamW.step
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda self, *a, **k: steps.append(1) or step(self, *a, **k))
    trainer = AudioRAFTTrainer(
        AudioRAFTConfig(
            model_name=str(workshop.checkpoint()),
            output_dir=tmp_path / "out",
            num_cycles=1,
            samples_per_prompt=4,
            params=workshop.SMALL | {"train.gradient_accumulation_steps": 2},
        )
    )
    trainer.train(workshop.samples(20), workshop.samples(6, first=50), replay_dataset=workshop.samples(9))
    assert len(steps) == plan.steps
    assert make_plan(opened(tmp_path / "out", cycles=3, replay=True)).cycles_done == 1
    with pytest.raises(UserError, match="holds another run"):
        make_plan(opened(tmp_path / "out", "grpo"))


def test_a_probe_that_would_keep_nothing_is_timed_all_the_same(tmp_path: Path) -> None:
    run = opened(tmp_path / "out", "grpo")
    rules = replace(run.rules, settings=replace(run.rules.settings, samples_per_prompt=1))
    probe = run.data.load("train", run.recognizer, run.params)
    assert min(vars(cost.measure(run.recognizer, probe, rules, algorithm="grpo")).values()) > 0


def test_work_is_multiplied_by_padded_frames() -> None:
    assert cost.padded_frames([10.0] * 32 + [40.0] * 3, 32) == 32 * 10 + 3 * 40
    assert cost.padded_frames([10.0, 20.0], 8) == 40


@pytest.mark.parametrize(("seconds", "said"), [(3.2, "3 s"), (600, "10 min"), (9000, "2.5 h")])
def test_durations_read_well(seconds: float, said: str) -> None:
    assert duration(seconds) == said
