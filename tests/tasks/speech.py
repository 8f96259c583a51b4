"""Syllables of two voices, to be mixed with noise, and an enhancer that learns in a second."""

import functools
from typing import Any

import numpy as np

from soundraft.audio import io
from soundraft.clips.base import Clips
from soundraft.params import changed, defaults
from soundraft.params.sections import Params
from soundraft.tasks.enhancement import SpeechEnhancement

RATE_HZ = 8000
SECONDS = 0.7
TOY: dict[str, Any] = {
    "task": "enhancement",
    "corpus.target.name": "folder",
    "enhancement.sample_rate_hz": RATE_HZ,
    "enhancement.fft_length": 256,
    "enhancement.hop_length": 128,
    "enhancement.width": 16,
    "enhancement.mixing.speed_probability": 0.0,
    "enhancement.layers": 1,
    "enhancement.trainer.epochs": 3,
    "enhancement.trainer.batch_size": 4,
    "enhancement.trainer.learning_rate": 1e-2,
    "enhancement.trainer.average_decay": 0.0,
    "enhancement.trainer.cycle_learning_rate": 5e-3,
    "train.cycles": 1,
    "train.rounds_per_cycle": 2,
    "train.samples_per_prompt": 4,
    "train.presentations_per_cycle": 24,
    "train.batch_size": 4,
    "train.reward_threshold": 0.0,
    "train.keep_top_percent": 100.0,
    "evaluate.bootstrap_samples": 100,
    "benchmark.clips": 2,
}


def params(**changes: Any) -> Params:
    """Those of the repository with `TOY`, and with changes whose names have `__` for each dot."""
    return changed(defaults(), TOY | {name.replace("__", "."): value for name, value in changes.items()})


def task(**changes: Any) -> SpeechEnhancement:
    return SpeechEnhancement(params(**changes))


def wave(seed: int, *, seconds: float = SECONDS, rate_hz: int = RATE_HZ) -> np.ndarray:
    """`[N]`: harmonics of a pitch that moves, in syllables; the length differs a little."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(seconds * (1 + 0.1 * rng.random()) * rate_hz)) / rate_hz
    pitch_hz = (110 + 90 * (seed % 2)) * (1 + 0.1 * np.sin(2 * np.pi * 2 * time_s + rng.random()))
    phase = 2 * np.pi * np.cumsum(pitch_hz) / rate_hz
    voice = sum(np.sin(k * phase + rng.uniform(0, 6)) / k for k in range(1, 12))
    syllables = np.clip(np.sin(2 * np.pi * 4 * time_s + rng.uniform(0, 6)), 0, 1)
    found: np.ndarray = (0.1 * voice * syllables + 1e-4 * rng.standard_normal(len(time_s))).astype(np.float32)
    return found


@functools.cache
def _wav(seed: int) -> bytes:
    return io.wav_bytes(wave(seed), RATE_HZ)


def clips(count: int, *, first: int = 0) -> Clips:
    names = [f"{number:03d}" for number in range(first, first + count)]
    facts = [{"speaker": f"voice {number % 2}"} for number in range(first, first + count)]
    return Clips(names, lambda place: _wav(first + place), facts)
