"""Train the recogniser of this folder, or the judge beside it, from nothing, on one core.

    python checkpoints/recognizer/train.py
    python checkpoints/recognizer/train.py --model judge

The script speaks its own clips with espeak-ng, from texts of the train split only, brings them to the loudness of s1,
and learns each as it is and passed through a codec of `CODECS` at 4 or 8 codebooks. What it writes is a model in the
layout of transformers; those in `checkpoints` were made by the defaults.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from sys import stdout
from typing import Any

import numpy as np
import torch

from soundraft import files, runtime, stage
from soundraft.audio import codec, io, loudness
from soundraft.audio.ecdc import SAMPLE_RATE_HZ
from soundraft.corpora import espeak
from soundraft.corpora.base import Request, Role
from soundraft.manifest import Clip, Split
from soundraft.models import ctc
from soundraft.models.base import Recognizer
from soundraft.parallel import progress_over
from soundraft.params import defaults
from soundraft.training.learner import FitReport, examples_of, fit

CODECS = ("encodec_tiny",)  # in checkpoints/
DEPTHS = (4, 8)  # codebooks
BANDWIDTH_KBPS = 6.0  # 8 codebooks
DRAWN_NOISES = ("speech-shaped", "hum", "bursts")
HUM_HZ = (40.0, 160.0)
HUM_HARMONICS = 12
BURSTS_PER_S = 6.0


@dataclass(frozen=True)
class Recipe:
    """What a model hears and how long it learns.

    Attributes:
        role, voices: of the espeak corpora, which share no voice variant.
        rate_wpm, pitch: [least, most].
        noisy_share, snr_db: share of clips with noise, and the ratio of speech to it, [least, most].
        drawn_noise: whether that noise is one of `DRAWN_NOISES`, not the coloured noise of the corpora.
        epochs: passes over both versions of all clips.
    """

    role: Role
    voices: int
    seed: int
    rate_wpm: tuple[int, int]
    pitch: tuple[int, int]
    noisy_share: float
    snr_db: tuple[float, float]
    drawn_noise: bool
    clips: int = 4000
    epochs: int = 3


RECIPES = {
    "recognizer": Recipe("start", 98, 101, (120, 205), (20, 80), 0.5, (5.0, 30.0), drawn_noise=False),
    "judge": Recipe("target", 84, 202, (100, 240), (5, 95), 0.5, (8.0, 35.0), drawn_noise=True, clips=2500, epochs=4),
}


# Clips.


def speak(recipe: Recipe, split: Split, clips: int) -> Iterator[tuple[Clip, np.ndarray]]:
    """Clips of texts of one split, and their waves `[N]` at 24 kHz.

    They are spoken one after another by a process that spoke nothing before: the same waves in every run.
    """
    noisy_share = 0.0 if recipe.drawn_noise else recipe.noisy_share
    style = {"rate_wpm": recipe.rate_wpm, "pitch": recipe.pitch, "noisy_share": noisy_share, "snr_db": recipe.snr_db}
    request = Request(
        role=recipe.role,
        clips={"train": 0, "validation": 0, "test": 0} | {split: clips},
        seed=recipe.seed,
        options={"voices": {recipe.role: recipe.voices}, recipe.role: style},
    )
    voice = espeak.Espeak()
    rate_hz = voice.sample_rate_hz
    for clip in progress_over(espeak.plan(request), total=clips, title="speak", unit="clip"):
        seed = runtime.derive_seed("noise", recipe.seed, clip.id)
        speech = voice.speak(clip.text or "", clip.speaker or "", clip.metadata["rate_wpm"], clip.metadata["pitch"])
        samples = espeak.add_noise(speech, clip, seed)
        if recipe.drawn_noise:
            samples = with_drawn_noise(samples, rate_hz, recipe, np.random.default_rng(seed))
        yield clip, normalized(io.resample(samples, rate_hz, SAMPLE_RATE_HZ))


def through(coder: codec.Codec, wave: np.ndarray, depth: int) -> np.ndarray:
    """The wave `[N]` at 24 kHz, decoded from its first `depth` codebooks."""
    return coder.decode(coder.encode(wave, BANDWIDTH_KBPS)[:depth])[: len(wave)]


def normalized(wave: np.ndarray) -> np.ndarray:
    """At the loudness of s1 with the defaults of params.yaml."""
    options = defaults().normalize
    loudest = loudness.peak_rms(wave, SAMPLE_RATE_HZ, options.window_s)
    gain = loudness.gain_for([wave], loudest, target_db=options.target_db, limit=options.on_clipping == "limit")
    return wave * np.float32(gain.factor)


def with_drawn_noise(samples: np.ndarray, rate_hz: int, recipe: Recipe, rng: np.random.Generator) -> np.ndarray:
    """The samples `[N]`, or with the recipe's share of chance these with one of `DRAWN_NOISES`."""
    if rng.random() >= recipe.noisy_share:
        return samples
    noise = drawn_noise(str(rng.choice(DRAWN_NOISES)), samples, rate_hz, rng)
    level = np.sqrt(np.mean(samples**2) / np.mean(noise**2)) * 10 ** (-rng.uniform(*recipe.snr_db) / 20)
    return (samples + level * noise).astype(np.float32)


