from pathlib import Path
from typing import Any

import pytest
import torch

from soundraft.models.base import ModelError
from soundraft.models.classifier import AudioClassifier, build, load_classifier
from soundraft.models.pretrained import PRETRAINED, WAVES
from soundraft.runtime import seed_torch
from soundraft.training.learner import Optimizing, Schedule, fit, spoken
from tests.conftest import tone
from tests.models.families import BLOCKS, RAW

LABELS = ("low", "high")
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


def classifier(folder: Path | str, name: str, **encoder: Any) -> AudioClassifier:
    seed_torch(0)
    settings = {"type": name, "model": str(folder), "output_size": 16, "fc_dropout": 0.0, **encoder}
    return build(LABELS, features={}, encoder=settings, length_limit_s=0.9)


def waves(model: AudioClassifier) -> list[torch.Tensor]:
    sizes = (0.2, 0.55, 0.55, 0.85)
    return [model.extract(tone(size, RATE_HZ, frequency_hz=hz)) for size, hz in zip(sizes, (200, 900) * 2, strict=True)]


@pytest.mark.parametrize("name", PRETRAINED)
def test_an_answer_does_not_depend_on_the_batch_and_survives_saving(name: str, tmp_path: Path) -> None:
    model = classifier(checkpoint(tmp_path / "hub", name), name)
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
    model = classifier(folder, name, trainable=trainable, pooling="attention")
    before = {key: value.clone() for key, value in model.model.state_dict().items()}
    data = waves(model)
    fit(
        model,
        spoken(data, LABELS * 2),
        [[0, 1, 2, 3]] * 3,
        schedule=Schedule(1e-3, 0.1, 0.1),
        optimizing=Optimizing(weight_decay=0.0, max_grad_norm=1.0, accumulation=1),
        masking=None,
        title="tune",
    )
    moved = {key for key, value in model.model.state_dict().items() if not torch.equal(before[key], value)}
    assert any(key.startswith("reader.encoder") for key in moved) == trainable
    assert {"reader.pooling.weigh.0.weight", "output.1.weight"} <= moved


@pytest.mark.parametrize("name", ["whisper", "ast"])
def test_what_is_kept_of_a_window_fills_up_to_what_the_extractor_makes(name: str, tmp_path: Path) -> None:
    model = classifier(checkpoint(tmp_path, name), name)
    samples = tone(0.5, RATE_HZ)
    whole = model.front.extractor(samples, sampling_rate=RATE_HZ, return_tensors="pt")  # type: ignore[attr-defined]
    kept = model.extract(samples)
    if name == "whisper":
        expected = whole["input_features"][0].T
        filled = model.model.reader._fill(kept, float(kept.min()))  # type: ignore[operator]
    else:
        expected = whole["input_values"][0]
        filled = model.model.reader._fill(kept, model.model.reader.silence)  # type: ignore[operator]
    assert len(kept) < len(filled)
    torch.testing.assert_close(filled, expected, atol=1e-5, rtol=0)


def test_what_cannot_be_used_is_named(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "hub", "hubert")
    with pytest.raises(ModelError, match=r"encoder.type is wav2vec2, but .* is a hubert"):
        classifier(folder, "wav2vec2")
    with pytest.raises(ModelError, match=r"encoder.num_filters: hubert has no such key; there are: model, revision"):
        classifier(folder, "hubert", num_filters=3)
    for missing in (tmp_path / "nowhere", "./nowhere", "../nowhere", "~/nowhere"):
        with pytest.raises(ModelError, match=rf"encoder.model: no such folder: {missing}$"):
            classifier(missing, "hubert")
    with pytest.raises(ModelError, match=r"encoder.model: no folder, but a file: .*config\.json$"):
        classifier(folder / "config.json", "hubert")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"encoder.model: .*empty is no model of transformers: it has no config.json"):
        classifier(tmp_path / "empty", "hubert")
    with pytest.raises(ModelError, match="needs the hub id or the folder"):
        build(LABELS, features={}, encoder={"type": "ast"})
    with pytest.raises(ModelError, match=r"ast hears 1.3 s at most"):
        folder = checkpoint(tmp_path / "ast", "ast")
        build(LABELS, features={}, encoder={"type": "ast", "model": str(folder)})
