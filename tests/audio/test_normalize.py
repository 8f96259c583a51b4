import errno
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from soundraft import parallel
from soundraft.audio import io
from soundraft.audio.normalize import LEVELS_NAME, NormalizeSummary, normalize_clips
from soundraft.manifest import MANIFEST_NAME, QUARANTINE_NAME, Clip, TooManyBad, read_manifest, write_manifest
from soundraft.params.sections import Normalize
from soundraft.runtime import UserError
from tests.audio.test_io import bad_files
from tests.audio.test_loudness import naive_peak_rms
from tests.conftest import tone
from tests.sidecar.workshop import tree

OPTIONS = Normalize(
    sample_rate_hz=24000, target_db=-20.0, window_s=0.25, silence_db=-60.0, min_duration_s=0.1, on_clipping="limit"
)


def normalize(source: Path, target: Path, max_bad_fraction: float = 1.0, **changes: object) -> NormalizeSummary:
    """As the pipeline does."""
    options = OPTIONS.model_copy(update=changes)
    clips = read_manifest(source / MANIFEST_NAME)
    return normalize_clips(clips, source, target, options, max_bad_fraction=max_bad_fraction, owned=True)


def alone(clips: list[Clip], source: Path, target: Path) -> NormalizeSummary:
    """As a user does, into a folder of theirs."""
    return normalize_clips(clips, source, target, OPTIONS, max_bad_fraction=1.0)


GOOD = ["a.wav", "a.WAV", "x_120.0.wav", "sub/ü b.wav", "sub/deep/c.flac", "d.wav", "e.wav", "f.wav"]


def corpus(folder: Path) -> dict[str, str]:
    """Eight good clips in nested folders, and one for each way to be bad, with the reason."""
    for index, name in enumerate(GOOD):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / name, tone(0.2 + 0.05 * index, 16000, 0.02 * (index + 1)), 16000)
    io.write_wav(folder / "silent.wav", np.zeros(8000, dtype=np.float32), 8000)
    io.write_wav(folder / "short.wav", tone(0.05), 8000)
    bad = bad_files(folder) | {"silent.wav": "silent", "short.wav": "too short: 0.050 s"}
    write_manifest(folder, [Clip(id=name, audio_path=name, text="hi") for name in (*GOOD, *bad)], [])
    return bad


def test_good_clips_go_through_and_every_bad_one_is_named(tmp_path: Path) -> None:
    bad = corpus(tmp_path / "raw")
    done = normalize(tmp_path / "raw", tmp_path / "out")
    assert (done.clips, done.rejected) == (8, len(bad))
    quarantine = map(json.loads, (tmp_path / "out" / QUARANTINE_NAME).read_text().splitlines())
    reasons = {row["path"]: row["reason"] for row in quarantine}
    assert reasons.keys() == bad.keys()
    assert [name for name in bad if bad[name] not in reasons[name]] == []
    with pytest.raises(TooManyBad, match=f"{len(bad)} of {8 + len(bad)} clips"):
        normalize(tmp_path / "raw", tmp_path / "out", max_bad_fraction=0.01)
    good = read_manifest(tmp_path / "out" / MANIFEST_NAME)
    assert len({clip.audio_path for clip in good}) == 8
    assert {clip.id for clip in good} == set(GOOD)
    for clip in good:
        samples, rate_hz = io.read(tmp_path / "out" / clip.audio_path)
        assert (rate_hz, samples.shape[1]) == (24000, 1)
        assert naive_peak_rms(samples[:, 0], 24000, 0.25) == pytest.approx(0.1, rel=2e-4)
        assert clip.duration == pytest.approx(len(samples) / 24000, abs=1e-6)


def test_same_bytes_from_dask_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus(tmp_path / "raw")
    monkeypatch.setenv("SOUNDRAFT_JOBS", "1")
    normalize(tmp_path / "raw", tmp_path / "one")
    monkeypatch.setenv("SOUNDRAFT_JOBS", "2")
    monkeypatch.setenv("SOUNDRAFT_BACKEND", "dask")
    monkeypatch.setattr(parallel, "CHUNK_CLIPS", 2)
    monkeypatch.setattr(parallel, "WORKERS_PAY_AFTER_S", 0)
    normalize(tmp_path / "raw", tmp_path / "two")
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_only_what_changed_is_made_anew(tmp_path: Path) -> None:
    source, kept = tmp_path / "raw", tmp_path / "kept"
    corpus(source)
    clips = read_manifest(source / MANIFEST_NAME)
    assert normalize(source, kept).made == 8
    assert normalize(source, kept).made == 0
    soundfile.write(source / "a.wav", tone(0.7, 16000), 16000)  # an input changed
    (kept / "d.wav").write_bytes(b"damaged")  # an output was touched
    (kept / "stray.wav").write_bytes(b"somebody left this")
    write_manifest(source, [clip for clip in clips if clip.id != "e.wav"], [])  # a clip is gone
    assert normalize(source, kept).made == 2
    normalize(source, tmp_path / "anew")
    assert tree(kept) == tree(tmp_path / "anew")
    assert normalize(source, kept, target_db=-23.0).made == 7


