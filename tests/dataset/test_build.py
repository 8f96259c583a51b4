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
from tests.dataset.workshop import CODEBOOKS, NAMES, codes_of, corpus, seconds, tree_hash
from tests.sidecar.workshop import script

ROOT = Path(__file__).resolve().parents[2]
FORMS: tuple[Materialize, ...] = get_args(Materialize)


def quarantine(folder: Path) -> dict[str, str]:
    lines = (folder / QUARANTINE_NAME).read_text().splitlines()
    return {row["id"]: row["reason"] for row in map(json.loads, lines)}


def test_bytes_and_hashes_follow_from_the_content(tmp_path: Path) -> None:
    hashes, states = {}, []
    for form in FORMS:
        for name in ("one", "two"):
            made = corpus(tmp_path / form / name)
            built = made.build(tmp_path / form / name / "out", form)
        assert tree_hash(tmp_path / form / "one/out") == tree_hash(tmp_path / form / "two/out"), "from another place"
        hashes[form] = {split: facts.hash for split, facts in built.splits.items()}
        states.append(json.loads((tmp_path / form / "two/out/train/state.json").read_text())["_fingerprint"])
    assert hashes["copy"] == hashes["link"] == hashes["none"] != hashes["embed"]
    assert len(set(states)) == 4, "for a cache, two forms are not one"
    json_path = made.cond / "test/2.cond.json"
    json_path.write_text(json_path.read_text().replace('"note": 2', '"note": 7'))
    after = {split: facts.hash for split, facts in made.build(tmp_path / "again").splits.items()}
    assert {split for split in after if after[split] != hashes["copy"][split]} == {"test"}


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
    assert all((moved / name).is_file() for name in (row["audio"], row["cond"], "cond/train/3_x.0.cond.json"))


@pytest.mark.parametrize("materialize", ["copy", "embed"])
def test_tables_and_card_are_those_that_datasets_writes_and_reads(tmp_path: Path, materialize: Materialize) -> None:
    built = corpus(tmp_path / "in").build(tmp_path / "out", materialize)
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
    assert (theirs.keys(), theirs["_data_files"]) == (ours.keys(), ours["_data_files"])
    read = DatasetCard.load(tmp_path / "out/README.md")
    assert (read.data.pretty_name, read.data.task_categories) == ("toy", ["automatic-speech-recognition"])
    info = DatasetInfosDict.from_dataset_card_data(read.data)["default"]
    assert info.features == declared
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
    assert not any(word in text for word in ("task_categories", "checkpoint"))
    assert "No conditioning features." in text
    for foreign in (None, "no header", "---\n- 1\n---\n", "---\na: [\n---\n", "---\na: 1\n---\n"):
        (tmp_path / "README.md").unlink(missing_ok=True)
        if foreign is not None:
            (tmp_path / "README.md").write_text(foreign)
        with pytest.raises(UserError, match="content_hashes"):
            build.read_hashes(tmp_path)


