"""The torch dataset: the same items from every form, and batches that can be told apart from padding."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from soundraft.dataset.build import build_dataset
from soundraft.dataset.rows import Form, Sources
from soundraft.dataset.tokens import TokenDataset, collate
from soundraft.parallel import BadClip
from soundraft.params.sections import Materialize
from soundraft.runtime import UserError
from tests.dataset.workshop import CODEBOOKS, NAMES, codes_of, cond_of, corpus


def check_item(item: Any, index: int) -> None:
    assert (item["codes"].dtype, item["cond"].dtype) == (torch.int64, torch.float32)
    np.testing.assert_array_equal(item["codes"], codes_of(index).T)
    np.testing.assert_array_equal(item["cond"], cond_of(index).astype(np.float32))
    assert (item["names"], item["meta"]["note"], item["meta"]["fps"]) == (list(NAMES), index, 75)


@pytest.mark.parametrize("materialize", ["copy", "link", "none", "embed"])
def test_items_of_a_dataset(tmp_path: Path, materialize: Materialize) -> None:
    corpus(tmp_path / "in").build(tmp_path / "out", materialize)
    clips = TokenDataset.from_dataset(tmp_path / "out", "train")
    assert len(clips) == 2
    check_item(clips[0], 0)
    check_item(clips[-1], 3)
    assert clips[1]["path"] == "3" if materialize == "embed" else clips[1]["path"].endswith("train/3_x.0.ecdc")
    with pytest.raises(IndexError):
        clips[2]
    with pytest.raises(UserError, match="has no split dev; it has train, validation, test"):
        TokenDataset.from_dataset(tmp_path / "out", "dev")


def test_items_of_folders(tmp_path: Path) -> None:
    made = corpus(tmp_path / "in")
    clips = TokenDataset.from_folders(made.tokens, made.cond)
    assert [Path(clips[index]["path"]).name[0] for index in range(6)] == ["2", "5", "0", "3", "1", "4"]
    check_item(clips[3], 3)
    with pytest.raises(ValueError, match="features rms_db, loudness; most have rms_db, pitch"):
        collate([clips[0], clips[1] | {"names": ["rms_db", "loudness"]}])
    with pytest.raises(UserError, match="no token files"):
        TokenDataset.from_folders(made.tokens, made.cond, recursive=False)
    (made.tokens / "test/2.ecdc").write_bytes((made.tokens / "test/5.ecdc").read_bytes())
    with pytest.raises(BadClip, match=r"test/2.ecdc: 53 frames of codes, 30 of conditioning"):
        clips[0]


@pytest.mark.parametrize(("materialize", "workers"), [("copy", 0), ("embed", 2)])
def test_batches_with_and_without_conditioning(tmp_path: Path, materialize: Materialize, workers: int) -> None:
    made, form = corpus(tmp_path / "in"), Form("all", materialize, split="train")
    build_dataset(Sources(made.tokens, made.cond), tmp_path / "out", form, max_bad_fraction=0)
    order = []
    clips = TokenDataset.from_dataset(tmp_path / "out")
    for batch in DataLoader(clips, 4, collate_fn=collate, num_workers=workers):
        longest = int(batch["lengths"].max())
        assert batch["codes"].shape == (len(batch["path"]), longest, CODEBOOKS)
        assert batch["cond"].shape == (len(batch["path"]), longest, len(NAMES))
        assert batch["mask"].dtype == torch.bool
        assert batch["mask"].sum(1).tolist() == batch["lengths"].tolist()
        for row, meta in enumerate(batch["meta"]):
            order.append(meta["note"])
            length = int(batch["lengths"][row])
            item = {
                "names": batch["names"],
                "meta": meta,
                **{name: batch[name][row, :length] for name in ("codes", "cond")},
            }
            check_item(item, meta["note"])
            assert not batch["codes"][row, length:].any() | batch["cond"][row, length:].any()
    assert sorted(order) == list(range(6))
    build_dataset(Sources(made.tokens, None), tmp_path / "bare", form, max_bad_fraction=0)
    item = pickle.loads(pickle.dumps(TokenDataset.from_dataset(tmp_path / "bare")))[
        0
    ]  # as for workers that are spawned
    assert item["cond"].shape == (len(item["codes"]), 0)
    assert (item["names"], item["meta"]) == ([], {})
