"""Speech enhancement by a mask on the spectrum: the input as it is, the Wiener filter, and recurrent networks.

Letters in shapes: F bins of the spectrum (`fft_length` / 2 + 1), beside those of `models.base`.

The output is `x̂ = ISTFT(mask · STFT(x))` with `mask = floor + (1 − floor) · σ(logits)`, so the phase is the input's. An
answer is a `Candidate`: the mask of a clip with smooth noise on its logits, or without. There is no likelihood: RAFT
learns a candidate by the distance of logits, which are what the network can reach.
"""

import base64
import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import xxhash
from torch import nn

from soundraft import files, runtime
from soundraft.audio import io
from soundraft.audio.waveform import Waveform
from soundraft.models.base import ModelError, pad
from soundraft.models.checkpoints import described
from soundraft.models.signal_losses import weighted
from soundraft.params.base import Section
from soundraft.params.enhancement import UNTRAINED, CandidateParams, Enhancement, EnhancerLoss, NetworkName

FORMAT = "soundraft-enhancer"
CONFIG, WEIGHTS = "config.json", "model.safetensors"
TINY = 1e-6
# the Wiener filter: decision-directed, on a running minimum of the power (Ephraim and Malah 1984; Martin 2001)
NOISE_BIAS = 1.8  # the minimum of a smoothed power lies so far below its mean
NOISE_FRAMES = 60  # to each side
SMOOTHED_FRAMES = 5
MEMORY = 0.98
LEAST_SNR = 10**-2.5
WIENER_FLOOR = 0.1
# long recordings: windows of so many seconds, of which this much overlaps; the crossfade is the middle of the overlap
WINDOW_S, OVERLAP_S = 12.0, 2.0


@dataclass(frozen=True)
class Spectrum:
    """The transform: periodic Hann window, centred frames."""

    fft_length: int
    hop_length: int

    @property
    def bins(self) -> int:
        return self.fft_length // 2 + 1

    def frames(self, samples: int) -> int:
        return samples // self.hop_length + 1

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        """`[..., N]` → `[..., F, T]`, complex."""
        window = torch.hann_window(self.fft_length, device=samples.device)
        return torch.stft(
            samples, self.fft_length, self.hop_length, window=window, center=True, pad_mode="constant",
            return_complex=True,
        )  # fmt: skip

    def inverse(self, spectrum: torch.Tensor, samples: int) -> torch.Tensor:
        window = torch.hann_window(self.fft_length, device=spectrum.device)
        return torch.istft(spectrum, self.fft_length, self.hop_length, window=window, center=True, length=samples)


@dataclass(frozen=True)
class Masked:
    """A clip `[N]` and the logits of its mask, float16 `[F, T]`."""

    noisy: np.ndarray
    logits: np.ndarray
    spectrum: Spectrum
    floor: float

    @functools.cached_property
    def digest(self) -> str:
        content = xxhash.xxh3_128(np.ascontiguousarray(self.noisy).data)
        content.update(np.ascontiguousarray(self.logits).data)
        return content.hexdigest()


class Candidate(Waveform):
    """One way to enhance a clip; its samples are computed when they are asked for, so that K of them cost no memory.

    Attributes:
        noise: on the logits, float32 `[bands, times]`, interpolated to all bins and frames; empty for none.
    """

    def __init__(self, of: Masked, noise: np.ndarray) -> None:
        self.of, self.noise = of, np.ascontiguousarray(noise, dtype=np.float32)

    @property
    def samples(self) -> np.ndarray:  # type: ignore[override]
        clip = self.of
        mask = mask_of(self.logits(), clip.floor)
        spectrum = clip.spectrum.forward(torch.from_numpy(clip.noisy))
        found: np.ndarray = clip.spectrum.inverse(spectrum * mask, len(clip.noisy)).numpy()
        return found

    def logits(self) -> torch.Tensor:
        """`[F, T]`, float32."""
        logits = torch.from_numpy(self.of.logits).float()
        if not self.noise.size:
            return logits
        spread = torch.from_numpy(self.noise)[None, None]
        return logits + F.interpolate(spread, size=logits.shape, mode="bilinear", align_corners=True)[0, 0]

    @functools.cached_property
    def digest(self) -> str:
        return f"{self.of.digest}-{xxhash.xxh3_64_hexdigest(self.noise.data)}"

    def __len__(self) -> int:
        return len(self.of.noisy)

    def to_json(self) -> dict[str, Any]:
        """What `CandidateReader` takes; a clip goes with the candidate that has no noise, its first."""
        clip = self.of
        found: dict[str, Any] = {"of": clip.digest, "noise": _packed(self.noise)}
        if not self.noise.size:
            found |= {"noisy": _packed(clip.noisy), "logits": _packed(clip.logits), "floor": clip.floor}
            found |= vars(clip.spectrum)
        return found


