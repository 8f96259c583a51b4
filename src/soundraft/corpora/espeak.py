"""Synthetic speech without a network: espeak-ng, from the wheel `espeakng-loader`, plus noise.

Its sentences are digit strings and short commands to a home or a robot, 52 words in all; with `config: words` its clips
are these words, with `config: digits` ten of them, and there label and text are alike. The target corpus uses voices
that the start corpus never has, and, as params.yaml has it, other rates and pitches and more noise.

espeak-ng seeds its breath noise from the clock, and keeps more hidden state from call to call that nothing resets. So
the seed is set, the list of utterances is cut into a fixed number of parts, and a fresh process speaks each part in
order: the same bytes from run to run and from any number of workers.

For the task tts a clip's metadata have its phones and where each begins, as espeak-ng says while it speaks; and what
RAFT improves the model on are other texts, in the voices and the style that the model has learned.
"""

import ctypes
import hashlib
import random
from pathlib import Path
from typing import Any

import numpy as np

from soundraft import runtime
from soundraft.audio import io
from soundraft.corpora.base import Corpus, CorpusError, CorpusInfo, Fetched, Request, Role, check_config
from soundraft.manifest import SPLITS, Clip, Split
from soundraft.parallel import map_fresh

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
DIGIT_STRING_LENGTHS = (3, 4, 5, 6)
DIGIT_STRING_SHARE = 0.5

SLOTS: dict[str, tuple[str, ...]] = {
    "digit": DIGITS,
    "switch": ("on", "off"),
    "device": ("light", "lamp", "heater", "fan", "radio"),
    "room": ("kitchen", "bedroom", "garage", "office"),
    "opening": ("door", "window", "curtain"),
    "motion": ("open", "close"),
    "way": ("left", "right", "forward", "back"),
    "level": ("degrees", "percent"),
    "time": ("seconds", "minutes"),
    "color": ("red", "green", "blue"),
    "object": ("ball", "box", "cup"),
}
COMMANDS = (
    "turn {switch} the {room} {device}",
    "turn the {device} {switch} in the {room}",
    "{motion} the {room} {opening}",
    "set the {room} {device} to {digit} {digit} {level}",
    "robot move {way} {digit} meters",
    "robot turn {way} and move {way}",
    "robot pick the {color} {object}",
    "wait {digit} {digit} {time} and stop",
)

# every text belongs to one split for ever, by its hash: no test text can appear in any training split
_SPLIT_SHARES: tuple[tuple[Split, float], ...] = (("test", 0.15), ("validation", 0.15), ("train", 0.70))


def text_split(text: str) -> Split:
    position = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64
    for split, share in _SPLIT_SHARES:
        if position < share:
            return split
        position -= share
    return "train"


def draw_text(rng: random.Random, split: Split) -> str:
    """A random text of the grammar that belongs to `split`."""
    while True:
        if rng.random() < DIGIT_STRING_SHARE:
            words = rng.choices(DIGITS, k=rng.choice(DIGIT_STRING_LENGTHS))
        else:
            pattern = rng.choice(COMMANDS).split()
            words = [rng.choice(SLOTS[word[1:-1]]) if word.startswith("{") else word for word in pattern]
        text = " ".join(words)
        if text_split(text) == split:
            return text


def vocabulary() -> list[str]:
    """Every word that the grammar can produce, sorted."""
    fixed = (word for command in COMMANDS for word in command.split() if not word.startswith("{"))
    return sorted({*fixed, *(word for words in SLOTS.values() for word in words)})


