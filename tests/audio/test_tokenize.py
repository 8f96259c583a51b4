"""s2: only what changed is made, the bytes never depend on how, and every option of the script does what it says."""

import dataclasses
import functools
import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from encodec.binary import read_ecdc_header
from encodec.compress import MODELS

from soundraft import files, parallel
from soundraft.audio import ecdc, io, tokenize
from soundraft.audio.tokenize import Encoder, EncodeSummary, encode_clips
from soundraft.manifest import QUARANTINE_NAME, TooManyBad, find_clips
from soundraft.params.sections import Encodec
from soundraft.runtime import UserError
from tests.audio import codecs
from tests.sidecar.workshop import script, tree

SECONDS = {
    "a.wav": 0.5, "a.WAV": 0.2, "x_120.0.wav": 0.31, "x_120.5.wav": 0.4, "sub/ü b.wav": 0.05, "sub/deep/c.wav": 0.6,
}  # fmt: skip


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return codecs.save(tmp_path_factory.mktemp("checkpoint"), codecs.LIKE_TINY)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return codecs.wav_folder(tmp_path / "normalized", SECONDS)


@pytest.fixture
def options(checkpoint: Path) -> Encodec:
    return Encodec(checkpoint=str(checkpoint), revision="", bandwidth_kbps=6.0, container="esf")


@pytest.fixture
def s2(source: Path, tmp_path: Path, checkpoint: Path) -> functools.partial:
    return functools.partial(script, "s2_encodec", source, tmp_path / "out", "--checkpoint", checkpoint)


def encode(
    source: Path, target: Path, options: Encodec, max_bad_fraction: float = 0.0, **changes: object
) -> EncodeSummary:
    encoder = Encoder(source, target, options.model_copy(update=changes))
    return encode_clips(find_clips(source, io.AUDIO_SUFFIXES), encoder, max_bad_fraction=max_bad_fraction)


def test_the_index_says_what_the_files_hold(source: Path, tmp_path: Path, options: Encodec) -> None:
    done = encode(source, tmp_path / "out", options)
    rows = [json.loads(line) for line in (tmp_path / "out/tokens.jsonl").read_text().splitlines()]
    assert [row["wav"] for row in rows] == [
        "a.WAV", "a.wav", "sub/deep/c.wav", "sub/ü b.wav", "x_120.0.wav", "x_120.5.wav",
    ]  # fmt: skip
    codec = tokenize.load_codec(Path(options.checkpoint).resolve(), "cpu")
    for row in rows:
        tokens = ecdc.read(tmp_path / "out" / row["path"])
        wave = io.read(source / row["wav"])[0][:, 0]
        assert np.array_equal(tokens.codes, codec.encode_one(wave, 6.0))
        assert (tokens.codes.shape[0], tokens.frames) == (row["codebooks"], row["frames"]) == (8, row["frames"])
        assert tokens.samples == row["samples"] == round(SECONDS[row["wav"]] * 24000)
        assert row["frames"] == -(-row["samples"] // 320)
    assert done == EncodeSummary(clips=6, made=6, removed=0, rejected=0, frames=sum(row["frames"] for row in rows))


def test_only_what_changed_is_made_anew(source: Path, tmp_path: Path, options: Encodec) -> None:
    kept = tmp_path / "kept"
    assert encode(source, kept, options).made == 6
    before = tree(kept)
    assert encode(source, kept, options).made == 0
    assert tree(kept) == before
    io.write_wav(source / "a.wav", codecs.noise(0.4, 99), 24000)  # an input changed
    damaged = kept / "x_120.0.ecdc"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"!")  # an output was touched
    (kept / "sub/deep/.a.ecdc.123.tmp").write_bytes(b"a killed run left this")
    (source / "sub/ü b.wav").unlink()  # a clip is gone
    io.write_wav(source / "new.wav", codecs.noise(0.2, 98), 24000)
    assert encode(source, kept, options).made == 3
    encode(source, tmp_path / "anew", options)
    assert tree(kept) == tree(tmp_path / "anew")
    assert not (kept / "sub/ü b.ecdc").exists()


