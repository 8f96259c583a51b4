"""How near enhanced speech is to the clean one: SI-SDR, SDR, STOI, ESTOI, PESQ, DNSMOS.

Each takes samples `[N]`, a reference and an estimate of the same length and rate. What is not defined, as on silence or
on a clip that is too short, is `None` with a reason.
"""

import functools
import importlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from soundraft.audio import io
from soundraft.runtime import UserError

LIMIT_DB = 100.0  # an estimate without any error is so good, and no better; one without any speech is as bad
WIDEBAND_HZ, NARROWBAND_HZ = 16000, 8000  # the rates of PESQ; DNSMOS takes the first
_EXTRA = "pip install 'soundraft[enhancement]'"


@dataclass(frozen=True)
class Quality:
    """One measurement; `reason` says why there is no value."""

    value: float | None
    reason: str = ""


def si_sdr(*, reference: np.ndarray, estimate: np.ndarray) -> Quality:
    """Scale-invariant signal-to-distortion ratio, dB: 10 lg(‖αs‖² / ‖ŝ − αs‖²), α = ⟨ŝ, s⟩/‖s‖², means removed.

    Le Roux et al., "SDR – half-baked or well done?", ICASSP 2019. At most `LIMIT_DB` either way.
    """
    _check_alike(reference, estimate)
    clean, found = (each.astype(np.float64) - each.mean(dtype=np.float64) for each in (reference, estimate))
    silent = _silent(clean, found)
    if silent:
        return Quality(None, silent)
    target = (found @ clean) / (clean @ clean) * clean
    return Quality(_ratio_db(target, found - target))


def sdr(*, reference: np.ndarray, estimate: np.ndarray) -> Quality:
    """Signal-to-distortion ratio, dB: 10 lg(‖s‖² / ‖ŝ − s‖²), at most `LIMIT_DB` either way; level errors count."""
    _check_alike(reference, estimate)
    clean, found = reference.astype(np.float64), estimate.astype(np.float64)
    silent = _silent(clean, found)
    return Quality(None, silent) if silent else Quality(_ratio_db(clean, found - clean))


def stoi(*, reference: np.ndarray, estimate: np.ndarray, rate_hz: int, extended: bool = False) -> Quality:
    """Short-time objective intelligibility, about 0 to 1: Taal et al. 2011; `extended`: Jensen and Taal 2016."""
    measured = importlib.import_module("pystoi").stoi
    _check_alike(reference, estimate)
    silent = _silent(reference, estimate)
    if silent:
        return Quality(None, silent)
    with _numpy_seeded(), warnings.catch_warnings():  # the extended one adds noise of 1e-16 from numpy's global seed
        warnings.filterwarnings("error", "Not enough STFT frames", RuntimeWarning)
        try:
            return Quality(float(measured(reference, estimate, rate_hz, extended=extended)))
        except RuntimeWarning:
            return Quality(None, "less than 0.4 s without the pauses: too short for STOI")


def estoi(*, reference: np.ndarray, estimate: np.ndarray, rate_hz: int) -> Quality:
    return stoi(reference=reference, estimate=estimate, rate_hz=rate_hz, extended=True)


def pesq(*, reference: np.ndarray, estimate: np.ndarray, rate_hz: int) -> Quality:
    """Perceptual evaluation of speech quality, 1 to 4.64: ITU-T P.862.2, or P.862 for audio below 16 kHz.

    Raises:
        UserError: when the package is not installed.
    """
    package = _package("pesq")
    _check_alike(reference, estimate)
    silent = _silent(reference, estimate)
    if silent:
        return Quality(None, silent)
    own_hz, mode = (WIDEBAND_HZ, "wb") if rate_hz >= WIDEBAND_HZ else (NARROWBAND_HZ, "nb")
    clean, found = (io.resample(each, rate_hz, own_hz) for each in (reference, estimate))
    try:
        return Quality(float(package.pesq(own_hz, clean, found, mode)))
    except package.BufferTooShortError:
        return Quality(None, "less than 0.25 s: too short for PESQ")
    except package.NoUtterancesError:
        return Quality(None, "PESQ finds no speech in it")


