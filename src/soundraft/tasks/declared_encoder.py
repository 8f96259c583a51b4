"""The encoder of a declaration: the names that people know for its layers, in the words of our params."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from soundraft.models.pretrained_encoders import PRETRAINED
from soundraft.params.classification import EncoderParams, EncoderType
from soundraft.tasks.declared_keys import Gathered, Keys, Taken

TYPES = {name: name for name in get_args(EncoderType)} | {"stacked_cnn_rnn": "cnnrnn"}
POOLINGS = {
    "statistics": "statistics",
    "attention": "attention",
    "mean": "mean",
    "avg": "mean",
    "max": "max",
    "mixed": "mixed",
}
_RNN = {
    "cell_type": ("cell_type",),
    "hidden_size": ("state_size", "hidden_size"),
    "bidirectional": ("bidirectional",),
    "dropout": ("dropout",),
}
_TRANSFORMER = ("num_layers", "hidden_size", "num_heads", "transformer_output_size", "pool_size", "dropout")
_CONVOLUTION = {  # what a convolution of ours is
    "activation": "gelu",
    "norm": "layer",
    "padding": "same",
    "pool_function": "max",
    "strides": 1,
    "dilation_rate": 1,
    "use_bias": True,
}
_REASONS = {
    "embedding_size": "unknown key: frames of audio are numbers and are not embedded",
    "conv_dropout": "unknown key; there is one dropout for all layers of an encoder: dropout",
    "recurrent_dropout": "unknown key; there is one dropout for all layers of an encoder: dropout",
    "conv_layers": "unknown key; this encoder takes the sizes of its layers in keys of its own",
    "skip": "unknown key; choose another encoder",
}


@dataclass(frozen=True)
class _Layer:
    """One convolution as it was declared; what was not is `None`."""

    place: str
    size: Any = None
    pool: Any = None
    filters: Any = None


def read_encoder(keys: Keys, usual: EncoderParams) -> str | None:
    """Put what the keys say into the section; the encoder's name, `None` when there is no such encoder.

    Args:
        usual: what is taken where nothing is said.
    """
    taken = keys.take("type")
    name = usual.type if taken is None else keys.one_of(taken, TYPES)
    if name is None:
        return None
    if taken is not None:
        keys.gathered.put("encoder.type", taken, name)
    keys.whose = name
    prefix = f"encoder.{'pretrained' if name in PRETRAINED else name}."
    if name in PRETRAINED:
        _pretrained(keys, prefix, name)
    else:
        keys.only("should_embed", [False], "frames of audio are not embedded")
        _LAYERS[name](keys, prefix, getattr(usual, name).model_dump())
    _head(keys)
    if name in PRETRAINED and keys.gathered.values.get("encoder.members", 1) != 1:
        keys.gathered.refuse(keys.gathered.places["encoder.members"], f"{name} always is one network: leave it out")
    keys.end(_REASONS)
    return str(name)


def check_encoder(encoder: EncoderParams, gathered: Gathered) -> None:
    """Note what is declared and changes nothing.

    Args:
        encoder: the section `encoder`, valid in itself.
    """
    idle = {
        "output_size": (encoder.num_fc_layers == 0, "there is no fully connected layer, num_fc_layers is 0"),
        "rnn.dropout": (encoder.rnn.num_layers == 1, "it is between recurrent layers, and there is one"),
    }
    for name, (changes_nothing, reason) in idle.items():
        if changes_nothing and f"encoder.{name}" in gathered.places:
            gathered.notes.append(f"{gathered.places[f'encoder.{name}']} changes nothing: {reason}")
    if encoder.pooling == "mixed" and encoder.members == 1:
        place = gathered.places.get("encoder.pooling", "encoder.pooling")
        gathered.notes.append(f"{place} mixed is statistics: it is for members above 1, and there is one network")


def _pretrained(keys: Keys, prefix: str, name: str) -> None:
    model = keys.take("pretrained_model_name_or_path", "model")
    if model is None:
        reason = f"missing: {name} needs the hub id or the folder of a pretrained model"
        keys.gathered.refuse(keys.at("pretrained_model_name_or_path"), reason)
    else:
        keys.gathered.put(f"{prefix}model", model)
    keys.copy({"revision": ("revision",), "trainable": ("trainable",)}, prefix=prefix)
    keys.only("use_pretrained", [True], "to begin from nothing take an encoder such as transformer")


def _stacked_cnn_2d(keys: Keys, prefix: str, usual: Mapping[str, Any]) -> None:
    keys.copy({name: (name,) for name in usual}, prefix=prefix)
    _fixed(keys, _CONVOLUTION | {"activation": "relu"})


def _stacked_cnn(keys: Keys, prefix: str, usual: Mapping[str, Any]) -> None:
    _chain(keys, prefix, usual)
    keys.copy({"dropout": ("dropout",)}, prefix=prefix)


def _cnnrnn(keys: Keys, prefix: str, usual: Mapping[str, Any]) -> None:
    _chain(keys, prefix, usual)
    keys.copy(_RNN | {"num_layers": ("num_rec_layers", "num_layers")}, prefix=prefix)


def _rnn(keys: Keys, prefix: str, usual: Mapping[str, Any]) -> None:
    keys.copy(_RNN | {"num_layers": ("num_layers",)}, prefix=prefix)


def _transformer(keys: Keys, prefix: str, usual: Mapping[str, Any]) -> None:
    keys.copy({name: (name,) for name in _TRANSFORMER}, prefix=prefix)


def _parallel_cnn(keys: Keys, prefix: str, usual: Mapping[str, Any]) -> None:
    layers = _listed_layers(keys, keys.take("conv_layers"))
    _branches(keys, prefix, usual, layers, keys.take("num_conv_layers"))


def _stacked_parallel_cnn(keys: Keys, prefix: str, usual: Mapping[str, Any]) -> None:
    count = keys.take("num_stacked_layers", "num_stacks")
    stacks = keys.take("stacked_layers")
    layers = None
    if stacks is not None and stacks.value is not None:
        if not isinstance(stacks.value, Sequence) or not stacks.value:
            keys.gathered.refuse(stacks.place, f"got {stacks.value!r}; allowed: a list of lists of layers")
            return
        each = [
            _listed_layers(keys, Taken(stack, f"{stacks.place}.{number}")) or []
            for number, stack in enumerate(stacks.value)
        ]
        layers = each[0]
        for number, other in enumerate(each):
            if [(layer.size, layer.pool, layer.filters) for layer in other] != [
                (layer.size, layer.pool, layer.filters) for layer in layers
            ]:
                keys.gathered.refuse(f"{stacks.place}.{number}", "differs from the first; all stacks are alike here")
        if count is not None and count.value != len(each):
            keys.gathered.refuse(count.place, f"got {count.value!r}, but {stacks.place} has {len(each)}")
        count = Taken(len(each), stacks.place)
    if count is not None:
        keys.gathered.put(f"{prefix}num_stacks", count)
    _branches(keys, prefix, usual, layers, None)


def _chain(keys: Keys, prefix: str, usual: Mapping[str, Any]) -> None:
    """Convolutions one after another, each with its kernel and its pooling."""
    layers = _listed_layers(keys, keys.take("conv_layers"))
    count, size, pool = (keys.take(name) for name in ("num_conv_layers", "filter_size", "pool_size"))
    sizes, pools = keys.take("filter_sizes"), keys.take("pool_sizes")
    number = _count(keys, layers, count, [sizes, pools], len(usual["filter_sizes"]))
    _filters(keys, prefix, layers)
    _fixed(keys)
    if number is None:
        return
    listed = layers or [_Layer("")] * number
    kernels = [
        _first(layer.size, size and size.value, usually)
        for layer, usually in zip(listed, _extended(usual["filter_sizes"], number), strict=True)
    ]
    # layers that are listed pool where they say so, and where a general pooling is given
    usually_pooled = [1] * number if layers else _extended(usual["pool_sizes"], number)
    poolings = [
        _first(layer.pool, _pooling(pool), usually) for layer, usually in zip(listed, usually_pooled, strict=True)
    ]
    said = next((each for each in (count, size, pool, sizes, pools) if each), None)
    if said or layers:
        place = Taken(None, listed[0].place.rpartition(".")[0] if layers else said.place if said else "")
        keys.gathered.put(f"{prefix}filter_sizes", sizes or place, sizes.value if sizes else kernels)
        keys.gathered.put(f"{prefix}pool_sizes", pools or pool or place, pools.value if pools else poolings)


def _branches(
    keys: Keys, prefix: str, usual: Mapping[str, Any], layers: list[_Layer] | None, count: Taken | None
) -> None:
    """Convolutions side by side: a kernel each, one pooling."""
    size, sizes, pool = (keys.take(name) for name in ("filter_size", "filter_sizes", "pool_size"))
    number = _count(keys, layers, count, [sizes], len(usual["filter_sizes"]))
    _filters(keys, prefix, layers)
    _fixed(keys)
    keys.copy({"dropout": ("dropout",)}, prefix=prefix)
    poolings = [each for each in (_pooling(pool), *(layer.pool for layer in layers or [])) if each is not None]
    if any(each != poolings[0] for each in poolings):
        keys.gathered.refuse(keys.at("pool_size"), "convolutions side by side have one pooling; give pool_size alone")
    elif poolings:
        place = pool or Taken(None, layers[0].place if layers else "")
        keys.gathered.put(f"{prefix}pool_size", place, poolings[0])
    said = sizes or size or count or (Taken(None, layers[0].place.rpartition(".")[0]) if layers else None)
    if number is not None and said is not None:
        listed = layers or [_Layer("")] * number
        kernels = [
            _first(layer.size, size and size.value, usually)
            for layer, usually in zip(listed, _extended(usual["filter_sizes"], number), strict=True)
        ]
        keys.gathered.put(f"{prefix}filter_sizes", said, sizes.value if sizes else kernels)


def _listed_layers(keys: Keys, taken: Taken | None) -> list[_Layer] | None:
    """`conv_layers`; `None` where it is not given."""
    if taken is None or taken.value is None:
        return None
    if not isinstance(taken.value, Sequence) or isinstance(taken.value, str) or not taken.value:
        keys.gathered.refuse(taken.place, f"got {taken.value!r}; allowed: a list of layers, such as [filter_size: 3]")
        return None
    layers = []
    for number, given in enumerate(taken.value):
        own = Keys(given, f"{taken.place}.{number}", keys.gathered, whose="a layer")
        size, filters = own.take("filter_size"), own.take("num_filters")
        pool = own.take("pool_size")
        _fixed(own)
        own.end(_REASONS)
        layers.append(_Layer(own.place, size and size.value, _pooling(pool), filters and filters.value))
    return layers


def _count(
    keys: Keys, layers: list[_Layer] | None, count: Taken | None, lists: Sequence[Taken | None], usual: int
) -> int | None:
    """How many layers there are; `None` when what is said contradicts itself, which is refused."""
    found = {f"{keys.at('conv_layers')} has": len(layers)} if layers else {}
    found |= {f"{each.place} has": len(each.value) for each in lists if each and isinstance(each.value, Sequence)}
    if count is not None and count.value is not None:
        if not isinstance(count.value, int) or isinstance(count.value, bool) or not 1 <= count.value <= 100:
            keys.gathered.refuse(count.place, f"got {count.value!r}; allowed: a whole number from 1")
            return None
        found[f"{count.place} says"] = count.value
    if len(set(found.values())) > 1:
        keys.gathered.refuse(keys.place, ", but ".join(f"{what} {number}" for what, number in found.items()))
        return None
    return next(iter(found.values()), usual)


def _filters(keys: Keys, prefix: str, layers: list[_Layer] | None) -> None:
    """One width for all layers."""
    taken = keys.take("num_filters")
    given = [] if taken is None else [taken]
    given += [Taken(layer.filters, f"{layer.place}.num_filters") for layer in layers or [] if layer.filters is not None]
    if not given:
        return
    first = given[0].value
    for other in given[1:]:
        if other.value != first:
            keys.gathered.refuse(other.place, f"got {other.value!r}; allowed: {first} (all layers have one width)")
    keys.gathered.put(f"{prefix}num_filters", given[0])


def _fixed(keys: Keys, values: Mapping[str, Any] = _CONVOLUTION) -> None:
    for name, value in values.items():
        keys.only(name, [value], "the only one here")


def _head(keys: Keys) -> None:
    """What stands behind the encoder: pooling over time, and fully connected layers of one width."""
    pooling = keys.take("reduce_output", "pooling")
    value = keys.one_of(pooling, POOLINGS)
    if pooling is not None and value is not None:
        keys.gathered.put("encoder.pooling", pooling, value)
    keys.copy({"members": ("members",)}, prefix="encoder.")
    layers = keys.take("fc_layers")
    names = {name: (name,) for name in ("num_fc_layers", "output_size", "fc_dropout")}
    if layers is None or layers.value is None:
        keys.copy(names, prefix="encoder.")
        return
    if not isinstance(layers.value, Sequence) or isinstance(layers.value, str):
        keys.gathered.refuse(
            layers.place, f"got {layers.value!r}; allowed: a list of layers, such as [output_size: 128]"
        )
        return
    keys.copy({name: (name,) for name in ("output_size", "fc_dropout")}, prefix="encoder.")
    keys.only("num_fc_layers", [len(layers.value)], f"as many as {layers.place} has")
    keys.gathered.put("encoder.num_fc_layers", layers, len(layers.value))
    _one_value(keys.gathered, layers, {"output_size": "output_size", "dropout": "fc_dropout"})


def _one_value(gathered: Gathered, layers: Taken, names: Mapping[str, str]) -> None:
    """What all fully connected layers must have alike."""
    for number, given in enumerate(layers.value):
        own = Keys(given, f"{layers.place}.{number}", gathered, whose="a layer")
        for theirs, ours in names.items():
            taken = own.take(theirs)
            if taken is None:
                continue
            before = gathered.values.get(f"encoder.{ours}", taken.value)
            if before != taken.value:
                gathered.refuse(taken.place, f"got {taken.value!r}; allowed: {before} (all these layers are alike)")
            else:
                gathered.put(f"encoder.{ours}", taken)
        own.only("activation", ["gelu"], "the only one here")
        own.end()


def _pooling(taken: Taken | None) -> Any:
    """How many frames become one; null pools nothing, which is 1 here."""
    return 1 if taken is not None and taken.value is None else taken and taken.value


def _extended(values: Sequence[int], number: int) -> list[int]:
    """The first so many, the last one repeated."""
    return [values[min(place, len(values) - 1)] for place in range(number)]


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


_LAYERS = {
    "stacked_cnn_2d": _stacked_cnn_2d,
    "stacked_cnn": _stacked_cnn,
    "parallel_cnn": _parallel_cnn,
    "stacked_parallel_cnn": _stacked_parallel_cnn,
    "rnn": _rnn,
    "cnnrnn": _cnnrnn,
    "transformer": _transformer,
}