def drawn_noise(kind: str, samples: np.ndarray, rate_hz: int, rng: np.random.Generator) -> np.ndarray:
    """Noise `[N]` of any level: with the clip's own spectrum and random phases, mains hum, or bursts."""
    count = len(samples)
    if kind == "speech-shaped":
        spectrum = np.abs(np.fft.rfft(samples))
        return np.fft.irfft(spectrum * np.exp(2j * np.pi * rng.random(len(spectrum))), count)
    if kind == "hum":
        times_s = np.arange(count) / rate_hz
        first_hz = rng.uniform(*HUM_HZ)
        phases, heights = rng.random(HUM_HARMONICS), rng.random(HUM_HARMONICS)
        numbers = np.arange(1, HUM_HARMONICS + 1)
        return heights @ np.sin(2 * np.pi * (np.outer(numbers, times_s) * first_hz + phases[:, None]))
    starts = rng.random(count) < BURSTS_PER_S / rate_hz
    starts[rng.integers(count)] = True  # at least one
    decay = np.exp(-np.arange(rate_hz // 10) * 60.0 / rate_hz)
    return np.convolve(starts, decay)[:count] * rng.standard_normal(count)


# The training itself.


def learn(recipe: Recipe, codecs: Sequence[Path]) -> tuple[Recognizer, FitReport]:
    """A recogniser with the network of `model.scratch`; the same recipe gives the same weights on the same machine."""
    params = defaults()
    runtime.seed_torch(recipe.seed)
    model = ctc.build(params.model.scratch)
    coders = [codec.load(folder) for folder in codecs]
    rng = np.random.default_rng(runtime.derive_seed("codecs", recipe.seed))
    features: list[torch.Tensor] = []
    texts: list[str] = []
    durations_s: list[float] = []
    for clip, wave in speak(recipe, "train", recipe.clips):
        coder, depth = coders[rng.integers(len(coders))], int(rng.choice(DEPTHS))
        for version in (wave, through(coder, wave, depth)):
            features.append(model.extract(io.resample(version, SAMPLE_RATE_HZ, model.sample_rate_hz)))
            texts.append(clip.text or "")
        durations_s.append(len(wave) / SAMPLE_RATE_HZ)
    model.note_learned(durations_s)
    options = params.train.model_copy(update={"epochs": recipe.epochs})
    report = fit(model, examples_of(features, texts), options, seed=recipe.seed, title="train")
    return model, report


def save(recognizer: Recognizer, folder: Path) -> None:
    """Write weights in half precision, which `load_recognizer` reads as float32."""
    state: dict[str, Any] = recognizer.model.state_dict()
    halves = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    recognizer.model.save_pretrained(folder, state_dict=halves)
    recognizer.processor.save_pretrained(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=sorted(RECIPES), default="recognizer", help="default: %(default)s")
    parser.add_argument("--out", type=Path, help="default: models/ and the name of the model")
    parser.add_argument("--clips", type=int, help="default: those of the recipe")
    parser.add_argument("--epochs", type=int, help="default: those of the recipe")
    parser.add_argument("--codecs", nargs="+", type=Path, help="folders; default: those in checkpoints/")
    arguments = parser.parse_args()
    out = arguments.out or Path("models") / arguments.model
    shipped = [runtime.shipped(f"checkpoints/{name}") for name in CODECS]
    torch.set_num_threads(1)  # a sum over two threads has another order, and other weights come of it
    recipe = RECIPES[arguments.model]
    recipe = replace(recipe, clips=arguments.clips or recipe.clips, epochs=arguments.epochs or recipe.epochs)
    started = time.process_time()
    recognizer, report = learn(recipe, shipped if arguments.codecs is None else arguments.codecs)
    with files.building(out) as folder:
        save(recognizer, folder)
    stdout.write(
        f"train: {report.steps} steps, {report.presentations} presentations in "
        f"{(time.process_time() - started) / 60:.1f} CPU minutes; "
        f"final loss {report.final_loss:.3f}; wrote {out}\nnext: python checkpoints/recognizer/measure.py\n"
    )


if __name__ == "__main__":
    stage.run(main)
