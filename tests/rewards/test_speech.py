"""The verifier of spoken texts: the formulas with answers made up, and how it reacts to what is done to real speech."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from soundraft import runtime
from soundraft.audio import io
from soundraft.corpora.espeak import Espeak
from soundraft.models.listening import SHIPPED, hear, open_recognizer
from soundraft.parallel import map_fresh
from soundraft.params import ParamsError, checked_section, defaults
from soundraft.params.tts import SpeechParams
from soundraft.rewards import PUBLISHED_WEIGHTS, AudioVerifier
from soundraft.rewards.base import Evidence, VerifyResult
from soundraft.rewards.speech import Heard, SpeechReward, Spoken
from soundraft.runtime import UserError

RATE_HZ = 24_000
TEXT = "turn on the kitchen light"


def options(**changes: object) -> SpeechParams:
    usual = defaults().tts.reward.model_dump() | {"weights": PUBLISHED_WEIGHTS}
    return checked_section(SpeechParams, **usual | changes)


def bursts(level: float = 0.07) -> np.ndarray:
    """A second of noise in bursts, with pauses 60 dB below: quality 1."""
    samples = np.random.default_rng(0).standard_normal(RATE_HZ)
    pause = np.arange(RATE_HZ) % 6000 >= 4000
    return level * np.where(pause, samples / 1000, samples)


def said(transcript: str = TEXT, log_prob: float | None = -1.0, **more: object) -> Spoken:
    return replace(Spoken(bursts(), RATE_HZ, Heard(transcript, log_prob, 20)), **more)  # type: ignore[arg-type]


def score(spoken: Spoken, text: str | None = TEXT, **changes: object) -> VerifyResult:
    return SpeechReward(options(**changes)).verify(hypothesis=spoken, reference=text)


def test_the_product_and_the_published_sum_of_the_parts() -> None:
    spoken = said("turn on the light", -4.0, similarity=0.675)
    wer, cer, likelihood = 1 / 5, 8 / 25, math.exp(-4 / 20)
    clear, like = 0.5 * (1 - (wer + cer) / 2) + 0.5 * likelihood, 0.5
    product, added = score(spoken), score(spoken, combine="sum")
    clean = product.parts["quality"]
    assert clean > 0.9
    assert product.parts["intelligibility"] == pytest.approx(clear)
    assert product.parts["consistency"] == pytest.approx(like)
    assert product.reward == pytest.approx(clear * (0.5 + 0.5 * clean) * (2 / 3 + like / 3))
    assert added.reward == pytest.approx(0.4 * clear + 0.4 * clean + 0.2 * like)
    assert product.parts.items() >= {"wer": wer, "cer": cer, "likelihood": likelihood}.items()


def test_an_impossible_text_is_not_certain() -> None:
    possible, impossible = score(said("", -40.0)), score(said("", None))
    assert impossible.parts["likelihood"] == 0
    assert possible.reward is not None
    assert impossible.reward is not None
    assert impossible.reward < possible.reward < 0.1
    # a likelihood never pays more than a certain one
    assert score(said(TEXT, 3.0)).parts["likelihood"] == 1


def test_what_cannot_be_scored_is_worst() -> None:
    unspelled = score(said(heard=Heard(TEXT, None, 0, "the recogniser cannot spell it")))
    assert (unspelled.reward, unspelled.success, unspelled.reason) == (0.0, False, "the recogniser cannot spell it")
    for text in ("", "!?", None):
        assert score(said(), text) == VerifyResult(None, False, reason="no text")
    for samples in (np.zeros(0), np.zeros(RATE_HZ), bursts(1e-4)):
        silent = score(said(samples=samples))
        assert (silent.reward, silent.parts["quality"], silent.reason) == (0.0, 0.0, "silent")


def test_a_voice_that_cannot_be_compared_is_left_out_and_the_reason_says_so() -> None:
    without = score(said())
    assert "consistency" not in without.parts
    assert without.reason == "consistency left out: no reference"
    assert score(said(unlike="1.2 s of speech")).reason == "consistency left out: 1.2 s of speech"
    not_asked = score(said(), weights={"intelligibility": 0.4, "quality": 0.4, "consistency": 0.0})
    assert (not_asked.reward, not_asked.reason) == (without.reward, "")


def test_answers_of_many_clips_are_heard_in_one_call_each_once() -> None:
    calls: list[list[tuple[str, str]]] = []

    def listen(answers: Sequence[str], texts: Sequence[str]) -> list[Spoken]:
        calls.append(list(zip(answers, texts, strict=True)))
        return [said(answer, -1.0) for answer in answers]

    reward = SpeechReward(options(), hear=listen)
    results = reward.verify_all(
        [["one", "two", "one"], ["two", "two"], ["one"]], [Evidence("One."), Evidence("two"), Evidence()]
    )
    assert calls == [[("one", "one"), ("two", "one"), ("two", "two")]]
    assert [[result.success for result in each] for each in results] == [[True, False, True], [True, True], [False]]
    assert results[0][0] == results[0][2]
    assert results[2][0].reward is None
    assert reward.verify_samples(["two"], Evidence("two")) == results[1][:1]


def test_ranges_that_fall_and_a_quality_of_nothing_are_refused() -> None:
    with pytest.raises(ParamsError, match="snr_db"):
        options(snr_db=[40.0, 10.0])
    with pytest.raises(ParamsError, match="snr_weight"):
        options(snr_weight=0.0, clipping_weight=0.0, crest_weight=0.0)


# Real speech, and the recogniser of this repository.

SPOKEN = (
    (TEXT, "en-us+m3", 160),
    ("seven four zero two nine", "en+f2", 150),
    ("robot pick the blue cup", "en-gb-scotland+m1", 170),
    ("set the bedroom heater to three five degrees", "en-029+f1", 155),
    ("open the garage door", "en-gb-x-rp+adam", 150),
    ("wait six one seconds and stop", "en-us+linda", 165),
)


@cache
@cache
def clips() -> tuple[list[np.ndarray], list[str]]:
    """At 24 kHz and as loud as s1 makes them."""
    (waves,) = map_fresh(speak, [SPOKEN], title="speak")  # espeak's breath noise follows from what it said before
    return [wave * np.float32(0.07 / wave.std()) for wave in waves], [text for text, _, _ in SPOKEN]


def speak(rows: Sequence[tuple[str, str, int]]) -> list[np.ndarray]:
    voice = Espeak()
    spoken = [voice.speak(text, name, rate, 50).astype(np.float32) for text, name, rate in rows]
    return [io.resample(wave, voice.sample_rate_hz, RATE_HZ) for wave in spoken]


def noisy(wave: np.ndarray, snr_db: float) -> np.ndarray:
    noise = np.random.default_rng(0).standard_normal(len(wave)).astype(np.float32)
    return wave + noise * np.float32(wave.std() * 10 ** (-snr_db / 20))


def rewards(waves: Sequence[np.ndarray], texts: Sequence[str], **changes: object) -> float:
    """The mean reward."""
    heard = hear(_recognizer(), waves, RATE_HZ, texts)
    reward = SpeechReward(options(**changes))
    spoken = [Spoken(wave, RATE_HZ, each) for wave, each in zip(waves, heard, strict=True)]
    found = [reward.verify(hypothesis=each, reference=text).reward for each, text in zip(spoken, texts, strict=True)]
    return float(np.mean([value for value in found if value is not None]))


@cache
def _recognizer():  # type: ignore[no-untyped-def]
    return open_recognizer("recognizer")


def test_the_reward_falls_with_what_is_done_to_speech_and_pays_nothing_for_nonsense() -> None:
    waves, texts = clips()
    times = np.arange(RATE_HZ) / RATE_HZ
    tone = (0.1 * np.sin(2 * np.pi * 440 * times)).astype(np.float32)
    white = (0.07 * np.random.default_rng(1).standard_normal(2 * RATE_HZ)).astype(np.float32)
    silence = np.zeros(2 * RATE_HZ, np.float32)
    limits = [np.float32(np.abs(wave).max() / 4) for wave in waves]
    found = {
        "clean": rewards(waves, texts),
        "20 dB": rewards([noisy(wave, 20) for wave in waves], texts),
        "10 dB": rewards([noisy(wave, 10) for wave in waves], texts),
        "0 dB": rewards([noisy(wave, 0) for wave in waves], texts),
        "clipped": rewards([np.clip(w, -limit, limit) for w, limit in zip(waves, limits, strict=True)], texts),
        "too soft": rewards([wave * np.float32(0.01) for wave in waves], texts),
        "wrong words": rewards(waves, [*texts[1:], texts[0]]),
        "said twice": rewards([np.concatenate([wave, wave]) for wave in waves], texts),
        "reversed": rewards([wave[::-1] for wave in waves], texts),
        "silence": rewards([silence] * len(texts), texts),
        "white noise": rewards([white] * len(texts), texts),
        "tone": rewards([tone] * len(texts), texts),
    }
    assert found["clean"] >= 0.85, found
    assert found["clean"] > found["20 dB"] > found["10 dB"] > found["0 dB"] > 0.1, found
    assert found["clipped"] < found["clean"] - 0.1, found
    nonsense = ("wrong words", "reversed", "silence", "white noise", "tone", "too soft", "said twice")
    assert all(found[name] <= 0.1 for name in nonsense), found
    assert rewards(waves, [*texts[1:], texts[0]], combine="sum") > 0.4  # what the published sum pays for it


def test_the_short_way_scores_audio_of_a_file_or_an_array(tmp_path) -> None:  # type: ignore[no-untyped-def]
    (wave, *_), (text, *_) = clips()
    verifier = AudioVerifier(task="tts")
    io.write_wav(tmp_path / "a.wav", wave, RATE_HZ)
    of_file = verifier.verify(audio=tmp_path / "a.wav", text=text.upper() + "!")
    of_array = verifier.verify(audio=wave, text=text, sample_rate_hz=RATE_HZ)
    assert of_file.success
    assert of_file.reward == pytest.approx(of_array.reward, abs=0.02)
    assert verifier.verify(audio=wave, text="open the garage door", sample_rate_hz=RATE_HZ).reward < 0.1  # type: ignore[operator]
    several = verifier.verify_batch([wave, np.zeros(RATE_HZ)], [text, text], sample_rate_hz=RATE_HZ)
    assert [result.success for result in several] == [True, False]
    for wrong in ({"text": text}, {"audio": wave}, {"audio": wave, "text": text},
                  {"audio": wave, "text": text, "sample_rate_hz": RATE_HZ, "hypothesis": "a"}):  # fmt: skip
        with pytest.raises(UserError, match=r"audio|rate"):
            verifier.verify(**wrong)
    with pytest.raises(UserError, match="audio"):
        AudioVerifier(task="asr").verify("a", "a", audio=wave)


def test_a_voice_too_short_is_left_out_and_another_voice_pays_less() -> None:
    pytest.importorskip("resemblyzer")
    waves, texts = clips()
    short = AudioVerifier(task="tts").verify(
        audio=waves[0], text=texts[0], reference_audio=waves[0][: RATE_HZ // 2], sample_rate_hz=RATE_HZ
    )
    assert "consistency" not in short.parts
    assert "consistency left out" in short.reason
    long = [np.tile(wave, 2) for wave in (waves[0], waves[3])]  # 2 s and more of two voices
    results = [
        AudioVerifier(task="tts").verify(
            audio=long[0], text=f"{texts[0]} {texts[0]}", reference_audio=other, sample_rate_hz=RATE_HZ
        )
        for other in long
    ]
    same, another = (result.parts["similarity"] for result in results)
    assert same > another + 0.1
    assert results[0].reward > results[1].reward  # type: ignore[operator]


def test_shipped_recognisers_are_small_and_the_first_one_understands() -> None:
    waves, texts = clips()
    heard = hear(_recognizer(), waves, RATE_HZ, texts)
    assert sum(each.transcript != text for each, text in zip(heard, texts, strict=True)) <= 1
    sizes = [(runtime.shipped(folder) / "model.safetensors").stat().st_size for folder in SHIPPED.values()]
    assert max(sizes) < 4.5e6
