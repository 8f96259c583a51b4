"""What a classifier's clips go through each time they are learned: other speeds, noise, masks, mixtures of two.

All on features `[T, F]` (or raw samples `[N]`), so that no feature is computed twice. Side columns behind the audio's
stay as they are. Everything is drawn from a generator of its own: the same seed gives the same batches.

SpecAugment: Park et al., arXiv 1904.08779; mixup: Zhang et al., arXiv 1710.09412; vocal tract length perturbation:
Jaitly & Hinton, ICML workshop 2013.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from soundraft.audio.loudness import NEPER_DB
from soundraft.runtime import UserError
from soundraft.training.learner import Example
from soundraft.training.objectives import Group

TILT_DB = 24.0
CURVES = 4


@dataclass(frozen=True)
class Augmentation:
    """How much of what; 0 turns each off.

    Attributes:
        time_masks, time_share: how many SpecAugment masks over frames, and the widest as a share of the clip.
        frequency_masks, frequency_share: the same of bins.
        time_shift: a clip begins up to this share of it later or earlier, and goes on round its end.
        speed: a clip becomes faster or slower by up to this share; frames are interpolated.
        warp: bins move up or down by up to this share, as those of a shorter or longer vocal tract.
        gain: a constant of this deviation is added to all bins, in deviations of the features: another level.
        noise: normal noise is added, of up to this many deviations of each bin (raw samples: of the samples).
        equalizer_db: the bands are raised and lowered along a smooth curve of this deviation: another microphone.
        background: the probability that steady noise joins a clip's bands.
        background_snr_db: how far its level is below the clip's loudest frame, from a uniform draw.
        mixup: concentration α of the Beta distribution from which the share of a second clip is drawn.
        mixup_probability: the share of clips that are mixed.
        label_smoothing: this much of a label's weight is spread over all labels.
    """

    time_masks: int = 0
    time_share: float = 0.0
    frequency_masks: int = 0
    frequency_share: float = 0.0
    time_shift: float = 0.0
    speed: float = 0.0
    warp: float = 0.0
    gain: float = 0.0
    noise: float = 0.0
    equalizer_db: float = 0.0
    background: float = 0.0
    background_snr_db: tuple[float, float] = (15.0, 45.0)
    mixup: float = 0.0
    mixup_probability: float = 0.0
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        shares = (
            "time_share", "frequency_share", "time_shift", "speed", "warp", "background", "mixup_probability",
            "label_smoothing",
        )  # fmt: skip
        for name in shares:
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"augment.{name}: got {getattr(self, name)}; allowed: 0–1")
        for name in ("time_masks", "frequency_masks", "gain", "noise", "equalizer_db", "mixup"):
            if getattr(self, name) < 0:
                raise UserError(f"augment.{name}: got {getattr(self, name)}; allowed: 0 and above")
        if max(self.speed, self.warp) >= 1:
            raise UserError(f"augment.speed and augment.warp must be below 1, got {self.speed} and {self.warp}")


class Augmenter:
    """Alters batches of examples whose texts are labels.

    Args:
        mean, std: `[F]` of the training clips' features: what is blanked becomes the mean, noise is in deviations.
        labels: all there are, for label smoothing.
        weights: of each label in the loss; `None`: 1 each.
        bands: columns of a channel that stand side by side in frequency, which can be warped; 0: none do.
        decibels: of one unit, where columns are levels of bands; else 0, and no gain or background is possible.
    """

    def __init__(
        self,
        augmentation: Augmentation,
        *,
        mean: torch.Tensor,
        std: torch.Tensor,
        labels: Sequence[str],
        weights: dict[str, float] | None,
        bands: int,
        decibels: float,
        seed: int,
    ) -> None:
        self.decibels = decibels
        self.bands = bands
        self.how = augmentation
        self.mean, self.std = mean.cpu().float(), std.cpu().float()
        self.labels = tuple(labels)
        self.weights = weights or dict.fromkeys(labels, 1.0)
        self.random = np.random.default_rng(seed)

    def __call__(self, batch: Sequence[Example]) -> list[Example]:
        """Clips of which one label is learned may be mixed; of all others only the features are altered."""
        plain = [index for index, example in enumerate(batch) if _has_one_label(example)]
        partners = [plain[place] for place in self.random.permutation(len(plain))]
        shares = self._shares(len(plain))
        # each clip is altered once, so that a mixture is of altered clips too
        altered = [replace(example, features=self._altered(example.features)) for example in batch]
        out = list(altered)
        for index, other, share in zip(plain, partners, shares.tolist(), strict=True):
            out[index] = self._mixture(altered[index], altered[other], share if other != index else 1.0)
        return out

    def _mixture(self, clip: Example, other: Example, share: float) -> Example:
        features = clip.features if share == 1.0 else self._mixed(clip.features, other.features, share)
        group = self._group({clip.group.texts[0]: share}, other.group.texts[0], 1.0 - share)
        return replace(clip, features=features, group=group, objective="mixture")

    def _shares(self, clips: int) -> np.ndarray:
        """The share of each clip itself in its mixture, at least a half: `[clips]`."""
        if not (self.how.mixup and self.how.mixup_probability):
            return np.ones(clips)
        shares = self.random.beta(self.how.mixup, self.how.mixup, clips)
        kept = self.random.random(clips) >= self.how.mixup_probability
        return np.where(kept, 1.0, np.maximum(shares, 1.0 - shares))

    def _group(self, shares: dict[str, float], other: str, rest: float) -> Group:
        """What a mixture learns: the losses of its two clips, each with the weight of its label, in their shares."""
        shares[other] = shares.get(other, 0.0) + rest
        weights = {label: share * self.weights[label] for label, share in shares.items()}
        smooth = self.how.label_smoothing
        if smooth:
            spread = smooth * sum(weights.values()) / len(self.labels)
            weights = {label: (1 - smooth) * weights.get(label, 0.0) + spread for label in self.labels}
        kept = {label: weight for label, weight in weights.items() if weight > 0}
        return Group(tuple(kept), times=tuple(kept.values()))

    def _altered(self, features: torch.Tensor) -> torch.Tensor:
        """`[T, F + S]` → `[T', F + S]`, `[N]` → `[N']`."""
        clip = features[:, None] if features.ndim == 1 else features
        audio, side = clip[:, : len(self.mean)], clip[:, len(self.mean) :]
        audio = self._shifted(self._warped(self._at_another_speed(audio)))
        audio = self._blanked(self._noisy(self._in_background(self._equalized(audio))))
        whole = torch.cat([audio, side[:1].expand(len(audio), -1)], dim=1) if side.shape[1] else audio
        return whole[:, 0] if features.ndim == 1 else whole

    def _at_another_speed(self, audio: torch.Tensor) -> torch.Tensor:
        if not self.how.speed or len(audio) < 2:
            return audio
        frames = max(2, round(len(audio) / self._factor(self.how.speed)))
        return _between(audio, np.linspace(0, len(audio) - 1, frames))

    def _warped(self, audio: torch.Tensor) -> torch.Tensor:
        if not self.how.warp or self.bands < 2:
            return audio
        places = np.minimum(np.arange(self.bands) * self._factor(self.how.warp), self.bands - 1)
        return torch.cat([_between(channel.T, places).T for channel in audio.split(self.bands, dim=1)], dim=1)

    def _shifted(self, audio: torch.Tensor) -> torch.Tensor:
        if not self.how.time_shift:
            return audio
        most = round(self.how.time_shift * len(audio))
        return audio.roll(int(self.random.integers(-most, most + 1)), dims=0)

    def _equalized(self, audio: torch.Tensor) -> torch.Tensor:
        """Add a sum of the first `CURVES` cosines along the bands."""
        if not self.how.equalizer_db:
            return audio
        places = (np.arange(self.bands) + 0.5) / self.bands
        heights = self.random.normal(0.0, self.how.equalizer_db * math.sqrt(2 / CURVES), CURVES)
        curve_db = sum(height * np.cos(np.pi * (k + 1) * places) for k, height in enumerate(heights))
        curve = torch.from_numpy(np.asarray(curve_db, dtype=np.float32) / self.decibels)
        return audio + curve.repeat(audio.shape[1] // self.bands)

    def _in_background(self, audio: torch.Tensor) -> torch.Tensor:
        """Add the powers of a steady noise, whose level changes evenly across the bands by up to `TILT_DB`."""
        if not self.how.background or self.random.random() >= self.how.background:
            return audio
        snr_db, tilt_db = self.random.uniform(*self.how.background_snr_db), self.random.uniform(-TILT_DB, TILT_DB)
        colour_db = tilt_db * np.linspace(-0.5, 0.5, audio.shape[1])
        grain_db = 10 * np.log10(self.random.exponential(size=audio.shape) + 1e-6)  # of the power of one cell of noise
        noise_db = torch.from_numpy((grain_db + colour_db - snr_db).astype(np.float32))
        loudest = audio.mean(1).max()
        return torch.logaddexp(audio * self._nepers, loudest * self._nepers + noise_db / NEPER_DB) / self._nepers

    @property
    def _nepers(self) -> float:
        """Of one unit of the features, as natural logarithms of powers."""
        return self.decibels / NEPER_DB

    def _noisy(self, audio: torch.Tensor) -> torch.Tensor:
        if self.how.gain:
            audio = audio + float(self.random.normal(0.0, self.how.gain)) * self.std.mean()
        if self.how.noise:
            noise = self.random.standard_normal(audio.shape, dtype=np.float32) * self.random.uniform(0, self.how.noise)
            audio = audio + torch.from_numpy(noise) * self.std
        return audio

    def _blanked(self, audio: torch.Tensor) -> torch.Tensor:
        frames, bins = audio.shape
        hidden_frames = self._masked(self.how.time_masks, self.how.time_share, frames)
        hidden_bins = self._masked(self.how.frequency_masks if bins > 1 else 0, self.how.frequency_share, bins)
        hidden = hidden_frames[:, None] | hidden_bins
        return torch.where(hidden, self.mean, audio) if hidden.any() else audio

    def _masked(self, count: int, share: float, size: int) -> torch.Tensor:
        """Which of `size` places are blanked, `[size]`."""
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

    def _factor(self, most: float) -> float:
        return float(self.random.uniform(1 - most, 1 + most))


def _has_one_label(example: Example) -> bool:
    """Not the samples of a policy gradient, nor a sample and the reference that is learned beside it."""
    return example.objective == "likelihood" and len(example.group.texts) == 1


def _between(rows: torch.Tensor, places: np.ndarray) -> torch.Tensor:
    """Rows `[T, F]` at places that need not be whole numbers, by linear interpolation: `[places, F]`."""
    low = torch.from_numpy(places.astype(np.int64))
    high = (low + 1).clamp(max=len(rows) - 1)
    return torch.lerp(rows[low], rows[high], torch.from_numpy((places - low.numpy()).astype(np.float32))[:, None])
