import collections
import itertools
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from soundraft import models
from soundraft.models.base import ModelError
from soundraft.models.ctc import CTCAdapter, Frames, collapse
from soundraft.runtime import seed_torch
from tests.conftest import tiny_recognizer, tone
from tests.models.families import hub_like

WAVES = [tone(0.3), tone(0.8, frequency_hz=700.0), tone(0.5, frequency_hz=300.0)]


def test_double_letters_survive_the_tokenizer() -> None:
    recognizer = tiny_recognizer()
    ids = recognizer.tokenizer("three hello").input_ids
    path = [token for pair in ids for token in (pair, pair, recognizer.blank_id)]
    assert recognizer._texts(np.array([path])) == ["three hello"]


def test_padding_does_not_change_a_clip() -> None:
    recognizer = tiny_recognizer()
    recognizer.model.eval()
    features = [recognizer.extract(wave) for wave in WAVES]
    together = recognizer.encode(features)
    for index, feature in enumerate(features):
        alone = recognizer.encode([feature])
        length = int(alone.lengths[0])
        assert int(together.lengths[index]) == length
        torch.testing.assert_close(
            together.log_probs[index, :length], alone.log_probs[0, :length], atol=1e-4, rtol=1e-4
        )


def mean_loss(recognizer: CTCAdapter, features: list[torch.Tensor], texts: list[str]) -> torch.Tensor:
    scores = recognizer.score(features, [[text] for text in texts])
    return -torch.cat([score.log_probs / score.tokens for score in scores]).mean()


def test_the_loss_is_that_of_transformers() -> None:
    recognizer = tiny_recognizer()
    recognizer.model.eval()
    texts = ["one", "turn on", "two"]
    features = [recognizer.extract(wave) for wave in WAVES]
    for feature, text in zip(features, texts, strict=True):
        labels = torch.tensor([recognizer.tokenizer(text).input_ids])
        mask = torch.ones(1, len(feature), dtype=torch.bool)
        theirs = recognizer.model(input_features=feature[None], attention_mask=mask, labels=labels).loss
        torch.testing.assert_close(mean_loss(recognizer, [feature], [text]), theirs)
    singly = torch.stack([mean_loss(recognizer, [f], [t]) for f, t in zip(features, texts, strict=True)]).mean()
    torch.testing.assert_close(mean_loss(recognizer, features, texts), singly, atol=1e-4, rtol=1e-4)


def test_a_score_sums_over_all_alignments() -> None:
    recognizer = tiny_recognizer(subsampling=2)
    recognizer.model.eval()
    feature = recognizer.extract(tone(0.08))
    encoded = recognizer.encode([feature])
    a, b = recognizer.tokenizer("ab").input_ids
    frames = encoded.log_probs[0, : int(encoded.lengths[0])]
    assert len(frames) == 4
    sums: dict[tuple[int, ...], float] = collections.defaultdict(float)
    for path in itertools.product([recognizer.blank_id, a, b], repeat=len(frames)):
        sums[collapse(np.array([path]), recognizer.blank_id)[0]] += float(frames[range(4), path].sum().exp())
    texts = {"": (), "a": (a,), "ab": (a, b), "aba": (a, b, a), "aa": (a, a)}
    (scores,) = recognizer.score([feature], [list(texts)])
    assert scores.log_probs.exp().tolist() == pytest.approx([sums[tokens] for tokens in texts.values()], rel=1e-4)
    assert scores.tokens.tolist() == [1, 1, 2, 3, 2]


