"""`soundraft datasets splits --mixing`: kinds of noise, recordings and rooms that cross splits."""

from pathlib import Path

import numpy as np

from soundraft.audio import io
from tests.conftest import Say

RATE_HZ = 8000


def recordings(folder: Path, names: list[str], first: int) -> Path:
    for number, name in enumerate(names, start=first):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        samples = 0.1 * np.random.default_rng(number).standard_normal(2000 + number)
        io.write_wav(folder / name, samples.astype(np.float32), RATE_HZ)
    return folder


def test_what_crosses_splits_is_named(tmp_path: Path, say: Say) -> None:
    splits = ("train", "validation", "test")
    speech = recordings(tmp_path / "speech", [f"{split}.wav" for split in splits], 0)
    rows = [f"{split}.wav,one {split},{split}" for split in splits]
    (speech / "metadata.csv").write_text("\n".join(["file_name,text,split", *rows]) + "\n")
    noise = recordings(tmp_path / "noise", [f"{split}/n.wav" for split in splits], 10)
    rooms = recordings(tmp_path / "rooms", [f"{name}.wav" for name in "abc"], 20)
    words = ("datasets", "splits", speech, "--mixing", "--noise-dir", noise, "--rir-dir", rooms)
    said = say(*words)
    for what in ("noise kind", "noise recording", "room"):
        (line,) = (line for line in said.splitlines() if line.startswith(f"{what} "))
        assert line.split()[-4:] == ["1", "1", "1", "none"]
    assert "the splits are apart" in said
    (noise / "test" / "n.wav").write_bytes((noise / "train" / "n.wav").read_bytes())
    said = say(*words, code=1)
    assert "noise recording in 2 splits: train: " in said
