"""check: validate params.yaml before anything runs → .gate/params, a constant text.

The gate's content never changes, so that an edited comment or an unrelated key starts no other stage.
"""

from pathlib import Path

import yaml

from soundraft import files, stage
from soundraft.params import ParamsError, load_params

GATE = Path(".gate/params")
PIPELINE = Path("dvc.yaml")


def main() -> None:
    params = load_params()
    listed = len(yaml.safe_load(PIPELINE.read_text(encoding="utf-8"))["stages"]["raft_train"]["foreach"])
    if params.train.cycles > listed:
        raise ParamsError(
            f"1 problem in params.yaml\n  train.cycles: got {params.train.cycles}; {PIPELINE} lists {listed} cycles: "
            "add more to the foreach list of raft_train and to the cycle list of controls"
        )
    files.write_text(GATE, "params.yaml is valid\n")
    print("check: params.yaml is valid")


if __name__ == "__main__":
    stage.run(main)
