import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from soundraft.audio import io
from soundraft.clips.base import Clips, load
from soundraft.clips.batches import Utterances, answer_log_probs, best_answers
from soundraft.models.base import ModelError
from soundraft.models.classifier import AudioClassifier, is_classifier, load_classifier
from soundraft.models.networks import fit_side_input
from soundraft.models.pretrained import PRETRAINED, WAVES, Encoder
from soundraft.params import defaults
from soundraft.params.base import Section
from soundraft.runtime import UserError
from soundraft.tasks.classification import Classification
from soundraft.training.learner import examples_of, fit
from tests.conftest import tone
from tests.models.classifiers import BINS, FEATURES, LABELS, SMALL, classifier, clips
from tests.models.families import BLOCKS, RAW
from tests.training.toy import DECODING, start_settings

RAW_FEATURES = FEATURES.model_copy(update={"type": "raw"})
SIDE = (fit_side_input("room", "category", ["hall", "car"]), fit_side_input("age", "number", [20, 30]))


def fitted(data: Utterances, *names: Any, **options: Any) -> AudioClassifier:
    model = classifier(*names, **options)
    model.fit_normalisation(data.features)
    return model


@pytest.mark.parametrize("name", SMALL)
def test_every_encoder_learns_twenty_clips_by_heart(name: str) -> None:
    data = clips(20, seed=1)
    model = fitted(data, name)
    options = start_settings(25, rate=1e-2, batch_size=10)
    fit(model, examples_of(data.features, data.targets), options, seed=0, title="by heart")
    assert best_answers(model, data, DECODING) == data.targets


@pytest.mark.parametrize("features", [FEATURES, RAW_FEATURES])
def test_a_clip_alone_and_beside_a_longer_one_has_the_same_answer(features: Section) -> None:
    data = clips(4, seed=2).features
    if features is RAW_FEATURES:
        data = [torch.from_numpy(tone(seconds)) for seconds in (0.1, 0.4)]
    model = classifier(features=features)
    model.fit_normalisation(data)
    together = model.encode([*data, torch.cat([data[0]] * 20)])
    for index, clip in enumerate(data):
        torch.testing.assert_close(together[index], model.encode([clip])[0], atol=1e-5, rtol=0)


def test_features_are_normalised_as_the_training_clips_were() -> None:
    data = clips(30, seed=3)
    model = fitted(data)
    mean, std = model.normalisation()
    rows = torch.cat(data.features).numpy()
    np.testing.assert_allclose(mean.numpy(), rows.mean(0), rtol=1e-4)
    np.testing.assert_allclose(std.numpy(), np.full(BINS, rows.std(0).mean()), rtol=1e-4)
    other = classifier()
    scaled = [3.0 * clip + 7.0 for clip in data.features]  # another unit gives the same answers
    other.fit_normalisation(scaled)
    torch.testing.assert_close(other.encode(scaled), model.encode(data.features), atol=1e-2, rtol=0)
    silent = [torch.cat([clip[:, :-1], torch.full((len(clip), 1), -9.0)], dim=1) for clip in data.features]
    model.fit_normalisation(silent)  # a band that was silent keeps the scale of the others
    mean, std = model.normalisation()
    assert mean[-1] == -9.0
    assert torch.equal(std, std[:1].expand(BINS))
    assert model.encode(silent).isfinite().all()


def test_log_probs_are_the_log_softmax() -> None:
    model, data = classifier(), clips(3, seed=4)
    logits = model.encode(data.features)
    scored = answer_log_probs(model, data, [LABELS[::-1]] * 3, DECODING)
    np.testing.assert_allclose(np.array(scored)[:, ::-1], torch.log_softmax(logits, dim=-1).numpy(), atol=1e-5)
    assert (model.can_learn("glad"), model.can_learn("angry")) == (True, False)
    with pytest.raises(ModelError, match="'angry'"):
        model.loss(data.features, [["angry"]] * 3)


def test_samples_follow_the_softmax_and_depend_on_their_seed_alone() -> None:
    model = classifier()
    logits = torch.tensor([[1.0, 0.0, -1.0], [0.0, 2.0, 0.0]])
    drawn = model.sample(logits, 20000, temperature=2.0, seeds=[5, 6])
    for row, labels in zip(logits, drawn, strict=True):
        shares = [Counter(labels)[label] / len(labels) for label in LABELS]
        np.testing.assert_allclose(shares, torch.softmax(row / 2.0, dim=-1).numpy(), atol=0.015)
    few = model.sample(logits, 8, temperature=2.0, seeds=[5, 6])
    assert model.sample(logits[1:], 8, temperature=2.0, seeds=[6]) == few[1:]
    assert model.sample(logits[1:], 8, temperature=2.0, seeds=[7]) != few[1:]


