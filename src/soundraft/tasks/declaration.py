"""A classifier as Ludwig declares it in YAML: inputs, output, encoder, trainer and split.

    input_features:
      - name: audio            # the column with the paths
        type: audio
        encoder: {type: stacked_cnn}
        preprocessing: {audio_feature: {type: fbank}, norm: per_file}
      - {name: gender, type: category}
    output_features:
      - {name: emotion, type: category}      # or set, for any number of labels
    trainer: {epochs: 20, early_stop: 5}
    folds: speaker             # cross-validation; or official, or k with k: 5
    limits: {max_bad_fraction: 0.05}

What it leaves out comes from `classification` in params.yaml. Every key is used or refused by name: the models below
hold the keys that there are, in the ranges of params.yaml; `_Settings` then takes each setting from the one place, of
several, where it is given.
"""

import difflib
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, PlainValidator, ValidationError, create_model

from soundraft import files
from soundraft.audio import spectra
from soundraft.audio.spectra import MAX_BANDS, Spectra
from soundraft.clips.base import Reading
from soundraft.models.pretrained import PRETRAINED
from soundraft.params import ParamsError, changed, defaults, explain, problems_in
from soundraft.params import classification as sections
from soundraft.params.base import Share
from soundraft.params.classification import Classification, Size, SpectraParams, TrainerParams
from soundraft.params.sections import Params
from soundraft.runtime import UserError
from soundraft.splits import FOLDS_WITH_K, FoldKind, SplitRule

SPELLINGS = {  # of Ludwig, for keys of params.yaml
    "reduce_output": "pooling",
    "state_size": "hidden_size",
    "num_rec_layers": "num_layers",
    "num_stacked_layers": "num_stacks",
    "pretrained_model_name_or_path": "model",
    "lr": "learning_rate",
    "warmup_fraction": "warmup_share",
    "clipglobalnorm": "max_grad_norm",
}
_NOT_FILLED = "missing values are never replaced: such a clip is rejected, such an input is marked as missing"
REASONS = {  # why a key, or another value of it, is refused
    **dict.fromkeys(("missing_value_strategy", "fill_value", "computed_fill_value"), _NOT_FILLED),
    **dict.fromkeys(("oversample_minority", "undersample_majority"), "not here: give trainer.sampling: balanced"),
    **dict.fromkeys(("conv_dropout", "recurrent_dropout"), "all layers of an encoder share one dropout: dropout"),
    **dict.fromkeys(("num_fc_layers", "output_size", "fc_layers"), "give it in the encoder of the audio"),
    **dict.fromkeys(("clipnorm", "clipvalue"), "gradients are clipped by their common norm, clipglobalnorm"),
    **dict.fromkeys(("embedding_size", "should_embed"), "frames of audio are numbers and are not embedded"),
    **dict.fromkeys(("steps_per_checkpoint", "checkpoints_per_epoch"), "not here: every epoch is validated once"),
    "backend": "not here: SOUNDRAFT_DEVICE and SOUNDRAFT_JOBS choose where training runs",
    "calibration": "probabilities are always calibrated on validation",
    "column": "a random split has none; stratify, fixed, group and speaker have one",
    "conv_layers": "this encoder takes the sizes of its layers in keys of its own",
    "cycle_learning_rate": "not here: it belongs to the cycles of the pipeline",
    "encoder": "give the encoder with the input of type audio",
    "hyperopt": "not here: no hyperparameters are searched",
    "in_memory": "features are held in memory, and cached on disk from run to run",
    "members": "a pretrained encoder is always one network",
    "normalization": "numbers are z-scored by the training clips",
    "output_directory": "not here: the folder of the run is an option of the command",
    "probabilities": "a fixed split has none: its column assigns the splits",
    "reduce_on_plateau": "the learning rate follows a cosine",
    "regularization_lambda": "not here: give weight_decay",
    "sample_ratio": "all clips are used; --limit takes fewer",
    "skip": "choose another encoder",
    "train_steps": "not here: give epochs",
    "use_pretrained": "to train from scratch, choose an encoder such as transformer",
    "validation_metric": "epochs are chosen by macro recall on validation, of sets by mAP",
    "training": "the older name of trainer: give one of them",
    "time_stripes": "renamed to time_masks",
    "frequency_stripes": "renamed to frequency_masks",
    "warmup_evaluations": "give warmup_fraction",
}
READ_AS = {  # values of keys of params.yaml: Ludwig's, ours
    "pooling": ("avg", "mean"),
    "pool_size": (None, 1),
    "norm": (None, "none"),
    "num_fft_points": (None, 0),
    "early_stop": (-1, 0),
}
KEYS: set[str] = set()  # of all mappings


class Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True, extra="forbid", frozen=True)


def mapping(
    section: Any = None,
    *only: str,
    also: Sequence[str] = (),
    needed: Sequence[str] = (),
    base: Any = Strict,
    **more: Any,
) -> Any:
    """A model of which every key but the `needed` ones may be left out.

    Args:
        section: of params.yaml; the model has all its keys and `also`, or `only` these, named as there or by Ludwig.
        more: further keys, each with its type, its only value, or a tuple of its values.
    """
    fields: dict[str, Any] = {}
    for name, kind in more.items():
        if kind is None or isinstance(kind, str | int | tuple):
            kind = Literal[kind]
        kind = kind | None if isinstance(kind, type) and issubclass(kind, Strict) else kind
        fields[name] = (kind, ... if name in needed else None)
    for name in only or (*section.model_fields, *also) if section else ():
        key = SPELLINGS.get(name, name)
        kind = section.model_fields[key].rebuild_annotation()
        fields[name] = (Annotated[kind, BeforeValidator(partial(_as_in_params, key))], None)
    KEYS.update(fields)
    return create_model("Mapping", __base__=base, **fields)


def _as_in_params(key: str, value: Any) -> Any:
    if key == "channel" and type(value) is int:
        return str(value)
    ludwigs, ours = READ_AS.get(key, (value, value))
    return ours if value == ludwigs else value


def by_type(models: Mapping[str, Any], usual: Callable[[], str] | None = None) -> Callable[[Any], Any]:
    """A validator by the model that a mapping's key `type` names; `usual`: where it has none."""
    default = ... if usual is None else Field(default_factory=usual)
    choice: Any = create_model("Choice", type=(Literal[tuple(models)], default))  # type: ignore[arg-type]

    def chosen(given: Any) -> Any:
        return given if isinstance(given, Strict) else models[choice.model_validate(given).type].model_validate(given)

    return chosen


GELU: dict[str, Any] = {"activation": "gelu"}
CONVOLUTION: dict[str, Any] = {"norm": "layer", "padding": "same", "pool_function": "max"}
CONVOLUTION |= {"strides": 1, "dilation_rate": 1, "use_bias": True}
PoolSize = mapping(sections.ParallelCNNParams, "pool_size")
Layer = mapping(base=PoolSize, filter_size=Size | None, num_filters=Size | None, **CONVOLUTION, **GELU)
Layers = Annotated[list[Layer], Field(min_length=1)]  # type: ignore[valid-type]
LayerCount = Annotated[int, Field(ge=1, le=100)] | None
Dense = mapping(output_size=Size, dropout=sections.Dropout, **GELU)

