"""Noisy speech made of clean speech: the ratio, the target, what splits share, what is refused."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from scipy import signal

from soundraft.audio import channel, io, noise, rooms
from soundraft.audio.noise import KINDS, looped
from soundraft.clips import mixing
from soundraft.clips.mixing import Mixed, Mixer, by_kind, inventory
from soundraft.files import content_of
from soundraft.manifest import SPLITS, Split
from soundraft.params import ParamsError, checked_section
from soundraft.params.enhancement import Codec, Mixing, NoiseKind, NoiseKinds, RoomCounts
from soundraft.runtime import CACHE_VARIABLE, BadClip, UserError

RATE_HZ = 8000
KINDS_OF: dict[str, list[Any]] = {"train": ["pink", "hum"], "validation": ["surf"], "test": ["rain", "engine"]}


def options(**changes: Any) -> Mixing:
    """Noise alone, but for the changes."""
    values: dict[str, Any] = {
        "noise_probability": 1.0, "kinds": NoiseKinds(**KINDS_OF), "noise_dir": "", "snr_db": [-5.0, 20.0],
        "held_out_snr_db": [0.0, 10.0], "second_noise_probability": 0.5, "equalizer_db": 6.0,
        "room_probability": 0.0, "rooms": RoomCounts(train=2, validation=1, test=1), "rooms_seed": 0,
        "rt60_s": [0.15, 0.3], "rir_dir": "", "target": "early", "speed_probability": 0.0, "speed": [0.9, 1.1],
        "lowpass_probability": 0.0, "lowpass_hz": [1500.0, 3000.0], "clipping_probability": 0.0,
        "clipping_db": [3.0, 24.0], "codec_probability": 0.0, "codecs": list(get_args(Codec)),
    }  # fmt: skip
    return checked_section(Mixing, **values | changes)


def mixer(split: Split = "train", *, seed: int = 0, talkers: Any = None, **changes: Any) -> Mixer:
    return Mixer(options(**changes), rate_hz=RATE_HZ, split=split, seed=seed, talkers=talkers)


def voice(seconds: float = 1.0, seed: int = 0) -> np.ndarray:
    """Something with gaps, as speech has them."""
    random = np.random.default_rng(seed)
    found = noise.coloured(random, round(seconds * RATE_HZ), RATE_HZ, lambda hz: 1 / np.maximum(hz, 100))
    envelope = np.abs(np.sin(np.arange(len(found)) / RATE_HZ * 9))
    return (0.2 * found / np.abs(found).max() * envelope).astype(np.float32)


def power_db(samples: np.ndarray) -> float:
    return 10 * float(np.log10(np.mean(np.square(samples, dtype=np.float64))))


def same(one: Mixed, other: Mixed) -> bool:
    return (
        np.array_equal(one.noisy, other.noisy) and np.array_equal(one.target, other.target) and one.facts == other.facts
    )


def digest(mixed: Mixed) -> str:
    return content_of(mixed.noisy.tobytes() + mixed.target.tobytes())


def test_every_kind_has_samples_and_is_an_option() -> None:
    assert set(get_args(NoiseKind)) == {*KINDS, noise.BABBLE}
    for name, kind in KINDS.items():
        for samples in (1, 100, RATE_HZ):
            made = kind(np.random.default_rng(1), samples, RATE_HZ)
            assert made.shape == (samples,), name
            assert made.dtype == np.float32, name
            assert np.isfinite(made).all(), name
        again, other = (kind(np.random.default_rng(seed), RATE_HZ, RATE_HZ) for seed in (1, 2))
        assert np.array_equal(made, again), name
        assert not np.allclose(again, other), name


@pytest.mark.parametrize("split", SPLITS)
def test_the_ratio_is_the_one_that_the_facts_name(split: Split) -> None:
    clean = voice()
    for number in range(20):
        mixed = mixer(split).pair(clean, id=str(number), epoch=0)
        found = power_db(mixed.target) - power_db(mixed.noisy - mixed.target)
        assert found == pytest.approx(mixed.facts["snr_db"], abs=0.01)
        assert set(mixed.facts["noise"].split(" + ")) <= set(KINDS_OF[split])
        if split != "train":
            assert mixed.facts["snr_db"] in (0.0, 10.0)


def test_a_pair_depends_on_seed_epoch_and_id_alone() -> None:
    everything = dict.fromkeys(("room", "speed", "lowpass", "clipping", "codec"), 0.7)
    changes = {f"{name}_probability": value for name, value in everything.items()}
    one, other, clean = mixer(**changes), mixer(**changes), voice()
    first = {name: one.pair(clean, id=name, epoch=1) for name in "abcdef"}
    assert all(same(first[name], other.pair(clean, id=name, epoch=1)) for name in "fbdace")
    assert not same(first["a"], one.pair(clean, id="a", epoch=2))
    assert not same(first["a"], one.pair(clean, id="b", epoch=1))
    assert not same(first["a"], mixer(seed=1, **changes).pair(clean, id="a", epoch=1))


def test_another_process_mixes_the_same(tmp_path: Path) -> None:
    """From a cache that is empty, and with another number of threads."""
    code = (
        "from tests.clips.test_mixing import digest, mixer, voice; "
        "print(digest(mixer(room_probability=1.0).pair(voice(), id='a', epoch=0)))"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "3", CACHE_VARIABLE: str(tmp_path)}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert ran.stdout.strip() == digest(mixer(room_probability=1.0).pair(voice(), id="a", epoch=0))


def test_a_probability_that_changes_leaves_the_rest() -> None:
    plain = mixer().pair(voice(), id="a", epoch=0)
    clipped = mixer(clipping_probability=1.0).pair(voice(), id="a", epoch=0)
    assert clipped.facts == plain.facts | {"clipping_db": clipped.facts["clipping_db"]}
    assert np.array_equal(clipped.noisy, channel.clipped(plain.noisy, clipped.facts["clipping_db"]))


def test_noise_that_is_too_short_begins_again_without_a_click() -> None:
    tone = np.sin(2 * np.pi * 110 * np.arange(1000) / RATE_HZ).astype(np.float32)
    long = looped(tone, 5000, RATE_HZ, start=300)
    assert len(long) == 5000
    assert np.array_equal(long[:500], tone[300:800])
    assert np.abs(np.diff(long)).max() < 1.5 * np.abs(np.diff(tone)).max()
    assert np.abs(np.diff(np.resize(tone, 5000))).max() > 1.5 * np.abs(np.diff(tone)).max()  # without a crossfade
    hiss = np.random.default_rng(0).standard_normal(4000).astype(np.float32)
    levels = looped(hiss, 40_000, RATE_HZ).reshape(-1, 500).std(1)
    assert levels.min() > 0.85 * levels.mean()  # nor a dip


def test_speech_in_a_room_and_its_early_target() -> None:
    clean = voice(2.0)
    for target in ("early", "dry"):
        in_room = mixer("test", room_probability=1.0, noise_probability=0.0, target=target)
        mixed = in_room.pair(clean, id="a", epoch=0)
        response = in_room.rooms[mixed.facts["room"]]
        whole = np.convolve(clean.astype(np.float64), response)[: len(clean)]
        assert np.allclose(mixed.noisy, whole, atol=1e-5)
        early = np.convolve(clean.astype(np.float64), response[: round(0.05 * RATE_HZ)])[: len(clean)]
        assert np.allclose(mixed.target, early if target == "early" else clean, atol=1e-5)
        lags = signal.correlation_lags(len(clean), len(clean))
        assert lags[np.argmax(signal.correlate(mixed.noisy, mixed.target))] == 0
        assert mixed.facts == {"snr_db": None, "noise": None, "room": "test-0000"}


def test_rooms_have_their_reverberation_time_and_are_kept() -> None:
    size = {"rate_hz": RATE_HZ, "rt60_s": (0.3, 0.3), "seed": 0}
    made = rooms.simulated("train", 2, **size)  # type: ignore[arg-type]
    for response in made.values():
        decay = 10 * np.log10(np.cumsum(response[::-1].astype(np.float64) ** 2)[::-1] / np.sum(response**2.0))
        early, late = (int(np.flatnonzero(decay < level)[0]) for level in (-5, -35))
        assert 2 * (late - early) / RATE_HZ == pytest.approx(0.3, rel=0.35)
        assert response[0] == 1
    assert not np.array_equal(*[each[:500] for each in made.values()])
    kept = rooms.simulated("train", 2, **size)  # type: ignore[arg-type]
    assert all(np.array_equal(made[name], kept[name]) for name in made)
    others = rooms.simulated("test", 2, **size)  # type: ignore[arg-type]
    assert not any(np.array_equal(a[:100], b[:100]) for a in made.values() for b in others.values())


def test_a_response_may_be_longer_than_the_clip(tmp_path: Path) -> None:
    for number in range(3):
        response = np.random.default_rng(number).standard_normal(2 * RATE_HZ) * np.exp(-np.arange(2 * RATE_HZ) / 900)
        response[:50], response[50] = 0, 5
        io.write_wav(tmp_path / f"{number}.wav", (response / 8).astype(np.float32), RATE_HZ)
    in_room = mixer("test", room_probability=1.0, noise_probability=0.0, rir_dir=str(tmp_path))
    clean = voice(0.3)
    mixed = in_room.pair(clean, id="a", epoch=0)
    response = in_room.rooms[mixed.facts["room"]]
    assert len(response) > len(clean)
    assert response[0] == 1
    assert np.allclose(mixed.noisy, np.convolve(clean, response)[: len(clean)], atol=1e-5)
    io.write_wav(tmp_path / "3.wav", np.zeros(100, dtype=np.float32), RATE_HZ)
    with pytest.raises(UserError, match=r"3.wav: no impulse response: a silent impulse response; remove it"):
        for split in SPLITS:
            mixer(split, room_probability=1.0, rir_dir=str(tmp_path))


def test_speed_changes_both_sides() -> None:
    mixed = mixer(speed_probability=1.0, speed=[1.25, 1.25], noise_probability=0.0).pair(voice(), id="a", epoch=0)
    assert mixed.facts["speed"] == 1.25
    assert len(mixed.noisy) == len(mixed.target) == RATE_HZ / 1.25
    held_out = mixer("test", speed_probability=1.0).pair(voice(), id="a", epoch=0)
    assert len(held_out.target) == RATE_HZ


@pytest.mark.parametrize("codec", get_args(Codec))
@pytest.mark.parametrize("rate_hz", [8000, 22050])
def test_a_codec_keeps_length_level_and_place(codec: str, rate_hz: int) -> None:
    clean = voice()
    mixed = channel.coded(clean, rate_hz, codec, 0.5)
    assert mixed.shape == clean.shape
    assert not np.array_equal(mixed, clean)
    assert power_db(mixed) == pytest.approx(power_db(clean), abs=3)
    lags = signal.correlation_lags(len(clean), len(clean))
    assert abs(lags[np.argmax(signal.correlate(mixed, clean))]) <= 2


def test_a_low_pass_and_clipping_act_on_the_noisy_side() -> None:
    both = mixer(lowpass_probability=1.0, clipping_probability=1.0, clipping_db=[12.0, 12.0], noise_probability=0.0)
    mixed = both.pair(voice(), id="a", epoch=0)
    assert np.array_equal(mixed.target, voice())
    assert np.mean(np.abs(mixed.noisy) >= np.abs(mixed.noisy).max() * 0.999) > 0.01
    hiss = np.random.default_rng(0).standard_normal(RATE_HZ)
    bands = np.abs(np.fft.rfft(channel.lowpassed(hiss, RATE_HZ, 1000.0)) / np.fft.rfft(hiss))
    assert bands[1000] == pytest.approx(10 ** (-3 / 20), abs=0.01)  # −3 dB at the cut-off, −48 dB an octave above
    assert bands[2000] == pytest.approx(10 ** (-48 / 20), abs=0.001)
    with pytest.raises(UserError, match="lowpass_hz: from 4500 Hz on, but audio of 8000 Hz has nothing above 4000 Hz"):
        mixer(lowpass_probability=1.0, lowpass_hz=[4500.0, 5000.0])


def test_babble_is_of_others_than_the_speaker() -> None:
    talkers = {name: voice(0.5, seed) for seed, name in enumerate("abcd", start=1)}
    kinds = NoiseKinds(**KINDS_OF | {"test": [noise.BABBLE]})
    own = mixer("test", kinds=kinds, talkers=talkers)
    loud = dict(talkers, a=np.full(4000, 0.5, dtype=np.float32))
    other = mixer("test", kinds=kinds, talkers=loud)
    clean = voice()
    assert same(own.pair(clean, id="a", epoch=0), other.pair(clean, id="a", epoch=0))  # a is not heard behind a
    assert not same(own.pair(clean, id="b", epoch=0), other.pair(clean, id="b", epoch=0))
    with pytest.raises(UserError, match="babble is made of the speech of three clips or more, and there are 0"):
        mixer("test", kinds=kinds)


def noises_in(folder: Path, names: list[str], seconds: float = 0.5) -> None:
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        samples = 0.1 * np.random.default_rng(number).standard_normal(round(seconds * RATE_HZ + number))
        io.write_wav(folder / name, samples.astype(np.float32), RATE_HZ)


def test_recordings_of_noise_stay_in_one_split(tmp_path: Path) -> None:
    noises_in(
        tmp_path, [f"{place}/{number}.wav" for place in ("kitchen", "park", "bus", "café") for number in range(2)]
    )
    found = by_kind(tmp_path)
    assert sorted(name for kinds in found.values() for name in kinds) == ["bus", "café", "kitchen", "park"]
    assert all(len(paths) == 2 for kinds in found.values() for paths in kinds.values())
    (tmp_path / "copies").mkdir()
    (tmp_path / "copies" / "same.wav").write_bytes((tmp_path / "bus" / "0.wav").read_bytes())
    found = by_kind(tmp_path)
    where = {name: split for split, kinds in found.items() for name in kinds}
    assert where["copies"] == where["bus"]
    clean = voice()
    for split in SPLITS:
        mixed = mixer(split, noise_dir=str(tmp_path), second_noise_probability=0.0).pair(clean, id="a", epoch=0)
        assert mixed.facts["noise"] in found[split]
        assert power_db(mixed.target) - power_db(mixed.noisy - mixed.target) == pytest.approx(
            mixed.facts["snr_db"], abs=0.01
        )


def test_folders_named_as_splits_are_these(tmp_path: Path) -> None:
    noises_in(tmp_path, [f"{split}/{number}.wav" for split in ("train", "dev", "test") for number in range(2)])
    found = by_kind(tmp_path)
    assert {split: list(kinds) for split, kinds in found.items()} == {
        "train": ["train"], "validation": ["dev"], "test": ["test"],
    }  # fmt: skip


def test_long_recordings_are_read_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noises_in(tmp_path, ["a.wav", "b.wav", "c.wav"], seconds=2)
    monkeypatch.setattr(mixing, "_WHOLE_S", 1.0)
    whole = [io.read(path)[0][:, 0] for path in sorted(tmp_path.glob("*.wav"))]
    unequal = mixer("test", noise_dir=str(tmp_path))
    mixed = unequal.pair(voice(0.5), id="a", epoch=0)
    added = mixed.noisy - mixed.target
    nearest = max(np.abs(signal.correlate(each / np.linalg.norm(each), added, "valid")).max() for each in whole)
    part = nearest / np.linalg.norm(added) * np.sqrt(len(whole[0]) / len(added))
    assert part == pytest.approx(1, abs=0.1)


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere: no such folder"):
        mixer(noise_dir=str(tmp_path / "nowhere"))
    noises_in(tmp_path, ["a.wav", "b.wav"])
    with pytest.raises(UserError, match=r"2 recordings of 2 kinds leave none for \w+: three different ones"):
        mixer(noise_dir=str(tmp_path))
    (tmp_path / "c.wav").write_bytes(b"RIFF")
    with pytest.raises(UserError, match=r"c.wav: no noise: .*; remove it"):
        for split in SPLITS:
            mixer(split, noise_dir=str(tmp_path))
    for name in "abc":
        io.write_wav(tmp_path / f"{name}.wav", np.zeros(RATE_HZ + ord(name), dtype=np.float32), RATE_HZ)
    with pytest.raises(UserError, match=r"\.wav: silence is no noise; remove it"):
        mixer(noise_dir=str(tmp_path)).pair(voice(), id="a", epoch=0)


def test_a_silent_clip_is_rejected() -> None:
    with pytest.raises(BadClip, match="silent: no signal-to-noise ratio is possible"):
        mixer().pair(np.zeros(RATE_HZ, dtype=np.float32), id="a", epoch=0)


def test_what_is_mixed_into_each_split_is_listed(tmp_path: Path) -> None:
    made = inventory(options(rooms=RoomCounts(train=2, validation=1, test=1)), RATE_HZ)
    assert {split for kinds in made["noise kind"].values() for split in kinds} == set(SPLITS)
    assert len(made["room"]) == 4
    assert all(len(splits) == 1 for values in made.values() for splits in values.values())
    noises_in(tmp_path, ["train/a.wav", "dev/b.wav", "test/c.wav"])
    recorded = inventory(options(noise_dir=str(tmp_path)), RATE_HZ)
    assert len(recorded["noise recording"]) == 3
    (tmp_path / "dev" / "b.wav").write_bytes((tmp_path / "train" / "a.wav").read_bytes())  # as given, so it stays
    crossing = inventory(options(noise_dir=str(tmp_path)), RATE_HZ)["noise recording"]
    assert [sorted(splits) for splits in crossing.values() if len(splits) > 1] == [["train", "validation"]]


def test_no_kind_is_in_two_splits() -> None:
    with pytest.raises(ParamsError, match="hum in train and in test; no kind may be in two splits"):
        checked_section(NoiseKinds, **KINDS_OF | {"test": ["hum", "rain"]})
    with pytest.raises(ParamsError, match=r"snr_db: .* the wrong way round"):
        options(snr_db=[5.0, -5.0])
