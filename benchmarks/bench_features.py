"""What loading a split costs when its features are kept: the second load against the first.

    python benchmarks/bench_features.py

1,000 clips of 1 to 3 s at 24 kHz, for the network of params.yaml's `model.scratch`; the cache begins empty each time.
"""

import os
import random
import shutil
from pathlib import Path
from statistics import median

import datasets
import numpy as np
import torch
from timing import report, scratch, seconds

from soundraft.audio import io
from soundraft.clips.base import from_dataset
from soundraft.clips.batches import Utterances
from soundraft.models import ctc as small
from soundraft.params import defaults
from soundraft.runtime import CACHE_VARIABLE
from soundraft.tasks.asr import Recognition

CLIPS = 1000
REPEATS = 3
RATE_HZ = 24000


def main() -> None:
    task, recognizer = Recognition(defaults()), small.build(defaults().model.scratch)
    with scratch() as folder:
        save_split(folder / "dataset" / "train")
        loaded: list[Utterances] = []

        def load() -> None:
            clips = from_dataset(folder / "dataset", "train")
            loaded.append(task.load(clips, recognizer, title="train").utterances)

        times = []
        for _ in range(REPEATS):
            os.environ[CACHE_VARIABLE] = str(folder / "cache")
            shutil.rmtree(folder / "cache", ignore_errors=True)
            times.append((seconds(load), seconds(load)))
            first, second = loaded
            assert all(torch.equal(*pair) for pair in zip(first.features, second.features, strict=True))
            loaded.clear()
    made_s, kept_s = (median(column) for column in zip(*times, strict=True))
    print(f"features of {CLIPS} clips: {made_s:.2f} s made, {kept_s:.2f} s kept")
    report("second load against first", made_s / kept_s, "×", 10)


def save_split(folder: Path) -> None:
    rng, noise = random.Random(0), np.random.default_rng(0)
    rows = []
    for index in range(CLIPS):
        wave = 0.1 * noise.standard_normal(round(rng.uniform(1, 3) * RATE_HZ)).astype(np.float32)
        path = folder.parent / "one.wav"
        io.write_wav(path, wave, RATE_HZ)
        unknown = dict.fromkeys(("label", "speaker", "metadata"))
        known = {"id": str(index), "text": "one", "duration": len(wave) / RATE_HZ}
        rows.append({**known, **unknown, "wav": {"bytes": path.read_bytes(), "path": path.name}})
    datasets.disable_progress_bars()
    datasets.Dataset.from_list(rows).save_to_disk(str(folder))


if __name__ == "__main__":
    main()
