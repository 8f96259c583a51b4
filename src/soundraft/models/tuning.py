"""How a model is trained: which weights move, low-rank adapters, memory and numbers of the forward pass."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from soundraft.models.base import ModelError, Recognizer

FREEZE = ("none", "features", "encoder")
PRECISIONS = ("float32", "bfloat16")

_HEADS = ("lm_head", "ctc_head")
_FEATURE_PARTS = ("feature_extractor", "subsampling", "subsampler", "conv1", "conv2")
# these layers' weights are read without calling the layers: adapters on them would have no effect
_NOT_CALLED = {"wavlm": ("q_proj", "k_proj", "v_proj", "out_proj")}


@dataclass(frozen=True)
class Tuning:
    """Section `train`: all weights in float32, unless it says otherwise.

    Attributes:
        lora_rank: rank of the adapters; 0 trains the weights themselves.
        lora_alpha: the adapters' scale is alpha / rank.
        freeze: features keeps the layers that read the audio, encoder all but the head or Whisper's decoder.
        gradient_checkpointing: activations are computed again for the backward pass, not kept.
        precision: of the forward pass; weights are float32.
    """

    lora_rank: int = 0
    lora_alpha: float = 16.0
    lora_dropout: float = 0.0
    freeze: str = "none"
    gradient_checkpointing: bool = False
    precision: str = "float32"

    @classmethod
    def of(cls, *, lora: Mapping[str, Any], freeze: str, gradient_checkpointing: bool, precision: str) -> "Tuning":
        """Under the names that the section `train` of the params has."""
        adapters = {f"lora_{key}": value for key, value in lora.items()}
        return cls(freeze=freeze, gradient_checkpointing=gradient_checkpointing, precision=precision, **adapters)

    def __post_init__(self) -> None:
        for name, value, allowed in (("freeze", self.freeze, FREEZE), ("precision", self.precision, PRECISIONS)):
            if value not in allowed:
                raise ModelError(f"train.{name}: got {value!r}; there are: {', '.join(allowed)}")


@contextmanager
def tuned(recognizer: Recognizer, tuning: Tuning) -> Iterator[None]:
    """Train inside as `tuning` says; afterwards the model is a plain one again, with adapters merged into its weights.

    New adapters are drawn from torch's global seed.

    Raises:
        ModelError: when the model lacks the part to freeze, cannot do what is asked, or nothing is left to learn.
    """
    model = recognizer.model
    learned = [(weight, weight.requires_grad) for weight in model.parameters()]
    with ExitStack() as undo:
        undo.callback(lambda: [weight.requires_grad_(before) for weight, before in learned])
        for part in frozen_parts(model, tuning.freeze).values():
            _freeze(part, undo)
        if tuning.lora_rank:
            _adapt(model, tuning, undo)
        if not any(weight.requires_grad for weight in model.parameters()):
            raise ModelError(f"train.freeze: {tuning.freeze} leaves nothing to learn")
        if tuning.gradient_checkpointing:
            _checkpoint(model, undo)
        if tuning.precision == "bfloat16":
            _autocast(model, undo)
        yield


def frozen_parts(model: Any, freeze: str) -> dict[str, nn.Module]:
    """The modules, by name, that keep their weights."""
    if freeze == "none":
        return {}
    if freeze == "encoder":
        if model.config.is_encoder_decoder:
            return {"model.encoder": model.get_encoder()}
        parts = {name: part for name, part in model.named_children() if name not in _HEADS}
        if len(parts) == len(list(model.children())):
            raise ModelError(f"train.freeze: encoder: {type(model).__name__} has no head by the name {_HEADS}")
        return parts
    parts = {name: part for name, part in model.named_modules() if name.split(".")[-1] in _FEATURE_PARTS}
    if not parts:
        raise ModelError(
            f"train.freeze: features: {type(model).__name__} reads features without layers of its own; "
            "there are: none, encoder"
        )
    return parts


def adapted_layers(model: Any, frozen: dict[str, nn.Module]) -> list[str]:
    """The names of the linear layers inside the model's blocks, of attention and feed-forward, that are not frozen."""
    skipped = _NOT_CALLED.get(model.config.model_type, ())
    return [
        name
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear)
        and "layers" in name.split(".")
        and name.split(".")[-1] not in skipped
        and not any(name.startswith(f"{part}.") for part in frozen)
    ]


def _freeze(part: nn.Module, undo: ExitStack) -> None:
    part.requires_grad_(False)
    if hasattr(part, "_requires_grad"):  # raw-wave models ask for the gradient of their input
        setattr(part, "_requires_grad", False)  # noqa: B010
        undo.callback(setattr, part, "_requires_grad", True)
    for layer in part.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):  # its running mean and variance are weights too
            undo.callback(layer.register_forward_pre_hook(_stop_statistics).remove)


def _stop_statistics(layer: nn.Module, _: Any) -> None:
    layer.eval()


def _adapt(model: Any, tuning: Tuning, undo: ExitStack) -> None:
    """LoRA (Hu et al., arXiv 2106.09685)."""
    from peft import LoraConfig
    from peft.tuners.lora import LoraModel

    layers = adapted_layers(model, frozen_parts(model, tuning.freeze))
    if not layers:
        raise ModelError(f"train.lora: freeze {tuning.freeze} leaves {type(model).__name__} no layer to adapt")
    config = LoraConfig(
        r=tuning.lora_rank,
        lora_alpha=tuning.lora_alpha,
        lora_dropout=tuning.lora_dropout,
        target_modules=layers,
    )
    adapted = LoraModel(model, config, "default")  # puts the adapters into `model` itself
    undo.callback(adapted.merge_and_unload)


def _checkpoint(model: Any, undo: ExitStack) -> None:
    if not model.supports_gradient_checkpointing:
        raise ModelError(f"train.gradient_checkpointing: {type(model).__name__} does not support it")
    model.activation_checkpointing_enable({"use_reentrant": False})
    undo.callback(model.activation_checkpointing_disable)


def _autocast(model: Any, undo: ExitStack) -> None:
    """Each call of the model, and no more, in bfloat16: a longer autocast keeps its copies of old weights."""
    device = next(model.parameters()).device.type
    modules = [model, model.get_encoder()] if model.config.is_encoder_decoder else [model]
    for module in modules:
        module.forward = torch.autocast(device, dtype=torch.bfloat16)(module.forward)
        undo.callback(delattr, module, "forward")
