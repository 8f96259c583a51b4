"""How a model is trained: which weights move, low-rank adapters, memory and number format of the forward pass."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from soundraft.models.base import Model, ModelError
from soundraft.params.sections import Train

_HEADS = ("lm_head", "ctc_head")
_FEATURE_PARTS = ("feature_extractor", "subsampling", "subsampler", "conv1", "conv2")
# these layers' weights are read without calling the layers: adapters on them would have no effect
_NOT_CALLED = {"wavlm": ("q_proj", "k_proj", "v_proj", "out_proj")}


@contextmanager
def tuned(model: Model, train: Train) -> Iterator[None]:
    """Train inside with `lora`, `freeze`, `gradient_checkpointing` and `precision`; afterwards it is a plain model.

    New adapters are drawn from torch's global seed, and are merged into the weights.

    Raises:
        ModelError: when the model lacks the part to freeze, cannot do what is asked, or nothing is left to learn.
    """
    network: Any = model.model
    learned = [(weight, weight.requires_grad) for weight in network.parameters()]
    with ExitStack() as undo:
        undo.callback(lambda: [weight.requires_grad_(before) for weight, before in learned])
        frozen = frozen_parts(network, train.freeze)
        for part in frozen.values():
            _freeze(part, undo)
        if train.lora.rank:
            _adapt(network, train, frozen, undo)
        if not any(weight.requires_grad for weight in network.parameters()):
            raise ModelError(f"train.freeze: {train.freeze} leaves nothing to learn")
        if train.gradient_checkpointing:
            if not network.supports_gradient_checkpointing:
                raise ModelError(f"train.gradient_checkpointing: {type(network).__name__} does not support it")
            network.activation_checkpointing_enable({"use_reentrant": False})
            undo.callback(network.activation_checkpointing_disable)
        if train.precision == "bfloat16":
            _autocast(network, undo)
        yield


def frozen_parts(network: Any, freeze: str) -> dict[str, nn.Module]:
    if freeze == "none":
        return {}
    if freeze == "encoder":
        if network.config.is_encoder_decoder:
            return {"model.encoder": network.get_encoder()}
        parts = {name: part for name, part in network.named_children() if name not in _HEADS}
        if len(parts) == len(list(network.children())):
            raise ModelError(f"train.freeze: encoder: {type(network).__name__} has no head by the name {_HEADS}")
        return parts
    parts = {name: part for name, part in network.named_modules() if name.split(".")[-1] in _FEATURE_PARTS}
    if not parts:
        raise ModelError(
            f"train.freeze: features: {type(network).__name__} reads features without layers of its own; "
            "there are: none, encoder"
        )
    return parts


def adapted_layers(network: Any, frozen: dict[str, nn.Module]) -> list[str]:
    """The names of the linear layers inside the model's blocks, of attention and feed-forward, that are not frozen."""
    skipped = _NOT_CALLED.get(network.config.model_type, ())
    return [
        name
        for name, layer in network.named_modules()
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
            undo.callback(layer.register_forward_pre_hook(lambda layer, _: setattr(layer, "training", False)).remove)


def _adapt(network: Any, train: Train, frozen: dict[str, nn.Module], undo: ExitStack) -> None:
    """LoRA (Hu et al., arXiv 2106.09685)."""
    from peft import LoraConfig
    from peft.tuners.lora import LoraModel

    layers = adapted_layers(network, frozen)
    if not layers:
        raise ModelError(f"train.lora: freeze {train.freeze} leaves {type(network).__name__} no layer to adapt")
    lora = train.lora
    config = LoraConfig(r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=layers)
    adapted = LoraModel(network, config, "default")  # puts the adapters into `network` itself
    undo.callback(adapted.merge_and_unload)


def _autocast(network: Any, undo: ExitStack) -> None:
    """Each call of the model, and no more, in bfloat16: a longer autocast keeps its copies of old weights."""
    device = next(network.parameters()).device.type
    modules = [network, network.get_encoder()] if network.config.is_encoder_decoder else [network]
    for module in modules:
        module.forward = torch.autocast(device, dtype=torch.bfloat16)(module.forward)
        undo.callback(delattr, module, "forward")
