"""What one RAFT cycle costs on one core: 600 clips, 64 samples each, 1,200 presentations, the numbers of params.yaml.

python benchmarks/bench_cycle.py [MODEL_FOLDER DATASET_FOLDER]     (default: what `make repro` leaves)
"""

import sys
import time
from pathlib import Path

import torch
from timing import report

from soundraft import models
from soundraft.params import defaults
from soundraft.tasks import asr
from soundraft.tasks.steps import load_inputs
from soundraft.training.raft import Shards, run_cycle


def main(model: Path, dataset: Path) -> None:
    if not (model / "config.json").is_file() or not dataset.is_dir():
        sys.exit(f"no model in {model} or no dataset in {dataset}: run `make repro` first, or name both folders")
    torch.set_num_threads(1)
    params = defaults()
    recognizer = models.load_recognizer(model)
    rules = asr.rules(params, dataset)
    inputs = load_inputs(dataset, recognizer, rules, cycle=1)
    started = time.process_time()
    result = run_cycle(
        recognizer, algorithm=params.train.algorithm, cycle=1, target=inputs.target, replay=inputs.replay,
        verifier=rules.subject.verifier, train=rules.train, decoding=params.decoding, seed=rules.seed,
        shards=Shards(None),
    )  # fmt: skip
    seconds = time.process_time() - started
    sampling = result.seconds["sampling"] / seconds
    report(f"one RAFT cycle on {len(inputs.target.clips)} clips", seconds, "s", 12, at_least=False)
    report("sampling and scoring, share of the cycle", 100 * sampling, "%", 25, at_least=False)


if __name__ == "__main__":
    given = [Path(name) for name in sys.argv[1:]]
    main(*(given or [Path("models/base"), Path("data/dataset")]))
