"""Features kept on disk: made once, whatever asks for them, and again where their file is damaged."""

import os
from pathlib import Path

import pytest
import torch

from soundraft.clips import features
from soundraft.clips.features import FeatureCache

CLIPS = [bytes([index]) * (3 + index) for index in range(5)]


class Counting:
    """Random features of a clip, the same each time, and how often they were made."""

    def __init__(self, bins: int | None = 4) -> None:
        self.made: list[bytes] = []
        self.bins = bins

    def __call__(self, audio: bytes) -> torch.Tensor:
        self.made.append(audio)
        shape = (len(audio),) if self.bins is None else (len(audio), self.bins)
        return torch.randn(shape, generator=torch.Generator().manual_seed(audio[0]))


def load(compute: Counting, clips: list[bytes] = CLIPS, **depends: object) -> list[torch.Tensor]:
    with FeatureCache(depends, compute) as cache:
        return [cache.of(clip) for clip in clips]


def cached_files() -> list[Path]:
    return sorted(Path(os.environ["SOUNDRAFT_CACHE"]).rglob("*.safetensors"))


@pytest.mark.parametrize("bins", [4, None])
def test_each_clip_is_made_once_whoever_asks_for_it(bins: int | None) -> None:
    first, second, plain = Counting(bins), Counting(bins), Counting(bins)
    load(first, [CLIPS[1], CLIPS[3], CLIPS[1]])
    assert first.made == [CLIPS[1], CLIPS[3]]
    load(second)
    assert second.made == [CLIPS[0], CLIPS[2], CLIPS[4]]
    third = Counting(bins)
    for kept, clip in zip(load(third, CLIPS[::-1]), CLIPS[::-1], strict=True):
        assert torch.equal(kept, plain(clip))
    assert third.made == []
    assert len(cached_files()) == 2
    load(third, rate=8000)
    assert third.made == CLIPS


def test_much_is_written_before_the_end_in_several_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "FILE_BYTES", 100)
    load(Counting())
    assert len(cached_files()) > 1
    again = Counting()
    load(again)
    assert again.made == []


@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_a_damaged_file_is_made_again(damage: str) -> None:
    whole = load(Counting())
    (path,) = cached_files()
    data = path.read_bytes()
    flipped = data[:-8] + bytes([data[-8] ^ 1]) + data[-7:]  # in the frames or the lengths, the last things there
    path.write_bytes({"flip": flipped, "cut": data[:-1], "empty": b""}[damage])
    again = Counting()
    for kept, made in zip(load(again), whole, strict=True):
        assert torch.equal(kept, made)
    assert again.made
    load(Counting())  # makes those that lay in the same file before the damage
    last = Counting()
    load(last)
    assert last.made == []


def test_a_load_that_fails_writes_nothing_half() -> None:
    with pytest.raises(ZeroDivisionError), FeatureCache({}, Counting()) as cache:
        cache.of(CLIPS[0])
        raise ZeroDivisionError
    assert cached_files() == []