HEAD = ("pooling", "reduce_output", "members", "num_fc_layers", "output_size", "fc_dropout")
Encoder = mapping(sections.EncoderParams, *HEAD, type=str, fc_layers=list[Dense] | None)  # type: ignore[valid-type]
FromScratch = mapping(base=Encoder, should_embed=False)
Convolutions2D = mapping(base=FromScratch, activation="relu", **CONVOLUTION)
Convolutions = mapping(base=FromScratch, filter_size=Size | None, **CONVOLUTION, **GELU)
SideBySide = mapping(base=Convolutions, conv_layers=Layers | None, num_conv_layers=LayerCount)
InARow = mapping(sections.ParallelCNNParams, "pool_size", base=SideBySide)
Stacked = mapping(base=Convolutions, stacked_layers=Annotated[list[Layers], Field(min_length=1)] | None)
CNNRNN = mapping(sections.CNNRNNParams, also=["state_size", "num_rec_layers"], base=InARow)
Pretrained = mapping(base=Encoder, members=1, use_pretrained=True)
Pretrained = mapping(sections.PretrainedParams, also=["pretrained_model_name_or_path"], base=Pretrained)
ENCODERS = {
    "stacked_cnn_2d": mapping(sections.StackedCNN2DParams, base=Convolutions2D),
    "stacked_cnn": mapping(sections.StackedCNNParams, base=InARow),
    "parallel_cnn": mapping(sections.ParallelCNNParams, base=SideBySide),
    "stacked_parallel_cnn": mapping(sections.StackedParallelCNNParams, also=["num_stacked_layers"], base=Stacked),
    "rnn": mapping(sections.RNNParams, also=["state_size"], base=FromScratch),
    "cnnrnn": CNNRNN,
    "stacked_cnn_rnn": CNNRNN,
    "transformer": mapping(sections.TransformerParams, base=FromScratch),
    **dict.fromkeys(PRETRAINED, Pretrained),
}
one_encoder = by_type(ENCODERS, lambda: defaults().classification.encoder.type)

DROPPED = {"missing_value_strategy": "drop_row"}
CLIP_KEYS = ("channel", "audio_file_length_limit_in_s", "level_db", "normalize_by")
AudioKeys = mapping(SpectraParams, base=mapping(Classification, *CLIP_KEYS, padding_value=float, in_memory=True))
AudioKeys = mapping(base=AudioKeys, fill_value=None, computed_fill_value=None, **DROPPED)
Preprocessing = mapping(base=AudioKeys, audio_feature=AudioKeys)  # the second is the older spelling


Name = Annotated[str, Field(pattern="^[^:]+$")]
Feature = mapping(needed=["name", "type"], name=Name, type=str, column=str)
_Audio = mapping(base=Feature, encoder=Annotated[Any, PlainValidator(one_encoder)], preprocessing=Preprocessing)


