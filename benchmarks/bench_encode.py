"""s2's codec against transformers' `EncodecModel.encode`, one clip after the other, on one core.

    make bench, or PYTHONPATH=. python benchmarks/bench_encode.py

The sizes of facebook/encodec_24khz with random weights that a signal survives; CPU time, in turns; both have the model
loaded. Nothing is compiled.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import time
from collections.abc import Callable
from statistics import median

import numpy as np
import torch
from timing import report
from transformers import EncodecModel

from tests.audio import codecs

SHORT, LONG = 64, 6
REPEATS = 3
BANDWIDTH_KBPS = 6.0


def main() -> None:
    torch.set_num_threads(1)
    model = codecs.random_model(codecs.FULL)
    rng = np.random.default_rng(0)
    short = [codecs.noise(0.5, seed) for seed in range(SHORT)]
    long = [codecs.noise(rng.uniform(10, 30), seed) for seed in range(LONG)]
    compare(model, "0.5 s", short, {"plain": 3.0})
    compare(model, "10–30 s", long, {"plain": 1.3, "the goal for compiled code": 1.8})


def compare(model: EncodecModel, name: str, waves: list[np.ndarray], targets: dict[str, float]) -> None:
    codec = codecs.codec_of(model)
    pairs, equal = [], []
    for _ in range(REPEATS + 1):
        ours, ours_s = cpu_timed(lambda: [codec.encode(wave, BANDWIDTH_KBPS) for wave in waves])
        alone, alone_s = cpu_timed(lambda: [codecs.transformers_codes(model, wave, BANDWIDTH_KBPS) for wave in waves])
        pairs.append((ours_s, alone_s))
        equal += [np.mean(one == other) for one, other in zip(ours, alone, strict=True)]
    ours_s, alone_s = median(a for a, _ in pairs[1:]), median(b for _, b in pairs[1:])  # the first is a warm-up
    audio_s = sum(map(len, waves)) / 24000
    print(f"s2, {len(waves)} clips of {name}: {audio_s / ours_s:.1f} × real time; one by one {audio_s / alone_s:.1f} ×")
    for what, target in targets.items():
        report(f"s2, clips of {name}, against one by one ({what})", alone_s / ours_s, "×", target)
    report(f"s2, clips of {name}, equal codes", 100 * float(np.mean(equal)), "%", 100)


def cpu_timed(action: Callable[[], list[np.ndarray]]) -> tuple[list[np.ndarray], float]:
    started = time.process_time()
    made = action()
    return made, time.process_time() - started


if __name__ == "__main__":
    main()