def dnsmos(*, estimate: np.ndarray, rate_hz: int) -> Quality:
    """The overall quality, 1 to 5, that DNSMOS P.835 predicts without a reference: Reddy et al., ICASSP 2022.

    Clips shorter than 9 s are repeated to that length, as the package does.

    Raises:
        UserError: when the package is not installed.
    """
    scorer = _dnsmos()
    if not np.abs(estimate).max(initial=0.0):
        return Quality(None, "the estimate is silent")
    samples = io.resample(estimate, rate_hz, WIDEBAND_HZ)
    samples = samples / max(1.0, float(np.abs(samples).max()))  # the package refuses more than full scale
    return Quality(float(scorer(samples, WIDEBAND_HZ, False)["ovrl_mos"]))


Measure = Callable[[np.ndarray, np.ndarray, int], Quality]  # reference, estimate, rate in Hz
MEASURES: Mapping[str, Measure] = {
    "sisdr": lambda clean, found, _: si_sdr(reference=clean, estimate=found),
    "sdr": lambda clean, found, _: sdr(reference=clean, estimate=found),
    "stoi": lambda clean, found, rate_hz: stoi(reference=clean, estimate=found, rate_hz=rate_hz),
    "estoi": lambda clean, found, rate_hz: estoi(reference=clean, estimate=found, rate_hz=rate_hz),
    "pesq": lambda clean, found, rate_hz: pesq(reference=clean, estimate=found, rate_hz=rate_hz),
    "dnsmos": lambda _, found, rate_hz: dnsmos(estimate=found, rate_hz=rate_hz),
}


def mean_of_known(counts: np.ndarray) -> np.ndarray:
    """Counts `[..., 2]`, how many clips have a value and the sum of the values → their mean, 0 where none has one."""
    clips, total = counts[..., 0], counts[..., 1]
    return total / np.maximum(clips, 1)


def counts_of(found: list[Quality]) -> np.ndarray:
    """`[N, 2]`: whether a clip has a value, and the value."""
    return np.array([(each.value is not None, each.value or 0.0) for each in found], dtype=np.float64).reshape(-1, 2)


def _check_alike(reference: np.ndarray, estimate: np.ndarray) -> None:
    if reference.shape != estimate.shape or reference.ndim != 1:
        raise ValueError(f"reference {reference.shape} and estimate {estimate.shape}: both must be [N]")


def _silent(reference: np.ndarray, estimate: np.ndarray) -> str:
    """Which of them has no sound; empty when both have."""
    names = {"reference": reference, "estimate": estimate}
    return next((f"the {name} is silent" for name, each in names.items() if not np.abs(each).max(initial=0.0)), "")


def _ratio_db(signal: np.ndarray, error: np.ndarray) -> float:
    floor = 10 ** (-LIMIT_DB / 10)
    power, wrong = float(signal @ signal), float(error @ error)
    return float(10 * np.log10(max(power, floor * wrong) / max(wrong, floor * power)))


@contextmanager
def _numpy_seeded() -> Iterator[None]:
    """Inside, numpy's global generator starts from 0; afterwards it is as before."""
    state = np.random.get_state()
    np.random.seed(0)
    try:
        yield
    finally:
        np.random.set_state(state)


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        missing = error.name or name
        raise UserError(f"{name} needs the package {missing.partition('.')[0]}: {_EXTRA}") from error


@functools.cache
def _dnsmos() -> Any:
    """The package's scorer with sessions of one thread, which are nine times faster on short clips."""
    runtimes, package = _package("onnxruntime"), _package("speechmos.dnsmos")
    options = runtimes.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    scorer = package.DNSMOS.__new__(package.DNSMOS)
    folder = Path(package.__file__).parent / "dnsmos_models"
    for attribute, name in (("onnx_sess", "sig_bak_ovr.onnx"), ("p808_onnx_sess", "model_v8.onnx")):
        setattr(scorer, attribute, runtimes.InferenceSession(str(folder / name), options))
    return scorer
