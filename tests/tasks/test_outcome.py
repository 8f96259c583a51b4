from pathlib import Path

from soundraft import files
from soundraft.tasks import run


def test_a_report_without_rates_tells_the_rewards_also_of_a_cycle_that_kept_nothing(tmp_path: Path) -> None:
    cycles = [
        {"reward_mean": 0.25, "reward_kept": 0.5, "kept_share": 0.75},
        {"reward_mean": 0.125, "reward_kept": None, "kept_share": 0.0},
    ]
    run.write_unmeasured(tmp_path, cycles, ["a note"])
    lines = (tmp_path / "report.md").read_text().splitlines()
    assert lines[4:6] == ["| 1 | 0.250 | 0.500 | 0.750 |", "| 2 | 0.125 | none | 0.000 |"]
    assert lines[-1] == "- a note"
    assert files.read_json(tmp_path / "metrics.json") == {"cycles": 2, **cycles[1]}
