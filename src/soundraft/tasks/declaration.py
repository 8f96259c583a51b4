"""The keys of a declaration, read one by one: what is taken is honoured, what is left over is refused by name."""

import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import ValidationError

from soundraft.audio import spectra
from soundraft.audio.spectra import MAX_BANDS, Spectra
from soundraft.clips.splitting import FOLDS, FOLDS_WITH_K, SplitRule
from soundraft.models.pretrained import PRETRAINED
from soundraft.params import ParamsError, defaults, explain
from soundraft.params.classification import (
    AugmentParams,
    Classification,
    EncoderParams,
    EncoderType,
    SpectraParams,
    TrainerParams,
)
from soundraft.runtime import UserError


@dataclass(frozen=True)
class Taken:
    """A value, and the dotted path at which it stands."""

    value: Any
    place: str


@dataclass
class Gathered:
    """What a declaration says, in the words of the section `classification` of params.yaml.

    Attributes:
        values: by the section's dotted key.
        places: by the same key, where the declaration says it.
        problems: what cannot be honoured, a line each.
        notes: what a person should know of how it is honoured.
        dropped: rows are dropped that lack these: audio, target.
    """

    values: dict[str, Any] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)

    def put(self, ours: str, taken: Taken, value: Any = None) -> None:
        """Set a key of the section, to another value than the one that was taken where that is given."""
        self.values[ours] = taken.value if value is None else value
        self.places[ours] = taken.place

    def refuse(self, place: str, reason: str) -> None:
        self.problems.append(f"{place}: {reason}")


class Keys:
    """One mapping of a declaration.

    Args:
        place: its dotted path; empty at the top.
        whose: what has these keys, for messages.
        but: keys of the mapping that somebody else reads.
    """

    def __init__(
        self, given: Any, place: str, gathered: Gathered, *, whose: str = "", but: Collection[str] = ()
    ) -> None:
        self.place = place
        self.whose = whose
        self.gathered = gathered
        self.known: list[str] = []
        self._left: dict[str, Any] = {}
        if isinstance(given, Mapping):
            self._left = {str(key): value for key, value in given.items() if key not in but}
        elif given is not None:
            gathered.refuse(place or "the declaration", f"got {given!r}; allowed: keys with values")

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def at(self, name: str) -> str:
        return f"{self.place}.{name}" if self.place else name

    def names_left(self) -> list[str]:
        """What nobody took yet."""
        return list(self._left)

    def take(self, *names: str) -> Taken | None:
        """The value under one of these names, which mean the same."""
        self.known += [name for name in names if name not in self.known]
        found = [Taken(self._left.pop(name), self.at(name)) for name in names if name in self._left]
        if len(found) > 1:
            self.gathered.refuse(found[1].place, f"means the same as {found[0].place}: give one of them")
        return found[0] if found else None

    def section(self, name: str, *, whose: str = "") -> "Keys | None":
        """The mapping under a name; `None` where it is not given or null."""
        taken = self.take(name)
        return (
            None if taken is None or taken.value is None else Keys(taken.value, taken.place, self.gathered, whose=whose)
        )

    def copy(self, names: Mapping[str, Sequence[str]], *, prefix: str = "", again: bool = False) -> None:
        """Put what stands under the names (each of ours with what others call it) into the section at `prefix`.

        Args:
            again: what is here may override what is said elsewhere; else that is refused.
        """
        for ours, spellings in names.items():
            taken = self.take(*spellings)
            if taken is None:
                continue
            said = self.gathered.places.get(prefix + ours)
            if said is not None and not again:
                self.gathered.refuse(taken.place, f"means the same as {said}: give one of them")
            else:
                self.gathered.put(prefix + ours, taken)

    def only(self, name: str, allowed: Sequence[Any], reason: str) -> None:
        """A key with one meaning here: another value is refused with the reason."""
        taken = self.take(name)
        # True == 1: a switch is no number
        if taken is not None and not any(taken.value == each and type(taken.value) is type(each) for each in allowed):
            self.gathered.refuse(taken.place, f"got {taken.value!r}; allowed: {_listed(allowed)} ({reason})")

    def one_of(self, taken: Taken | None, allowed: Mapping[Any, Any]) -> Any:
        """What a taken value stands for; `None` where nothing was taken, or something else, which is refused."""
        if taken is None:
            return None
        try:
            return allowed[taken.value]
        except (KeyError, TypeError):
            close = difflib.get_close_matches(str(taken.value), map(str, allowed), n=1, cutoff=0.7)
            meant = f"; did you mean {close[0]}?" if close else ""
            self.gathered.refuse(taken.place, f"got {taken.value!r}{meant}; allowed: {_listed(list(allowed))}")
            return None

    def end(self, reasons: Mapping[str, str] | None = None) -> None:
        """Refuse by name what nobody took; `reasons` say why of keys that people may expect."""
        for name in self._left:
            if name in (reasons or {}):
                self.gathered.refuse(self.at(name), (reasons or {})[name])
                continue
            close = difflib.get_close_matches(name, self.known, n=1, cutoff=0.7)
            meant = f"; did you mean {close[0]}?" if close else ""
            has = f"{self.whose or self.place or 'a declaration'} has {', '.join(sorted(self.known)) or 'no keys'}"
            self.gathered.refuse(self.at(name), f"unknown key{meant}{'' if meant.endswith('?') else ';'} {has}")
        self._left = {}


