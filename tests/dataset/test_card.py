"""The card: numbers that are right, and a header that the hub's own code reads."""

from pathlib import Path

import datasets
import pytest
import yaml
from datasets.info import DatasetInfosDict
from huggingface_hub import DatasetCard

from soundraft.audio import ecdc
from soundraft.dataset import build, table
from soundraft.dataset.build import Form, build_dataset
from soundraft.dataset.rows import Sources
from soundraft.params.sections import Materialize
from soundraft.runtime import UserError
from tests.dataset.workshop import codes_of, corpus, seconds


@pytest.mark.parametrize("materialize", ["copy", "embed"])
def test_the_header_is_one_that_hugging_face_reads(tmp_path: Path, materialize: Materialize) -> None:
    corpus(tmp_path / "in").build(tmp_path / "out", materialize)
    read = DatasetCard.load(tmp_path / "out/README.md")
    assert read.data.pretty_name == "toy"
    assert read.data.task_categories == ["automatic-speech-recognition"]
    assert read.data.language is None, "nobody knows it"
    info = DatasetInfosDict.from_dataset_card_data(read.data)["default"]
    assert info.features == datasets.Features.from_dict(table.columns(materialize))
    written = sum(path.stat().st_size for path in (tmp_path / "out").rglob("*.arrow"))
    assert info.dataset_size == sum(split.num_bytes for split in info.splits.values()) == written
    assert {name: split.num_examples for name, split in info.splits.items()} == {"train": 2, "validation": 2, "test": 2}


def test_its_numbers_are_right(tmp_path: Path) -> None:
    built = corpus(tmp_path / "in").build(tmp_path / "out")
    text = (tmp_path / "out/README.md").read_text()
    frames = codes_of(2).shape[1] + codes_of(5).shape[1]
    hours = (seconds(2) + seconds(5)) / 3600
    assert f"| test | 2 | {hours:.3f} | {frames} | `{built.splits['test'].hash}` |" in text
    total = sum(codes_of(index).shape[1] for index in range(6))
    assert f"| all | 6 | {sum(map(seconds, range(6))) / 3600:.3f} | {total} | |" in text
    assert "24000 Hz, 75 frames a second, checkpoint `tiny`. 4 codebooks (3.0 kbps): 6 clips." in text
    assert "| pitch | 6 |\n| rms_db | 6 |" in text
    assert "push_to_hub(" in text
    assert build.read_hashes(tmp_path / "out") == {split: facts.hash for split, facts in built.splits.items()}
    for column in table.columns("copy"):
        assert f"| `{column}` |" in text


@pytest.mark.parametrize("codebooks", [2, 4, 8, 16, 32])
def test_bandwidths_follow_from_codebooks(codebooks: int) -> None:
    assert build.kbps(codebooks) == {2: 1.5, 4: 3.0, 8: 6.0, 16: 12.0, 32: 24.0}[codebooks]
    assert ecdc.FRAMES_PER_S == 75


def test_what_nobody_knows_is_left_out(tmp_path: Path) -> None:
    made = corpus(tmp_path / "in")
    form = Form("bare", "embed", split="train")
    build_dataset(Sources(made.tokens, None), tmp_path / "out", form, max_bad_fraction=0)
    text = (tmp_path / "out/README.md").read_text()
    assert "task_categories" not in text
    assert "checkpoint" not in text
    assert "No conditioning features." in text


def test_a_missing_or_foreign_card_is_told(tmp_path: Path) -> None:
    for text in (None, "no header", "---\n- 1\n---\n", f"---\n{yaml.safe_dump({'a': 1})}---\n"):
        if text is not None:
            (tmp_path / "README.md").write_text(text)
        with pytest.raises(UserError, match="no card with content_hashes"):
            build.read_hashes(tmp_path)