@pytest.mark.parametrize("choice", [{"members": 2}, {}])
def test_a_saved_classifier_gives_the_same_answers_and_bytes(tmp_path: Path, choice: dict[str, Any]) -> None:
    model = classifier("cnnrnn", side=SIDE, **choice)
    data = [model.with_side(clip, {"room": "car", "age": 3}) for clip in clips(5, seed=5).features]
    model.fit_normalisation(data)
    model.temperature = 1.7
    model.save(tmp_path)
    loaded = load_classifier(tmp_path)
    assert torch.equal(loaded.encode(data), model.encode(data))
    assert loaded.temperature == 1.7
    assert loaded.features_depend_on() == model.features_depend_on()
    assert torch.equal(loaded.extract(tone(0.4)), model.extract(tone(0.4)))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    loaded.save(tmp_path)
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert is_classifier(tmp_path)
    assert not is_classifier(tmp_path / "nothing")


def test_extract_cuts_chooses_the_channel_and_sets_the_loudness() -> None:
    def extracted(
        channel: str, samples: np.ndarray, limit_s: float = 0.0, level_db: float | None = None
    ) -> torch.Tensor:
        place = {"channel": channel, "audio_file_length_limit_in_s": limit_s, "level_db": level_db}
        return classifier(place=place, channels=2).extract(samples)

    left, right = tone(0.5, frequency_hz=300.0), tone(0.5, frequency_hz=1200.0)
    both = np.stack([left, right], axis=1)
    assert torch.equal(extracted("1", both), extracted("0", right))
    assert torch.equal(extracted("all", both), torch.cat([extracted("0", left), extracted("0", right)], dim=1))
    torch.testing.assert_close(extracted("average", both), extracted("0", (left + right) / 2), atol=1e-3, rtol=0)
    assert torch.equal(extracted("0", left, limit_s=0.25), extracted("0", left[:2000]))
    quiet = extracted("0", 0.01 * left, level_db=-20.0)
    torch.testing.assert_close(quiet, extracted("0", left, level_db=-20.0), atol=1e-3, rtol=1e-3)
    assert (extracted("0", left) - extracted("0", 0.01 * left)).mean() > 5.0
    assert extracted("0", 0.0 * left, level_db=-20.0).isfinite().all()
    with pytest.raises(UserError, match="shorter than one window"):
        extracted("0", left[:10])


def test_settings_that_do_not_fit_together_are_refused() -> None:
    for options in (
        {"labels": ["a"]}, {"labels": ["a", "b", "a"]}, {"features": RAW_FEATURES, "place": {"channel": "all"}}
    ):  # fmt: skip
        with pytest.raises(UserError):
            classifier("rnn", **options)


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"format": "other"}, "classifier"), ({"version": 2}, "version"), ({"labels": "gone"}, "labels"),
     ({"colour": 1}, "colour"), ({"labels": "calm"}, "labels"), ({"temperature": 0}, "temperature"),
     ({"side": [{"name": "age"}]}, "side"), ({"features": {"type": "fbank"}}, "sample_rate_hz"),
     ({"encoder": {"type": "rnn", "output_size": 24}}, "pooling"), ({"labels": ["a", "b"]}, "output.1.bias")],
)  # fmt: skip
def test_a_config_that_is_wrong_is_refused(tmp_path: Path, changes: dict[str, Any], named: str) -> None:
    classifier().save(tmp_path)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in config.items() if value != "gone"}))
    with pytest.raises(ModelError, match=named):
        load_classifier(tmp_path)


def test_files_that_are_missing_or_damaged_are_refused(tmp_path: Path) -> None:
    classifier().save(tmp_path)
    for name, damaged in (("model.safetensors", b"\x00" * 40), ("model.safetensors", None), ("config.json", b"{"),
                          ("config.json", None)):  # fmt: skip
        (tmp_path / name).unlink() if damaged is None else (tmp_path / name).write_bytes(damaged)
        with pytest.raises(ModelError, match=name):
            load_classifier(tmp_path)


