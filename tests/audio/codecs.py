"""EnCodec models with random weights that a signal survives, and signals to give them.

With the library's own random weights the latents are almost constant, and so would be the codes: a comparison of codes
would then prove nothing. Here each convolution is scaled until its output has deviation 1, and the codebooks are drawn
from what is left of the latents after the codebooks before them.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import EncodecConfig, EncodecModel

from soundraft.audio import codec, io
from soundraft.audio.codec import Codec, Config
from soundraft.audio.ecdc import SAMPLE_RATE_HZ

SMALL: dict[str, Any] = {"num_filters": 8, "hidden_size": 32, "upsampling_ratios": [8, 5, 4, 2], "num_lstm_layers": 2}
LIKE_TINY: dict[str, Any] = SMALL | {"upsampling_ratios": [2, 4, 5, 8], "num_lstm_layers": 1}
FULL: dict[str, Any] = {}  # the sizes of facebook/encodec_24khz

_CALIBRATION_S = 40  # 3000 frames, three times the codes of a codebook


def random_model(sizes: dict[str, Any], seed: int = 0) -> EncodecModel:
    torch.manual_seed(seed)
    model = EncodecModel(EncodecConfig(**sizes)).eval()
    hooks = [
        module.register_forward_hook(_scale_to_unit)
        for module in model.modules()
        if isinstance(module, nn.Conv1d | nn.ConvTranspose1d)
    ]
    with torch.no_grad():
        latents = model.encoder(torch.from_numpy(noise(_CALIBRATION_S, seed))[None, None])
        _draw_codebooks(model, latents)
        model.decoder(latents[..., :75])
    for hook in hooks:
        hook.remove()
    return model


def codec_of(model: EncodecModel) -> Codec:
    return Codec(codec.build(Config.model_validate(model.config.to_dict()), model.state_dict()))


@torch.no_grad()
def transformers_codes(model: EncodecModel, wave: np.ndarray, bandwidth_kbps: float) -> np.ndarray:
    """Codes `[K, T]` by transformers' own method."""
    return model.encode(torch.from_numpy(wave)[None, None], bandwidth=bandwidth_kbps).audio_codes[0, 0].numpy()


def save(folder: Path, sizes: dict[str, Any] = SMALL, seed: int = 0) -> Path:
    """A checkpoint, as `encodec.checkpoint` can name it."""
    random_model(sizes, seed).save_pretrained(folder)
    return folder


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    """Something like speech: more low than high frequencies, and loud and quiet syllables. float32 `[L]`."""
    return samples(round(seconds * SAMPLE_RATE_HZ), seed)


def samples(count: int, seed: int = 0) -> np.ndarray:
    """As `noise`, of an exact length."""
    rng = np.random.default_rng(seed)
    white = rng.standard_normal(count + 8)
    brown = sum(white[lag : lag + count] * 0.7**lag for lag in range(8))
    syllables = 0.2 + np.abs(np.sin(2 * np.pi * 2.5 * np.arange(count) / SAMPLE_RATE_HZ + rng.uniform(0, 6)))
    return (0.1 * brown * syllables).astype(np.float32)


def wav_folder(folder: Path, seconds: dict[str, float]) -> Path:
    """Recordings as s1 makes them, by name and length."""
    for seed, (name, length_s) in enumerate(seconds.items()):
        io.write_wav(folder / name, noise(length_s, seed), SAMPLE_RATE_HZ)
    return folder


def _scale_to_unit(module: nn.Module, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
    deviation = output.std()
    module.parametrizations.weight.original0.div_(deviation)
    module.bias.div_(deviation)
    return output / deviation


def _draw_codebooks(model: EncodecModel, latents: torch.Tensor) -> None:
    residual = latents
    for layer in model.quantizer.layers:
        vectors = residual[0].T
        chosen = vectors[torch.randperm(len(vectors))[: model.config.codebook_size]]
        # away from the latents themselves, else the next residuals are 0 and the next codes a draw
        layer.codebook.embed.copy_(chosen + 0.2 * residual.std() * torch.randn_like(chosen))
        residual = residual - layer.decode(layer.encode(residual))