def test_the_texts_of_a_clip_share_one_run_and_its_gradient() -> None:
    recognizer = tiny_recognizer()
    recognizer.model.eval()
    calls = []
    recognizer.model.encoder.register_forward_hook(lambda *_: calls.append(1))
    features = [recognizer.extract(wave) for wave in WAVES]
    texts = [["one", "on", "tw"], ["turn on"], ["two", "six"]]
    together = recognizer.score(features, texts)
    assert len(calls) == 1
    singly = [
        [recognizer.score([f], [[t]])[0].log_probs for t in group] for f, group in zip(features, texts, strict=True)
    ]
    for scores, alone in zip(together, singly, strict=True):
        torch.testing.assert_close(scores.log_probs, torch.cat(alone), atol=1e-3, rtol=1e-4)
    together[0].log_probs[1].backward()
    assert all(float(weight.grad.abs().sum()) > 0 for weight in recognizer.model.ctc_head.parameters())


def test_samples_follow_the_distribution_and_the_seed() -> None:
    recognizer = tiny_recognizer()
    a, b = recognizer.tokenizer("ab").input_ids
    probabilities = torch.full((1, 1, 30), 1e-9)
    probabilities[0, 0, [recognizer.blank_id, a, b]] = torch.tensor([0.5, 0.3, 0.2])
    frames = Frames(torch.log(probabilities), torch.tensor([1]))
    (drawn,) = recognizer.sample(frames, 4000, temperature=1.0, seeds=[5])
    counts = collections.Counter(drawn)
    assert counts["a"] / 4000 == pytest.approx(0.3, abs=0.03)
    assert counts["b"] / 4000 == pytest.approx(0.2, abs=0.03)
    (colder,) = recognizer.sample(frames, 4000, temperature=0.5, seeds=[5])
    assert collections.Counter(colder)["a"] / 4000 == pytest.approx(0.09 / 0.38, abs=0.03)
    assert recognizer.sample(frames, 4000, temperature=1.0, seeds=[5])[0] == drawn
    assert recognizer.sample(frames, 4000, temperature=1.0, seeds=[6])[0] != drawn


def test_a_clips_samples_do_not_depend_on_its_batch() -> None:
    recognizer = tiny_recognizer()
    recognizer.model.eval()
    features = [recognizer.extract(wave) for wave in WAVES]
    together = recognizer.encode(features)
    texts = recognizer.sample(together, 8, temperature=1.0, seeds=[1, 2, 3])
    order = [2, 0, 1]
    shuffled = Frames(together.log_probs[order], together.lengths[order])
    again = recognizer.sample(shuffled, 8, temperature=1.0, seeds=[3, 1, 2])
    assert [again[order.index(index)] for index in range(3)] == texts


def test_greedy_and_samples_share_one_run_of_the_encoder() -> None:
    recognizer = tiny_recognizer()
    calls = []
    recognizer.model.encoder.register_forward_hook(lambda *_: calls.append(1))
    encoded = recognizer.encode([recognizer.extract(wave) for wave in WAVES])
    recognizer.greedy(encoded)
    recognizer.sample(encoded, 64, temperature=1.0, seeds=[1, 2, 3])
    assert len(calls) == 1


def test_saved_and_loaded_it_is_the_same_and_so_are_the_bytes(tmp_path: Path) -> None:
    recognizer = tiny_recognizer()
    recognizer.model.eval()
    for name in ("a", "b"):
        recognizer.save(tmp_path / name)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()
    loaded = models.load_recognizer(tmp_path / "a")
    loaded.model.eval()
    features = [recognizer.extract(wave) for wave in WAVES]
    torch.testing.assert_close(loaded.extract(WAVES[0]), features[0])
    torch.testing.assert_close(loaded.encode(features).log_probs, recognizer.encode(features).log_probs)


def test_what_cannot_be_loaded_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import BertConfig

    BertConfig().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="no adapter for model type 'bert'; there are: hubert, lasr_ctc, parakeet_ctc"):
        models.load_recognizer(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match=r"cannot load 'no-such/model' \(a local folder or a hub id\): [^\n]+\Z"):
        models.load_recognizer("no-such/model")


