"""What is no usable checkpoint is refused by name, in one line, before anything is learned or transcribed."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModel, BertConfig

from soundraft import models, runtime
from soundraft.models.base import ModelError
from soundraft.models.checkpoints import config_of, load_model, place_of
from soundraft.models.classifier import load_hub_classifier
from soundraft.runtime import UserError
from tests.conftest import tiny_recognizer, tone
from tests.models import families, test_whisper
from tests.models.classifiers import classifier
from tests.models.test_classifier import checkpoint as encoder


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hub")
    families.hub_like(folder / "wav2vec2", "wav2vec2")
    test_whisper.checkpoint(folder / "whisper")
    encoder(folder / "headless", "hubert")
    return folder


def edited(name: str, **changes: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        found = json.loads((folder / name).read_text()) | changes
        (folder / name).write_text(json.dumps({key: value for key, value in found.items() if value != "gone"}))

    return change


def truncated(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])


def without(*names: str) -> Callable[[Path], None]:
    return lambda folder: [(folder / name).unlink() for name in names if (folder / name).exists()] and None


def with_another_word(folder: Path) -> None:
    words = json.loads((folder / "vocab.json").read_text())
    (folder / "vocab.json").write_text(json.dumps({**words, "é": len(words)}))


TOKENIZER = ("vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
PROCESSOR = ("processor_config.json", "preprocessor_config.json")


@pytest.mark.parametrize("kind", ["wav2vec2", "whisper"])
@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (truncated, "cannot load"),
        (without("model.safetensors"), "model.safetensors"),
        (without("config.json"), "no model"),
        (edited("config.json", model_type="gone"), "cannot load"),
        (lambda folder: (folder / "config.json").write_text("{"), "cannot load"),
        (without(*TOKENIZER, *PROCESSOR), "token|extractor|processor"),
        (without(*TOKENIZER), "token|cannot load"),
        (without(*PROCESSOR), "extractor|processor|cannot load"),
    ],
)
def test_damaged_and_incomplete_folders(
    hub: Path, tmp_path: Path, kind: str, damage: Callable[[Path], None], named: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(hub / kind, folder)
    damage(folder)
    with pytest.raises(ModelError, match=named) as refused:
        models.load_recognizer(folder, language="en")
    assert "\n" not in str(refused.value)
    assert str(folder) in str(refused.value)


@pytest.mark.parametrize(
    ("kind", "damage", "named"),
    [
        ("wav2vec2", edited("config.json", pad_token_id=5), "blank is token 5"),
        ("wav2vec2", edited("config.json", pad_token_id=None), "blank"),
        ("wav2vec2", with_another_word, "'é'"),
        ("whisper", edited("generation_config.json", no_timestamps_token_id="gone"), "no_timestamps_token_id"),
        ("whisper", edited("generation_config.json", lang_to_id="gone"), "lang_to_id"),
    ],
)
def test_parts_that_disagree(hub: Path, tmp_path: Path, kind: str, damage: Callable[[Path], None], named: str) -> None:
    shutil.copytree(hub / kind, tmp_path / "model")
    damage(tmp_path / "model")
    with pytest.raises(ModelError, match=named):
        models.load_recognizer(tmp_path / "model", language="en")


def test_a_head_with_more_outputs_than_the_vocabulary_is_one(hub: Path, tmp_path: Path) -> None:
    """As of checkpoints that were padded; and the mask of training may be missing, as in base-960h."""
    from transformers import AutoModelForCTC

    shutil.copytree(hub / "wav2vec2", tmp_path / "model")
    model = AutoModelForCTC.from_pretrained(hub / "wav2vec2", vocab_size=64, ignore_mismatched_sizes=True)
    weights = {name: value for name, value in model.state_dict().items() if "masked_spec_embed" not in name}
    model.save_pretrained(tmp_path / "model", state_dict=weights)
    assert models.load_recognizer(tmp_path / "model").can_learn("one")


@pytest.mark.parametrize("kind", ["wav2vec2", "whisper"])
@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16])
def test_a_recogniser_in_half_precision_is_read_in_single(
    hub: Path, tmp_path: Path, kind: str, precision: torch.dtype
) -> None:
    folder = tmp_path / kind
    shutil.copytree(hub / kind, folder)
    full = models.load_recognizer(folder, language="en")
    full.model.to(precision).save_pretrained(folder)
    assert json.loads((folder / "config.json").read_text())["dtype"] == str(precision).removeprefix("torch.")
    found = models.load_recognizer(folder, language="en")
    empty = load_model(AutoModel, str(folder), config_of(str(folder)), weights=False)
    for model in (found.model, empty):
        assert {weights.dtype for weights in model.parameters()} == {torch.float32}
    clip = found.extract(tone(0.5, found.sample_rate_hz))
    assert len(found.best(found.encode([clip]))) == 1
    found.loss([clip], [["o"]])[0].losses.sum().backward()
    found.save(tmp_path / "saved")
    assert json.loads((tmp_path / "saved" / "config.json").read_text())["dtype"] == "float32"


def test_other_kinds_of_models_are_named(hub: Path, tmp_path: Path) -> None:
    classifier().save(tmp_path / "classifier")
    BertConfig().save_pretrained(tmp_path / "bert")
    (tmp_path / "run/cycles/02").mkdir(parents=True)
    (tmp_path / "run/run.json").write_text("{}")
    for folder, named in (
        (hub / "headless", "lm_head"), (tmp_path / "classifier", "classifier"), (tmp_path / "run", "cycles/02"),
        (tmp_path, "no model"), (tmp_path / "bert", "'bert'"), (hub / "wav2vec2/config.json", "is a file"),
    ):  # fmt: skip
        with pytest.raises(ModelError, match=named):
            models.load_recognizer(folder)
    with pytest.raises(ModelError, match="classifier"):
        load_hub_classifier(str(hub / "wav2vec2"))


def test_only_what_can_be_a_hub_id_is_asked_for_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    for name in (
        "./gone",
        "../gone",
        "~/gone",
        "/gone/model",
        "a/b/c",
        "runs/gone",
        "owner/",
        "a b",
        "gone",
        tmp_path / "x",
    ):
        with pytest.raises(ModelError, match="no such folder"):
            models.load_recognizer(name)
    for name in ("openai/whisper-tiny", "owner/model.v2_1-x"):
        assert place_of(name) == name
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match=r"'no-such/model'.*\Z"):  # one line
        models.load_recognizer("no-such/model")


@pytest.mark.parametrize("name", ["cuda:99", "mps:7", "gpu", "cuda:x"])
def test_a_device_that_is_not_here_is_refused_before_any_clip(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("SOUNDRAFT_DEVICE", name)
    with pytest.raises(UserError, match=name):
        tiny_recognizer()
    assert runtime.device("cpu").type == "cpu"


@pytest.mark.parametrize("kind", ["wav2vec2", "whisper", "ast"])
def test_a_classifier_of_the_hub_answers_as_transformers_does(tmp_path: Path, kind: str) -> None:
    from transformers import AutoModelForAudioClassification

    encoder(tmp_path / "encoder", kind)
    labels = {0: "low", 1: "high"}
    theirs = AutoModelForAudioClassification.from_pretrained(tmp_path / "encoder", id2label=labels).eval()
    theirs.save_pretrained(tmp_path / "hub")
    for path in (tmp_path / "encoder").glob("preprocessor_config.json"):
        shutil.copy(path, tmp_path / "hub")
    ours, of_sets = load_hub_classifier(str(tmp_path / "hub")), load_hub_classifier(str(tmp_path / "hub"), "set")
    assert ours.labels == ["low", "high"]
    waves = [test_whisper.tone(seconds, 16000, frequency_hz=900.0) for seconds in (0.3, 0.8)]
    for wave, row in zip(waves, ours.encode([ours.extract(wave) for wave in waves]), strict=True):
        values = ours.front.extractor(wave, sampling_rate=16000, return_tensors="pt")  # type: ignore[union-attr]
        with torch.no_grad():
            logits = theirs(next(iter(values.values()))).logits[0]
        torch.testing.assert_close(row, torch.log_softmax(logits, -1), atol=1e-4, rtol=0)
        (tags,) = of_sets.encode([of_sets.extract(wave)])
        torch.testing.assert_close(tags[:, 0], torch.nn.functional.logsigmoid(logits), atol=1e-4, rtol=0)
