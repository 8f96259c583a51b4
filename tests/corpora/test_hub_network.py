"""Corpora from a hub: a server on this machine, and the real client libraries in a process of their own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from soundraft import files, runtime
from tests.corpora import hubs
from tests.corpora.fake_hub import COMMIT, FakeHub, Repo, running

ALL = {"train": None, "validation": None, "test": None}
TRAIN_ONLY = {"train": None, "validation": 0, "test": 0}
NEWER = "f" * 40
Fetch = Callable[..., dict[str, Any]]


class Client:
    """Fetches in another process, one after the other."""

    def __init__(self, address: str, home: Path) -> None:
        environment = os.environ | {
            "HF_ENDPOINT": address,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_XET": "1",
            "HF_TOKEN": "",
        }
        environment.pop("HF_HUB_OFFLINE", None)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.corpora.hub_client"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )

    def send(self, corpus: str, cache: Path, **request: Any) -> None:
        assert self.process.stdin is not None
        order = {"corpus": corpus, "cache": str(cache), "out": str(cache.parent / "out"), "request": request}
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()

    def fetch(self, corpus: str, cache: Path, **request: Any) -> dict[str, Any]:
        self.send(corpus, cache, **request)
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def hub() -> Iterator[FakeHub]:
    with running() as server:
        yield server


@pytest.fixture(scope="module")
def client(hub: FakeHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    one = Client(hub.address, tmp_path_factory.mktemp("hf"))
    yield one
    one.close()


@pytest.fixture
def fetch(hub: FakeHub, client: Client, tmp_path: Path) -> Fetch:
    """A fetch with a cache of the test's own, and with nothing in the server's record."""
    hub.forget()
    return lambda corpus, **request: client.fetch(corpus, tmp_path / "cache", **request)


def noisy(count: int, seconds: float = 0.1) -> list[dict[str, Any]]:
    """Rows whose audio does not compress, so that bytes can be counted."""
    rng = np.random.default_rng(0)
    sounds = []
    header = hubs.sound(seconds=seconds)[:44]
    for index in range(count):
        samples = rng.integers(-9000, 9000, round(8000 * seconds)).astype("<i2").tobytes()
        sounds.append({"audio": {"bytes": header + samples, "path": f"{index}.wav"}, "text": f"word {index}"})
    return sounds


FEATURES = hubs.Features(audio=hubs.Audio(), text=hubs.STRING)


def large(hub: FakeHub, folder: Path, name: str, count: int = 400, **options: Any) -> Repo:
    rows = noisy(count, options.pop("seconds", 0.1))
    repo = Repo(
        hubs.write(
            folder / "repo", FEATURES, {"default": {"train": rows, "validation": rows[:1], "test": rows[:1]}}, **options
        )
    )
    hub.repos[name] = repo
    return repo


def test_a_limit_costs_what_it_takes_and_the_commit_is_recorded(hub: FakeHub, fetch: Fetch, tmp_path: Path) -> None:
    repo = large(hub, tmp_path, "me/large", 6000, group=100, shards=4, seconds=0.5)
    total = sum(path.stat().st_size for path in repo.files())
    got = fetch("hub", path="me/large", split="train", clips={"train": 100, "validation": 0, "test": 0})
    assert [clip["text"] for clip in got["clips"]] == [f"word {index}" for index in range(100)]
    assert got["source"]["commit"] == COMMIT
    assert hub.bytes_sent < 0.15 * total  # the client reads 5 MB ahead


def test_a_finished_fetch_needs_no_network_and_a_larger_one_asks_for_new_rows_only(
    hub: FakeHub, fetch: Fetch, tmp_path: Path
) -> None:
    repo = large(hub, tmp_path, "me/again", 400, group=50, shards=2, seconds=0.5)
    clips = {"train": 100, "validation": 0, "test": 0}
    first = fetch("hub", path="me/again", split="train", clips=clips)
    hub.forget()
    repo.revisions["main"] = NEWER
    assert fetch("hub", path="me/again", split="train", clips=clips) == first
    assert fetch("hub", path="me/again", split="train", clips=clips | {"train": 40})["clips"] == first["clips"][:40]
    assert hub.asked == []
    repo.revisions["old"] = COMMIT
    more = fetch("hub", path="me/again", split="train", clips=clips | {"train": 220})
    assert more["source"]["commit"] == COMMIT
    assert [clip["text"] for clip in more["clips"]] == [f"word {index}" for index in range(220)]
    footer_only = 70_000
    begun = [_range(line) for line in hub.data_requests() if "train-00000-of" in line]
    assert all(end - start < footer_only or start > 90 * 8000 for start, end in begun)


def _range(line: str) -> tuple[int, int]:
    start, _, end = line.rsplit("bytes=", 1)[1].partition("-")
    return int(start), int(end)


def test_what_breaks_in_the_middle_goes_on_there(hub: FakeHub, fetch: Fetch, tmp_path: Path) -> None:
    repo = large(hub, tmp_path, "me/breaks", 60, group=10)
    fetch("hub", path="me/breaks", split="train", clips=TRAIN_ONLY | {"train": 20})
    repo.broken = True
    broken = fetch("hub", path="me/breaks", split="train", clips=TRAIN_ONLY)
    assert "me/breaks" in broken["error"]
    repo.broken = False
    assert len(fetch("hub", path="me/breaks", split="train", clips=TRAIN_ONLY)["clips"]) == 60


def test_a_killed_fetch_goes_on_and_ends_with_the_same_bytes(hub: FakeHub, client: Client, tmp_path: Path) -> None:
    large(hub, tmp_path, "me/killed", 120, group=5, shards=2)
    request = {"path": "me/killed", "split": "train", "clips": TRAIN_ONLY}
    expected = client.fetch("hub", tmp_path / "whole/cache", **request)
    hub.delay_s, cache = 0.02, tmp_path / "killed/cache"
    victim = Client(hub.address, tmp_path / "hf")
    victim.send("hub", cache, **request)
    _wait_for_rows(cache, 42)
    os.kill(victim.process.pid, signal.SIGKILL)
    victim.close()
    hub.delay_s = 0.0
    assert 42 <= sum(1 for _ in cache.rglob("*.wav")) < 120
    hub.forget()
    assert client.fetch("hub", cache, **request)["clips"] == expected["clips"]
    assert _tree(cache) == _tree(tmp_path / "whole/cache")


def _wait_for_rows(cache: Path, count: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        lines = [path.read_bytes().count(b"\n") for path in cache.rglob("rows.jsonl")]
        if lines and max(lines) >= count:
            return
        time.sleep(0.005)
    raise AssertionError("the fetch never came that far")


def _tree(cache: Path) -> dict[str, str]:
    return {
        path.relative_to(cache).as_posix(): files.content_hash(path)
        for path in sorted(cache.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def test_the_converted_branch_is_read_config_by_config(hub: FakeHub, fetch: Fetch, tmp_path: Path) -> None:
    def row(text: str) -> dict[str, Any]:
        return {"id": 1, "audio": hubs.audio("1.wav"), "transcription": text, "gender": 1, "language": "English"}

    of = {name: {split: [row(f"{name} {split}")] for split in ALL} for name in ("en_us", "de_de")}
    hubs.write(tmp_path / "repo", hubs.FLEURS, of, converted=True)
    (tmp_path / "script").mkdir()
    (tmp_path / "script/fleurs.py").write_text("raise SystemExit")
    hub.repos["google/fleurs"] = Repo(tmp_path / "repo", {"main": NEWER, "refs/convert/parquet": COMMIT})
    got = fetch("fleurs", language="de_de", clips=ALL)
    assert [clip["text"] for clip in got["clips"]] == ["de_de train", "de_de validation", "de_de test"]
    assert got["source"]["revision"] == "refs/convert/parquet"
    assert got["clips"][0]["metadata"]["gender"] == "female"
    wrong = fetch("fleurs", language="xx", clips=ALL, asked_as="corpus.target.")
    assert wrong["error"] == "corpus.target.language: google/fleurs has no 'xx'; there are: de_de, en_us"


def test_a_gated_repository_says_how_to_get_in(hub: FakeHub, fetch: Fetch, tmp_path: Path) -> None:
    repo = Repo(tmp_path, {"refs/convert/parquet": COMMIT}, gated=True)
    hub.repos["mozilla-foundation/common_voice_11_0"] = repo
    got = fetch("common_voice", language="cy", clips=ALL)
    assert "is gated: accept its terms at" in got["error"]
    assert "/datasets/mozilla-foundation/common_voice_11_0" in got["error"]
    assert "hf auth login" in got["error"]
    assert "HF_TOKEN" in got["error"]


def test_missing_things_are_named_with_those_that_exist(hub: FakeHub, fetch: Fetch, tmp_path: Path) -> None:
    large(hub, tmp_path, "me/small", 3).revisions["refs/convert/parquet"] = COMMIT
    nothing = str(runtime.main_root() / "me/nothing")  # as params.yaml's paths are told
    assert "me/nothing: the hub has no such dataset" in fetch("hub", path=nothing, clips=ALL)["error"]
    revision = fetch("hub", path="me/small", revision="v2", clips=ALL, asked_as="--")["error"]
    assert revision == "--revision: me/small has no 'v2'; there are: main, refs/convert/parquet"
    config = fetch("hub", path="me/small", config="big", clips=ALL, asked_as="--")["error"]
    assert config == "--subset: me/small has no 'big'; there are: default"
    split = fetch("hub", path="me/small", split="train.big", clips=ALL, asked_as="--")["error"]
    assert split == "--split: me/small has no 'train.big'; there are: train, validation, test"


def test_a_repository_with_only_a_script_says_which_branch_was_tried(
    hub: FakeHub, fetch: Fetch, tmp_path: Path
) -> None:
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo/scripted.py").write_text("raise SystemExit")
    hub.repos["me/scripted"] = Repo(tmp_path / "repo")
    error = fetch("hub", path="me/scripted", clips=ALL, asked_as="--")["error"]
    assert error.startswith("me/scripted holds only a loading script at main, and scripts are not run")
    assert "--revision: refs/convert/parquet" in error


def test_a_hub_that_cannot_be_reached_leaves_the_cache_and_a_local_copy(
    hub: FakeHub, fetch: Fetch, tmp_path: Path
) -> None:
    repo = large(hub, tmp_path, "me/far", 20)
    clips = TRAIN_ONLY | {"train": 5}
    first = fetch("hub", path="me/far", split="train", clips=clips)
    offline = Client("http://127.0.0.1:9", tmp_path / "hf")
    cache = tmp_path / "cache"
    assert offline.fetch("hub", cache, path="me/far", split="train", clips=clips) == first
    error = offline.fetch("hub", cache, path="me/far", split="train", clips=TRAIN_ONLY, asked_as="--")["error"]
    assert error.startswith("me/far: cannot be read from http://127.0.0.1:9")
    assert "--path can name a local copy of it" in error
    assert "local copy" in offline.fetch("minds14", cache, language="en-US", clips=ALL)["error"]
    copy = offline.fetch("hub", cache, path=str(repo.root), split="train", clips=clips)
    offline.close()
    assert [clip["text"] for clip in copy["clips"]] == [clip["text"] for clip in first["clips"]]