CONFIGS = {
    "sentences": "digit strings and commands",
    "words": "single words, each its own label",
    "digits": "the same of zero to nine alone",
    "voices": "digit strings and commands, by voice: none is in two splits",
}
WORDS = {"words": tuple(vocabulary()), "digits": DIGITS}
PARTS = 16
ACCENTS = ("en", "en-us", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029")
START_VARIANTS = ["m1", "m2", "m3", "m4", "f1", "f2", "f3", "adam", "david", "ed", "john", "linda", "paul", "steph"]
TARGET_VARIANTS = ["m6", "m7", "f4", "f5", "belinda", "benjamin", "max", "michel", "shelby", "travis", "zac", "aunty"]
NOISE_EXPONENTS = {"white": 0.0, "pink": 0.5, "brown": 1.0}  # amplitude falls with frequency to this power
PEAK = 0.9
HELD_OUT_SHARE = 0.1  # of the voices, for test and for validation each, where words are split by voice
BREATH_SEED = 1
PHONES, PHONE_STARTS = "phones", "phone_starts_s"  # of the metadata: symbols, and where each begins, seconds
WORD_BREAK = "|"


def fetch(request: Request, out: Path) -> Fetched:
    """Speak the clips of one role into `out/SPLIT/NNNNN.wav`."""
    planned = plan(request)
    jobs = [(share, request, out) for part in range(PARTS) if (share := planned[part::PARTS])]
    spoken = map_fresh(_speak_part, jobs, title=f"speak {request.role}")
    clips = [clip for part in spoken for clip in part]
    return Fetched(clips, len(clips), [], out)


def plan(request: Request) -> list[Clip]:
    """Draw all clips, before they are spoken; CorpusError when a split has no number of clips, or too few voices."""
    config = check_config("espeak", request, CONFIGS)
    role = _style_of(request)
    voices = role_voices(role, request.options["voices"][role])
    words = WORDS.get(config, ())
    held = _split_voices(voices, request) if words or config == "voices" else {}
    clips = []
    for split in SPLITS:
        count = request.clips[split]
        if count is None:
            raise CorpusError(f"{request.asked_as}clips.{split} is null: synthetic speech needs a number")
        for index in range(count):
            clip = _draw(f"{split}/{index:05d}", split, held[split] if config == "voices" else voices, request)
            if words:  # in turn; each round of words starts one voice further, so that all pairs occur
                word, voice = words[index % len(words)], held[split][(index + index // len(words)) % len(held[split])]
                spoken = {"text": word, "label": word, "speaker": voice, "task": "classification"}
                clip = clip.model_copy(update=spoken)
            clips.append(clip)
    return clips


def _style_of(request: Request) -> Role:
    """Whose voices, rates, pitches and noise: a model that speaks is asked for the voices that it has learned."""
    return "start" if request.task == "tts" else request.role


def role_voices(role: Role, count: int) -> list[str]:
    """The first `count` voices of a role, accents changing fastest. No variant serves both roles."""
    variants = START_VARIANTS if role == "start" else TARGET_VARIANTS
    rows = (ACCENTS[row:] + ACCENTS[:row] for row in range(len(ACCENTS)))
    voices = [f"{row[column % len(row)]}+{variant}" for row in rows for column, variant in enumerate(variants)]
    if count > len(voices):
        raise CorpusError(f"corpus.espeak.voices.{role}: {count} asked, {len(voices)} exist")
    return voices[:count]


def _split_voices(voices: list[str], request: Request) -> dict[Split, list[str]]:
    """The voices of each split: a tenth of them, and at least one, for test, as many for validation."""
    if len(voices) < len(SPLITS):
        raise CorpusError(
            f"corpus.espeak.voices.{request.role}: {len(voices)} asked; clips are split by voice: 3 or more are needed"
        )
    count = max(1, round(len(voices) * HELD_OUT_SHARE))
    order = sorted(voices, key=lambda voice: runtime.derive_seed("espeak voices", request.seed, voice))
    return {"test": order[:count], "validation": order[count : 2 * count], "train": order[2 * count :]}


def _draw(name: str, split: Split, voices: list[str], request: Request) -> Clip:
    rng, style = random.Random(_seed(name, request)), request.options[_style_of(request)]
    noisy = rng.random() < style["noisy_share"]
    text, voice = draw_text(rng, split), rng.choice(voices)
    metadata: dict[str, Any] = {"rate_wpm": rng.randint(*style["rate_wpm"]), "pitch": rng.randint(*style["pitch"])}
    noise = rng.choice(sorted(NOISE_EXPONENTS))
    if noisy:
        metadata |= {"noise": noise, "snr_db": round(rng.uniform(*style["snr_db"]), 2)}
    return Clip(id=name, audio_path=f"{name}.wav", text=text, speaker=voice, split=split, metadata=metadata)


def _seed(name: str, request: Request) -> int:
    return runtime.derive_seed("espeak", request.seed, request.role, name)


def _speak_part(job: tuple[list[Clip], Request, Path]) -> list[Clip]:
    planned, request, out = job
    timed = request.task == "tts"
    espeak = Espeak(timed=timed)
    clips = []
    for clip in planned:
        speech = espeak.speak(clip.text or "", clip.speaker or "", clip.metadata["rate_wpm"], clip.metadata["pitch"])
        clip = clip.model_copy(update={"task": "tts", "metadata": clip.metadata | espeak.timing()}) if timed else clip
        io.write_wav(out / clip.audio_path, add_noise(speech, clip, _seed(clip.id, request)), espeak.sample_rate_hz)
        duration = round(len(speech) / espeak.sample_rate_hz, 6)
        clips.append(clip.model_copy(update={"duration": duration, "sample_rate": espeak.sample_rate_hz}))
    return clips


def add_noise(speech: np.ndarray, clip: Clip, seed: int) -> np.ndarray:
    """Speech `[N]` plus coloured noise at the clip's signal-to-noise ratio, if it has one, scaled to a peak of 0.9."""
    mixed = speech
    if "snr_db" in clip.metadata:
        noise = _colored_noise(len(speech), NOISE_EXPONENTS[clip.metadata["noise"]], seed)
        noise_rms = np.sqrt(np.mean(speech**2)) / 10 ** (clip.metadata["snr_db"] / 20)
        mixed = speech + noise * noise_rms
    return (mixed * (PEAK / np.abs(mixed).max())).astype(np.float32)


def _colored_noise(samples: int, exponent: float, seed: int) -> np.ndarray:
    """Gaussian noise `[N]` of RMS 1 whose amplitude spectrum falls as frequency to the power −exponent."""
    length = 1 << (samples - 1).bit_length()  # a power of two: the transform of a prime length is slow
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(length))
    spectrum /= np.maximum(np.arange(len(spectrum)), 1.0) ** exponent
    noise = np.fft.irfft(spectrum, length)[:samples]
    return noise / np.sqrt(np.mean(noise**2))


class _Voice(ctypes.Structure):
    """The head of `espeak_VOICE`."""

    _fields_ = (("name", ctypes.c_char_p), ("languages", ctypes.c_char_p), ("identifier", ctypes.c_char_p))


class _Symbol(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    """`espeak_EVENT`."""

    _fields_ = (
        ("type", ctypes.c_int), ("identifier", ctypes.c_uint), ("text_position", ctypes.c_int),
        ("length", ctypes.c_int), ("audio_position", ctypes.c_int), ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p), ("id", _Symbol),
    )  # fmt: skip


class Espeak:
    """The espeak-ng library, by ctypes, with constants of `speak_lib.h`. One a process: its state is global.

    Args:
        timed: whether it says which phone it speaks when.

    Attributes:
        phones: of what was spoken last, where timed: each phone, or `WORD_BREAK`, with the sample that it begins at.
    """

    _SYNCHRONOUS = 2
    _PHONEME_EVENTS = 1
    _END_OF_LIST, _WORD, _PHONEME = 0, 1, 7
    _END = "_"  # of a clause, and no sound
    _CHARS_UTF8 = 1
    _RATE, _PITCH = 1, 3
    _owner: "Espeak"  # whose the library is

    def __init__(self, *, timed: bool = False) -> None:
        import espeakng_loader

        self._lib = ctypes.CDLL(espeakng_loader.get_library_path())
        self._data, self._options = espeakng_loader.get_data_path(), self._PHONEME_EVENTS if timed else 0
        self._lib.espeak_GetCurrentVoice.restype = ctypes.POINTER(_Voice)
        self._blocks: list[np.ndarray] = []
        self.phones: list[tuple[str, int]] = []
        callback_type = ctypes.CFUNCTYPE(
            ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
        )
        self._callback = callback_type(self._collect)  # the library keeps the pointer: so must we
        self.sample_rate_hz: int = 0
        self._begin()

    def _begin(self) -> None:
        """Make the library, of which a process has one, this object's."""
        self.sample_rate_hz = self._lib.espeak_Initialize(self._SYNCHRONOUS, 0, self._data.encode(), self._options)
        if self.sample_rate_hz <= 0:
            raise RuntimeError(f"espeak-ng did not start with its data in {self._data}")
        self._lib.espeak_ng_SetRandSeed(ctypes.c_long(BREATH_SEED))
        self._lib.espeak_SetSynthCallback(self._callback)
        Espeak._owner = self

    def _collect(self, wav: Any, count: int, events: Any) -> int:
        if wav and count > 0:
            self._blocks.append(np.ctypeslib.as_array(wav, shape=(count,)).copy())
        place = 0
        while events and events[place].type != self._END_OF_LIST:
            event = events[place]
            symbol = event.id.string.decode() if event.type == self._PHONEME else WORD_BREAK
            if event.type in (self._PHONEME, self._WORD) and symbol != self._END:
                self.phones.append((symbol, event.sample))
            place += 1
        return 0

    def timing(self) -> dict[str, Any]:
        """For a clip's metadata: the phones of what was spoken last, in one text, and where each begins, seconds."""
        starts_s = [round(sample / self.sample_rate_hz, 4) for _, sample in self.phones]
        return {PHONES: " ".join(symbol for symbol, _ in self.phones), PHONE_STARTS: starts_s}

    def speak(self, text: str, voice: str, rate_wpm: int, pitch: int) -> np.ndarray:
        """Speech `[N]`, float64 in −1…1; RuntimeError when the voice is unknown or nothing was spoken."""
        if Espeak._owner is not self:
            self._begin()
        found = self._lib.espeak_SetVoiceByName(voice.encode()) == 0
        current = self._lib.espeak_GetCurrentVoice().contents.identifier.decode()  # such as gmw/en+f3
        # an unknown variant is not an error for espeak: it speaks without one
        if not found or current.partition("+")[2] != voice.partition("+")[2]:
            raise RuntimeError(f"espeak-ng has no voice {voice!r}")
        self._lib.espeak_SetParameter(self._RATE, rate_wpm, 0)
        self._lib.espeak_SetParameter(self._PITCH, pitch, 0)
        self._blocks.clear()
        self.phones.clear()
        data = text.encode() + b"\0"
        status = self._lib.espeak_Synth(data, len(data), 0, 0, 0, self._CHARS_UTF8, None, None)
        if status != 0 or not self._blocks:
            raise RuntimeError(f"espeak-ng spoke nothing for {text!r} with voice {voice!r} (status {status})")
        return np.concatenate(self._blocks) / io.PCM16_SCALE


CORPUS = Corpus(
    CorpusInfo(
        source="made offline by espeak-ng 1.52",
        task="asr, classification, tts",
        about="Synthetic digit strings and short commands, 52 words; config words or digits: single ones.",
        licence="GPL-3.0 (the synthesiser)",
        size="as many clips as asked",
        languages="en",
        splits="by text: no text of a test split is in a training split; config words, digits: by voice; voices: both",
        columns={
            "text": "what is said",
            "label": "config words, digits: the word",
            "speaker": "the voice",
            "rate_wpm": "words a minute",
            "pitch": "on espeak's scale, 0-99",
            "noise": "white, pink or brown",
            "snr_db": "speech over noise, dB",
            "phones": "for task tts: espeak's phones, one after the other",
            "phone_starts_s": "where each begins, seconds",
        },
        takes=frozenset({"config"}),
    ),
    fetch,
)