class Audio(_Audio):  # type: ignore[misc, valid-type]
    @pydantic.model_validator(mode="before")
    @classmethod
    def _older_spelling(cls, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """There the encoder's keys are given beside its name."""
        encoder = given.get("encoder")
        if isinstance(encoder, Mapping):
            return given
        own = {name: value for name, value in given.items() if name in cls.model_fields}
        beside = {name: value for name, value in given.items() if name not in own}
        return {**own, "encoder": one_encoder(beside if encoder is None else {**beside, "type": encoder})}


Category = mapping(base=Feature, encoder=mapping(type="dense"), preprocessing=mapping())
Number = mapping(base=Feature, encoder=mapping(type="passthrough"), preprocessing=mapping(normalization="zscore"))
INPUTS = {"audio": Audio, "category": Category, "number": Number, "numerical": Number}
Loss = mapping(TrainerParams, "class_weights", type="softmax_cross_entropy")
Decoder, Dropped = mapping(type="classifier"), mapping(**DROPPED)
Output = mapping(base=Feature, loss=Loss, decoder=Decoder, calibration=True, preprocessing=Dropped)
SetLoss = mapping(TrainerParams, "class_weights", type="sigmoid_cross_entropy")
Separated = mapping(Classification, "separator", base=Dropped)
SetOutput = mapping(base=Output, loss=SetLoss, preprocessing=Separated)

SCHEDULE: dict[str, Any] = {"decay": ("cosine", None), "warmup_evaluations": 0, "reduce_on_plateau": 0}
Trainer = mapping(
    TrainerParams,
    *(name for name in TrainerParams.model_fields if name != "cycle_learning_rate"),
    optimizer=mapping(TrainerParams, "lr", "weight_decay", type=("adamw", "adam")),
    learning_rate_scheduler=mapping(TrainerParams, "warmup_fraction", **SCHEDULE),
    gradient_clipping=mapping(TrainerParams, "clipglobalnorm", clipnorm=None, clipvalue=None),
    validation_metric=("uar", "macro_recall", "recall_macro", "map", "mean_average_precision"),
    validation_field=str,
)


def _three_shares(given: Any) -> Any:
    numbers = isinstance(given, list) and all(type(share) in (int, float) and share > 0 for share in given)
    if not numbers or len(given) != 3 or abs(sum(given) - 1) > 1e-6:
        raise ValueError(f"got {given!r}; allowed: three shares above 0 that sum to 1, such as [0.7, 0.1, 0.2]")
    return tuple(given)


Shares = Annotated[tuple[float, float, float], BeforeValidator(_three_shares)] | None
Column = Annotated[str, Field(min_length=1)] | None
Drawn = mapping(type=str, probabilities=Shares)
Grouped = mapping(base=Drawn, column=Column)
Group = mapping(base=Drawn, needed=["column"], column=Annotated[str, Field(min_length=1)])
SPLITS = {"random": Drawn, "stratify": Grouped, "speaker": Grouped, "group": Group, "hash": Group}
SPLITS |= {"fixed": mapping(type=str, column=Column)}
Split = Annotated[Any, PlainValidator(by_type(SPLITS, lambda: "random"))]
OLDER_SPLIT: dict[str, Any] = {"stratify": Column, "split_probabilities": Shares, "force_split": bool}
General = mapping(base=Preprocessing, audio=Preprocessing, split=Split | None, sample_ratio=(1, 1.0), **OLDER_SPLIT)


def _exactly_one(model: type, features: list[Any]) -> list[Any]:
    count = sum(isinstance(each, model) for each in features)
    if count != 1:
        raise ValueError(
            f"{count} are of type {'audio' if model is Audio else 'category or set'}; allowed: exactly one"
        )
    return features


def _features(models: Mapping[str, Any], one: type) -> Any:
    return Annotated[list[Annotated[Any, PlainValidator(by_type(models))]], AfterValidator(partial(_exactly_one, one))]


Declaration = mapping(
    needed=["input_features", "output_features"],
    input_features=_features(INPUTS, Audio),
    output_features=_features({"category": Output, "set": SetOutput}, Output),
    trainer=Annotated[Trainer | None, Field(validation_alias=AliasChoices("trainer", "training"))],
    augment=mapping(sections.AugmentParams),
    preprocessing=General,
    defaults=mapping(audio=mapping(preprocessing=Preprocessing)),
    folds=FoldKind | None,
    k=Annotated[int, Field(ge=2)] | None,
    limits=mapping(max_bad_fraction=Share),
    combiner=mapping(type="concat"),
    model_type="ecd",
    ludwig_version=Any,
)

LEVELS, BANDED = ("fbank", "mel"), ("fbank", "mel", "mfcc")
FRAMED = ("stft", "stft_phase", "group_delay", *BANDED)
OF_ENCODERS = ("whisper", "ast")  # their own features are spectra
USED_BY = {  # features, or pretrained encoders
    **dict.fromkeys(("features.window_length_in_s", "features.window_shift_in_s"), ("raw", *FRAMED)),
    **dict.fromkeys(("features.num_fft_points", "features.window_type"), FRAMED),
    "features.num_filter_bands": ("raw", *BANDED),  # raw: of the filter bank that is learned
    "features.num_coefficients": ("mfcc",),
    **dict.fromkeys(("augment.gain", "augment.equalizer_db"), LEVELS),
    **dict.fromkeys(("augment.background", "augment.background_snr_db"), LEVELS),
    **dict.fromkeys(("augment.frequency_masks", "augment.frequency_share"), (*FRAMED, *OF_ENCODERS)),
    "augment.warp": ("stft", "group_delay", *LEVELS, *OF_ENCODERS),
}
FROZEN, OF_FRAMES = "a frozen encoder", ("time_masks", "time_share", "time_shift", "speed")
PAIRS = [("time_masks", "time_share"), ("frequency_masks", "frequency_share"), ("mixup", "mixup_probability")]
NEEDS = {f"augment.{a}": f"augment.{b}" for pair in PAIRS for a, b in (pair, pair[::-1])}
NEEDS |= {"augment.background_snr_db": "augment.background", "encoder.output_size": "encoder.num_fc_layers"}


@dataclass(frozen=True)
class Declared:
    """What a declaration asks for.

    Attributes:
        options: the section `classification`, whole.
        audio: the column with the audio.
        columns: of the target and of every input beside the audio: its name → its column.
        split: how clips are divided; `None`: by their splits, or by group.
        max_bad_fraction: what share of the clips may be unusable.
        notes: how some keys are used, for the user.
        dropped: rows are dropped whose cell is empty in these: audio, target.
        folds, k: as of `cross_validate`; `None`: one training.
    """

    options: Classification
    audio: str
    columns: Mapping[str, str]
    split: SplitRule | None
    max_bad_fraction: float
    notes: list[str]
    dropped: list[str]
    folds: str | None
    k: int | None

    def params(self, seed: int) -> Params:
        """Of a run without cycles."""
        limits = defaults().limits.model_copy(update={"max_bad_fraction": self.max_bad_fraction})
        found = changed(defaults(), {"task": "classification", "seed": seed, "train.cycles": 0})
        return found.model_copy(update={"classification": self.options, "limits": limits})

    def reading(self) -> Reading:
        """What must be read of each clip."""
        kinds = dict(item.rsplit(":", 1) for item in self.options.inputs)
        numbers = [name for name, kind in kinds.items() if kind == "number"]
        split = self.split.column if self.split and self.split.kind == "fixed" else None
        several = self.options.separator if self.options.output == "set" else ""
        return Reading(self.options.target, self.audio, self.columns, numbers, split or "split", self.dropped, several)


def read_declaration(source: Path | str | Mapping[str, Any], *, target: str | None = None) -> Declared:
    """Read a declaration: a YAML file, or what one holds.

    Args:
        target: takes the place of its output.

    Raises:
        ParamsError: naming every problem with its dotted key.
    """
    title = "the declaration" if isinstance(source, Mapping) else str(source)
    given = files.read_yaml(Path(source)) if isinstance(source, str | Path) else source
    if not isinstance(given, Mapping):
        raise ParamsError(f"{title} is no declaration: it needs input_features and output_features")
    if target:
        given = {**given, "output_features": [{"name": target, "type": _output_type(given)}]}
    try:
        settings = _Settings(Declaration.model_validate(given))
        declared, problems = _declared(settings), settings.problems
    except ValidationError as error:
        problems = [problem(item) for item in error.errors()]
    if problems:
        raise problems_in(title, problems)
    return declared


def _output_type(given: Mapping[Any, Any]) -> Any:
    """That of the only output; category where it cannot be read."""
    outputs = given.get("output_features")
    first = outputs[0] if isinstance(outputs, list) and outputs else None
    return first.get("type", "category") if isinstance(first, Mapping) else "category"


def problem(item: Any) -> str:
    """One line for one problem that pydantic found."""
    place, name, given = ".".join(map(str, item["loc"])), str(item["loc"][-1]), item["input"]
    if item["type"] == "extra_forbidden":
        unknown = "not a key here" if name in KEYS else f"unknown key{_meant(name, KEYS)}"
        return f"{place}: {REASONS.get(name, unknown)}"
    if item["type"] == "model_type":
        return f"{place}: got {given!r}; allowed: keys with values"
    if item["type"] == "literal_error":
        allowed = item["ctx"]["expected"]
        reason = f" ({REASONS[name]})" if name in REASONS else ""
        return f"{place}: got {given!r}{_meant(given, re.findall('[a-z_]+', allowed))}; allowed: {allowed}{reason}"
    return explain(item) + (f" ({REASONS[name]})" if item["type"] == "none_required" else "")


def _meant(name: Any, known: Collection[str]) -> str:
    close = difflib.get_close_matches(str(name), sorted(known), n=1, cutoff=0.7)
    return f"; did you mean {close[0]}?" if close else ""


@dataclass
class _Settings:
    """Values of `classification` by their dotted key, each with the place in the declaration that gives it."""

    declaration: Any
    values: dict[str, Any] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)

    def at(self, place: str) -> Any:
        found = self.declaration
        for name in place.split("."):
            found = found[int(name)] if name.isdecimal() else getattr(found, name, None)
        return found

    def refuse(self, place: str, reason: str) -> None:
        self.problems.append(f"{place}: {reason}")

    def put(self, key: str, value: Any, place: str, *, alike: bool = False) -> None:
        """Set a key; two places are refused, unless they are `alike`, or the input itself overrides what is above."""
        other = self.places.get(key, place)
        overrides = place.startswith("input_features") > other.startswith("input_features")
        if other != place and not overrides and not (alike and value == self.values[key]):
            self.refuse(place, f"got {value!r}, but {other} gives {self.values[key]!r}: give one of them")
        self.values[key], self.places[key] = value, place

    def add(self, place: str, *prefixes: str, alike: bool = False) -> None:
        """Set what a mapping gives, under the first prefix that makes a key of `classification` from a name."""
        part, known = self.at(place), defaults().classification.leaves()
        for name in type(part).model_fields if part else ():
            value = getattr(part, name)
            keys = [key for prefix in prefixes if (key := prefix + SPELLINGS.get(name, name)) in known]
            if keys and name in part.model_fields_set and not (alike and value is None):
                self.put(keys[0], value, f"{place}.{name}", alike=alike)


