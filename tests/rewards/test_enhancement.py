"""The reward of enhanced speech: its parts, their weights, and what cannot be scored."""

from collections.abc import Sequence

import numpy as np
import pytest

from soundraft.audio.waveform import CleanSpeech, Waveform
from soundraft.metrics import signal
from soundraft.params.enhancement import RewardWeights
from soundraft.rewards.base import Evidence
from soundraft.rewards.enhancement import EnhancementReward
from soundraft.runtime import UserError
from tests.metrics.test_signal import RATE_HZ, speechlike

CLEAN = speechlike()
NOISE = np.random.default_rng(0).standard_normal(len(CLEAN)).astype(np.float32)
NOISY = CLEAN + 0.05 * NOISE
TARGET = CleanSpeech(CLEAN, name="a", noisy=NOISY, facts={"text": "one two"})


def weights(**given: float) -> RewardWeights:
    return RewardWeights(**{**dict.fromkeys(("sisdr", "estoi", "pesq", "dnsmos", "recognizer"), 0.0), **given})


def test_the_reward_is_the_weighted_mean_of_the_scaled_measures() -> None:
    better, worse = Waveform(CLEAN + 0.02 * NOISE), Waveform(CLEAN + 0.2 * NOISE)
    score = EnhancementReward(weights(sisdr=3.0, estoi=1.0), rate_hz=RATE_HZ)
    found = score.verify_samples([better, worse, better], Evidence(TARGET))
    si_sdr = signal.si_sdr(reference=CLEAN, estimate=better.samples).value
    estoi = signal.estoi(reference=CLEAN, estimate=better.samples, rate_hz=RATE_HZ).value
    assert si_sdr is not None
    assert estoi is not None
    assert found[0].parts == {"sisdr": si_sdr, "estoi": estoi}
    assert found[0].reward == pytest.approx((3 * (si_sdr + 10) / 40 + estoi) / 4)
    assert found[2] == found[0]
    assert [each.success for each in found] == [True, False, True]
    assert found[1].reward is not None
    assert found[0].reward is not None
    assert found[1].reward < found[0].reward


def test_the_recogniser_is_asked_once_for_all_answers_of_a_clip() -> None:
    asked = []

    def transcriber(samples: Sequence[np.ndarray], text: str) -> list[float]:
        asked.append((len(samples), text))
        return [0.25, 0.75]

    score = EnhancementReward(weights(recognizer=1.0), rate_hz=RATE_HZ, transcriber=transcriber)
    answers = [Waveform(CLEAN), Waveform(NOISY), Waveform(CLEAN)]
    assert [each.reward for each in score.verify_samples(answers, Evidence(TARGET))] == [0.25, 0.75, 0.25]
    assert asked == [(2, "one two")]
    silent = CleanSpeech(CLEAN, name="a", noisy=NOISY, facts={})
    assert score.verify_samples(answers[:1], Evidence(silent))[0].reason == "no transcript"
    with pytest.raises(UserError, match="name one in"):
        EnhancementReward(weights(recognizer=1.0), rate_hz=RATE_HZ)


def test_what_cannot_be_measured_has_no_reward() -> None:
    score = EnhancementReward(weights(sisdr=1.0), rate_hz=RATE_HZ)
    silence = Waveform(np.zeros_like(CLEAN))
    (found,) = score.verify_samples([silence], Evidence(TARGET))
    assert found.reward is None
    assert found.reason == "the estimate is silent"
    assert score.verify_samples([silence], Evidence("a text"))[0].reason == "no clean speech"
    pytest.importorskip("pesq")
    (found,) = EnhancementReward(weights(pesq=1.0), rate_hz=RATE_HZ).verify_samples([Waveform(CLEAN)], Evidence(TARGET))
    assert found.reward == pytest.approx(1.0, abs=1e-2)