def test_training_is_repeatable_also_with_the_models_own_masks(tmp_path: Path) -> None:
    folder = hub_like(tmp_path / "hub", "wav2vec2")
    losses = []
    for _ in range(2):
        recognizer = models.load_recognizer(folder)
        recognizer.model.train()
        seed_torch(3)
        features = [recognizer.extract(wave) for wave in WAVES]
        losses.append([float(mean_loss(recognizer, features, ["one", "two", "six"]).detach()) for _ in range(4)])
    assert losses[0] == losses[1]
    assert len(set(losses[0])) > 1


def test_text_is_written_in_the_case_of_the_vocabulary_or_refused() -> None:
    recognizer = tiny_recognizer()
    with pytest.raises(ModelError, match=r"cannot spell 'turn left!'"):
        mean_loss(recognizer, [recognizer.extract(WAVES[0])], ["turn left!"])
    recognizer.spelling.upper = True
    with pytest.raises(ModelError, match="cannot spell 'ONE'"):
        mean_loss(recognizer, [recognizer.extract(WAVES[0])], ["one"])


def test_an_empty_text_can_be_learned() -> None:
    recognizer = tiny_recognizer()
    loss = mean_loss(recognizer, [recognizer.extract(wave) for wave in WAVES], ["", "", ""])
    loss.backward()
    assert float(loss.detach()) > 0


def test_a_text_too_long_for_its_clip_is_marked_and_teaches_nothing() -> None:
    recognizer = tiny_recognizer(subsampling=2)
    feature = recognizer.extract(tone(0.08))  # 4 frames
    texts = ["", "abab", "abba", "aa", "aaa", "ababa"]  # a double letter needs a blank between
    (scores,) = recognizer.score([feature], [texts])
    assert scores.possible.tolist() == [True, True, False, True, False, False]
    assert scores.log_probs[scores.possible].isfinite().all()
    assert (scores.log_probs[scores.possible] < 0).all()
    assert scores.log_probs[~scores.possible].tolist() == [0.0, 0.0, 0.0]
    scores.log_probs[~scores.possible].sum().backward()
    gradients = [weight.grad for weight in recognizer.model.parameters() if weight.grad is not None]
    assert gradients
    assert all(float(gradient.abs().sum()) == 0.0 for gradient in gradients)


def test_possible_is_what_the_sum_over_alignments_says_in_a_batch_of_unequal_clips() -> None:
    recognizer = tiny_recognizer(subsampling=2)
    recognizer.model.eval()
    features = [recognizer.extract(tone(seconds)) for seconds in (0.08, 0.3, 0.03)]
    texts = ["a" * count for count in range(12)]
    encoded = recognizer.encode(features)
    a = recognizer.tokenizer("a").input_ids
    for clip, scores in enumerate(recognizer.score(features, [texts] * 3)):
        for count, possible in enumerate(scores.possible.tolist()):
            exact = torch.nn.functional.ctc_loss(
                encoded.log_probs[clip, :, None],
                torch.tensor(a * count, dtype=torch.long),
                encoded.lengths[clip : clip + 1],
                torch.tensor([count]),
                blank=recognizer.blank_id,
                reduction="sum",
            )
            assert possible == bool(exact.isfinite())


def test_what_can_be_scored_is_what_the_vocabulary_spells(monkeypatch: pytest.MonkeyPatch) -> None:
    recognizer = tiny_recognizer()
    feature = recognizer.extract(WAVES[0])
    for text in ("one", "", "turn left!", "\N{REPLACEMENT CHARACTER}"):
        if recognizer.can_score(text):
            recognizer.score([feature], [[text]])
        else:
            with pytest.raises(ModelError, match="cannot spell"):
                recognizer.score([feature], [[text]])
    assert [recognizer.can_score(text) for text in ("one", "", "turn left!")] == [True, True, False]
    monkeypatch.setattr(recognizer.spelling, "tokenizer", SimpleNamespace(unk_token_id=1))  # cannot be called
    assert recognizer.can_score("one")  # asked again, it is remembered


def test_beam_search_is_loaded_only_where_it_is_used() -> None:
    code = "import sys, soundraft.models.ctc; sys.exit('soundraft.models.ctc' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