def test_other_options_weights_or_code_make_everything_anew_but_not_another_place(
    source: Path, tmp_path: Path, options: Encodec
) -> None:
    kept, clips = tmp_path / "kept", find_clips(source, io.AUDIO_SUFFIXES)
    encode(source, kept, options)
    moved = shutil.copytree(options.checkpoint, tmp_path / "elsewhere/checkpoint")
    before = tree(kept)
    assert encode(source, kept, options, checkpoint=str(moved)).made == 0
    assert tree(kept) == before
    other = codecs.save(tmp_path / "checkpoint", codecs.LIKE_TINY, seed=1)
    for change in ({"container": "encodec"}, {"checkpoint": str(other)}):
        assert len(tokenize.plan(clips, Encoder(source, kept, options.model_copy(update=change))).write) == 6
    for other_way in ({"device": "cuda"}, {"suffix": ".codes"}):
        assert len(tokenize.plan(clips, Encoder(source, kept, options, **other_way)).write) == 6
    assert encode(source, kept, options, bandwidth_kbps=3.0).made == 6
    encode(source, tmp_path / "anew", options, bandwidth_kbps=3.0)
    assert tree(kept) == tree(tmp_path / "anew")
    with pytest.raises(UserError, match="suffix"):
        Encoder(source, kept, options, suffix="codes")


def test_the_encodec_package_knows_the_model_by_its_name(source: Path, tmp_path: Path, options: Encodec) -> None:
    """It decodes no file of a model called facebook/encodec_24khz."""
    folder = shutil.copytree(options.checkpoint, tmp_path / "facebook/encodec_24khz")
    encode(source, tmp_path / "out", options, checkpoint=str(folder), container="encodec")
    with (tmp_path / "out/a.ecdc").open("rb") as stream:
        assert read_ecdc_header(stream)["m"] in MODELS


