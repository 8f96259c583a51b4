"""s5: what goes into a dataset, what is rejected, and that its bytes follow from the clips alone."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import datasets
import numpy as np
import pytest
import yaml
from datasets.info import DatasetInfosDict
from huggingface_hub import DatasetCard

from soundraft.audio import io
from soundraft.dataset import build, table, verify
from soundraft.dataset.build import build_dataset
from soundraft.dataset.rows import Form, Sources
from soundraft.manifest import MANIFEST_NAME, QUARANTINE_NAME, TooManyBad, read_manifest, write_manifest
from soundraft.params.sections import Materialize
from soundraft.runtime import UserError
from tests.conftest import tone
from tests.dataset.workshop import CODEBOOKS, NAMES, codes_of, cond_of, corpus, seconds, tree_hash

ROOT = Path(__file__).resolve().parents[2]
FORMS: tuple[Materialize, ...] = get_args(Materialize)


def quarantine(folder: Path) -> dict[str, str]:
    lines = (folder / QUARANTINE_NAME).read_text().splitlines()
    return {row["id"]: row["reason"] for row in map(json.loads, lines)}


@pytest.mark.parametrize("materialize", FORMS)
def test_same_bytes_from_another_place(tmp_path: Path, materialize: Materialize) -> None:
    for name in ("one", "two"):
        corpus(tmp_path / name).build(tmp_path / name / "out", materialize)
    assert tree_hash(tmp_path / "one/out") == tree_hash(tmp_path / "two/out")


def test_rows_have_all_columns_and_load_after_a_move(tmp_path: Path) -> None:
    corpus(tmp_path / "in").build(tmp_path / "out")
    moved = (tmp_path / "out").rename(tmp_path / "moved")
    shutil.rmtree(tmp_path / "in")
    dataset = datasets.load_from_disk(str(moved))
    assert {split: len(rows) for split, rows in dataset.items()} == {"train": 2, "validation": 2, "test": 2}
    assert isinstance(dataset["train"].features["wav"], datasets.Audio)
    row = dataset["train"][1]
    wav = row.pop("wav")
    assert row == {
        "id": "3", "audio": "tokens/train/3_x.0.ecdc", "cond": "cond/train/3_x.0.cond.npy", "text": "text 3",
        "label": None, "speaker": "s", "metadata": None, "duration": 0.5, "sample_rate": 24000,
        "frames": codes_of(3).shape[1],
        "codebooks": CODEBOOKS, "features": list(NAMES),
    }  # fmt: skip
    np.testing.assert_allclose(io.decode(wav["bytes"], 24000), tone(0.5, 24000), atol=1e-4)
    assert wav["path"] == "train/3_x.0.wav"
    for name in (row["audio"], row["cond"], "cond/train/3_x.0.cond.json"):
        assert (moved / name).is_file()


@pytest.mark.parametrize("materialize", ["copy", "embed"])
def test_the_tables_are_those_that_datasets_writes(tmp_path: Path, materialize: Materialize) -> None:
    corpus(tmp_path / "in").build(tmp_path / "out", materialize)
    again = datasets.load_from_disk(str(tmp_path / "out"))
    declared = datasets.Features.from_dict(table.columns(materialize))
    for split, rows in again.items():
        assert rows.features == declared
        assert rows.data.schema == declared.arrow_schema
        assert rows.data.schema.metadata == declared.arrow_schema.metadata
        assert str(rows.split) == split
    again.save_to_disk(tmp_path / "again")
    for name in ("dataset_dict.json", *(f"{split}/dataset_info.json" for split in again)):
        assert (tmp_path / "again" / name).read_text() == (tmp_path / "out" / name).read_text()
    theirs, ours = (json.loads((tmp_path / name / "test/state.json").read_text()) for name in ("again", "out"))
    assert theirs.keys() == ours.keys()
    assert theirs["_data_files"] == ours["_data_files"]


def test_links_are_hard_links(tmp_path: Path) -> None:
    made = corpus(tmp_path / "in")
    made.build(tmp_path / "out", "link")
    for row in datasets.load_from_disk(str(tmp_path / "out"))["test"]:
        assert (tmp_path / "out" / row["audio"]).samefile(made.tokens / row["audio"].removeprefix("tokens/"))
        assert (tmp_path / "out" / row["cond"]).samefile(made.cond / row["cond"].removeprefix("cond/"))
    assert not list((tmp_path / "out").glob("*.tmp"))


def test_links_across_file_systems_name_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def elsewhere(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    made = corpus(tmp_path / "in")
    monkeypatch.setattr(os, "link", elsewhere)
    with pytest.raises(UserError, match=r"Invalid cross-device link.*--materialize copy works anywhere"):
        made.build(tmp_path / "out", "link")


def test_none_names_the_files_where_they_lie(tmp_path: Path) -> None:
    made = corpus(tmp_path / "in")
    form = Form("toy", "none", needs_text=True)
    build_dataset(made.sources(), tmp_path / "b.tmp", form, max_bad_fraction=0, home=tmp_path / "deep/home")
    (tmp_path / "deep").mkdir()
    (tmp_path / "b.tmp").rename(tmp_path / "deep/home")
    row = datasets.load_from_disk(str(tmp_path / "deep/home"))["validation"][0]
    assert row["audio"] == "../../in/tokens/validation/1.ecdc"
    assert (tmp_path / "deep/home" / row["cond"]).samefile(made.cond / "validation/1.cond.npy")
    assert not (tmp_path / "deep/home/tokens").exists()


def test_embed_stands_alone_and_streams(tmp_path: Path) -> None:
    corpus(tmp_path / "in").build(tmp_path / "out", "embed")
    moved = (tmp_path / "out").rename(tmp_path / "moved")
    shutil.rmtree(tmp_path / "in")
    assert not (moved / "tokens").exists()
    assert not (moved / "cond").exists()
    streamed = list(datasets.load_from_disk(str(moved))["test"].to_iterable_dataset())
    assert [row["id"] for row in streamed] == ["2", "5"]
    for index, row in zip((2, 5), streamed, strict=True):
        np.testing.assert_array_equal(row["codes"], codes_of(index).T)
        np.testing.assert_array_equal(np.asarray(row["cond"], np.float16), cond_of(index))
        assert row["features"] == list(NAMES)
        assert json.loads(row["meta"])["note"] == index
        assert "audio" not in row


def test_the_hash_of_a_split_is_of_its_content_however_it_is_stored(tmp_path: Path) -> None:
    made = corpus(tmp_path / "in")
    built = {form: {s: facts.hash for s, facts in made.build(tmp_path / form, form).splits.items()} for form in FORMS}
    assert built["copy"] == built["link"] == built["none"] != built["embed"]
    json_path = made.cond / "test/2.cond.json"
    json_path.write_text(json_path.read_text().replace('"note": 2', '"note": 7'))
    after = {split: facts.hash for split, facts in made.build(tmp_path / "again").splits.items()}
    assert {split for split in after if after[split] != built["copy"][split]} == {"test"}
    states = [json.loads((tmp_path / form / "train/state.json").read_text()) for form in ("copy", "none", "embed")]
    assert len({state["_fingerprint"] for state in states}) == 3


def test_many_batches_and_shards_hold_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = corpus(tmp_path / "in")
    monkeypatch.setattr(table, "MAX_BATCH_ROWS", 1)
    monkeypatch.setattr(table, "MAX_SHARD_BYTES", 1)
    for form in ("copy", "embed"):
        made.build(tmp_path / form, form)
        assert sorted(path.name for path in (tmp_path / form / "train").glob("*.arrow")) == [
            "data-00000-of-00002.arrow", "data-00001-of-00002.arrow",
        ]  # fmt: skip
        assert datasets.load_from_disk(str(tmp_path / form))["train"]["id"][:] == ["0", "3"]
        assert verify.check(tmp_path / form) == 6


def test_what_cannot_be_used_is_rejected_with_its_reason(tmp_path: Path) -> None:
    made = corpus(tmp_path / "in", {"0": "  "})
    (made.tokens / "validation/1.ecdc").unlink()
    (made.cond / "test/2.cond.npy").unlink()
    (made.cond / "test/2.cond.json").unlink()
    (made.tokens / "train/stray.ecdc").write_bytes((made.tokens / "test/2.ecdc").read_bytes())
    (made.tokens / "train/3_x.0.ecdc").write_bytes(b"junk")
    form = Form("toy", "copy", needs_text=True)
    built = build_dataset(made.sources(), tmp_path / "out", form, max_bad_fraction=1.0)
    assert {split: facts.clips for split, facts in built.splits.items()} == {"validation": 1, "test": 1}
    assert quarantine(tmp_path / "out") == {
        "0": "empty transcript",
        "1": "no token file",
        "2": "no sidecar test/2.cond.npy",
        "3": "not a token file: BadZipFile: File is not a zip file",
        "train/stray": "no clip for this token file",
    }
    stored = {path.name for path in (tmp_path / "out").rglob("*.ecdc")}
    assert stored == {"4.ecdc", "5.ecdc"}
    with pytest.raises(TooManyBad, match="5 of 7 clips are bad"):
        build_dataset(made.sources(), tmp_path / "again", form, max_bad_fraction=0.5)


def test_a_clip_without_split_audio_or_its_own_frames_is_rejected(tmp_path: Path) -> None:
    made = corpus(tmp_path / "in")
    path = made.wavs / MANIFEST_NAME
    clips = [clip.model_copy(update={"split": None} if clip.id == "0" else {}) for clip in read_manifest(path)]
    write_manifest(made.wavs, clips, [])
    (made.wavs / "validation/1.wav").unlink()
    for ending in ("npy", "json"):
        shutil.copy(made.cond / f"test/5.cond.{ending}", made.cond / f"test/2.cond.{ending}")
    form = Form("toy", "embed")
    build_dataset(made.sources(), tmp_path / "out", form, max_bad_fraction=0.5)
    assert quarantine(tmp_path / "out") == {
        "0": "no split",
        "1": "no audio file",
        "2": "the sidecar has 53 frames, the token file has 30",
    }


def test_a_split_without_clips_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="toy: no clips in the test split"):
        corpus(tmp_path / "in", {"2": "", "5": ""}).build(tmp_path / "out", bad=1.0)


def test_only_what_the_audit_passed_is_built(tmp_path: Path) -> None:
    made = corpus(tmp_path / "in")
    form = Form("toy", "copy")

    def build(name: str) -> None:
        build_dataset(made.sources(), tmp_path / name, form, max_bad_fraction=0.5, audited=made.summary)

    with pytest.raises(UserError, match=r"no .*audit.json: run the audit first"):
        build("one")
    made.audit()
    build("two")
    json_path = made.cond / "test/2.cond.json"
    json_path.write_text(json_path.read_text() + " ")
    with pytest.raises(UserError, match="of other tokens or sidecars"):
        build("three")
    json_path.unlink()
    made.audit()
    with pytest.raises(UserError, match="the audit failed: 1 of 6 clips"):
        build("four")


@pytest.mark.parametrize("materialize", ["copy", "embed"])
def test_the_card_is_one_that_hugging_face_reads_and_its_numbers_are_right(
    tmp_path: Path, materialize: Materialize
) -> None:
    built = corpus(tmp_path / "in").build(tmp_path / "out", materialize)
    read = DatasetCard.load(tmp_path / "out/README.md")
    assert (read.data.pretty_name, read.data.task_categories) == ("toy", ["automatic-speech-recognition"])
    info = DatasetInfosDict.from_dataset_card_data(read.data)["default"]
    assert info.features == datasets.Features.from_dict(table.columns(materialize))
    written = sum(path.stat().st_size for path in (tmp_path / "out").rglob("*.arrow"))
    assert info.dataset_size == sum(split.num_bytes for split in info.splits.values()) == written
    assert {name: split.num_examples for name, split in info.splits.items()} == {"train": 2, "validation": 2, "test": 2}
    assert build.read_hashes(tmp_path / "out") == {split: facts.hash for split, facts in built.splits.items()}
    hours = (seconds(2) + seconds(5)) / 3600
    for line in (
        f"| test | 2 | {hours:.3f} | {codes_of(2).shape[1] + codes_of(5).shape[1]} | `{built.splits['test'].hash}` |",
        f"| all | 6 | {sum(map(seconds, range(6))) / 3600:.3f} | {sum(codes_of(i).shape[1] for i in range(6))} | |",
        "24000 Hz, 75 frames a second, checkpoint `tiny`. 4 codebooks (3.0 kbps): 6 clips.",
        "| pitch | 6 |\n| rms_db | 6 |",
        *(f"| `{column}` |" for column in table.columns(materialize)),
    ):
        assert line in read.text


def test_what_is_not_known_is_not_in_the_card(tmp_path: Path) -> None:
    made = corpus(tmp_path / "in")
    form = Form("bare", "embed", split="train")
    build_dataset(Sources(made.tokens, None), tmp_path / "out", form, max_bad_fraction=0)
    text = (tmp_path / "out/README.md").read_text()
    assert "task_categories" not in text
    assert "checkpoint" not in text
    assert "No conditioning features." in text


def test_a_missing_or_foreign_card(tmp_path: Path) -> None:
    for text in (None, "no header", "---\n- 1\n---\n", "---\na: [\n---\n", "---\na: 1\n---\n"):
        if text is not None:
            (tmp_path / "README.md").write_text(text)
        with pytest.raises(UserError, match="content_hashes"):
            build.read_hashes(tmp_path)


def workspace(root: Path) -> Path:
    """The folders that the stage reads, and its params."""
    for role in ("start", "target"):
        made = corpus(root / role)
        made.audit()
        for folder, name in (
            (made.wavs, "data/normalized"),
            (made.tokens, "data/tokens"),
            (made.cond, "data/sidecars"),
        ):
            (root / name).mkdir(parents=True, exist_ok=True)
            folder.rename(root / name / role)
        (root / "reports/audit").mkdir(parents=True, exist_ok=True)
        made.summary.rename(root / f"reports/audit/{role}.json")
    shutil.copy(ROOT / "params.yaml", root / "params.yaml")
    return root


def run_stage(folder: Path) -> subprocess.CompletedProcess[str]:
    """In a process of its own, as DVC runs it."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", NEITHER, str(ROOT / "stages/s5_build_dataset.py")]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


