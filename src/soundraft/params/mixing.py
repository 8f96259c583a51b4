"""The keys `enhancement.mixing` of params.yaml: how noisy speech is made of clean speech."""

from itertools import combinations
from typing import Annotated, Literal

from pydantic import Field, model_validator

from soundraft.params.base import LeastMost, Natural, NotNegative, Section, Share

NoiseKind = Literal[
    "white", "pink", "brown", "blue", "band", "uneven", "modulated", "bursts", "hum", "tones", "sweeps", "clicks",
    "fan", "wind", "murmur", "surf", "drill", "bells", "engine", "rain", "traffic", "babble",
]  # fmt: skip
Codec = Literal["opus", "vorbis", "mp3", "mulaw"]
Kinds = Annotated[list[NoiseKind], Field(min_length=1)]
RoomCount = Annotated[int, Field(ge=1, le=10_000)]
SlowerFaster = Annotated[list[Annotated[float, Field(ge=0.5, le=2)]], Field(min_length=2, max_length=2)]


class NoiseKinds(Section):
    train: Kinds = Field(description="Kinds of noise in the train split.")
    validation: Kinds = Field(description="Kinds in validation. No kind is in two splits.")
    test: Kinds = Field(description="Kinds in test; babble is made of the speech of the same split.")

    @model_validator(mode="after")
    def _apart(self) -> "NoiseKinds":
        named: dict[str, list[NoiseKind]] = {"train": self.train, "validation": self.validation, "test": self.test}
        for (one, kinds), (other, others) in combinations(named.items(), 2):
            if shared := sorted(set(kinds) & set(others)):
                raise ValueError(f"kinds: {', '.join(shared)} in {one} and in {other}; no kind may be in two splits")
        return self


class RoomCounts(Section):
    train: RoomCount = Field(description="Simulated rooms of the train split.")
    validation: RoomCount = Field(description="Other ones, of validation.")
    test: RoomCount = Field(description="Other ones, of test.")


class Mixing(Section):
    noise_probability: Share = Field(description="Share of clips to which noise is added.")
    kinds: NoiseKinds = Field(description="Kinds of noise that are made here; not read where noise_dir is given.")
    noise_dir: str = Field(
        description="Folder of recordings of noise, instead of noise made here. Folders in it (three or more) are "
        "kinds, else each file is one; a kind stays in one split. Empty: none."
    )
    snr_db: LeastMost = Field(description="Signal-to-noise ratio in training, dB, drawn evenly: [least, most].")
    held_out_snr_db: list[float] = Field(
        min_length=1, description="Signal-to-noise ratios in validation and test, dB; each clip has one of them."
    )
    second_noise_probability: Share = Field(description="Share of training clips with noise of two kinds, one upon it.")
    equalizer_db: NotNegative = Field(
        description="Noise of training passes a random smooth equaliser of this standard deviation, dB; 0: none."
    )
    room_probability: Share = Field(description="Share of clips that are spoken in a room.")
    rooms: RoomCounts = Field(description="How many rooms are simulated, once; not read where rir_dir is given.")
    rooms_seed: Natural = Field(description="Seed of the simulated rooms. Another seed: other rooms.")
    rt60_s: Annotated[list[Annotated[float, Field(ge=0.1, le=2)]], Field(min_length=2, max_length=2)] = Field(
        description="Reverberation time of simulated rooms, seconds: [least, most], 0.1 to 2."
    )
    rir_dir: str = Field(
        description="Folder of room impulse responses (their first channel), split as noise_dir is. Empty: none."
    )
    target: Literal["early", "dry"] = Field(
        description="Target of speech in a room, aligned with the direct sound: early (direct sound and 50 ms after "
        "it), dry (the clip itself)."
    )
    speed_probability: Share = Field(description="Share of training clips that are played at another speed.")
    speed: SlowerFaster = Field(description="Which speeds: [least, most], 0.5 to 2.")
    lowpass_probability: Share = Field(description="Share of clips whose noisy side is low-passed.")
    lowpass_hz: LeastMost = Field(description="Cut-off, Hz: [least, most].")
    clipping_probability: Share = Field(description="Share of clips whose noisy side is clipped.")
    clipping_db: LeastMost = Field(description="How far below its peak, dB: [least, most].")
    codec_probability: Share = Field(description="Share of clips whose noisy side passes through a lossy codec.")
    codecs: list[Codec] = Field(min_length=1, description="Which codecs, each as likely, at random qualities.")

    @model_validator(mode="after")
    def _ascending(self) -> "Mixing":
        for name in ("snr_db", "rt60_s", "speed", "lowpass_hz", "clipping_db"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name}: [least, most] is the wrong way round: {low} > {high}")
        if self.lowpass_hz[0] <= 0 or self.clipping_db[0] < 0:
            raise ValueError("lowpass_hz is above 0, clipping_db from 0")
        return self
