"""stages/s5_build_dataset.py on any folders: each of its options."""

import os
import shutil
from pathlib import Path

import datasets
import pytest

from soundraft.dataset import verify
from soundraft.dataset.tokens import TokenDataset
from soundraft.manifest import MANIFEST_NAME
from tests.dataset.workshop import Corpus, corpus
from tests.sidecar.workshop import script


def s5(*argv: object, code: int = 0) -> str:
    got, output = script("s5_build_dataset", *argv)
    assert got == code, output
    assert "Traceback" not in output
    return output


@pytest.fixture
def beside(tmp_path: Path) -> Corpus:
    """A corpus with its sidecars beside the token files, as the public workflow leaves it."""
    made = corpus(tmp_path / "in")
    shutil.copytree(made.cond, made.tokens, dirs_exist_ok=True)
    return made


def test_token_folders_alone_make_a_dataset_without_text(beside: Corpus, tmp_path: Path) -> None:
    output = s5(beside.tokens, tmp_path / "out", "--verify")
    assert "out: train 6; 0 rejected" in output
    assert "verified 6 clips" in output
    assert f"next: soundraft inspect {tmp_path / 'out'} --split train" in output
    rows = datasets.load_from_disk(str(tmp_path / "out"))["train"]
    assert [row["id"] for row in rows] == ["test/2", "test/5", "train/0", "train/3_x.0", "validation/1", "validation/4"]
    row = rows[3]
    assert (row["wav"], row["text"], row["duration"], row["sample_rate"]) == (None, None, 0.5, 24000)
    assert (tmp_path / "out" / row["audio"]).samefile(beside.tokens / "train/3_x.0.ecdc"), "linked by default"


def test_split_and_tokens_subdir_and_materialize(beside: Corpus, tmp_path: Path) -> None:
    out = tmp_path / "out"
    s5(beside.tokens, out, "--split", "dev", "--tokens-subdir", "codes", "--materialize", "copy")
    row = datasets.load_from_disk(str(out))["dev"][0]
    assert row["audio"] == "codes/test/2.ecdc"
    assert not (out / row["audio"]).samefile(beside.tokens / "test/2.ecdc")
    for options, code, message in (
        ((), 1, "split dev, which this build does not make"),
        (("--split", "a/b"), 2, "is no name of a split"),
        (("--materialize", "symlink"), 2, "invalid choice"),
        (("--split", "cond"), 1, "no split can be called cond"),
        (("--tokens-subdir", "train"), 1, "plain name that no split has"),
        (("--layout", "esf", "--materialize", "embed"), 1, "embed does not"),
        (("--max-files", 0), 2, "from 1"),
    ):
        assert message in s5(beside.tokens, out, *options, code=code)


