import numpy as np
import pytest

from soundraft.audio.features import add_noise, alterations, change_speed
from tests.conftest import tone


def peak_hz(samples: np.ndarray, rate_hz: int = 8000) -> float:
    return float(np.abs(np.fft.rfft(samples)).argmax() * rate_hz / len(samples))


@pytest.mark.parametrize("speed", [0.9, 1.1])
def test_speed_changes_length_and_pitch(speed: float) -> None:
    changed = change_speed(tone(1.0), speed=speed)
    assert len(changed) == pytest.approx(8000 / speed, abs=2)
    assert peak_hz(changed) == pytest.approx(440 * speed, rel=0.01)
    assert changed.dtype == np.float32


def test_noise_has_the_level_asked_for_and_is_repeatable() -> None:
    clean = tone(1.0)
    noisy = add_noise(clean, snr_db=10.0)
    noise = noisy - clean
    assert 10 * np.log10(np.mean(clean**2) / np.mean(noise**2)) == pytest.approx(10, abs=0.2)
    assert np.array_equal(noisy, add_noise(clean, snr_db=10.0))


def test_alterations_are_named_by_what_they_do() -> None:
    changed = alterations(speeds=[0.9, 1.1], noise_snr_db=20.0)
    assert [change.name for change in changed] == ["speed 0.9", "speed 1.1", "noise 20 dB"]
    assert len(changed[0].apply(tone(0.5))) > 4000 > len(changed[1].apply(tone(0.5)))