def _listed(values: Sequence[Any]) -> str:
    return ", ".join("null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
                     for value in values)  # fmt: skip


# Preprocessing, split, trainer and augmentation of a declaration, in the words of our params.


AUDIO_KEYS = tuple(SpectraParams.model_fields)
BANDED = ("fbank", "mel", "mfcc")
_FRAMED = ("stft", "stft_phase", "group_delay", *BANDED)
_USED_BY = {
    "num_filter_bands": ("raw", *BANDED),  # raw: of the filter bank that is learned
    "num_coefficients": ("mfcc",),
    "window_length_in_s": ("raw", *_FRAMED),
    "window_shift_in_s": ("raw", *_FRAMED),
    "num_fft_points": _FRAMED,
    "window_type": _FRAMED,
}
_LEVELS = ("fbank", "mel")
_OF_ENCODERS = ("whisper", "ast")  # whose own features are spectra
_AUGMENT_OF = dict.fromkeys(("gain", "equalizer_db", "background", "background_snr_db"), _LEVELS) | {
    "warp": ("stft", "group_delay", *_LEVELS, *_OF_ENCODERS),
    "frequency_masks": (*_FRAMED, *_OF_ENCODERS),
    "frequency_share": (*_FRAMED, *_OF_ENCODERS),
}
_PAIRS = (("time_masks", "time_share"), ("frequency_masks", "frequency_share"), ("mixup", "mixup_probability"))
_AUGMENT_NEEDS = {a: b for pair in _PAIRS for a, b in (pair, pair[::-1])} | {"background_snr_db": "background"}
_NOT_FILLED = "nothing is put in the place of what is missing; without the key it is set aside and counted as bad"
_SPLITS = {name: name for name in ("random", "stratify", "fixed", "speaker", "group", "hash")}
_TRAINER_REASONS = {
    "cycle_learning_rate": "not here: it is that of the pipeline's cycles",
    "train_steps": "not here: give epochs",
    "steps_per_checkpoint": "not here: every epoch is validated",
    "checkpoints_per_epoch": "not here: every epoch is validated once",
    "regularization_lambda": "not here: give weight_decay",
    "oversample_minority": "not here: give trainer.sampling: balanced",
    "undersample_majority": "not here: give trainer.sampling: balanced",
}
_SAMPLING = {name: _TRAINER_REASONS[name] for name in ("oversample_minority", "undersample_majority")}


