"""What `--verify` and every reader must find."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest

from soundraft.audio import ecdc
from soundraft.clips.base import Reading
from soundraft.clips.opening import open_clips
from soundraft.dataset import table, verify
from soundraft.dataset.build import build_dataset
from soundraft.dataset.rows import Form, Sources
from soundraft.dataset.tokens import TokenDataset
from soundraft.manifest import TooManyBad
from soundraft.params.sections import Materialize
from soundraft.runtime import UserError
from soundraft.sidecar import format
from tests.dataset.workshop import Corpus, codes_of, corpus


def one_other_code(folder: Path) -> None:
    path = folder / "tokens/test/5.ecdc"
    tokens = ecdc.read(path)
    codes = tokens.codes.copy()
    codes[0, 0] ^= 1
    path.write_bytes(ecdc.esf_bytes(ecdc.Tokens(codes, tokens.samples)))


def cut(name: str, to: int) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:to])


def shorter_sidecar(folder: Path) -> None:
    path = f"{folder}/cond/test/5.cond.npy"
    side = format.read(path)
    format.write(path, format.Sidecar(side.values[:-1], side.names, side.extra))


def replaced(name: str, old: str, new: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).write_text((folder / name).read_text().replace(old, new, 1))


DAMAGES: list[tuple[Callable[[Path], Any], str]] = [
    (one_other_code, "test: content is [0-9a-f]{32}"),
    (cut("tokens/test/5.ecdc", 700), "test: 5: tokens/test/5.ecdc: not a token file"),
    (cut("cond/test/5.cond.npy", 200), "test: 5: 5.cond.npy"),
    (cut("cond/test/5.cond.json", 20), "test: 5: 5.cond.json"),
    (lambda folder: (folder / "tokens/test/5.ecdc").unlink(), "test: 5: tokens/test/5.ecdc: no such file"),
    (lambda folder: (folder / "cond/test/5.cond.npy").unlink(), "test: 5: 5.cond.npy"),
    (shorter_sidecar, "test: 5: the sidecar has 52 frames; 53"),
    (
        lambda folder: (folder / "tokens/test/5.ecdc").write_bytes(ecdc.esf_bytes(ecdc.Tokens(codes_of(2), 30 * 320))),
        r"test: 5: codes are \[4, 30\]; .*53 frames",
    ),
    (replaced("cond/test/5.cond.json", "pitch", "pitsch"), "test: 5: .*'pitsch'"),
    (replaced("README.md", "test: ", "test: 0"), "the card says 0"),
]


def test_damage_is_found_and_named(tmp_path: Path) -> None:
    corpus(tmp_path / "in").build(tmp_path / "whole")
    assert verify.check(tmp_path / "whole") == 6
    for number, (damage, message) in enumerate(DAMAGES):
        out = Path(shutil.copytree(tmp_path / "whole", tmp_path / str(number)))
        damage(out)
        with pytest.raises(UserError, match=message):
            verify.check(out)
        assert verify.check(out, ["train", "validation"]) == 4


@pytest.mark.parametrize("materialize", ["link", "none", "embed"])
def test_every_form_can_be_verified(tmp_path: Path, materialize: Materialize) -> None:
    made = corpus(tmp_path / "in")
    made.build(tmp_path / "out", materialize)
    moved = (tmp_path / "out").rename(tmp_path / "moved")
    assert verify.check(moved) == 6
    if materialize == "none":
        (made.tokens / "train/0.ecdc").unlink()
        with pytest.raises(UserError, match=r"train: 0: ../in/tokens/train/0.ecdc: no such file"):
            verify.check(moved)
    if materialize == "embed":
        shard = moved / "train/data-00000-of-00001.arrow"
        whole = shard.read_bytes()
        for place in (whole.find(codes_of(0).T.astype(np.int16).tobytes()), whole.find(b"RIFF") + 1000):
            assert place > 0
            shard.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            with pytest.raises(UserError, match="train: content is"):
                verify.check(moved)


def test_folders_that_are_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no dataset"):
        verify.check(tmp_path)
    made = corpus(tmp_path / "in")
    form = Form("bare", "copy", split="dev")
    build_dataset(Sources(made.tokens, made.cond), tmp_path / "out", form, max_bad_fraction=0)
    assert verify.check(tmp_path / "out") == 6
    (tmp_path / "out/dataset_dict.json").write_text(json.dumps({"splits": ["dev", "gone"]}))
    with pytest.raises(UserError, match=r"gone: no readable dataset_info.json"):
        verify.check(tmp_path / "out")


@pytest.mark.parametrize("name", ["dataset_dict.json", "train/dataset_info.json", "train/state.json", "train/*.arrow"])
def test_every_reader_names_a_damaged_file(tmp_path: Path, name: str) -> None:
    corpus(tmp_path / "in").build(tmp_path / "out")
    path = next((tmp_path / "out").glob(name))
    whole = path.read_bytes()
    odd = b'{"splits": null, "features": 3, "_data_files": [3]}'
    for damaged in (whole[: len(whole) // 2], whole[:30], b"", b"[]", b"{}", b"\xff", odd):
        path.write_bytes(damaged)
        for read in (
            verify.check,
            table.read_splits if "dict" in name else lambda folder: table.read_table(folder / "train"),
            TokenDataset.from_dataset,
            lambda folder: open_clips(folder, Reading("text")),
        ):
            with pytest.raises(UserError, match=path.name) as error:
                read(tmp_path / "out")
            assert "\n" not in str(error.value)


def other_codebooks(made: Corpus) -> None:
    tokens = ecdc.read(made.tokens / "test/5.ecdc")
    (made.tokens / "test/5.ecdc").write_bytes(ecdc.esf_bytes(ecdc.Tokens(tokens.codes[:2], tokens.samples)))
    rows = [row if row.path != "test/5.ecdc" else replace(row, codebooks=2) for row in ecdc.read_index(made.tokens)]
    ecdc.write_index(made.tokens, rows)


def other_features(made: Corpus) -> None:
    path = f"{made.cond}/test/5.cond.npy"
    sidecar = format.read(path)
    format.write(path, format.Sidecar(sidecar.values, sidecar.names[::-1]))


@pytest.mark.parametrize(
    ("change", "reason"),
    [(other_codebooks, "2 codebooks; most clips have 4"), (other_features, "pitch, rms_db; most have rms_db, pitch")],
)
@pytest.mark.parametrize("materialize", ["link", "none", "embed"])
def test_clips_that_fit_into_no_batch_are_found(tmp_path: Path, change: Any, reason: str, materialize: Any) -> None:
    made = corpus(tmp_path / "in")
    change(made)
    with pytest.raises(TooManyBad, match=reason):
        made.build(tmp_path / "none", materialize)
    built = made.build(tmp_path / "out", materialize, bad=0.5)
    assert [(bad.id, reason in bad.reason) for bad in built.rejected] == [("5", True)]
    assert verify.check(tmp_path / "out") == 5
    assert not list((tmp_path / "out").rglob("5.*")), "nothing of it is left"
    assert (made.tokens / "test/5.ecdc").is_file()
    with pytest.raises(UserError, match=reason):
        verify.check_items(TokenDataset.from_folders(made.tokens, made.cond), "folders")


def test_a_dataset_of_another_program_has_only_audio(tmp_path: Path) -> None:
    made = corpus(tmp_path / "in")
    tokens, out = tmp_path / "out/tokens", tmp_path / "out"
    shutil.copytree(made.tokens, tokens)
    shutil.copytree(made.cond, tokens, dirs_exist_ok=True)
    names = sorted(path.relative_to(out).as_posix() for path in tokens.rglob("*.ecdc"))
    datasets.DatasetDict({"train": datasets.Dataset.from_dict({"audio": names})}).save_to_disk(out)
    clips = TokenDataset.from_dataset(out)
    np.testing.assert_array_equal(clips[2]["codes"], codes_of(0).T)
    assert (clips[2]["names"], len(clips[2]["cond"])) == (["rms_db", "pitch"], len(clips[2]["codes"]))
    assert verify.check(out) == 6
    with pytest.raises(UserError, match="token files"):
        open_clips(out, Reading("text"))
    (tokens / "train/0.cond.npy").unlink()
    (tokens / "train/0.cond.json").unlink()
    with pytest.raises(UserError, match=r"0.ecdc: features none; most have"):
        verify.check(out)
