from pathlib import Path
from typing import Any

import pytest
import torch

from soundraft import models
from soundraft.models.base import ModelError, Recognizer
from soundraft.models.ctc import CTC_MODEL_TYPES
from soundraft.models.tuning import adapted_layers, tuned
from soundraft.params import changed, defaults
from soundraft.params.sections import Train
from soundraft.runtime import seed_torch
from tests.conftest import tone
from tests.models import families, test_whisper

TYPES = (*CTC_MODEL_TYPES, "whisper")


def settings(*, rank: int = 0, **values: Any) -> Train:
    values = {f"train.{key}": value for key, value in values.items()}
    return changed(defaults(), values | {"train.lora.rank": rank, "train.lora.dropout": 0.1}).train


def load(folder: Path, model_type: str) -> Recognizer:
    if model_type == "whisper":
        return models.load_recognizer(test_whisper.checkpoint(folder / "hub"), language="en")
    return models.load_recognizer(families.hub_like(folder / "hub", model_type))


def features_of(recognizer: Recognizer) -> list[torch.Tensor]:
    return [recognizer.extract(tone(seconds, recognizer.sample_rate_hz)) for seconds in (0.6, 0.9)]


def learn(recognizer: Recognizer, steps: int = 3) -> None:
    recognizer.model.train()
    features = features_of(recognizer)
    weights = [weight for weight in recognizer.model.parameters() if weight.requires_grad]
    optimizer = torch.optim.Adam(weights, 1e-2)
    for _ in range(steps):
        loss(recognizer, features).backward()
        optimizer.step()
        optimizer.zero_grad()
    recognizer.model.eval()


def loss(recognizer: Recognizer, features: list[torch.Tensor]) -> torch.Tensor:
    return torch.cat([found.losses for found in recognizer.loss(features, [["one"], ["two"]])]).mean()


def state(recognizer: Recognizer) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in recognizer.model.state_dict().items()}