def test_a_folder_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    corpus(tmp_path / "raw")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "final.txt").write_text("do not lose me")
    clips = read_manifest(tmp_path / "raw" / MANIFEST_NAME)
    with pytest.raises(UserError, match=r"s1_normalize\.ledger\.jsonl"):
        alone(clips, tmp_path / "raw", tmp_path / "thesis")
    (tmp_path / "tokens").mkdir()
    (tmp_path / "tokens" / "s2_encodec.ledger.jsonl").write_text("")
    with pytest.raises(UserError, match="holds files"):
        alone(clips, tmp_path / "raw", tmp_path / "tokens")
    with pytest.raises(UserError, match="neither inside the other"):
        normalize(tmp_path / "raw", tmp_path / "raw" / "out")
    assert (tmp_path / "thesis" / "final.txt").read_text() == "do not lose me"


def test_in_a_users_folder_only_what_an_earlier_run_made_is_removed(tmp_path: Path) -> None:
    corpus(tmp_path / "raw")
    clips = [Clip(id=name, audio_path=name) for name in GOOD]
    folders = tmp_path / "raw", tmp_path / "out"
    alone(clips, *folders)
    (tmp_path / "out" / "a.cond.npy").write_bytes(b"features that another step put beside")
    assert alone(clips[1:], *folders).removed == 1
    assert not (tmp_path / "out" / "a.wav").exists()
    assert (tmp_path / "out" / "a.cond.npy").exists()


def test_a_full_disk_ends_the_work_and_blames_no_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus(tmp_path / "raw")
    normalize(tmp_path / "raw", tmp_path / "undisturbed")
    written: list[int] = []
    honest = Path.write_bytes

    def quota(path: Path, data: bytes) -> int:
        written.append(len(data))
        if sum(written) > 60_000:
            honest(path, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return honest(path, data)

    monkeypatch.setenv("SOUNDRAFT_JOBS", "1")
    monkeypatch.setattr(Path, "write_bytes", quota)
    with pytest.raises(OSError, match="No space left"):
        normalize(tmp_path / "raw", tmp_path / "out")
    monkeypatch.setattr(Path, "write_bytes", honest)
    whole = tree(tmp_path / "undisturbed")
    left = tree(tmp_path / "out")
    assert all(whole[name] == data for name, data in left.items() if name.endswith(".wav"))
    normalize(tmp_path / "raw", tmp_path / "out")
    assert tree(tmp_path / "out") == whole


def test_a_paired_target_shares_the_gain_of_its_input(tmp_path: Path) -> None:
    source = tmp_path / "raw"
    source.mkdir()
    io.write_wav(source / "noisy.wav", tone(0.5, level=0.05), 8000)
    io.write_wav(source / "clean.wav", tone(0.5, level=0.02), 8000)
    soundfile.write(source / "quiet.flac", tone(0.5, level=0.002), 8000)  # the target would clip by its gain
    names = ("noisy.wav", "quiet.flac")
    write_manifest(source, [Clip(id=name, audio_path=name, target_path="clean.wav") for name in names], [])
    done = normalize(source, tmp_path / "out")
    assert (done.clips, done.limited) == (2, 1)
    for clip, level in zip(read_manifest(tmp_path / "out" / MANIFEST_NAME), (0.05, 0.002), strict=True):
        assert clip.target_path is not None
        wave = io.read(tmp_path / "out" / clip.audio_path)[0]
        target = io.read(tmp_path / "out" / clip.target_path)[0]
        assert np.abs(target).max() / np.abs(wave).max() == pytest.approx(0.02 / level, rel=1e-2)


@pytest.mark.parametrize("on_clipping", ["limit", "report"])
def test_clipping_is_never_silent(tmp_path: Path, on_clipping: str) -> None:
    source = tmp_path / "raw"
    source.mkdir()
    wave = tone(0.5, level=0.02)
    wave[2000] = 0.9
    io.write_wav(source / "click.wav", wave, 8000)
    io.write_wav(source / "fine.wav", tone(0.5, level=0.2), 8000)
    write_manifest(source, [Clip(id=name, audio_path=f"{name}.wav") for name in ("click", "fine")], [])
    done = normalize(source, tmp_path / "out", on_clipping=on_clipping)
    click, fine = map(json.loads, (tmp_path / "out" / LEVELS_NAME).read_text().splitlines())
    assert (done.limited, done.clipped) == ((1, 0) if on_clipping == "limit" else (0, 1))
    assert click["limited"] == (on_clipping == "limit")
    assert (click["clipped_samples"] > 0) == (on_clipping == "report")
    assert (fine["limited"], fine["clipped_samples"]) == (False, 0)
    peak = np.abs(io.read(tmp_path / "out" / "click.wav")[0]).max()
    assert peak == pytest.approx(1.0, abs=1e-4)


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
