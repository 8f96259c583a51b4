"""raft_train: one RAFT cycle → models/raft/NN/ with the model, every sample (rollouts.parquet) and metrics.

    python stages/raft_train.py --cycle 3

A cycle that data/plan/ calls inactive writes a marker and ends, before anything heavy is imported.
"""

from pathlib import Path

from soundraft import distributed, stage

BASE = Path("models/base")
CHAIN = Path("models/raft")
DATASET = Path("data/dataset")


def main(number: int) -> None:
    from soundraft.params import load_params
    from soundraft.tasks import steps
    from soundraft.tasks.base import task_of
    from soundraft.tracking import stage_run

    params = load_params()
    task = task_of(params)
    data = steps.dataset_of(task, DATASET, ("train", "validation"))
    previous = BASE if number == 1 else CHAIN / f"{number - 1:02d}"
    with (
        stage_run(f"raft {number:02d}", params.leaves()) as tracker,
        distributed.building(CHAIN / f"{number:02d}") as out,
    ):
        metrics, details, summary = steps.cycle(task, data, previous, out, number=number, base=BASE)
        tracker.metrics(metrics | details, step=number)
        tracker.file(out / "rollouts.parquet")
    if distributed.is_main():
        print(summary)


if __name__ == "__main__":
    stage.run_cycle(main, CHAIN, BASE, DATASET, help_text=__doc__)