def read_audio(keys: Keys | None, gathered: Gathered, *, again: bool) -> None:
    """Put preprocessing of the audio into the section: keys directly, or under `audio_feature`.

    Args:
        again: what is here may override what is said elsewhere; else that is refused.
    """
    if keys is None:
        return
    older = keys.section("audio_feature")
    for section in (keys, older):
        if section is None:
            continue
        section.whose = "the preprocessing of audio"
        for name in (*AUDIO_KEYS, "audio_file_length_limit_in_s", "level_db", "channel"):
            taken = section.take(name)
            if taken is None:
                continue
            ours = f"features.{name}" if name in AUDIO_KEYS else name
            said = gathered.places.get(ours)
            if said is not None and (not again or said == keys.at(name)):
                gathered.refuse(taken.place, f"means the same as {said}: give one of them")
            else:
                gathered.put(ours, taken, _otherwise(name, taken.value))
        _only_what_is(section)
    if older is not None:
        older.end()
    keys.end(_SAMPLING)


def _otherwise(name: str, value: Any) -> Any:
    """What a value is called here; `None` where it has the same name."""
    if name == "channel":
        return str(value) if type(value) is int else None
    return {"norm": "none", "num_fft_points": 0}.get(name) if value is None else None


def _only_what_is(keys: Keys) -> None:
    """Keys that have one meaning here."""
    padding = keys.take("padding_value")
    if padding is not None:
        if not isinstance(padding.value, int | float) or isinstance(padding.value, bool):
            keys.gathered.refuse(padding.place, f"got {padding.value!r}; allowed: a number")
        keys.gathered.notes.append(f"{padding.place} changes nothing: padding is masked, no encoder sees it")
    _drop_row(keys, "audio")
    for name in ("fill_value", "computed_fill_value"):
        keys.only(name, [None], _NOT_FILLED)
    keys.only("in_memory", [True], "features are held in memory, and kept on disk from run to run")


def _drop_row(keys: Keys, lacking: str) -> None:
    """Whether rows are dropped that lack audio or target: whose cell is empty, not whose file is."""
    if "missing_value_strategy" in keys and lacking not in keys.gathered.dropped:
        keys.gathered.dropped.append(lacking)
    keys.only("missing_value_strategy", ["drop_row"], _NOT_FILLED)


def check_features(features: Mapping[str, Any], gathered: Gathered) -> int:
    """Refuse features that cannot be computed; the points of the transform.

    Where the declaration leaves these open they are as many as it takes for no filter to be empty.

    Args:
        features: the section `features`, valid in itself.
    """
    for name, types in _USED_BY.items():
        if f"features.{name}" in gathered.values and features["type"] not in types:
            place, kind = gathered.places[f"features.{name}"], features["type"]
            gathered.notes.append(f"{place} changes nothing: it is of {', '.join(types)}, and this is {kind}")
    declared = "features.num_fft_points" in gathered.values and features["num_fft_points"]
    points = int(features["num_fft_points"])
    try:
        plain = Spectra(**{**features, "type": "stft"})
        bands = features["num_filter_bands"]
        if not declared and features["type"] in BANDED and bands <= MAX_BANDS:  # else `Spectra` refuses them
            scale: dict[str, Any] = {"rate_hz": plain.sample_rate_hz, "snapped": features["type"] == "fbank"}
            empty = spectra.empty_bands(bands, fft_points=plain.fft_points, **scale)
            if empty:
                points = spectra.fewest_fft_points(bands, at_least=plain.fft_points, **scale)
                gathered.notes.append(
                    f"num_fft_points is {points}: with the {plain.fft_points} of the window {empty} of {bands} filters "
                    "would be empty"
                )
        Spectra(**{**features, "num_fft_points": points})
    except UserError as error:
        name, _, reason = str(error).partition(" ")
        gathered.refuse(gathered.places.get(f"features.{name}", f"preprocessing.{name}"), f"got {reason}")
    return points


