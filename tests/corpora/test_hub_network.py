"""Corpora from a hub: a server on this machine, and the real client libraries in a process of their own."""

import json
import os
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
NEWER = "f" * 40
Fetch = Callable[..., dict[str, Any]]


def train(count: int | None = None) -> dict[str, Any]:
    return {"split": "train", "clips": {"train": count, "validation": 0, "test": 0}}


class Client:
    """Fetches in another process, one after the other."""

    def __init__(self, address: str, home: Path) -> None:
        environment = os.environ | {"HF_ENDPOINT": address, "HF_HOME": str(home), "HF_TOKEN": ""}
        environment |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1"}
        environment.pop("HF_HUB_OFFLINE", None)
        command = [sys.executable, "-m", "tests.corpora.hub_client"]
        pipe, none = subprocess.PIPE, subprocess.DEVNULL
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=none, text=True, env=environment)

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


def texts(got: dict[str, Any]) -> list[str]:
    return [clip["text"] for clip in got["clips"]]


def large(hub: FakeHub, folder: Path, name: str, count: int, seconds: float = 0.1, **options: Any) -> Repo:
    """Rows whose audio does not compress, so that bytes can be counted."""
    rng, header = np.random.default_rng(0), hubs.sound(seconds=seconds)[:44]
    rows = []
    for index in range(count):
        samples = rng.integers(-9000, 9000, round(8000 * seconds)).astype("<i2").tobytes()
        rows.append({"audio": {"bytes": header + samples, "path": f"{index}.wav"}, "text": f"word {index}"})
    of = {"default": {"train": rows, "validation": rows[:1], "test": rows[:1]}}
    hub.repos[name] = Repo(hubs.write(folder / "repo", hubs.columns("text"), of, **options))
    return hub.repos[name]


def test_a_limit_costs_what_it_takes_and_the_commit_is_recorded(hub: FakeHub, fetch: Fetch, tmp_path: Path) -> None:
    repo = large(hub, tmp_path, "me/large", 3000, group=100, shards=4, seconds=0.5)
    total = sum(path.stat().st_size for path in repo.root.rglob("*.parquet"))
    got = fetch("hub", path="me/large", **train(100))
    assert texts(got) == [f"word {index}" for index in range(100)]
    assert got["source"]["commit"] == COMMIT
    assert hub.bytes_sent < 0.3 * total  # the client reads 5 MB ahead


def test_a_finished_fetch_needs_no_network_and_a_larger_one_asks_for_new_rows_only(
    hub: FakeHub, fetch: Fetch, tmp_path: Path
) -> None:
    repo = large(hub, tmp_path, "me/again", 400, group=50, shards=2, seconds=0.5)
    first = fetch("hub", path="me/again", **train(100))
    hub.forget()
    repo.revisions["main"] = NEWER
    assert fetch("hub", path="me/again", **train(100)) == first
    assert texts(fetch("hub", path="me/again", **train(40))) == texts(first)[:40]
    assert hub.asked == []
    repo.revisions["old"] = COMMIT
    more = fetch("hub", path="me/again", **train(220))
    assert more["source"]["commit"] == COMMIT
    assert texts(more) == [f"word {index}" for index in range(220)]
    ranges = [line.rsplit("bytes=", 1)[1] for line in hub.asked if line.startswith("GET") and "train-00000-of" in line]
    footer_only = 70_000
    for start, end in (map(int, one.split("-")) for one in ranges):
        assert end - start < footer_only or start > 90 * 8000


def test_a_killed_fetch_goes_on_and_ends_with_the_same_bytes(hub: FakeHub, client: Client, tmp_path: Path) -> None:
    large(hub, tmp_path, "me/killed", 60, group=5, shards=2)
    expected = client.fetch("hub", tmp_path / "whole/cache", path="me/killed", **train())
    hub.delay_s, cache = 0.02, tmp_path / "killed/cache"
    victim = Client(hub.address, tmp_path / "hf")
    victim.send("hub", cache, path="me/killed", **train())
    deadline = time.monotonic() + 30
    while max((path.read_bytes().count(b"\n") for path in cache.rglob("rows.jsonl")), default=0) < 21:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    victim.close()
    hub.delay_s = 0.0
    assert 21 <= sum(1 for _ in cache.rglob("*.wav")) < 60
    assert client.fetch("hub", cache, path="me/killed", **train())["clips"] == expected["clips"]
    assert _tree(cache) == _tree(tmp_path / "whole/cache")


