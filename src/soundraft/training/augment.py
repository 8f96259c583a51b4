"""What a classifier's clips go through each time they are learned: other speeds, noise, masks, mixtures of two.

All on features `[T, F]` (or raw samples `[N]`), so that no feature is computed twice. Side columns behind the audio's
stay as they are. Everything is drawn from a generator of its own: the same seed gives the same batches.

SpecAugment: Park et al., arXiv 1904.08779; mixup: Zhang et al., arXiv 1710.09412; vocal tract length perturbation:
Jaitly & Hinton, ICML workshop 2013.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from soundraft.audio.loudness import NEPER_DB
from soundraft.params.classification import AugmentParams
from soundraft.training.learner import Example
from soundraft.training.objectives import Group, likelihood, mixture

TILT_DB = 24.0
CURVES = 4


class Augmenter:
    """Perturbs batches of examples whose answers are labels, or sets of them.

    Args:
        mean, std: `[F]` of the training clips' features: masks are filled with the mean, noise is in deviations.
        labels: all there are, for label smoothing.
        weights: of each label in the loss; `None`: 1 each, as of sets.
        bands: columns of a channel that stand side by side in frequency, which can be warped; 0: none do.
        decibels: of one unit, where columns are levels of bands; else 0: no gain, equaliser or background.
    """

    def __init__(
        self,
        options: AugmentParams,
        *,
        mean: torch.Tensor,
        std: torch.Tensor,
        labels: Sequence[str],
        weights: dict[str, float] | None,
        bands: int,
        decibels: float,
        seed: int,
    ) -> None:
        only_levels = {"gain": 0.0, "equalizer_db": 0.0, "background": 0.0}
        self.options = options if decibels else options.model_copy(update=only_levels)
        self.nepers = decibels / NEPER_DB  # of one unit of the features, as natural logarithms of powers
        self.bands = bands
        self.decibels = decibels
        self.mean, self.std = mean.cpu().float(), std.cpu().float()
        self.labels = tuple(labels)
        self.weights = weights or dict.fromkeys(labels, 1.0)
        self.random = np.random.default_rng(seed)

    def __call__(self, batch: Sequence[Example]) -> list[Example]:
        """Clips with one label may be mixed; of all others only the features are perturbed."""
        plain = [index for index, example in enumerate(batch) if _has_one_label(example)]
        partners = [plain[place] for place in self.random.permutation(len(plain))]
        shares = self._shares(len(plain))
        # each clip is perturbed once, so that a mixture is of perturbed clips too
        perturbed = [replace(example, features=self._perturbed(example.features)) for example in batch]
        out = list(perturbed)
        for index, other, share in zip(plain, partners, shares.tolist(), strict=True):
            out[index] = self._mixture(perturbed[index], perturbed[other], share if other != index else 1.0)
        return out

    def _mixture(self, clip: Example, other: Example, share: float) -> Example:
        features = clip.features if share == 1.0 else self._mixed(clip.features, other.features, share)
        group = self._group({clip.group.answers[0]: share}, other.group.answers[0], 1.0 - share)
        return Example(features, group, mixture)

    def _shares(self, clips: int) -> np.ndarray:
        """The share of each clip itself in its mixture, at least a half: `[clips]`."""
        if not (self.options.mixup and self.options.mixup_probability):
            return np.ones(clips)
        shares = self.random.beta(self.options.mixup, self.options.mixup, clips)
        kept = self.random.random(clips) >= self.options.mixup_probability
        return np.where(kept, 1.0, np.maximum(shares, 1.0 - shares))

    def _group(self, shares: dict[Any, float], other: Any, rest: float) -> Group:
        """The losses of two clips, each with the weight of its label, in their shares."""
        shares[other] = shares.get(other, 0.0) + rest
        weights = {label: share * self.weights.get(label, 1.0) for label, share in shares.items()}
        smooth = self.options.label_smoothing
        if smooth and isinstance(other, tuple):
            weights = self._smoothed_sets(weights, smooth)
        elif smooth:
            spread = smooth * sum(weights.values()) / len(self.labels)
            weights = {label: (1 - smooth) * weights.get(label, 0.0) + spread for label in self.labels}
        kept = {label: weight for label, weight in weights.items() if weight > 0}
        return Group(tuple(kept), times=tuple(kept.values()))

    def _smoothed_sets(self, weights: Mapping[Any, float], smooth: float) -> dict[Any, float]:
        """Half of it goes to the labels that a set lacks: so each yes or no is 1 − smooth/2 sure."""
        found: dict[Any, float] = {}
        for own, weight in weights.items():
            lacking = tuple(label for label in self.labels if label not in own)
            found[own] = found.get(own, 0.0) + (1 - smooth / 2) * weight
            found[lacking] = found.get(lacking, 0.0) + smooth / 2 * weight
        return found

    def _perturbed(self, features: torch.Tensor) -> torch.Tensor:
        """`[T, F + S]` → `[T', F + S]`, `[N]` → `[N']`."""
        clip = features[:, None] if features.ndim == 1 else features
        audio, side = clip[:, : len(self.mean)], clip[:, len(self.mean) :]
        audio = self._shifted(self._warped(self._at_another_speed(audio)))
        audio = self._masked(self._noisy(self._in_background(self._equalized(audio))))
        whole = torch.cat([audio, side[:1].expand(len(audio), -1)], dim=1) if side.shape[1] else audio
        return whole[:, 0] if features.ndim == 1 else whole

    def _at_another_speed(self, audio: torch.Tensor) -> torch.Tensor:
        if not self.options.speed or len(audio) < 2:
            return audio
        frames = max(2, round(len(audio) / self._uniform(1 - self.options.speed, 1 + self.options.speed)))
        return _between(audio, np.linspace(0, len(audio) - 1, frames))

    def _warped(self, audio: torch.Tensor) -> torch.Tensor:
        if not self.options.warp or self.bands < 2:
            return audio
        factor = self._uniform(1 - self.options.warp, 1 + self.options.warp)
        places = np.minimum(np.arange(self.bands) * factor, self.bands - 1)
        return torch.cat([_between(channel.T, places).T for channel in audio.split(self.bands, dim=1)], dim=1)

    def _shifted(self, audio: torch.Tensor) -> torch.Tensor:
        if not self.options.time_shift:
            return audio
        most = round(self.options.time_shift * len(audio))
        return audio.roll(int(self.random.integers(-most, most + 1)), dims=0)

    def _equalized(self, audio: torch.Tensor) -> torch.Tensor:
        """Add a sum of the first `CURVES` cosines along the bands."""
        if not self.options.equalizer_db:
            return audio
        places = (np.arange(self.bands) + 0.5) / self.bands
        heights = self.random.normal(0.0, self.options.equalizer_db * math.sqrt(2 / CURVES), CURVES)
        curve_db = sum(height * np.cos(np.pi * (k + 1) * places) for k, height in enumerate(heights))
        curve = torch.from_numpy(np.asarray(curve_db, dtype=np.float32) / self.decibels)
        return audio + curve.repeat(audio.shape[1] // self.bands)

    def _in_background(self, audio: torch.Tensor) -> torch.Tensor:
        """Add the powers of a steady noise, whose level changes evenly across the bands by up to `TILT_DB`."""
        if not self.options.background or self.random.random() >= self.options.background:
            return audio
        snr_db, tilt_db = self._uniform(*self.options.background_snr_db), self._uniform(-TILT_DB, TILT_DB)
        colour_db = tilt_db * np.linspace(-0.5, 0.5, audio.shape[1])
        grain_db = 10 * np.log10(self.random.exponential(size=audio.shape) + 1e-6)  # of the power of one cell of noise
        noise_db = torch.from_numpy((grain_db + colour_db - snr_db).astype(np.float32))
        loudest = audio.mean(1).max()
        return torch.logaddexp(audio * self.nepers, loudest * self.nepers + noise_db / NEPER_DB) / self.nepers

    def _noisy(self, audio: torch.Tensor) -> torch.Tensor:
        if self.options.gain:
            audio = audio + float(self.random.normal(0.0, self.options.gain)) * self.std.mean()
        if self.options.noise:
            noise = self.random.standard_normal(audio.shape, dtype=np.float32) * self._uniform(0, self.options.noise)
            audio = audio + torch.from_numpy(noise) * self.std
        return audio

    def _masked(self, audio: torch.Tensor) -> torch.Tensor:
        frames, bins = audio.shape
        hidden_frames = self._mask(self.options.time_masks, self.options.time_share, frames)
        hidden_bins = self._mask(self.options.frequency_masks if bins > 1 else 0, self.options.frequency_share, bins)
        hidden = hidden_frames[:, None] | hidden_bins
        return torch.where(hidden, self.mean, audio) if hidden.any() else audio

    def _mask(self, count: int, share: float, size: int) -> torch.Tensor:
        hidden = torch.zeros(size, dtype=torch.bool)
        for _ in range(count):
            width = int(self.random.integers(0, int(share * size) + 1))
            start = int(self.random.integers(0, size - width + 1))
            hidden[start : start + width] = True
        return hidden

    def _mixed(self, clip: torch.Tensor, other: torch.Tensor, share: float) -> torch.Tensor:
        """`share` of a clip and the rest of another one, which begins again until it is as long."""
        partner = other[torch.arange(len(clip)) % len(other)]
        if clip.ndim == 1:
            return share * clip + (1 - share) * partner
        columns = len(self.mean)
        return torch.cat([share * clip[:, :columns] + (1 - share) * partner[:, :columns], clip[:, columns:]], dim=1)

    def _uniform(self, low: float, high: float) -> float:
        return float(self.random.uniform(low, high))


def _has_one_label(example: Example) -> bool:
    return example.objective is likelihood and len(example.group.answers) == 1


def _between(rows: torch.Tensor, places: np.ndarray) -> torch.Tensor:
    """Rows `[T, F]` at places that need not be whole numbers, by linear interpolation: `[places, F]`."""
    low = torch.from_numpy(places.astype(np.int64))
    high = (low + 1).clamp(max=len(rows) - 1)
    return torch.lerp(rows[low], rows[high], torch.from_numpy((places - low.numpy()).astype(np.float32))[:, None])