def _declared(settings: _Settings) -> Declared:
    given = settings.declaration
    number, audio = next((n, each) for n, each in enumerate(given.input_features) if isinstance(each, Audio))
    place = f"input_features.{number}"
    columns = _columns(settings)
    _preprocessing(settings, f"{place}.preprocessing")
    kind = _encoder(settings, f"{place}.encoder")
    _trainer(settings)
    settings.add("augment", "augment.")
    split = _split(settings)
    if given.k and given.folds not in FOLDS_WITH_K:
        settings.refuse("k", f"the number of folds goes with folds: {' or '.join(FOLDS_WITH_K)}")
    options = changed(
        defaults(), {f"classification.{key}": each for key, each in settings.values.items()}
    ).classification
    if kind not in PRETRAINED:
        features = options.features.model_copy(update={"num_fft_points": _fft_points(settings, options.features)})
        options = options.model_copy(update={"features": features})
    if kind in PRETRAINED:
        kind = kind if options.encoder.pretrained.trainable else FROZEN
    _note_idle_keys(settings, options, kind if kind in (FROZEN, *PRETRAINED) else options.features.type)
    limits = given.limits if given.limits and given.limits.model_fields_set else defaults().limits
    column, notes, dropped = audio.column or audio.name, settings.notes, settings.dropped
    return Declared(options, column, columns, split, limits.max_bad_fraction, notes, dropped, given.folds, given.k)


