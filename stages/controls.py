"""controls: one cycle of each control → models/controls/NN/{sft,self_training,random}/.

    python stages/controls.py --cycle 3

The code of raft_train, with another way to choose what to learn and as many presentations. The report shows them
beside RAFT: what the references themselves would give, and what is left without a reward.
"""

from pathlib import Path

from soundraft import distributed, stage

BASE = Path("models/base")
CHAIN = Path("models/controls")
DATASET = Path("data/dataset")
CONTROLS = ("sft", "self_training", "random")


def main(number: int) -> None:
    from soundraft.params import load_params
    from soundraft.tasks import steps
    from soundraft.tasks.base import task_of
    from soundraft.tracking import stage_run

    params = load_params()
    task = task_of(params)
    data = steps.dataset_of(task, DATASET, ("train", "validation"))  # features are made once for all of them
    with (
        stage_run(f"controls {number:02d}", params.leaves()) as tracker,
        distributed.building(CHAIN / f"{number:02d}") as out,
    ):
        for control in CONTROLS:
            previous = BASE if number == 1 else CHAIN / f"{number - 1:02d}" / control
            metrics, _, summary = steps.cycle(
                task, data, previous, out / control, number=number, base=BASE, control=control
            )
            tracker.metrics({f"{control}/{key}": value for key, value in metrics.items()}, step=number)
            if distributed.is_main():
                print(summary)


if __name__ == "__main__":
    stage.run_cycle(main, CHAIN, BASE, DATASET, help_text=__doc__)
