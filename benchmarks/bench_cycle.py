"""What one RAFT cycle costs on one core: 600 clips, 64 samples each, 1,200 presentations, the numbers of params.yaml.

python benchmarks/bench_cycle.py [MODEL_FOLDER DATASET_FOLDER]     (default: what `make repro` leaves)
"""

import sys
import time
from pathlib import Path

import torch
from timing import report, scratch

from soundraft.params import defaults
from soundraft.tasks import steps
from soundraft.tasks.base import task_of


def main(model: Path, dataset: Path) -> None:
    if not (model / "config.json").is_file() or not dataset.is_dir():
        sys.exit(f"no model in {model} or no dataset in {dataset}: run `make repro` first, or name both folders")
    torch.set_num_threads(1)
    task = task_of(defaults())
    data = steps.dataset_of(task, dataset, ["train"])
    for corpus in ("target", "start"):
        data.load(task, task.load_model(model), corpus, "train")
    started = time.process_time()
    with scratch() as out:
        _, details, _ = steps.cycle(task, data, model, out, number=1, base=model)
    seconds = time.process_time() - started
    report(f"one RAFT cycle on {len(data.target['train'])} clips", seconds, "s", 12, at_least=False)
    share = 100 * details["sampling_s"] / seconds
    report("sampling and scoring, share of the cycle", share, "%", 25, at_least=False)


if __name__ == "__main__":
    given = [Path(name) for name in sys.argv[1:]]
    main(*(given or [Path("models/base"), Path("data/dataset")]))