def _columns(settings: _Settings) -> dict[str, str]:
    """Set target and inputs; the column of each."""
    inputs = [each for each in settings.declaration.input_features if not isinstance(each, Audio)]
    (target,) = settings.declaration.output_features
    columns = {each.name: each.column or each.name for each in (*inputs, target)}
    names = [each.name for each in inputs]
    if target.name in names:
        settings.refuse("output_features.0.name", f"{target.name!r} is an input too")
    elif columns[target.name] in [columns[name] for name in names]:
        settings.refuse("output_features.0.column", f"an input reads {columns[target.name]!r} too: the answer")
    if len(set(names)) < len(names):
        settings.refuse("input_features", f"two inputs have one name: {', '.join(names)}")
    kinds = [each.type.replace("numerical", "number") for each in inputs]
    settings.add("output_features.0.preprocessing", "")
    settings.values |= {"target": target.name, "output": target.type, "inputs": list(map("{}:{}".format, names, kinds))}
    return columns


def _preprocessing(settings: _Settings, own: str) -> None:
    """Set the keys of the features: general ones, and those of the input itself."""
    for above in ("defaults.audio.preprocessing", "preprocessing.audio", "preprocessing", own):
        for place in (above, f"{above}.audio_feature"):
            settings.add(place, "features.", "")
            if settings.at(f"{place}.padding_value") is not None:
                settings.notes.append(f"{place}.padding_value changes nothing: padding is masked")
            if settings.at(f"{place}.missing_value_strategy"):
                settings.dropped.append("audio")
    if settings.at("output_features.0.preprocessing.missing_value_strategy"):
        settings.dropped.append("target")


