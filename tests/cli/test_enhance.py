"""`soundraft enhance` on toy recordings."""

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from soundraft.audio import io
from soundraft.metrics.signal import si_sdr
from soundraft.models import enhancer
from tests.conftest import Say
from tests.tasks import speech


@pytest.fixture
def model(tmp_path: Path) -> Path:
    enhancer.build(speech.params(enhancement__network="wiener").enhancement).save(tmp_path / "model")
    return tmp_path / "model"


def stereo(folder: Path, rate_hz: int = 22050) -> tuple[Path, np.ndarray]:
    """Speech in noise at another rate than the model's, twice; and the speech."""
    clean = speech.wave(1, seconds=1.5, rate_hz=rate_hz)
    noise = 0.05 * np.random.default_rng(0).standard_normal((len(clean), 2))
    soundfile.write(folder / "talk.v2.flac", np.clip(clean[:, None] + noise, -1, 1), rate_hz)
    return folder / "talk.v2.flac", clean


def test_channels_rate_and_length_are_those_of_the_recording(tmp_path: Path, model: Path, say: Say) -> None:
    recording, clean = stereo(tmp_path)
    assert "talk.v2.wav" in say("enhance", recording, "--model", model, "--output", tmp_path / "out")
    before, rate_hz = io.read(recording)
    after, same_hz = io.read(tmp_path / "out/talk.v2.wav")
    assert (after.shape, same_hz) == (before.shape, rate_hz)
    for channel in range(2):
        noisy, better = (si_sdr(reference=clean, estimate=each[:, channel]).value for each in (before, after))
        assert better is not None
        assert noisy is not None
        assert better > noisy + 1


def test_a_share_of_the_recording_is_left(tmp_path: Path, model: Path, say: Say) -> None:
    recording, _ = stereo(tmp_path)
    for mix in ("0", "0.5", "1"):
        say("enhance", recording, "--model", model, "--output", tmp_path / mix, "--mix", mix)
    none, half, full = (io.read(tmp_path / mix / "talk.v2.wav")[0] for mix in ("0", "0.5", "1"))
    np.testing.assert_allclose(none, io.read(recording)[0], atol=1e-4)
    np.testing.assert_allclose(half, 0.5 * (none + full), atol=1e-4)
    say("enhance", recording, "--model", model, "--output", tmp_path, "--mix", "2", code=2)


def test_bad_files_are_named_and_the_others_done(tmp_path: Path, model: Path, say: Say) -> None:
    recording, _ = stereo(tmp_path)
    (tmp_path / "junk.wav").write_bytes(b"junk")
    given = (tmp_path / "none.wav", tmp_path / "junk.wav", recording, "--model", model, "--output", tmp_path / "out")
    say("enhance", *given, code="2 of 3 files")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["talk.v2.wav"]


def test_what_would_overwrite_is_refused(tmp_path: Path, model: Path, say: Say) -> None:
    io.write_wav(tmp_path / "a.wav", speech.wave(0), speech.RATE_HZ)
    say("enhance", tmp_path / "a.wav", "--model", model, "--output", tmp_path, code="over itself")
    say("enhance", tmp_path / "a.wav", "--model", tmp_path, "--output", tmp_path / "out", code="no enhancer of ours")


def test_a_file_too_large_for_wav_is_rf64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = np.full((100, 2), 0.25, dtype=np.float32)
    monkeypatch.setattr(io, "_WAV_BYTES", 100)
    io.write_wav_parts(tmp_path / "a.wav", itertools.repeat(part, 3), 8000, seconds=300 / 8000)
    assert soundfile.info(tmp_path / "a.wav").format == "RF64"
    assert io.read(tmp_path / "a.wav")[0].shape == (300, 2)


@pytest.mark.slow
def test_an_hour_needs_no_more_memory_than_minutes(tmp_path: Path, model: Path) -> None:
    peaks = []
    for minutes in (12, 60):
        noise = np.random.default_rng(0).standard_normal(8000 * 60).astype(np.float32) * 0.1
        with soundfile.SoundFile(tmp_path / f"{minutes}.wav", "w", 8000, 1, subtype="PCM_16") as sound:
            for _ in range(minutes):
                sound.write(noise)
        code = (
            "import sys; from soundraft import cli, runtime; cli.main(sys.argv[1:]); "
            "print(runtime.peak_memory_bytes() / 2**20)"
        )
        argv = ["enhance", str(tmp_path / f"{minutes}.wav"), "--model", str(model), "--output", str(tmp_path / "out")]
        ran = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True, check=True)
        peaks.append(float(ran.stdout.split()[-1]))
    assert peaks[1] < peaks[0] + 60  # MiB
