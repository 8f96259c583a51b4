import json
from pathlib import Path

import numpy as np
import pytest

from soundraft.audio import io
from soundraft.evaluation import samples
from soundraft.evaluation.samples import Sample, Sound
from soundraft.runtime import UserError

RATE_HZ = 16000


def tone(hz: float, *, peak: float = 0.3) -> np.ndarray:
    return (peak * np.sin(2 * np.pi * hz * np.arange(1600) / RATE_HZ)).astype(np.float32)


def sounds() -> list[Sound]:
    numbers = {"reward": np.float32(0.5), "pesq": 2}
    return [
        Sound(Sample("a/1", "input", text="ja <b>"), tone(440), RATE_HZ),
        Sound(Sample("a/1", "candidate", "raft 1", 1, numbers=numbers, kept=True, reason="best"), tone(880), RATE_HZ),
        Sound(Sample("a/2", "reference"), tone(440), RATE_HZ),
    ]


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_samples_come_back_with_their_audio(tmp_path: Path) -> None:
    written = samples.write(tmp_path, sounds())
    assert samples.read(tmp_path) == written
    assert written[1].numbers == {"reward": 0.5, "pesq": 2.0}
    assert written[0].path == written[2].path != written[1].path  # equal audio is there once
    decoded, rate_hz = io.read(tmp_path / written[1].path)
    assert rate_hz == RATE_HZ
    np.testing.assert_allclose(decoded[:, 0], tone(880), atol=0.5 / io.PCM16_SCALE)


def test_the_same_samples_make_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        samples.write(tmp_path / name, sounds())
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_loud_audio_is_clipped_not_wrapped(tmp_path: Path) -> None:
    (written,) = samples.write(tmp_path, [Sound(Sample("a", "input"), tone(440, peak=1.5), RATE_HZ)])
    decoded, _ = io.read(tmp_path / written.path)
    np.testing.assert_allclose(decoded[:, 0], np.clip(tone(440, peak=1.5), -1, 1), atol=1 / io.PCM16_SCALE)


@pytest.mark.parametrize("audio", [np.zeros(0), np.zeros((4, 2)), np.array([0.0, np.nan])])
def test_what_is_no_audio_is_refused(tmp_path: Path, audio: np.ndarray) -> None:
    with pytest.raises(ValueError, match="finite"):
        samples.write(tmp_path, [Sound(Sample("a", "input"), audio, RATE_HZ)])


def test_a_folder_without_samples_has_none(tmp_path: Path) -> None:
    assert samples.read(tmp_path) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"role": "guess"}, "role is 'guess'"),
        ({"cycle": True}, "cycle is True"),
        ({"numbers": {"reward": "high"}}, "numbers is"),
        ({"kept": 1}, "kept is 1"),
        ({"extra": 1}, "a sample has id, role"),
        ({"path": "../outside.flac"}, "leaves its folder"),
        ({"path": "audio/none.flac"}, "there is no"),
    ],
)
def test_an_odd_line_is_refused_with_its_place(tmp_path: Path, change: dict[str, object], message: str) -> None:
    samples.write(tmp_path, sounds())
    path = tmp_path / samples.NAME
    first, *rest = path.read_text().splitlines()
    path.write_text("\n".join([first, json.dumps(json.loads(rest[0]) | change), *rest[1:]]) + "\n")
    with pytest.raises(UserError, match=f"line 2.*{message}"):
        samples.read(tmp_path)
