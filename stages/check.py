"""check: validate params.yaml before anything runs → .gate/params, a constant text.

The gate's content never changes, so that an edited comment or an unrelated key starts no other stage.
"""

from pathlib import Path

import yaml

from soundraft import files, runtime, stage
from soundraft.params import load_params

GATE = Path(".gate/params")
CYCLES = Path("cycles.yaml")


def main() -> None:
    listed = yaml.safe_load(CYCLES.read_text(encoding="utf-8"))["cycles"]
    params = load_params(listed_cycles=len(listed))
    for name in params.sidecar.producers:
        runtime.check_tracked(Path(params.sidecar.producers_dir) / f"{name.removesuffix('.py')}.py")
    files.write_text(GATE, "params.yaml is valid\n")
    time = stage.time_of_all(params.train.cycles)
    print(f"check: params.yaml is valid; the default experiment takes {time} on two cores")


if __name__ == "__main__":
    stage.run(main, help_text=__doc__)