def read_split(keys: Keys) -> SplitRule:
    """How clips are divided, from the general `preprocessing`, in today's spelling and the older one."""
    section = keys.section("split", whose="a split")
    rule = _read_split(keys, section)
    probabilities = keys.take("split_probabilities")
    stratify = keys.take("stratify")
    forced = keys.take("force_split")
    for older in (probabilities, stratify, forced):
        if section is not None and older is not None and older.value is not None:
            keys.gathered.refuse(older.place, f"{section.place} says how clips are divided: give one of them")
    shares = _shares(keys, probabilities, rule.probabilities)
    column, kind = rule.column, rule.kind
    if stratify is not None and stratify.value is not None:
        kind, column = "stratify", _column(keys, stratify)
    if forced is not None and not isinstance(forced.value, bool):
        keys.gathered.refuse(forced.place, f"got {forced.value!r}; allowed: true, false")
    said = rule.said or bool(stratify and stratify.value) or bool(forced and forced.value)
    keys.only("sample_ratio", [1.0, 1], "all clips are taken; --limit takes fewer")
    return SplitRule(kind, shares, column, said)


def _read_split(keys: Keys, section: Keys | None) -> SplitRule:
    usual = SplitRule()
    if section is None:
        return usual
    kind_taken = section.take("type")
    kind = section.one_of(kind_taken, _SPLITS) or usual.kind
    column = section.take("column")
    shares = usual.probabilities
    if kind != "fixed":
        shares = _shares(keys, section.take("probabilities"), shares)
    section.end({"probabilities": "a fixed split has none: its column says where clips belong"})
    name = None if column is None else _column(keys, column)
    if kind == "speaker":
        return SplitRule("group", shares, name or "speaker", True)
    if kind in ("group", "hash"):
        if name is None:
            keys.gathered.refuse(section.at("column"), f"missing: a {kind} split needs the column of the groups")
        return SplitRule("group", shares, name, True)
    if kind == "random" and name is not None and column is not None:
        keys.gathered.refuse(column.place, "a random split has no column; stratify, fixed, group and speaker have one")
    return SplitRule(kind, shares, name or ("split" if kind == "fixed" else None), kind_taken is not None)


def _shares(keys: Keys, taken: Taken | None, usual: tuple[float, float, float]) -> tuple[float, float, float]:
    if taken is None or taken.value is None:
        return usual
    value = taken.value
    good = (
        isinstance(value, Sequence)
        and len(value) == 3
        and all(isinstance(share, int | float) and 0 < share < 1 for share in value)
        and abs(sum(value) - 1) < 1e-6
    )
    if not good:
        reason = "three shares above 0 that sum to 1: train, validation, test, such as [0.7, 0.1, 0.2]"
        keys.gathered.refuse(taken.place, f"got {value!r}; allowed: {reason}")
        return usual
    return (float(value[0]), float(value[1]), float(value[2]))


def _column(keys: Keys, taken: Taken) -> str:
    if not isinstance(taken.value, str) or not taken.value:
        keys.gathered.refuse(taken.place, f"got {taken.value!r}; allowed: the name of a column")
    return str(taken.value)


def read_trainer(keys: Keys, target: str) -> None:
    """Put the trainer into the section; `target` is the one output."""
    taken = keys.take("trainer", "training")
    if taken is None:
        return
    trainer = Keys(taken.value, taken.place, keys.gathered, whose="the trainer")
    stop = trainer.take("early_stop")
    if stop is not None:
        keys.gathered.put("trainer.early_stop", stop, 0 if stop.value == -1 else None)
    others = [name for name in TrainerParams.model_fields if name not in ("early_stop", "cycle_learning_rate")]
    trainer.copy({name: (name,) for name in others}, prefix="trainer.")
    _optimizer(trainer)
    _schedule(trainer)
    clipping = trainer.section("gradient_clipping", whose="gradient_clipping")
    if clipping is not None:
        clipping.copy({"max_grad_norm": ("clipglobalnorm",)}, prefix="trainer.")
        for name in ("clipnorm", "clipvalue"):
            clipping.only(name, [None], "gradients are clipped by their common norm, clipglobalnorm")
        clipping.end()
    metrics = ["uar", "macro_recall", "recall_macro"]
    trainer.only("validation_metric", metrics, "epochs are chosen by the macro recall on validation")
    trainer.only("validation_field", [target], "there is one output")
    trainer.end(_TRAINER_REASONS)


