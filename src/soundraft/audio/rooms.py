"""Impulse responses of simulated rooms (image sources, pyroomacoustics), made once and kept in the cache."""

from importlib.metadata import version
from pathlib import Path

import numpy as np
from safetensors.numpy import load, save

from soundraft import files, runtime
from soundraft.audio import io
from soundraft.files import content_of
from soundraft.parallel import progress_over
from soundraft.runtime import BadClip

FORMAT = 1
EARLY_S = 0.05
LEAST_SIZE_M, MOST_SIZE_M = (3.0, 3.0, 2.4), (8.0, 6.0, 3.5)
FROM_WALL_M, LEAST_APART_M = 0.5, 0.5
MOST_ORDER = (
    40  # of reflections; more of them change the measured reverberation time by 5 %, and cost three times as much
)
_LEAST_LEVEL = 1e-4  # of the direct sound: what comes after the last sample so loud is cut


def simulated(split: str, count: int, *, rate_hz: int, rt60_s: tuple[float, float], seed: int) -> dict[str, np.ndarray]:
    """Responses `[L]` of the rooms of one split by their names; see `aligned`. No two splits share a room."""
    depends = [FORMAT, split, count, rate_hz, list(rt60_s), seed, version("pyroomacoustics")]
    kept = runtime.cache_root() / "rooms" / f"{content_of(repr(depends).encode())}.safetensors"
    names = [f"{split}-{number:04d}" for number in range(count)]
    if not kept.is_file():
        shown = progress_over(names, total=count, title=f"rooms of {split}", unit="room")
        made = {name: _room(runtime.derive_seed("room", seed, name), rate_hz, rt60_s) for name in shown}
        files.write_bytes(kept, save(made))
    found = load(kept.read_bytes())
    return {name: found[name] for name in names}


def read(path: Path, rate_hz: int) -> np.ndarray:
    """The response in the first channel of a file, `[L]`; see `aligned`.

    Raises:
        BadClip: when the file cannot be read, or is silent.
    """
    samples, source_hz = io.read(path)
    return aligned(io.resample(np.ascontiguousarray(samples[:, 0]), source_hz, rate_hz))


def aligned(response: np.ndarray) -> np.ndarray:
    """From the direct sound (the peak) on, which is made 1: speech keeps its place and the level of its direct sound.

    Raises:
        BadClip: when it is silent.
    """
    place = int(np.argmax(np.abs(response)))
    peak = float(response[place])
    if peak == 0:
        raise BadClip("a silent impulse response")
    after = (response[place:] / peak).astype(np.float32)
    return after[: int(np.flatnonzero(np.abs(after) >= _LEAST_LEVEL)[-1]) + 1]


def _room(seed: int, rate_hz: int, rt60_s: tuple[float, float]) -> np.ndarray:
    """A box, a talker and a microphone at random places."""
    import pyroomacoustics as pra

    random = np.random.default_rng(seed)
    rt60 = random.uniform(*rt60_s)
    size, absorption, order = _walls(random, rt60)
    talker, microphone = _places(random, size)
    threads = pra.constants.get("num_threads")
    pra.constants.set("num_threads", 1)  # the last bits depend on how many there are
    try:
        room = pra.ShoeBox(size, fs=rate_hz, materials=pra.Material(absorption), max_order=min(order, MOST_ORDER))
        room.add_source(talker)
        room.add_microphone(microphone)
        room.compute_rir()
    finally:
        pra.constants.set("num_threads", threads)
    return aligned(room.rir[0][0])


def _walls(random: np.random.Generator, rt60: float) -> tuple[np.ndarray, float, int]:
    """The size of a room, the absorption that gives it this reverberation time, and the order of reflections."""
    import pyroomacoustics as pra

    while True:
        size = random.uniform(LEAST_SIZE_M, MOST_SIZE_M)
        try:
            return size, *pra.inverse_sabine(rt60, size)
        except ValueError:  # even open windows for walls would reverberate longer: a smaller room
            continue


def _places(random: np.random.Generator, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    while True:
        one, other = random.uniform(FROM_WALL_M, size - FROM_WALL_M, (2, 3))
        if np.linalg.norm(one - other) >= LEAST_APART_M:
            return one, other
