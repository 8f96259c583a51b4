"""The shape of params.yaml: every key, its type and its range."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from soundraft.params.base import Count, Positive, Section, Share
from soundraft.params.classification import Classification

CorpusName = Literal[
    "espeak",
    "fsdd",
    "librispeech",
    "common_voice",
    "fleurs",
    "voxceleb",
    "audioset",
    "speech_commands",
    "esc50",
    "urbansound8k",
    "emodb",
    "minds14",
    "speech_massive",
    "folder",
    "jsonl",
    "hub",
    "python",
]
BANDWIDTHS_KBPS = (1.5, 3.0, 6.0, 12.0, 24.0)
Materialize = Literal["copy", "link", "none", "embed"]
FindingCode = Literal[
    "bad_ecdc",
    "missing_sidecar",
    "bad_sidecar",
    "bad_shape",
    "frame_mismatch",
    "dtype_mismatch",
    "fps_mismatch",
    "duplicate_names",
    "names_length_mismatch",
    "missing_features",
    "missing_names",
    "norm_invalid",
    "norm_length_mismatch",
    "norm_inverted",
    "range_below_min",
    "range_above_max",
    "range_unverifiable",
    "auditor_error",
]


class SplitSizes(Section):
    train: Count | None
    validation: Count | None
    test: Count | None


class CorpusChoice(Section):
    name: CorpusName
    path: str
    split: str
    limit: Annotated[int, Field(ge=0)]
    revision: str
    config: str
    language: str
    columns: list[Annotated[str, Field(pattern=r"^[^=]+=[^=]+$")]]
    labels: list[str]
    fold: Count
    clips: SplitSizes


class VoiceCounts(Section):
    start: Annotated[int, Field(ge=1, le=98)]
    target: Annotated[int, Field(ge=1, le=84)]


class SpeechStyle(Section):
    rate_wpm: list[Annotated[int, Field(ge=80, le=450)]] = Field(min_length=2, max_length=2)
    pitch: list[Annotated[int, Field(ge=0, le=99)]] = Field(min_length=2, max_length=2)
    noisy_share: Share
    snr_db: list[float] = Field(min_length=2, max_length=2)

    @model_validator(mode="after")
    def _ascending(self) -> "SpeechStyle":
        for name in ("rate_wpm", "pitch", "snr_db"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name}: [least, most] is the wrong way round: {low} > {high}")
        return self


class Espeak(Section):
    voices: VoiceCounts
    start: SpeechStyle
    target: SpeechStyle


class Fsdd(Section):
    test_takes: Count
    validation_takes: Count


class Corpus(Section):
    seed: Annotated[int, Field(ge=0)]
    start: CorpusChoice
    target: CorpusChoice
    espeak: Espeak
    fsdd: Fsdd


class Limits(Section):
    max_bad_fraction: Share


class Normalize(Section):
    sample_rate_hz: Annotated[int, Field(ge=4000, le=192000)]
    target_db: Annotated[float, Field(ge=-60, le=0)]
    window_s: Positive
    silence_db: Annotated[float, Field(le=0)]
    min_duration_s: Positive
    on_clipping: Literal["limit", "report"]


class Encodec(Section):
    checkpoint: Annotated[str, Field(min_length=1)]
    revision: str
    bandwidth_kbps: float
    container: Literal["esf", "encodec"]

    @field_validator("bandwidth_kbps")
    @classmethod
    def _is_a_step(cls, value: float) -> float:
        if value not in BANDWIDTHS_KBPS:
            raise ValueError(f"got {value}; allowed: {', '.join(map(str, BANDWIDTHS_KBPS))}")
        return value


class Sidecar(Section):
    dtype: Literal["float16", "float32"]
    producers_dir: Annotated[str, Field(min_length=1)]
    producers: list[Annotated[str, Field(min_length=1)]]
    arguments: list[str]


class Audit(Section):
    require: list[str]
    verify_ranges: bool
    range_tolerance: Annotated[float, Field(ge=0)]
    fail_on: list[FindingCode]
    max_failing_fraction: Share


class DatasetForm(Section):
    materialize: Materialize


class ScratchModel(Section):
    sample_rate_hz: Annotated[int, Field(ge=4000, le=48000)]
    mel_bins: Annotated[int, Field(ge=8, le=256)]
    window_s: Positive
    hop_s: Positive
    hidden_size: Annotated[int, Field(ge=8)]
    layers: Count
    attention_heads: Count
    subsampling: Literal[2, 4, 8]
    dropout: Annotated[float, Field(ge=0, lt=1)]

    @model_validator(mode="after")
    def _heads_divide_width(self) -> "ScratchModel":
        if self.hidden_size % self.attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of attention_heads {self.attention_heads}"
            )
        return self


class Model(Section):
    checkpoint: Annotated[str, Field(min_length=1)]
    revision: str
    language: str
    scratch: ScratchModel


class SupervisedStart(Section):
    batch_size: Count
    learning_rate: Positive


class Masking(Section):
    masks: Annotated[int, Field(ge=0)]
    frequency_bins: Annotated[int, Field(ge=0)]
    time_share: Share


class Lora(Section):
    rank: Annotated[int, Field(ge=0)]
    alpha: Positive
    dropout: Annotated[float, Field(ge=0, lt=1)]


class Train(Section):
    epochs: Annotated[int, Field(ge=0)]
    supervised: SupervisedStart
    algorithm: Literal["raft", "grpo", "mwer", "sft", "self_training", "random"]
    cycles: Annotated[int, Field(ge=0)]
    rounds_per_cycle: Count
    samples_per_prompt: Count
    temperature: Positive
    reward_threshold: Share
    keep_top_percent: Annotated[float, Field(gt=0, le=100)]
    learning_rate: Positive
    lr_decay_per_cycle: Annotated[float, Field(gt=0, le=1)]
    min_lr: Annotated[float, Field(ge=0)]
    warmup_share: Share
    final_lr_share: Share
    weight_decay: Annotated[float, Field(ge=0)]
    max_grad_norm: Positive
    group_size: Annotated[int, Field(ge=2)]
    ratio_clip: Annotated[float, Field(gt=0, lt=1)]
    best_weight: Share
    reference_weight: Share
    kl_weight: Annotated[float, Field(ge=0)]
    presentations_per_cycle: Count
    replay_fraction: Annotated[float, Field(ge=0, lt=1)]
    batch_size: Count
    gradient_accumulation_steps: Count
    masking: Masking
    lora: Lora
    freeze: Literal["none", "features", "encoder"]
    gradient_checkpointing: bool
    precision: Literal["float32", "bfloat16"]

    @model_validator(mode="after")
    def _divergence_fits_the_algorithm(self) -> "Train":
        if self.kl_weight and self.algorithm not in ("grpo", "mwer"):
            raise ValueError(f"kl_weight: {self.algorithm} has no such term; set it to 0.0, or take grpo or mwer")
        return self


class RewardGuards(Section):
    repeats: Count
    length_ratio: Annotated[float, Field(ge=1)]


class PartWeights(Section):
    agreement: Annotated[float, Field(ge=0)]
    words: Annotated[float, Field(ge=0)]
    vocabulary: Annotated[float, Field(ge=0)]
    length: Annotated[float, Field(ge=0)]
    language: Annotated[float, Field(ge=0)]
    stability: Annotated[float, Field(ge=0)]

    @model_validator(mode="after")
    def _one_counts(self) -> "PartWeights":
        if not any(self.leaves().values()):
            raise ValueError("all are 0: give at least one part of the reward a weight above 0")
        return self


class UnsupervisedParts(Section):
    weights: PartWeights
    unit: Literal["word", "character"]
    characters_per_s: list[Positive] = Field(min_length=2, max_length=2)
    language_order: Count
    success_threshold: Share

    @model_validator(mode="after")
    def _ascending(self) -> "UnsupervisedParts":
        low, high = self.characters_per_s
        if low > high:
            raise ValueError(f"characters_per_s: [least, most] is the wrong way round: {low} > {high}")
        return self


class Perturbation(Section):
    speeds: list[Annotated[float, Field(ge=0.5, le=2)]]
    noise_snr_db: float


class LabelParams(Section):
    aliases: list[Annotated[str, Field(pattern=r"^[^=]+=[^=]+$")]]
    ignore_case: bool
    fuzzy_threshold: Share


class RewardParams(Section):
    kind: Literal["reference", "unsupervised"]
    normalizer: Literal["none", "basic", "whisper-english", "whisper-multilingual"]
    wer_threshold: Annotated[float, Field(ge=0)]
    cer_weight: Share
    clipped: bool
    guards: RewardGuards
    unsupervised: UnsupervisedParts
    perturbation: Perturbation
    labels: LabelParams


class Evaluate(Section):
    bootstrap_samples: Annotated[int, Field(ge=100)]
    table_rows: Count


class Benchmark(Section):
    clips: Count
    warmup: Annotated[int, Field(ge=0)]
    repeats: Count


class Params(Section):
    task: Literal["asr", "classification"]
    seed: Annotated[int, Field(ge=0)]
    corpus: Corpus
    limits: Limits
    normalize: Normalize
    encodec: Encodec
    sidecar: Sidecar
    audit: Audit
    dataset: DatasetForm
    model: Model
    classification: Classification
    train: Train
    reward: RewardParams
    evaluate: Evaluate
    benchmark: Benchmark

    @model_validator(mode="after")
    def _samples_can_be_compared(self) -> "Params":
        agreement = self.reward.kind == "unsupervised" and self.reward.unsupervised.weights.agreement
        sampled = self.train.algorithm not in ("sft", "self_training")
        needs = self.train.algorithm in ("grpo", "mwer") or (agreement and sampled)
        if needs and self.train.samples_per_prompt < 2:
            raise ValueError(
                "train.samples_per_prompt: got 1; grpo, mwer and reward.unsupervised.weights.agreement compare the "
                "samples of a clip: draw 2 or more"
            )
        return self

    @model_validator(mode="after")
    def _unread_transcripts_stay_unread(self) -> "Params":
        if self.reward.kind == "unsupervised" and self.train.reference_weight:
            raise ValueError(
                "train.reference_weight learns the transcripts of corpus.target, which reward.kind: unsupervised does "
                "not read: set one of them back"
            )
        return self

    @model_validator(mode="after")
    def _classifiers_are_small(self) -> "Params":
        """What of `train` is for pretrained recognisers would be an error only after the start was trained."""
        options = self.train
        plain = (options.lora.rank, options.freeze, options.gradient_checkpointing, options.precision)
        if self.task == "classification" and plain != (0, "none", False, "float32"):
            raise ValueError(
                "train.lora.rank, train.freeze, train.gradient_checkpointing and train.precision are for speech "
                "recognition: with task: classification leave them 0, none, false and float32, and see "
                "classification.encoder.pretrained.trainable"
            )
        return self

    @model_validator(mode="after")
    def _labels_have_references(self) -> "Params":
        if self.task == "classification" and self.reward.kind == "unsupervised":
            raise ValueError("reward.kind: unsupervised scores transcripts; task: classification needs reference")
        return self

    @model_validator(mode="after")
    def _something_to_start_from(self) -> "Params":
        if self.model.checkpoint == "scratch" and self.train.epochs == 0:
            raise ValueError(
                "train.epochs: 0 takes a pretrained model as it is, but model.checkpoint is scratch: "
                "name a checkpoint, or train for 1 epoch or more"
            )
        return self