def _encoder(settings: _Settings, place: str) -> str:
    """Set the keys of the encoder; its name."""
    encoder = settings.at(place)
    kind = str(encoder.type or defaults().classification.encoder.type).replace("stacked_cnn_rnn", "cnnrnn")
    prefix = f"encoder.{'pretrained' if kind in PRETRAINED else kind}."
    settings.add(place, prefix, "encoder.")
    settings.values["encoder.type"] = kind
    if isinstance(encoder, Convolutions):
        _convolutions(settings, place, prefix)
    for number in range(len(encoder.fc_layers or [])):
        settings.add(f"{place}.fc_layers.{number}", "encoder.", "encoder.fc_", alike=True)
    if encoder.fc_layers is not None:
        settings.put("encoder.num_fc_layers", len(encoder.fc_layers), f"{place}.fc_layers", alike=True)
    if kind in PRETRAINED and f"{prefix}model" not in settings.places:
        settings.refuse(f"{place}.pretrained_model_name_or_path", "missing; give a hub id or the folder of a model")
    for key, given in settings.places.items():
        if kind in PRETRAINED and key.startswith("features."):
            settings.refuse(given, f"{kind} brings its own features: leave it out")
    return kind


def _convolutions(settings: _Settings, place: str, prefix: str) -> None:
    """Set the sizes of layers, which are given as lists, layer by layer, or one for all."""
    encoder, usual = settings.at(place), getattr(defaults().classification.encoder, prefix.split(".")[1])
    layers, where = settings.at(f"{place}.conv_layers") or [], f"{place}.conv_layers"
    if stacks := settings.at(f"{place}.stacked_layers"):
        layers, where = stacks[0], f"{place}.stacked_layers.0"
        settings.put(f"{prefix}num_stacks", len(stacks), f"{place}.stacked_layers", alike=True)
        if any(stack != layers for stack in stacks):
            settings.refuse(f"{place}.stacked_layers", "all stacks are alike here")
    for number in range(len(layers)):
        settings.add(f"{where}.{number}", prefix, alike=True)
    count = _layer_count(settings, place, len(layers)) or len(usual.filter_sizes)
    for name, sizes in (("filter_size", usual.filter_sizes), ("pool_size", getattr(usual, "pool_sizes", None))):
        if sizes:
            sizes = [1] if layers and name == "pool_size" else sizes  # layers that are listed pool where they say so
            sizes = _sizes(name, encoder, layers or [Layer()] * count, sizes)
            settings.values.setdefault(f"{prefix}{name}s", sizes)


def _layer_count(settings: _Settings, place: str, listed: int) -> int:
    """How many layers all that is given agrees on; 0 where nothing is."""
    counts = {"conv_layers": listed, "num_conv_layers": settings.at(f"{place}.num_conv_layers") or 0}
    counts |= {name: len(settings.at(f"{place}.{name}") or []) for name in ("filter_sizes", "pool_sizes")}
    given = {name: count for name, count in counts.items() if count}
    if len(set(given.values())) > 1:
        settings.refuse(place, f"different numbers of layers: {given}")
    return max(given.values(), default=0)


def _sizes(name: str, encoder: Any, layers: Sequence[Any], usual: list[int]) -> list[int]:
    """Of each layer its own, else that for all, else the usual one, of which the last is repeated."""
    sizes = [getattr(encoder, name)] if getattr(encoder, name) else usual
    return [getattr(layer, name) or sizes[min(number, len(sizes) - 1)] for number, layer in enumerate(layers)]


