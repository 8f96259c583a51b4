import collections
import itertools
import math
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import Wav2Vec2CTCTokenizer

from soundraft import models
from soundraft.models import ctc
from soundraft.models.base import ModelError
from soundraft.models.ctc import CTC_MODEL_TYPES, CTCAdapter, Frames, Spelling, character_tokenizer, collapse, search
from soundraft.runtime import seed_torch
from tests.conftest import tiny_recognizer, tone
from tests.models.families import hub_like

WAVES = [tone(0.3), tone(0.8, frequency_hz=700.0), tone(0.5, frequency_hz=300.0)]
TEXTS = ["one", "turn on", "two"]


@pytest.fixture(scope="module")
def recognizer() -> CTCAdapter:
    found = tiny_recognizer()
    found.model.eval()
    return found


@pytest.fixture(scope="module")
def features(recognizer: CTCAdapter) -> list[torch.Tensor]:
    return [recognizer.extract(wave) for wave in WAVES]


def mean_loss(recognizer: CTCAdapter, features: list[torch.Tensor], texts: list[str]) -> torch.Tensor:
    return torch.cat([found.losses for found in recognizer.loss(features, [[text] for text in texts])]).mean()


def test_the_loss_is_that_of_transformers(recognizer: CTCAdapter, features: list[torch.Tensor]) -> None:
    singly = []
    for feature, text in zip(features, TEXTS, strict=True):
        labels = torch.tensor([recognizer.tokenizer(text).input_ids])
        mask = torch.ones(1, len(feature), dtype=torch.bool)
        theirs = recognizer.model(input_features=feature[None], attention_mask=mask, labels=labels).loss
        singly.append(mean_loss(recognizer, [feature], [text]))
        torch.testing.assert_close(singly[-1], theirs)
    together = mean_loss(recognizer, features, TEXTS)
    torch.testing.assert_close(together, torch.stack(singly).mean(), atol=1e-4, rtol=1e-4)


def test_a_probability_sums_over_all_alignments(recognizer: CTCAdapter) -> None:
    feature = recognizer.extract(tone(0.08))
    encoded = recognizer.encode([feature])
    a, b = recognizer.tokenizer("ab").input_ids
    frames = encoded.log_probs[0, : int(encoded.lengths[0])]
    assert len(frames) == 4
    sums: dict[tuple[int, ...], float] = collections.defaultdict(float)
    for path in itertools.product([recognizer.blank_id, a, b], repeat=len(frames)):
        sums[collapse(np.array([path]), recognizer.blank_id)[0]] += float(frames[range(4), path].sum().exp())
    texts = {"": (), "a": (a,), "ab": (a, b), "aba": (a, b, a), "aa": (a, a)}
    (found,) = recognizer.loss([feature], [list(texts)])
    assert found.log_probs.exp().tolist() == pytest.approx([sums[tokens] for tokens in texts.values()], rel=1e-4)
    assert found.tokens.tolist() == [1, 1, 2, 3, 2]


def test_answers_and_samples_share_one_run_of_the_encoder() -> None:
    recognizer = tiny_recognizer()
    recognizer.model.eval()
    features = [recognizer.extract(wave) for wave in WAVES]
    calls: list[int] = []
    recognizer.model.encoder.register_forward_hook(lambda *_: calls.append(1))
    texts = [["one", "on", "tw"], ["turn on"], ["two", "six"]]
    together = recognizer.loss(features, texts)
    assert len(calls) == 1
    for feature, group, found in zip(features, texts, together, strict=True):
        alone = torch.cat([recognizer.loss([feature], [[text]])[0].log_probs for text in group])
        torch.testing.assert_close(found.log_probs, alone, atol=1e-3, rtol=1e-4)
    together[0].log_probs[1].backward()
    assert all(float(weight.grad.abs().sum()) > 0 for weight in recognizer.model.ctc_head.parameters())
    calls.clear()
    encoded = recognizer.encode(features)
    recognizer.best(encoded)
    recognizer.sample(encoded, 64, temperature=1.0, seeds=[1, 2, 3])
    assert len(calls) == 1


