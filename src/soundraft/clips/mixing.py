"""Noisy speech made of clean speech: a pure function of (seed, epoch, id), whoever asks for it and in which order.

    clean → speed → room ──→ + noise → low-pass → clipping → codec → noisy
                     └─ direct sound and 50 ms after it ──────────→ target

Each step has a generator of its own, so that a probability that changes leaves what the other steps draw.
The signal-to-noise ratio is that of the speech as it is in the mixture, reverberation included, to the noise, over the
whole clip: the noise is scaled by √(Ps / Pn / 10^(SNR/10)) with the mean squares Ps and Pn.
"""

import functools
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy import signal

from soundraft import files, runtime
from soundraft.audio import channel, io, noise, rooms
from soundraft.audio.io import AUDIO_SUFFIXES
from soundraft.corpora.lists import SPLIT_SPELLINGS
from soundraft.manifest import SPLITS, Split
from soundraft.params.enhancement import Mixing
from soundraft.runtime import BadClip, UserError
from soundraft.splits import Key, group_splits

LEAST_KINDS = 3  # folders of recordings: fewer cannot be in three splits, and then each file is a kind
_TRIES = 8
_SILENT_POWER = 1e-10  # −100 dBFS
_WHOLE_S = 60.0  # recordings of noise up to this length are kept decoded
_FILE_SPLIT_SEED = 0  # the splits of a folder depend on the folder alone, not on the run


@dataclass(frozen=True)
class Mixed:
    """
    Attributes:
        noisy, target: `[N]`, float32, parallel in time; the sum may exceed 1.
        facts: snr_db, noise and room, each `None` where there is none, and what else was drawn.
    """

    noisy: np.ndarray
    target: np.ndarray
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Noise:
    """A kind of noise of one split.

    Attributes:
        make: a generator, a number of samples and the id of the clip → `[samples]`.
    """

    name: str
    make: Callable[[np.random.Generator, int, str], np.ndarray]