def test_suffixes_and_recursion(beside: Corpus, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    (flat / "deep").mkdir(parents=True)
    for name, target in (("test/2", "a"), ("train/0", "deep/b")):
        shutil.copy(beside.tokens / f"{name}.ecdc", flat / f"{target}.tok")
        for ending in ("npy", "json"):
            shutil.copy(beside.tokens / f"{name}.cond.{ending}", flat / f"{target}.feat.{ending}")
    options = ("--suffix", ".tok", "--cond-suffix", ".feat.npy", "--verify", "--materialize", "copy")
    assert "train 2; 0 rejected" in s5(flat, tmp_path / "all", *options)
    assert "train 1; 0 rejected" in s5(flat, tmp_path / "top", *options, "--no-recursive")
    row = datasets.load_from_disk(str(tmp_path / "top"))["train"][0]
    assert (row["audio"], row["cond"]) == ("tokens/a.tok", "cond/a.feat.npy")
    assert "no token files (*.ecdc) in there" in s5(flat, tmp_path / "x", code=1)
    assert not (tmp_path / "x").exists()


def test_sidecars_elsewhere_or_nowhere(tmp_path: Path) -> None:
    made = corpus(tmp_path / "in")
    output = s5(made.tokens, tmp_path / "x", "--verify")
    assert "no sidecar (*.cond.npy) lies beside the token files" in output
    assert "--cond-root" in output
    assert not TokenDataset.from_dataset(tmp_path / "x")[0]["names"]
    for ending in ("npy", "json"):
        shutil.copy(made.cond / f"test/2.cond.{ending}", made.tokens / "test")
    assert "no sidecar test/5.cond.npy" in s5(made.tokens, tmp_path / "y", code=1)
    s5(made.tokens, tmp_path / "cond", "--cond-root", made.cond, "--verify")
    s5(made.tokens, tmp_path / "bare", "--no-cond", "--verify")
    row = datasets.load_from_disk(str(tmp_path / "bare"))["train"][0]
    assert (row["cond"], row["features"]) == (None, [])
    assert not (tmp_path / "bare/cond").exists()


def test_the_first_files_and_sidecars_beside_them(tmp_path: Path) -> None:
    made, out = corpus(tmp_path / "in"), tmp_path / "out"
    options = ("--cond-root", made.cond, "--verify", "--max-files", 4)
    assert "out: train 4; 0 rejected" in s5(made.tokens, out, "--layout", "esf", *options)
    row = datasets.load_from_disk(str(out))["train"][3]
    assert (row["audio"], row["cond"]) == ("tokens/train/3_x.0.ecdc", "tokens/train/3_x.0.cond.npy")
    assert (out / row["audio"]).with_suffix(".cond.json").is_file()
    assert not (out / "cond").exists()
    listed = s5(made.tokens, tmp_path / "listed", *options, "--manifest", made.wavs / MANIFEST_NAME)
    assert "train 2, test 2; 0 rejected" in listed


def test_audio_and_manifest(tmp_path: Path) -> None:
    made = corpus(tmp_path / "in")
    s5(made.tokens, tmp_path / "wavs", "--no-cond", "--wav-root", made.wavs, "--codec", "me/mine")
    row = datasets.load_from_disk(str(tmp_path / "wavs"))["train"][0]
    assert row["wav"] == {"bytes": (made.wavs / "test/2.wav").read_bytes(), "path": "test/2.wav"}
    assert row["text"] is None
    assert "checkpoint `me/mine`" in (tmp_path / "wavs/README.md").read_text()
    output = s5(made.tokens, tmp_path / "full", "--no-cond", "--manifest", made.wavs / MANIFEST_NAME, "--verify")
    assert "train 2, validation 2, test 2; 0 rejected" in output
    assert datasets.load_from_disk(str(tmp_path / "full"))["test"]["text"][:] == ["text 2", "text 5"]


def test_bad_clips_are_named_and_limited(beside: Corpus, tmp_path: Path) -> None:
    (beside.tokens / "test/2.ecdc").write_bytes(b"junk")
    for ending in ("ecdc", "cond.npy", "cond.json"):  # a name that is no text
        shutil.copy(beside.tokens / f"test/5.{ending}", os.fsencode(beside.tokens) + b"/\xff." + ending.encode())
    assert "2 of 7 clips are bad" in s5(beside.tokens, tmp_path / "out", code=1)
    output = s5(beside.tokens, tmp_path / "out", "--max-bad-fraction", "0.5", "--verify")
    assert "SKIPPED test/2.ecdc: not a token file" in output
    assert "SKIPPED \\udcff.ecdc: the name is not UTF-8" in output
    assert verify.check(tmp_path / "out") == 5


def test_nothing_else_is_replaced(beside: Corpus, tmp_path: Path) -> None:
    s5(beside.tokens, tmp_path / "out")
    s5(beside.tokens, tmp_path / "out")  # a dataset is
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years")
    assert "is there and is no dataset" in s5(beside.tokens, mine, code=1)
    assert "neither inside the other" in s5(beside.tokens, beside.tokens / "out", code=1)
    assert "neither inside the other" in s5(beside.tokens, tmp_path, code=1)
    assert "would be replaced" in s5(beside.tokens, tmp_path / "w", "--wav-root", tmp_path / "w/wavs", code=1)
    assert (mine / "thesis.txt").read_text() == "years"
    assert "no such folder" in s5(tmp_path / "nope", tmp_path / "x", code=1)
