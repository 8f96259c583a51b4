"""Audio classification: a model whose answers are labels, or sets of them.

A clip's features are `[T, F]` (raw samples: `[N]`), or with side inputs `[T, F + S]` (`[N, 1 + S]`), their columns
constant over time.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import ConfigDict, Field, field_validator

from soundraft import files, runtime
from soundraft.audio.loudness import db_to_gain, peak_rms
from soundraft.audio.spectra import Spectra, cut, select_channel
from soundraft.metrics.labels import best_threshold, codes, fit_temperature, indicators, tempered
from soundraft.models.base import LogProbs, Losses, ModelError, by_clip, rows_of_clips
from soundraft.models.checkpoints import CLASSIFIER, CONFIG, is_classifier
from soundraft.models.encoders import Sized
from soundraft.models.networks import (
    MIXED,
    ClassifierNetwork,
    Ensemble,
    SideEncoder,
    SideInput,
    SpectraFront,
    SpectraReader,
    encode_row,
    usable,
)
from soundraft.models.pretrained import (
    PRETRAINED,
    FrozenFront,
    HubClassifier,
    PretrainedFront,
    PretrainedReader,
    open_hub_classifier,
    open_pretrained,
)
from soundraft.params import checked_section, defaults
from soundraft.params.base import Count, NotNegative, Section
from soundraft.params.classification import Classification, EncoderChoice, EncoderParams, SpectraParams
from soundraft.runtime import UserError

Front = SpectraFront | PretrainedFront | FrozenFront
LOUDNESS_WINDOW_S = 0.25
VERSION = 1
WEIGHTS, PRETRAINED_FOLDER = "model.safetensors", "pretrained"


class Config(Section):
    """config.json of a classifier. Beside it are `model.safetensors` and what a pretrained encoder needs.

    Attributes:
        labels: in the order of the logits.
        target: the fact that they are of, such as emotion.
        encoder: the keys of `EncoderChoice`, and those of the chosen encoder's section.
        channels: of every recording; only `channel: all` needs it.
        length_limit_s: clips are cut to it; 0: they are not.
        level_db: RMS of the loudest 250 ms to which each clip is brought, dBFS; null leaves it as loud as it is.
        temperature: of calibration.
        output: category, one label a clip; set, any number of them.
        threshold: the calibrated probability from which a label is in the answer, for sets.
        normalize_by: whose clips are z-scored together, before the model sees them (`z_scored`).
    """

    model_config = ConfigDict(allow_inf_nan=False)

    format: Literal["soundraft-audio-classifier"]
    version: Literal[1]
    labels: Annotated[list[str], Field(min_length=2)]
    target: str
    features: SpectraParams
    encoder: dict[str, Any]
    channels: Count
    side: list[SideInput]
    channel: str
    length_limit_s: NotNegative
    level_db: Annotated[float, Field(ge=-200)] | None
    temperature: Annotated[float, Field(ge=1e-6)]
    output: Literal["category", "set"] = "category"
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.5
    normalize_by: Literal["none", "speaker"] = "none"

    @field_validator("labels")
    @classmethod
    def _occur_once(cls, labels: list[str]) -> list[str]:
        twice = sorted({label for label in labels if labels.count(label) > 1})
        if twice:
            raise ValueError(f"label {twice[0]!r} occurs twice")
        return labels


class AudioClassifier:
    """The protocol `Model`, and what only classification needs.

    Attributes:
        temperature: of calibration, for probabilities that are shown: divides the logits. Nothing here uses it.
    """

    takes_masking = False  # its features are not normalised, so 0 is not their mean: `training.augment` masks them
    sets = False  # whether its answers are sets of labels

    def __init__(self, config: Config, network: ClassifierNetwork | Ensemble | HubClassifier, front: Front) -> None:
        self.device = runtime.device()
        self.config = config
        self.model: Any = network.to(self.device).eval()
        self.front = front
        self.labels = config.labels
        self.target = config.target
        self.side = config.side
        self.temperature = config.temperature
        self.length_limit_s = config.length_limit_s
        self.sample_rate_hz = front.sample_rate_hz
        self.side_columns = sum(item.columns for item in config.side)
        self._index = {label: index for index, label in enumerate(self.labels)}

    def extract(self, samples: np.ndarray) -> torch.Tensor:
        """As the protocol says; `[N, C]` with C channels. UserError when the clip is unusable, or lacks the channel."""
        return self.front(self.prepared(samples))

    def prepared(self, samples: np.ndarray) -> np.ndarray:
        """A clip's samples `[N]` or `[N, C]`: its channel, up to the length limit, at one loudness."""
        config, rate_hz = self.config, self.sample_rate_hz
        within = select_channel(cut(samples, config.length_limit_s, sample_rate_hz=rate_hz), config.channel)
        if config.level_db is None:
            return within
        mono = within if within.ndim == 1 else within.mean(1)
        loudest = peak_rms(mono, rate_hz, LOUDNESS_WINDOW_S)
        return within * db_to_gain(config.level_db) / loudest if loudest > 0 else within

    def features_depend_on(self) -> dict[str, Any]:
        names = ("channel", "length_limit_s", "level_db")
        return {**self.front.depends_on(), **{name: getattr(self.config, name) for name in names}}

    def with_side(self, features: torch.Tensor, row: Mapping[str, Any]) -> torch.Tensor:
        """Features with the side inputs of their clip, from its raw values by name; ModelError as `encode_row`."""
        columns = encode_row(self.side, row)
        if not len(columns):
            return features
        frames = features[:, None] if features.ndim == 1 else features
        return torch.cat([frames, columns.expand(len(frames), -1)], dim=1)

    @property
    def decibels(self) -> float:
        """Of one unit of its features, where every column is the level of a band; else 0."""
        return self.front.decibels if self.config.normalize_by == "none" else 0.0

    def z_scored(self, features: Sequence[torch.Tensor], groups: Sequence[str]) -> list[torch.Tensor | None]:
        """The columns of the audio z-scored over the rows of all clips of a group; `None` where that has one row."""
        sides = [clip[:, clip.shape[1] - self.side_columns :] for clip in features]
        audio = [clip[:, : clip.shape[1] - self.side_columns] for clip in features]
        of_group: dict[str, list[int]] = {}
        for place, group in enumerate(groups):
            of_group.setdefault(group, []).append(place)
        found: list[torch.Tensor | None] = [None] * len(features)
        for places in of_group.values():
            rows = torch.cat([audio[place] for place in places]).double()
            if len(rows) < 2:
                continue
            centre, spread = rows.mean(0), usable(rows.std(0, correction=0))
            for place in places:
                scored = ((audio[place].double() - centre) / spread).float()
                found[place] = torch.cat([scored, sides[place]], dim=1)
        return found

    def fit_normalisation(self, features: Sequence[torch.Tensor]) -> None:
        """Learn from the training clips how features, or the states of a pretrained encoder, are normalised."""
        for reader in self._readers():
            reader.fit(self._split(features)[0])

    def normalisation(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and deviation `[F]` of the training clips' features; 0 and 1 where a pretrained encoder has its own."""
        if not isinstance(self.front, PretrainedFront):
            for reader in self._readers():
                return reader.mean.cpu(), reader.std.cpu()
        return torch.zeros(max(1, self.front.columns)), torch.ones(max(1, self.front.columns))

    def encode(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        """Logarithms of probabilities `[B, C]` on the CPU, before calibration."""
        with torch.inference_mode():
            return self.model(*self._split(features)).cpu()

    def calibrate(self, encoded: np.ndarray, answers: Sequence[Any]) -> None:
        """Fit what makes probabilities and answers of `encode`'s rows to clips that were not learned."""
        self.temperature = fit_temperature(encoded, codes(answers, self.labels))

    def probabilities(self, encoded: np.ndarray) -> np.ndarray:
        """Calibrated, of each label, `[N, C]`."""
        return tempered(encoded, self.temperature)

    def best(self, encoded: torch.Tensor) -> list[Any]:
        return [self.labels[index] for index in encoded.argmax(-1).tolist()]

    def sample(self, encoded: torch.Tensor, count: int, *, temperature: float, seeds: Sequence[int]) -> list[list[Any]]:
        drawn = []
        for log_probs, seed in zip(encoded.double(), seeds, strict=True):
            generator = torch.Generator().manual_seed(seed)
            probabilities = torch.softmax(log_probs / temperature, dim=-1)
            indices = torch.multinomial(probabilities, count, replacement=True, generator=generator)
            drawn.append([self.labels[index] for index in indices.tolist()])
        return drawn

    def can_learn(self, answer: Any) -> bool:
        return answer in self._index

    def loss(self, features: Sequence[torch.Tensor], answers: Sequence[Sequence[Any]]) -> Sequence[Losses]:
        self._check_known([label for group in answers for label in group])
        indices = torch.tensor([self._index[label] for group in answers for label in group], dtype=torch.long)
        log_probs = self._log_probs(features)
        chosen = log_probs[rows_of_clips(answers).to(log_probs.device), indices.to(log_probs.device)]
        tokens = torch.ones_like(indices)
        return by_clip(LogProbs(chosen, tokens, tokens.bool()), answers)

    def save(self, folder: Path) -> None:
        """Write all that `load_classifier` needs; no network is asked when it is read."""
        from safetensors.torch import save

        folder.mkdir(parents=True, exist_ok=True)
        if not isinstance(self.front, SpectraFront):
            self.front.save(folder / PRETRAINED_FOLDER)
        weights = {name: value.detach().cpu().contiguous() for name, value in self.model.state_dict().items()}
        files.write_bytes(folder / WEIGHTS, save(weights))
        files.write_json(folder / CONFIG, self._described())

    def _described(self) -> dict[str, Any]:
        """config.json."""
        unsaid = {"normalize_by"} if self.config.normalize_by == "none" else set()
        return self.config.model_dump(exclude={"output", "threshold"} | unsaid) | {"temperature": self.temperature}

    def _check_known(self, labels: Sequence[str]) -> None:
        unknown = [label for label in labels if label not in self._index]
        if unknown:
            raise ModelError(f"label {unknown[0]!r} is unknown; there are: {', '.join(self.labels)}")

    def _log_probs(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        # also without gradient, or GRPO's ratio would not be 1 where nothing has changed
        apart = {"apart": True} if isinstance(self.model, Ensemble) else {}
        found: torch.Tensor = self.model(*self._split(features), **apart)
        return found

    def _readers(self) -> list[SpectraReader | PretrainedReader]:
        return [part for part in self.model.modules() if isinstance(part, SpectraReader | PretrainedReader)]

    def _split(self, features: Sequence[torch.Tensor]) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Features → those of the audio, and side columns `[B, S]`."""
        if not self.side_columns:
            return list(features), torch.zeros(len(features), 0)
        narrow = [feature.shape for feature in features if feature.ndim != 2 or feature.shape[1] <= self.side_columns]
        if narrow:
            raise ModelError(f"features {tuple(narrow[0])} lack the columns of {[item.name for item in self.side]}")
        audio = [feature[:, : -self.side_columns] for feature in features]
        side = torch.stack([feature[0, -self.side_columns :] for feature in features])
        return ([clip[:, 0] for clip in audio] if self.front.columns == 0 else audio), side


@dataclass(frozen=True)
class SetLosses:
    """Losses of sets of labels `[K]` where labels weigh differently: no log-probabilities."""

    losses: torch.Tensor


class SetClassifier(AudioClassifier):
    """A classifier whose answer is the sorted tuple of a clip's labels, each of them a yes or no of its own.

    `encode` gives logarithms of the probabilities of yes and no, `[B, C, 2]`. An answer has the probability of its C
    yeses and noes, which are its tokens, so that its loss is the mean binary cross-entropy.

    Attributes:
        threshold: of the calibrated probability, from which a label is in the answer.
        weights: in the loss of each label's yes, `[C]`, where they differ.
    """

    sets = True

    def __init__(self, config: Config, network: Any, front: Front) -> None:
        super().__init__(config, network, front)
        self.threshold = config.threshold
        self.weights: torch.Tensor | None = None

    def calibrate(self, encoded: np.ndarray, answers: Sequence[Any]) -> None:
        """One temperature for all labels, and the threshold with the highest micro F1."""
        right = indicators(answers, self.labels)
        self.temperature = fit_temperature(encoded.reshape(-1, 2), 1 - right.ravel().astype(np.int64))
        self.threshold = best_threshold(right, self.probabilities(encoded))

    def probabilities(self, encoded: np.ndarray) -> np.ndarray:
        return tempered(encoded.reshape(-1, 2), self.temperature)[:, 0].reshape(encoded.shape[:2])

    def best(self, encoded: torch.Tensor) -> list[Any]:
        return self.chosen(self.probabilities(encoded.double().numpy()))

    def chosen(self, probabilities: np.ndarray) -> list[tuple[str, ...]]:
        """The labels from the threshold, of `[N, C]`."""
        return [self._set(row) for row in probabilities >= self.threshold]

    def sample(self, encoded: torch.Tensor, count: int, *, temperature: float, seeds: Sequence[int]) -> list[list[Any]]:
        drawn = []
        for log_probs, seed in zip(encoded.double(), seeds, strict=True):
            generator = torch.Generator().manual_seed(seed)
            yes = torch.softmax(log_probs / temperature, dim=-1)[:, 0]
            sets = torch.rand(count, len(yes), generator=generator, dtype=torch.double) < yes
            drawn.append([self._set(row) for row in sets.numpy()])
        return drawn

    def can_learn(self, answer: Any) -> bool:
        return all(label in self._index for label in answer)

    def loss(self, features: Sequence[torch.Tensor], answers: Sequence[Sequence[Any]]) -> Sequence[Losses]:
        self._check_known([label for group in answers for answer in group for label in answer])
        wanted = torch.from_numpy(indicators([answer for group in answers for answer in group], self.labels))
        log_probs = self._log_probs(features)
        wanted = wanted.to(log_probs.device)
        rows = log_probs[rows_of_clips(answers).to(log_probs.device)]
        each = torch.where(wanted, rows[..., 0], rows[..., 1])
        if self.weights is not None:
            losses = -torch.where(wanted, self.weights.to(each), 1.0).mul(each).mean(1)
            return [SetLosses(part) for part in losses.split([len(group) for group in answers])]
        tokens = torch.full((len(each),), len(self.labels))
        return by_clip(LogProbs(each.sum(1), tokens.to(each.device), torch.ones_like(tokens).bool()), answers)

    def _set(self, chosen: np.ndarray) -> tuple[str, ...]:
        return tuple(sorted(self.labels[place] for place in np.flatnonzero(chosen).tolist()))

    def _described(self) -> dict[str, Any]:
        return {**super()._described(), "output": "set", "threshold": self.threshold}


_KINDS: dict[str, type[AudioClassifier]] = {"category": AudioClassifier, "set": SetClassifier}


def build(
    labels: Sequence[str], options: Classification, *, side: Sequence[SideInput] = (), channels: int = 1
) -> AudioClassifier:
    """A classifier with weights from torch's global seed; a pretrained encoder brings its own, and its own features.

    Raises:
        UserError: when a label occurs twice, or the settings do not fit together.
    """
    encoder = options.encoder
    choice = {name: getattr(encoder, name) for name in EncoderChoice.model_fields}
    if encoder.type in PRETRAINED:  # which always is one network
        del choice["members"]
    config = checked_section(
        Config,
        format=CLASSIFIER,
        version=VERSION,
        labels=list(labels),
        target=options.target,
        features=options.features,
        encoder=choice | encoder.knobs.model_dump(),
        channels=channels,
        side=list(side),
        channel=options.channel,
        length_limit_s=options.audio_file_length_limit_in_s,
        level_db=options.level_db,
        temperature=1.0,
        output=options.output,
        normalize_by=options.normalize_by,
    )
    return _assembled(config, encoder, encoder.knobs)


def load_classifier(folder: Path) -> AudioClassifier:
    """Read what `save` wrote; ModelError when a file is missing, of another version, or does not fit the others."""
    path = folder / CONFIG
    if not path.is_file():
        raise ModelError(f"no classifier in {folder}: it has no {CONFIG}")
    if not is_classifier(folder):
        raise ModelError(f"{path} is not of an audio classifier of soundraft")
    try:
        config = checked_section(Config, **files.read_json(path))
        given = {"members": 1, **config.encoder}
        names = EncoderChoice.model_fields.keys() & given.keys()
        choice = checked_section(EncoderChoice, **{name: given.pop(name) for name in names})
        section: Any = EncoderParams.model_fields["pretrained" if choice.type in PRETRAINED else choice.type].annotation
        if choice.type in PRETRAINED and "layer" not in given:
            raise ModelError("it has no encoder.layer: an older version wrote it; train it again")
        knobs = checked_section(section, **given)
    except UserError as error:
        raise ModelError(f"{path}: {error}") from error
    configuration = folder / PRETRAINED_FOLDER
    classifier = _assembled(config, choice, knobs, configuration if configuration.is_dir() else None)
    _load_weights(classifier, folder / WEIGHTS)
    return classifier


def load_hub_classifier(name: str, output: str = "category") -> AudioClassifier:
    """A classifier of transformers, by its folder or hub id, to be measured and asked; ModelError when it is none."""
    network, front = open_hub_classifier(name, sets=output == "set")
    labels, options = front.config.id2label, defaults().classification
    window_s = network.whole.window_s
    config = checked_section(
        Config, format=CLASSIFIER, version=VERSION, labels=[str(labels[index]) for index in sorted(labels)],
        target=options.target, features=options.features, encoder={"type": network.whole.name, "model": name},
        channels=1, side=[], channel="average", length_limit_s=window_s if math.isfinite(window_s) else 0.0,
        level_db=None, temperature=1.0, output=output,
    )  # fmt: skip
    return _KINDS[config.output](config, network, front)


def _assembled(config: Config, choice: EncoderChoice, knobs: Any, configuration: Path | None = None) -> AudioClassifier:
    """Args: configuration: a folder with the configuration of a pretrained encoder whose weights come later."""
    name, members = choice.type, range(choice.members)
    if config.features.type == "raw" and config.channel == "all":
        raise ModelError("channel: all: raw samples have no features that could stand side by side")
    if name in PRETRAINED and choice.members > 1:
        raise ModelError(f"encoder.members: got {choice.members}; allowed: 1 for a pretrained encoder")
    poolings = [MIXED[number % len(MIXED)] if choice.pooling == "mixed" else choice.pooling for number in members]
    readers: list[Sized]
    front: Front
    if name in PRETRAINED:
        reader, front = open_pretrained(
            name, knobs, pooling=poolings[0], channel=config.channel, length_limit_s=config.length_limit_s,
            configuration=configuration,
        )  # fmt: skip
        readers = [reader]
    else:
        front = SpectraFront(Spectra(config.features), config.channels if config.channel == "all" else 1)
        readers = [SpectraReader(name, knobs, front, pooling=pooling) for pooling in poolings]
    if config.normalize_by != "none" and (front.columns == 0 or isinstance(front, PretrainedFront)):
        what = "raw samples" if front.columns == 0 else "an encoder that is trained"
        raise ModelError(f"normalize_by: {config.normalize_by}: {what} cannot be z-scored; spectra and states can")
    sets = config.output == "set"
    networks = [
        ClassifierNetwork(reader, SideEncoder(config.side), choice, len(config.labels), sets=sets) for reader in readers
    ]
    return _KINDS[config.output](config, networks[0] if len(networks) == 1 else Ensemble(networks), front)


def _load_weights(classifier: AudioClassifier, path: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load

    if not path.is_file():
        raise ModelError(f"no weights: {path} is missing")
    try:
        weights = load(path.read_bytes())
        classifier.model.load_state_dict(weights)
    except SafetensorError as error:
        raise ModelError(f"{path} cannot be read: {error}") from error
    except RuntimeError as error:  # names or shapes that differ, named line by line
        raise ModelError(f"{path} does not fit {CONFIG}: {error}") from error
