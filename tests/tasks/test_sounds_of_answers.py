"""A task whose answers are audio has them kept: the samples of a cycle, and what it makes of the test clips."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

from soundraft import cli
from soundraft.audio import io
from soundraft.evaluation import samples
from soundraft.evaluation.samples import Sample, Sound
from soundraft.params.tasks import TASKS
from soundraft.tasks.steps import SOUND_CLIPS, SOUNDS
from tests import nearest_mean
from tests.tasks import sounds

SHORT = ["train.rounds_per_cycle=1", "train.samples_per_prompt=4", "train.presentations_per_cycle=36"]


class SpeakingSpeakers(nearest_mean.SpeakerRecognition):
    """Each answer sounds: a tone as high as the speaker's place among the speakers."""

    def sound_of(self, model: Any, features: Any, answer: Any) -> tuple[np.ndarray, int]:
        return sounds.wave("low", speaker=answer, noise=0.0), sounds.RATE_HZ

    def sounds(self, data: Any, models: Any, split: Any) -> list[Sound]:
        clip = data.target[split].ids[0]
        return [
            Sound(Sample(clip, "prediction", str(which), which.cycle), sounds.wave("high"), sounds.RATE_HZ)
            for which, _ in models
        ]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = f"{__name__}:{SpeakingSpeakers.__name__}"
    monkeypatch.setitem(TASKS, "speaking", type(nearest_mean.ENTRY)(place, "speakers that speak"))
    monkeypatch.chdir(tmp_path)
    folder = sounds.folder_corpus(tmp_path / "clips", counts={"train": 36, "validation": 9, "test": 9})
    cli.main(["train", "--task", "speaking", "--dataset", str(folder), "--output", "run", "--cycles", "1",
              "--set", *SHORT, "evaluate.bootstrap_samples=100"])  # fmt: skip
    return tmp_path / "run"


def test_answers_that_are_audio_are_kept(run: Path) -> None:
    drawn = pandas.read_parquet(run / "cycles/01/rollouts.parquet")
    kept = samples.read(run / "cycles/01" / SOUNDS)
    assert len(kept) == SOUND_CLIPS * 4
    chosen = drawn[drawn["id"].isin({sample.id for sample in kept})]
    assert [sample.text for sample in kept] == list(chosen["text"])
    assert [sample.kept for sample in kept] == list(chosen["selected"])
    assert [sample.numbers["reward"] for sample in kept] == list(chosen["reward"])
    assert len({sample.path for sample in kept}) == len({sample.text for sample in kept})
    shown = samples.read(run / SOUNDS)
    heard = [sample for sample in shown if sample.role == "input"]
    rows = [json.loads(line) for line in (run / "clips.jsonl").read_text().splitlines()]
    made = {sample.id for sample in shown if sample.role == "prediction"}
    assert {sample.id for sample in heard} == {row["id"] for row in rows if row["shown"]} - made
    decoded, rate_hz = io.read(run / SOUNDS / heard[0].path)
    given, given_hz = io.read(next((run.parent / "clips").glob(f"{Path(heard[0].id).stem}.wav")))
    assert rate_hz == given_hz
    np.testing.assert_allclose(decoded, given, atol=0.5 / io.PCM16_SCALE)
    shown = [sample for sample in shown if sample.role == "prediction"]
    assert [(sample.model, sample.cycle) for sample in shown] == [("start 0", 0), ("raft 1", 1)]
