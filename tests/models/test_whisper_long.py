from pathlib import Path

import pytest
import torch

from soundraft import models
from soundraft.models import whisper
from soundraft.models.whisper import WhisperAdapter
from tests.conftest import tone
from tests.models.test_whisper import checkpoint


@pytest.fixture
def recognizer(tmp_path: Path) -> WhisperAdapter:
    loaded = models.load_recognizer(checkpoint(tmp_path / "whisper"), language="en")
    assert isinstance(loaded, WhisperAdapter)
    loaded.model.eval()
    return loaded


def scripted(
    monkeypatch: pytest.MonkeyPatch, recognizer: WhisperAdapter, texts: list[str], means: list[float]
) -> list[float | None]:
    """A decoder that writes these texts with these mean log-probabilities; returns the temperatures asked for."""
    asked: list[float | None] = []
    written = iter(texts)

    def write(encoded: torch.Tensor, noise: object = None) -> list[list[int]]:
        asked.append(getattr(noise, "_temperature", None))
        return [recognizer.tokenizer(next(written), add_special_tokens=False).input_ids for _ in encoded]

    judged = iter(means)

    def log_probs(encoded: torch.Tensor, labels: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        count = torch.tensor([len(label) for label in labels])
        return count * next(judged), count

    monkeypatch.setattr(recognizer, "write", write)
    monkeypatch.setattr(recognizer, "log_probs", log_probs)
    return asked


def test_repeated_and_unlikely_texts_are_drawn_anew(
    recognizer: WhisperAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the repeated text is not judged by its probability
    asked = scripted(monkeypatch, recognizer, ["thank you " * 20, "odd", "fine"], [-1.5, -0.2])
    assert recognizer.careful(torch.zeros(1, 50, 16)) == ["fine"]
    assert asked == [None, 0.2, 0.4]


def test_a_sure_text_stands_and_a_window_that_stays_doubtful_keeps_its_last_draw(
    recognizer: WhisperAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["sure", "a", "b", "c", "d", "e", "f"]
    asked = scripted(monkeypatch, recognizer, texts, [-0.3, *[-2.0] * 5])
    assert recognizer.careful(torch.zeros(2, 50, 16)) == ["sure", "f"]
    assert asked == [None, 0.2, 0.4, 0.6, 0.8, 1.0]


def test_a_real_decoder_is_judged_by_its_own_log_probabilities(recognizer: WhisperAdapter) -> None:
    encoded = recognizer.encode([recognizer.extract(tone(0.4, 16000))])
    (tokens,) = recognizer.write(encoded)
    with torch.inference_mode():
        total, count = recognizer.log_probs(encoded, [[*tokens, recognizer.tokenizer.eos_token_id]])
    assert int(count) == len(tokens) + 1
    assert float(total / count) < whisper.LEAST_MEAN_LOG_PROB  # random weights are sure of nothing
    assert recognizer.careful(encoded) == recognizer.careful(encoded)


def test_compression_ratio_is_that_of_openai_whisper() -> None:
    assert whisper.compression_ratio("thank you " * 20) > whisper.MOST_COMPRESSION
    assert whisper.compression_ratio("the quick brown fox jumps over the lazy dog") < 1.2
    assert whisper.compression_ratio("") == 0.0
