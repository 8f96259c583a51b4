"""A toy corpus for classifiers: a label is a pitch, a speaker how far all of them are shifted."""

from pathlib import Path
from typing import Any

import numpy as np

from soundraft.audio import io

RATE_HZ = 8000
PITCHES_HZ = {"low": 300.0, "middle": 900.0, "high": 2000.0}
SPEAKERS = ("ann", "ben", "cem", "dora")
CONFIG: dict[str, Any] = {
    "input_features": [
        {
            "name": "audio",
            "type": "audio",
            "encoder": {"type": "stacked_cnn", "num_filters": 16, "num_conv_layers": 1, "output_size": 16},
            "preprocessing": {"type": "mel", "num_filter_bands": 16, "sample_rate_hz": RATE_HZ},
        }
    ],
    "output_features": [{"name": "pitch", "type": "category"}],
    "trainer": {"epochs": 4, "early_stop": 0, "learning_rate": 0.005, "batch_size": 8, "average_decay": 0.0},
    "augment": {"mixup": 0.0, "speed": 0.0, "warp": 0.0, "noise": 0.0, "gain": 0.0},
}


def clip(label: str, speaker: str, number: int) -> np.ndarray:
    """0.3 s of a tone in noise."""
    rng = np.random.default_rng(number)
    time_s = np.arange(round(0.3 * RATE_HZ)) / RATE_HZ
    pitch_hz = PITCHES_HZ[label] * (1 + 0.03 * SPEAKERS.index(speaker)) * rng.uniform(0.98, 1.02)
    tone = 0.3 * np.sin(2 * np.pi * (pitch_hz * time_s + rng.uniform()))
    return (tone + 0.01 * rng.standard_normal(len(time_s))).astype(np.float32)


def rows(folder: Path, count: int = 48) -> list[dict[str, Any]]:
    """Write clips, labels and speakers by turns; what a table has of each."""
    found = []
    for number in range(count):
        label = list(PITCHES_HZ)[number % 3]
        speaker = SPEAKERS[number // 3 % 4]
        name = f"{number:02d}.wav"
        io.write_wav(folder / name, clip(label, speaker, number), RATE_HZ)
        found.append(
            {"audio": name, "pitch": label, "speaker": speaker, "fold": 1 + number // 3 % 4, "age": 20 + number}
        )
    return found


def write_csv(path: Path, given: list[dict[str, Any]]) -> Path:
    names = list(dict.fromkeys(name for row in given for name in row))
    lines = [",".join(names), *(",".join(str(row.get(name, "")) for name in names) for row in given)]
    path.write_text("\n".join(lines) + "\n")
    return path


def table(folder: Path, count: int = 48) -> Path:
    """The same as a csv beside the clips."""
    return write_csv(folder / "clips.csv", rows(folder, count))
