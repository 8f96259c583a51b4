"""The network of an EnCodec in plain torch, read from its folder: transformers takes two seconds to import.

Modules and weights have transformers' names. Weight normalisation, which it computes anew at every call, is folded into
the weights once. Every sum is made of the same numbers in the same order, so codes and samples are equal bit for bit.

Letters: C channels, D channels of the latents, L samples or steps, T frames, K codebooks.
"""

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from torch.nn import functional

from soundraft import files

_NORMALIZED = (("weight_g", "weight_v"), ("parametrizations.weight.original0", "parametrizations.weight.original1"))


@dataclass(frozen=True)
class Config:
    """What config.json says of the network; the defaults are transformers'."""

    target_bandwidths: list[float] | tuple[float, ...] = (1.5, 3.0, 6.0, 12.0, 24.0)
    sampling_rate: int = 24_000
    audio_channels: int = 1
    normalize: bool = False
    chunk_length_s: float | None = None
    hidden_size: int = 128
    num_filters: int = 32
    num_residual_layers: int = 1
    upsampling_ratios: list[int] | tuple[int, ...] = (8, 5, 4, 2)
    norm_type: str = "weight_norm"
    kernel_size: int = 7
    last_kernel_size: int = 7
    residual_kernel_size: int = 3
    dilation_growth_rate: int = 2
    use_causal_conv: bool = True
    pad_mode: str = "reflect"
    compress: int = 2
    num_lstm_layers: int = 2
    trim_right_ratio: float = 1.0
    codebook_size: int = 1024
    codebook_dim: int | None = None
    use_conv_shortcut: bool = True

    @classmethod
    def of(cls, config: Any) -> "Config":
        """From a config of transformers."""
        return cls(**{field.name: getattr(config, field.name) for field in fields(cls)})

    @classmethod
    def read(cls, path: Path) -> "Config":
        """From a file.

        Raises:
            OSError, ValueError: when it cannot be read, or a value is not of its default's kind.
        """
        known = files.read_json(path)
        if not isinstance(known, dict):
            raise ValueError(f"{path} holds no object")
        config = cls(**{field.name: known[field.name] for field in fields(cls) if field.name in known})
        for field in fields(cls):
            value, usual = getattr(config, field.name), field.default
            kinds = (list,) if isinstance(usual, tuple) else (int, float) if usual is None else (type(usual),)
            if value is not usual and type(value) not in kinds:
                raise ValueError(f"{field.name} is {value!r}")
        return config

    @property
    def hop_length(self) -> int:
        return math.prod(self.upsampling_ratios)

    def codebooks(self, bandwidth_kbps: float) -> int:
        """K: each codebook takes so many bits a frame."""
        bits_per_s = math.ceil(self.sampling_rate / self.hop_length) * math.log2(self.codebook_size)
        return int(1000 * bandwidth_kbps // bits_per_s)


class Network(nn.Module):
    """Encoder, quantiser and decoder, without memory for weights until some are loaded."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        with torch.device("meta"):
            self.encoder = _Stack(_encoder_layers(config))
            self.decoder = _Stack(_decoder_layers(config))
            self.quantizer = _Stack([_Quantizer(config) for _ in range(config.codebooks(config.target_bandwidths[-1]))])

    def quantize(self, latents: torch.Tensor, bandwidth_kbps: float) -> torch.Tensor:
        """Codes `[K, 1, T]` of latents `[1, D, T]`: each codebook takes what the ones before it left."""
        codes = []
        for codebook in self._codebooks()[: max(1, self.config.codebooks(bandwidth_kbps))]:
            codes.append(codebook.nearest(latents))
            latents = latents - codebook.vectors(codes[-1])
        return torch.stack(codes)

    def dequantize(self, codes: torch.Tensor) -> torch.Tensor:
        """Latents `[1, D, T]` of codes `[K, 1, T]`."""
        latents = torch.zeros((), device=codes.device)
        for codebook, chosen in zip(self._codebooks(), codes, strict=False):
            latents = latents + codebook.vectors(chosen)
        return latents

    def _codebooks(self) -> list[Any]:
        return [layer.codebook for layer in self.quantizer.layers]

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device


def read(folder: Path, *, device: str = "cpu") -> Network | None:
    """The network in a folder; None when it is not there as transformers writes it, in all its parts."""
    try:
        config = Config.read(folder / "config.json")
        with safe_open(folder / "model.safetensors", framework="pt") as stored:
            weights = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118, it is no dict
        return build(config, weights, device=device)
    except (OSError, ValueError, TypeError, LookupError, ArithmeticError, RuntimeError, SafetensorError):
        return None


def build(config: Config, weights: dict[str, torch.Tensor], *, device: str | torch.device = "cpu") -> Network:
    """The network with these weights.

    Raises:
        RuntimeError: when one is missing, of no use, or of another shape than `config` says.
    """
    network = Network(config)
    weights = {name: value.detach().to(device, torch.float32) for name, value in weights.items()}
    network.load_state_dict(_folded(weights), assign=True)
    return network.to(device).requires_grad_(False).eval()  # `to` lays an LSTM's weights out as a GPU wants them


def _folded(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A weight for each magnitude and direction, which have the names of older or of newer versions of torch."""
    folded = dict(weights)
    for magnitude, direction in _NORMALIZED:
        for name in [name for name in folded if name.endswith(magnitude)]:
            start = name.removesuffix(magnitude)
            folded[start + "weight"] = torch._weight_norm(folded.pop(start + direction), folded.pop(name), 0)
    return folded


class _Stack(nn.Module):
    def __init__(self, layers: list[Any]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            hidden = layer(hidden)
        return hidden


def _encoder_layers(config: Config) -> list[nn.Module]:
    width = config.num_filters
    layers: list[nn.Module] = [Conv(config.audio_channels, width, config.kernel_size)]
    for ratio in reversed(config.upsampling_ratios):
        layers += [Residual(config, width, depth) for depth in range(config.num_residual_layers)]
        layers += [Elu(inplace=True), Conv(width, 2 * width, 2 * ratio, stride=ratio)]
        width *= 2
    return [*layers, Lstm(config, width), Elu(), Conv(width, config.hidden_size, config.last_kernel_size)]


def _decoder_layers(config: Config) -> list[nn.Module]:
    width = config.num_filters * 2 ** len(config.upsampling_ratios)
    layers: list[nn.Module] = [Conv(config.hidden_size, width, config.kernel_size), Lstm(config, width)]
    for ratio in config.upsampling_ratios:
        layers += [Elu(), Upsampling(width, width // 2, ratio, config.trim_right_ratio)]
        width //= 2
        layers += [Residual(config, width, depth) for depth in range(config.num_residual_layers)]
    return [*layers, Elu(), Conv(config.num_filters, config.audio_channels, config.last_kernel_size)]


class Elu(nn.ELU):
    """In place only where transformers' result would lie in memory as its input does: convolutions round by that."""

    look_back, stride, narrowest = 0, 1, math.inf


class Conv(nn.Module):
    """A causal convolution `[1, C, L]` → `[1, C', L / stride, rounded up]`."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv1d(inputs, outputs, kernel, stride, dilation=dilation)
        self.stride = stride
        self.look_back = (kernel - 1) * dilation + 1 - stride
        self.narrowest = inputs

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        beyond = -hidden.shape[-1] % self.stride  # the model mirrors both ends: c b │ a b c … x y z │ y
        if self.look_back or beyond:
            # what is too short to be mirrored is made longer by zeros for as long as that takes
            zeros = max(0, max(self.look_back, beyond) + 1 - hidden.shape[-1])
            hidden = functional.pad(functional.pad(hidden, (0, zeros)), (self.look_back, beyond), mode="reflect")
            hidden = hidden[..., : hidden.shape[-1] - zeros]
        return self.conv(hidden.contiguous())  # of a part of a tensor it may round otherwise than of a copy


class Upsampling(nn.Module):
    """A transposed convolution `[1, C, L]` → `[1, C', L · ratio]`."""

    def __init__(self, inputs: int, outputs: int, ratio: int, trim_right_ratio: float) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose1d(inputs, outputs, 2 * ratio, ratio)
        self.right = math.ceil(ratio * trim_right_ratio)
        self.left = ratio - self.right

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        hidden = self.conv(hidden)
        return hidden[..., self.left : hidden.shape[-1] - self.right]


class Residual(nn.Module):
    """Two convolutions beside a shortcut."""

    stride = 1

    def __init__(self, config: Config, width: int, depth: int) -> None:
        super().__init__()
        inner = width // config.compress
        wide = Conv(width, inner, config.residual_kernel_size, dilation=config.dilation_growth_rate**depth)
        # the first ELU must leave its input to the shortcut
        self.block = nn.ModuleList([Elu(), wide, Elu(inplace=True), Conv(inner, width, 1)])
        self.shortcut = Conv(width, width, 1) if config.use_conv_shortcut else nn.Identity()
        self.look_back = wide.look_back
        self.narrowest = min(width, inner)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        beside = self.shortcut(hidden)
        for layer in self.block:
            hidden = layer(hidden)
        return hidden.add_(beside)


class Lstm(nn.Module):
    """`[1, C, L]` → the same shape; each step is added to what the LSTM makes of it."""

    def __init__(self, config: Config, width: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(width, width, config.num_lstm_layers)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        steps = hidden.permute(2, 0, 1)
        return (self.lstm(steps)[0] + steps).permute(1, 2, 0)


class _Quantizer(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.codebook = Codebook(config.codebook_size, config.codebook_dim or config.hidden_size)


class Codebook(nn.Module):
    """Vectors, of which the nearest is taken; what else is stored with them is for training."""

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.embed = nn.Buffer(torch.empty(size, width))
        self.embed_avg = nn.Buffer(torch.empty(size, width))
        self.cluster_size = nn.Buffer(torch.empty(size))
        self.inited = nn.Buffer(torch.empty(1))

    def nearest(self, latents: torch.Tensor) -> torch.Tensor:
        """Codes `[1, T]` of latents `[1, D, T]`."""
        points = latents.permute(0, 2, 1).reshape(-1, latents.shape[1])
        embed = self.embed.t()
        distance = points.pow(2).sum(1, keepdim=True) - 2 * points @ embed + embed.pow(2).sum(0, keepdim=True)
        return (-distance).max(dim=-1).indices[None]

    def vectors(self, codes: torch.Tensor) -> torch.Tensor:
        """`[1, D, T]` of codes `[1, T]`."""
        return functional.embedding(codes, self.embed).permute(0, 2, 1)