class Mixer:
    """Makes pairs of one split.

    Args:
        rate_hz: of all audio.
        seed: of the run.
        talkers: by id clips of this split at `rate_hz`, of which babble is made; a clip is never in its own babble.

    Raises:
        UserError: when a folder cannot be split, a file of it is bad, or babble has no talkers.
    """

    def __init__(
        self, options: Mixing, *, rate_hz: int, split: Split, seed: int, talkers: Mapping[str, np.ndarray] | None = None
    ) -> None:
        self.options, self.rate_hz, self.split, self.seed = options, rate_hz, split, seed
        if options.lowpass_probability and options.lowpass_hz[0] >= rate_hz / 2:
            raise UserError(
                f"enhancement.mixing.lowpass_hz: from {options.lowpass_hz[0]:g} Hz on, but audio of {rate_hz} Hz has "
                f"nothing above {rate_hz / 2:g} Hz"
            )
        self.noises = _noises(options, split, rate_hz, talkers or {}) if options.noise_probability else []
        self.rooms = _rooms(options, split, rate_hz) if options.room_probability else {}

    def pair(self, clean: np.ndarray, *, id: str, epoch: int) -> Mixed:
        """Noisy speech and its target of a clean clip `[N]`.

        Raises:
            BadClip: when the clip is silent.
        """
        facts: dict[str, Any] = {"snr_db": None, "noise": None, "room": None}
        draw = functools.partial(self._random, id, epoch)
        speech = self._at_speed(np.asarray(clean, dtype=np.float32), draw("speed"), facts)
        speech, target = self._in_room(speech, draw("room"), facts)
        noisy = self._with_noise(speech, draw, id, facts)
        return Mixed(self._through_channel(noisy, draw, facts), target, facts)

    def _random(self, id: str, epoch: int, step: str) -> np.random.Generator:
        return np.random.default_rng(runtime.derive_seed("mixing", self.seed, self.split, epoch, id, step))

    def _at_speed(self, clean: np.ndarray, random: np.random.Generator, facts: dict[str, Any]) -> np.ndarray:
        if self.split != "train" or random.random() >= self.options.speed_probability:
            return clean
        facts["speed"] = _between(random, self.options.speed)
        return channel.at_speed(clean, facts["speed"])

    def _in_room(
        self, clean: np.ndarray, random: np.random.Generator, facts: dict[str, Any]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Speech as it arrives, and its target."""
        if random.random() >= self.options.room_probability:
            return clean, clean
        facts["room"] = list(self.rooms)[int(random.integers(len(self.rooms)))]
        response = self.rooms[facts["room"]]
        speech = _convolved(clean, response)
        early = response[: round(rooms.EARLY_S * self.rate_hz)]
        return speech, clean if self.options.target == "dry" else _convolved(clean, early)

    def _with_noise(
        self, speech: np.ndarray, draw: Callable[[str], np.random.Generator], id: str, facts: dict[str, Any]
    ) -> np.ndarray:
        random = draw("noise")
        if random.random() >= self.options.noise_probability:
            return speech
        power = _power(speech)
        if power < _SILENT_POWER:
            raise BadClip("silent: no signal-to-noise ratio is possible")
        kinds, noises = [], []
        twice = self.split == "train" and random.random() < self.options.second_noise_probability
        for number in range(2 if twice else 1):
            own = draw(f"noise {number}")
            kind = self.noises[int(own.integers(len(self.noises)))]
            made = kind.make(own, len(speech), id)
            kinds.append(kind.name)
            noises.append(made / np.float32(np.sqrt(_power(made))))
        total = noises[0] if len(noises) == 1 else noises[0] + np.float32(random.uniform(0.2, 1.0)) * noises[1]
        if self.split == "train" and self.options.equalizer_db:
            total = noise.filtered(total, self.rate_hz, noise.curve(draw("equalizer"), self.options.equalizer_db))
        facts |= {"noise": " + ".join(kinds), "snr_db": self._snr_db(draw("snr"))}
        gain = np.sqrt(power / _power(total) / 10 ** (facts["snr_db"] / 10))
        return speech + np.float32(gain) * total

    def _snr_db(self, random: np.random.Generator) -> float:
        if self.split == "train":
            return _between(random, self.options.snr_db)
        return float(random.choice(self.options.held_out_snr_db))

    def _through_channel(
        self, noisy: np.ndarray, draw: Callable[[str], np.random.Generator], facts: dict[str, Any]
    ) -> np.ndarray:
        options, random = self.options, draw("lowpass")
        if random.random() < options.lowpass_probability:
            low, high = options.lowpass_hz
            facts["lowpass_hz"] = _between(random, (low, min(high, self.rate_hz / 2)))
            noisy = channel.lowpassed(noisy, self.rate_hz, facts["lowpass_hz"])
        random = draw("clipping")
        if random.random() < options.clipping_probability:
            facts["clipping_db"] = _between(random, options.clipping_db)
            noisy = channel.clipped(noisy, facts["clipping_db"])
        random = draw("codec")
        if random.random() < options.codec_probability:
            facts["codec"] = options.codecs[int(random.integers(len(options.codecs)))]
            noisy = channel.coded(noisy, self.rate_hz, facts["codec"], float(random.random()))
        return noisy


def by_kind(folder: Path) -> dict[Split, dict[str, list[Path]]]:
    """Recordings in and below a folder by split and kind.

    With three folders of recordings or more a kind is a folder, else a file. A kind is of one split, as are kinds that
    share a recording: that which a folder above it names (train, validation, test), else drawn by its name.

    Raises:
        UserError: when there is no such folder, or there are too few kinds for three splits.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    names = files.sorted_names(folder, AUDIO_SUFFIXES)
    parents = {str(Path(name).parent) for name in names}
    of_folders = len(parents - {"."}) >= LEAST_KINDS
    kinds = [str(Path(name).parent) if of_folders and "/" in name else name for name in names]
    given = [next((SPLIT_SPELLINGS[part] for part in Path(name).parts[:-1] if part in SPLIT_SPELLINGS), None)
             for name in names]  # fmt: skip
    twins = _twins(folder, names)
    keys: list[list[Key]] = [[("source", kind), *twins.get(name, [])] for name, kind in zip(names, kinds, strict=True)]
    found: dict[Split, dict[str, list[Path]]] = {split: defaultdict(list) for split in SPLITS}
    splits = group_splits(keys, given, seed=_FILE_SPLIT_SEED)
    for name, kind, split in zip(names, kinds, splits, strict=True):
        found[split][kind].append(folder / name)
    if empty := [split for split in SPLITS if not found[split]]:
        raise UserError(
            f"{folder}: {len(names)} recordings of {len(set(kinds))} kinds leave none for {', '.join(empty)}: three "
            "different ones are the least"
        )
    return found


def inventory(options: Mixing, rate_hz: int) -> dict[str, dict[str, dict[Split, list[str]]]]:
    """What is mixed into each split: kinds of noise, the bytes of its recordings, and rooms by their response.

    Of each value the names that it has in each split; a value in two splits is one that crosses them.

    Raises:
        UserError: as a `Mixer`.
    """
    found: dict[str, dict[str, dict[Split, list[str]]]] = {"noise kind": {}, "noise recording": {}, "room": {}}

    def note(what: str, value: str, split: Split, name: str) -> None:
        found[what].setdefault(value, {}).setdefault(split, []).append(name)

    recorded = by_kind(Path(options.noise_dir)) if options.noise_dir else {}
    for split in SPLITS:
        for kind in recorded[split] if recorded else getattr(options.kinds, split):
            note("noise kind", kind, split, kind)
        for path in (path for paths in recorded.get(split, {}).values() for path in paths):
            note("noise recording", files.content_of(path), split, str(path))
        for name, response in _rooms(options, split, rate_hz).items():
            note("room", files.content_of(response.tobytes()), split, name)
    return found


def _twins(folder: Path, names: Sequence[str]) -> dict[str, list[Key]]:
    """Of recordings of one size, which alone can be equal, a hash of their bytes."""
    sizes: dict[int, list[str]] = defaultdict(list)
    for name in names:
        sizes[(folder / name).stat().st_size].append(name)
    return {
        name: [("content", files.content_of(folder / name))]
        for alike in sizes.values() if len(alike) > 1 for name in alike
    }  # fmt: skip


def _noises(options: Mixing, split: Split, rate_hz: int, talkers: Mapping[str, np.ndarray]) -> list[Noise]:
    if options.noise_dir:
        kinds = by_kind(Path(options.noise_dir))[split]
        return [_recorded(name, [_checked(path) for path in paths], rate_hz) for name, paths in kinds.items()]
    return [_synthetic(name, rate_hz, talkers) for name in getattr(options.kinds, split)]


def _synthetic(name: str, rate_hz: int, talkers: Mapping[str, np.ndarray]) -> Noise:
    if name != noise.BABBLE:
        return Noise(name, lambda random, samples, _: noise.KINDS[name](random, samples, rate_hz))
    if len(talkers) < 3:
        raise UserError(
            f"enhancement.mixing.kinds: babble is made of the speech of three clips or more, and there are "
            f"{len(talkers)}: take it out, or give more"
        )

    def make(random: np.random.Generator, samples: int, id: str) -> np.ndarray:
        others = [each for each in sorted(talkers) if each != id]
        chosen = random.permutation(len(others))[: noise.TALKERS]
        return noise.babble(random, samples, rate_hz, [talkers[others[place]] for place in chosen])

    return Noise(name, make)


def _checked(path: Path) -> tuple[Path, float]:
    """A recording of noise and its length, seconds; UserError when it cannot be used."""
    try:
        return path, io.read_header(path)[0]
    except BadClip as error:
        raise UserError(f"{path}: no noise: {error}; remove it") from error


def _recorded(name: str, recordings: Sequence[tuple[Path, float]], rate_hz: int) -> Noise:
    def make(random: np.random.Generator, samples: int, _: str) -> np.ndarray:
        path, duration_s = recordings[int(random.integers(len(recordings)))]
        for _try in range(_TRIES):
            part = _part(path, duration_s, samples, rate_hz, random)
            if _power(part) >= _SILENT_POWER:
                return part
        raise UserError(f"{path}: silence is no noise; remove it")

    return Noise(name, make)


def _part(path: Path, duration_s: float, samples: int, rate_hz: int, random: np.random.Generator) -> np.ndarray:
    """A random part of a recording, `[samples]`, which begins again where it is shorter."""
    if duration_s > _WHOLE_S and duration_s > samples / rate_hz:
        start_s = random.uniform(0, duration_s - samples / rate_hz)
        part, source_hz = io.read_part(path, start_s, samples / rate_hz)
        return noise.looped(io.resample(io.to_mono(part), source_hz, rate_hz), samples, rate_hz)
    whole = _decoded(path, rate_hz)
    start = int(random.integers(max(1, len(whole) - samples + 1) if len(whole) > samples else len(whole)))
    return noise.looped(whole, samples, rate_hz, start=start)


@functools.lru_cache(maxsize=128)
def _decoded(path: Path, rate_hz: int) -> np.ndarray:
    samples, source_hz = io.read(path)
    return io.resample(io.to_mono(samples), source_hz, rate_hz)


def _rooms(options: Mixing, split: Split, rate_hz: int) -> Mapping[str, np.ndarray]:
    if not options.rir_dir:
        low, high = options.rt60_s
        count = getattr(options.rooms, split)
        return rooms.simulated(split, count, rate_hz=rate_hz, rt60_s=(low, high), seed=options.rooms_seed)
    found = {}
    for paths in by_kind(Path(options.rir_dir))[split].values():
        for path in paths:
            try:
                found[str(path.relative_to(options.rir_dir))] = rooms.read(path, rate_hz)
            except BadClip as error:
                raise UserError(f"{path}: no impulse response: {error}; remove it") from error
    return found


def _convolved(clean: np.ndarray, response: np.ndarray) -> np.ndarray:
    """`[N]`, whatever the length of the response."""
    found: np.ndarray = signal.fftconvolve(clean, response[: len(clean)])[: len(clean)]
    return found.astype(np.float32, copy=False)


def _power(samples: np.ndarray) -> float:
    """The mean square."""
    return float(np.mean(np.square(samples, dtype=np.float64)))


def _between(random: np.random.Generator, limits: Sequence[float]) -> float:
    low, high = limits
    return float(random.uniform(low, high))
