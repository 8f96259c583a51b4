"""The shape of the section `classification` of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field

from soundraft.params.base import Count, Positive, Section, Share

Size = Annotated[int, Field(ge=1, le=4096)]
Sizes = Annotated[list[Size], Field(min_length=1)]
Dropout = Annotated[float, Field(ge=0, lt=1)]
NotNegative = Annotated[float, Field(ge=0)]
Times = Annotated[int, Field(ge=0)]
EncoderType = Literal[
    "stacked_cnn_2d",
    "stacked_cnn",
    "parallel_cnn",
    "stacked_parallel_cnn",
    "rnn",
    "cnnrnn",
    "transformer",
    "wav2vec2",
    "hubert",
    "wavlm",
    "whisper",
    "ast",
]
CellType = Literal["lstm", "gru"]


class SpectraParams(Section):
    type: Literal["raw", "fbank", "stft", "stft_phase", "group_delay", "mel", "mfcc"]
    sample_rate_hz: Annotated[int, Field(ge=1000, le=192000)]
    window_length_in_s: Positive
    window_shift_in_s: Positive
    num_fft_points: Times
    window_type: Literal["hamming", "hann", "blackman", "bartlett"]
    num_filter_bands: Count
    num_coefficients: Count
    norm: Literal["none", "per_file"]


class StackedCNNParams(Section):
    num_filters: Size
    filter_sizes: Sizes
    pool_sizes: Sizes
    dropout: Dropout


class StackedCNN2DParams(Section):
    num_filters: Sizes
    filter_sizes: Sizes
    pool_sizes: Sizes
    band_pool_sizes: Sizes
    width: Size
    dropout: Dropout


class ParallelCNNParams(Section):
    num_filters: Size
    filter_sizes: Sizes
    pool_size: Size
    dropout: Dropout


class StackedParallelCNNParams(Section):
    num_stacks: Count
    num_filters: Size
    filter_sizes: Sizes
    pool_size: Size
    dropout: Dropout


class RNNParams(Section):
    cell_type: CellType
    num_layers: Count
    hidden_size: Size
    bidirectional: bool
    dropout: Dropout


class CNNRNNParams(Section):
    num_filters: Size
    filter_sizes: Sizes
    pool_sizes: Sizes
    cell_type: CellType
    num_layers: Count
    hidden_size: Size
    bidirectional: bool
    dropout: Dropout


class TransformerParams(Section):
    num_layers: Count
    hidden_size: Size
    num_heads: Count
    transformer_output_size: Size
    pool_size: Size
    dropout: Dropout


class PretrainedParams(Section):
    model: str
    revision: str
    trainable: bool


class EncoderParams(Section):
    type: EncoderType
    members: Annotated[int, Field(ge=1, le=16)]
    pooling: Literal["mixed", "statistics", "attention", "mean", "max"]
    num_fc_layers: Times
    output_size: Size
    fc_dropout: Dropout
    stacked_cnn_2d: StackedCNN2DParams
    stacked_cnn: StackedCNNParams
    parallel_cnn: ParallelCNNParams
    stacked_parallel_cnn: StackedParallelCNNParams
    rnn: RNNParams
    cnnrnn: CNNRNNParams
    transformer: TransformerParams
    pretrained: PretrainedParams


class AugmentParams(Section):
    time_masks: Times
    time_share: Share
    frequency_masks: Times
    frequency_share: Share
    time_shift: Share
    speed: Annotated[float, Field(ge=0, lt=1)]
    warp: Annotated[float, Field(ge=0, lt=1)]
    gain: NotNegative
    noise: NotNegative
    equalizer_db: NotNegative
    background: Share
    background_snr_db: list[float] = Field(min_length=2, max_length=2)
    mixup: NotNegative
    mixup_probability: Share
    label_smoothing: Share


class TrainerParams(Section):
    epochs: Count
    batch_size: Count
    learning_rate: Positive
    warmup_share: Share
    final_lr_share: Share
    weight_decay: NotNegative
    max_grad_norm: Positive
    early_stop: Times
    average_decay: Annotated[float, Field(ge=0, lt=1)]
    class_weights: Literal["none", "balanced", "sqrt"]
    sampling: Literal["shuffled", "balanced"]
    cycle_learning_rate: Positive


class Classification(Section):
    target: Annotated[str, Field(min_length=1)]
    inputs: list[Annotated[str, Field(pattern=r"^[^:]+:(category|number)$")]]
    channel: Annotated[str, Field(pattern=r"^(average|all|\d+)$")]
    audio_file_length_limit_in_s: NotNegative
    level_db: Annotated[float, Field(ge=-60, le=0)] | None
    features: SpectraParams
    encoder: EncoderParams
    trainer: TrainerParams
    augment: AugmentParams
