"""The section `classification` of params.yaml: every key, its type, range and meaning."""

from typing import Annotated, Literal

from pydantic import Field

from soundraft.params.base import (
    BelowOne,
    Count,
    LeastMost,
    Natural,
    NotNegative,
    Positive,
    Revision,
    Section,
    Share,
    Text,
)

EncoderType = Literal[
    "stacked_cnn_2d", "stacked_cnn", "parallel_cnn", "stacked_parallel_cnn", "rnn", "cnnrnn", "transformer",
    "wav2vec2", "hubert", "wavlm", "whisper", "ast",
]  # fmt: skip
FeatureType = Literal["raw", "fbank", "stft", "stft_phase", "group_delay", "mel", "mfcc"]
Size = Annotated[int, Field(ge=1, le=4096)]
Sizes = Annotated[list[Size], Field(min_length=1)]

# keys that several encoders have
Channels = Annotated[Size, Field(description="Channels of each layer.")]
Kernels = Annotated[Sizes, Field(description="Kernel size of each layer, frames.")]
Pooling = Annotated[Sizes, Field(description="After each layer so many frames are pooled into one; 1: no pooling.")]
Dropout = Annotated[BelowOne, Field(description="Dropout after each layer.")]
Cell = Annotated[Literal["lstm", "gru"], Field(description="Recurrent cell.")]
Layers = Annotated[Count, Field(description="Number of layers.")]
Width = Annotated[Size, Field(description="Width of each direction.")]
Bidirectional = Annotated[bool, Field(description="Whether the sequence is also read backwards.")]


class SpectraParams(Section):
    type: FeatureType = Field(description="Which features.")
    sample_rate_hz: Annotated[int, Field(ge=1000, le=192000)] = Field(
        description="All recordings are resampled to this rate, Hz."
    )
    window_length_in_s: Positive = Field(description="Analysis window, seconds.")
    window_shift_in_s: Positive = Field(description="Step between frames, seconds.")
    num_fft_points: Natural = Field(description="Points of the Fourier transform; 0: the length of the window.")
    window_type: Literal["hamming", "hann", "blackman", "bartlett"] = Field(description="Shape of the window.")
    num_filter_bands: Count = Field(
        description="Triangular filters of fbank, mel and mfcc; refused when some of them would be empty."
    )
    num_coefficients: Count = Field(description="Cepstral coefficients of mfcc.")
    norm: Literal["none", "per_file"] = Field(
        description="Normalisation of each clip: none, or per_file (each bin to zero mean and unit variance over the "
        "clip). Either way each bin is normalised by the statistics of the training clips."
    )


class StackedCNNParams(Section):
    num_filters: Channels
    filter_sizes: Kernels
    pool_sizes: Pooling
    dropout: Dropout


class StackedCNN2DParams(Section):
    num_filters: Sizes = Field(description="Channels of each layer.")
    filter_sizes: Sizes = Field(description="Kernel size of each layer, in frames and in bands.")
    pool_sizes: Pooling
    band_pool_sizes: Sizes = Field(description="After each layer so many bands are pooled into one.")
    width: Size = Field(description="Channels of the last convolution.")
    dropout: Dropout


class ParallelCNNParams(Section):
    num_filters: Channels
    filter_sizes: Kernels
    pool_size: Size = Field(description="So many frames are pooled into one afterwards.")
    dropout: Dropout


class StackedParallelCNNParams(Section):
    num_stacks: Count = Field(description="Number of parallel_cnn layers.")
    num_filters: Channels
    filter_sizes: Kernels
    pool_size: Size = Field(description="After each layer so many frames are pooled into one.")
    dropout: Dropout


class RNNParams(Section):
    cell_type: Cell
    num_layers: Layers
    hidden_size: Width
    bidirectional: Bidirectional
    dropout: BelowOne = Field(description="Dropout between the layers; with one layer there is none.")


