"""The plan of cycles: which are active, and what stands in for the model of one that is not.

Imports nothing heavy: a stage of an inactive cycle ends in milliseconds.
"""

from collections.abc import Sequence
from pathlib import Path

from soundraft import files

PLAN = Path("data/plan")
MARKER_NAME = "inactive.json"


def write_plan(cycles: Sequence[str], active: int) -> None:
    """One file a cycle, `data/plan/NN.json`, for DVC to see which cycles have changed."""
    with files.building(PLAN) as out:
        for cycle in cycles:
            files.write_json(out / f"{cycle}.json", {"active": int(cycle) <= active})


def is_active(cycle: int) -> bool:
    return bool(files.read_json(PLAN / f"{cycle:02d}.json")["active"])


def write_marker(folder: Path) -> None:
    with files.building(folder) as out:
        files.write_json(out / MARKER_NAME, {"active": False})