def _trainer(settings: _Settings) -> None:
    optimizer, schedule = "trainer.optimizer", "trainer.learning_rate_scheduler"
    for place in ("trainer", optimizer, schedule, "trainer.gradient_clipping", "output_features.0.loss"):
        settings.add(place, "trainer.")
    if settings.at(f"{optimizer}.type") == "adam":  # AdamW without weight decay
        if settings.values.get("trainer.weight_decay"):
            place = settings.places["trainer.weight_decay"]
            settings.refuse(place, "adam adds weight decay to the gradients, which is not here; choose adamw")
        settings.values["trainer.weight_decay"] = 0.0
        settings.notes.append(f"{optimizer}.type adam: weight decay is 0, which makes AdamW Adam")
    scheduler = settings.at(schedule)
    if scheduler and "decay" in scheduler.model_fields_set and scheduler.decay is None:
        settings.put("trainer.final_lr_share", 1.0, f"{schedule}.decay")
    metric, usual = settings.at("trainer.validation_metric"), "map" if settings.values["output"] == "set" else "uar"
    if metric and (metric in ("map", "mean_average_precision")) != (usual == "map"):
        settings.refuse("trainer.validation_metric", f"got {metric!r}; {REASONS['validation_metric']}")
    if settings.at("trainer.validation_field") not in (None, settings.values["target"]):
        settings.refuse("trainer.validation_field", f"allowed: {settings.values['target']}, the only output")


def _split(settings: _Settings) -> SplitRule | None:
    usual, general, split = SplitRule(), settings.at("preprocessing"), settings.at("preprocessing.split")
    if split is None:
        by, shares, force = (getattr(general, name, None) for name in OLDER_SPLIT)
        kind = "stratify" if by else "random"
        return SplitRule(kind, shares or usual.probabilities, by) if by or force or shares else None
    for name in OLDER_SPLIT:
        if getattr(general, name) is not None:
            settings.refuse(f"preprocessing.{name}", "preprocessing.split assigns the splits: give one of them")
    column = getattr(split, "column", None) or {"fixed": "split", "speaker": "speaker"}.get(split.type)
    shares = getattr(split, "probabilities", None)
    kind = {"speaker": "group", "hash": "group", None: "random"}.get(split.type, split.type)
    return SplitRule(kind, shares or usual.probabilities, column) if split.type or shares else None


def _fft_points(settings: _Settings, features: SpectraParams) -> int:
    """The points of the transform: where none are given, as many as it takes for no filter to be empty."""
    points, bands = features.num_fft_points, features.num_filter_bands
    try:
        if features.type in BANDED and bands <= MAX_BANDS and not settings.values.get("features.num_fft_points"):
            window = Spectra(features.model_copy(update={"type": "stft"})).fft_points
            scale: dict[str, Any] = {"rate_hz": features.sample_rate_hz, "snapped": features.type == "fbank"}
            if empty := spectra.empty_bands(bands, fft_points=window, **scale):
                points = spectra.fewest_fft_points(bands, at_least=window, **scale)
                why = f"with the {window} of the window {empty} of {bands} filters would be empty"
                settings.notes.append(f"num_fft_points is {points}: {why}")
        Spectra(features.model_copy(update={"num_fft_points": points}))
    except UserError as error:
        name, _, reason = str(error).partition(" ")
        settings.refuse(settings.places.get(f"features.{name}", f"preprocessing.{name}"), f"got {reason}")
    return points


def _is_lost(key: str, options: Classification) -> bool:
    """Whether an augmentation of frames meets one row of statistics."""
    return options.encoder.pooling in ("statistics", "mixed") and key.removeprefix("augment.") in OF_FRAMES


def _note_idle_keys(settings: _Settings, options: Classification, kind: str) -> None:
    values = options.leaves()
    for key, place in settings.places.items():
        if values[key] and key in NEEDS and not values[NEEDS[key]]:
            settings.notes.append(f"{place} changes nothing: {NEEDS[key].partition('.')[2]} is 0")
        elif values[key] and kind not in USED_BY.get(key, kind):
            settings.notes.append(f"{place} changes nothing: {', '.join(USED_BY[key])} use it, and {kind} does not")
        elif values[key] and kind == FROZEN and _is_lost(key, options):
            settings.notes.append(f"{place} changes nothing: statistics of a frozen encoder's states have no frames")
        elif key == "encoder.rnn.dropout" and options.encoder.rnn.num_layers == 1:
            settings.notes.append(f"{place} changes nothing: it is between recurrent layers, and there is one")
    if options.encoder.pooling == "mixed" and options.encoder.members == 1:
        place = settings.places.get("encoder.pooling", "encoder.pooling")
        settings.notes.append(f"{place} mixed is statistics: it is for members above 1, and there is one network")