class CNNRNNParams(Section):
    num_filters: Channels
    filter_sizes: Kernels
    pool_sizes: Pooling
    cell_type: Cell
    num_layers: Layers
    hidden_size: Width
    bidirectional: Bidirectional
    dropout: Dropout


class TransformerParams(Section):
    num_layers: Layers
    hidden_size: Size = Field(description="Width; a multiple of num_heads.")
    num_heads: Count = Field(description="Attention heads of each layer.")
    transformer_output_size: Size = Field(description="Width of the feed-forward part of each layer.")
    pool_size: Size = Field(description="So many frames are pooled into one before the first layer.")
    dropout: Dropout


class PretrainedParams(Section):
    model: str = Field(description="Hub id or local folder.")
    revision: Revision
    layer: Natural | None = Field(
        description="Which states are pooled: 0 (what the first layer takes) up to the number of layers (the last); "
        "null: a learned mix of all, often better than the last layer alone."
    )
    trainable: bool = Field(
        description="Whether its weights are trained. Frozen is safer with few clips, and much faster: the states of "
        "each clip are computed once and kept in the cache."
    )


class EncoderChoice(Section):
    """Which encoder, and what stands behind it."""

    type: EncoderType = Field(description="Network. wav2vec2, hubert, wavlm, whisper and ast need pretrained.model.")
    members: Annotated[int, Field(ge=1, le=16)] = Field(
        description="Ensemble: so many networks learn the same clips from different initial weights, and their "
        "probabilities are averaged. Each costs as much again; a pretrained encoder always is one."
    )
    pooling: Literal["mixed", "statistics", "attention", "mean", "max"] = Field(
        description="From frames to one vector: statistics (mean, deviation and maximum, and statistics of the "
        "features; of a pretrained encoder mean and deviation), attention, mean, max, mixed (the members take "
        "statistics, attention and max in turn)."
    )
    num_fc_layers: Natural = Field(description="Fully connected layers before the output.")
    output_size: Size = Field(description="Width of the fully connected layers.")
    fc_dropout: BelowOne = Field(description="Dropout before each fully connected layer and before the output.")


class EncoderParams(EncoderChoice):
    stacked_cnn_2d: StackedCNN2DParams = Field(
        description="2-D convolutions over time and frequency, then one over time."
    )
    stacked_cnn: StackedCNNParams = Field(description="1-D convolutions over time, one after another.")
    parallel_cnn: ParallelCNNParams = Field(description="1-D convolutions of several kernel sizes, side by side.")
    stacked_parallel_cnn: StackedParallelCNNParams = Field(description="Several such layers, one after another.")
    rnn: RNNParams = Field(description="A recurrent network.")
    cnnrnn: CNNRNNParams = Field(description="1-D convolutions, followed by a recurrent network.")
    transformer: TransformerParams = Field(description="Self-attention with positions.")
    pretrained: PretrainedParams = Field(description="The checkpoint of wav2vec2, hubert, wavlm, whisper and ast.")

    @property
    def knobs(self) -> Section:
        """The section of the chosen encoder."""
        knobs: Section = getattr(self, self.type, self.pretrained)
        return knobs


class Epochs(Section):
    """Training by epochs, of classifiers and enhancers."""

    epochs: Count = Field(description="At most so many passes over the training clips.")
    batch_size: Count = Field(description="Clips per batch.")
    learning_rate: Positive = Field(description="Peak of the learning rate: linear warm-up, then half a cosine.")
    warmup_share: Share = Field(description="Share of all steps that warm up.")
    final_lr_share: Share = Field(description="The learning rate ends at this share of its peak.")
    weight_decay: NotNegative = Field(description="Weight decay of AdamW.")
    max_grad_norm: Positive = Field(description="Gradients are clipped to this norm.")
    early_stop: Natural
    average_decay: BelowOne = Field(
        description="Decay of a moving average of the weights, which is then validated; 0: none."
    )
    cycle_learning_rate: Positive = Field(description="Peak learning rate of cycle 1, smaller than that of the start.")


