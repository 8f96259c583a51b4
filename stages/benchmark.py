"""benchmark: quality of the start model before RAFT → reports/benchmark/; its speed and memory on this machine.

Speed is printed, tracked and left in reports/machine/benchmark.json. It is no DVC out: two runs never take the same
time, and a clock in an out would make every dvc.lock different.
"""

from pathlib import Path

from soundraft import files, stage
from soundraft.params import load_params
from soundraft.tasks import measure, steps
from soundraft.tasks.base import task_of
from soundraft.tracking import stage_run

MODEL = Path("models/base")
DATASET = Path("data/dataset")
OUT = Path("reports/benchmark")
MACHINE_OUT = Path("reports/machine/benchmark.json")


def main() -> None:
    params = load_params()
    task = task_of(params)
    data = steps.dataset_of(task, DATASET, ("validation",))
    with stage_run("benchmark", params.leaves()) as tracker, files.building(OUT) as out:
        quality, speed, summary = measure.benchmark(task, data, MODEL)
        files.write_json(out / "metrics.json", quality)
        files.write_json(MACHINE_OUT, speed)
        tracker.metrics(quality | speed)
    print(f"benchmark: {summary}")


if __name__ == "__main__":
    stage.run(main, MODEL, DATASET, help_text=__doc__)
