import math
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from soundraft.training import raft
from soundraft.training.learner import FitReport
from soundraft.training.raft import CycleResult
from soundraft.training.selection import KEPT, Sample
from tests.training import toy

FIT = FitReport(steps=4, presentations=60, mean_loss=0.5, final_loss=0.4)


def result(*samples: Sample) -> CycleResult:
    return CycleResult(list(samples), FIT, 1e-3, {"sampling": 2.0, "training": 3.0})


def test_rewards_below_zero_are_averaged_as_they_are() -> None:
    numbers = raft.summarize(
        result(
            Sample(0, 0, "a", -1.0, {}, reason=KEPT),
            Sample(0, 1, "b", -2.0, {}),
            Sample(1, 0, "c", None, {}, reason="empty"),
        )
    )
    assert numbers["reward_best"] == numbers["reward_kept"] == -1.0
    assert numbers["reward_mean"] == -1.5
    assert numbers["not_scorable"] == 1
    assert numbers["kept_share"] == 0.5
    assert len(numbers) + 4 <= 12  # with WER and CER of two corpora


def test_samples_that_no_verifier_can_score_have_no_averages() -> None:
    numbers = raft.summarize(result(Sample(0, 0, "a", None, {}, reason=KEPT)))
    assert numbers["reward_mean"] is numbers["reward_best"] is numbers["reward_kept"] is numbers["success_rate"] is None
    assert numbers["kept_share"] == 1.0
    assert "reward_q50" not in raft.details(result(Sample(0, 0, "a", None, {}, reason=KEPT)))


def test_details_tell_variety_and_speed() -> None:
    drawn = [Sample(0, n, text, 0.1 * n, {}) for n, text in enumerate(["a", "b", "a", "b"])]
    drawn += [Sample(1, n, "c", 1.0, {}) for n in range(4)]
    numbers = raft.details(result(*drawn))
    assert numbers["sample_entropy"] == pytest.approx((math.log(2) + 0) / 2)
    assert numbers["reward_q10"] <= numbers["reward_q50"] <= numbers["reward_q90"] == 1.0
    assert numbers["sampling_clips_per_s"] == 1.0
    assert numbers["training_clips_per_s"] == 20.0


def test_every_sample_is_a_row(tmp_path: Path) -> None:
    clips = toy.clips(2, seed=0)
    raft.write(
        tmp_path / "r.parquet",
        [Sample(0, 0, "a", 0.5, {"wer": 0.5}, True, KEPT), Sample(1, 0, "b", None, {}, False, "empty")],
        clips,
    )
    rows = pq.read_table(tmp_path / "r.parquet").to_pylist()
    assert rows[0] == {"id": clips.ids[0], "sample": 0, "text": "a", "reward": 0.5, "wer": 0.5, "success": True,
                       "selected": True, "reason": KEPT}  # fmt: skip
    assert (rows[1]["reward"], rows[1]["wer"], rows[1]["selected"]) == (None, None, False)
