"""EnCodec by the `encodec` package, from checkpoints as transformers writes them: audio to codes and back.

Letters: C channels, L samples, T frames, K codebooks.

The codes of `Codec.encode` are those of the package's own `encode`, bit for bit, and those of transformers. What is
done otherwise saves time and memory:

- Weight normalisation, which both compute at every call, is folded into the weights once.
- A clip goes through the convolutions before the LSTM in chunks. They are causal, and an output frame depends on a few
  frames of input, so that chunks overlap by that context:

      frames   0 ─────────────── 120
                              118 ─────────────── 240     the first two frames of a later chunk are context: dropped

Clips are not batched: torch's LSTM rounds otherwise for a batch than for one clip, and one code in a million would
depend on the other clips of the batch.
"""

import math
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from encodec import EncodecModel
from encodec.modules import SEANetDecoder, SEANetEncoder
from encodec.quantization import ResidualVectorQuantizer
from pydantic import BaseModel, Field, ValidationError, field_validator
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from soundraft.audio.ecdc import SAMPLES_PER_FRAME, frames_of
from soundraft.manifest import problems
from soundraft.params.base import Count, Positive, Share
from soundraft.runtime import UserError

_CHUNK_FRAMES = 100  # a chunk has one to two times as many: 4–8 MB of activations in the first layer
# At or below so many numbers torch convolves with other code, which rounds otherwise (use_mkldnn in its
# Convolution.cpp). A chunk stays above it in every layer, as the whole clip does.
_SMALL_INPUT = 20480


class CodecError(UserError):
    """The checkpoint cannot be used for 24 kHz tokens."""


class Config(BaseModel, strict=True):
    """config.json, with transformers' defaults; what has one allowed value makes it a causal 24 kHz model."""

    sampling_rate: Literal[24000] = 24000
    audio_channels: Literal[1] = 1
    normalize: Literal[False] = False
    chunk_length_s: None = None
    use_causal_conv: Literal[True] = True
    pad_mode: Literal["reflect"] = "reflect"
    norm_type: Literal["weight_norm"] = "weight_norm"
    codebook_size: Literal[1024] = 1024
    target_bandwidths: list[Positive] = Field([1.5, 3.0, 6.0, 12.0, 24.0], min_length=1)
    hidden_size: Count = 128
    num_filters: Count = 32
    num_residual_layers: Count = 1
    upsampling_ratios: list[Count] = [8, 5, 4, 2]
    kernel_size: Count = 7
    last_kernel_size: Count = 7
    residual_kernel_size: Count = 3
    dilation_growth_rate: Count = 2
    compress: Count = 2
    num_lstm_layers: Count = 2
    trim_right_ratio: Share = 1.0
    use_conv_shortcut: bool = True

    @field_validator("upsampling_ratios")
    @classmethod
    def _makes_frames(cls, ratios: list[int]) -> list[int]:
        if math.prod(ratios) != SAMPLES_PER_FRAME:
            raise ValueError(f"{ratios} make frames of {math.prod(ratios)} samples, not {SAMPLES_PER_FRAME}")
        return ratios


def load(folder: Path, *, device: str = "cpu") -> "Codec":
    """The codec in a folder: config.json, and the weights in one or more .safetensors files.

    Raises:
        CodecError: when it cannot be read, lacks weights, or is not a causal 24 kHz model without normalisation.
    """
    try:
        config = Config.model_validate_json((folder / "config.json").read_bytes())
        weights: dict[str, torch.Tensor] = {}
        for path in sorted(folder.glob("*.safetensors")):
            weights |= load_file(path)
        return Codec(build(config, weights).to(device))
    except ValidationError as error:
        raise CodecError(f"{folder}: no 24 kHz EnCodec like facebook/encodec_24khz: {problems(error)}") from error
    except (OSError, KeyError, RuntimeError, SafetensorError) as error:
        raise CodecError(f"cannot load a codec from {folder}: {error}") from error


