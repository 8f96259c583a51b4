import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from soundraft.clips.decoding import text_scores, transcribe
from soundraft.models import encoders
from soundraft.models.base import ModelError
from soundraft.models.classifier import build, is_classifier, load_classifier
from soundraft.models.networks import HEAD_KEYS, Head, fit_side_input
from soundraft.params import defaults
from soundraft.runtime import UserError
from soundraft.training.learner import Optimizing, Schedule, fit, spoken
from tests.conftest import tone
from tests.models.classifiers import BINS, FEATURES, LABELS, SMALL, classifier, clips


@pytest.mark.parametrize("name", [name for name in SMALL if name != "stacked_cnn_rnn"])
def test_every_encoder_learns_twenty_clips_by_heart(name: str) -> None:
    model = classifier(name)
    data = clips(20, seed=1)
    model.fit_normalisation(data.features)
    fit(
        model,
        spoken(data.features, data.texts),
        [[*range(10)], [*range(10, 20)]] * 25,
        schedule=Schedule(1e-2, 0.1, 0.1),
        optimizing=Optimizing(weight_decay=0.0, max_grad_norm=1.0, accumulation=1),
        masking=None,
        title="by heart",
    )
    assert transcribe(model, data) == data.texts


def test_a_clip_alone_and_beside_a_longer_one_has_the_same_answer() -> None:
    model = classifier()
    data = clips(4, seed=2).features
    model.fit_normalisation(data)
    together = model.encode([*data, data[0].repeat(20, 1)])
    for index, clip in enumerate(data):
        torch.testing.assert_close(together[index], model.encode([clip])[0], atol=1e-5, rtol=0)


def test_features_are_normalised_as_the_training_clips_were() -> None:
    model = classifier()
    data = clips(30, seed=3).features
    model.fit_normalisation(data)
    mean, std = model.normalisation()
    rows = torch.cat(data).numpy()
    np.testing.assert_allclose(mean.numpy(), rows.mean(0), rtol=1e-4)
    np.testing.assert_allclose(std.numpy(), np.full(BINS, rows.std(0).mean()), rtol=1e-4)
    other = classifier()
    other.fit_normalisation([3.0 * clip + 7.0 for clip in data])  # another unit gives the same answers
    same = other.encode([3.0 * clip + 7.0 for clip in data])
    torch.testing.assert_close(same, model.encode(data), atol=1e-2, rtol=0)


def test_a_constant_bin_stays_finite() -> None:
    model = classifier()
    data = [clip.clone() for clip in clips(5, seed=3).features]
    for clip in data:
        clip[:, 2] = -7.0
    model.fit_normalisation(data)
    assert model.encode(data).isfinite().all()


def test_scores_are_the_log_softmax_and_calibration_changes_the_probabilities_alone() -> None:
    model = classifier()
    data = clips(3, seed=4)
    expected = torch.log_softmax(model.encode(data.features), dim=-1)
    scored = text_scores(model, data, [LABELS[::-1]] * 3)
    np.testing.assert_allclose(np.array(scored)[:, ::-1], expected.numpy(), atol=1e-5)
    torch.testing.assert_close(model.log_probs(data.features), expected)
    greedy = model.greedy(model.encode(data.features))
    model.temperature = 3.0
    torch.testing.assert_close(
        model.log_probs(data.features), torch.log_softmax(model.encode(data.features) / 3.0, dim=-1)
    )
    assert text_scores(model, data, [LABELS[::-1]] * 3) == scored
    assert model.careful(model.encode(data.features)) == greedy
    assert model.can_score("glad")
    assert not model.can_score("angry")
    with pytest.raises(ModelError, match="label 'angry' is unknown; there are: calm, glad, sad"):
        model.score(data.features, [["angry"]] * 3)


def test_samples_follow_the_softmax_and_depend_on_their_seed_alone() -> None:
    model = classifier()
    logits = torch.tensor([[1.0, 0.0, -1.0], [0.0, 2.0, 0.0]])
    drawn = model.sample(logits, 20000, temperature=2.0, seeds=[5, 6])
    for row, labels in zip(logits, drawn, strict=True):
        counts = Counter(labels)
        shares = [counts[label] / len(labels) for label in LABELS]
        np.testing.assert_allclose(shares, torch.softmax(row / 2.0, dim=-1).numpy(), atol=0.015)
    few = model.sample(logits, 8, temperature=2.0, seeds=[5, 6])
    assert model.sample(logits[1:], 8, temperature=2.0, seeds=[6]) == few[1:]
    assert model.sample(logits[1:], 8, temperature=2.0, seeds=[7]) != few[1:]


