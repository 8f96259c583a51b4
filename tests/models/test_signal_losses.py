"""Losses of enhancers: against least squares, and with gradients."""

import numpy as np
import pytest
import torch

from soundraft.metrics.signal import si_sdr
from soundraft.models import signal_losses
from soundraft.models.signal_losses import LOSSES, negative_sdr, weighted
from tests.metrics.test_signal import speechlike

CLEAN = torch.from_numpy(speechlike(0.4))
NOISY = CLEAN + 0.05 * torch.from_numpy(np.random.default_rng(0).standard_normal(len(CLEAN)).astype(np.float32))


def test_the_loss_is_the_metric_with_another_sign() -> None:
    found = si_sdr(reference=CLEAN.numpy(), estimate=NOISY.numpy()).value
    assert found is not None
    assert float(signal_losses.negative_si_sdr(NOISY, CLEAN)) == pytest.approx(-found, abs=1e-3)


def test_a_filter_of_the_speech_is_no_error() -> None:
    taps = torch.tensor([0.5, 0.0, -0.3, 0.2])
    filtered = torch.from_numpy(np.convolve(CLEAN.numpy(), taps.numpy())[: len(CLEAN)].astype(np.float32))
    assert float(negative_sdr(filtered, CLEAN, taps=8)) < -30  # of the speech's own end alone
    assert float(negative_sdr(filtered, CLEAN, taps=1)) > -12


def test_the_sdr_is_that_of_least_squares() -> None:
    taps, clean, noisy = 5, CLEAN.double().numpy(), NOISY.double().numpy()
    longer = np.concatenate([noisy, np.zeros(taps - 1)])
    delayed = np.stack([np.pad(clean, (lag, taps - 1 - lag)) for lag in range(taps)], axis=1)
    filtered = delayed @ np.linalg.lstsq(delayed, longer, rcond=None)[0]
    expected = 10 * np.log10(filtered @ filtered / ((longer - filtered) @ (longer - filtered)))
    assert float(negative_sdr(NOISY, CLEAN, taps=taps)) == pytest.approx(-expected, abs=1e-3)


@pytest.mark.parametrize("name", [*LOSSES, "sdr"])
def test_a_step_against_the_gradient_lowers_the_loss(name: str) -> None:
    weights = {**dict.fromkeys(LOSSES, 0.0), "sdr": 0.0, name: 2.0}
    estimate = NOISY.clone().requires_grad_()
    loss = weighted(estimate, CLEAN, weights=weights, taps=4)
    loss.backward()
    assert estimate.grad is not None
    step = 1e-3 * estimate.grad / estimate.grad.norm()
    assert float(weighted(estimate.detach() - step, CLEAN, weights=weights, taps=4)) < float(loss.detach())


def test_losses_do_not_depend_on_the_level_and_add_up() -> None:
    for name in ("compressed", "mse", "mae", "spectral_mse", "spectral_mae"):
        one, other = (float(LOSSES[name](factor * NOISY, factor * CLEAN)) for factor in (1.0, 10.0))
        assert one == pytest.approx(other, rel=1e-2), name
    both = weighted(NOISY, CLEAN, weights={"mse": 1.0, "mae": 3.0}, taps=1)
    assert float(both) == pytest.approx(float(LOSSES["mse"](NOISY, CLEAN)) + 3 * float(LOSSES["mae"](NOISY, CLEAN)))


def test_silence_has_a_finite_loss_and_gradient() -> None:
    silence = torch.zeros_like(CLEAN)
    estimate = NOISY.clone().requires_grad_()
    weighted(estimate, silence, weights=dict.fromkeys([*LOSSES, "sdr"], 1.0), taps=4).backward()
    assert estimate.grad is not None
    assert torch.isfinite(estimate.grad).all()
