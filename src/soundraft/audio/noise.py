"""Synthetic noise of many kinds: each a function of a generator, so that a seed gives the same samples everywhere."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from scipy import fft

BABBLE = "babble"  # made of speech that is given, not of a generator alone
TALKERS = 8
LOOP_FADE_S = 0.02
_LOWEST_HZ = 20.0
_CURVES = 5
_TABLE = 8192  # points of a period: its steps are 70 dB below it

Generator = np.random.Generator
Kind = Callable[[Generator, int, int], np.ndarray]


def looped(noise: np.ndarray, samples: int, rate_hz: int, *, start: int = 0) -> np.ndarray:
    """`samples` of `[N]` from `start` on, which begins again where it ends, in a crossfade of equal power.

    The end fades out while the beginning fades in, so that a period is as much shorter than the noise as a fade lasts.
    """
    if start + samples <= len(noise):
        return noise[start : start + samples]
    fade = min(round(LOOP_FADE_S * rate_hz), len(noise) // 2)
    angle = (np.arange(fade, dtype=np.float32) + 0.5) * np.float32(np.pi / 2 / max(fade, 1))
    end = len(noise) - fade
    period = np.concatenate([noise[end:] * np.cos(angle) + noise[:fade] * np.sin(angle), noise[fade:end]])
    return period[(start + np.arange(samples)) % len(period)]


def babble(random: Generator, samples: int, rate_hz: int, speech: Sequence[np.ndarray]) -> np.ndarray:
    """Talkers at one level, each from a random place on and begun again until there are `samples`."""
    total = np.zeros(samples, dtype=np.float32)
    for talker in speech:
        level = float(np.sqrt(np.mean(np.square(talker, dtype=np.float64))))
        if level > 0:
            total += looped(talker, samples, rate_hz, start=int(random.integers(len(talker)))) / np.float32(level)
    return total


def filtered(signal: np.ndarray, rate_hz: int, gain: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """`[N]` with the gain of each frequency (Hz), without delay."""
    size = fft.next_fast_len(len(signal), real=True)
    spectrum = fft.rfft(signal.astype(np.float32, copy=False), size)
    spectrum *= gain(np.arange(len(spectrum), dtype=np.float32) * np.float32(rate_hz / size)).astype(np.float32)
    found: np.ndarray = fft.irfft(spectrum, size)[: len(signal)]
    return found


def coloured(random: Generator, samples: int, rate_hz: int, gain: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Gaussian noise `[samples]` with the amplitude of each frequency (Hz)."""
    size = fft.next_fast_len(max(samples, 2), real=True)
    parts = random.standard_normal((2, size // 2 + 1), dtype=np.float32)
    spectrum = (parts[0] + 1j * parts[1]).astype(np.complex64)
    spectrum *= gain(np.arange(len(spectrum), dtype=np.float32) * np.float32(rate_hz / size)).astype(np.float32)
    spectrum[0] = 0
    found: np.ndarray = fft.irfft(spectrum, size)[:samples]
    return found


def curve(random: Generator, depth_db: float) -> Callable[[np.ndarray], np.ndarray]:
    """A smooth random gain: cosines over the octaves from 20 Hz to 20 kHz, of a standard deviation of `depth_db`."""
    heights = random.normal(0.0, depth_db * np.sqrt(2 / _CURVES), _CURVES)

    def gain(frequencies: np.ndarray) -> np.ndarray:
        places = np.log10(np.maximum(frequencies, _LOWEST_HZ) / _LOWEST_HZ) / 3
        waves = np.cos(np.pi * np.outer(np.arange(1, _CURVES + 1), places).astype(np.float32))
        found: np.ndarray = 10 ** ((heights.astype(np.float32) @ waves) / 20)
        return found

    return gain


def _power_law(exponent: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda frequencies: np.maximum(frequencies, _LOWEST_HZ) ** np.float32(exponent)


def _band(low_hz: float, high_hz: float, order: int = 4) -> Callable[[np.ndarray], np.ndarray]:
    """Butterworth's amplitudes, of a high-pass and a low-pass."""

    def gain(frequencies: np.ndarray) -> np.ndarray:
        ratio = np.maximum(frequencies, 1.0)
        found: np.ndarray = 1 / np.sqrt((1 + (low_hz / ratio) ** (2 * order)) * (1 + (ratio / high_hz) ** (2 * order)))
        return found

    return gain


def _resonances(centres_hz: Sequence[float], width_hz: float, floor: float) -> Callable[[np.ndarray], np.ndarray]:
    def gain(frequencies: np.ndarray) -> np.ndarray:
        peaks = [1 / (1 + ((frequencies - centre) / width_hz) ** 2) for centre in centres_hz]
        found: np.ndarray = floor + np.sum(peaks, axis=0)
        return found

    return gain


def _wander(random: Generator, samples: int, rate_hz: int, per_s: float) -> np.ndarray:
    """A random curve `[samples]` of unit variance that takes new values `per_s` times a second."""
    knots = random.standard_normal(int(samples / rate_hz * per_s) + 3)
    places = np.arange(samples, dtype=np.float32) * np.float32(per_s / rate_hz) + np.float32(random.random())
    return np.interp(places, np.arange(len(knots)), knots).astype(np.float32)


def _level(random: Generator, samples: int, rate_hz: int, per_s: float, depth_db: float) -> np.ndarray:
    found: np.ndarray = 10 ** (_wander(random, samples, rate_hz, per_s) * np.float32(depth_db / 20))
    return found


def _wave(phase: np.ndarray, amplitudes: Sequence[float] | np.ndarray) -> np.ndarray:
    """Harmonics 1, 2, … of a fundamental whose phase `[N]` is in turns."""
    spectrum = np.zeros(_TABLE // 2 + 1, dtype=np.complex64)
    spectrum[1 : 1 + len(amplitudes)] = -0.5j * _TABLE * np.asarray(amplitudes)
    period = fft.irfft(spectrum, _TABLE)
    found: np.ndarray = period[(phase * _TABLE).astype(np.int64) % _TABLE]
    return found


def _phase(frequency_hz: np.ndarray | float, samples: int, rate_hz: int) -> np.ndarray:
    if isinstance(frequency_hz, float):
        return np.arange(samples) * (frequency_hz / rate_hz)
    return np.cumsum(frequency_hz, dtype=np.float64) / rate_hz


def _events(random: Generator, samples: int, rate_hz: int, per_s: float, spread_db: float) -> np.ndarray:
    """Impulses `[samples]` at random times, at least one."""
    count = max(1, int(random.poisson(per_s * samples / rate_hz)))
    found = np.zeros(samples, dtype=np.float32)
    heights = 10 ** (random.normal(0, spread_db, count) / 20) * random.choice([-1.0, 1.0], count)
    np.add.at(found, random.integers(0, samples, count), heights.astype(np.float32))
    return found


def _ringing(impulses: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Impulses `[N]`, each followed by the response `[M]`."""
    size = fft.next_fast_len(len(impulses) + len(response) - 1, real=True)
    product = fft.rfft(impulses, size) * fft.rfft(response.astype(np.float32), size)
    found: np.ndarray = fft.irfft(product, size)[: len(impulses)]
    return found


def _decay(rate_hz: int, seconds: float) -> np.ndarray:
    """To −60 dB in so many seconds."""
    time_s = np.arange(max(2, round(seconds * rate_hz)), dtype=np.float32) / rate_hz
    return np.exp(-6.9 * time_s / seconds)


def white(random: Generator, samples: int, rate_hz: int) -> np.ndarray:
    return random.standard_normal(samples, dtype=np.float32)


def pink(random: Generator, samples: int, rate_hz: int) -> np.ndarray:
    return coloured(random, samples, rate_hz, _power_law(-0.5))


def brown(random: Generator, samples: int, rate_hz: int) -> np.ndarray:
    return coloured(random, samples, rate_hz, _power_law(-1.0))


def blue(random: Generator, samples: int, rate_hz: int) -> np.ndarray:
    return coloured(random, samples, rate_hz, _power_law(0.5))


def band(random: Generator, samples: int, rate_hz: int) -> np.ndarray:
    """Of a third of an octave to three octaves."""
    low = float(np.exp(random.uniform(np.log(60), np.log(0.3 * rate_hz))))
    return coloured(random, samples, rate_hz, _band(low, low * 2 ** random.uniform(1 / 3, 3)))


def uneven(random: Generator, samples: int, rate_hz: int) -> np.ndarray:
    """A random smooth spectrum."""
    return coloured(random, samples, rate_hz, curve(random, 12.0))


def modulated(random: Generator, samples: int, rate_hz: int) -> np.ndarray:
    """Its level goes up and down, .5 to 8 times a second."""
    steady = coloured(random, samples, rate_hz, curve(random, 10.0))
    return steady * _level(random, samples, rate_hz, random.uniform(0.5, 8), random.uniform(4, 10))


def bursts(random: Generator, samples: int, rate_hz: int) -> np.ndarray:
    """Noise that comes and goes, over a faint bed."""
    steady = coloured(random, samples, rate_hz, curve(random, 10.0))
    gate = _wander(random, samples, rate_hz, random.uniform(1, 6)) > random.uniform(-0.2, 0.8)
    return steady * (0.05 + gate.astype(np.float32))


def hum(random: Generator, samples: int, rate_hz: int) -> np.ndarray:
    """Of the mains: 50 or 60 Hz and its harmonics, with some noise."""
    base = float(random.choice([50.0, 60.0])) * random.uniform(0.998, 1.002)
    amplitudes = random.exponential(1, 16) / np.arange(1, 17) ** random.uniform(0.3, 1.2)
    tone = _wave(_phase(float(base), samples, rate_hz), amplitudes)
    return tone + np.float32(random.uniform(0.005, 0.1)) * coloured(random, samples, rate_hz, _power_law(-0.3))


def tones(random: Generator, samples: int, rate_hz: int) -> np.ndarray:
    """One to five tones that waver, over a faint bed."""
    total = 0.03 * random.standard_normal(samples, dtype=np.float32)
    for _ in range(int(random.integers(1, 6))):
        centre = float(np.exp(random.uniform(np.log(150), np.log(0.4 * rate_hz))))
        wavering = centre * (1 + random.uniform(0, 0.03) * _wander(random, samples, rate_hz, random.uniform(1, 8)))
        total += np.float32(random.uniform(0.3, 1)) * _wave(_phase(wavering, samples, rate_hz), [1.0])
    return total


def sweeps(random: Generator, samples: int, rate_hz: int) -> np.ndarray:
    """A tone with overtones that rises and falls, as a siren does."""
    low = random.uniform(300, 800)
    high, rate = low * random.uniform(1.5, 3), random.uniform(0.2, 4)
    swing = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(samples) / rate_hz * rate + random.random()))
    tone = _wave(_phase(low * (high / low) ** swing, samples, rate_hz), [1.0, 0.5, 0.25, 0.12][: 1 + rate_hz // 8000])
    return tone + 0.02 * random.standard_normal(samples, dtype=np.float32)


def clicks(random: Generator, samples: int, rate_hz: int) -> np.ndarray:
    """Short knocks at random times, over a faint bed."""
    response = _decay(rate_hz, random.uniform(0.01, 0.15))
    response = response * coloured(random, len(response), rate_hz, curve(random, 10.0))
    found = _ringing(_events(random, samples, rate_hz, random.uniform(2, 20), 5.0), response)
    bed = coloured(random, samples, rate_hz, _power_law(-0.5))
    return found / _rms(found) + np.float32(random.uniform(0.02, 0.2)) * bed / _rms(bed)


def fan(random: Generator, samples: int, rate_hz: int) -> np.ndarray:
    """Rushing air that the blades beat."""
    blades = float(random.uniform(30, 180))
    phase = _phase(blades, samples, rate_hz)
    beat = 1 + np.float32(random.uniform(0.1, 0.5)) * _wave(phase, [1.0])
    air = filtered(coloured(random, samples, rate_hz, _power_law(-0.6)), rate_hz, curve(random, 4.0))
    whirr = _wave(phase, random.exponential(1, 8) / np.arange(1, 9))
    return beat * air / _rms(air) + np.float32(random.uniform(0.05, 0.5)) * whirr


def wind(random: Generator, samples: int, rate_hz: int) -> np.ndarray:
    """A rumble in gusts, with a whistle in some."""
    rumble = coloured(random, samples, rate_hz, _power_law(-random.uniform(1.0, 1.6)))
    whistle = coloured(random, samples, rate_hz, _resonances([random.uniform(300, 1500)], 80.0, 0.0))
    gusts = _level(random, samples, rate_hz, random.uniform(0.4, 2), 7.0)
    share = np.float32(random.uniform(0, 0.3))
    return gusts * (rumble / _rms(rumble) + share * gusts * whistle / _rms(whistle))


def murmur(random: Generator, samples: int, rate_hz: int) -> np.ndarray:
    """As of a crowd far away: bands where speech has its formants, each with the rhythm of syllables."""
    total = np.zeros(samples, dtype=np.float32)
    for _ in range(int(random.integers(3, 7))):
        centres = [random.uniform(*span) for span in ((250, 900), (900, 2300), (2300, 3500))]
        voice = coloured(random, samples, rate_hz, _resonances(centres, 120.0, 0.02))
        voice *= np.maximum(_wander(random, samples, rate_hz, random.uniform(4, 9)), -0.3) + 0.3
        total += voice / _rms(voice)
    return total


def surf(random: Generator, samples: int, rate_hz: int) -> np.ndarray:
    """Waves that swell and break, brighter where they are loud."""
    swell = 0.5 + 0.5 * np.sin(2 * np.pi * (np.arange(samples) / rate_hz * random.uniform(0.1, 0.4) + random.random()))
    dark, bright = (coloured(random, samples, rate_hz, _power_law(exponent)) for exponent in (-0.9, -0.1))
    return (dark / _rms(dark) * (0.3 + swell) + bright / _rms(bright) * swell**3).astype(np.float32)


def drill(random: Generator, samples: int, rate_hz: int) -> np.ndarray:
    """A motor with a harsh buzz, which is pressed and let go."""
    base = random.uniform(80, 250) * (1 + 0.05 * _wander(random, samples, rate_hz, 2.0))
    buzz = _wave(_phase(base, samples, rate_hz), random.uniform(0.3, 1, 20) / np.arange(1, 21) ** 0.4)
    grind = coloured(random, samples, rate_hz, _band(1000, 0.45 * rate_hz))
    pressed = 0.3 + (_wander(random, samples, rate_hz, 1.5) > 0).astype(np.float32)
    return pressed * (buzz / _rms(buzz) + grind / _rms(grind))


def bells(random: Generator, samples: int, rate_hz: int) -> np.ndarray:
    """Strokes whose partials are no harmonics and ring out, over a faint bed."""
    decay = _decay(rate_hz, random.uniform(0.5, 2.0))
    base = random.uniform(300, 900)
    partials = [base * ratio for ratio in (0.5, 1, 1.19, 1.5, 2, 2.66, 3.01) if base * ratio < 0.45 * rate_hz]
    time_s = np.arange(len(decay)) / rate_hz
    ring = decay * sum(random.uniform(0.2, 1) * np.sin(2 * np.pi * hz * time_s) for hz in partials)
    found = _ringing(_events(random, samples, rate_hz, random.uniform(0.5, 3), 3.0), ring)
    return found / _rms(found) + np.float32(0.05) * random.standard_normal(samples, dtype=np.float32)


def engine(random: Generator, samples: int, rate_hz: int) -> np.ndarray:
    """Firings, 15 to 60 a second and never quite even, through a resonant pipe, with the noise of the machine."""
    firing = random.uniform(15, 60) * (1 + 0.06 * _wander(random, samples, rate_hz, 1.5))
    turns = np.floor(_phase(firing, samples, rate_hz)).astype(np.int64)
    strokes = np.flatnonzero(np.diff(turns, prepend=turns[0] - 1))
    pulses = np.zeros(samples, dtype=np.float32)
    pulses[strokes] = 1 + 0.2 * random.standard_normal(len(strokes), dtype=np.float32)
    pipe = _resonances([random.uniform(60, 150), random.uniform(200, 500), random.uniform(700, 1500)], 60.0, 0.02)
    exhaust = filtered(pulses, rate_hz, pipe)
    machine = coloured(random, samples, rate_hz, _power_law(-0.7))
    return exhaust / _rms(exhaust) + np.float32(random.uniform(0.2, 0.6)) * machine / _rms(machine)


def rain(random: Generator, samples: int, rate_hz: int) -> np.ndarray:
    """Drops on something that rings for milliseconds, before the hiss of all that fall farther away."""
    drop = _decay(rate_hz, random.uniform(0.004, 0.02))
    drop = drop * coloured(random, len(drop), rate_hz, _band(random.uniform(300, 1500), 0.45 * rate_hz, 2))
    near = _ringing(_events(random, samples, rate_hz, random.uniform(50, 400), 6.0), drop)
    far = coloured(random, samples, rate_hz, _band(random.uniform(500, 1500), 0.4 * rate_hz, 1))
    return near / _rms(near) + np.float32(random.uniform(0.4, 1.2)) * far / _rms(far)


def traffic(random: Generator, samples: int, rate_hz: int) -> np.ndarray:
    """A distant roar, and vehicles that pass: louder and brighter, then away."""
    roar = coloured(random, samples, rate_hz, _power_law(-0.9))
    total = roar / _rms(roar)
    time_s = np.arange(samples, dtype=np.float32) / rate_hz
    for _ in range(1 + int(random.poisson(samples / rate_hz / 3))):
        tyres = coloured(random, samples, rate_hz, _band(random.uniform(150, 400), random.uniform(1000, 2500), 1))
        distance = (time_s - random.uniform(0, samples / rate_hz)) / random.uniform(0.5, 2)
        total += np.float32(random.uniform(1, 3)) * tyres / _rms(tyres) / (1 + distance**2)
    return total


def _rms(signal: np.ndarray) -> np.float32:
    """At least a little above 0, to divide by."""
    return np.float32(max(float(np.sqrt(np.mean(np.square(signal)))), 1e-9))


KINDS: Mapping[str, Kind] = {
    kind.__name__: kind
    for kind in (
        white, pink, brown, blue, band, uneven, modulated, bursts, hum, tones, sweeps, clicks, fan, wind, murmur,
        surf, drill, bells, engine, rain, traffic,
    )
}  # fmt: skip
