"""The real pipeline of the tasks whose answers are audio, twice from nothing: with one worker, and with four."""

from pathlib import Path

import pytest

from tests.pipeline.workshop import Workshop
from tests.tasks import speech, test_tts

pytestmark = pytest.mark.slow

CHANGES = {
    "tts": test_tts.SMALL | {"tts.units": "phones", "encodec.checkpoint": "tiny"},
    "enhancement": speech.TOY | {
        "corpus.target.name": "espeak",
        "corpus.target.config": "voices",
        "corpus.espeak.voices.target": 16,
    },
}  # fmt: skip


@pytest.mark.parametrize("task", CHANGES)
def test_two_runs_from_nothing_have_one_lock(tmp_path: Path, task: str) -> None:
    locks = []
    for jobs in ("1", "4"):
        shop = Workshop.build(tmp_path / jobs, CHANGES[task], cycles=1)
        ran = shop.repro(SOUNDRAFT_JOBS=jobs)
        assert {"train", "raft_train@c01", "controls@c01", "evaluate", "report"} <= set(ran)
        locks.append(shop.lock())
    assert locks[0] == locks[1]
