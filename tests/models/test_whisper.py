"""Whisper's path, on a tiny random checkpoint with a byte tokenizer; nothing is downloaded."""

import json
import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from transformers import LogitsProcessorList
from transformers.modeling_outputs import BaseModelOutput

from soundraft import models
from soundraft.audio import io
from soundraft.corpora.espeak import Espeak
from soundraft.models.base import ModelError
from soundraft.models.longform import transcribe_file
from soundraft.models.whisper import Part, SeededNoise, WhisperAdapter, entries
from soundraft.params import defaults
from tests.conftest import tone

SPECIAL = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>"]
WAVES = [tone(0.3, 16000), tone(0.8, 16000, frequency_hz=700.0), tone(0.5, 16000, frequency_hz=300.0)]
TEXTS = ["one", "turn on", "two"]
FALLBACK = defaults().decoding.fallback
REAL = Path(os.environ.get("MODELS", "no-models")) / "whisper-tiny.en"


def checkpoint(folder: Path, window_s: int = 1, language: str = "en", times: int = 0) -> Path:
    """A random Whisper with windows of so many seconds, and tokens for so many times."""
    from transformers import (
        GenerationConfig,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
        WhisperProcessor,
        WhisperTokenizer,
    )
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    folder.mkdir()
    vocabulary = {token: index for index, token in enumerate([*bytes_to_unicode().values(), *SPECIAL])}
    vocabulary |= {f"<|{index / 50:.2f}|>": len(vocabulary) + index for index in range(times)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = WhisperTokenizer(
        str(folder / "vocab.json"), str(folder / "merges.txt"), unk_token=SPECIAL[0], bos_token=SPECIAL[0],
        eos_token=SPECIAL[0], pad_token=SPECIAL[0], additional_special_tokens=SPECIAL[1:],
    )  # fmt: skip
    ids = {token: vocabulary[token] for token in SPECIAL}
    config = WhisperConfig(
        vocab_size=len(vocabulary), d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, num_mel_bins=80,
        max_source_positions=50 * window_s,
        max_target_positions=96, decoder_start_token_id=ids[SPECIAL[1]], eos_token_id=ids[SPECIAL[0]],
        pad_token_id=ids[SPECIAL[0]], bos_token_id=ids[SPECIAL[0]],
    )  # fmt: skip
    torch.manual_seed(0)
    model = WhisperForConditionalGeneration(config)
    model.generation_config = GenerationConfig(
        decoder_start_token_id=ids[SPECIAL[1]], eos_token_id=ids[SPECIAL[0]], pad_token_id=ids[SPECIAL[0]],
        no_timestamps_token_id=ids[SPECIAL[4]], is_multilingual=True, lang_to_id={f"<|{language}|>": ids[SPECIAL[2]]},
        task_to_id={"transcribe": ids[SPECIAL[3]]}, max_length=24,
    )  # fmt: skip
    model.save_pretrained(folder)
    extractor = WhisperFeatureExtractor(feature_size=80, chunk_length=window_s)
    WhisperProcessor(extractor, tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def recognizer(tmp_path_factory: pytest.TempPathFactory) -> WhisperAdapter:
    loaded = models.load_recognizer(checkpoint(tmp_path_factory.mktemp("hub") / "whisper"), language="en")
    assert isinstance(loaded, WhisperAdapter)
    loaded.model.eval()
    return loaded


@pytest.fixture(scope="module")
def features(recognizer: WhisperAdapter) -> list[torch.Tensor]:
    return [recognizer.extract(wave) for wave in WAVES]


def test_one_run_of_the_encoder_serves_the_best_text_and_all_samples(
    recognizer: WhisperAdapter, features: list[torch.Tensor]
) -> None:
    calls: list[int] = []
    hook = recognizer.model.get_encoder().register_forward_hook(lambda *given: calls.append(len(given[1][0])))
    encoded = recognizer.encode(features)
    best = recognizer.best(encoded)
    sampled = recognizer.sample(encoded, 5, temperature=1.0, seeds=[1, 2, 3])
    hook.remove()
    assert calls == [3]  # each clip once
    assert len({text for texts in sampled for text in texts}) > 5
    assert recognizer.sample(encoded, 5, temperature=1.0, seeds=[1, 2, 4]) != sampled
    assert recognizer.sample(encoded[:1], 32, temperature=1e-5, seeds=[1]) == [best[:1] * 32]
    with torch.inference_mode():
        tokens = recognizer.model.generate(input_features=torch.stack(features).transpose(1, 2))
    assert best == [text.strip() for text in recognizer.tokenizer.batch_decode(tokens, skip_special_tokens=True)]


def test_it_writes_what_generate_of_transformers_writes(tmp_path: Path) -> None:
    """The likeliest tokens, and those that the noise draws; with tokens that are never chosen, or not at first."""
    found = models.load_recognizer(checkpoint(tmp_path / "whisper"), language="en")
    assert isinstance(found, WhisperAdapter)
    free = found.write(found.encode([found.extract(wave) for wave in WAVES]))
    config = found.model.generation_config
    config.suppress_tokens, config.begin_suppress_tokens = free[0][2:4], [free[1][0], found.tokenizer.eos_token_id]
    found = WhisperAdapter(found.model, found.processor, "en")
    encoded = found.encode([found.extract(wave) for wave in WAVES])
    special = set(found.tokenizer.all_special_ids)
    for seeds in (None, (1, 2, 3)):
        own, theirs = (
            SeededNoise([Part(clip, 1, seed) for clip, seed in enumerate(seeds)], 1.0, found.device) if seeds else None
            for _ in range(2)
        )
        with torch.inference_mode():
            rows = found.model.generate(
                encoder_outputs=BaseModelOutput(encoded), do_sample=False,
                logits_processor=LogitsProcessorList([theirs] if theirs else []),
            )  # fmt: skip
        expected = [[token for token in row if token not in special] for row in rows.tolist()]
        written = found.write(encoded, own)
        assert written == expected
        assert written != free
        assert max(map(len, written)) == 24  # max_length


@pytest.mark.parametrize("count", [4, 40])
def test_a_clips_samples_do_not_depend_on_its_batch(
    recognizer: WhisperAdapter, features: list[torch.Tensor], count: int
) -> None:
    encoded = recognizer.encode(features)
    together = recognizer.sample(encoded, count, temperature=1.0, seeds=[1, 2, 3])
    order = [2, 0, 1]
    again = recognizer.sample(encoded[order], count, temperature=1.0, seeds=[3, 1, 2])
    assert [again[order.index(clip)] for clip in range(3)] == together
    assert recognizer.sample(encoded[1:2], count, temperature=1.0, seeds=[2]) == [together[1]]
    assert [len(texts) for texts in together] == [count] * 3


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_noise_makes_the_greedy_choice_a_draw_from_the_softmax(temperature: float) -> None:
    scores = torch.tensor([2.0, 1.0, 0.0, float("-inf")]).expand(20000, 4)
    chosen = SeededNoise([Part(0, 20000, 7)], temperature, torch.device("cpu"))(scores, scores).argmax(1)
    observed = torch.bincount(chosen, minlength=4) / 20000
    torch.testing.assert_close(observed, torch.softmax(scores[0] / temperature, 0), atol=0.015, rtol=0)


def test_the_loss_is_that_of_transformers_for_every_text_of_a_clip(
    recognizer: WhisperAdapter, features: list[torch.Tensor]
) -> None:
    texts = [["one", "on a"], ["turn on"], ["two", "", "t"]]
    calls: list[int] = []
    hook = recognizer.model.get_encoder().register_forward_hook(lambda *_: calls.append(1))
    found = recognizer.loss(features, texts)
    hook.remove()
    assert len(calls) == 1
    for feature, group, scored in zip(features, texts, found, strict=True):
        for text, loss, tokens in zip(group, scored.losses, scored.tokens, strict=True):
            written = f" {text}" if text else ""  # openai's training form
            ids = [
                *recognizer.tokenizer(written, add_special_tokens=False).input_ids,
                recognizer.tokenizer.eos_token_id,
            ]
            labels = torch.tensor([[-100] * (len(recognizer.prompt) - 1) + ids])
            given = torch.tensor([recognizer.prompt + ids[:-1]])
            theirs = recognizer.model(input_features=feature.T[None], decoder_input_ids=given, labels=labels).loss
            assert int(tokens) == len(ids)
            torch.testing.assert_close(loss, theirs, atol=1e-4, rtol=1e-4)
    found[1].losses.sum().backward()
    assert all(weight.grad is not None for weight in recognizer.model.parameters() if weight.requires_grad)
    recognizer.model.zero_grad()


def check_the_loss_is_of_what_was_drawn(
    recognizer: WhisperAdapter, features: list[torch.Tensor], encoded: torch.Tensor
) -> None:
    noise = SeededNoise([Part(clip, 1, clip) for clip in range(len(features))], 1.0, recognizer.device)
    (space,) = recognizer.tokenizer(" ", add_special_tokens=False).input_ids
    for drawn in (recognizer.write(encoded), recognizer.write(encoded, noise)):
        assert all(row[0] == space for row in drawn)
        ended = [[*row, recognizer.tokenizer.eos_token_id] for row in drawn]
        with torch.inference_mode():
            of_tokens, counts = recognizer.log_probs(encoded, ended)
            found = recognizer.loss(features, [[text] for text in recognizer.read(drawn)])
        torch.testing.assert_close(torch.cat([each.log_probs for each in found]), of_tokens, atol=1e-4, rtol=1e-4)
        assert torch.equal(torch.cat([each.tokens for each in found]), counts)


def test_it_learns_and_keeps_what_it_learned(tmp_path: Path, features: list[torch.Tensor]) -> None:
    recognizer = models.load_recognizer(checkpoint(tmp_path / "whisper"), language="en")
    assert isinstance(recognizer, WhisperAdapter)
    optimizer = torch.optim.Adam(recognizer.model.parameters(), 1e-2)
    for _ in range(120):
        loss = torch.cat([found.losses for found in recognizer.loss(features, [[text] for text in TEXTS])]).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    recognizer.model.eval()
    encoded = recognizer.encode(features)
    assert recognizer.best(encoded) == TEXTS
    check_the_loss_is_of_what_was_drawn(recognizer, features, encoded)
    recognizer.save(tmp_path / "saved")
    again = models.load_recognizer(tmp_path / "saved")
    again.model.eval()
    assert again.best(again.encode(features)) == TEXTS


def test_clips_texts_and_languages_that_it_cannot_take_are_refused(
    recognizer: WhisperAdapter, features: list[torch.Tensor], tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=r"1\.5 s"):
        recognizer.extract(tone(1.5, 16000))
    folder = checkpoint(tmp_path / "whisper")
    for language, named in ((None, r"model\.language"), ("xx", "'xx'")):
        with pytest.raises(ModelError, match=named):
            models.load_recognizer(folder, language=language)
    most = 96 - len(recognizer.prompt)
    (cut_off,) = recognizer.read([recognizer.tokenizer(" l\u00e4", add_special_tokens=False).input_ids[:-1]])
    assert cut_off == "l\N{REPLACEMENT CHARACTER}"
    for text, known in (("", True), ("one", True), ("x" * (most - 1), True), ("x" * most, False), (cut_off, False)):
        assert recognizer.can_learn(text) is known
        if known:
            recognizer.loss(features[:1], [[text]])
        else:
            with pytest.raises(ModelError):
                recognizer.loss(features[:1], [[text]])


def test_a_language_without_spaces_is_written_without_one_in_front(recognizer: WhisperAdapter, tmp_path: Path) -> None:
    japanese = models.load_recognizer(checkpoint(tmp_path / "whisper", language="ja"), language="ja")
    assert isinstance(japanese, WhisperAdapter)
    assert japanese._tokens("one")[:-1] == japanese.tokenizer("one", add_special_tokens=False).input_ids
    assert recognizer._tokens("one")[:-1] == recognizer.tokenizer(" one", add_special_tokens=False).input_ids


@pytest.mark.skipif(not REAL.is_dir(), reason="MODELS=FOLDER names the folder that holds whisper-tiny.en")
def test_a_real_whisper_transcribes_and_prefers_what_was_said() -> None:
    espeak, text = Espeak(), "turn the light on in the kitchen"
    recognizer = models.load_recognizer(REAL)
    recognizer.model.eval()
    spoken = espeak.speak(text, "en-us+adam", 150, 50).astype(np.float32)
    features = [recognizer.extract(io.resample(spoken, espeak.sample_rate_hz, recognizer.sample_rate_hz))]
    (found,) = recognizer.best(recognizer.encode(features))
    assert set(found.lower().strip(".").split()) >= {"turn", "the", "in", "kitchen"}
    with torch.inference_mode():
        (losses,) = recognizer.loss(features, [[found, "thank you for watching"]])
    assert losses.log_probs[0] > losses.log_probs[1]


# Fallback.


def scripted(
    monkeypatch: pytest.MonkeyPatch, recognizer: WhisperAdapter, texts: list[str], means: list[float]
) -> list[float | None]:
    """A decoder that writes these texts with these mean log-probabilities; returns the temperatures asked for."""
    asked: list[float | None] = []
    written, each_mean = iter(texts), iter(means)

    def write(encoded: torch.Tensor, noise: object = None) -> list[list[int]]:
        asked.append(getattr(noise, "_temperature", None))
        return [recognizer.tokenizer(next(written), add_special_tokens=False).input_ids for _ in encoded]

    def log_probs(encoded: torch.Tensor, labels: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        count = torch.tensor([len(label) for label in labels])
        return count * next(each_mean), count

    monkeypatch.setattr(recognizer, "write", write)
    monkeypatch.setattr(recognizer, "log_probs", log_probs)
    return asked


@pytest.mark.parametrize(
    ("texts", "means", "expected", "temperatures"),
    [
        # whether a text repeats itself is checked first
        (["thank you " * 20, "odd", "fine"], [-1.5, -0.2], ["fine"], [None, 0.2, 0.4]),
        # a window that stays doubtful keeps its last draw
        (["sure", *"abcdef"], [-0.3, *[-2.0] * 5], ["sure", "f"], [None, 0.2, 0.4, 0.6, 0.8, 1.0]),
    ],
)
def test_repeated_and_unlikely_texts_are_drawn_again(
    recognizer: WhisperAdapter, monkeypatch: pytest.MonkeyPatch, texts: list[str], means: list[float],
    expected: list[str], temperatures: list[float | None],
) -> None:  # fmt: skip
    asked = scripted(monkeypatch, recognizer, texts, means)
    assert recognizer.best_with_fallback(torch.zeros(len(expected), 50, 16), FALLBACK) == expected
    assert asked == temperatures


def test_a_shorter_window_is_that_of_a_model_built_so(tmp_path: Path) -> None:
    """The states are those of a model whose positions are the first ones, and a saved model keeps the window."""
    folder = checkpoint(tmp_path / "long", window_s=4)
    whole, short = (models.load_recognizer(folder, language="en", window_s=window_s) for window_s in (0, 1))
    assert (whole.window_s, short.window_s) == (4.0, 1.0)
    inputs = short.extract(WAVES[0])
    assert inputs.shape == (100, 80)
    encoder = whole.model.get_encoder()
    encoder.config.max_source_positions = 50
    encoder.embed_positions = torch.nn.Embedding.from_pretrained(encoder.embed_positions.weight[:50].detach())
    with torch.inference_mode():
        expected = encoder(inputs.T[None]).last_hidden_state
    assert torch.equal(short.encode([inputs]), expected)

    short.save(tmp_path / "short")
    again = models.load_recognizer(tmp_path / "short")
    assert again.window_s == 1.0
    assert torch.equal(again.encode([again.extract(WAVES[0])]), expected)
    assert again.model.generation_config.max_length == 24 // 4
    with pytest.raises(ModelError, match="window"):
        again.extract(np.zeros(16001, np.float32))
    with pytest.raises(ModelError, match="30"):
        models.load_recognizer(folder, language="en", window_s=30)


def test_no_times_are_drawn(tmp_path: Path) -> None:
    """They are no text, and transformers takes one for the end of a segment."""
    model = models.load_recognizer(checkpoint(tmp_path / "timed", times=200), language="en")
    texts = model.sample(model.encode([model.extract(wave) for wave in WAVES]), 8, temperature=1.0, seeds=[0, 1, 2])
    assert len({text for drawn in texts for text in drawn}) > 8
    assert not any("<|" in text for drawn in texts for text in drawn)


# Times of words.


def test_the_attention_is_that_of_transformers(tmp_path: Path) -> None:
    recognizer = models.load_recognizer(checkpoint(tmp_path / "whisper"), language="en")
    assert isinstance(recognizer, WhisperAdapter)
    recognizer.model.eval()
    hidden, tokens = recognizer.encode([recognizer.extract(WAVES[1])])[0], recognizer._text_tokens("turn on")
    found = recognizer._attention(hidden, tokens).softmax(-1)
    recognizer.model.set_attn_implementation("eager")
    inputs = torch.tensor([[*recognizer.prompt, *tokens]])
    with torch.inference_mode():
        expected = recognizer.model(encoder_outputs=(hidden[None],), decoder_input_ids=inputs, output_attentions=True)
    torch.testing.assert_close(found, expected.cross_attentions[-1][0])


@given(arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(1, 9)), elements=st.floats(-3, 3)))
def test_time_warping_finds_the_cheapest_path(costs: np.ndarray) -> None:
    rows, columns = costs.shape
    least = np.full((rows, columns), np.inf)
    for row, column in np.ndindex(rows, columns):
        before = [least[r, c] for r, c in ((row - 1, column), (row, column - 1), (row - 1, column - 1)) if r >= 0 <= c]
        least[row, column] = costs[row, column] + min(before, default=0.0)
    firsts, total = [*entries(costs), columns], 0.0
    for row, (first, following) in enumerate(pairwise(firsts)):
        # a path leaves a row above the next one's first column, or one before it
        ends = [following - 1, following] if row < rows - 1 else [columns - 1]
        total += min(costs[row, first : end + 1].sum() for end in ends if end >= first)
    assert total == pytest.approx(least[-1, -1], abs=1e-9)


def test_times_of_words_are_where_the_decoder_attends_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recognizer = models.load_recognizer(checkpoint(tmp_path / "whisper"), language="en")
    assert isinstance(recognizer, WhisperAdapter)
    text, frames = "ab é", 50  # bytes are tokens: a space, a, b, a space, and two of é
    count = len(recognizer._text_tokens(text))
    begins = [0, 8, 16, 23, 30, 36, 42]  # the last where the text ends

    def attention(hidden: torch.Tensor, tokens: list[int]) -> torch.Tensor:
        rows = torch.zeros(2, len(recognizer.prompt) - 1 + count + 1, frames)
        for row, (start, end) in enumerate(pairwise([*begins, 45]), len(recognizer.prompt) - 1):
            rows[:, row, start:end] = 9.0
        return rows

    monkeypatch.setattr(recognizer, "_attention", attention)
    encoded = torch.zeros(2, frames, 16)
    spans, none = recognizer.word_times(encoded, [text, ""], [0.9, 0.9])
    assert none == []
    assert spans == [pytest.approx((8 * 0.02, 23 * 0.02), abs=0.03), pytest.approx((30 * 0.02, 42 * 0.02), abs=0.03)]


@pytest.mark.skipif(not REAL.is_dir(), reason="MODELS=FOLDER names the folder that holds whisper-tiny.en")
def test_subtitles_of_a_real_whisper_stand_while_they_are_said() -> None:
    espeak, recognizer = Espeak(), models.load_recognizer(REAL)
    pause, parts, wanted = np.zeros(2 * recognizer.sample_rate_hz, np.float32), [], []
    for text in ("turn the light on in the kitchen", "we will meet again tomorrow morning", "the train leaves at noon"):
        wave = io.resample(
            espeak.speak(text, "en-us+adam", 150, 50).astype(np.float32),
            espeak.sample_rate_hz, recognizer.sample_rate_hz,
        )  # fmt: skip
        sounding = np.flatnonzero(np.abs(wave) > 0.01 * np.abs(wave).max()) / recognizer.sample_rate_hz
        begun_s = sum(map(len, [*parts, pause])) / recognizer.sample_rate_hz
        wanted.append((begun_s + sounding[0], begun_s + sounding[-1]))
        parts += [pause, wave]
    segments = transcribe_file(recognizer, np.concatenate([*parts, pause]), defaults().decoding, subtitles=True)
    assert [(segment.start_s, segment.end_s) for segment in segments] == [
        pytest.approx(each, abs=0.3) for each in wanted
    ]
