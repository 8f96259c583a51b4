"""The codebooks of an EnCodec: how they learn, and how well they are used. Letters in shapes as in `codec`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import EncodecModel
from transformers.models.encodec.modeling_encodec import EncodecEuclideanCodebook


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


@dataclass(frozen=True)
class CodebookUse:
    """How a codebook is used.

    Attributes:
        perplexity: exp of the entropy of its codes: how many codes it would take, all used equally often.
        explained: the share of the latents' variance that it and those before it hold.
    """

    perplexity: float
    explained: float


@torch.inference_mode()
def codebook_use(model: EncodecModel, waves: Sequence[np.ndarray]) -> list[CodebookUse]:
    """The use of each codebook over some waves `[N]`."""
    latents = torch.cat([model.encoder(torch.from_numpy(wave)[None, None])[0].T for wave in waves])  # [F, D]
    residual, variance = latents, float(latents.var(dim=0).sum())
    uses = []
    for layer in model.quantizer.layers:
        codes = layer.codebook.encode(residual)
        residual = residual - layer.codebook.decode(codes)
        shares = torch.bincount(codes) / len(codes)
        entropy = float(-torch.special.xlogy(shares, shares).sum())
        uses.append(CodebookUse(math.exp(entropy), 1 - float(residual.square().sum(dim=1).mean()) / variance))
    return uses
