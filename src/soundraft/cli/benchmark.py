"""`soundraft benchmark`: how good and how fast a recogniser is on a corpus or on recordings of your own."""

import argparse
from pathlib import Path
from typing import get_args

from soundraft import files
from soundraft.cli.choice import add_choice
from soundraft.cli.command import Command, positive, print_each
from soundraft.cli.sources import MODEL_LANGUAGE, dataset_of, load_model
from soundraft.manifest import Split
from soundraft.params import changed, defaults
from soundraft.params.sections import RewardParams
from soundraft.runtime import UserError
from soundraft.tables import columns

_CLIPS = 100
_PREFERRED: tuple[Split, ...] = ("test", "validation", "train")


def benchmark_options(options: argparse.ArgumentParser) -> None:
    add, usual = options.add_argument, defaults()
    normalizers = get_args(RewardParams.model_fields["normalizer"].annotation)
    timed = usual.benchmark
    add("--model", required=True, metavar="FOLDER_OR_ID", help="a local folder or a hub id")
    add(
        "--dataset", required=True, metavar="NAME_OR_PATH", dest="corpus",
        help="a corpus by name, a folder or a list of recordings; test clips where it has such",
    )  # fmt: skip
    add("--task", default="asr", help="what the model does: asr (the only one so far)")
    add("--limit", type=positive, default=_CLIPS, metavar="N", help=f"at most N clips ({_CLIPS})")
    add("--output", type=Path, metavar="FILE.json", help="write the numbers too")
    add("--normalizer", choices=normalizers, default=usual.reward.normalizer,
        help=f"how texts are made comparable ({usual.reward.normalizer})")  # fmt: skip
    add("--timed", type=positive, default=timed.clips, metavar="N", help=f"measure speed on N of them ({timed.clips})")
    add("--repeats", type=positive, default=timed.repeats, metavar="N",
        help=f"timed passes, of which the median counts ({timed.repeats})")  # fmt: skip
    add_choice(options, limited=True, language_of=MODEL_LANGUAGE)


def benchmark(given: argparse.Namespace) -> None:
    from soundraft.tasks import asr_benchmark, recordings
    from soundraft.tasks.trainer_config import TASKS

    if given.task not in TASKS:
        raise UserError(f"there is no benchmark for the task {given.task!r}; there is {', '.join(TASKS)}")
    choices = {
        "reward.normalizer": given.normalizer,
        "benchmark.clips": given.timed,
        "benchmark.repeats": given.repeats,
    }
    params = changed(defaults(), choices)
    dataset = dataset_of(given, seed=given.seed)
    splits = recordings.open_source(dataset, limit=given.limit, seed=given.seed or 0).splits
    split = next(name for name in _PREFERRED if splits.get(name))
    recognizer = load_model(given.model, given)
    result = asr_benchmark.benchmark(recognizer, splits[split], params)
    print(f"{given.model} on {dataset.name}, {split} split, texts compared as {given.normalizer}\n")
    print("\n".join(columns(result.rows())) + "\n")
    print_each("set aside", result.rejected)
    if given.output is not None:
        about = {"model": given.model, "dataset": dataset.name, "split": split, "normalizer": given.normalizer}
        files.write_json(given.output, about | result.numbers())
        print(f"{given.output}: the numbers")
    print(f"next: soundraft train --model {given.model} --dataset {given.corpus} --output RUN --dry-run")


COMMAND = Command(
    "Measure a speech recogniser: error rates with intervals, speed, memory.", benchmark_options, benchmark
)
