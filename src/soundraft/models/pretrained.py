"""Pretrained encoders of transformers for classification: frozen or tuned, with their own feature extractors.

What a clip gives does not depend on its batch: models of raw waves run clips of one length at a time, without padding,
because the smaller ones normalise over all frames of the padded clip; Whisper and AST always see a whole window, and
only what the clip fills of it is pooled.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from soundraft.models import checkpoints
from soundraft.models.base import ModelError, alike, describe_extractor
from soundraft.models.encoders import Sized
from soundraft.models.networks import Pooling, log_probabilities
from soundraft.params.classification import PretrainedParams

WAVES = ("wav2vec2", "hubert", "wavlm")
_MODEL_TYPES = {**{name: name for name in WAVES}, "whisper": "whisper", "ast": "audio-spectrogram-transformer"}
PRETRAINED = tuple(_MODEL_TYPES)
AST_WINDOW_SAMPLES, AST_HOP_SAMPLES = 400, 160  # 25 and 10 ms of Kaldi's filter bank at 16 kHz
AST_TOKENS = 2  # in front of the patches: class and distillation


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
        values = self.extractor(samples, sampling_rate=self.sample_rate_hz, return_tensors="pt")
        if self.name in WAVES:
            return values["input_values"][0]
        if self.name == "whisper":
            # two more than the clip's: windows are centred, so that the first of silence still include its end
            frames = -(-len(samples) // self.extractor.hop_length) + 2
            return values["input_features"][0].T[:frames].clone()
        return values["input_values"][0][: max(1, 1 + (len(samples) - AST_WINDOW_SAMPLES) // AST_HOP_SAMPLES)].clone()

    def depends_on(self) -> dict[str, Any]:
        return describe_extractor(self.extractor)

    def save(self, folder: Path) -> None:
        self.config.save_pretrained(folder)
        self.extractor.save_pretrained(folder)


class PretrainedReader(Sized):
    """Features of each clip → a vector a clip, `[B, width]`."""

    def __init__(self, name: str, encoder: nn.Module, front: PretrainedFront, *, pooling: str, trainable: bool) -> None:
        super().__init__()
        self.name, self.config, self.trainable = name, front.config, trainable
        self.encoder = encoder.requires_grad_(trainable)
        self.pooling = Pooling(pooling, int(front.config.d_model if name == "whisper" else front.config.hidden_size))
        self.width = self.pooling.width
        self.silence = -front.extractor.mean / (2 * front.extractor.std) if name == "ast" else 0.0
        self.window_frames, self.window_s = 0, math.inf  # the longest clip that it takes
        if name not in WAVES:
            self.window_frames = front.extractor.nb_max_frames if name == "whisper" else front.extractor.max_length
            hop = front.extractor.hop_length if name == "whisper" else AST_HOP_SAMPLES
            self.window_s = self.window_frames * hop / front.sample_rate_hz

    def train(self, mode: bool = True) -> "PretrainedReader":
        """A frozen encoder stays as in inference."""
        super().train(mode)
        if not self.trainable:
            self.encoder.eval()
        return self

    def forward(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        rows: dict[int, torch.Tensor] = {}
        for indices in alike(features) if self.name in WAVES else [list(range(len(features)))]:
            clips = [features[index] for index in indices]
            rows |= zip(indices, self.vectors(self.outputs(clips), clips), strict=True)
        return torch.stack([rows[index] for index in range(len(features))])

    def outputs(self, features: Sequence[torch.Tensor]) -> Any:
        """What the model gives for clips of one length, or in whole windows."""
        if self.name == "whisper":
            # zeros behind a clip are its quietest value: the extractor cuts 8 below the loudest
            inputs = torch.stack([self._fill(clip, float(clip.min())) for clip in features]).transpose(1, 2)
        elif self.name == "ast":
            inputs = torch.stack([self._fill(clip, self.silence) for clip in features])
        else:
            inputs = torch.stack(list(features))
        with torch.set_grad_enabled(self.trainable and torch.is_grad_enabled()):
            return self.encoder(inputs.to(next(self.encoder.parameters()).device))

    def vectors(self, outputs: Any, clips: Sequence[torch.Tensor]) -> torch.Tensor:
        """The states of these clips, pooled over the part of a window that each fills: `[B, width]`."""
        states = outputs.last_hidden_state
        frames = torch.tensor([len(clip) for clip in clips])
        if self.name == "whisper":
            filled = -(-(frames - 2) // 2)
        elif self.name == "ast":
            bands = (self.config.num_mel_bins - self.config.patch_size) // self.config.frequency_stride + 1
            states = states[:, AST_TOKENS:].unflatten(1, (bands, -1)).mean(1)
            filled = -(-(frames - self.config.patch_size) // self.config.time_stride) + 1
        else:
            filled = torch.full((len(clips),), states.shape[1])
        return self.pooling(states, filled.clamp(1, states.shape[1]).to(states.device))

    def _fill(self, clip: torch.Tensor, value: float) -> torch.Tensor:
        """`[T, F]` → a whole window."""
        window = clip.new_full((self.window_frames, clip.shape[1]), value)
        window[: len(clip)] = clip[: self.window_frames]
        return window


class HubClassifier(nn.Module):
    """A classifier of transformers as it is, with its own head, in the place of a `ClassifierNetwork`."""

    def __init__(self, name: str, model: nn.Module, front: PretrainedFront, *, sets: bool = False) -> None:
        super().__init__()
        self.sets = sets
        self.reader = PretrainedReader(name, model, front, pooling="mean", trainable=False)
        self.reader.vectors = lambda outputs, clips: outputs.logits  # type: ignore[method-assign]

    def forward(self, features: Sequence[torch.Tensor], side: torch.Tensor) -> torch.Tensor:
        """As of `ClassifierNetwork`, without side inputs."""
        return log_probabilities(self.reader(features), sets=self.sets)


def open_pretrained(
    name: str,
    options: PretrainedParams,
    *,
    pooling: str,
    channel: str,
    length_limit_s: float,
    configuration: Path | None,
) -> tuple[PretrainedReader, PretrainedFront]:
    """An encoder and its extractor; from `configuration`, a folder of `save`, without weights, which come later.

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
    reader = PretrainedReader(name, encoder, front, pooling=pooling, trainable=options.trainable)
    if (length_limit_s or math.inf) > reader.window_s:
        raise ModelError(f"length limit of {length_limit_s} s (0: none): {name} takes {reader.window_s:.1f} s at most")
    return reader, front


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
        if random:
            return kind, loader.from_config(config), extractor
        model, found = loader.from_pretrained(source, revision=revision, output_loading_info=True)
    checkpoints.check_is_whole(source, config, found["missing_keys"])
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
