"""What K samples of a clip cost when the encoder runs once, against running it for every sample.

python benchmarks/bench_sampling.py [MODEL_FOLDER]     (default: models/base, which `make repro` leaves)
"""

import random
import sys
from pathlib import Path

import numpy as np
from timing import compare, report

from soundraft import models
from soundraft.dataset.loader import length_batches
from soundraft.models.ctc import CTCAdapter

CLIPS = 128
SAMPLES = 16
BATCH = 32


def main(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        sys.exit(f"no model in {folder}: run `make repro` first, or name a folder")
    recognizer = models.load_recognizer(folder)
    recognizer.model.eval()
    rng = random.Random(0)
    noise = np.random.default_rng(0)
    rate_hz = recognizer.sample_rate_hz
    waves = [noise.standard_normal(round(rng.uniform(1, 3) * rate_hz)).astype(np.float32) for _ in range(CLIPS)]
    features = [recognizer.extract(0.1 * wave) for wave in waves]
    batches = length_batches([len(feature) for feature in features], BATCH)

    def sample(count: int, runs: int) -> None:
        if isinstance(recognizer, CTCAdapter):
            recognizer._texts.clear()  # each run decodes its own texts
        for batch in batches:
            for run in range(runs):
                encoded = recognizer.encode([features[index] for index in batch])
                recognizer.sample(encoded, count, temperature=1.0, seeds=[run * CLIPS + index for index in batch])

    once_s, every_s = compare(lambda: sample(SAMPLES, 1), lambda: sample(1, SAMPLES), repeats=5)
    one_s, _ = compare(lambda: sample(1, 1), lambda: None, repeats=5)
    report(f"K = {SAMPLES}, encoder once against encoder per sample", every_s / once_s, "×", 5)
    report(f"K = {SAMPLES} against K = 1", once_s / one_s, "×", 1.3, at_least=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("models/base"))