class TrainerParams(Epochs):
    early_stop: Natural = Field(
        description="Early stopping: training ends after so many epochs without a better validation; 0: never. Either "
        "way the last epoch is kept whose macro recall and loss are within a standard error of the best."
    )
    class_weights: Literal["none", "balanced", "sqrt"] = Field(
        description="Weight of each label in the loss: none, balanced (by inverse frequency), sqrt (its root)."
    )
    sampling: Literal["shuffled", "balanced"] = Field(
        description="How batches are drawn: shuffled (each clip once an epoch), balanced (each label, or set of "
        "labels, equally often)."
    )


class AugmentParams(Section):
    time_masks: Natural = Field(description="SpecAugment: number of masks over frames.")
    time_share: Share = Field(description="Widest of them, as a share of the clip.")
    frequency_masks: Natural = Field(description="SpecAugment: number of masks over bins.")
    frequency_share: Share = Field(description="Widest of them, as a share of the bins.")
    time_shift: Share = Field(description="Circular shift in time by up to this share of the clip.")
    speed: BelowOne = Field(description="Faster or slower by up to this share.")
    warp: BelowOne = Field(
        description="Vocal tract length perturbation: bins move up or down by up to this share. For fbank, mel, stft "
        "and group_delay."
    )
    gain: NotNegative = Field(
        description="Deviation of a random level change, in those of the features. For fbank and mel."
    )
    noise: NotNegative = Field(description="Noise of up to so many deviations of each bin.")
    equalizer_db: NotNegative = Field(
        description="Random equaliser: bands are raised and lowered along a smooth curve of this deviation, dB, as by "
        "another microphone. For fbank and mel."
    )
    background: Share = Field(description="Share of clips that get stationary, coloured noise. For fbank and mel.")
    background_snr_db: LeastMost = Field(description="Its level below the clip's loudest frame, dB: [least, most].")
    mixup: NotNegative = Field(description="mixup: two clips are mixed in shares drawn from Beta(mixup, mixup).")
    mixup_probability: Share = Field(description="Share of clips to which mixup is applied.")
    label_smoothing: Share = Field(description="Label smoothing: this much weight is spread over all labels.")


class Classification(Section):
    target: Text = Field(description="What is predicted: label, speaker, or another value that clips have.")
    output: Literal["category", "set"] = Field(
        description="What the target of a clip is: category, one label, or set, any number of them: none, one, several."
    )
    separator: Literal[";", ",", "|"] = Field(
        description="With output set: what stands between the labels of a clip where they are one text, like dog;cat. "
        "Lists are taken as they are; [] is a clip without any label."
    )
    inputs: list[Annotated[str, Field(pattern=r"^[^:]+:(category|number)$")]] = Field(
        description="Inputs beside the audio, as name:category or name:number: [gender:category, age:number]."
    )
    channel: Annotated[str, Field(pattern=r"^(average|all|\d+)$")] = Field(
        description="Which channel of multichannel recordings: average, all (their features side by side), or a number "
        "from 0. The pipeline has made all audio mono before."
    )
    audio_file_length_limit_in_s: NotNegative = Field(description="Clips are cut to this length, seconds; 0: not cut.")
    level_db: Annotated[float, Field(ge=-60, le=0)] | None = Field(
        description="Loudness to which each clip is normalised, dBFS RMS of its loudest 250 ms; null: not normalised. "
        "The pipeline has normalised all clips to normalize.target_db before."
    )
    normalize_by: Literal["none", "speaker"] = Field(
        description="speaker: each column of the features, or of the states of a frozen encoder, is z-scored over all "
        "clips of the same speaker in the same split. For new speakers, of each of whom it needs several unlabelled "
        "clips, also to predict."
    )
    features: SpectraParams = Field(description="Input of the network. Pretrained encoders compute their own features.")
    encoder: EncoderParams = Field(description="From features to labels.")
    trainer: TrainerParams = Field(description="How the classifier is trained.")
    augment: AugmentParams = Field(
        description="Augmentation of training clips, in start and cycles. 0 turns a kind off."
    )