def test_an_ensemble_votes_with_its_mean_probabilities_and_each_member_learns_alone() -> None:
    items = clips(6, seed=3)
    model = fitted(items, members=3, pooling="mixed")
    members = list(model.model.members)
    assert [member.reader.pooling.kind for member in members] == ["statistics", "attention", "max"]
    side = torch.zeros(6, 0)
    with torch.inference_mode():
        alone = torch.stack([member(items.features, side) for member in members])
    torch.testing.assert_close(model.encode(items.features).exp(), alone.exp().mean(0))
    model.model.train()
    found = model.loss(items.features, [[text] for text in items.targets])
    torch.stack([each.losses[0] for each in found]).mean().backward()
    together = members[0].output[1].weight.grad.clone()
    members[0].zero_grad()
    right = torch.tensor([LABELS.index(text) for text in items.targets])
    torch.nn.functional.nll_loss(members[0](items.features, side), right).backward()
    torch.testing.assert_close(together, members[0].output[1].weight.grad / 3)


@pytest.mark.parametrize("members", [1, 3])
def test_log_probs_are_the_same_before_and_in_training(members: int) -> None:
    items = clips(5, seed=5)
    model = fitted(items, members=members)
    before = answer_log_probs(model, items, [LABELS] * 5, DECODING)
    model.model.train()
    now = torch.stack([found.log_probs for found in model.loss(items.features, [LABELS] * 5)])
    torch.testing.assert_close(now.detach(), torch.tensor(before))


# Pretrained encoders.


RATE_HZ = 16000


def checkpoint(folder: Path, name: str, norm: str = "group") -> Path:
    import transformers as hub

    torch.manual_seed(0)
    if name in WAVES:
        prefix = {"wav2vec2": "Wav2Vec2", "hubert": "Hubert", "wavlm": "WavLM"}[name]
        config = getattr(hub, f"{prefix}Config")(**BLOCKS, **{**RAW, "feat_extract_norm": norm})
        model, extractor = getattr(hub, f"{prefix}Model")(config), hub.Wav2Vec2FeatureExtractor()
    elif name == "whisper":
        model = hub.WhisperModel(
            hub.WhisperConfig(
                d_model=16, encoder_layers=1, encoder_attention_heads=2, encoder_ffn_dim=32, decoder_layers=1,
                decoder_attention_heads=2, decoder_ffn_dim=32, num_mel_bins=80, max_source_positions=50,
            )
        )  # fmt: skip
        extractor = hub.WhisperFeatureExtractor(feature_size=80, chunk_length=1)
    else:
        model = hub.ASTModel(hub.ASTConfig(**BLOCKS, max_length=128, num_mel_bins=32, time_stride=10))
        extractor = hub.ASTFeatureExtractor(num_mel_bins=32, max_length=128)
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)
    return folder


def pretrained(folder: Path | str, name: str, limit_s: float = 0.9, **choice: Any) -> AudioClassifier:
    own = {"model": str(folder), "trainable": choice.pop("trainable", False), **choice.pop("own", {})}
    choice = {"pooling": "mean"} | choice
    return classifier(name, labels=("low", "high"), own=own, place={"audio_file_length_limit_in_s": limit_s}, **choice)


def waves(model: AudioClassifier) -> list[torch.Tensor]:
    sizes = (0.2, 0.55, 0.55, 0.85)
    return [model.extract(tone(size, RATE_HZ, frequency_hz=hz)) for size, hz in zip(sizes, (200, 900) * 2, strict=True)]


@pytest.mark.parametrize("name", PRETRAINED)
def test_a_pretrained_answer_does_not_depend_on_the_batch_and_survives_saving(name: str, tmp_path: Path) -> None:
    model = pretrained(checkpoint(tmp_path / "hub", name), name)
    data = waves(model)
    together = model.encode(data)
    for index, clip in enumerate(data):
        torch.testing.assert_close(together[index], model.encode([clip])[0], atol=1e-5, rtol=0)
    model.save(tmp_path / "saved")
    (tmp_path / "hub").rename(tmp_path / "gone")
    loaded = load_classifier(tmp_path / "saved")
    assert torch.equal(loaded.encode(data), together)
    assert torch.equal(loaded.extract(tone(0.3, RATE_HZ)), model.extract(tone(0.3, RATE_HZ)))