def test_training_is_repeatable_also_with_the_models_own_masks(tmp_path: Path) -> None:
    folder = hub_like(tmp_path / "hub", "wav2vec2")
    losses = []
    for _ in range(2):
        recognizer = models.load_recognizer(folder)
        recognizer.model.train()
        seed_torch(3)
        features = [recognizer.extract(wave) for wave in WAVES]
        losses.append([float(mean_loss(recognizer, features, TEXTS).detach()) for _ in range(4)])
    assert losses[0] == losses[1]
    assert len(set(losses[0])) > 1


def test_only_texts_that_the_vocabulary_spells_are_learned(features: list[torch.Tensor]) -> None:
    recognizer = tiny_recognizer()
    for text, known in (("one", True), ("", True), ("turn left!", False), ("\N{REPLACEMENT CHARACTER}", False)):
        assert recognizer.can_learn(text) is known
        if known:
            mean_loss(recognizer, features[:1], [text]).backward()
        else:
            with pytest.raises(ModelError, match="cannot spell"):
                recognizer.loss(features[:1], [[text]])
    recognizer.spelling.upper = True
    assert not recognizer.can_learn("one")


def test_possible_is_what_the_sum_over_alignments_gives_in_a_batch_of_unequal_clips() -> None:
    recognizer = tiny_recognizer()
    features = [recognizer.extract(tone(seconds)) for seconds in (0.08, 0.3, 0.03)]
    texts = ["", "abab", "abba", "aa", "aaa", "ababa", "a" * 9]  # a double letter needs a blank between
    encoded, found = recognizer.encode(features), recognizer.loss(features, [texts] * 3)
    for clip, scores in enumerate(found):
        for text, possible in zip(texts, scores.possible.tolist(), strict=True):
            exact = torch.nn.functional.ctc_loss(
                encoded.log_probs[clip, :, None], torch.tensor(recognizer.spelling.tokens(text), dtype=torch.long),
                encoded.lengths[clip : clip + 1], torch.tensor([len(text)]), blank=recognizer.blank_id,
                reduction="sum",
            )  # fmt: skip
            assert possible == bool(exact.isfinite())
    short = found[0]
    assert short.possible.tolist() == [True, True, False, True, False, False, False]
    assert (short.log_probs[short.possible] < 0).all()
    short.losses[~short.possible].sum().backward()
    assert all(not weight.grad.any() for weight in recognizer.model.parameters() if weight.grad is not None)


@pytest.mark.parametrize("model_type", CTC_MODEL_TYPES)
def test_every_family_reads_decodes_learns_and_is_saved(tmp_path: Path, model_type: str) -> None:
    recognizer = models.load_recognizer(hub_like(tmp_path / "hub", model_type))
    assert isinstance(recognizer, CTCAdapter)
    recognizer.model.eval()
    features = [recognizer.extract(tone(seconds, recognizer.sample_rate_hz)) for seconds in (0.6, 1.0)]
    encoded, alone = recognizer.encode(features), recognizer.encode(features[:1])
    length = int(alone.lengths[0])
    assert int(encoded.lengths[0]) == length < int(encoded.lengths[1])
    torch.testing.assert_close(encoded.log_probs[0, :length], alone.log_probs[0], atol=1e-3, rtol=1e-3)
    assert len(recognizer.best(encoded)) == len(recognizer.beam(encoded, width=4, tokens_per_frame=16)) == 2
    assert [len(texts) for texts in recognizer.sample(encoded, 4, temperature=1.0, seeds=[1, 2])] == [4, 4]
    optimizer = torch.optim.Adam(recognizer.model.parameters(), 1e-2)
    losses = []
    for _ in range(10):
        loss = torch.cat([found.losses for found in recognizer.loss(features, [["one", "on"], ["two"]])]).sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    recognizer.save(tmp_path / "saved")
    again = models.load_recognizer(tmp_path / "saved")
    again.model.eval()
    torch.testing.assert_close(again.encode(features).log_probs, recognizer.encode(features).log_probs)
    again.save(tmp_path / "again")
    for file in (tmp_path / "saved").iterdir():
        assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes()


