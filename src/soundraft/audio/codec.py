"""EnCodec: audio to codes and back, faster than transformers' `encode` and with the very same codes.

Letters: C channels, L samples or steps, T frames, K codebooks.

Where the time of transformers' `encode` goes, and what is done instead:

- Weight normalisation is computed anew at every call: it is folded into the weights once.
- Activations are copied where they could be changed in place.
- The first layers' activations of a long clip do not fit the cache. They are causal, and up to the LSTM an output frame
  depends on a few frames of input, so a clip goes through in chunks that overlap by that context:

      frames   0 ─────────────── 120
                              118 ─────────────── 240     the first two frames of a later chunk are context: dropped

Every sum is made of the same numbers in the same order, so the codes are equal bit for bit. Batches of clips would be
faster still for short clips, but torch's LSTM rounds otherwise for a batch than for one clip,
and one code in a million would depend on a clip's company.
"""

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from soundraft.audio.ecdc import CODEBOOK_SIZE, SAMPLE_RATE_HZ, SAMPLES_PER_FRAME, frames_of
from soundraft.runtime import UserError

_CHUNK_FRAMES = 100  # a chunk has one to two times as many: 4–8 MB of activations in the first layer
# At or below so many numbers torch convolves with other code, which rounds otherwise (use_mkldnn in its
# Convolution.cpp). A chunk stays above it in every layer, as the whole clip does.
_SMALL_INPUT = 20480


class CodecError(UserError):
    """The checkpoint cannot be used for 24 kHz tokens."""


def load(folder: Path, *, device: str = "cpu") -> "Codec":
    """Load an EnCodec checkpoint from its folder.

    Raises:
        CodecError: when it cannot be read or lacks weights, or is not a causal 24 kHz model without normalisation.
    """
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError
    from transformers import EncodecModel
    from transformers.utils import logging

    logging.disable_progress_bar()  # ours counts clips
    try:
        model, info = EncodecModel.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError, StrictDataclassError) as error:
        raise CodecError(f"cannot load a codec from {folder}: {error}") from error
    absent = sorted(info["missing_keys"])  # transformers would fill them with random numbers
    if absent:
        raise CodecError(f"cannot load a codec from {folder}: {len(absent)} weights are missing, such as {absent[0]}")
    return Codec(model.to(device).eval())