def _optimizer(trainer: Keys) -> None:
    """AdamW, and Adam, which is AdamW without weight decay."""
    optimizer = trainer.section("optimizer", whose="the optimizer")
    if optimizer is None:
        return
    gathered = trainer.gathered
    kind = optimizer.take("type")
    name = optimizer.one_of(kind, {"adam": "adam", "adamw": "adamw"})
    optimizer.copy({"learning_rate": ("lr",), "weight_decay": ("weight_decay",)}, prefix="trainer.")
    if name == "adam" and kind is not None:
        if gathered.values.get("trainer.weight_decay", 0) != 0:
            reason = "adam adds weight decay to the gradients, which is not here; take adamw"
            gathered.refuse(gathered.places["trainer.weight_decay"], reason)
        gathered.put("trainer.weight_decay", kind, 0.0)
        gathered.notes.append(f"{kind.place} adam: weight decay is 0, which makes AdamW Adam")
    optimizer.end()


def _schedule(trainer: Keys) -> None:
    """Linear warm-up, then half a cosine, or no decay."""
    schedule = trainer.section("learning_rate_scheduler", whose="the scheduler")
    if schedule is None:
        return
    schedule.copy({"warmup_share": ("warmup_fraction",)}, prefix="trainer.")
    decay = schedule.take("decay")
    if decay is not None:
        known = {"cosine": "cosine", None: "none"}
        if schedule.one_of(decay, known) == "none":
            said = trainer.gathered.places.get("trainer.final_lr_share")
            if said is not None:
                trainer.gathered.refuse(decay.place, f"says what {said} says: give one of them")
            trainer.gathered.put("trainer.final_lr_share", decay, 1.0)
    schedule.only("warmup_evaluations", [0], "give warmup_fraction")
    schedule.only("reduce_on_plateau", [0], "the learning rate follows a cosine")
    schedule.end()


def read_training_loss(feature: Keys) -> None:
    """What an output feature says of its loss, its decoder and its calibration."""
    loss = feature.section("loss", whose="the loss")
    if loss is not None:
        loss.only("type", ["softmax_cross_entropy"], "the only loss")
        loss.copy({"class_weights": ("class_weights",)}, prefix="trainer.")
        loss.end()
    decoder = feature.section("decoder", whose="the decoder")
    if decoder is not None:
        decoder.only("type", ["classifier"], "one linear layer")
        decoder.end()
    feature.only("calibration", [True], "probabilities are always calibrated on validation")
    preprocessing = feature.section("preprocessing", whose="the preprocessing of an output")
    if preprocessing is not None:
        _drop_row(preprocessing, "target")
        preprocessing.end()


def read_augment(keys: Keys) -> None:
    augment = keys.section("augment", whose="augment")
    if augment is not None:
        augment.copy({name: (name,) for name in AugmentParams.model_fields}, prefix="augment.")
        augment.end()


def check_augment(augment: AugmentParams, features: str, gathered: Gathered) -> None:
    """Note what is declared and changes nothing.

    Args:
        features: their type, or the pretrained encoder that brings its own.
    """
    for name in AugmentParams.model_fields:
        place = gathered.places.get(f"augment.{name}")
        if place is None or not getattr(augment, name):
            continue
        needed, types = _AUGMENT_NEEDS.get(name), _AUGMENT_OF.get(name)
        if needed is not None and not getattr(augment, needed):
            gathered.notes.append(f"{place} changes nothing: {needed} is 0")
        elif types is not None and features not in types:
            gathered.notes.append(f"{place} changes nothing: it is of {', '.join(types)}, and this is {features}")


