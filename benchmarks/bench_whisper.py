"""A Whisper checkpoint against faster-whisper in float32: seconds of a core, greedy, without times, one thread each.

MODELS=FOLDER python benchmarks/bench_whisper.py [RECORDING ...]

FOLDER holds `whisper-tiny.en` in the layout of transformers. The peer is left out, with a message, unless
FASTER_WHISPER names a Python that has the package, and CT2_MODEL the model that
`ct2-transformers-converter --quantization float32 --copy_files tokenizer.json` makes of the same checkpoint. Both take
the recordings in turns, decoding of audio and features included. Without recordings two seconds of noise are one.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import numpy as np
import torch
from timing import report, scratch

from soundraft import models
from soundraft.audio import io

REPEATS = 3
BATCH = 8
PEER = """
import json, sys, time
from faster_whisper import WhisperModel
model = WhisperModel(sys.argv[1], device="cpu", compute_type="float32", cpu_threads=1, num_workers=1)
print("ready", flush=True)
for line in sys.stdin:
    began, texts = time.process_time(), []
    for file in json.loads(line):
        found, _ = model.transcribe(file, language="en", beam_size=1, temperature=0, without_timestamps=True,
                                    condition_on_previous_text=False)
        texts.append(" ".join(part.text.strip() for part in found))
    print(json.dumps([time.process_time() - began, texts]), flush=True)
"""
Run = Callable[[], tuple[float, list[str]]]


def main(files: Sequence[str]) -> None:
    torch.set_num_threads(1)
    folder = Path(os.environ.get("MODELS", "")) / "whisper-tiny.en"
    if not os.environ.get("MODELS") or not folder.is_dir():
        print("skipped: MODELS=FOLDER names the folder that holds whisper-tiny.en")
        return
    with scratch() as place:
        if not files:
            noise = 0.1 * np.random.default_rng(0).standard_normal(2 * 16000)
            io.write_wav(place / "noise.wav", noise.astype(np.float32), 16000)
            files = [str(place / "noise.wav")]
        measure(folder, files)


def measure(folder: Path, files: Sequence[str]) -> None:
    recognizer = models.load_recognizer(folder)
    recognizer.model.eval()
    runs: dict[str, Run] = {name: own(recognizer, files, size) for name, size in (("alone", 1), ("batched", BATCH))}
    python, converted = os.environ.get("FASTER_WHISPER"), os.environ.get("CT2_MODEL")
    if python and converted:
        runs["faster-whisper"] = peer(python, converted, files)
    else:
        print("faster-whisper is left out: FASTER_WHISPER=PYTHON CT2_MODEL=FOLDER")
    for run in runs.values():  # the first one warms up
        run()
    taken: dict[str, list[float]] = {name: [] for name in runs}
    texts: dict[str, list[str]] = {}
    for _ in range(REPEATS):
        for name, run in runs.items():
            used, texts[name] = run()
            taken[name].append(used)
    audio_s = sum(io.read_header(Path(file))[0] for file in files)
    found = {name: median(each) for name, each in taken.items()}
    for name, used in found.items():
        print(f"{name}: {used / len(files):.3f} s of a core a recording, {used / audio_s:.3f} a second of audio")
    if "faster-whisper" in found:
        for name in ("alone", "batched"):
            same = sum(one == other for one, other in zip(texts[name], texts["faster-whisper"], strict=True))
            title = f"{name} against faster-whisper one by one ({same} of {len(files)} texts equal)"
            report(title, found[name] / found["faster-whisper"], "times", 1.5, at_least=False)


def own(recognizer: models.Recognizer, files: Sequence[str], size: int) -> Run:
    def run() -> tuple[float, list[str]]:
        began, texts = time.process_time(), list[str]()
        for start in range(0, len(files), size):
            features = [features_of(recognizer, file) for file in files[start : start + size]]
            texts += recognizer.best(recognizer.encode(features))
        return time.process_time() - began, texts

    return run


def features_of(recognizer: models.Recognizer, file: str) -> torch.Tensor:
    samples, rate_hz = io.read(Path(file))
    return recognizer.extract(io.resample(io.to_mono(samples), rate_hz, recognizer.sample_rate_hz))


def peer(python: str, converted: str, files: Sequence[str]) -> Run:
    """The peer in a process of its own, which measures its own time."""
    outside = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    process = subprocess.Popen(
        [python, "-c", PEER, converted], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=outside
    )
    assert process.stdin
    assert process.stdout
    if process.stdout.readline().strip() != "ready":
        raise SystemExit(f"{python}: no faster-whisper, or no model in {converted}")
    asked, answered = process.stdin, process.stdout

    def run() -> tuple[float, list[str]]:
        asked.write(json.dumps([str(Path(file).resolve()) for file in files]) + "\n")
        asked.flush()
        used, texts = json.loads(answered.readline())
        return used, texts

    return run


if __name__ == "__main__":
    main(sys.argv[1:])