@pytest.mark.parametrize("name", PRETRAINED)
@pytest.mark.parametrize("trainable", [False, True])
def test_a_frozen_encoder_keeps_its_weights_and_a_tuned_one_does_not(
    name: str, trainable: bool, tmp_path: Path
) -> None:
    folder = checkpoint(tmp_path, name, norm="layer")
    model = pretrained(folder, name, trainable=trainable, pooling="attention")
    before = {key: value.clone() for key, value in model.model.state_dict().items()}
    fit(model, examples_of(waves(model), ["low", "high"] * 2), start_settings(3, rate=1e-3), seed=0, title="tune")
    moved = {key for key, value in model.model.state_dict().items() if not torch.equal(before[key], value)}
    assert any(key.startswith("reader.encoder") for key in moved) == trainable
    assert {"reader.pooling.weigh.0.weight", "output.1.weight"} <= moved


@pytest.mark.parametrize("name", ["whisper", "ast"])
def test_what_is_kept_of_a_window_fills_up_to_what_the_extractor_makes(name: str, tmp_path: Path) -> None:
    model = pretrained(checkpoint(tmp_path, name), name, trainable=True)
    samples, front = tone(0.5, RATE_HZ), model.front
    whole = front.extractor(samples, sampling_rate=RATE_HZ, return_tensors="pt")  # type: ignore[attr-defined]
    kept, encoder = model.extract(samples), model.model.reader.states
    expected = whole["input_features"][0].T if name == "whisper" else whole["input_values"][0]
    filled = encoder.filled(kept, float(kept.min()) if name == "whisper" else encoder.silence)
    assert len(kept) < len(filled)
    torch.testing.assert_close(filled, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", PRETRAINED)
def test_states_are_those_of_transformers_and_one_layer_can_be_chosen(name: str, tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, name)
    model = pretrained(folder, name, trainable=True)
    clip, encoder = model.extract(tone(0.4, RATE_HZ)), model.model.reader.states
    (states,) = encoder.states([clip])
    inputs = clip
    if name == "whisper":  # an encoder that has no more positions than the clip fills
        inputs, places = clip.T, encoder.model.embed_positions.weight.data[: len(clip) // 2]
        encoder.model.embed_positions = torch.nn.Embedding.from_pretrained(places)
        encoder.model.config.max_source_positions = len(places)
    elif name == "ast":
        inputs = encoder.filled(clip, encoder.silence)
    with torch.no_grad():
        theirs = encoder.model(inputs[None], output_hidden_states=True)
    assert states.shape[1] == len(theirs.hidden_states) == encoder.layers
    for layer, expected in enumerate([*theirs.hidden_states[:-1], theirs.last_hidden_state]):
        if name == "ast":  # tokens: class, distillation, bands x times
            expected = expected[:, 2:].reshape(1, 2, -1, 16).mean(1)
        torch.testing.assert_close(states[:, layer], expected[0, : len(states)], atol=1e-5, rtol=1e-5)
        mean, spread = states[:, layer].mean(0), states[:, layer].var(0, correction=0)
        chosen = pretrained(folder, name, pooling="statistics", own={"layer": layer})
        vector = chosen.model.reader([chosen.extract(tone(0.4, RATE_HZ))])
        torch.testing.assert_close(vector[0], torch.cat([mean, (spread + 1e-6).sqrt()]).clamp(-5, 5), atol=1e-4, rtol=0)
    with pytest.raises(ModelError, match=r"encoder\.layer: got 9"):
        pretrained(folder, name, own={"layer": 9})


def test_a_head_on_frozen_states_learns_its_mix_and_scales_by_the_training_clips(tmp_path: Path) -> None:
    model = pretrained(checkpoint(tmp_path, "whisper"), "whisper", pooling="statistics")
    data = waves(model)
    model.fit_normalisation(data)
    rows = torch.cat(data).numpy()
    np.testing.assert_allclose(model.normalisation()[0].numpy(), rows.mean(0), atol=1e-6)
    scored = (rows - rows.mean(0)) / rows.std(0)
    expected = scored.reshape(4, 2, -1).mean(1)  # two layers, alike at first
    np.testing.assert_allclose(model.model.reader(data).detach().numpy(), expected, atol=1e-3)
    assert [clip.shape for clip in data] == [(1, 2 * 2 * 16)] * 4
    fit(model, examples_of(data, ["low", "high"] * 2), start_settings(9, rate=1e-2), seed=0, title="head")
    assert abs(float(model.model.reader.mix[0].detach())) > 1e-3


def test_a_tuned_whisper_does_not_see_the_padding_of_its_batch(tmp_path: Path) -> None:
    model = pretrained(checkpoint(tmp_path, "whisper"), "whisper", trainable=True, pooling="statistics")
    data = waves(model)
    model.fit_normalisation(data)
    together = model.encode(data)
    for index, clip in enumerate(data):
        torch.testing.assert_close(together[index], model.encode([clip])[0], atol=1e-5, rtol=0)


def test_states_are_computed_once_for_a_content_and_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    computed: list[int] = []
    states = Encoder.states
    monkeypatch.setattr(Encoder, "states", lambda self, clips: (computed.append(len(clips)), states(self, clips))[1])
    folder = checkpoint(tmp_path / "hub", "whisper")
    audio = [io.float_wav_bytes(tone(0.3, RATE_HZ, frequency_hz=hz)[:, None], RATE_HZ) for hz in (200, 900)]

    def features(prefix: str, **options: Any) -> list[torch.Tensor]:
        model = pretrained(folder, "whisper", **options)
        data = Clips([f"{prefix}/{n}" for n in range(2)], lambda place: audio[place], [{}, {}])
        task = Classification(defaults())
        return load(data, [task.featurizer(model)], target=lambda facts: "low", title="").utterances.features

    first = features("here", pooling="statistics")
    assert all(
        torch.equal(one, other) for one, other in zip(first, features("elsewhere", pooling="statistics"), strict=True)
    )
    assert len(computed) == 2
    features("here", pooling="statistics", own={"layer": 1})  # another layer needs nothing new
    assert len(computed) == 2
    features("here")
    assert len(computed) == 4
    weights = load_file(folder / "model.safetensors")
    weights["encoder.layer_norm.bias"] += 1.0
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert not torch.equal(features("here", pooling="statistics")[0], first[0])
    assert len(computed) == 6


def test_z_scores_of_statistics_take_two_clips_of_a_speaker(tmp_path: Path) -> None:
    model = pretrained(checkpoint(tmp_path, "whisper"), "whisper", pooling="statistics")
    data = waves(model)
    scored = model.z_scored(data, ["ann", "ann", "bob", "ann"])
    rows = torch.cat([data[place] for place in (0, 1, 3)]).double()
    expected = ((rows - rows.mean(0)) / rows.std(0, correction=0)).float()
    assert scored[2] is None
    for place, row in zip((0, 1, 3), expected, strict=True):
        torch.testing.assert_close(scored[place], row[None], atol=1e-3, rtol=0)
    with pytest.raises(ModelError, match="normalize_by"):
        place = {"audio_file_length_limit_in_s": 0.9, "normalize_by": "speaker"}
        own = {"model": str(tmp_path), "trainable": True}
        classifier("whisper", labels=("low", "high"), own=own, place=place)


@pytest.mark.parametrize("name", ["whisper", "wav2vec2"])
def test_a_checkpoint_in_half_precision_is_read_in_single(name: str, tmp_path: Path) -> None:
    import transformers as hub

    folder = checkpoint(tmp_path, name)
    (hub.AutoModel.from_pretrained(folder).half()).save_pretrained(folder)
    model = pretrained(folder, name, trainable=True)
    assert {weights.dtype for weights in model.model.parameters()} == {torch.float32}
    assert model.encode(waves(model)).isfinite().all()


def test_a_classifier_of_before_the_layers_were_mixed_is_named(tmp_path: Path) -> None:
    pretrained(checkpoint(tmp_path / "hub", "hubert"), "hubert").save(tmp_path / "old")
    path = tmp_path / "old/config.json"
    config = json.loads(path.read_text())
    del config["encoder"]["layer"]
    path.write_text(json.dumps(config))
    with pytest.raises(ModelError, match="older version"):
        load_classifier(tmp_path / "old")


def test_pretrained_models_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    folder, ast = checkpoint(tmp_path / "hub", "hubert"), checkpoint(tmp_path / "ast", "ast")
    (tmp_path / "empty").mkdir()
    for place in (tmp_path / "nowhere", "./nowhere", "~/nowhere", folder / "config.json", tmp_path / "empty", ""):
        with pytest.raises(ModelError, match=r"encoder\.model"):
            pretrained(place, "hubert")
    for name, options in (("wav2vec2", {}), ("hubert", {"members": 2})):
        with pytest.raises(ModelError, match="encoder"):
            pretrained(folder, name, **options)
    with pytest.raises(ModelError, match="length limit"):
        pretrained(ast, "ast", limit_s=defaults().classification.audio_file_length_limit_in_s)
