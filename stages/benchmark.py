"""benchmark: quality of the start model before RAFT → reports/benchmark/; its speed and memory on this machine.

Speed is printed, tracked and left in reports/machine/benchmark.json. It is no DVC out: two runs never take the same
time, and a clock in an out would make every dvc.lock different.
"""

from pathlib import Path

from soundraft import files, stage
from soundraft.params import load_params
from soundraft.tasks import asr, classification
from soundraft.tracking import stage_run

MODEL = Path("models/base")
DATASET = Path("data/dataset")
OUT = Path("reports/benchmark")
MACHINE_OUT = Path("reports/machine/benchmark.json")
BASELINES = {"asr": asr.baseline, "classification": classification.baseline}


def main() -> None:
    params = load_params()
    with stage_run("benchmark", params.leaves()) as tracker, files.building(OUT) as out:
        quality, machine, told = BASELINES[params.task](params, MODEL, DATASET)
        files.write_json(out / "metrics.json", quality)
        files.write_json(MACHINE_OUT, machine)
        tracker.metrics(quality | machine)
    print(f"benchmark: {told}")


if __name__ == "__main__":
    stage.run(main, help_text=__doc__)
