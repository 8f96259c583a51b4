"""The plan of a run: its counts are those of the run itself, and making it changes nothing."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from soundraft import AudioRAFTConfig, AudioRAFTTrainer
from soundraft.models.ctc import CTCAdapter
from soundraft.runtime import UserError
from soundraft.tasks.plan import duration, make_plan, padded_frames
from soundraft.tasks.run import Run
from tests.tasks import letters, sounds


def opened(folder: Path, algorithm: str = "raft", *, cycles: int = 2, replay: bool = False) -> Run:
    config = AudioRAFTConfig(
        model_name=str(letters.checkpoint()), output_dir=folder, num_cycles=cycles, samples_per_prompt=4,
        algorithm=algorithm, params=letters.SMALL | {"train.gradient_accumulation_steps": 2},
    )  # fmt: skip
    held_out = letters.samples(6, first=50), letters.samples(4, first=60)
    again = letters.samples(9) if replay else None
    return AudioRAFTTrainer(config).open(letters.samples(20), *held_out, replay_dataset=again)


@pytest.mark.parametrize("algorithm", ["raft", "grpo", "sft", "self_training"])
def test_a_plan_is_measured_and_changes_nothing(tmp_path: Path, algorithm: str) -> None:
    run = opened(tmp_path / "out", algorithm)
    model = run.task.initial_model()
    run.task.initial_model = lambda: model  # type: ignore[method-assign]
    plan = make_plan(run)
    weights = model.model.state_dict()
    kept = load_file(letters.checkpoint() / "model.safetensors")
    assert all(torch.equal(weights[name], kept[name]) for name in kept)
    assert list(tmp_path.iterdir()) == []
    seconds = sum(len(letters.text_of(n)) for n in range(20)) * letters.LETTER_S
    assert plan.splits["train"] == (20, pytest.approx(seconds))
    assert all(seconds > 0 for seconds in plan.seconds.values())
    assert plan.memory_bytes > 2**27
    assert plan.trainable == plan.parameters == sum(each.numel() for each in model.model.parameters())
    assert [name for name, _ in plan.rows()] == ["model", "clips", "cycles", "in each", "output", "time", "memory"]


def test_samples_that_the_model_cannot_learn_do_not_stop_a_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CTCAdapter, "can_learn", lambda self, answer: False)
    for algorithm in ("raft", "grpo", "self_training"):
        assert make_plan(opened(tmp_path / "out", algorithm)).seconds["training"] > 0


def test_its_steps_are_those_that_a_run_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan(opened(tmp_path / "out", cycles=1, replay=True))
    taken = []
    step = torch.optim.AdamW.step
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda self, *a, **k: taken.append(1) or step(self, *a, **k))
    opened(tmp_path / "out", cycles=1, replay=True).train()
    assert len(taken) == plan.steps
    assert make_plan(opened(tmp_path / "out", cycles=3, replay=True)).cycles_done == 1
    with pytest.raises(UserError, match="holds another run"):
        make_plan(opened(tmp_path / "out", "grpo"))


def test_a_task_whose_start_model_is_trained_has_no_plan(tmp_path: Path) -> None:
    params = {key: value for key, value in sounds.TOY.items() if key.startswith("classification")}
    trainer = AudioRAFTTrainer(AudioRAFTConfig(output_dir=tmp_path / "out", task="classification", params=params))
    folder = sounds.folder_corpus(tmp_path / "data", counts={"train": 9, "validation": 3})
    with pytest.raises(UserError, match="--dry-run"):
        make_plan(trainer.open(folder))


def test_work_is_multiplied_by_padded_frames_and_durations_read_well() -> None:
    assert padded_frames([10.0] * 32 + [40.0] * 3, 32) == 32 * 10 + 3 * 40
    assert padded_frames([10.0, 20.0], 8) == 40
    assert [duration(seconds) for seconds in (3.2, 600, 9000)] == ["3 s", "10 min", "2.5 h"]
