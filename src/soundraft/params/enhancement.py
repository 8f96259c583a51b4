"""The section `enhancement` of params.yaml, with its mixing: every key, its type, range and meaning."""

from itertools import combinations
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from soundraft.params.base import BelowOne, Count, LeastMost, Natural, NotNegative, Section, Share
from soundraft.params.classification import Epochs, TrainerParams
from soundraft.runtime import UserError

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


NetworkName = Literal["sub_band", "wiener_correction", "recurrent", "wiener", "identity"]
MeasureName = Literal["sdr", "stoi", "pesq", "dnsmos"]
UNTRAINED = ("identity", "wiener")


class LossWeights(Section):
    si_sdr: NotNegative = Field(description="Scale-invariant SDR, dB.")
    sdr: NotNegative = Field(description="SDR in which a filter of filter_taps on the clean speech is no error, dB.")
    compressed: NotNegative = Field(description="Squared error of the magnitudes to the power 0.3.")
    mse: NotNegative = Field(description="Squared error of the samples.")
    mae: NotNegative = Field(description="Absolute error of the samples.")
    spectral_mse: NotNegative = Field(description="Squared error of the complex spectrum.")
    spectral_mae: NotNegative = Field(description="Absolute error of the complex spectrum.")

    @model_validator(mode="after")
    def _one_counts(self) -> "LossWeights":
        if not any(self.leaves().values()):
            raise ValueError("all are 0: give at least one part of the loss a weight above 0")
        return self


class EnhancerLoss(Section):
    weights: LossWeights = Field(description="The loss is the weighted sum of the parts; 0 leaves a part out.")
    filter_taps: Count = Field(description="Length of the filter that the part sdr allows, samples; NeMo takes 512.")


class EnhancerTrainer(Epochs):
    epochs: Natural = Field(description="At most so many passes over the training clips, each mixed with new noise.")
    early_stop: Natural = Field(
        description="Training ends after so many epochs without a better SI-SDR on validation; 0: never."
    )

    def of_epochs(self) -> TrainerParams:
        """As the training loop takes them; clips of speech have no labels to weigh or to balance."""
        return TrainerParams(**self.model_dump(), class_weights="none", sampling="shuffled")


class CandidateParams(Section):
    bands: Annotated[int, Field(ge=2)] = Field(description="Noise on a clip's mask has so many values over frequency.")
    frames: Count = Field(description="And one value in so many frames; between them it is interpolated.")
    deviation: NotNegative = Field(description="Its standard deviation, in logits of the mask.")
    offset: NotNegative = Field(description="Standard deviation of what is added to the whole mask, in those of above.")
    learned: Literal["mask", "waveform"] = Field(
        description="What is learned of a candidate: mask (the squared distance of the mask's logits), waveform (the "
        "loss, as if the candidate were clean speech)."
    )


class RewardWeights(Section):
    sisdr: NotNegative = Field(description="SI-SDR: 0 at -10 dB, 1 at 30 dB.")
    estoi: NotNegative = Field(description="ESTOI.")
    pesq: NotNegative = Field(description="PESQ, 1 to 4.64 as 0 to 1; needs the package pesq.")
    dnsmos: NotNegative = Field(description="DNSMOS, 1 to 5 as 0 to 1; needs the packages speechmos and onnxruntime.")
    recognizer: NotNegative = Field(description="Probability per token of the transcript under the recogniser.")

    @model_validator(mode="after")
    def _one_counts(self) -> "RewardWeights":
        if not any(self.leaves().values()):
            raise ValueError("all are 0: give at least one part of the reward a weight above 0")
        return self


class Enhancement(Section):
    network: NetworkName = Field(
        description="What makes the mask: sub_band (a small recurrent network for all bands corrects the Wiener "
        "filter), wiener_correction (a large one for all bins at once does), recurrent (a recurrent network alone), "
        "wiener (the filter, which learns nothing), identity (no enhancement)."
    )
    sample_rate_hz: Annotated[int, Field(ge=4000, le=48000)] = Field(description="Sampling rate of the model, Hz.")
    fft_length: Annotated[int, Field(ge=64, le=4096, multiple_of=2)] = Field(
        description="Length of window and Fourier transform, samples."
    )
    hop_length: Annotated[int, Field(ge=16, le=2048)] = Field(
        description="Step between frames, samples; at most half of fft_length."
    )
    width: Annotated[int, Field(ge=4, le=4096)] = Field(description="Width of the network.")
    layers: Count = Field(description="Recurrent layers.")
    bidirectional: bool = Field(description="Whether the recurrent layers also read the clip backwards.")
    mask_floor: BelowOne = Field(description="No part of the input is attenuated below this factor.")
    mixing: Mixing = Field(description="How noisy speech is made of clean speech.")
    loss: EnhancerLoss = Field(description="What training on clean speech minimises.")
    trainer: EnhancerTrainer = Field(description="How the start model is trained.")
    candidates: CandidateParams = Field(
        description="What RAFT samples of a clip: the mask with smooth noise added; the first one is the mask itself."
    )
    reward: RewardWeights = Field(
        description="Weights of the parts of the reward; 0 leaves a part out. A single one is soon exploited."
    )
    recognizer: str = Field(
        description="Folder or hub id of a recogniser: it makes the reward's part recognizer, and the report shows its "
        "error rate on noisy and enhanced speech where transcripts are known. Empty: none."
    )
    measures: list[MeasureName] = Field(description="Measured beside SI-SDR and ESTOI: sdr, stoi, pesq, dnsmos.")

    @model_validator(mode="after")
    def _fits_together(self) -> "Enhancement":
        if self.hop_length > self.fft_length // 2:
            raise ValueError(
                f"hop_length: got {self.hop_length}; allowed: at most half of fft_length, {self.fft_length // 2}"
            )
        if self.reward.recognizer and not self.recognizer:
            raise ValueError("reward.recognizer has a weight, but recognizer names none: name a folder or a hub id")
        return self

    @property
    def learns(self) -> bool:
        """Whether the start model is trained."""
        return self.network not in UNTRAINED and self.trainer.epochs > 0

    def check_cycles(self, train: Any) -> None:
        """Raise UserError where cycles are asked of what cannot learn."""
        if self.network in UNTRAINED and train.cycles:
            raise UserError(f"enhancement.network: {self.network} learns nothing: set train.cycles to 0")

    def check_with(self, train: Any) -> None:
        """Raise ValueError where the section `train` asks for what an enhancer cannot do."""
        if train.algorithm in ("grpo", "mwer"):
            raise ValueError(
                f"train.algorithm: {train.algorithm} needs the probability of an answer, and an enhancer gives none; "
                "take raft, sft, self_training or random"
            )
        if (train.lora.rank, train.freeze, train.gradient_checkpointing, train.precision) != (
            0,
            "none",
            False,
            "float32",
        ):
            raise ValueError(
                "train.lora.rank, train.freeze, train.gradient_checkpointing and train.precision are for speech "
                "recognition: with task: enhancement leave them 0, none, false and float32"
            )
