"""How fast noisy speech is made of clean speech: seconds of audio per second of one core.

    python benchmarks/bench_mixing.py

Clips of 4 s at 16 kHz and the numbers of params.yaml (`enhancement.mixing`), with noise alone, and with rooms too. The
rooms are simulated before the clock starts: that is done once, and costs 40 ms a room.
"""

import os
import time
from statistics import median
from typing import Any

import numpy as np
from timing import report, scratch

from soundraft.clips.mixing import Mixer
from soundraft.params import defaults
from soundraft.runtime import CACHE_VARIABLE

RATE_HZ = 16000
CLIP_S = 4.0
CLIPS = 100
REPEATS = 3
SPLIT = "train"


def main() -> None:
    random = np.random.default_rng(0)
    clean = (0.1 * random.standard_normal(round(CLIP_S * RATE_HZ))).astype(np.float32)
    with scratch() as folder:
        os.environ[CACHE_VARIABLE] = str(folder)
        report("noise", speed(clean), "× real time a core", 200)
        report("noise and room", speed(clean, room_probability=1.0), "× real time a core", 50)
        everything = {f"{name}_probability": 1.0 for name in ("room", "speed", "lowpass", "clipping", "codec")}
        print(f"all of it, lossy codecs too: {speed(clean, **everything):.0f} × real time a core")


def speed(clean: np.ndarray, **changes: Any) -> float:
    options = defaults().enhancement.mixing.model_copy(update=changes)
    mixer = Mixer(options, rate_hz=RATE_HZ, split=SPLIT, seed=0)
    mixer.pair(clean, id="before the clock", epoch=0)
    return median(CLIPS * CLIP_S / cpu_seconds(mixer, clean, epoch) for epoch in range(REPEATS))


def cpu_seconds(mixer: Mixer, clean: np.ndarray, epoch: int) -> float:
    started = time.process_time()
    for number in range(CLIPS):
        mixer.pair(clean, id=str(number), epoch=epoch)
    return time.process_time() - started


if __name__ == "__main__":
    main()