@pytest.mark.parametrize("model_type", CTC_MODEL_TYPES)
def test_a_clip_too_short_for_the_network_is_refused_and_the_shortest_is_taken(tmp_path: Path, model_type: str) -> None:
    recognizer = models.load_recognizer(hub_like(tmp_path / "hub", model_type))
    assert isinstance(recognizer, CTCAdapter)
    recognizer.model.eval()
    noise = np.random.default_rng(0).normal(size=recognizer.sample_rate_hz).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        least = recognizer.least_samples
    for count in (0, round(0.002 * recognizer.sample_rate_hz), least - 1):
        with pytest.raises(ModelError, match="ms"):
            recognizer.extract(noise[:count])
    encoded = recognizer.encode([recognizer.extract(noise[:least])])
    assert encoded.lengths.tolist() == [1]
    assert encoded.log_probs.isfinite().all()
    with pytest.raises((RuntimeError, ValueError, AssertionError)):  # one sample less is really too few
        shorter = recognizer.encode([recognizer._features(noise[: least - 1])])
        assert shorter.log_probs.isfinite().all()


@pytest.mark.parametrize(("norm", "masked"), [("group", False), ("group", True), ("layer", False)])
def test_a_transcript_does_not_depend_on_the_batch_where_models_take_no_mask(
    tmp_path: Path, norm: str, masked: bool
) -> None:
    """Group norm over all frames of a padded clip, as in base-960h; or attention without a mask."""
    folder = hub_like(tmp_path / "hub", "wav2vec2", masked=masked, feat_extract_norm=norm)
    recognizer = models.load_recognizer(folder)
    recognizer.model.eval()
    noise = np.random.default_rng(0)
    waves = [noise.normal(size=size).astype(np.float32) for size in (2000, 7000, 2000, 3100)]
    features = [recognizer.extract(wave) for wave in waves]
    together, losses = recognizer.encode(features), recognizer.loss(features, [["one", "t"]] * 4)
    for index, clip in enumerate(features):
        alone, length = recognizer.encode([clip]), int(together.lengths[index])
        assert alone.lengths.tolist() == [length]
        torch.testing.assert_close(together.log_probs[index, :length], alone.log_probs[0], atol=1e-5, rtol=0)
        (loss,) = recognizer.loss([clip], [["one", "t"]])
        torch.testing.assert_close(losses[index].log_probs, loss.log_probs, atol=1e-3, rtol=1e-4)
    assert len(set(recognizer.best(together))) > 1
    losses[1].losses.sum().backward()
    assert all(weight.grad is not None for weight in recognizer.model.lm_head.parameters())


# Paths.


def by_the_rule(path: list[int]) -> tuple[int, ...]:
    runs = [token for index, token in enumerate(path) if index == 0 or path[index - 1] != token]
    return tuple(token for token in runs if token != 0)


@given(
    st.integers(1, 9).flatmap(
        lambda size: st.lists(st.lists(st.integers(0, 3), min_size=size, max_size=size), min_size=1)
    )
)
def test_collapse_is_the_rule_of_ctc(paths: list[list[int]]) -> None:
    array = np.array(paths, dtype=np.int32).reshape(len(paths), -1)
    assert collapse(array, 0) == [by_the_rule(path) for path in paths]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7])
def test_frequencies_are_the_softmax_of_every_frame(temperature: float) -> None:
    torch.manual_seed(0)
    scales = torch.tensor([0.3, 1.0, 3.0, 8.0, 40.0])[None, :, None]  # from almost flat to certain
    log_probs = torch.log_softmax(torch.randn(1, 5, 6) * scales, dim=-1)
    drawn = ctc.draw_paths(log_probs, torch.tensor([5]), 40000, temperature=temperature, seeds=[3], blank=0)[0]
    expected = torch.softmax(log_probs[0].double() / temperature, dim=-1).numpy()
    for frame in range(5):
        observed = np.bincount(drawn[:, frame], minlength=6) / 40000
        np.testing.assert_allclose(observed, expected[frame], atol=0.01)


def test_frames_are_drawn_independently_and_never_a_token_without_probability() -> None:
    log_probs = torch.tensor([0.5, 0.5, 0.0, 0.0]).log().expand(1, 2, 4).contiguous()
    drawn = ctc.draw_paths(log_probs, torch.tensor([2]), 20000, temperature=1.0, seeds=[1], blank=0)[0]
    counts = collections.Counter(map(tuple, drawn.tolist()))
    assert set(counts) == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert all(abs(count / 20000 - 0.25) < 0.015 for count in counts.values())


