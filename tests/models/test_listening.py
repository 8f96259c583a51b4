"""What recognisers make of speech: in any batch the same, and nothing of what cannot be heard or spelled."""

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest

from soundraft.audio import io
from soundraft.corpora.espeak import Espeak
from soundraft.models import listening
from soundraft.models.base import ModelError, Recognizer
from soundraft.models.listening import hear, open_recognizer, transcribe

RATE_HZ = 16_000


@cache
def recognizer() -> Recognizer:
    return open_recognizer("recognizer")


@cache
def wave() -> np.ndarray:
    voice = Espeak()
    spoken = voice.speak("open the garage door", "en-us+m3", 160, 50).astype(np.float32)
    return io.resample(spoken, voice.sample_rate_hz, RATE_HZ)


def test_the_right_text_is_likelier_and_a_batch_is_its_clips() -> None:
    texts = ["open the garage door", "close the office window", "open the garage door"]
    waves = [wave(), wave(), wave()[: RATE_HZ // 2]]
    right, wrong, half = hear(recognizer(), waves, RATE_HZ, texts)
    assert right.transcript == "open the garage door"
    assert right.log_prob is not None
    assert wrong.log_prob is not None
    assert right.log_prob > wrong.log_prob + 20
    assert right.tokens == len(texts[0])
    alone = hear(recognizer(), waves[2:], RATE_HZ, texts[2:])[0]
    assert (alone.transcript, alone.reason) == (half.transcript, half.reason)
    assert transcribe(recognizer(), waves, RATE_HZ) == [right.transcript, wrong.transcript, half.transcript]


def test_what_is_too_short_or_cannot_be_spelled_has_no_likelihood() -> None:
    waves = [np.zeros(0), np.zeros(8), wave()[: RATE_HZ // 5], wave()]
    none, tiny, short, whole = hear(recognizer(), waves, RATE_HZ, [*["open the garage door"] * 3, "ouvre la clé"])
    assert {none.transcript, tiny.transcript} == {""}
    assert {each.log_prob for each in (none, tiny, short, whole)} == {None}
    assert none.reason == "no samples"
    assert "this model takes" in tiny.reason
    assert short.reason == "too short for its text"
    assert "cannot spell" in whole.reason
    assert (whole.tokens, whole.transcript) == (0, "open the garage door")


def test_waves_go_through_in_batches_of_similar_length(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[list[int]] = []
    encode: Callable = recognizer().encode

    def counted(features: list) -> object:
        sizes.append([len(each) for each in features])
        return encode(features)

    monkeypatch.setattr(listening, "BATCH", 2)
    monkeypatch.setattr(recognizer(), "encode", counted)
    waves = [wave()[:length] for length in (9000, 6000, 9000, 6000)]
    transcribe(recognizer(), waves, RATE_HZ)
    assert [len(set(batch)) for batch in sizes] == [1, 1]


def test_another_name_is_a_folder_or_a_hub_id() -> None:
    with pytest.raises(ModelError, match="no such folder"):
        open_recognizer("recogniser")
