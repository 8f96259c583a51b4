"""Train the codec of this folder from nothing, on one core.

    python checkpoints/encodec_tiny/train.py

It learns from the train splits of all normalised corpora in a folder, by default those that `make repro` makes.
What it writes holds two files, config.json and model.safetensors; those beside this script were made by the defaults.

The model is `transformers.EncodecModel`, and its quantiser is trained in place: what is saved loads without this file.
Letters in shapes: B clips, C channels, D latent dimensions, F frames of all clips, K codebooks, N samples, T frames.
"""

import argparse
import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from sys import stdout

import numpy as np
import torch
import torchaudio
from torch import nn
from torch.nn import functional
from transformers import EncodecConfig, EncodecModel
from transformers.models.encodec.modeling_encodec import (
    EncodecConv1d,
    EncodecConvTranspose1d,
    EncodecEuclideanCodebook,
    EncodecResnetBlock,
)

from soundraft import files, runtime, stage
from soundraft.audio import io
from soundraft.audio.ecdc import SAMPLE_RATE_HZ, SAMPLES_PER_FRAME
from soundraft.manifest import MANIFEST_NAME, read_manifest
from soundraft.parallel import BadClip, progress
from soundraft.runtime import UserError
from soundraft.training.learner import learning_rate

WRITTEN = {"config.json", "model.safetensors"}
LOSS_WINDOWS = (256, 512, 1024, 2048)  # samples
DISTANCE_WINDOW = 1024  # samples
SAMPLES_PER_BAND = 16  # of the window: narrower mel bands would fall between two bins of the transform
MAX_BANDS = 80
NOISE_SHARE = 0.1  # of random weights beside those that are set
START_CLIPS = 64  # whose principal components the codec starts from
SILENCE = 1e-3  # −60 dB of full scale; what is quieter counts as silence


@dataclass(frozen=True)
class Options:
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

    steps: int = 7000
    continuous_share: float = 0.3
    batch_clips: int = 8
    segment_frames: int = 48
    full_depth_share: float = 0.5
    learning_rate: float = 2e-3
    warmup_share: float = 0.03
    final_share: float = 0.02
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    wave_weight: float = 0.25
    commitment_weight: float = 0.1
    codebook_decay: float = 0.99
    dead_share: float = 0.05
    kmeans_frames: int = 20_000
    kmeans_rounds: int = 8

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
        sampling_rate=SAMPLE_RATE_HZ,
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


# Initial weights.


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


# Losses.


def mel_distance(*, reference: torch.Tensor, decoded: torch.Tensor, window: int = DISTANCE_WINDOW) -> torch.Tensor:
    """Mean absolute difference of the natural logarithms of the mel spectra of two sets of waves `[B, N]`.

    0.1 is 0.9 dB a band and frame. The window of 1,024 samples, 43 ms, has 64 bands up to 12 kHz.
    """
    mel = _mel(window, reference.device)
    return functional.l1_loss(*(mel(waves).clamp(min=SILENCE).log() for waves in (decoded, reference)))


