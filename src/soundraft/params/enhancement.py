"""The section `enhancement` of params.yaml: every key, its type, range and meaning."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from soundraft.params.base import BelowOne, Count, Natural, NotNegative, Section
from soundraft.params.classification import Epochs, TrainerParams
from soundraft.params.mixing import Mixing
from soundraft.runtime import UserError

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
