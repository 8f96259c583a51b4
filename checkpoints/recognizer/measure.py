"""How well recognisers understand new synthetic clips, as they are, noisy, and passed through codecs.

    python checkpoints/recognizer/measure.py
    python checkpoints/recognizer/measure.py --recognizers checkpoints/recognizer models/base WHISPER_FOLDER

The texts are of the test split, so that no training has them, and the voices those of the start corpus, in its style:
the judge knows none of them.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from sys import stdout

import numpy as np
import torch
from train import CODECS, Recipe, normalized, speak, through

from soundraft import models, runtime, stage
from soundraft.audio import codec, features
from soundraft.audio.ecdc import SAMPLE_RATE_HZ
from soundraft.evaluation.judges import judge
from soundraft.metrics.resampling import Bootstrap
from soundraft.params import defaults

NOISE_SNR_DB = 10.0
DEPTHS = (2, 4, 8)
BOOTSTRAP_SAMPLES = 2000
SEED = 7
HERE = Path(__file__).parent


def versions_of(waves: Sequence[np.ndarray], codecs: Sequence[Path]) -> dict[str, list[np.ndarray]]:
    """By name the waves `[N]`: as they are, with white noise, and through each codec."""
    found = {"original": list(waves)}
    found[f"white noise, {NOISE_SNR_DB:g} dB"] = [
        normalized(features.add_noise(wave, snr_db=NOISE_SNR_DB)) for wave in waves
    ]
    for folder in codecs:
        coder = codec.load(folder)
        for depth in DEPTHS:
            found[f"{folder.name}, {depth} codebooks"] = [through(coder, wave, depth) for wave in waves]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recognizers", nargs="+", type=Path, default=[HERE, HERE.parent / "judge"])
    parser.add_argument("--codecs", nargs="+", type=Path, default=[HERE.parent / name for name in CODECS])
    parser.add_argument("--clips", type=int, default=300, help="default: %(default)s")
    given = parser.parse_args()
    torch.set_num_threads(1)
    style = defaults().corpus.espeak
    recipe = Recipe(
        "start", style.voices.start, SEED, tuple(style.start.rate_wpm), tuple(style.start.pitch), 0.0, (0.0, 1.0),
        drawn_noise=False,
    )  # fmt: skip
    spoken = list(speak(recipe, "test", given.clips))
    ids, texts = [clip.id for clip, _ in spoken], [clip.text or "" for clip, _ in spoken]
    audio_s = sum(len(wave) for _, wave in spoken) / SAMPLE_RATE_HZ
    versions = versions_of([wave for _, wave in spoken], given.codecs)
    names = [folder.name for folder in given.recognizers]
    stdout.write(f"| WER of {len(ids)} clips, {audio_s:.0f} s | {' | '.join(names)} |\n|{'---|' * (len(names) + 1)}\n")
    opened = [models.load_recognizer(folder) for folder in given.recognizers]
    for name, waves in versions.items():
        found = [judge(one, ids=ids, texts=texts, waves=waves, rate_hz=SAMPLE_RATE_HZ) for one in opened]
        cells = [str(scores.estimate("wer", Bootstrap(BOOTSTRAP_SAMPLES, SEED))) for scores in found]
        stdout.write(f"| {name} | {' | '.join(cells)} |\n")
    stdout.write(f"measure: peak memory {runtime.peak_memory_bytes() / 2**30:.1f} GiB\n")


if __name__ == "__main__":
    stage.run(main)
