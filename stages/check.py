"""check: validate params.yaml before anything runs → .gate/params, a constant text.

The gate's content never changes, so that an edited comment or an unrelated key starts no other stage.
"""

from pathlib import Path

import yaml

from soundraft import files, stage
from soundraft.params import ParamsError, load_params

GATE = Path(".gate/params")
CYCLES = Path("cycles.yaml")


def main() -> None:
    params = load_params()
    listed = len(yaml.safe_load(CYCLES.read_text(encoding="utf-8"))["cycles"])
    if params.train.cycles > listed:
        raise ParamsError(
            f"1 problem in params.yaml\n  train.cycles: got {params.train.cycles}; {CYCLES} lists {listed} cycles: "
            "add more there"
        )
    files.write_text(GATE, "params.yaml is valid\n")
    print("check: params.yaml is valid")


if __name__ == "__main__":
    stage.run(main)
