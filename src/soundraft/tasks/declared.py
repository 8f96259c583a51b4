"""The declarative form of a classifier: inputs, output, encoder, trainer and split in one yaml, as Ludwig has it.

    input_features:
      - name: audio            # the column with the paths
        type: audio
        encoder: {type: stacked_cnn}
        preprocessing: {audio_feature: {type: fbank}, norm: per_file}
      - {name: gender, type: category}
    output_features:
      - {name: emotion, type: category}
    trainer: {epochs: 20, early_stop: 5}
    folds: speaker             # cross-validation; or official, or k with k: 5
    limits: {max_bad_fraction: 0.05}

What it leaves out is taken from the section `classification` of params.yaml. Every key is honoured or refused by name.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from soundraft.models.pretrained_encoders import PRETRAINED
from soundraft.params import ParamsError, defaults, explain
from soundraft.params.classification import Classification
from soundraft.tasks.clip_splits import FOLDS, FOLDS_WITH_K, SplitRule
from soundraft.tasks.declared_encoder import check_encoder, read_encoder
from soundraft.tasks.declared_keys import Gathered, Keys, Taken
from soundraft.tasks.declared_parts import (
    AUDIO_KEYS,
    check_augment,
    check_features,
    read_audio,
    read_augment,
    read_split,
    read_trainer,
    read_training_loss,
)

_TYPES = {"audio": "audio", "category": "category", "number": "number", "numerical": "number"}
_REASONS = {
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
    keys.end(_REASONS)
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