def test_same_bytes_from_any_workers(
    source: Path, tmp_path: Path, options: Encodec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOUNDRAFT_JOBS", "1")
    encode(source, tmp_path / "one", options)
    monkeypatch.setenv("SOUNDRAFT_JOBS", "2")
    monkeypatch.setattr(parallel, "CHUNK_CLIPS", 2)
    monkeypatch.setattr(parallel, "WORKERS_PAY_AFTER_S", 0)
    encode(source, tmp_path / "two", options)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_bad_clips_are_rejected_with_their_reason(
    source: Path, tmp_path: Path, options: Encodec, s2: functools.partial
) -> None:
    io.write_wav(source / "cd.wav", codecs.noise(0.5), 44100)
    soundfile.write(source / "stereo.wav", np.zeros((4800, 2)), 24000)
    (source / "text.wav").write_text("no audio\n" * 9)
    reasons = {
        "cd.wav": "44100 Hz and 1 channels; the codec takes 24000 Hz mono, as s1 makes it",
        "stereo.wav": "24000 Hz and 2 channels",
        "text.wav": "not readable as audio",
    }
    for made in (6, 0):
        done = encode(source, tmp_path / "out", options, max_bad_fraction=0.5)
        assert (done.clips, done.made, done.rejected) == (6, made, 3)
    rows = [json.loads(line) for line in (tmp_path / "out" / QUARANTINE_NAME).read_text().splitlines()]
    assert {row["path"] for row in rows} == set(reasons)
    assert [row for row in rows if reasons[row["path"]] not in row["reason"]] == []
    with pytest.raises(TooManyBad, match="3 of 9 clips"):
        encode(source, tmp_path / "other", options, max_bad_fraction=0.3)
    code, output = s2()
    assert (code, "cd.wav: 44100 Hz" in output) == (1, True)


def test_overwrite_dry_run_and_list_missing(s2: functools.partial, source: Path, tmp_path: Path) -> None:
    code, output = s2("--dry-run")
    assert (code, output.count("WRITE "), output.count("SKIP ")) == (0, 6, 0)
    assert "would write 6 and skip 0" in output
    assert not (tmp_path / "out").exists()
    assert "4 made" in s2("--no-recursive")[1]
    assert not (tmp_path / "out/sub").exists()
    code, output = s2("--device", "cpu")
    assert (code, "2 made, 0 removed; 0 rejected" in output) == (0, True)
    made = tree(tmp_path / "out")
    assert "0 made" in s2()[1]
    assert "6 made" in s2("--overwrite")[1]
    assert tree(tmp_path / "out") == made
    (source / "a.wav").unlink()
    (tmp_path / "out/x_120.0.ecdc").unlink()
    before = tree(tmp_path / "out")
    code, output = s2("--dry-run", "--list-missing")
    lines = "SKIP x_120.5.wav", "WRITE x_120.0.wav", "MISSING x_120.0.ecdc\nORPHAN a.ecdc"
    assert (code, [line for line in lines if f"{line}\n" not in output]) == (0, [])
    assert "would write 1 and skip 4" in output
    assert "1 token files are missing, 1 have no audio" in output
    for option in (["--overwrite"], ["--bandwidth", "3"]):
        assert "would write 5 and skip 0" in s2("--dry-run", *option)[1]
    assert tree(tmp_path / "out") == before


def test_verify_finds_wrong_codes(s2: functools.partial, tmp_path: Path) -> None:
    assert "encoded 6 clips again, one by one: the same codes" in s2("--verify")[1]
    code, output = s2("--verify", "--verify-samples", "2")
    assert (code, "encoded 2 clips again" in output) == (0, True)
    path = tmp_path / "out/a.ecdc"
    tokens = ecdc.read(path)
    path.write_bytes(ecdc.esf_bytes(dataclasses.replace(tokens, codes=(tokens.codes + 1) % 1024)))
    code, output = s2("--dry-run", "--verify")
    assert (code, "WRITE a.wav" in output) == (1, True)
    assert "1 of 6 token files are wrong" in output
    assert "a.ecdc: not what the codec gives for a.wav" in output


def test_container_suffix_and_bandwidth(s2: functools.partial, tmp_path: Path) -> None:
    assert s2("--container", "encodec", "--suffix", ".tokens", "--bandwidth", "12")[0] == 0
    assert sum(path.endswith(".tokens") for path in tree(tmp_path / "out")) == 6
    data = (tmp_path / "out/a.tokens").read_bytes()
    assert data.startswith(b"ECDC")
    assert ecdc.parse(data).codes.shape == (16, 38)
    assert s2("--bandwidth", "5")[0] == 2
    (tmp_path / "out/s2_encodec.ledger.jsonl").unlink()
    code, output = s2()  # a folder with files that are not of this stage
    assert (code, "--adopt" in output) == (1, True)
    (tmp_path / "out/mine.txt").write_text("mine")
    assert s2("--adopt")[0] == 0
    assert (tmp_path / "out/mine.txt").is_file()
    assert "0 made" in s2()[1]


@pytest.mark.parametrize(
    ("old", "new"), [('"frames": ', '"frames": 1'), ('"codebooks": 8, ', ""), ('"result": {', '"result": [{')]
)
def test_a_damaged_entry_of_the_ledger_is_made_again(s2: functools.partial, tmp_path: Path, old: str, new: str) -> None:
    assert s2()[0] == 0
    before, ledger = tree(tmp_path / "out"), tmp_path / "out/s2_encodec.ledger.jsonl"
    first, rest = ledger.read_text().split("\n", 1)
    ledger.write_text(first.replace(old, new) + "\n" + rest)
    code, output = s2()
    assert (code, ", 1 made," in output) == (0, True)
    assert tree(tmp_path / "out") == before


def test_a_codec_that_cannot_be_used_is_one_line(
    s2: functools.partial, source: Path, options: Encodec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    limited = shutil.copytree(options.checkpoint, tmp_path / "limited")
    config = files.read_json(limited / "config.json")
    files.write_json(limited / "config.json", config | {"target_bandwidths": [1.5, 3.0]})
    for checkpoint, words in (
        ("nobody/nothing", "'nobody/nothing'"), ("../no/such/folder", "'../no/such/folder'"),
        (source, f"no codec in {source}"), (limited, "has no 6.0 kbps; it has 1.5, 3.0"),
    ):  # fmt: skip
        code, output = s2("--checkpoint", checkpoint)
        assert (code, words in output, "\n" in output) == (1, True, False)
    assert not (tmp_path / "out").exists()
    assert script("s2_encodec", source / "absent", source / "out")[0] == 1


def test_one_changed_clip_starts_no_processes(
    source: Path, tmp_path: Path, options: Encodec, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode(source, tmp_path / "out", options)
    io.write_wav(source / "a.WAV", codecs.noise(0.4, 99), 24000)  # the first clip, and the codec takes time to load
    load = tokenize.load_codec
    monkeypatch.setattr(tokenize, "load_codec", lambda *given: (time.sleep(0.2), load(*given))[1])
    monkeypatch.setattr(parallel, "WORKERS_PAY_AFTER_S", 0.5)
    monkeypatch.setenv("SOUNDRAFT_JOBS", "2")
    monkeypatch.setattr(parallel, "PROBE_CLIPS", 1)
    monkeypatch.setattr(parallel, "CHUNK_CLIPS", 1)
    monkeypatch.setattr(parallel, "_in_workers", pytest.fail)
    assert encode(source, tmp_path / "out", options).made == 1
