"""EnCodec: audio to codes and back, faster than transformers' `encode` and with the very same codes.

Letters: C channels, L samples or steps, T frames, K codebooks.

Where the time of transformers' `encode` goes, and what is done instead:

- Weight normalisation is computed anew at every call: it is folded into the weights once, see `network`.
- Activations are copied where they could be changed in place.
- The first layers' activations of a long clip do not fit the cache. They are causal, and up to the LSTM an output frame
  depends on a few frames of input, so a clip goes through in chunks that overlap by that context:

      frames   0 ─────────────── 120
                              118 ─────────────── 240     the first two frames of a later chunk are context: dropped

Every sum is made of the same numbers in the same order, so the codes are equal bit for bit. Batches of clips would be
faster still for short clips, but torch's LSTM rounds otherwise for a batch than for one clip,
and one code in a million would depend on a clip's company.
"""

import functools
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from soundraft.audio import network
from soundraft.audio.ecdc import CODEBOOK_SIZE, SAMPLE_RATE_HZ, SAMPLES_PER_FRAME, frames_of
from soundraft.audio.network import Config, Network
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
    found = network.read(folder, device=device)
    if found is None:  # transformers reads more forms, such as a checkpoint in parts, and says what is wrong
        return of_model(load_model(folder, device=device))
    return Codec(found, functools.partial(load_model, folder, device=device))


def of_model(model: Any) -> "Codec":
    """The codec with the weights of a model of transformers."""
    config = Config.of(model.config)
    _check(config)
    return Codec(network.build(config, model.state_dict(), device=model.device), lambda: model)


def load_model(folder: Path, *, device: str = "cpu") -> Any:
    """The `EncodecModel` in a folder.

    Raises:
        CodecError: when it cannot be read or lacks weights.
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
    return model.to(device).eval()


class Codec:
    """A 24 kHz EnCodec model.

    Args:
        reference: gives transformers' model of the same weights; called when `encode_one` is.
    """

    def __init__(self, network: Network, reference: Callable[[], Any]) -> None:
        _check(network.config)
        self._network = network
        self._front = _Front(network)
        self._reference = reference

    @functools.cached_property
    def model(self) -> Any:
        """transformers' model."""
        return self._reference()

    @torch.inference_mode()
    def encode_one(self, wave: np.ndarray, bandwidth_kbps: float) -> np.ndarray:
        """Codes int64 `[K, T]` of samples `[L]`, by transformers' own method: the reference for `encode`."""
        values = torch.from_numpy(wave)[None, None].to(self.model.device)
        return self.model.encode(values, bandwidth=bandwidth_kbps).audio_codes[0, 0].cpu().numpy()

    @torch.inference_mode()
    def encode(self, wave: np.ndarray, bandwidth_kbps: float) -> np.ndarray:
        """Codes int64 `[K, T]` of samples `[L]`: those of `encode_one`, sooner."""
        latents = self._chunked_front(self._on_device(wave)).T[None]  # [1, C, T]
        for layer in self._network.encoder.layers[-3:]:
            latents = layer(latents)
        return self._network.quantize(latents, bandwidth_kbps)[:, 0].cpu().numpy()

    @torch.inference_mode()
    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Samples float32 `[320 · T]` of codes `[K, T]`, those of transformers' own method."""
        latents = self._network.dequantize(self._on_device(codes)[:, None])
        return self._network.decoder(latents)[0, 0].cpu().numpy()

    def _on_device(self, values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(values).to(self._network.device)

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

    def __init__(self, network: Network) -> None:
        self.layers: list[Any] = [*network.encoder.layers][:-3]
        look_back, step = 0, 1
        least = math.inf
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


def _check(config: Config) -> None:
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
