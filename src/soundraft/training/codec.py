"""A small EnCodec from nothing: initial weights, codebooks, losses, and the loop that trains them.

The model is `transformers.EncodecModel`, and its quantiser is trained in place: what is saved loads without this file.
Letters in shapes: B clips, C channels, D latent dimensions, F frames of all clips, K codebooks, N samples, T frames.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torchaudio
from torch import nn
from torch.nn import functional
from transformers import EncodecConfig, EncodecModel
from transformers.models.encodec.modeling_encodec import (
    EncodecConv1d,
    EncodecConvTranspose1d,
    EncodecResnetBlock,
)

from soundraft import runtime
from soundraft.audio import io
from soundraft.parallel import BadClip, progress
from soundraft.runtime import UserError
from soundraft.training.codebooks import CodebookTrainer
from soundraft.training.learner import Schedule

RATE_HZ = 24_000
HOP_SAMPLES = 320  # 75 frames a second
LOSS_WINDOWS = (256, 512, 1024, 2048)  # samples
DISTANCE_WINDOW = 1024  # samples
SAMPLES_PER_BAND = 16  # of the window: narrower mel bands would fall between two bins of the transform
MAX_BANDS = 80
NOISE_SHARE = 0.1  # of random weights beside those that are set
START_CLIPS = 64  # whose principal components the codec starts from
SILENCE = 1e-3  # −60 dB of full scale; what is quieter counts as silence


@dataclass(frozen=True)
class CodecOptions:
    """How the codec is trained.

    Attributes:
        steps: optimiser steps in all.
        continuous_share: the share of them, at the beginning, in which no codebook stands between encoder and decoder.
        batch_clips, segment_frames: clips of a batch, and how many frames are cut from each.
        full_depth_share: the share of clips that use all codebooks; the others draw how many, uniformly from 1.
        wave_weight: of the L1 distance of the waves, beside the mel distances.
        commitment_weight: of the pull on the latents towards their codes.
        codebook_decay: how much of the running sums of a codebook a step keeps.
        dead_share: a code used less than this share of the average is put where a current residual is.
        kmeans_frames, kmeans_rounds: latents that the codebooks start from, and passes of k-means over them.
    """

    steps: int
    continuous_share: float
    batch_clips: int
    segment_frames: int
    full_depth_share: float
    schedule: Schedule
    weight_decay: float
    max_grad_norm: float
    wave_weight: float
    commitment_weight: float
    codebook_decay: float
    dead_share: float
    kmeans_frames: int
    kmeans_rounds: int

    def __post_init__(self) -> None:
        if not 0 <= self.continuous_share < 1:
            raise UserError(f"continuous_share must be at least 0 and below 1, not {self.continuous_share}")
        if not 0 < self.dead_share < 1:
            raise UserError(
                f"dead_share must be above 0 and below 1, not {self.dead_share}: an unused code has no mean"
            )
        if min(self.steps, self.batch_clips) < 1 or self.segment_frames < 8:
            raise UserError("steps and batch_clips must be at least 1, segment_frames at least 8")

    @property
    def continuous_steps(self) -> int:
        return round(self.continuous_share * self.steps)

    @property
    def batch_frames(self) -> int:
        return self.batch_clips * self.segment_frames


def architecture() -> EncodecConfig:
    """EnCodec as published for 24 kHz mono, but with 8 filters for 32, 8 codebooks and one LSTM layer.

    The ratios stand in the order that puts stride 8 next to the audio: half the work of the published order.
    """
    return EncodecConfig(
        target_bandwidths=[1.5, 3.0, 6.0],
        sampling_rate=RATE_HZ,
        audio_channels=1,
        normalize=False,
        chunk_length_s=None,
        hidden_size=64,
        num_filters=8,
        num_residual_layers=1,
        upsampling_ratios=[2, 4, 5, 8],
        norm_type="weight_norm",
        use_causal_conv=True,
        pad_mode="reflect",
        num_lstm_layers=1,
        codebook_size=1024,
    )


@torch.no_grad()
def start_from_principal_components(model: EncodecModel, waves: torch.Tensor) -> None:
    """Make the untrained codec a block transform that keeps what it can of waves `[B, N]`.

    Each encoder convolution takes the principal components of the blocks that reach it, the decoder's take them back,
    and residual blocks pass their input on. With stride s and 2 s taps, one block to a frame:

        encoder   taps  [ 0 … s−1 | s … 2s−1 ]      decoder   taps  [ 0 … s−1 | s … 2s−1 ]
                           noise     basis                             basis     noise

    Signals are small enough for ELU to be near the identity. With the library's own initial weights the latents have a
    deviation of 5e-4 and nothing is learnt; with random weights scaled to the data, envelopes are learnt and waves not.
    """
    for name, parameter in model.named_parameters():
        if "bias" in name:  # of convolutions and LSTMs
            parameter.zero_()
    bases = []
    signal = waves[:, None]  # [B, C, N]
    for layer in model.encoder.layers:
        if isinstance(layer, EncodecConv1d):
            bases.append(_principal_components(signal, layer.conv.out_channels, layer.conv.stride[0]))
            _set_weight(layer, bases[-1], slice(-layer.conv.stride[0], None))
        elif isinstance(layer, EncodecResnetBlock):
            _pass_on(layer)
        signal = layer(signal)
    for layer in model.decoder.layers:
        if isinstance(layer, EncodecConvTranspose1d):
            _set_weight(layer, bases.pop(), slice(layer.conv.stride[0]))
        elif isinstance(layer, EncodecConv1d):
            _set_weight(layer, bases.pop().transpose(0, 1), slice(-1, None))
        elif isinstance(layer, EncodecResnetBlock):
            _pass_on(layer)
    scale = signal.std()
    model.encoder.layers[-1].conv.parametrizations.weight.original0.div_(scale)
    model.decoder.layers[0].conv.parametrizations.weight.original0.mul_(scale)


def _principal_components(signal: torch.Tensor, count: int, stride: int) -> torch.Tensor:
    """The basis `[count, C, stride]` of the blocks of `[B, C, N]`; what exceeds their C · stride dimensions is zero."""
    channels = signal.shape[1]
    blocks = signal[..., : signal.shape[-1] // stride * stride].unfold(-1, stride, stride)  # [B, C, N / stride, stride]
    rows = blocks.transpose(1, 2).reshape(-1, channels * stride)
    _, vectors = torch.linalg.eigh(rows.T @ rows)  # in columns, the greatest last
    kept = vectors.flip(1).T[:count]
    return functional.pad(kept, (0, 0, 0, count - len(kept))).reshape(count, channels, stride)


def _set_weight(layer: EncodecConv1d | EncodecConvTranspose1d, basis: torch.Tensor, taps: slice) -> None:
    """The basis in some taps, and everywhere a little noise: weight norm cannot divide by the length of a zero row."""
    weight = torch.randn_like(layer.conv.weight) * (NOISE_SHARE / math.sqrt(layer.conv.weight[0].numel()))
    weight[..., taps] += basis
    layer.conv.weight = weight  # through the parametrisation


def _pass_on(block: EncodecResnetBlock) -> None:
    _set_weight(block.shortcut, torch.eye(block.shortcut.conv.out_channels)[..., None], slice(None))
    block.block[-1].conv.parametrizations.weight.original0.mul_(NOISE_SHARE)


def mel_distance(*, reference: torch.Tensor, decoded: torch.Tensor, window: int = DISTANCE_WINDOW) -> torch.Tensor:
    """Mean absolute difference of the natural logarithms of the mel spectra of two sets of waves `[B, N]`.

    0.1 is 0.9 dB a band and frame. The window of 1,024 samples, 43 ms, has 64 bands up to 12 kHz.
    """
    return functional.l1_loss(_log_mel(decoded, window), _log_mel(reference, window))


def _log_mel(waves: torch.Tensor, window: int) -> torch.Tensor:
    return _mel(window, waves.device)(waves).clamp(min=SILENCE).log()


@cache
def _mel(window: int, device: torch.device) -> nn.Module:
    return torchaudio.transforms.MelSpectrogram(
        sample_rate=RATE_HZ,
        n_fft=window,
        hop_length=window // 4,
        n_mels=min(MAX_BANDS, window // SAMPLES_PER_BAND),
        power=1.0,
        normalized=True,
    ).to(device)


def reconstruction_loss(*, reference: torch.Tensor, decoded: torch.Tensor, wave_weight: float) -> torch.Tensor:
    """Mel distance, averaged over the windows, plus the L1 distance of the waves `[B, N]` relative to the reference."""
    distances = [mel_distance(reference=reference, decoded=decoded, window=window) for window in LOSS_WINDOWS]
    wave = (decoded - reference).abs().mean() / reference.abs().mean().clamp(min=SILENCE)
    return torch.stack(distances).mean() + wave_weight * wave


def read_wave(path: Path) -> np.ndarray:
    """The samples `[N]` of a normalised clip.

    Raises:
        UserError: when it cannot be read or has another sample rate.
    """
    try:
        samples, rate_hz = io.read(path)
    except BadClip as error:
        raise UserError(f"{path}: {error}") from error
    if rate_hz != RATE_HZ:
        raise UserError(f"{path}: {rate_hz} Hz; the codec takes {RATE_HZ} Hz, as s1_normalize writes it")
    return io.to_mono(samples)


def draw_batch(paths: Sequence[Path], *, clips: int, samples: int, seed: int) -> torch.Tensor:
    """`[B, N]` cut from random clips at random places; a shorter clip is followed by silence."""
    rng = random.Random(seed)
    batch = torch.zeros(clips, samples)
    for row in batch:
        wave = read_wave(rng.choice(paths))
        start = rng.randint(0, max(0, len(wave) - samples))
        cut = wave[start : start + samples]
        row[: len(cut)] = torch.from_numpy(cut)
    return batch


@dataclass(frozen=True)
class CodecReport:
    """What a fit did: steps, and the mean loss over the first and the last tenth of those with codebooks."""

    steps: int
    first_loss: float
    final_loss: float


def fit(paths: Sequence[Path], options: CodecOptions, *, seed: int, title: str) -> tuple[EncodecModel, CodecReport]:
    """Train a codec on normalised clips; the same seed gives the same weights on the same machine.

    Raises:
        FloatingPointError: when the loss is not finite.
        UserError: when there is no clip.
    """
    if not paths:
        raise UserError("no clip to train on")
    runtime.seed_torch(seed)
    model = EncodecModel(architecture())
    trainer = _Trainer(model, paths, options, seed)
    losses = []
    with progress(options.steps, title=title, unit="step") as bar:
        for step in range(options.steps):
            losses.append(trainer.step(step))
            bar.set_postfix(loss=f"{losses[-1]:.3f}", refresh=False)
            bar.update()
    model.eval()
    quantized = losses[options.continuous_steps :]
    tenth = max(1, len(quantized) // 10)
    return model, CodecReport(options.steps, sum(quantized[:tenth]) / tenth, sum(quantized[-tenth:]) / tenth)


class _Trainer:
    """One optimiser step after another; every random draw follows from the seed."""

    def __init__(self, model: EncodecModel, paths: Sequence[Path], options: CodecOptions, seed: int) -> None:
        self.model, self.paths, self.options, self.seed = model, paths, options, seed
        start_from_principal_components(model, self._batch("start", clips=START_CLIPS))
        self.generator = torch.Generator().manual_seed(runtime.derive_seed("codec", seed, "codes"))
        self.codebooks = CodebookTrainer(
            model, decay=options.codebook_decay, dead_share=options.dead_share, generator=self.generator
        )
        self.parameters = list(model.parameters())
        self.optimizer = torch.optim.AdamW(self.parameters, lr=options.schedule.peak, weight_decay=options.weight_decay)

    def step(self, number: int) -> float:
        options = self.options
        if number == options.continuous_steps:
            self._start_codebooks()
        waves = self._batch("train", number)
        latents, commitment = self.model.encoder(waves[:, None]), waves.new_zeros(())
        if number >= options.continuous_steps:
            latents, commitment = self.codebooks(latents, self._depths())
        decoded = self.model.decoder(latents)[:, 0]
        loss = reconstruction_loss(reference=waves, decoded=decoded, wave_weight=options.wave_weight)
        if not math.isfinite(float(loss.detach())):
            raise FloatingPointError(f"loss is {float(loss)} at step {number}: a smaller learning rate may help")
        (loss + options.commitment_weight * commitment).backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, options.max_grad_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = options.schedule.at(number, options.steps)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return float(loss.detach())

    @torch.no_grad()
    def _start_codebooks(self) -> None:
        batches = math.ceil(self.options.kmeans_frames / self.options.batch_frames)
        latents = [self.model.encoder(self._batch("k-means", index)[:, None]) for index in range(batches)]
        frames = torch.cat(latents).transpose(1, 2).flatten(0, 1)  # [F, D]
        self.codebooks.start(frames, rounds=self.options.kmeans_rounds, batch_frames=self.options.batch_frames)

    def _depths(self) -> torch.Tensor:
        """How many codebooks each clip of the batch uses, `[B]`."""
        most, clips = len(self.codebooks.codebooks), self.options.batch_clips
        drawn = torch.randint(1, most + 1, (clips,), generator=self.generator)
        full = torch.rand(clips, generator=self.generator) < self.options.full_depth_share
        return torch.where(full, most, drawn)

    def _batch(self, *purpose: object, clips: int | None = None) -> torch.Tensor:
        return draw_batch(
            self.paths,
            clips=clips or self.options.batch_clips,
            samples=self.options.segment_frames * HOP_SAMPLES,
            seed=runtime.derive_seed("codec", self.seed, *purpose),
        )


def save(model: EncodecModel, folder: Path) -> None:
    """Write `config.json` and `model.safetensors` in half precision, which loads as float32.

    In float32 the codebooks and their running sums alone would have 4.2 MB.
    """
    weights = {name: value.half() for name, value in model.state_dict().items()}
    model.save_pretrained(folder, state_dict=weights)


def load(folder: Path) -> EncodecModel:
    """The codec in a folder, in float32.

    Raises:
        UserError: when there is none.
    """
    if not (folder / "model.safetensors").is_file():
        raise UserError(f"{folder}: no model.safetensors")
    return EncodecModel.from_pretrained(folder, dtype=torch.float32).eval()


@torch.inference_mode()
def encode(model: EncodecModel, wave: np.ndarray) -> torch.Tensor:
    """The codes `[K, T]` of one wave `[N]`."""
    values = torch.from_numpy(np.ascontiguousarray(wave, dtype=np.float32))[None, None]
    return model.encode(values, bandwidth=model.config.target_bandwidths[-1]).audio_codes[0, 0]


@torch.inference_mode()
def decode(model: EncodecModel, codes: torch.Tensor, *, samples: int) -> np.ndarray:
    """The wave `[N]` of codes `[K, T]`, cut to `samples`; fewer than all codebooks are a coarser wave."""
    return model.decode(codes[None, None], [None]).audio_values[0, 0, :samples].numpy()