def test_a_clips_paths_depend_on_its_frames_and_its_seed_alone() -> None:
    torch.manual_seed(0)
    log_probs = torch.log_softmax(torch.randn(3, 20, 7), dim=-1)
    lengths = torch.tensor([20, 9, 14])
    together = ctc.draw_paths(log_probs, lengths, 16, temperature=1.0, seeds=[5, 6, 7], blank=0)
    for clip, (length, seed) in enumerate(zip(lengths.tolist(), [5, 6, 7], strict=True)):
        own = slice(clip, clip + 1)
        alone = ctc.draw_paths(log_probs[own, :length], lengths[own], 16, temperature=1.0, seeds=[seed], blank=0)
        np.testing.assert_array_equal(together[clip, :, :length], alone[0])
        assert (together[clip, :, length:] == 0).all()


# Spelling.


@given(st.lists(st.integers(0, 29), max_size=12), st.text("abyz '|A<é", max_size=12), st.booleans(), st.booleans())
def test_joining_and_splitting_characters_is_what_the_tokenizer_does(
    tokens: list[int], text: str, lower: bool, cleans: bool
) -> None:
    tokenizer: Wav2Vec2CTCTokenizer = character_tokenizer()
    tokenizer.do_lower_case, tokenizer.clean_up_tokenization_spaces = lower, cleans
    spelling = Spelling(tokenizer, 0)
    assert spelling.text(tuple(tokens)) == spelling._read(tuple(tokens))
    assert spelling._split(text) == spelling._tokenize(text)


def test_double_letters_survive_and_unknown_tokens_are_not_written(recognizer: CTCAdapter) -> None:
    ids = recognizer.tokenizer("three hello").input_ids
    path = [token for id_ in ids for token in (id_, id_, recognizer.blank_id)]
    assert recognizer._texts(np.array([path])) == ["three hello"]
    unknown = recognizer.tokenizer.unk_token_id
    assert recognizer.spelling.text((unknown, *recognizer.spelling.tokens("two"), unknown)) == "two"


# Beam search.


def every_text(log_probs: np.ndarray) -> dict[tuple[int, ...], float]:
    """The probability of every collapsed path, by going through all paths."""
    paths = np.array(list(itertools.product(range(log_probs.shape[1]), repeat=len(log_probs))))
    sums: dict[tuple[int, ...], float] = collections.defaultdict(float)
    for path, tokens in zip(paths, collapse(paths, 0), strict=True):
        sums[tokens] += math.exp(sum(log_probs[frame, token] for frame, token in enumerate(path)))
    return sums


@pytest.mark.parametrize("seed", range(4))
def test_wide_enough_it_is_the_exhaustive_sum(seed: int) -> None:
    torch.manual_seed(seed)
    log_probs = torch.log_softmax(torch.randn(5, 4), dim=-1).numpy()
    expected = every_text(log_probs)
    found = search(log_probs, blank=0, width=10_000, tokens_per_frame=4)
    assert {tokens: math.exp(score) for tokens, score in found} == pytest.approx(expected, rel=1e-5)
    assert found[0][0] == max(expected, key=lambda tokens: expected[tokens])


def test_fewer_tokens_a_frame_leave_the_others_out() -> None:
    log_probs = np.log(np.array([[0.1, 0.6, 0.2, 0.1], [0.7, 0.1, 0.1, 0.1]]))
    found = search(log_probs, blank=0, width=100, tokens_per_frame=2)
    assert {tokens for tokens, _ in found} == {(1,), (2,), (2, 1)}


def test_the_beam_finds_what_the_best_path_misses(recognizer: CTCAdapter) -> None:
    a, b = recognizer.tokenizer("ab").input_ids
    probabilities = torch.full((1, 2, 30), 1e-9)
    probabilities[0, :, recognizer.blank_id], probabilities[0, :, a], probabilities[0, :, b] = 0.4, 0.35, 0.25
    frames = Frames(torch.log(probabilities), torch.tensor([2]))
    assert recognizer.best(frames) == [""]
    assert recognizer.beam(frames, width=8, tokens_per_frame=16) == ["a"]  # .35² + 2 · .35 · .4 = .40 against .16
