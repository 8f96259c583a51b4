"""Clips: what is known of them, their parts, their features, and their batches."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from soundraft.audio import io
from soundraft.clips.base import Clips, Featurizer, Loaded, from_dataset, label_of, load
from soundraft.clips.batches import shuffled_batches
from soundraft.models.base import length_batches
from soundraft.parallel import BadClip
from soundraft.runtime import UserError
from tests.conftest import tone
from tests.dataset.workshop import corpus
from tests.tasks import sounds


def featurizer(made: list[int], **depends: Any) -> Featurizer:
    """Energies of stretches of 80 samples, and a column with the age."""

    def compute(samples: np.ndarray, rate_hz: int) -> torch.Tensor:
        made.append(len(samples))
        if len(samples) < 80:
            raise BadClip("too short")
        return torch.from_numpy(samples[:, 0].copy()).unfold(0, 80, 80).square().mean(-1, keepdim=True)

    def finish(features: torch.Tensor, facts: Any) -> torch.Tensor:
        return torch.cat([features, torch.full((len(features), 1), float(facts.get("age", 0)))], 1)

    return Featurizer(compute, depends, finish)


def loaded(clips: Clips, *featurizers: Featurizer, target: str = "label") -> Loaded:
    return load(clips, featurizers, target=lambda facts: label_of(facts.get(target)), title="")


def test_features_are_made_once_whatever_split_target_or_input_asks_for_them() -> None:
    made: list[int] = []
    given = sounds.clips(6)
    first = loaded(given, featurizer(made))
    assert len(made) == 6
    given.facts[1]["age"] = 40
    again = loaded(given.part([4, 1]), featurizer(made), target="speaker")
    assert len(made) == 6
    assert (again.utterances.ids, again.utterances.targets) == ([given.ids[4], given.ids[1]], ["bob", "ann"])
    assert torch.equal(again.utterances.features[0], first.utterances.features[4])
    assert torch.equal(again.utterances.features[1][:, :1], first.utterances.features[1][:, :1])
    assert again.utterances.features[1][:, 1].unique().tolist() == [40], "inputs are not kept with the features"
    both = loaded(given, featurizer(made), featurizer(made, speed=2))
    assert len(made) == 12
    assert [len(copy) for copy in both.copies] == [6]
    assert both.durations_s == [io.duration_s(given.audio(index)) for index in range(6)]


def test_a_clip_that_cannot_be_used_is_rejected_with_its_reason(tmp_path: Path) -> None:
    whole = sounds.wav("low")
    audio = [whole, whole, whole, b"no audio", io.wav_bytes(sounds.wave("low")[:50], 8000), b"", whole[:1000], whole]
    labels = ["low", None, "  ", "low", "low", "low", "low", float("nan"), "low"]
    paths = [tmp_path / f"{index}.wav" for index in range(9)]
    for path, data in zip(paths, audio, strict=False):
        path.write_bytes(data)
    facts = [{"label": label} for label in labels]
    ids, names = [f"c{index}" for index in range(9)], [path.name for path in paths]
    given = Clips(ids, lambda index: paths[index].read_bytes(), facts, names)
    found = loaded(given, featurizer([]))
    assert (found.clips.ids, found.utterances.ids, found.clips.paths) == (["c0"], ["c0"], ["0.wav"])
    reasons = {bad.path: bad.reason for bad in found.rejected}
    words = {1: "no target", 2: "no target", 3: "readable", 4: "short", 5: "empty", 6: "truncated", 7: "no target",
             8: "no such file"}  # fmt: skip
    assert list(reasons) == [f"{index}.wav" for index in words]
    assert all(word in reasons[f"{index}.wav"] for index, word in words.items())
    assert [content is None for content in given.contents()] == [False] * 8 + [True]


def test_values_groups_parts_and_joins() -> None:
    given = sounds.of([b"a", b"b", b"c"], [{"label": "low", "fold": 1}, {"label": 7, "gender": "f"}, {"age": 3}])
    assert given.values("fold") == [1, None, None]
    assert (given.labels("label"), given.known_labels("label")) == (["low", "7", None], ["low", "7"])
    assert given.groups(but="gender") == {"fold": ["1", None, None], "age": [None, None, "3"]}
    other = sounds.of([b"d"], [{}], prefix="!")
    joined = given.joined(other).sorted()
    assert joined.ids == ["!000", "000", "001", "002"]
    assert [joined.audio(index) for index in range(4)] == [b"d", b"a", b"b", b"c"]
    parts = joined.by_split(["test", None, "train", "test"])
    assert {split: [part.audio(index) for index in range(len(part))] for split, part in parts.items()} == {
        "test": [b"d", b"c"], "train": [b"b"],
    }  # fmt: skip
    with pytest.raises(UserError, match="emotion; there is age, fold, gender, label"):
        given.values("emotion")


def test_facts_of_a_dataset_are_its_columns_and_its_metadata(tmp_path: Path) -> None:
    given = sounds.clips(3)
    for facts, more in zip(given.facts, [{"gender": "f", "age": 31}, {"gender": "", "room": "b"}, {}],
                           strict=True):  # fmt: skip
        facts |= more
    given.facts[2]["speaker"] = ""
    found = from_dataset(sounds.dataset(tmp_path, train=given, validation=given, test=given) / "target", "train")
    assert found.facts == [
        {"label": "high", "speaker": "ann", "gender": "f", "age": 31, "duration": sounds.SECONDS},
        {"label": "low", "speaker": "ann", "room": "b", "duration": sounds.SECONDS},
        {"label": "rising", "duration": sounds.SECONDS},
    ]  # fmt: skip
    assert (found.ids, found.audio(1)) == (given.ids, given.audio(1))


@pytest.mark.parametrize("materialize", ["copy", "embed"])
def test_a_dataset_of_ours_in_every_form(tmp_path: Path, materialize: Any) -> None:
    corpus(tmp_path / "in").build(tmp_path / "out", materialize)
    found = from_dataset(tmp_path / "out", "train")
    assert (found.ids, found.values("text")) == (["0", "3"], ["text 0", "text 3"])
    samples, rate_hz = io.parse(found.audio(0))
    np.testing.assert_allclose(io.resample(samples[:, 0], rate_hz, 8000)[400:-400], tone(0.2)[400:-400], atol=2e-3)


def test_batches_have_every_clip_once_and_are_of_similar_length() -> None:
    lengths = [int(value) for value in np.random.default_rng(0).integers(10, 1000, 103)]
    for batches in (length_batches(lengths, 8), shuffled_batches(lengths, 8, seed=3)):
        assert sorted(index for batch in batches for index in batch) == list(range(103))
        padding = sum(max(lengths[i] for i in batch) * len(batch) for batch in batches) / sum(lengths)
        assert padding < 1.25
    assert shuffled_batches(lengths, 8, seed=3) == shuffled_batches(lengths, 8, seed=3)
    assert shuffled_batches(lengths, 8, seed=3) != shuffled_batches(lengths, 8, seed=4)


def test_practically_silent_clips_are_counted_in_one_warning() -> None:
    """Those whose features are made; a clip that is rejected is no clip, and kept features are not looked at again."""
    silent = [io.wav_bytes(np.zeros(800 + n, np.float32), 8000) for n in range(2)]
    audio = [sounds.wav("low"), *silent, io.wav_bytes(np.zeros(50, np.float32), 8000), b"no audio"]
    given = Clips([f"clip{n}" for n in range(5)], lambda index: audio[index], [{"label": "low"}] * 5)
    with pytest.warns(UserWarning, match=r"2 clips are practically silent, such as clip1") as warned:
        assert len(loaded(given, featurizer([])).clips) == 3
    assert len(warned) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded(given, featurizer([]))
