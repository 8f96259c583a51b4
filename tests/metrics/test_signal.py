"""Signal measures, against formulas written otherwise and what the packages give."""

import numpy as np
import pytest

from soundraft.metrics import signal
from soundraft.metrics.signal import LIMIT_DB, counts_of, mean_of_known

RATE_HZ = 16000


def speechlike(seconds: float = 1.5, seed: int = 0) -> np.ndarray:
    """Noise in syllables `[N]`, float32."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    smooth = np.convolve(rng.standard_normal(len(time_s)), np.ones(8) / 8, "same")
    return (0.2 * smooth * (0.1 + np.sin(2 * np.pi * 3 * time_s) ** 2)).astype(np.float32)


def test_the_si_sdr_is_that_of_the_projection() -> None:
    clean, noise = speechlike(), np.random.default_rng(1).standard_normal(24000).astype(np.float32)
    estimate = 3 * clean + 0.02 * noise + 0.5  # level and mean do not count
    centred, wanted = estimate - estimate.mean(), clean - clean.mean()
    (level,), *_ = np.linalg.lstsq(wanted[:, None].astype(float), centred.astype(float), rcond=None)
    expected = 20 * np.log10(np.linalg.norm(level * wanted) / np.linalg.norm(centred - level * wanted))
    assert signal.si_sdr(reference=clean, estimate=estimate).value == pytest.approx(expected, abs=1e-3)


def test_levels_count_for_the_sdr_alone() -> None:
    clean = speechlike()
    assert signal.sdr(reference=clean, estimate=clean / 2).value == pytest.approx(20 * np.log10(2))
    assert signal.si_sdr(reference=clean, estimate=clean / 2).value == pytest.approx(LIMIT_DB)
    orthogonal = np.concatenate([clean[:1000], np.zeros(1000)]), np.concatenate([np.zeros(1000), clean[:1000]])
    found = signal.sdr(reference=orthogonal[0], estimate=orthogonal[1]).value
    assert found == pytest.approx(10 * np.log10(0.5), abs=1e-6)


def test_an_estimate_without_speech_has_the_least_value() -> None:
    time = np.arange(RATE_HZ) / RATE_HZ
    found = signal.si_sdr(reference=np.sin(2 * np.pi * 100 * time), estimate=np.sin(2 * np.pi * 300 * time))
    assert found.value is not None
    assert found.value <= -LIMIT_DB + 1


@pytest.mark.parametrize("name", ["sisdr", "sdr", "stoi", "estoi", "pesq"])
def test_silence_has_no_value_and_a_reason(name: str) -> None:
    clean, silence = speechlike(), np.zeros(24000, dtype=np.float32)
    if name == "pesq":
        pytest.importorskip("pesq")
    found = signal.MEASURES[name](clean, silence, RATE_HZ)
    assert found.value is None
    assert found.reason == "the estimate is silent"
    assert signal.MEASURES[name](silence, clean, RATE_HZ).reason == "the reference is silent"


def test_stoi_is_that_of_the_package_and_leaves_the_global_seed() -> None:
    from pystoi import stoi

    clean = speechlike()
    noisy = clean + 0.05 * np.random.default_rng(2).standard_normal(len(clean)).astype(np.float32)
    np.random.seed(5)
    before = np.random.get_state()[1].copy()  # type: ignore[union-attr]
    values = [signal.estoi(reference=clean, estimate=noisy, rate_hz=RATE_HZ).value for _ in range(2)]
    assert np.array_equal(np.random.get_state()[1], before)  # type: ignore[arg-type]
    assert values[0] == values[1] == pytest.approx(stoi(clean, noisy, RATE_HZ, extended=True), abs=1e-9)
    plain = signal.stoi(reference=clean, estimate=noisy, rate_hz=RATE_HZ).value
    assert plain == pytest.approx(stoi(clean, noisy, RATE_HZ))
    assert plain != values[0]


def test_what_is_too_short_is_said() -> None:
    short = speechlike(0.2)
    assert "too short for STOI" in signal.estoi(reference=short, estimate=short, rate_hz=RATE_HZ).reason
    pytest.importorskip("pesq")
    assert "too short for PESQ" in signal.pesq(reference=short, estimate=short, rate_hz=RATE_HZ).reason


def test_pesq_falls_with_noise() -> None:
    pytest.importorskip("pesq")
    clean = speechlike(3.0)
    noisy = clean + 0.1 * np.random.default_rng(3).standard_normal(len(clean)).astype(np.float32)
    worse, same = (signal.pesq(reference=clean, estimate=each, rate_hz=RATE_HZ).value for each in (noisy, clean))
    assert worse is not None
    assert same is not None
    assert worse < same == pytest.approx(4.64, abs=0.01)


@pytest.mark.slow  # its package imports librosa
def test_dnsmos_takes_signals_beyond_full_scale() -> None:
    pytest.importorskip("speechmos")
    noisy = speechlike(3.0)
    one, two = (signal.dnsmos(estimate=each, rate_hz=RATE_HZ).value for each in (noisy, 30 * noisy))
    assert one is not None
    assert two is not None
    assert 1 <= one <= 5


def test_clips_without_a_value_are_left_out_of_the_mean() -> None:
    counts = counts_of([signal.Quality(3.0), signal.Quality(None, "silent"), signal.Quality(-1.0)])
    assert mean_of_known(counts.sum(0)) == pytest.approx(1.0)
    assert mean_of_known(counts[1]) == 0.0


def test_signals_of_two_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="both must be"):
        signal.si_sdr(reference=np.ones(3), estimate=np.ones(4))
