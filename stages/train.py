"""train: the start model → models/base/.

For speech recognition `AutoModelForCTC` and `AutoProcessor` load it; `model.checkpoint: scratch` builds a small network
and trains it on corpus.start, `train.epochs: 0` takes a pretrained checkpoint as it is. A classifier learns the train
split of corpus.target (section `classification`).
"""

from pathlib import Path

from soundraft import distributed, stage
from soundraft.params import load_params
from soundraft.tasks import steps
from soundraft.tasks.base import task_of
from soundraft.tracking import stage_run

DATASET = Path("data/dataset")
OUT = Path("models/base")


def main() -> None:
    params = load_params()
    task = task_of(params)
    data = steps.dataset_of(task, DATASET, ("train", "validation"), for_start=True)
    with stage_run("train", params.leaves()) as tracker, distributed.building(OUT) as out:
        summary = steps.start(task, data, out, tracker)
    if distributed.is_main():
        print(f"train: {OUT}: {summary}")


if __name__ == "__main__":
    stage.run(main, DATASET, help_text=__doc__)
