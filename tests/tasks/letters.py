"""A toy language in sound: every letter is a short tone. A tiny model learns it in seconds, an accent bends it."""

import functools
import random
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from soundraft.audio import io
from soundraft.clips.base import Clips
from soundraft.corpora.base import AudioSample
from soundraft.params import changed, defaults
from soundraft.tasks.asr import Recognition
from soundraft.training.learner import examples_of, fit
from tests.conftest import tiny_recognizer
from tests.training import toy

RATE_HZ = 8000
WORDS = ("one", "two", "six", "nine", "zero", "four")
LETTERS = "abcdefghijklmnopqrstuvwxyz"
LETTER_S = 0.06
HOME = tempfile.TemporaryDirectory(prefix="soundraft-toy-")  # removed when the process ends
# few clips and short batches: what a run needs to be over in seconds
SMALL = {
    "train.rounds_per_cycle": 2,
    "train.presentations_per_cycle": 48,
    "train.batch_size": 8,
    "train.masking": {"masks": 0, "frequency_bins": 0, "time_share": 0.0},
    "evaluate.bootstrap_samples": 200,
}
# a reward without transcripts that needs no text of a domain either
UNSUPERVISED = {
    "reward.kind": "unsupervised",
    "reward.unsupervised.weights": {"agreement": 1.0, "words": 0.0, "vocabulary": 0.0, "length": 0.0, "language": 0.0,
                                    "stability": 0.0},
    "train.reward_threshold": 0.0,
}  # fmt: skip


def text_of(number: int) -> str:
    rng = random.Random(number)
    return " ".join(rng.choices(WORDS, k=rng.randint(2, 4)))


def wave_of(text: str, *, accent: float = 0.0, seed: int = 0) -> np.ndarray:
    """Each letter's tone; with an accent they are that share higher."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(LETTER_S * RATE_HZ)) / RATE_HZ
    tones = [
        0.3 * np.sin(2 * np.pi * (400 + 110 * LETTERS.index(letter)) * (1 + accent) * time_s)
        if letter != " "
        else 0 * time_s
        for letter in text
    ]
    wave = np.concatenate(tones)
    return (wave + 0.02 * rng.standard_normal(len(wave))).astype(np.float32)


def recordings(folder: Path, *, accent: float = 0.04, **counts: int) -> Path:
    """A folder with metadata.csv; `train=40, test=12`, or clips without a split with `none=40`."""
    lines = ["file_name,text,speaker,split"]
    number = 0
    for split, count in counts.items():
        for _ in range(count):
            text = text_of(number)
            io.write_wav(folder / f"{number:03d}.wav", wave_of(text, accent=accent, seed=number), RATE_HZ)
            lines.append(f"{number:03d}.wav,{text},{split}{number},{'' if split == 'none' else split}")
            number += 1
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n")
    return folder


def samples(count: int, *, first: int = 0, accent: float = 0.04, split: str | None = None) -> list[AudioSample]:
    """The same in memory."""
    return [
        AudioSample(
            None,
            text_of(number),
            metadata={"id": f"m{number:03d}"} | ({"split": split} if split else {}),
            audio_array=wave_of(text_of(number), accent=accent, seed=number),
            sample_rate=RATE_HZ,
        )
        for number in range(first, first + count)
    ]


@functools.cache
def checkpoint() -> Path:
    """A model that has learned the language without an accent; made once for all tests of a process."""
    recognizer = tiny_recognizer(mel_bins=40)
    texts = [text_of(number) for number in range(1000, 1120)]
    features = [recognizer.extract(wave_of(text, seed=number)) for number, text in enumerate(texts)]
    fit(recognizer, examples_of(features, texts), toy.start_settings(16), seed=0, title="toy start")
    folder = Path(HOME.name) / "toy"
    recognizer.save(folder)
    return folder


def clips(numbers: range, *, accent: float = 0.0) -> Clips:
    """The same as a run takes them."""
    audio = [io.wav_bytes(wave_of(text_of(n), accent=accent, seed=n), RATE_HZ) for n in numbers]
    return Clips([f"{n:04d}" for n in numbers], lambda index: audio[index], [{"text": text_of(n)} for n in numbers])


def task(**changes: Any) -> Recognition:
    """With `SMALL`, from `checkpoint`, and with changes whose names have `__` for each dot."""
    usual = {"model.checkpoint": str(checkpoint()), "train.epochs": 0, "train.learning_rate": 2e-3}
    dotted = {name.replace("__", "."): value for name, value in changes.items()}
    return Recognition(changed(defaults(), SMALL | usual | dotted))
