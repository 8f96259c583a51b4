import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from soundraft import files
from soundraft.audio import io
from soundraft.audio.normalize import NormalizeSummary, normalize_corpus
from soundraft.manifest import MANIFEST_NAME, QUARANTINE_NAME, Clip, TooManyBad, read_manifest, write_manifest
from tests.audio.test_io import bad_files
from tests.audio.test_loudness import naive_peak_rms
from tests.conftest import tone

OPTIONS = {"sample_rate_hz": 24000, "target_db": -20.0, "window_s": 0.25, "silence_db": -60.0, "min_duration_s": 0.1}


def normalize(source: Path, target: Path, max_bad_fraction: float = 1.0) -> NormalizeSummary:
    return normalize_corpus(source, target, max_bad_fraction=max_bad_fraction, **OPTIONS)


def corpus(folder: Path) -> list[Clip]:
    """Eight good clips in nested folders, and one for each way to be bad."""
    folder.mkdir()
    names = ["a.wav", "a.WAV", "x_120.0.wav", "sub/ü b.wav", "sub/deep/c.flac", "d.wav", "e.wav", "f.wav"]
    for index, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / name, tone(0.4 + 0.1 * index, 16000, 0.02 * (index + 1)), 16000)
    bad_files(folder)
    io.write_wav(folder / "silent.wav", np.zeros(8000, dtype=np.float32), 8000)
    io.write_wav(folder / "short.wav", tone(0.05), 8000)
    bad = ["empty", "text", "truncated", "header only", "half a header", "nan", "absent", "silent", "short"]
    clips = [Clip(id=name, audio_path=name, text="hi") for name in names]
    clips += [Clip(id=f"{name}.wav", audio_path=f"{name}.wav", text="hi") for name in bad]
    write_manifest(folder, clips, [])
    return clips


def test_good_clips_go_through_and_every_bad_one_is_named(tmp_path: Path) -> None:
    clips = corpus(tmp_path / "raw")
    done = normalize(tmp_path / "raw", tmp_path / "out")
    assert (done.clips, done.rejected) == (8, 9)
    quarantine = list((tmp_path / "out" / QUARANTINE_NAME).read_text().splitlines())
    assert len(quarantine) == 9
    reasons = "\n".join(quarantine)
    for reason in ("silent: loudest window", "too short: 0.050 s", "NaN", "truncated", "empty file", "not readable"):
        assert reason in reasons
    good = read_manifest(tmp_path / "out" / MANIFEST_NAME)
    assert len({clip.audio_path for clip in good}) == 8
    assert {clip.id for clip in good} == {clip.id for clip in clips[:8]}
    for clip in good:
        samples, rate_hz = io.read(tmp_path / "out" / clip.audio_path)
        assert (rate_hz, samples.shape[1]) == (24000, 1)
        assert naive_peak_rms(samples[:, 0], 24000, 0.25) == pytest.approx(0.1, rel=2e-4)
        assert clip.duration == pytest.approx(len(samples) / 24000, abs=1e-6)


def test_above_the_limit_the_stage_fails_and_says_so(tmp_path: Path) -> None:
    corpus(tmp_path / "raw")
    with pytest.raises(TooManyBad, match=r"9 of 17 clips are bad; limits.max_bad_fraction allows 1.0%"):
        normalize(tmp_path / "raw", tmp_path / "out", max_bad_fraction=0.01)


def test_same_bytes_from_one_worker_and_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus(tmp_path / "raw")
    hashes = []
    for jobs in ("1", "2"):
        monkeypatch.setenv("SOUNDRAFT_JOBS", jobs)
        normalize(tmp_path / "raw", tmp_path / "out")
        hashes.append(files.content_hash(*sorted(p for p in (tmp_path / "out").rglob("*") if p.is_file())))
        shutil.rmtree(tmp_path / "out")
    assert hashes[0] == hashes[1]


def test_two_sources_of_one_output_are_not_mixed_up(tmp_path: Path) -> None:
    source = tmp_path / "raw"
    source.mkdir()
    soundfile.write(source / "a.flac", tone(0.3), 8000)
    io.write_wav(source / "a.flac.wav", tone(0.9), 8000)
    write_manifest(source, [Clip(id=name, audio_path=name) for name in ("a.flac", "a.flac.wav")], [])
    done = normalize(source, tmp_path / "out")
    assert (done.clips, done.rejected) == (1, 1)
    assert "same file as clip a.flac" in (tmp_path / "out" / QUARANTINE_NAME).read_text()
    assert len(io.read(tmp_path / "out/a.flac.wav")[0]) == 0.3 * 24000