# a second is what each of the two takes to import
NEITHER = """
import runpy, sys
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
assert not {"torch", "datasets"} & set(sys.modules)
"""


def test_the_stage_of_the_pipeline(tmp_path: Path) -> None:
    folder = workspace(tmp_path)
    done = run_stage(folder)
    assert done.returncode == 0, done.stderr
    assert "s5_build_dataset: target: train 2, validation 2, test 2; 0 rejected" in done.stdout
    assert verify.check(folder / "data/dataset/start") == 6
    assert "checkpoint `tiny`" in (folder / "data/dataset/start/README.md").read_text()
    before = tree_hash(folder / "data/dataset")
    assert run_stage(folder).returncode == 0
    assert tree_hash(folder / "data/dataset") == before
    params = yaml.safe_load((folder / "params.yaml").read_text())
    params["dataset"]["materialize"] = "copy"
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    assert run_stage(folder).returncode == 0
    row = datasets.load_from_disk(str(folder / "data/dataset/start"))["train"][0]
    assert row["audio"] == "tokens/train/0.ecdc"
    (folder / "reports/audit/target.json").unlink()
    refused = run_stage(folder)
    assert (refused.returncode, "reports/audit/target.json" in refused.stderr) == (1, True)
    assert (folder / "data/dataset/target").is_dir(), "what was there stays"
