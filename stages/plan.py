"""plan: which cycles are active → data/plan/NN.json, one for each cycle that cycles.yaml lists.

DVC templates cannot count. Each cycle depends on its own file instead of on `train.cycles`, so that going from 4 to 6
trains two cycles and no more.
"""

from pathlib import Path

import yaml

from soundraft import stage
from soundraft.params import load_params

CYCLES = Path("cycles.yaml")


def main() -> None:
    params = load_params()
    listed = [item["cycle"] for item in yaml.safe_load(CYCLES.read_text(encoding="utf-8"))["cycles"].values()]
    stage.write_plan(listed, params.train.cycles)
    print(f"plan: {params.train.cycles} of {len(listed)} cycles are active")


if __name__ == "__main__":
    stage.run(main, help_text=__doc__)