class Codec:
    """A 24 kHz EnCodec model."""

    def __init__(self, model: Any) -> None:
        _check(model)
        self.model = model
        self._front = _Front(model.encoder)

    @torch.inference_mode()
    def encode_one(self, wave: np.ndarray, bandwidth_kbps: float) -> np.ndarray:
        """Codes int64 `[K, T]` of samples `[L]`, by the model's own method: the reference for `encode`."""
        values = torch.from_numpy(wave)[None, None].to(self.model.device)
        return self.model.encode(values, bandwidth=bandwidth_kbps).audio_codes[0, 0].cpu().numpy()

    @torch.inference_mode()
    def encode(self, wave: np.ndarray, bandwidth_kbps: float) -> np.ndarray:
        """Codes int64 `[K, T]` of samples `[L]`: those of `encode_one`, sooner."""
        *_, lstm, elu, last = self.model.encoder.layers
        if len(wave) < last.kernel_size.item() * SAMPLES_PER_FRAME:  # so short that the model mirrors zeros, too
            return self.encode_one(wave, bandwidth_kbps)
        steps = self._chunked_front(torch.from_numpy(wave).to(self.model.device))[:, None]  # [T, 1, C]
        hidden = lstm.lstm(steps)[0] + steps
        latents = last(elu(hidden.permute(1, 2, 0)))  # [1, D, T]
        return self.model.quantizer.encode(latents, bandwidth_kbps)[:, 0].cpu().numpy()

    @torch.inference_mode()
    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Samples float32 `[320 · T]` of codes `[K, T]`."""
        values = torch.from_numpy(codes)[None, None].to(self.model.device)
        return self.model.decode(values, [None]).audio_values[0, 0].cpu().numpy()

    def _chunked_front(self, wave: torch.Tensor) -> torch.Tensor:
        """The convolutions before the LSTM: `[T, C]` of a wave `[L]`."""
        context = self._front.context_frames
        frames = frames_of(len(wave))
        chunks = max(1, frames // self._front.chunk_frames)
        bounds = [round(index * frames / chunks) for index in range(chunks + 1)]
        parts = []
        for first, last in pairwise(bounds):
            start = max(0, first - context)
            piece = wave[start * SAMPLES_PER_FRAME : last * SAMPLES_PER_FRAME]
            parts.append(self._front(piece[None, None])[0, :, first - start :].T)
        return torch.cat(parts)


class _Front:
    """The convolutions of the encoder before its LSTM: `[1, 1, L]` → `[1, C, T]`."""

    def __init__(self, encoder: Any) -> None:
        self.layers = [_layer(module) for module in encoder.layers[:-3]]
        look_back, step, least = 0, 1, math.inf
        for layer in self.layers:
            least = min(least, layer.narrowest * SAMPLES_PER_FRAME / step)
            look_back += layer.look_back * step
            step *= layer.stride
        self.context_frames = math.ceil(look_back / step)
        self.chunk_frames = max(_CHUNK_FRAMES, math.ceil(_SMALL_INPUT / least) + 1)

    def __call__(self, hidden: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            hidden = layer(hidden)
        return hidden


class _Elu:
    look_back, stride, narrowest = 0, 1, math.inf

    def __init__(self, *, in_place: bool) -> None:
        self.in_place = in_place

    def __call__(self, hidden: torch.Tensor) -> torch.Tensor:
        return functional.elu(hidden, inplace=self.in_place)


class _Conv:
    """A causal convolution `[1, C, L]` → `[1, C', L / stride, rounded up]`, its weight normalisation folded in."""

    def __init__(self, module: Any) -> None:
        conv = module.conv
        self.stride: int = conv.stride[0]
        self.dilation: int = conv.dilation[0]
        self.look_back: int = module.padding_total.item()
        self.narrowest: int = conv.in_channels
        self.weight = conv.weight.detach()
        self.bias = conv.bias.detach()

    def __call__(self, hidden: torch.Tensor) -> torch.Tensor:
        beyond = -hidden.shape[-1] % self.stride  # the model mirrors both ends: c b │ a b c … x y z │ y
        if self.look_back or beyond:
            hidden = functional.pad(hidden, (self.look_back, beyond), mode="reflect")
        return functional.conv1d(hidden, self.weight, self.bias, stride=self.stride, dilation=self.dilation)


class _Residual:
    """Two convolutions beside a shortcut."""

    stride = 1

    def __init__(self, module: Any) -> None:
        # the first ELU must leave its input to the shortcut
        self.path = [_Elu(in_place=False), *map(_layer, module.block[1:])]
        self.shortcut = None if isinstance(module.shortcut, nn.Identity) else _layer(module.shortcut)
        self.look_back = sum(layer.look_back for layer in self.path)
        self.narrowest = min(layer.narrowest for layer in self.path)

    def __call__(self, hidden: torch.Tensor) -> torch.Tensor:
        beside = hidden if self.shortcut is None else self.shortcut(hidden)
        for layer in self.path:
            hidden = layer(hidden)
        return hidden.add_(beside)


def _layer(module: Any) -> Any:
    if isinstance(module, nn.ELU):
        return _Elu(in_place=True)
    return {"EncodecConv1d": _Conv, "EncodecResnetBlock": _Residual}[type(module).__name__](module)


def _check(model: Any) -> None:
    config = model.config
    wrong = {
        "sampling_rate": (config.sampling_rate, SAMPLE_RATE_HZ),
        "hop_length": (config.hop_length, SAMPLES_PER_FRAME),
        "codebook_size": (config.codebook_size, CODEBOOK_SIZE),
        "audio_channels": (config.audio_channels, 1),
        "normalize": (config.normalize, False),
        "chunk_length_s": (config.chunk_length_s, None),
        "use_causal_conv": (config.use_causal_conv, True),
        "pad_mode": (config.pad_mode, "reflect"),
        "norm_type": (config.norm_type, "weight_norm"),
    }
    problems = [f"{key} is {got}, not {wanted}" for key, (got, wanted) in wrong.items() if got != wanted]
    if problems:
        raise CodecError("not a 24 kHz EnCodec like facebook/encodec_24khz: " + "; ".join(problems))