def moved(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


def outputs(recognizer: Recognizer) -> torch.Tensor:
    with torch.no_grad():
        return torch.cat([found.log_probs for found in recognizer.loss(features_of(recognizer), [["one"], ["two"]])])


@pytest.mark.parametrize("model_type", TYPES)
def test_adapters_alone_learn_and_become_plain_weights(tmp_path: Path, model_type: str) -> None:
    torch.manual_seed(0)
    recognizer = load(tmp_path, model_type)
    recognizer.model.eval()
    before, plain = state(recognizer), outputs(recognizer)
    expected = set(adapted_layers(recognizer.model, {}))
    with tuned(recognizer, settings(rank=4)):
        torch.testing.assert_close(outputs(recognizer), plain)  # an adapter begins with no effect
        recognizer.model.train()
        loss(recognizer, features_of(recognizer)).backward()
        named = dict(recognizer.model.named_parameters())
        assert {name for name, weight in named.items() if weight.grad is not None} == {
            name for name in named if ".lora_" in name
        }
        recognizer.model.zero_grad()
        learn(recognizer)
        adapted = outputs(recognizer)
    assert not torch.allclose(adapted, plain)
    torch.testing.assert_close(outputs(recognizer), adapted, atol=1e-4, rtol=1e-4)
    assert all(weight.requires_grad for weight in learnable(recognizer))
    changed = {
        name for name in moved(before, state(recognizer)) if "running_" not in name and "num_batches" not in name
    }
    assert changed == {f"{name}.weight" for name in expected}
    recognizer.save(tmp_path / "saved")
    again = models.load_recognizer(tmp_path / "saved")
    again.model.eval()
    torch.testing.assert_close(outputs(again), outputs(recognizer))


def learnable(recognizer: Recognizer) -> list[Any]:
    """All weights but Whisper's fixed positions."""
    return [weight for name, weight in recognizer.model.named_parameters() if "encoder.embed_positions" not in name]


@pytest.mark.parametrize(
    ("model_type", "freeze", "part"),
    [
        *((model_type, "encoder", "") for model_type in TYPES),
        ("wav2vec2", "features", "feature_extractor"),
        ("parakeet_ctc", "features", "subsampling"),
        ("lasr_ctc", "features", "subsampler"),
        ("whisper", "features", "conv"),
    ],
)
def test_frozen_parts_stay_and_the_rest_moves(tmp_path: Path, model_type: str, freeze: str, part: str) -> None:
    recognizer = load(tmp_path, model_type)
    before = state(recognizer)
    with tuned(recognizer, settings(freeze=freeze)):
        learn(recognizer)
    changed = moved(before, state(recognizer))
    if freeze == "encoder":
        rest = ("model.decoder", "proj_out") if model_type == "whisper" else ("lm_head", "ctc_head")
        held = {name for name in before if not name.startswith(rest)}
    else:
        held = {name for name in before if f".{part}" in name and ".layers." not in name.split(f".{part}")[0]}
        assert any(".layers." in name for name in changed)
    assert held
    assert changed
    assert not held & changed
    learn(recognizer)  # all weights learn again
    assert len(moved(before, state(recognizer))) > len(changed)


def test_what_a_model_cannot_do_is_refused(tmp_path: Path) -> None:
    recognizer = load(tmp_path, "wav2vec2-bert")
    with pytest.raises(ModelError, match="freeze: features"):
        tuned(recognizer, settings(freeze="features")).__enter__()
    with pytest.raises(ModelError, match=r"train\.lora"):
        tuned(recognizer, settings(freeze="encoder", rank=2)).__enter__()
    recognizer.model.supports_gradient_checkpointing = False
    with pytest.raises(ModelError, match="gradient_checkpointing"):
        tuned(recognizer, settings(gradient_checkpointing=True)).__enter__()
    assert all(weight.requires_grad for weight in recognizer.model.parameters())


@pytest.mark.parametrize("model_type", ["wav2vec2", "parakeet_ctc", "whisper"])
@pytest.mark.parametrize("rank", [0, 4])
def test_checkpointing_computes_a_block_twice_and_changes_no_gradient(
    tmp_path: Path, model_type: str, rank: int
) -> None:
    recognizer = load(tmp_path, model_type)
    block = next(part for name, part in recognizer.model.named_modules() if name.endswith("encoder.layers.0"))
    gradients, calls = [], []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        with tuned(recognizer, settings(rank=rank, gradient_checkpointing=checkpointing)):
            recognizer.model.train()
            runs: list[int] = []
            inner = next(iter(block.children()))
            hook = inner.register_forward_hook(lambda *_, runs=runs: runs.append(1))
            seed_torch(1)
            loss(recognizer, features_of(recognizer)).backward()
            hook.remove()
            calls.append(len(runs))
            gradients.append({n: w.grad for n, w in recognizer.model.named_parameters() if w.grad is not None})
            recognizer.model.zero_grad()
    assert calls[1] == 2 * calls[0] > 0
    torch.testing.assert_close(gradients[0], gradients[1])


@pytest.mark.parametrize("model_type", ["wav2vec2", "parakeet_ctc", "whisper"])
def test_bfloat16_is_of_the_forward_pass_alone(tmp_path: Path, model_type: str) -> None:
    recognizer = load(tmp_path, model_type)
    recognizer.model.eval()
    exact = outputs(recognizer)
    kinds: set[torch.dtype] = set()
    layer = recognizer.model.get_submodule(adapted_layers(recognizer.model, {})[0])
    hook = layer.register_forward_hook(lambda _, __, out: kinds.add(out.dtype))
    with tuned(recognizer, settings(precision="bfloat16")):
        rough = outputs(recognizer)
        learn(recognizer, steps=1)
        first = outputs(recognizer)
        learn(recognizer, steps=1)
        assert not torch.equal(outputs(recognizer), first)  # no old copy of the weights is in use
    hook.remove()
    assert kinds == {torch.bfloat16}
    assert rough.dtype == torch.float32
    assert not torch.equal(rough, exact)
    torch.testing.assert_close(rough, exact, atol=0.5, rtol=0.05)
    assert all(weight.dtype == torch.float32 for weight in recognizer.model.parameters())
    assert "forward" not in vars(recognizer.model)