def test_what_was_saved_gives_the_same(tmp_path: Path) -> None:
    side = (fit_side_input("room", "category", ["hall", "car"]), fit_side_input("age", "number", [20, 30]))
    model = classifier("cnnrnn", side=side)
    data = [model.with_side(clip, {"room": "car", "age": 3}) for clip in clips(5, seed=5).features]
    model.fit_normalisation(data)
    model.temperature = 1.7
    model.save(tmp_path)
    loaded = load_classifier(tmp_path)
    assert torch.equal(loaded.log_probs(data), model.log_probs(data))
    assert (loaded.labels, loaded.temperature, loaded.side) == (model.labels, 1.7, side)
    assert loaded.features_depend_on() == model.features_depend_on()
    samples = tone(0.4)
    assert torch.equal(loaded.extract(samples), model.extract(samples))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    loaded.save(tmp_path)
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert is_classifier(tmp_path)
    assert not is_classifier(tmp_path / "nothing")


def test_extract_cuts_and_chooses_the_channel() -> None:
    def extracted(channel: str, samples: np.ndarray, limit_s: float = 0.0) -> torch.Tensor:
        encoder = {"type": "stacked_cnn"}
        model = build(LABELS, features=FEATURES, encoder=encoder, channel=channel, channels=2, length_limit_s=limit_s)
        features = model.extract(samples)
        assert model.encode([features]).isfinite().all()
        return features

    left, right = tone(0.5, frequency_hz=300.0), tone(0.5, frequency_hz=1200.0)
    both = np.stack([left, right], axis=1)
    assert torch.equal(extracted("1", both), extracted("0", right))
    assert torch.equal(extracted("all", both), torch.cat([extracted("0", left), extracted("0", right)], dim=1))
    torch.testing.assert_close(extracted("average", both), extracted("0", (left + right) / 2), atol=1e-3, rtol=0)
    assert torch.equal(extracted("0", left, limit_s=0.25), extracted("0", left[:2000]))
    with pytest.raises(UserError, match="shorter than one window"):
        extracted("0", left[:10])


def test_raw_samples_have_a_learned_filter_bank() -> None:
    model = classifier(features={**FEATURES, "type": "raw"})
    data = [torch.from_numpy(tone(seconds)) for seconds in (0.1, 0.4)]
    model.fit_normalisation(data)
    together = model.encode(data)
    torch.testing.assert_close(together[0], model.encode(data[:1])[0], atol=1e-5, rtol=0)
    with pytest.raises(ModelError, match="channel: all: raw samples"):
        build(LABELS, features={**FEATURES, "type": "raw"}, encoder={"type": "rnn"}, channel="all", channels=2)


def test_settings_that_cannot_be_are_named() -> None:
    for labels, message in ((["a"], "needs two or more"), (["a", "b", "a"], "label 'a' occurs twice")):
        with pytest.raises(ModelError, match=message):
            build(labels, features=FEATURES, encoder={"type": "rnn"})
    with pytest.raises(ModelError, match=r"got 'cnn'; there are: stacked_cnn_2d, .*, wav2vec2, hubert, wavlm, whisper"):
        build(LABELS, features=FEATURES, encoder={"type": "cnn"})
    with pytest.raises(ModelError, match=r"encoder.pooling: got 'median'; there are: statistics, attention"):
        build(LABELS, features=FEATURES, encoder={"type": "rnn", "pooling": "median"})
    with pytest.raises(ModelError, match="0 <= fc_dropout < 1"):
        build(LABELS, features=FEATURES, encoder={"type": "rnn", "fc_dropout": 1.0})


