from pathlib import Path

import datasets
import numpy as np
import pytest
import torch

from soundraft import files
from soundraft.audio import io
from soundraft.dataset import loader
from soundraft.dataset.build import build_dataset
from soundraft.dataset.splits import hashed_split
from soundraft.manifest import QUARANTINE_NAME, SPLITS, Clip, TooManyBad, write_manifest
from soundraft.runtime import UserError
from tests.conftest import tone


def normalized(folder: Path, texts: dict[str, str | None]) -> Path:
    """A normalised corpus: six clips, two a split, with these texts in place of theirs."""
    clips = []
    for index in range(6):
        name = f"{SPLITS[index % 3]}/{index}.wav"
        io.write_wav(folder / name, tone(0.2 + 0.1 * index, 24000), 24000)
        text = texts.get(str(index), f"text {index}")
        clips.append(
            Clip(id=str(index), audio_path=name, text=text, duration=0.2 + 0.1 * index, sample_rate=24000,
                 speaker="s", split=SPLITS[index % 3])
        )  # fmt: skip
    write_manifest(folder, clips, [])
    return folder


def tree_hash(folder: Path) -> str:
    return files.content_hash(*sorted(path for path in folder.rglob("*") if path.is_file()))


def test_same_bytes_from_another_place_and_loadable_after_a_move(tmp_path: Path) -> None:
    for name in ("one", "two"):
        build_dataset(normalized(tmp_path / name / "in", {}), tmp_path / name / "out", max_bad_fraction=0)
    assert tree_hash(tmp_path / "one/out") == tree_hash(tmp_path / "two/out")
    moved = (tmp_path / "one/out").rename(tmp_path / "moved")
    dataset = datasets.load_from_disk(str(moved))
    assert {split: len(table) for split, table in dataset.items()} == {"train": 2, "validation": 2, "test": 2}
    assert isinstance(dataset["train"].features["wav"], datasets.Audio)
    row = dataset["validation"][1]
    assert (row["id"], row["text"], row["speaker"], row["sample_rate"]) == ("4", "text 4", "s", 24000)
    np.testing.assert_allclose(io.decode(row["wav"]["bytes"], 24000), tone(0.6, 24000), atol=1e-4)


def test_clips_without_text_are_set_aside(tmp_path: Path) -> None:
    source = normalized(tmp_path / "in", {"0": "  ", "1": None})
    counts = build_dataset(source, tmp_path / "out", max_bad_fraction=0.5)
    assert counts == {"train": 1, "validation": 1, "test": 2}
    quarantine = (tmp_path / "out" / QUARANTINE_NAME).read_text()
    assert quarantine.count("empty transcript") == 2
    with pytest.raises(TooManyBad, match="2 of 6 clips are bad"):
        build_dataset(source, tmp_path / "out", max_bad_fraction=0.1)


def test_a_split_without_clips_is_an_error(tmp_path: Path) -> None:
    source = normalized(tmp_path / "in", {"2": "", "5": ""})
    with pytest.raises(UserError, match="no clips in the test split"):
        build_dataset(source, tmp_path / "out", max_bad_fraction=1)


def test_loading_resamples_and_takes_the_clips_asked_for(tmp_path: Path) -> None:
    build_dataset(normalized(tmp_path / "in", {}), tmp_path / "out", max_bad_fraction=0)
    clips = loader.load_utterances(
        tmp_path / "out", "train", sample_rate_hz=8000, extract=torch.from_numpy, indices=[1, 0, 1]
    )
    assert clips.ids == ["3", "0", "3"]
    assert clips.lengths == [4000, 1600, 4000]
    np.testing.assert_allclose(clips.features[1][400:-400], tone(0.2)[400:-400], atol=2e-3)


def test_batches_hold_every_clip_once_and_are_of_similar_length() -> None:
    lengths = [int(value) for value in np.random.default_rng(0).integers(10, 1000, 103)]
    for batches in (loader.length_batches(lengths, 8), loader.shuffled_batches(lengths, 8, seed=3)):
        assert sorted(index for batch in batches for index in batch) == list(range(103))
        padding = sum(max(lengths[i] for i in batch) * len(batch) for batch in batches) / sum(lengths)
        assert padding < 1.25
    assert loader.shuffled_batches(lengths, 8, seed=3) == loader.shuffled_batches(lengths, 8, seed=3)
    assert loader.shuffled_batches(lengths, 8, seed=3) != loader.shuffled_batches(lengths, 8, seed=4)


def test_hashed_splits_are_stable_and_near_their_shares() -> None:
    drawn = [hashed_split(f"speaker {index}") for index in range(3000)]
    assert drawn[:8] == [hashed_split(f"speaker {index}") for index in range(8)]
    assert {split: round(drawn.count(split) / 3000, 1) for split in SPLITS} == {
        "train": 0.8,
        "validation": 0.1,
        "test": 0.1,
    }