# The encoder of a declaration: the names that people know for its layers, in the words of our params.


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
_ENCODER_REASONS = {
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
    keys.end(_ENCODER_REASONS)
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
        own.end(_ENCODER_REASONS)
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


# The declarative form of a classifier: inputs, output, encoder, trainer and split in one yaml, as Ludwig has it.
#
#     input_features:
#       - name: audio            # the column with the paths
#         type: audio
#         encoder: {type: stacked_cnn}
#         preprocessing: {audio_feature: {type: fbank}, norm: per_file}
#       - {name: gender, type: category}
#     output_features:
#       - {name: emotion, type: category}
#     trainer: {epochs: 20, early_stop: 5}
#     folds: speaker             # cross-validation; or official, or k with k: 5
#     limits: {max_bad_fraction: 0.05}
#
# What it leaves out is taken from the section `classification` of params.yaml. Every key is honoured or refused by
# name.


_TYPES = {"audio": "audio", "category": "category", "number": "number", "numerical": "number"}
_REFUSED = {
    "backend": "not here: SOUNDRAFT_DEVICE and SOUNDRAFT_JOBS say where a training runs",
    "hyperopt": "not here: nothing is searched",
    "output_directory": "not here: the run's folder is named beside the declaration",
    "training": "the older name of trainer: give one of them",
}


@dataclass(frozen=True)
class Declared:
    """What a declaration asks for.

    Attributes:
        options: the section `classification`, whole.
        audio: the column with the audio.
        columns: of the target and of every input beside the audio: its name → its column.
        max_bad_fraction: what share of the clips may be unusable.
        notes: how some keys are honoured, for a person.
        dropped: rows are dropped whose cell is empty in these: audio, target.
        folds, k: the cross-validation that is asked for, as of `cross_validate`; `None`: one training.
    """

    options: Classification
    audio: str
    columns: Mapping[str, str]
    split: SplitRule
    max_bad_fraction: float
    notes: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    folds: str | None = None
    k: int | None = None


def read_declaration(source: Path | str | Mapping[str, Any]) -> Declared:
    """Understand a declaration: a yaml file, or what stands in one.

    Raises:
        ParamsError: naming every problem with its dotted key.
    """
    if isinstance(source, Mapping):
        return understand(source, "the declaration")
    return understand(load_yaml(Path(source)), str(source))


def load_yaml(path: Path) -> Mapping[str, Any]:
    """What stands in a declaration's file; raises ParamsError when that is none."""
    try:
        given = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # a SafeLoader
    except (OSError, UnicodeDecodeError) as error:
        raise ParamsError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    except yaml.YAMLError as error:
        raise ParamsError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(given, Mapping):
        raise ParamsError(f"{path} is no declaration: it needs input_features and output_features")
    return given


def understand(given: Mapping[str, Any], title: str) -> Declared:
    """The same for what is already read; `title` is what messages call it."""
    gathered = Gathered()
    keys = Keys(given, "", gathered)
    split = _general(keys)
    folds, k = _folds(keys)
    limit = _limit(keys)
    audio, columns, encoder = _inputs(keys)
    target = _output(keys, columns)
    read_trainer(keys, target)
    read_augment(keys)
    keys.only("model_type", ["ecd"], "encoders, joined, then the output")
    keys.take("ludwig_version")  # says who wrote the file; nothing depends on it
    combiner = keys.section("combiner")
    if combiner is not None:
        combiner.only("type", ["concat"], "the audio's vector and the other inputs are joined side by side")
        combiner.end({name: f"not here: it stands with the encoder of the audio, as encoder.{name}"
                      for name in ("num_fc_layers", "output_size", "fc_layers")})  # fmt: skip
    keys.end(_REFUSED)
    options = _section(gathered, encoder)
    if gathered.problems or options is None:
        count = "1 problem" if len(gathered.problems) == 1 else f"{len(gathered.problems)} problems"
        raise ParamsError("\n".join([f"{count} in {title}", *(f"  {line}" for line in gathered.problems)]))
    return Declared(options, audio, columns, split, limit, gathered.notes, gathered.dropped, folds, k)


def _limit(keys: Keys) -> float:
    usual = defaults().limits.max_bad_fraction
    limits = keys.section("limits")
    if limits is None:
        return usual
    taken = limits.take("max_bad_fraction")
    limits.end()
    if taken is None:
        return usual
    if type(taken.value) not in (int, float) or not 0 <= taken.value <= 1:
        keys.gathered.refuse(taken.place, f"got {taken.value!r}; allowed: 0–1")
        return usual
    return float(taken.value)


def _folds(keys: Keys) -> tuple[str | None, int | None]:
    kind, k = keys.take("folds"), keys.take("k")
    folds = keys.one_of(kind, {None: None, **{each: each for each in FOLDS}})
    if k is None or k.value is None:
        return folds, None
    if type(k.value) is not int or k.value < 2:
        keys.gathered.refuse(k.place, f"got {k.value!r}; allowed: whole numbers from 2")
    elif folds not in FOLDS_WITH_K:
        keys.gathered.refuse(k.place, f"says how many folds: it goes with folds: {' or '.join(FOLDS_WITH_K)}")
    return folds, k.value


def _inputs(keys: Keys) -> tuple[str, dict[str, str], str | None]:
    """The column of the audio, those of the other inputs, and the encoder's name."""
    found: list[tuple[Keys, str]] = []
    inputs: list[str] = []
    columns: dict[str, str] = {}
    for feature, place in _features(keys, "input_features"):
        name, column = _name_and_column(feature)
        kind = feature.take("type")
        if kind is None:
            keys.gathered.refuse(f"{place}.type", "missing; allowed: audio, category, number")
        known = feature.one_of(kind, _TYPES)
        if known == "audio":
            found.append((feature, column))
        if known in (None, "audio"):
            continue
        if name in columns:
            keys.gathered.refuse(f"{place}.name", f"{name!r} stands twice")
        inputs.append(f"{name}:{known}")
        columns[name] = column
        _beside(feature, str(known))
    keys.gathered.values["inputs"] = inputs
    keys.gathered.places["inputs"] = "input_features"
    if len(found) != 1:
        several = f"{len(found)} are of type audio" if found else "none is of type audio"
        keys.gathered.refuse("input_features", f"{several}; allowed: exactly one, and any number of category, number")
        return "audio", columns, None
    feature, column = found[0]
    return column, columns, _audio(feature)


def _general(keys: Keys) -> SplitRule:
    """Put preprocessing that stands above the features into the section, which theirs overrides; the split."""
    usual = keys.section("defaults")
    audio = usual.section("audio") if usual is not None else None
    if audio is not None:
        read_audio(audio.section("preprocessing"), keys.gathered, again=False)
    for section in (audio, usual):
        if section is not None:
            section.end({"encoder": "not here: the encoder stands with the input of type audio"})
    general = keys.section("preprocessing")
    if general is None:
        return SplitRule()
    split = read_split(general)
    read_audio(general.section("audio"), keys.gathered, again=False)
    read_audio(general, keys.gathered, again=False)
    return split


def _audio(feature: Keys) -> str | None:
    """Put encoder and preprocessing of the audio into the section; the encoder's name."""
    gathered = feature.gathered
    read_audio(feature.section("preprocessing"), gathered, again=True)
    own = feature.take("encoder")
    if own is not None and isinstance(own.value, Mapping):
        encoder = Keys(own.value, own.place, gathered)
    else:  # the older spelling: knobs beside the encoder's name
        knobs = {name: taken.value for name in feature.names_left() if (taken := feature.take(name)) is not None}
        named = {} if own is None or own.value is None else {"type": own.value}
        encoder = Keys(named | knobs, feature.place, gathered)
    name = read_encoder(encoder, defaults().classification.encoder)
    feature.end()
    if name in PRETRAINED:
        for key in AUDIO_KEYS:
            if f"features.{key}" in gathered.values:
                gathered.refuse(gathered.places[f"features.{key}"], f"{name} brings its own features: leave it out")
    return name


def _beside(feature: Keys, kind: str) -> None:
    """The few keys of an input beside the audio that can be honoured."""
    own = feature.section("preprocessing")
    if own is not None and kind == "number":
        own.only("normalization", ["zscore"], "numbers are z-scored by the training clips")
    if own is not None:
        own.end({"missing_value_strategy": "not here: a missing value is flagged, and no other is put in its place"})
    encoder = feature.section("encoder")
    if encoder is not None:
        usual = "dense" if kind == "category" else "passthrough"
        encoder.only("type", [usual], f"the only encoder of a {kind}")
        encoder.end()
    feature.end()


def _output(keys: Keys, columns: dict[str, str]) -> str:
    """The target's name; its column goes to `columns`."""
    features = list(_features(keys, "output_features"))
    if len(features) != 1:
        keys.gathered.refuse("output_features", f"there are {len(features)}; allowed: exactly one, of type category")
        return ""
    feature, place = features[0]
    name, column = _name_and_column(feature)
    kind = feature.take("type")
    if kind is None or kind.value != "category":
        keys.gathered.refuse(f"{place}.type", f"got {kind and kind.value!r}; allowed: category")
    if name in columns:
        keys.gathered.refuse(f"{place}.name", f"{name!r} is an input already: it is what is to be told")
    leak = next((known for known, theirs in columns.items() if theirs == column and known != name), None)
    if leak is not None:
        keys.gathered.refuse(
            feature.at("column"), f"the input {leak} reads {column!r} too: the answer would be an input"
        )
    read_training_loss(feature)
    feature.end()
    keys.gathered.put("target", Taken(name, f"{place}.name"))
    columns[name] = column
    return name


def _features(keys: Keys, name: str) -> list[tuple[Keys, str]]:
    taken = keys.take(name)
    if taken is None or not isinstance(taken.value, list):
        if taken is not None:
            keys.gathered.refuse(name, f"got {taken.value!r}; allowed: a list of features")
        return []
    return [
        (Keys(each, f"{name}.{number}", keys.gathered, whose="a feature"), f"{name}.{number}")
        for number, each in enumerate(taken.value)
    ]


def _name_and_column(feature: Keys) -> tuple[str, str]:
    name, column = feature.take("name"), feature.take("column")
    if name is None or not isinstance(name.value, str) or not name.value or ":" in name.value:
        feature.gathered.refuse(feature.at("name"), f"got {name and name.value!r}; allowed: a name without a colon")
        return "?", "?"
    if column is not None and not isinstance(column.value, str):
        feature.gathered.refuse(column.place, f"got {column.value!r}; allowed: the name of a column")
    return name.value, str(column.value) if column is not None else name.value


def _section(gathered: Gathered, encoder: str | None) -> Classification | None:
    """The defaults with what was gathered; what is not allowed joins the problems under the declaration's own keys."""
    tree = defaults().classification.model_dump()
    for key, value in gathered.values.items():
        *sections, last = key.split(".")
        place = tree
        for section in sections:
            place = place[section]
        place[last] = value
    try:
        options = Classification.model_validate(tree)
    except ValidationError as error:
        for item in error.errors():
            parts = [str(part) for part in item["loc"]]
            ours = next(
                (key for length in range(len(parts), 0, -1)
                 if (key := ".".join(parts[:length])) in gathered.places), ".".join(parts),
            )  # fmt: skip
            shown = gathered.places.get(ours, f"classification.{ours}")
            gathered.problems.append(explain({**item, "loc": (shown,)}))
        return None
    check_encoder(options.encoder, gathered)
    check_augment(options.augment, encoder if encoder in PRETRAINED else options.features.type, gathered)
    if encoder is None or encoder in PRETRAINED:
        return options
    points = check_features(tree["features"], gathered)
    return options.model_copy(update={"features": options.features.model_copy(update={"num_fft_points": points})})


class _Loader(yaml.SafeLoader):
    """Reads 1e-3 as a number, as YAML 1.2 does, and not as text; a key that stands twice is an error, as there."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.MarkedYAMLError(problem=f"the key {key.value} stands twice", problem_mark=key.start_mark)
                seen.add(key.value)
        return node


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(?:\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+0123456789.")
)
