"""What an enhancer minimises: distances of an estimate from clean speech, samples `[N]` both, each a scalar.

All but the SI-SDR and the SDR are of signals divided by the RMS of the clean one: weights do not depend on level.
"""

from collections.abc import Callable, Mapping

import torch

TINY = 1e-8
_WINDOW, _HOP, _POWER = 512, 128, 0.3


def negative_si_sdr(estimate: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
    """−SI-SDR, dB: see `metrics.signal.si_sdr`."""
    estimate, clean = estimate - estimate.mean(), clean - clean.mean()
    target = (estimate @ clean) / (clean @ clean + TINY) * clean
    return _negative_db(target.square().sum(), (estimate - target).square().sum())


def negative_sdr(estimate: torch.Tensor, clean: torch.Tensor, *, taps: int) -> torch.Tensor:
    """−SDR, dB, where any filter of so many taps on the clean speech counts as no error.

    The filter is the least-squares one; of its result `⟨R⁻¹b, b⟩` is the power, with R the autocorrelation of the clean
    speech and b its correlation with the estimate: Scheibler, "SDR – Medium Rare with Fast Computations", ICASSP 2022.
    """
    size = 1 << (len(clean) + taps - 1).bit_length()
    spectrum, other = torch.fft.rfft(clean.double(), size), torch.fft.rfft(estimate.double(), size)
    autocorrelation = torch.fft.irfft(spectrum.abs().square(), size)[:taps]
    correlation = torch.fft.irfft(spectrum.conj() * other, size)[:taps]
    lags = torch.arange(taps, device=clean.device)
    matrix = autocorrelation[(lags[:, None] - lags[None, :]).abs()]
    loaded = matrix + torch.eye(taps, dtype=matrix.dtype, device=clean.device) * (autocorrelation[0] * 1e-8 + TINY)
    power = correlation @ torch.linalg.solve(loaded, correlation)
    whole = estimate.double().square().sum()
    return _negative_db(power, (whole - power).clamp_min(0)).to(estimate.dtype)


def compressed_magnitude(estimate: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
    """Mean of `(|Ŝ|^0.3 − |S|^0.3)²`: quiet parts count nearly as much as loud ones."""
    one, other = (_spectrum(each).abs().clamp_min(1e-6) ** _POWER for each in _levelled(estimate, clean))
    return (one - other).square().mean()


def mean_squared(estimate: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
    one, other = _levelled(estimate, clean)
    return (one - other).square().mean()


def mean_absolute(estimate: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
    one, other = _levelled(estimate, clean)
    return (one - other).abs().mean()


def spectral_squared(estimate: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
    one, other = map(_spectrum, _levelled(estimate, clean))
    return _squared(one - other).mean()


def spectral_absolute(estimate: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
    one, other = map(_spectrum, _levelled(estimate, clean))
    return (_squared(one - other) + 1e-12).sqrt().mean()  # a root has no gradient at 0


def weighted(
    estimate: torch.Tensor, clean: torch.Tensor, *, weights: Mapping[str, float], taps: int
) -> torch.Tensor:  # fmt: skip
    """The sum of the losses with weight.

    Args:
        weights: by the names of `LOSSES`, and `sdr`.
        taps: of the filter that `sdr` allows.
    """
    total = estimate.new_zeros(())
    for name, weight in weights.items():
        if weight:
            found = negative_sdr(estimate, clean, taps=taps) if name == "sdr" else LOSSES[name](estimate, clean)
            total = total + weight * found
    return total


LOSSES: Mapping[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "si_sdr": negative_si_sdr,
    "compressed": compressed_magnitude,
    "mse": mean_squared,
    "mae": mean_absolute,
    "spectral_mse": spectral_squared,
    "spectral_mae": spectral_absolute,
}


def _negative_db(power: torch.Tensor, error: torch.Tensor) -> torch.Tensor:
    return -10 * torch.log10((power + TINY) / (error + TINY))


def _levelled(estimate: torch.Tensor, clean: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    level = clean.square().mean().sqrt() + 1e-6
    return estimate / level, clean / level


def _spectrum(samples: torch.Tensor) -> torch.Tensor:
    window = torch.hann_window(_WINDOW, device=samples.device)
    return torch.stft(
        samples, _WINDOW, _HOP, window=window, center=True, pad_mode="constant", return_complex=True
    )  # fmt: skip


def _squared(spectrum: torch.Tensor) -> torch.Tensor:
    return spectrum.real.square() + spectrum.imag.square()
