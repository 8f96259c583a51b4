"""Sounds that are easy to tell apart: low, high and rising tones of three speakers, in noise."""

import io as memory
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import yaml

from soundraft.audio import io
from soundraft.clips.base import Clips
from soundraft.dataset.table import DICT_NAME
from soundraft.manifest import SPLITS
from soundraft.params.sections import Params
from tests.pipeline.workshop import ROOT, with_keys

RATE_HZ = 8000
SECONDS = 0.3
LABELS = ("high", "low", "rising")
SPEAKERS = {"ann": 0.9, "bob": 1.0, "cy": 1.1}  # and how high each one speaks
# a network and a training that take a second
TOY = {
    "task": "classification",
    "corpus.target.name": "folder",
    "classification.features.sample_rate_hz": RATE_HZ,
    "classification.features.window_length_in_s": 0.032,
    "classification.features.window_shift_in_s": 0.016,
    "classification.features.num_fft_points": 0,
    "classification.features.num_filter_bands": 20,
    "classification.encoder.members": 1,
    "classification.encoder.pooling": "statistics",
    "classification.encoder.output_size": 16,
    "classification.encoder.stacked_cnn_2d.num_filters": [4, 8],
    "classification.encoder.stacked_cnn_2d.filter_sizes": [3, 3],
    "classification.encoder.stacked_cnn_2d.pool_sizes": [2, 1],
    "classification.encoder.stacked_cnn_2d.band_pool_sizes": [2, 2],
    "classification.encoder.stacked_cnn_2d.width": 16,
    "classification.augment.background": 0.0,
    "classification.trainer.epochs": 8,
    "classification.trainer.learning_rate": 5.0e-3,
    "classification.trainer.average_decay": 0.0,
    "classification.trainer.cycle_learning_rate": 5.0e-3,
    "train.cycles": 1,
    "train.rounds_per_cycle": 4,
    "train.samples_per_prompt": 8,
    "train.presentations_per_cycle": 192,
    "evaluate.bootstrap_samples": 100,
    "evaluate.table_rows": 5,
    "benchmark.clips": 2,
}
CONFIG: dict[str, Any] = {  # a declaration of such a one; it predicts the column `pitch` of `table`
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


def params(**changes: Any) -> Params:
    """Those of the repository with `TOY`, and with changes whose names have `__` for each dot."""
    dotted = {name.replace("__", "."): value for name, value in changes.items()}
    text = (ROOT / "params.yaml").read_text()
    return Params.model_validate(yaml.safe_load(with_keys(text, TOY | dotted)))


def wave(label: str, *, speaker: str = "bob", seed: int = 0, noise: float = 0.05, rate_hz: int = RATE_HZ) -> np.ndarray:
    """`[N]`; the length differs a little from clip to clip."""
    rng = np.random.default_rng(seed)
    count = round((SECONDS + 0.1 * rng.random()) * rate_hz)
    from_hz, to_hz = {"low": (400, 400), "high": (1500, 1500), "rising": (400, 1500)}[label]
    pitch_hz = SPEAKERS[speaker] * np.linspace(from_hz, to_hz, count)
    tone = 0.3 * np.sin(2 * np.pi * np.cumsum(pitch_hz) / rate_hz)
    return (tone + noise * rng.standard_normal(count)).astype(np.float32)


def wav(label: str, **options: Any) -> bytes:
    return io.wav_bytes(wave(label, **options), RATE_HZ)


def clips(count: int, *, seed: int = 0, noise: float = 0.05, labels: Sequence[str] = LABELS) -> Clips:
    """Labels by turns, and speakers by turns of all labels; in memory."""
    facts = [
        {"label": labels[index % len(labels)], "speaker": list(SPEAKERS)[index // len(labels) % len(SPEAKERS)]}
        for index in range(count)
    ]
    audio = [
        wav(each["label"], speaker=each["speaker"], seed=1000 * seed + index, noise=noise)
        for index, each in enumerate(facts)
    ]
    return of(audio, facts, prefix=f"{seed}/")


def of(audio: Sequence[bytes], facts: Sequence[Mapping[str, Any]], *, prefix: str = "") -> Clips:
    """Clips of these bytes."""
    ids = [f"{prefix}{index:03d}" for index in range(len(audio))]
    return Clips(ids, lambda index: audio[index], [dict(each) for each in facts])


def stereo(samples: np.ndarray, rate_hz: int) -> bytes:
    """`[N, C]` as a wav file of floats."""
    stream = memory.BytesIO()
    soundfile.write(stream, samples, rate_hz, format="WAV", subtype="FLOAT")
    return stream.getvalue()


def rows(folder: Path, count: int = 45) -> list[dict[str, Any]]:
    """Write `clips(count)` as files; what a table has of each."""
    folder.mkdir(parents=True, exist_ok=True)
    given = clips(count)
    for index in range(count):
        (folder / f"{index:02d}.wav").write_bytes(given.audio(index))
    return [
        {"audio": f"{n:02d}.wav", "pitch": facts["label"], "speaker": facts["speaker"], "fold": 1 + n // 3 % 3,
         "age": 20 + n}
        for n, facts in enumerate(given.facts)
    ]  # fmt: skip


def write_csv(path: Path, given: Sequence[Mapping[str, Any]]) -> Path:
    names = list(dict.fromkeys(name for row in given for name in row))
    lines = [",".join(names), *(",".join(str(row.get(name, "")) for name in names) for row in given)]
    path.write_text("\n".join(lines) + "\n")
    return path


def table(folder: Path, count: int = 45) -> Path:
    """The same as a csv beside the clips."""
    return write_csv(folder / "clips.csv", rows(folder, count))


def dataset(folder: Path, **splits: Clips) -> Path:
    """What s5 leaves of a corpus of classification, `target` and `start`, with the columns that training reads."""
    import datasets

    for corpus in ("target", "start"):
        for name in SPLITS:
            given = splits[name]
            found = [
                {
                    "id": given.ids[index],
                    "wav": {"bytes": given.audio(index), "path": f"{index}.wav"},
                    "text": None,
                    "label": facts.get("label"),
                    "speaker": facts.get("speaker"),
                    "metadata": json.dumps({k: v for k, v in facts.items() if k not in ("label", "speaker")}) or None,
                    "duration": SECONDS,
                }
                for index, facts in enumerate(given.facts)
            ]
            datasets.Dataset.from_list(found).save_to_disk(str(folder / corpus / name))
        (folder / corpus / DICT_NAME).write_text(json.dumps({"splits": list(SPLITS)}))
    return folder


def folder_corpus(folder: Path, *, counts: Mapping[str, int], noise: float = 0.05) -> Path:
    """Recordings with a metadata.csv, as a user would bring them."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for seed, (split, count) in enumerate(counts.items()):
        given = clips(count, seed=seed, noise=noise)
        for index, facts in enumerate(given.facts):
            name = f"{split}{index:03d}.wav"
            (folder / name).write_bytes(given.audio(index))
            lines.append({"file_name": name, **facts, "split": split})
    write_csv(folder / "metadata.csv", lines)
    return folder
