"""What several tests share: small recordings and a small recogniser."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from soundraft import cli
from soundraft.models import ctc
from soundraft.models.ctc import CTCAdapter
from soundraft.params import defaults
from soundraft.runtime import CACHE_VARIABLE, seed_torch

# Two processes that compile librosa's functions into one cache at once leave one that crashes every later process
# (numba issue 10128), so each process of pytest-xdist has its own. It is kept: compiling takes ten seconds.
_WORKER = os.environ.get("PYTEST_XDIST_WORKER", "main")
os.environ["NUMBA_CACHE_DIR"] = str(Path(__file__).parents[1] / ".pytest_cache" / "numba" / _WORKER)

Say = Callable[..., str]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests of the whole pipeline first: they are the longest file, and no other process should wait for it."""
    items.sort(key=lambda item: item.path.parent.name != "pipeline")


def soundraft(capsys: pytest.CaptureFixture[str], *argv: object, code: int | str = 0) -> str:
    """What the command prints; with `code` a text, the one line that it must end with."""
    capsys.readouterr()
    try:
        cli.main([str(word) for word in argv])
        ended: int | str | None = 0
    except SystemExit as end:
        ended = end.code
    said = capsys.readouterr()
    if isinstance(code, str):
        assert isinstance(ended, str)
        assert code in ended
        assert "\n" not in ended
        return ended
    assert ended == code, said.err
    return said.out + said.err


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """The same without `capsys`."""
    return lambda *argv, code=0: soundraft(capsys, *argv, code=code)


@pytest.fixture(autouse=True)
def _no_tracking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOUNDRAFT_TRACKING", "off")


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tests find nothing in a cache but what they put there."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path_factory.mktemp("cache")))


def tone(seconds: float = 0.5, rate_hz: int = 8000, level: float = 0.3, frequency_hz: float = 440.0) -> np.ndarray:
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    return (level * np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.float32)


def tiny_recognizer(seed: int = 0, hidden_size: int = 32, mel_bins: int = 16, subsampling: int = 2) -> CTCAdapter:
    seed_torch(seed)
    size = {"mel_bins": mel_bins, "hidden_size": hidden_size, "layers": 1, "attention_heads": 2}
    return ctc.build(defaults().model.scratch.model_copy(update={"subsampling": subsampling, **size}))
