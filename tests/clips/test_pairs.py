"""Pairs of noisy and clean speech from manifests, cuts, Shar directories, tar files and trees of them."""

import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from soundraft.audio import io
from soundraft.clips.base import Clips, Reading
from soundraft.clips.blend import read_tree
from soundraft.clips.opening import Source, open_clips
from soundraft.clips.pairs import PairOptions, expanded, from_cuts, from_manifest, from_shar, from_tar, from_tree
from soundraft.runtime import UserError

RATE_HZ = 8000


def side(seed: int, seconds: float = 1.0, channels: int = 1, level: float = 0.1) -> np.ndarray:
    samples = np.random.default_rng(seed).standard_normal((round(seconds * RATE_HZ), channels))
    return np.clip(level * samples, -0.9, 0.9).astype(np.float32)


def pair(folder: Path, name: str, seed: int, seconds: float = 1.0, channels: int = 1) -> dict[str, Any]:
    """A noisy and a clean file, and their row."""
    clean = side(seed, seconds)
    noisy = clean + 0.5 * side(1000 + seed, seconds, channels)
    (folder / "a").mkdir(exist_ok=True)
    for kind, samples in (("noisy", noisy), ("clean", clean)):
        (folder / "a" / f"{name}-{kind}.wav").write_bytes(io.float_wav_bytes(samples, RATE_HZ))
    return {"noisy_filepath": f"a/{name}-noisy.wav", "clean_filepath": f"a/{name}-clean.wav", "duration": seconds}


def manifest(folder: Path, rows: list[dict[str, Any]], name: str = "pairs.jsonl") -> Path:
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / name


def sides(clips: Clips, place: int = 0) -> tuple[np.ndarray, np.ndarray]:
    target = Path(clips.facts[place]["target_path"])
    return io.parse(clips.audio(place))[0][:, 0], io.read(target)[0][:, 0]