@cache
def _mel(window: int, device: torch.device) -> nn.Module:
    return torchaudio.transforms.MelSpectrogram(
        sample_rate=SAMPLE_RATE_HZ,
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


# Codebooks.


class CodebookTrainer:
    """Residual vector quantisation whose codebooks follow their residuals (EnCodec, arXiv 2210.13438, section 3.2).

    Each codebook starts from k-means on what those before it left over. Running means move it; a code that is hardly
    used is put where a current residual is.
    """

    def __init__(self, model: EncodecModel, *, decay: float, dead_share: float, generator: torch.Generator) -> None:
        self.codebooks: list[EncodecEuclideanCodebook] = [layer.codebook for layer in model.quantizer.layers]
        self.decay = decay
        self.dead_share = dead_share
        self.generator = generator

    @torch.no_grad()
    def start(self, latents: torch.Tensor, *, rounds: int, batch_frames: int) -> None:
        """K-means on latents `[F, D]`. Later updates bring `batch_frames` each: the sums are scaled to that."""
        residual = latents
        for codebook in self.codebooks:
            codebook.embed.copy_(self._drawn(residual, codebook.codebook_size))
            for _ in range(rounds):
                self._update(codebook, residual, decay=0.0)
            share = batch_frames / len(latents)
            codebook.cluster_size.mul_(share)
            codebook.embed_avg.mul_(share)
            residual = residual - codebook.decode(codebook.encode(residual))

    def __call__(self, latents: torch.Tensor, depths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Quantise `[B, D, T]`, clip b with its first `depths[b]` codebooks, and move all codebooks.

        Returns:
            The sums of the codes `[B, D, T]`, whose gradient passes straight through to the latents, and the
            commitment loss, the mean squared residual after each codebook in use.
        """
        frames = latents.transpose(1, 2)  # [B, T, D]
        residual, quantized = frames.detach(), torch.zeros_like(frames)
        commitment = frames.new_zeros(())
        for index, codebook in enumerate(self.codebooks):
            active = (index < depths).to(frames)[:, None, None]
            code = codebook.decode(codebook.encode(residual))
            self._update(codebook, residual.flatten(0, 1), decay=self.decay)
            residual = residual - code
            quantized = quantized + active * code
            commitment = commitment + (active * (frames - (frames.detach() - residual)).square()).mean()
        straight = frames + (quantized - frames).detach()
        return straight.transpose(1, 2), commitment / depths.float().mean()

    @torch.no_grad()
    def _update(self, codebook: EncodecEuclideanCodebook, residual: torch.Tensor, *, decay: float) -> None:
        codes = codebook.quantize(residual)
        counts = torch.bincount(codes, minlength=codebook.codebook_size).to(residual)
        sums = torch.zeros_like(codebook.embed).index_add_(0, codes, residual)
        codebook.cluster_size.lerp_(counts, 1 - decay)
        codebook.embed_avg.lerp_(sums, 1 - decay)
        average = len(residual) / codebook.codebook_size
        dead = codebook.cluster_size < self.dead_share * average
        if dead.any():
            codebook.cluster_size[dead] = average
            codebook.embed_avg[dead] = average * self._drawn(residual, int(dead.sum()))
        codebook.embed.copy_(codebook.embed_avg / codebook.cluster_size[:, None])

    def _drawn(self, residual: torch.Tensor, count: int) -> torch.Tensor:
        """`count` rows of `[F, D]`, with replacement."""
        return residual[torch.randint(len(residual), (count,), generator=self.generator)]


# The training itself.


class Trainer:
    """One optimiser step after another; every random draw follows from the seed."""

    def __init__(self, model: EncodecModel, paths: Sequence[Path], options: Options, seed: int) -> None:
        self.model, self.paths, self.options, self.seed = model, paths, options, seed
        start_from_principal_components(model, self._batch("start", clips=START_CLIPS))
        self.generator = torch.Generator().manual_seed(runtime.derive_seed("codec", seed, "codes"))
        self.codebooks = CodebookTrainer(
            model, decay=options.codebook_decay, dead_share=options.dead_share, generator=self.generator
        )
        self.parameters = list(model.parameters())
        self.optimizer = torch.optim.AdamW(self.parameters, lr=options.learning_rate, weight_decay=options.weight_decay)

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
            group["lr"] = learning_rate(
                number, options.steps, peak=options.learning_rate, warmup_share=options.warmup_share,
                final_share=options.final_share,
            )  # fmt: skip
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
            samples=self.options.segment_frames * SAMPLES_PER_FRAME,
            seed=runtime.derive_seed("codec", self.seed, *purpose),
        )


def fit(paths: Sequence[Path], options: Options, *, seed: int) -> tuple[EncodecModel, float, float]:
    """Train a codec on normalised clips; the same seed gives the same weights on the same machine.

    Returns:
        The codec, and the mean loss over the first and the last tenth of the steps with codebooks.

    Raises:
        FloatingPointError: when the loss is not finite.
        UserError: when there is no clip, or one cannot be read.
    """
    if not paths:
        raise UserError("no clip to train on")
    runtime.seed_torch(seed)
    model = EncodecModel(architecture())
    trainer = Trainer(model, paths, options, seed)
    losses = []
    with progress(options.steps, title="train codec", unit="step") as bar:
        for step in range(options.steps):
            losses.append(trainer.step(step))
            bar.set_postfix(loss=f"{losses[-1]:.3f}", refresh=False)
            bar.update()
    model.eval()
    quantized = losses[options.continuous_steps :]
    tenth = max(1, len(quantized) // 10)
    return model, sum(quantized[:tenth]) / tenth, sum(quantized[-tenth:]) / tenth


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


def read_wave(path: Path) -> np.ndarray:
    """The samples `[N]` of a normalised clip.

    Raises:
        UserError: when it cannot be read or has another sample rate.
    """
    try:
        samples, rate_hz = io.read(path)
    except BadClip as error:
        raise UserError(f"{path}: {error}") from error
    if rate_hz != SAMPLE_RATE_HZ:
        raise UserError(f"{path}: {rate_hz} Hz; the codec takes {SAMPLE_RATE_HZ} Hz, as s1_normalize writes it")
    return io.to_mono(samples)


def save(model: EncodecModel, folder: Path) -> None:
    """Write the weights in half precision, which load as float32: codebooks and sums alone would have 4.2 MB."""
    model.save_pretrained(folder, state_dict={name: value.half() for name, value in model.state_dict().items()})


def training_clips(data: Path) -> list[Path]:
    """The train clips of every corpus below `data`, corpora in the order of their names."""
    manifests = sorted(data.glob(f"*/{MANIFEST_NAME}"))
    if not manifests:
        raise UserError(f"{data}: no corpus with a {MANIFEST_NAME}; `make repro` makes data/normalized")
    return [
        files.inside(manifest.parent, clip.audio_path)
        for manifest in manifests
        for clip in read_manifest(manifest)
        if clip.split == "train"
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/normalized"), help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=Path("models/encodec_tiny"), help="default: %(default)s")
    parser.add_argument("--steps", type=int, default=Options.steps, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    arguments = parser.parse_args()
    if arguments.steps < 1:
        raise UserError(f"--steps: got {arguments.steps}; allowed: 1 and above")
    others = {path.name for path in arguments.out.glob("*")} - WRITTEN
    if others:
        raise UserError(f"{arguments.out} would be replaced, and it holds {', '.join(sorted(others))}: give --out")
    torch.set_num_threads(1)  # a sum over two threads has another order, and other weights come of it
    paths = training_clips(arguments.data)
    started = time.monotonic()
    model, first_loss, final_loss = fit(paths, Options(arguments.steps), seed=arguments.seed)
    with files.building(arguments.out) as out:
        save(model, out)
    stdout.write(
        f"train: {arguments.steps} steps on {len(paths)} clips in {(time.monotonic() - started) / 60:.0f} min; "
        f"loss with codebooks {first_loss:.3f} → {final_loss:.3f}; wrote {arguments.out}\n"
        f"next: python checkpoints/encodec_tiny/measure.py --codec {arguments.out}\n"
    )


if __name__ == "__main__":
    stage.run(main)