def build(config: Config, weights: dict[str, torch.Tensor]) -> EncodecModel:
    """The package's model with weights that have transformers' names.

    Raises:
        KeyError, RuntimeError: when some are missing or of another shape than `config` says.
    """
    sizes: dict[str, Any] = {
        "channels": config.audio_channels, "dimension": config.hidden_size, "n_filters": config.num_filters,
        "n_residual_layers": config.num_residual_layers, "ratios": config.upsampling_ratios, "norm": "none",
        "kernel_size": config.kernel_size, "last_kernel_size": config.last_kernel_size,
        "residual_kernel_size": config.residual_kernel_size, "dilation_base": config.dilation_growth_rate,
        "causal": True, "pad_mode": config.pad_mode, "true_skip": not config.use_conv_shortcut,
        "compress": config.compress, "lstm": config.num_lstm_layers,
    }  # fmt: skip
    frame_bits = math.log2(config.codebook_size) * config.sampling_rate / SAMPLES_PER_FRAME
    codebooks = int(1000 * config.target_bandwidths[-1] // frame_bits)
    with torch.device("meta"):  # neither memory nor random numbers for weights that are about to be read
        # in place, unless a shortcut hands on what the block's first ELU would change. In the decoder this would change
        # how tensors lie in memory, and convolutions round by that
        encoder = SEANetEncoder(**sizes, activation_params={"inplace": config.use_conv_shortcut})
        decoder = SEANetDecoder(**sizes, trim_right_ratio=config.trim_right_ratio)
        quantizer = ResidualVectorQuantizer(config.hidden_size, codebooks, config.codebook_size)
    model = EncodecModel(encoder, decoder, quantizer, config.target_bandwidths, config.sampling_rate, 1)
    stored, names = _folded(weights), {name: _stored_name(name) for name in model.state_dict()}
    absent = sorted(set(names.values()) - stored.keys())
    if absent:
        raise RuntimeError(f"{len(absent)} weights are missing, such as {absent[0]}")
    model.load_state_dict({name: stored[theirs] for name, theirs in names.items()}, assign=True)
    return model.requires_grad_(False).eval()


def _stored_name(name: str) -> str:
    """transformers' name of a weight: `encoder.model.0.conv.conv.bias` is `encoder.layers.0.conv.bias` there."""
    for ours, theirs in (
        (".model.", ".layers."), ("conv.conv.", "conv."), ("convtr.convtr.", "conv."), ("quantizer.vq.", "quantizer."),
        ("_codebook", "codebook"),
    ):  # fmt: skip
        name = name.replace(ours, theirs)
    return name


def _folded(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """float32, and a weight for each magnitude and direction, as older and newer versions of torch call them."""
    folded = {name: value.detach().float() for name, value in weights.items()}
    older, newer = ("weight_g", "weight_v"), ("parametrizations.weight.original0", "parametrizations.weight.original1")
    for magnitude, direction in (older, newer):
        for name in [name for name in folded if name.endswith(magnitude)]:
            start = name.removesuffix(magnitude)
            folded[start + "weight"] = torch._weight_norm(folded.pop(start + direction), folded.pop(name), 0)
    return folded


class Codec:
    """A 24 kHz EnCodec model."""

    def __init__(self, model: EncodecModel) -> None:
        self.model = model
        self._front = model.encoder.model[:-3]  # the convolutions before the LSTM
        look_back, step, least = 0, 1, math.inf
        for conv in self._front.modules():
            if isinstance(conv, nn.Conv1d):
                least = min(least, conv.in_channels * SAMPLES_PER_FRAME / step)
                look_back += ((conv.kernel_size[0] - 1) * conv.dilation[0] + 1 - conv.stride[0]) * step
                step *= conv.stride[0]
        self._context_frames = math.ceil(look_back / step)
        self._chunk_frames = max(_CHUNK_FRAMES, math.ceil(_SMALL_INPUT / least) + 1)

    @torch.inference_mode()
    def encode_one(self, wave: np.ndarray, bandwidth_kbps: float) -> np.ndarray:
        """Codes int64 `[K, T]` of samples `[L]`, by the package's own method: the reference for `encode`."""
        self.model.set_target_bandwidth(bandwidth_kbps)
        return self.model.encode(self._on_device(wave)[None, None])[0][0][0].cpu().numpy()

    @torch.inference_mode()
    def encode(self, wave: np.ndarray, bandwidth_kbps: float) -> np.ndarray:
        """Codes int64 `[K, T]` of samples `[L]`: those of `encode_one`, sooner."""
        latents = self.model.encoder.model[-3:](self._chunked_front(self._on_device(wave)).T[None])  # [1, C, T]
        return self.model.quantizer.encode(latents, self.model.frame_rate, bandwidth_kbps)[:, 0].cpu().numpy()

    @torch.inference_mode()
    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Samples float32 `[320 · T]` of codes `[K, T]`."""
        return self.model.decode([(self._on_device(codes)[None], None)])[0, 0].cpu().numpy()

    def _on_device(self, values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(values).to(next(self.model.parameters()).device)

    def _chunked_front(self, wave: torch.Tensor) -> torch.Tensor:
        """`[T, C]` of a wave `[L]`."""
        frames = frames_of(len(wave))
        chunks = max(1, frames // self._chunk_frames)
        bounds = [round(index * frames / chunks) for index in range(chunks + 1)]
        parts = []
        for first, last in pairwise(bounds):
            start = max(0, first - self._context_frames)
            piece = wave[start * SAMPLES_PER_FRAME : last * SAMPLES_PER_FRAME]
            parts.append(self._front(piece[None, None])[0, :, first - start :].T)
        return torch.cat(parts)