class CandidateReader:
    """Candidates from JSON, those of a clip in the order drawn."""

    def __init__(self) -> None:
        self._clips: dict[str, Masked] = {}

    def read(self, value: Any) -> Candidate:
        if "noisy" in value:
            transform = Spectrum(value["fft_length"], value["hop_length"])
            clip = Masked(_unpacked(value["noisy"]), _unpacked(value["logits"]), transform, value["floor"])
            self._clips = {value["of"]: clip}  # the others of a clip follow it
        return Candidate(self._clips[value["of"]], _unpacked(value["noise"]))


def _packed(array: np.ndarray) -> list[Any]:
    return [str(array.dtype), list(array.shape), base64.b64encode(array.tobytes()).decode()]


def _unpacked(value: Any) -> np.ndarray:
    kind, shape, data = value
    return np.frombuffer(base64.b64decode(data), dtype=kind).reshape(shape).copy()


def mask_of(logits: torch.Tensor, floor: float) -> torch.Tensor:
    return floor + (1 - floor) * torch.sigmoid(logits)


def logits_of(gain: torch.Tensor, floor: float) -> torch.Tensor:
    """The logits whose mask is this gain, as far as sigmoids go."""
    return torch.logit(((gain - floor) / (1 - floor)).clamp(0.01, 0.99))


def wiener_gain(magnitude: torch.Tensor) -> torch.Tensor:
    """Magnitudes `[F, T]` → the gain of the decision-directed Wiener filter.

    The noise is the running minimum of the smoothed power, times `NOISE_BIAS`. ξ, the SNR before the filter, is
    `MEMORY` of that of the last frame's output and the rest of this frame's γ − 1; the gain is ξ/(1 + ξ).
    """
    power = magnitude.square()
    quietest = -F.max_pool1d(-smoothed(power), 2 * NOISE_FRAMES + 1, stride=1, padding=NOISE_FRAMES)
    over = (power / (quietest * NOISE_BIAS + TINY**2)).T.contiguous()  # γ, [T, F]
    fresh = (1 - MEMORY) * (over - 1).clamp_min(0)
    gains = _decision_directed(over.cpu().numpy(), fresh.cpu().numpy())
    return torch.from_numpy(gains).to(magnitude.device).T.clamp_min(WIENER_FLOOR)


def _decision_directed(over: np.ndarray, fresh: np.ndarray) -> np.ndarray:
    """The recursion over frames, `[T, F]` → `[T, F]`; NumPy takes a tenth of torch's time for so short vectors."""
    gains, snr, before = np.empty_like(over), np.empty_like(over[0]), np.zeros_like(over[0])
    for frame, gain in enumerate(gains):
        np.multiply(before, MEMORY, out=snr)
        np.add(snr, fresh[frame], out=snr)
        np.maximum(snr, LEAST_SNR, out=snr)
        np.divide(snr, np.add(snr, 1, out=gain), out=gain)
        np.multiply(np.square(gain, out=before), over[frame], out=before)
    return gains


