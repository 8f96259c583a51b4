"""Word errors of a recogniser on clips one by one, and on the same clips joined to one recording.

python benchmarks/bench_longform.py [MODEL_FOLDER] [CLIPS]

The clips are the first ones of espeak's validation split, 60 by default; the model is models/base, which `make repro`
leaves. They are joined as they are, with pauses of faint noise, and without the quiet at their ends. Each recording is
transcribed in windows as long as the clips that the model learned, and, as a model of unknown training would be, in
windows of `decoding.long_audio.window_s`.
"""

import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from soundraft import models
from soundraft.audio import io
from soundraft.clips.opening import open_clips
from soundraft.metrics.text import error_rate, word_counts
from soundraft.models.longform import transcribe_file
from soundraft.params import defaults
from soundraft.tasks.base import task_of

PAUSES_S = (0.25, 0.5, 1.5)


def main(folder: Path, count: int) -> None:
    recognizer, task = models.load_recognizer(folder), task_of(defaults())
    recognizer.model.eval()
    rate_hz, noise = recognizer.sample_rate_hz, np.random.default_rng(0)
    source = open_clips("espeak", task.reading(), limit=count)
    clips = source.clips.by_split(list(source.splits))["validation"]
    waves = [
        io.resample(io.to_mono(samples), hz, rate_hz) for samples, hz in map(io.parse, map(clips.audio, range(count)))
    ]
    texts = [task.target_of(facts) or "" for facts in clips.facts]
    answers = (recognizer.best(recognizer.encode([recognizer.extract(wave)]))[0] for wave in waves)
    print(f"{'one by one':26} {wer(zip(texts, answers, strict=True))}")
    joined = {
        "joined as they are": np.concatenate(waves),
        "without quiet ends": np.concatenate([trim(w) for w in waves]),
    }
    for pause_s in PAUSES_S:
        quiet = (1e-4 * noise.standard_normal(round(pause_s * rate_hz))).astype(np.float32)
        joined[f"pauses of {pause_s} s"] = np.concatenate([part for wave in waves for part in (wave, quiet)])
    learned_s = recognizer.learned_clip_s
    for name, recording in joined.items():
        rates = []
        for recognizer.model.config.learned_clip_s in (learned_s, None):
            segments = transcribe_file(recognizer, recording, defaults().decoding)
            rates.append(wer([(" ".join(texts), " ".join(segment.text for segment in segments))]))
        print(f"{name:26} {rates[0]}   in windows of {defaults().decoding.long_audio.window_s:g} s {rates[1]}")


def wer(pairs: Iterable[tuple[str, str]]) -> str:
    counts = [word_counts(reference=reference, hypothesis=hypothesis) for reference, hypothesis in pairs]
    return f"{error_rate(np.sum(counts, axis=0)):6.1%}"


def trim(wave: np.ndarray) -> np.ndarray:
    loud = np.flatnonzero(np.abs(wave) > 0.02 * np.abs(wave).max())
    return wave[loud[0] : loud[-1] + 1]


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "models/base"), int(sys.argv[2] if len(sys.argv) > 2 else 60))
