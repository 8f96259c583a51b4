"""train: the supervised start → models/base/.

For speech recognition `AutoModelForCTC` and `AutoProcessor` load it; `model.checkpoint: scratch` builds a small network
and trains it on corpus.start, `train.epochs: 0` takes a pretrained checkpoint as it is. A classifier learns the train
split of corpus.target, as the section `classification` says.
"""

from pathlib import Path

from soundraft import distributed, runtime, stage
from soundraft.params import load_params
from soundraft.tasks import asr, classification
from soundraft.tracking import stage_run

DATASET = Path("data/dataset/start")
OUT = Path("models/base")
STARTS = {"asr": asr.start, "classification": classification.start}


def main() -> None:
    params = load_params()
    with stage_run("train", params.leaves()) as tracker, distributed.building(OUT) as out:
        runtime.seed_torch(params.seed)
        done = STARTS[params.task](params, DATASET, out, tracker)
    if distributed.is_main():
        print(f"train: {OUT}: {done}")


if __name__ == "__main__":
    stage.run(main, help_text=__doc__)