def smoothed(values: torch.Tensor) -> torch.Tensor:
    """`[F, T]`, the mean of a few frames."""
    return F.avg_pool1d(values, SMOOTHED_FRAMES, stride=1, padding=SMOOTHED_FRAMES // 2, count_include_pad=False)


def noise_floor(magnitude: torch.Tensor) -> torch.Tensor:
    """The 10th percentile of each bin over time, `[F, T]` → `[F, 1]`."""
    place = max(1, magnitude.shape[-1] // 10)
    return smoothed(magnitude).kthvalue(place, dim=-1, keepdim=True).values.clamp_min(1e-5)


class MaskNetwork(nn.Module):
    """Magnitudes of one clip → what a network reads; what it gives → logits."""

    def __init__(self, options: Enhancement) -> None:
        super().__init__()
        self.floor = options.mask_floor
        # the clips' device is that of a weight, which the filters lack
        self.unit = nn.Parameter(torch.ones(()), requires_grad=False)

    def prepare(self, magnitude: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """`[F, T]` → features `[T, D]`, and the logits `[T, F]` to which those of the network are added."""
        raise NotImplementedError

    def forward(self, features: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """`[B, T, D]` → logits `[B, T, F]`."""
        raise NotImplementedError


class Identity(MaskNetwork):
    def prepare(self, magnitude: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return magnitude.T, torch.full_like(magnitude.T, 60.0)  # a mask of 1, to the last bit

    def forward(self, features: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(features)


class Wiener(Identity):
    def prepare(self, magnitude: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return magnitude.T, logits_of(wiener_gain(magnitude), self.floor).T


class Recurrent(MaskNetwork):
    parts = 2  # of the features, each of F

    def __init__(self, options: Enhancement) -> None:
        super().__init__(options)
        bins, width = Spectrum(options.fft_length, options.hop_length).bins, options.width
        self.input = nn.Sequential(nn.Linear(self.parts * bins, width), nn.LayerNorm(width), nn.ReLU())
        self.recurrent = nn.GRU(
            width, width, options.layers, batch_first=True, bidirectional=options.bidirectional
        )  # fmt: skip
        self.output = nn.Linear(width * (2 if options.bidirectional else 1), bins)

    def prepare(self, magnitude: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The logarithm of the magnitude without its mean, and of how far it is above the noise floor."""
        level = torch.log(magnitude)
        above = torch.log1p(magnitude / noise_floor(magnitude))
        features = torch.cat([0.4 * (level - level.mean()), 0.5 * above])
        return features.T, torch.zeros_like(magnitude.T)

    def forward(self, features: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.output(_recurrent(self.recurrent, self.input(features), lengths))
        return logits


class WienerCorrection(Recurrent):
    """Starts as the Wiener filter and learns to correct its logits."""

    parts = 3

    def __init__(self, options: Enhancement) -> None:
        super().__init__(options)
        with torch.no_grad():
            self.output.weight.mul_(0.05)
            self.output.bias.zero_()

    def prepare(self, magnitude: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features, _ = super().prepare(magnitude)
        gain = wiener_gain(magnitude).T
        return torch.cat([features, torch.log(gain)], 1), logits_of(gain, self.floor)


class SubBand(MaskNetwork):
    """Corrects the Wiener filter band by band, four bins each, by one recurrent network for all bands.

    It sees the neighbours of a band and a few numbers of the whole frame, relative to the noise floor: noise of another
    colour looks the same to it. It answers for a frame when it has seen a few more. After Hao et al., "FullSubNet",
    ICASSP 2021; as there, a step of training has gradients of some bands only, which takes two thirds of the time.
    """

    width = 4  # of a band, in bins
    above, gains, contrasts = (-8, 11), (-1, 4), (-3, 6)  # which bins around the first of a band, of each feature
    regions = (2, 16, 32, 64, 96, 160)  # where the parts of a frame begin, of 257 bins
    frames_ahead: torch.Tensor
    ahead = 4  # frames, where the network does not read backwards
    learned = 0.5  # share of the bands that a step of training learns

    def __init__(self, options: Enhancement) -> None:
        super().__init__(options)
        self.bins = Spectrum(options.fft_length, options.hop_length).bins
        self.bands = -(-self.bins // self.width)
        self.edges = [round(each * self.bins / 257) for each in self.regions] + [self.bins]
        self.read = sum(high - low + 1 for low, high in (self.above, self.gains, self.contrasts)) + len(self.regions)
        self.recurrent = nn.GRU(
            self.read, options.width, options.layers, batch_first=True, bidirectional=options.bidirectional
        )  # fmt: skip
        self.output = nn.Linear(options.width * (2 if options.bidirectional else 1), self.width)
        self.register_buffer("frames_ahead", torch.tensor(self.ahead))
        with torch.no_grad():
            self.output.weight.mul_(0.1)
            self.output.bias.zero_()

    def prepare(self, magnitude: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """How far above the noise floor, the Wiener gain, and how far above its neighbours in frequency."""
        gain, level = wiener_gain(magnitude), torch.log(magnitude)
        over = 0.5 * torch.log1p(magnitude / noise_floor(magnitude))
        envelope = F.avg_pool1d(level.T, 31, stride=1, padding=15, count_include_pad=False).T
        parts = torch.stack([over[low:high].mean(0) for low, high in pairwise(self.edges)], -1)  # [T, regions]
        features = [
            self._neighbours(over, *self.above),
            self._neighbours(torch.log(gain), *self.gains),
            self._neighbours(level - envelope, *self.contrasts),
            parts[:, None].expand(-1, self.bands, -1),
        ]
        return torch.cat(features, -1).flatten(1), logits_of(gain, self.floor).T

    def forward(self, features: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """`[B, T, bands · read]`, each band a sequence of its own → `[B, T, F]`."""
        clips, frames, _ = features.shape
        bands = features.reshape(clips, frames, self.bands, self.read).transpose(1, 2).flatten(0, 1)
        lengths = lengths.repeat_interleave(self.bands)
        found = self._learned_in_part(bands, lengths) if self.training else self._band_logits(bands, lengths)
        return found.unflatten(0, (clips, self.bands)).transpose(1, 2).flatten(2)[..., : self.bins]

    def _learned_in_part(self, bands: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """The same values, with gradients of a random part of the bands."""
        order = torch.randperm(len(bands)).to(bands.device)
        count = round(len(bands) * self.learned)
        learned = self._band_logits(bands[order[:count]], lengths[order[:count]])
        with torch.no_grad():
            others = self._band_logits(bands[order[count:]], lengths[order[count:]])
        return torch.cat([learned, others])[order.argsort()]

    def _band_logits(self, bands: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """`[N, T, read]` → `[N, T, width]`."""
        ahead = 0 if self.recurrent.bidirectional else int(self.frames_ahead.item())
        hidden = _recurrent(self.recurrent, F.pad(bands, (0, 0, 0, ahead)), lengths)
        found: torch.Tensor = self.output(hidden[:, ahead:])
        return found

    def _neighbours(self, values: torch.Tensor, low: int, high: int) -> torch.Tensor:
        """`[F, T]` → `[T, bands, high − low + 1]`; 0 beyond the ends."""
        padded = F.pad(values.T, (-low, high + 1))
        return padded.unfold(1, high - low + 1, self.width)[:, : self.bands]


def _recurrent(network: nn.GRU, values: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """`[B, T, D]` → hidden states; backwards from each clip's own end."""
    if not network.bidirectional:
        return network(values)[0]
    packed = nn.utils.rnn.pack_padded_sequence(values, lengths.cpu(), batch_first=True, enforce_sorted=False)
    hidden, _ = nn.utils.rnn.pad_packed_sequence(network(packed)[0], batch_first=True)
    return hidden


NETWORKS: dict[NetworkName, type[MaskNetwork]] = {
    "identity": Identity,
    "wiener": Wiener,
    "wiener_correction": WienerCorrection,
    "sub_band": SubBand,
    "recurrent": Recurrent,
}


@dataclass(frozen=True)
class CandidateLosses:
    """The losses `[K]` of learning each of a clip's answers."""

    losses: torch.Tensor


class Enhancer:
    """An enhancer with the protocol `models.base.Model`; its features are samples `[N]`."""

    takes_masking = False

    def __init__(self, options: Enhancement) -> None:
        self.options = options
        self.device = runtime.device()
        self.sample_rate_hz = options.sample_rate_hz
        self.spectrum = Spectrum(options.fft_length, options.hop_length)
        self.model: Any = NETWORKS[options.network](options).to(self.device)

    def extract(self, samples: np.ndarray) -> torch.Tensor:
        """Samples `[N]` as they are; ModelError when there are fewer than a window has."""
        if len(samples) < self.spectrum.fft_length:
            least_ms = 1000 * self.spectrum.fft_length / self.sample_rate_hz
            raise ModelError(f"{len(samples)} samples: an enhancer needs {least_ms:.0f} ms")
        return torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32))

    def features_depend_on(self) -> dict[str, Any]:
        return {"samples": self.sample_rate_hz, "least": self.spectrum.fft_length}

    def encode(self, features: Sequence[torch.Tensor]) -> list[Masked]:
        with torch.inference_mode():
            _, logits = self._logits(features)
            floor = self.options.mask_floor
            return [
                Masked(clip.numpy(), own.half().cpu().numpy(), self.spectrum, floor)
                for clip, own in zip(features, logits, strict=True)
            ]

    def best(self, encoded: Sequence[Masked]) -> list[Candidate]:
        return [Candidate(clip, np.empty((0, 0))) for clip in encoded]

    def sample(
        self, encoded: Sequence[Masked], count: int, *, temperature: float, seeds: Sequence[int]
    ) -> list[list[Candidate]]:  # fmt: skip
        """The mask itself first, then others with noise on it."""
        found = []
        for clip, seed in zip(encoded, seeds, strict=True):
            generator = torch.Generator().manual_seed(seed)
            drawn = [self._noise(clip, temperature, generator) for _ in range(count - 1)]
            found.append([Candidate(clip, np.empty((0, 0))), *(Candidate(clip, noise) for noise in drawn)])
        return found

    def can_learn(self, answer: Any) -> bool:
        return isinstance(answer, Waveform) and len(answer) >= self.spectrum.fft_length

    def loss(self, features: Sequence[torch.Tensor], answers: Sequence[Sequence[Any]]) -> list[CandidateLosses]:
        spectra, logits = self._logits(features)
        found = []
        for clip, spectrum, own, group in zip(features, spectra, logits, answers, strict=True):
            losses = [self._loss(answer, own, spectrum, len(clip)) for answer in group]
            found.append(CandidateLosses(torch.stack(losses)))
        return found

    def save(self, folder: Path) -> None:
        from safetensors.torch import save

        weights = {name: value.detach().cpu().contiguous() for name, value in self.model.state_dict().items()}
        files.write_json(folder / CONFIG, {"format": FORMAT, "enhancement": self.options.model_dump()})
        files.write_bytes(folder / WEIGHTS, save(weights))

    def _logits(self, features: Sequence[torch.Tensor]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Of each clip its spectrum and the logits of its mask, `[F, T]`; a clip's do not depend on the others."""
        spectra = [self.spectrum.forward(clip.to(self.device)) for clip in features]
        with torch.no_grad():  # what the network reads is not learned
            level = [clip.square().mean().sqrt().item() + TINY for clip in features]
            read, added = zip(
                *(
                    self.model.prepare((each.abs() / loud).clamp_min(TINY))
                    for each, loud in zip(spectra, level, strict=True)
                ),
                strict=True,
            )
            padded, lengths = pad(read)
        found = self.model(padded, lengths)
        return spectra, [own[: len(more)].T + more.T for own, more in zip(found, added, strict=True)]

    def _loss(self, answer: Any, logits: torch.Tensor, spectrum: torch.Tensor, samples: int) -> torch.Tensor:
        if not self.can_learn(answer):
            raise ModelError(
                f"an enhancer learns speech of at least {self.spectrum.fft_length} samples, not {answer!r}"
            )
        if len(answer) != samples:
            raise ModelError(f"a target of {len(answer)} samples for a clip of {samples}")
        if isinstance(answer, Candidate) and self.options.candidates.learned == "mask":
            weight = spectrum.detach().abs() ** 0.3
            wanted = answer.logits().to(self.device)
            return (weight * (logits - wanted).square()).sum() / weight.sum().clamp_min(TINY)
        estimate = self.spectrum.inverse(spectrum * mask_of(logits, self.options.mask_floor), samples)
        loss = self.options.loss
        target = torch.from_numpy(answer.samples).to(self.device)
        return weighted(estimate, target, weights=loss.weights.leaves(), taps=loss.filter_taps)

    def _noise(self, clip: Masked, temperature: float, generator: torch.Generator) -> np.ndarray:
        options = self.options.candidates
        times = max(3, clip.logits.shape[1] // options.frames)
        smooth = torch.randn(options.bands, times, generator=generator)
        common = options.offset * torch.randn((), generator=generator)
        return (temperature * options.deviation * (smooth + common)).numpy()


def build(options: Enhancement) -> Enhancer:
    """A new enhancer; its weights are drawn from torch's global seed."""
    return Enhancer(options)


def is_enhancer(folder: Path) -> bool:
    """Whether `Enhancer.save` wrote this folder."""
    return described(folder).get("format") == FORMAT


def load_enhancer(
    folder: Path, *, loss: EnhancerLoss | None = None, candidates: CandidateParams | None = None
) -> Enhancer:
    """One that `Enhancer.save` wrote.

    Args:
        loss, candidates: of its further training, in place of those that it was saved with.

    Raises:
        ModelError: when it is none, or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    if not is_enhancer(folder):
        raise ModelError(f"{folder} is no enhancer of ours")
    given: dict[str, Section] = {}
    if loss is not None:
        given["loss"] = loss
    if candidates is not None:
        given["candidates"] = candidates
    try:
        options = Enhancement.model_validate(files.read_json(folder / CONFIG)["enhancement"])
        model = Enhancer(options.model_copy(update=given))
        weights = load((folder / WEIGHTS).read_bytes())
        if isinstance(model.model, SubBand):
            weights.setdefault("frames_ahead", torch.tensor(0))  # saved before it read ahead
        model.model.load_state_dict(weights)
    except (OSError, KeyError, ValueError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"{folder}: the enhancer is damaged: {error}") from error
    model.model.eval()
    return model


# Recordings of any length: windows that overlap, each enhanced alone, and faded into the next.


def enhance(
    model: Enhancer, blocks: Iterable[np.ndarray], rate_hz: int, *, mix: float = 1.0
) -> Iterator[np.ndarray]:  # fmt: skip
    """Samples `[n, C]` of a recording at any rate, part by part → the same number of enhanced ones, part by part.

    Each channel is enhanced by itself. No more than a few windows are in memory.

    Args:
        mix: the share of the enhanced signal; the rest is the input.
    """
    overlap = round(OVERLAP_S * rate_hz)
    before: np.ndarray | None = None  # the end of the last window, enhanced, from where the next one begins
    for window, last in _windows(blocks, round(WINDOW_S * rate_hz), overlap):
        found = mix * _enhanced(model, window, rate_hz) + (1 - mix) * window
        if before is not None:
            rise = _rise(overlap)[:, None]
            head = min(overlap, len(found))
            found[:head] = (1 - rise[:head]) * before[:head] + rise[:head] * found[:head]
        if last:
            yield found
        else:
            before = found[len(found) - overlap :]
            yield found[: len(found) - overlap]


def _windows(blocks: Iterable[np.ndarray], length: int, overlap: int) -> Iterator[tuple[np.ndarray, bool]]:
    """Windows of `length` samples, of which each begins `overlap` before the end of the one before; the last is longer
    or shorter: at least `overlap`, where there is so much.
    """
    waiting: list[np.ndarray] = []
    count = 0
    for block in blocks:
        waiting.append(block)
        count += len(block)
        while count >= 2 * length:  # so that what is left is never too short
            joined = np.concatenate(waiting)
            yield joined[:length], False
            waiting = [joined[length - overlap :]]
            count = len(waiting[0])
    if count:
        yield np.concatenate(waiting), True


def _rise(overlap: int) -> np.ndarray:
    """0 to 1 over an overlap, in its middle half: what is nearest to an edge is not heard."""
    return np.clip(np.linspace(-0.5, 1.5, overlap, dtype=np.float32), 0.0, 1.0)


def _enhanced(model: Enhancer, window: np.ndarray, rate_hz: int) -> np.ndarray:
    """`[n, C]` → the same."""
    model.model.eval()
    channels = [io.resample(np.ascontiguousarray(each), rate_hz, model.sample_rate_hz) for each in window.T]
    least = model.spectrum.fft_length
    padded = [np.pad(each, (0, max(0, least - len(each)))) for each in channels]
    answers = model.best(model.encode([model.extract(each) for each in padded]))
    own = [answer.samples[: len(each)] for answer, each in zip(answers, channels, strict=True)]
    back = [io.resample(each, model.sample_rate_hz, rate_hz)[: len(window)] for each in own]
    return np.stack([np.pad(each, (0, len(window) - len(each))) for each in back], axis=1)


__all__ = [
    "NETWORKS", "UNTRAINED", "Candidate", "CandidateReader", "Enhancer", "Masked", "build", "enhance", "is_enhancer",
    "load_enhancer",
]  # fmt: skip