def same(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and bool(np.allclose(one, other, atol=1e-6))


def test_mono_pairs_stay_where_they_are(tmp_path: Path) -> None:
    path = manifest(tmp_path, [{**pair(tmp_path, str(n), n), "speaker": f"s{n}"} for n in range(3)])
    source = from_manifest(path, PairOptions())
    assert source.clips.paths == [str(tmp_path / f"a/{n}-noisy.wav") for n in range(3)]
    assert source.clips.facts[1] == {
        "speaker": "s1", "duration": 1.0, "target_path": str(tmp_path / "a/1-clean.wav"),
    }  # fmt: skip
    opened = open_clips(source, Reading())
    assert opened.clips.ids == source.clips.ids
    plain = open_clips(path, Reading())
    assert [facts["target_path"] for facts in plain.clips.facts] == [
        facts["target_path"] for facts in source.clips.facts
    ]
    assert [plain.clips.audio(n) for n in range(3)] == [source.clips.audio(n) for n in range(3)]


@pytest.mark.parametrize("offset", ["start", "end", "random"])
def test_both_sides_have_one_offset(tmp_path: Path, offset: Any) -> None:
    path = manifest(tmp_path, [pair(tmp_path, str(n), n, seconds=2.0) for n in range(4)])
    found = [from_manifest(path, PairOptions(audio_duration=0.5, offset=offset, seed=seed)).clips for seed in (0, 0, 1)]
    starts = []
    for place in range(4):
        noisy, clean = sides(found[0], place)
        whole = io.read(tmp_path / f"a/{place}-clean.wav")[0][:, 0]
        (start,) = (n for n in np.flatnonzero(whole == clean[0]) if np.array_equal(whole[n : n + 4000], clean))
        starts.append(start)
        assert same(noisy, io.read(tmp_path / f"a/{place}-noisy.wav")[0][start : start + 4000, 0])
    assert {"start": set(starts) == {0}, "end": set(starts) == {12_000}, "random": len(set(starts)) == 4}[offset]
    assert [facts["target_path"] for facts in found[0].facts] == [facts["target_path"] for facts in found[1].facts]
    differ = [a["target_path"] != b["target_path"] for a, b in zip(found[0].facts, found[2].facts, strict=True)]
    assert any(differ) == (offset == "random")


def test_channels_are_chosen_and_joined(tmp_path: Path) -> None:
    row = pair(tmp_path, "x", 0, channels=3)
    noisy = io.read(tmp_path / "a/x-noisy.wav")[0]
    for selector, wanted in ((2, noisy[:, 2]), ([0, 2], noisy[:, [0, 2]].mean(1)), ("average", noisy.mean(1))):
        found = from_manifest(manifest(tmp_path, [row]), PairOptions(input_channels=selector))  # type: ignore[arg-type]
        assert same(sides(found.clips)[0], wanted)
    second = pair(tmp_path, "y", 0)
    both = {"id": "both", "noisy_filepath": ["a/x-noisy.wav", "a/y-noisy.wav"], "clean_filepath": "a/x-clean.wav"}
    found = from_manifest(manifest(tmp_path, [both]), PairOptions(input_channels=3))
    assert same(sides(found.clips)[0], io.read(tmp_path / second["noisy_filepath"])[0][:, 0])
    with pytest.raises(UserError, match="the input has 4 channels; the channel selector is 4"):
        from_manifest(manifest(tmp_path, [both]), PairOptions(input_channels=4))


@pytest.mark.parametrize("signal", ["input_signal", "target_signal"])
def test_both_sides_are_divided_by_the_peak_of_one(tmp_path: Path, signal: Any) -> None:
    found = from_manifest(manifest(tmp_path, [pair(tmp_path, "x", 0)]), PairOptions(normalization_signal=signal))
    noisy, clean = sides(found.clips)
    assert np.abs(noisy if signal == "input_signal" else clean).max() == pytest.approx(1)
    before = io.read(tmp_path / "a/x-noisy.wav")[0][:, 0]
    assert noisy / clean == pytest.approx(before / io.read(tmp_path / "a/x-clean.wav")[0][:, 0], rel=1e-4)


def test_clips_are_dropped_by_length_counted_and_limited(tmp_path: Path) -> None:
    path = manifest(tmp_path, [pair(tmp_path, str(n), n, seconds=0.2 + 0.1 * n) for n in range(6)])
    found = from_manifest(path, PairOptions(min_duration=0.25, max_duration=0.55, max_utts=2))
    assert [Path(name).name for name in found.clips.ids] == ["1-noisy.wav", "2-noisy.wav"]
    assert [bad.reason for bad in found.dropped] == [
        "0.2 s long, dropped",
        "0.6 s long, dropped",
        "0.7 s long, dropped",
    ]
    assert found.notes == ["3 of 6 clips are dropped by min_duration 0.25 s, max_duration 0.55 s"]


def test_an_offset_of_a_row_is_a_part_of_both_files(tmp_path: Path) -> None:
    row = {**pair(tmp_path, "x", 0, seconds=2.0), "offset": 0.5, "duration": 0.25}
    noisy, clean = sides(from_manifest(manifest(tmp_path, [row]), PairOptions()).clips)
    assert same(noisy, io.read(tmp_path / "a/x-noisy.wav")[0][4000:6000, 0])
    assert same(clean, io.read(tmp_path / "a/x-clean.wav")[0][4000:6000, 0])


def test_what_is_no_pair_is_rejected_with_its_reason(tmp_path: Path) -> None:
    rows = {
        name: pair(tmp_path, name, seed) for seed, name in enumerate(("good", "long", "rate", "other", "loud", "no"))
    }
    (tmp_path / "a/long-clean.wav").write_bytes(io.float_wav_bytes(side(1, 1.5), RATE_HZ))
    (tmp_path / "a/rate-clean.wav").write_bytes(io.float_wav_bytes(side(2), 16_000))
    (tmp_path / "a/other-clean.wav").write_bytes(io.float_wav_bytes(side(99), RATE_HZ))
    clipped = np.clip(20 * side(4), -1, 1)
    (tmp_path / "a/loud-clean.wav").write_bytes(io.float_wav_bytes(clipped, RATE_HZ))
    del rows["no"]["clean_filepath"]
    rows["gone"] = {"noisy_filepath": "a/gone.wav", "clean_filepath": "a/gone.wav", "duration": 1.0}
    found = from_manifest(manifest(tmp_path, list(rows.values())), PairOptions())
    assert [Path(name).name for name in found.clips.ids] == ["good-noisy.wav"]
    reasons = {Path(bad.id).name.split("-")[0]: bad.reason for bad in found.rejected}
    assert reasons["long"] == "the target has 12000 samples, the input 8000: they must be of one length"
    assert reasons["rate"] == "the target has 16000 Hz, the input 8000 Hz: they must be of one rate"
    assert reasons["other"].startswith("the target is of another recording: its correlation with the input is 0.0")
    assert reasons["loud"].startswith("the target is clipped: ")
    assert reasons["no"] == "no clean_filepath"
    assert reasons["gone.wav"] == "no such file"
    alone = from_manifest(manifest(tmp_path, [rows["no"]]), PairOptions(needs_target=False))
    assert "target_path" not in alone.clips.facts[0]


def test_other_keys_and_a_key_that_is_not_there(tmp_path: Path) -> None:
    row = pair(tmp_path, "x", 0)
    named = {"audio": row["noisy_filepath"], "studio": row["clean_filepath"]}
    found = from_manifest(manifest(tmp_path, [named]), PairOptions(input_key="audio", target_key="studio"))
    assert found.clips.facts[0]["target_path"] == str(tmp_path / row["clean_filepath"])
    with pytest.raises(UserError, match="no key noisy_filepath; its rows have audio, studio"):
        from_manifest(manifest(tmp_path, [named]), PairOptions())
    with pytest.raises(UserError, match=r"nowhere.json: no such file"):
        from_manifest(tmp_path / "nowhere.json", PairOptions())


def cuts(folder: Path, count: int = 3, *, target: bool = True) -> Any:
    from lhotse import CutSet, MonoCut, Recording, SupervisionSegment

    found = []
    for number in range(count):
        row = pair(folder, str(number), number)
        both = [Recording.from_file(folder / row[key]) for key in ("noisy_filepath", "clean_filepath")]
        custom = {"target_recording": both[1]} if target else {}
        spoken = SupervisionSegment(f"s{number}", both[0].id, 0, 1.0, text="one", speaker=f"p{number}")
        found.append(MonoCut(f"c{number}", 0.25, 0.5, 0, [spoken], recording=both[0], custom=custom))
    return CutSet.from_cuts(found)


def test_cuts_take_the_same_part_of_their_target(tmp_path: Path) -> None:
    path = tmp_path / "cuts.jsonl.gz"
    cuts(tmp_path).to_file(path)
    found = from_cuts(path, PairOptions())
    assert found.clips.ids == ["c0", "c1", "c2"]
    assert found.clips.facts[0]["speaker"] == "p0"
    noisy, clean = sides(found.clips, 1)
    assert same(noisy, io.read(tmp_path / "a/1-noisy.wav")[0][2000:6000, 0])
    assert same(clean, io.read(tmp_path / "a/1-clean.wav")[0][2000:6000, 0])
    padded = cuts(tmp_path, 2).pad(duration=2.0)
    padded.to_file(path)
    with pytest.raises(UserError, match="a MixedCut, mixed or padded: its target_recording cannot be cut"):
        from_cuts(path, PairOptions())
    cuts(tmp_path, target=False).to_file(path)
    with pytest.raises(UserError, match="the cut has no custom field target_recording"):
        from_cuts(path, PairOptions())


def test_a_shar_directory_needs_its_target_field(tmp_path: Path) -> None:
    fields = {"recording": "flac", "target_recording": "flac"}
    (tmp_path / "shar").mkdir()
    cuts(tmp_path).to_shar(tmp_path / "shar", fields=fields, shard_size=2)
    found = from_shar(tmp_path / "shar", PairOptions())
    assert sorted(found.clips.ids) == ["c0", "c1", "c2"]
    noisy, clean = sides(found.clips, found.clips.ids.index("c1"))
    assert np.abs(noisy - io.read(tmp_path / "a/1-noisy.wav")[0][2000:6000, 0]).max() < 1e-3
    assert np.abs(clean - io.read(tmp_path / "a/1-clean.wav")[0][2000:6000, 0]).max() < 1e-3
    for each in (tmp_path / "shar").glob("target_recording*"):
        each.unlink()
    with pytest.raises(
        UserError, match="needs the fields cuts, recording and target_recording; it has cuts, recording"
    ):
        from_shar(tmp_path / "shar", PairOptions())


def tarred(folder: Path, count: int) -> tuple[str, str]:
    rows = []
    for shard in range(2):
        with tarfile.open(folder / f"audio_{shard}.tar", "w") as tar:
            for number in range(count):
                row = pair(folder, f"{shard}{number}", 10 * shard + number)
                for key in ("noisy_filepath", "clean_filepath"):
                    tar.add(folder / row[key], arcname=row[key])
                rows.append(row)
    return str(manifest(folder, rows, "tarred.json")), str(folder / "audio__OP_0..1_CL_.tar")


def test_tar_files(tmp_path: Path) -> None:
    path, tars = tarred(tmp_path, 2)
    found = from_tar(path, tars, PairOptions())
    assert len(found.clips) == 4
    assert same(sides(found.clips, 3)[1], io.read(tmp_path / "a/11-clean.wav")[0][:, 0])
    assert expanded("a_{08..10}.tar") == ["a_08.tar", "a_09.tar", "a_10.tar"]
    with pytest.raises(UserError, match=r"audio_2.tar: no such file"):
        from_tar(path, str(tmp_path / "audio_{0..2}.tar"), PairOptions())


@pytest.mark.parametrize("plural", ["", "s"])
def test_a_tree_draws_from_all_kinds_of_sources(tmp_path: Path, plural: str) -> None:
    (path, tars), names = tarred(tmp_path, 2), ("nemo", "lhotse", "tar")
    (tmp_path / "shar").mkdir()
    cuts(tmp_path).to_file(tmp_path / "cuts.jsonl.gz")
    own = manifest(tmp_path, [pair(tmp_path, f"m{n}", 50 + n) for n in range(2)])
    tree = read_tree([
        {"type": "group", "weight": 3, "tags": {"set": "both"}, "input_cfg": [
            {"type": "nemo", "manifest_filepath": str(own), "weight": 1},
            {"type": "lhotse", "cuts_path": str(tmp_path / "cuts.jsonl.gz"), "weight": 2},
        ]},
        {"type": "nemo_tarred", "manifest_filepath": path, f"tarred_audio_filepath{plural}": tars, "weight": 1},
    ])  # fmt: skip
    found = from_tree(tree, PairOptions(), count=400)
    assert len(set(found.clips.ids)) == 400
    shares = [sum(name.startswith(start) for name in found.clips.ids) / 400 for start in ("0.0/", "0.1/", "1/")]
    assert dict(zip(names, shares, strict=True)) == pytest.approx({"nemo": 0.25, "lhotse": 0.5, "tar": 0.25}, abs=0.06)
    assert all((facts.get("set") == "both") == (not name.startswith("1/"))
               for name, facts in zip(found.clips.ids, found.clips.facts, strict=True))  # fmt: skip
    assert isinstance(found, Source)
    noisy, clean = sides(found.clips, 0)
    assert len(noisy) == len(clean)
    with pytest.raises(UserError, match=r"input_cfg.0: a source of type lhotse needs cuts_path"):
        from_tree(read_tree([{"type": "lhotse"}]), PairOptions())
    with pytest.raises(
        UserError, match=r"input_cfg.0.manifest: unknown key; a source of type nemo has manifest_filepath"
    ):
        from_tree(read_tree([{"type": "nemo", "manifest_filepath": "a", "manifest": 1}]), PairOptions())