def test_links_are_hard_links_or_the_way_out_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, out = corpus(tmp_path / "in"), tmp_path / "out"
    made.build(out, "link")
    for row in datasets.load_from_disk(str(out))["test"]:
        assert (out / row["audio"]).samefile(made.tokens / row["audio"].removeprefix("tokens/"))
        assert (out / row["cond"]).samefile(made.cond / row["cond"].removeprefix("cond/"))
    assert not list(out.glob("*.tmp"))

    def elsewhere(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", elsewhere)
    with pytest.raises(UserError, match=r"Invalid cross-device link.*--materialize copy works anywhere"):
        made.build(tmp_path / "far", "link")


def test_none_names_the_files_where_they_lie_and_embed_stands_alone(tmp_path: Path) -> None:
    made = corpus(tmp_path / "in")
    form = Form("toy", "none", needs_text=True)
    build_dataset(made.sources(), tmp_path / "b.tmp", form, max_bad_fraction=0, home=tmp_path / "deep/home")
    (tmp_path / "deep").mkdir()
    home = (tmp_path / "b.tmp").rename(tmp_path / "deep/home")
    row = datasets.load_from_disk(str(home))["validation"][0]
    assert row["audio"] == "../../in/tokens/validation/1.ecdc"
    assert (home / row["cond"]).samefile(made.cond / "validation/1.cond.npy")
    assert not (home / "tokens").exists()
    made.build(tmp_path / "out", "embed")
    assert not {"tokens", "cond"} & {path.name for path in (tmp_path / "out").iterdir()}
    for index, row in zip(
        (2, 5), datasets.load_from_disk(str(tmp_path / "out"))["test"].to_iterable_dataset(), strict=True
    ):
        np.testing.assert_array_equal(row["codes"], codes_of(index).T)
        assert ("audio" in row, json.loads(row["meta"])["note"]) == (False, index)


def test_many_batches_and_shards_hold_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = corpus(tmp_path / "in")
    monkeypatch.setattr(table, "MAX_BATCH_ROWS", 1)
    monkeypatch.setattr(table, "MAX_SHARD_BYTES", 1)
    for form in ("copy", "embed"):
        made.build(tmp_path / form, form)
        assert len(list((tmp_path / form / "train").glob("data-0000?-of-00002.arrow"))) == 2
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
    assert {path.name for path in (tmp_path / "out").rglob("*.ecdc")} == {"4.ecdc", "5.ecdc"}
    with pytest.raises(TooManyBad, match="5 of 7 clips are bad"):
        build_dataset(made.sources(), tmp_path / "again", form, max_bad_fraction=0.5)
    with pytest.raises(UserError, match="toy: no clips in the train split"):
        made.build(tmp_path / "splits", bad=1.0)


def test_a_clip_without_split_audio_or_its_own_frames_is_rejected(tmp_path: Path) -> None:
    made = corpus(tmp_path / "in")
    path = made.wavs / MANIFEST_NAME
    clips = [clip.model_copy(update={"split": None} if clip.id == "0" else {}) for clip in read_manifest(path)]
    write_manifest(made.wavs, clips, [])
    (made.wavs / "validation/1.wav").unlink()
    for ending in ("npy", "json"):
        shutil.copy(made.cond / f"test/5.cond.{ending}", made.cond / f"test/2.cond.{ending}")
    build_dataset(made.sources(), tmp_path / "out", Form("toy", "embed"), max_bad_fraction=0.5)
    frames = "the sidecar has 53 frames, the token file has 30"
    assert quarantine(tmp_path / "out") == {"0": "no split", "1": "no audio file", "2": frames}


def test_only_what_the_audit_passed_is_built(tmp_path: Path) -> None:
    made = corpus(tmp_path / "in")

    def build(name: str) -> None:
        build_dataset(made.sources(), tmp_path / name, Form("toy", "copy"), max_bad_fraction=0.5, audited=made.summary)

    with pytest.raises(UserError, match=r"no .*audit.json"):
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


# a second is what each of the two takes to import
NEITHER = """
import runpy, sys
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
assert not {"torch", "datasets"} & set(sys.modules)
"""


def test_the_stage_of_the_pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for role in ("start", "target"):
        made = corpus(tmp_path / role)
        made.audit()
        for folder, name in ((made.wavs, "normalized"), (made.tokens, "tokens"), (made.cond, "sidecars")):
            (tmp_path / "data" / name).mkdir(parents=True, exist_ok=True)
            folder.rename(tmp_path / "data" / name / role)
        Path("reports/audit").mkdir(parents=True, exist_ok=True)
        made.summary.rename(tmp_path / f"reports/audit/{role}.json")
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    Path("params.yaml").write_text(yaml.safe_dump(params))
    command = [sys.executable, "-c", NEITHER, str(ROOT / "stages/s5_build_dataset.py")]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "s5_build_dataset: target: train 2, validation 2, test 2; 0 rejected" in done.stdout
    assert verify.check(Path("data/dataset/start")) == 6
    assert "checkpoint `tiny`" in Path("data/dataset/start/README.md").read_text()
    before = tree_hash(Path("data/dataset"))
    assert script("s5_build_dataset")[0] == 0
    assert tree_hash(Path("data/dataset")) == before
    params["dataset"]["materialize"] = "copy"
    Path("params.yaml").write_text(yaml.safe_dump(params))
    assert script("s5_build_dataset")[0] == 0
    row = datasets.load_from_disk("data/dataset/start")["train"][0]
    assert row["audio"] == "tokens/train/0.ecdc"
    Path("reports/audit/target.json").unlink()
    code, output = script("s5_build_dataset")
    assert (code, "reports/audit/target.json" in output) == (1, True)
    assert Path("data/dataset/target").is_dir(), "what was there stays"