def _tree(cache: Path) -> dict[str, str]:
    paths = (path for path in sorted(cache.rglob("*")) if path.is_file() and path.name != ".lock")
    return {path.relative_to(cache).as_posix(): files.content_hash(path) for path in paths}


def test_the_converted_branch_is_read_config_by_config(hub: FakeHub, fetch: Fetch, tmp_path: Path) -> None:
    def row(text: str) -> dict[str, Any]:
        return {"id": 1, "audio": hubs.audio("1.wav"), "transcription": text, "gender": 1, "language": "English"}

    of = {name: {split: [row(f"{name} {split}")] for split in ALL} for name in ("en_us", "de_de")}
    hubs.write(tmp_path / "repo", hubs.FLEURS, of, converted=True)
    hub.repos["google/fleurs"] = Repo(tmp_path / "repo", {"main": NEWER, "refs/convert/parquet": COMMIT})
    got = fetch("fleurs", language="de_de", clips=ALL)
    assert texts(got) == ["de_de train", "de_de validation", "de_de test"]
    assert got["source"]["revision"] == "refs/convert/parquet"
    assert got["clips"][0]["metadata"]["gender"] == "female"
    wrong = fetch("fleurs", language="xx", clips=ALL, asked_as="corpus.target.")["error"]
    assert wrong.startswith("corpus.target.language: ")
    assert "de_de, en_us" in wrong


def test_what_cannot_be_had_is_named_with_what_would_help(hub: FakeHub, fetch: Fetch, tmp_path: Path) -> None:
    def error(corpus: str, **request: Any) -> str:
        return str(fetch(corpus, **{"clips": ALL, "asked_as": "--"} | request)["error"])

    hub.repos["mozilla-foundation/common_voice_11_0"] = Repo(tmp_path, {"refs/convert/parquet": COMMIT}, gated=True)
    gated = error("common_voice", language="cy")
    for help_ in ("gated", "/datasets/mozilla-foundation/common_voice_11_0", "hf auth login", "HF_TOKEN"):
        assert help_ in gated
    large(hub, tmp_path, "me/small", 3).revisions["refs/convert/parquet"] = COMMIT
    assert error("hub", path=str(runtime.main_root() / "me/nothing")).startswith(
        "me/nothing: "
    )  # as params.yaml has it
    (tmp_path / "script").mkdir()
    (tmp_path / "script/scripted.py").write_text("raise SystemExit")
    hub.repos["me/scripted"] = Repo(tmp_path / "script")
    scripted = error("hub", path="me/scripted")
    assert scripted.startswith("me/scripted holds only a loading script at main")
    assert "--revision: refs/convert/parquet" in scripted
    for option, value, existing in (
        ("revision", "v2", "main, refs/convert/parquet"),
        ("config", "big", "default"),
        ("split", "train.big", "train, validation, test"),
    ):
        message = error("hub", path="me/small", **{option: value})
        assert message.startswith(f"--{option.replace('config', 'subset')}: me/small has no {value!r}")
        assert message.endswith(existing)


def test_a_hub_that_cannot_be_reached_leaves_the_cache_and_a_local_copy(
    hub: FakeHub, fetch: Fetch, tmp_path: Path
) -> None:
    repo = large(hub, tmp_path, "me/far", 20)
    first = fetch("hub", path="me/far", **train(5))
    hub.down = True
    assert fetch("hub", path="me/far", **train(5)) == first
    error = fetch("hub", path="me/far", asked_as="--", **train())["error"]
    assert error.startswith(f"me/far: cannot be read from {hub.address}")
    assert "--path" in error
    assert "local copy" in fetch("minds14", language="en-US", clips=ALL)["error"]
    assert texts(fetch("hub", path=str(repo.root), **train(5))) == texts(first)