def test_a_folder_that_is_no_classifier_says_what_is_wrong(tmp_path: Path) -> None:
    def changed(**changes: object) -> None:
        config = json.loads(good) | changes
        path.write_text(json.dumps({key: value for key, value in config.items() if value != "gone"}))

    with pytest.raises(ModelError, match=r"it has no config\.json"):
        load_classifier(tmp_path)
    classifier().save(tmp_path)
    path = tmp_path / "config.json"
    good = path.read_text()
    wrong = (
        ({"format": "other"}, "not of an audio classifier"),
        ({"version": 2}, "version is 2; this program reads 1"),
        ({"labels": "gone"}, "labels is missing"),
        ({"colour": 1}, "colour is unknown"),
        ({"labels": "calm"}, "labels cannot be 'calm'"),
        ({"temperature": 0}, "temperature cannot be 0"),
        ({"side": [{"name": "age"}]}, "side cannot be"),
        ({"features": {"type": "fbank"}}, "missing 8 required positional arguments"),
        ({"labels": ["a", "b"]}, r"output.1.bias has shape \(3,\); config.json asks for \(2,\)"),
        ({"encoder": {"type": "rnn", "output_size": 24}}, "config.json asks for"),
    )
    for changes, message in wrong:
        changed(**changes)
        with pytest.raises(ModelError, match=message):
            load_classifier(tmp_path)
    path.write_text("{")
    with pytest.raises(ModelError, match="is no JSON"):
        load_classifier(tmp_path)
    path.write_text(good)
    (tmp_path / "model.safetensors").write_bytes(b"\x00" * 40)
    with pytest.raises(ModelError, match="cannot be read"):
        load_classifier(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="no weights"):
        load_classifier(tmp_path)


def test_a_committee_votes_with_its_mean_probabilities_and_each_member_learns_alone() -> None:
    model = classifier(members=3, pooling="mixed")
    items = clips(6, seed=3)
    model.fit_normalisation(items.features)
    members = list(model.model.members)
    assert [member.reader.pooling.kind for member in members] == ["statistics", "attention", "max"]
    side = torch.zeros(6, 0)
    with torch.inference_mode():
        alone = torch.stack([member(items.features, side) for member in members])
    torch.testing.assert_close(model.encode(items.features).exp(), alone.exp().mean(0))
    model.model.train()
    scored = model.score(items.features, [[text] for text in items.texts])
    loss = -torch.stack([scores.log_probs[0] for scores in scored]).mean()
    loss.backward()
    together = members[0].output[1].weight.grad.clone()
    members[0].zero_grad()
    own = members[0](items.features, side)
    right = torch.tensor([LABELS.index(text) for text in items.texts])
    torch.nn.functional.nll_loss(own, right).backward()
    torch.testing.assert_close(together, members[0].output[1].weight.grad / 3)


@pytest.mark.parametrize("members", [1, 3])
def test_what_is_learned_is_scored_alike_before_and_while_it_learns(members: int) -> None:
    model = classifier(members=members)
    items = clips(5, seed=5)
    model.fit_normalisation(items.features)
    texts = [LABELS] * 5
    before = text_scores(model, items, texts)
    model.model.train()
    now = torch.stack([scores.log_probs for scores in model.score(items.features, texts)])
    torch.testing.assert_close(now.detach(), torch.tensor(before))


def test_a_committee_that_was_saved_gives_the_same(tmp_path: Path) -> None:
    model = classifier(members=2)
    items = clips(5, seed=4)
    model.fit_normalisation(items.features)
    model.save(tmp_path)
    assert torch.equal(load_classifier(tmp_path).encode(items.features), model.encode(items.features))


def test_a_clip_is_heard_as_loud_as_any_other() -> None:
    samples = np.sin(np.arange(8000) / 5.0).astype(np.float32)
    loud = build(["a", "b"], features=FEATURES, encoder={"type": "stacked_cnn"}, level_db=-20.0)
    torch.testing.assert_close(loud.extract(0.01 * samples), loud.extract(samples), atol=1e-3, rtol=1e-3)
    as_it_is = build(["a", "b"], features=FEATURES, encoder={"type": "stacked_cnn"})
    assert (as_it_is.extract(samples) - as_it_is.extract(0.01 * samples)).mean() > 5.0
    assert loud.extract(np.zeros(8000, dtype=np.float32)).isfinite().all()


def test_a_band_that_was_silent_keeps_the_scale_of_the_others() -> None:
    model = classifier()
    features = [torch.cat([torch.randn(30, BINS - 1) * 4, torch.full((30, 1), -9.0)], dim=1) for _ in range(4)]
    model.fit_normalisation(features)
    mean, std = model.normalisation()
    assert mean[-1] == -9.0
    assert torch.equal(std, std[:1].expand(BINS))


def test_knobs_that_nobody_names_are_those_of_params_yaml() -> None:
    encoder = defaults().classification.encoder
    for name in encoders.ENCODERS.keys() - {"stacked_cnn_rnn"}:
        known = encoders.options(name).items()
        ours = {key: list(value) if isinstance(value, tuple) else value for key, value in known}
        assert ours == getattr(encoder, name).model_dump(), name
    head = {key: getattr(encoder, key) for key in HEAD_KEYS if key != "pooling"}
    assert {key: getattr(Head(), key) for key in head} == head
