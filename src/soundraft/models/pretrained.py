"""Pretrained encoders of transformers for classification: frozen or tuned, with their own feature extractors.

Of a frozen encoder the states of all layers are the features of a clip: they are computed once, and kept on disk by
the content of the clip and of the weights. What a clip gives does not depend on its batch: models of raw waves run
clips of one length at a time, without padding, because the smaller ones normalise over all frames of the padded clip;
Whisper sees the part of its window that the clip fills, whose padding is masked; AST sees its whole window, and only
what the clip fills of it is pooled.

Letters: B clips, T frames, F columns of features, L layers (the input of the first one too), H width.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xxhash
from torch import nn
from torch.nn.functional import gelu

from soundraft.models import checkpoints
from soundraft.models.base import ModelError, alike, describe_extractor, length_mask, pad
from soundraft.models.encoders import Sized, blank
from soundraft.models.networks import Pooling, deviation, log_probabilities, mean, usable
from soundraft.params.classification import PretrainedParams

WAVES = ("wav2vec2", "hubert", "wavlm")
_MODEL_TYPES = {**{name: name for name in WAVES}, "whisper": "whisper", "ast": "audio-spectrogram-transformer"}
PRETRAINED = tuple(_MODEL_TYPES)
AST_WINDOW_SAMPLES, AST_HOP_SAMPLES = 400, 160  # 25 and 10 ms of Kaldi's filter bank at 16 kHz
AST_TOKENS = 2  # in front of the patches: class and distillation
STATISTICS = "statistics"
WIDEST = 5.0  # standard deviations of the training clips; what lies beyond is cut to it
FITTED_CLIPS = 16  # whose states are computed at once


class PretrainedFront:
    """Features as a model's own extractor makes them, without the padding of its window."""

    def __init__(self, name: str, extractor: Any, config: Any) -> None:
        self.name, self.extractor, self.config = name, extractor, config
        self.sample_rate_hz: int = extractor.sampling_rate
        self.columns = 0 if name in WAVES else int(extractor.feature_size if name == "whisper" else config.num_mel_bins)
        self.decibels = 0.0  # log-mels, but scaled, and cut at each clip's loudest
        self.bands = self.columns

    @property
    def least_samples(self) -> int:
        if self.name not in WAVES:
            return AST_WINDOW_SAMPLES if self.name == "ast" else 1
        samples = 1
        for kernel, stride in reversed(list(zip(self.config.conv_kernel, self.config.conv_stride, strict=True))):
            samples = (samples - 1) * stride + kernel
        return samples

    def __call__(self, samples: np.ndarray) -> torch.Tensor:
        if len(samples) < self.least_samples:
            raise ModelError(f"a clip of {len(samples)} samples; {self.name} takes {self.least_samples} or more")
        if self.name == "whisper":
            # two more than the clip's: windows are centred, so that the first of silence still include its end
            frames = -(-len(samples) // self.extractor.hop_length) + 2
            size = min(self.extractor.n_samples, (frames + 2) * self.extractor.hop_length)
            values = self.extractor(samples, sampling_rate=self.sample_rate_hz, max_length=size, return_tensors="pt")
            return values["input_features"][0].T[:frames].clone()
        values = self.extractor(samples, sampling_rate=self.sample_rate_hz, return_tensors="pt")
        if self.name in WAVES:
            return values["input_values"][0]
        return values["input_values"][0][: max(1, 1 + (len(samples) - AST_WINDOW_SAMPLES) // AST_HOP_SAMPLES)].clone()

    def depends_on(self) -> dict[str, Any]:
        return describe_extractor(self.extractor)

    def save(self, folder: Path) -> None:
        self.config.save_pretrained(folder)
        self.extractor.save_pretrained(folder)


class Encoder:
    """An encoder of transformers with the geometry of its window; no module, so that its reader alone holds weights.

    Attributes:
        window_frames, window_s: the longest clip that it takes; 0 and infinite where there is no window.
    """

    def __init__(self, name: str, model: Any, front: PretrainedFront) -> None:
        self.name, self.model, self.config = name, model, front.config
        self.width = int(front.config.d_model if name == "whisper" else front.config.hidden_size)
        self.layers = 1 + int(front.config.encoder_layers if name == "whisper" else front.config.num_hidden_layers)
        self.silence = -front.extractor.mean / (2 * front.extractor.std) if name == "ast" else 0.0
        self.window_frames, self.window_s = 0, math.inf
        if name not in WAVES:
            self.window_frames = front.extractor.nb_max_frames if name == "whisper" else front.extractor.max_length
            hop = front.extractor.hop_length if name == "whisper" else AST_HOP_SAMPLES
            self.window_s = self.window_frames * hop / front.sample_rate_hz

    def outputs(self, features: Sequence[torch.Tensor], **options: Any) -> Any:
        """What the model gives for clips of one length, or in whole windows."""
        if self.name == "whisper":
            # zeros behind a clip are its quietest value: the extractor cuts 8 below the loudest
            inputs = torch.stack([self.filled(clip, float(clip.min())) for clip in features]).transpose(1, 2)
        elif self.name == "ast":
            inputs = torch.stack([self.filled(clip, self.silence) for clip in features])
        else:
            inputs = torch.stack(list(features))
        return self.model(inputs.to(self._device), **options)

    def states(self, features: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Of each clip the states of every layer, in the part of a window that it fills: `[T, L, H]`."""
        if self.name == "whisper":
            return self._of_whisper(features)
        found: dict[int, torch.Tensor] = {}
        for indices in alike(features) if self.name in WAVES else [list(range(len(features)))]:
            outputs = self.outputs([features[index] for index in indices], output_hidden_states=True)
            layers = torch.stack([*outputs.hidden_states[:-1], outputs.last_hidden_state], dim=2)
            if self.name == "ast":
                layers = self._without_bands(layers)
            for index, clip in zip(indices, layers, strict=True):
                found[index] = clip if self.name in WAVES else clip[: self._patches(len(features[index]))]
        return [found[index] for index in range(len(features))]

    def filled(self, clip: torch.Tensor, value: float) -> torch.Tensor:
        """`[T, F]` → a whole window."""
        window = clip.new_full((self.window_frames, clip.shape[1]), value)
        window[: len(clip)] = clip[: self.window_frames]
        return window

    def _of_whisper(self, features: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Its first positions alone: a window of 30 s costs 15 times what a clip of 2 s does."""
        frames, lengths = pad([clip[: self.window_frames] for clip in features])
        frames, lengths, model = frames.to(self._device), lengths.to(self._device), self.model
        # what is padded is 0 before each convolution, as beyond the end of a clip that is alone
        frames = blank(gelu(model.conv1(frames.transpose(1, 2))).transpose(1, 2), lengths)
        frames, lengths = gelu(model.conv2(frames.transpose(1, 2))).transpose(1, 2), (lengths + 1) // 2
        hidden = frames + model.embed_positions.weight[: frames.shape[1]]
        seen = length_mask(lengths, frames.shape[1])[:, None, None, :]
        hides = None if bool(seen.all()) else torch.zeros_like(seen, dtype=hidden.dtype).masked_fill(~seen, -math.inf)
        if hides is not None:
            hides = hides.expand(-1, 1, frames.shape[1], -1)
        states = [hidden]
        for layer in model.layers:
            found = layer(states[-1], attention_mask=hides)
            states.append(found[0] if isinstance(found, tuple) else found)
        layers = torch.stack([*states[:-1], model.layer_norm(states[-1])], dim=2)
        # the last two frames of the features reach beyond the clip
        ends = [max(1, (len(clip) - 1) // 2) for clip in features]
        return [clip[:end] for clip, end in zip(layers, ends, strict=True)]

    def _without_bands(self, layers: torch.Tensor) -> torch.Tensor:
        """`[B, tokens, L, H]` → the mean over the patches of one time, `[B, T, L, H]`."""
        bands = (self.config.num_mel_bins - self.config.patch_size) // self.config.frequency_stride + 1
        return layers[:, AST_TOKENS:].unflatten(1, (bands, -1)).mean(1)

    def _patches(self, frames: int) -> int:
        """How many of AST's patches over time a clip of so many frames fills."""
        return max(1, -(-(frames - self.config.patch_size) // self.config.time_stride) + 1)

    @property
    def _device(self) -> torch.device:
        found: torch.device = next(self.model.parameters()).device
        return found


def summary(states: torch.Tensor, pooling: str) -> torch.Tensor:
    """States `[T, L, H]` → what a head learns from: `[T, L·H]`, or of statistics mean and deviation, `[1, L·2·H]`."""
    if pooling != STATISTICS:
        return states.flatten(1)
    clip, length = states.flatten(1)[None], torch.tensor([len(states)], device=states.device)
    found = torch.stack([mean(clip, length), deviation(clip, length)], dim=1)  # [1, 2, L·H]
    return found.unflatten(2, states.shape[1:]).transpose(1, 2).flatten(1)


class FrozenFront:
    """Features that a frozen encoder computes: `summary` of the states of a clip."""

    bands, decibels = 0, 0.0

    def __init__(self, front: PretrainedFront, encoder: Encoder, pooling: str) -> None:
        self.front, self.encoder, self.pooling = front, encoder, pooling
        self.sample_rate_hz = front.sample_rate_hz
        self.columns = encoder.layers * encoder.width * (2 if pooling == STATISTICS else 1)

    def __call__(self, samples: np.ndarray) -> torch.Tensor:
        with torch.no_grad():
            (states,) = self.encoder.states([self.front(samples)])
            return summary(states, self.pooling).cpu()

    def depends_on(self) -> dict[str, Any]:
        kind = STATISTICS if self.pooling == STATISTICS else "frames"
        return {**self.front.depends_on(), "states": kind, "weights": self._weights()}

    def save(self, folder: Path) -> None:
        self.front.save(folder)

    def _weights(self) -> str:
        """A hash of names and values."""
        content = xxhash.xxh3_128()
        for name, value in sorted(self.encoder.model.state_dict().items()):
            content.update(name.encode())
            content.update(value.detach().cpu().contiguous().numpy().data)
        return content.hexdigest()


class PretrainedReader(Sized):
    """Features of each clip → a vector a clip, `[B, width]`: z-scored states, one layer or a mix of all, pooled.

    Features are a clip's summary, or, of an encoder that is trained, what its extractor makes. The weights of the mix
    are learned, equal at first (as of Yang et al., SUPERB, arXiv 2105.01051).
    """

    def __init__(self, encoder: Encoder, *, pooling: str, layer: int | None, trainable: bool) -> None:
        super().__init__()
        if layer is not None and layer >= encoder.layers:
            raise ModelError(f"encoder.layer: got {layer}; {encoder.name} has 0 to {encoder.layers - 1}")
        self.name, self.states, self.trainable, self.layer = encoder.name, encoder, trainable, layer
        self.encoder = encoder.model.requires_grad_(trainable).eval()
        self.kind = pooling
        parts = 2 if pooling == STATISTICS else 1
        self.mean: torch.Tensor
        self.std: torch.Tensor
        self.register_buffer("mean", torch.zeros(encoder.layers * parts * encoder.width))
        self.register_buffer("std", torch.ones(encoder.layers * parts * encoder.width))
        self.mix = None if layer is not None else nn.Parameter(torch.zeros(encoder.layers))
        self.pooling = None if pooling == STATISTICS else Pooling(pooling, encoder.width)
        self.width = encoder.width * parts

    def train(self, mode: bool = True) -> "PretrainedReader":
        """A frozen encoder stays as in inference."""
        if self.trainable:
            super().train(mode)
            return self
        self.training = mode
        for part in self.children():
            if part is not self.encoder:
                part.train(mode)
        return self

    def forward(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        frames, lengths = pad(self._summaries(features))
        frames, lengths = frames.to(self.mean.device), lengths.to(self.mean.device)
        scored = ((frames - self.mean) / self.std).clamp(-WIDEST, WIDEST).unflatten(2, (self.states.layers, -1))
        if self.mix is None:
            mixed = scored[:, :, self.layer]
        else:
            mixed = torch.einsum("l,btlh->bth", torch.softmax(self.mix, 0), scored)
        return mixed[:, 0] if self.pooling is None else self.pooling(mixed, lengths)

    def fit(self, features: Sequence[torch.Tensor]) -> None:
        """Take mean and deviation of every column of the training clips' summaries."""
        with torch.no_grad():
            rows = torch.cat([clip.cpu() for clip in self._summaries(features, at_once=FITTED_CLIPS)]).double()
        self.mean.copy_(rows.mean(0))
        self.std.copy_(usable(rows.std(0, correction=0)))

    def _summaries(self, features: Sequence[torch.Tensor], at_once: int = 0) -> list[torch.Tensor]:
        if not self.trainable:
            return list(features)
        size = at_once or len(features)
        parts = [features[start : start + size] for start in range(0, len(features), size)]
        return [summary(states, self.kind) for part in parts for states in self.states.states(part)]


class HubClassifier(nn.Module):
    """A classifier of transformers as it is, with its own head, in the place of a `ClassifierNetwork`."""

    def __init__(self, name: str, model: nn.Module, front: PretrainedFront, *, sets: bool = False) -> None:
        super().__init__()
        self.sets = sets
        self.encoder = model.requires_grad_(False)
        self.whole = Encoder(name, model, front)

    def forward(self, features: Sequence[torch.Tensor], side: torch.Tensor) -> torch.Tensor:
        """As of `ClassifierNetwork`, without side inputs."""
        rows: dict[int, torch.Tensor] = {}
        with torch.no_grad():
            for indices in alike(features) if self.whole.name in WAVES else [list(range(len(features)))]:
                logits = self.whole.outputs([features[index] for index in indices]).logits
                rows |= zip(indices, logits, strict=True)
        return log_probabilities(torch.stack([rows[index] for index in range(len(features))]), sets=self.sets)


def open_pretrained(
    name: str,
    options: PretrainedParams,
    *,
    pooling: str,
    channel: str,
    length_limit_s: float,
    configuration: Path | None,
) -> tuple[PretrainedReader, PretrainedFront | FrozenFront]:
    """An encoder and what makes its features; from `configuration`, a folder of `save`, without its weights.

    Raises:
        ModelError: when the model cannot be loaded, is of another kind, or takes less than the limit.
    """
    from transformers import AutoModel

    if not options.model:
        raise ModelError(f"encoder.model: {name} needs the hub id or the folder of a pretrained model")
    if channel == "all":
        raise ModelError(f"channel: all: {name} takes one channel; there are: a number from 0, average")
    try:
        source = str(configuration) if configuration else checkpoints.place_of(options.model)
        revision = None if configuration else options.revision or None
        kind, encoder, extractor = _open(AutoModel, source, revision, random=configuration is not None)
    except ModelError as error:
        raise ModelError(f"encoder.model: {error}") from error
    if kind != name:
        raise ModelError(f"encoder.type is {name}, but {source} is a {kind}")
    encoder = encoder.get_encoder() if name == "whisper" else encoder
    front = PretrainedFront(name, extractor, encoder.config)
    opened = Encoder(name, encoder, front)
    if (length_limit_s or math.inf) > opened.window_s:
        raise ModelError(f"length limit of {length_limit_s} s (0: none): {name} takes {opened.window_s:.1f} s at most")
    reader = PretrainedReader(opened, pooling=pooling, layer=options.layer, trainable=options.trainable)
    return reader, front if options.trainable else FrozenFront(front, opened, pooling)


def open_hub_classifier(name: str, *, sets: bool = False) -> tuple[HubClassifier, PretrainedFront]:
    """A classifier of transformers by its folder or hub id; ModelError when it cannot be used.

    Args:
        sets: whether each of its labels is a yes or no of its own.
    """
    from transformers import AutoModelForAudioClassification

    kind, model, extractor = _open(AutoModelForAudioClassification, checkpoints.place_of(name))
    front = PretrainedFront(kind, extractor, model.config)
    return HubClassifier(kind, model, front, sets=sets), front


def _open(loader: Any, source: str, revision: str | None = None, *, random: bool = False) -> tuple[str, Any, Any]:
    """The kind of a checkpoint (of `PRETRAINED`), its model and feature extractor; `random`: weights come later."""
    from transformers import AutoFeatureExtractor

    config = checkpoints.config_of(source, revision)
    kind = _kind(source, config)
    with checkpoints.loading(source):
        extractor = AutoFeatureExtractor.from_pretrained(source, revision=revision)
    model = checkpoints.load_model(loader, source, config, revision, weights=not random)
    return kind, model, extractor


def kind_of(name: str, revision: str | None) -> str:
    """Which of `PRETRAINED` an encoder is; ModelError when it is none of these."""
    source = checkpoints.place_of(name)
    return _kind(source, checkpoints.config_of(source, revision))


def _kind(source: str, config: Any) -> str:
    kind = next((own for own, theirs in _MODEL_TYPES.items() if theirs == config.model_type), None)
    if kind is None:
        raise ModelError(f"{source} is a {config.model_type}; encoders of audio are {', '.join(_MODEL_TYPES.values())}")
    return kind
