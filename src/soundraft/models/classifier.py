"""Audio classification as recognition: the texts of this recogniser are labels.

So sampling, rewards, selection and every objective serve classification as they stand. A clip's features are `[T, F]`
(raw samples: `[N]`), or with side inputs `[T, F + S]` (`[N, 1 + S]`), their columns constant over time.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from soundraft import files, runtime
from soundraft.audio.loudness import NEPER_DB, db_to_gain, peak_rms
from soundraft.audio.spectra import Spectra, cut, select_channel, whole_samples
from soundraft.models.base import ModelError, TextScores, split_scores
from soundraft.models.encoders import ENCODERS, Sized
from soundraft.models.networks import (
    HEAD_KEYS,
    ClassifierNetwork,
    Committee,
    Head,
    SideEncoder,
    SideInput,
    SpectraReader,
    Waves,
    encode_row,
    to_json,
    with_columns,
)
from soundraft.models.pretrained import PRETRAINED, open_pretrained

LOUDNESS_WINDOW_S = 0.25


class Front(Protocol):
    """What turns samples into features."""

    sample_rate_hz: int
    columns: int  # F; 0: the features are the samples
    decibels: float  # of one unit, where every column is the level of a band; else 0
    bands: int  # columns of a channel that stand in the order of their frequencies; 0: they do not

    def __call__(self, samples: np.ndarray) -> torch.Tensor:
        """Samples `[N]`, or `[N, C]` of C channels → `[T, F]`, or `[N]`."""
        ...

    def depends_on(self) -> dict[str, Any]:
        """What decides the features, as values of JSON."""
        ...


class SpectraFront:
    """Features that `Spectra` computes."""

    def __init__(self, spectra: Spectra, channels: int) -> None:
        self.spectra = spectra
        self.sample_rate_hz = spectra.sample_rate_hz
        self.columns = 0 if spectra.type == "raw" else spectra.columns(channels)
        self.planes = channels * (2 if spectra.type == "stft_phase" else 1)  # spectra side by side
        self.decibels = {"fbank": NEPER_DB, "mel": 1.0}.get(spectra.type, 0.0)
        self.bands = spectra.columns() if spectra.type in ("fbank", "mel", "stft", "group_delay") else 0

    def __call__(self, samples: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(self.spectra(samples)))

    def depends_on(self) -> dict[str, Any]:
        return self.spectra.depends()


class AudioClassifier:
    """A classifier as the protocol `Recognizer` has it, and what only classification needs.

    Attributes:
        labels: in the order of the logits.
        target: what the labels are of, such as emotion.
        temperature: of calibration: `log_probs` divides the logits by it. `sample` and `score` do not use it.
        channel: of recordings with several: the number of one, `average`, or `all` side by side in the features.
        settings: how it was built; `save` writes them.
    """

    takes_masking = False  # its features are not normalised, so 0 is not their mean: `training.augment` masks them

    def __init__(
        self,
        model: ClassifierNetwork | Committee,
        *,
        labels: Sequence[str],
        front: Front,
        side: Sequence[SideInput],
        channel: str,
        length_limit_s: float,
        level_db: float | None,
        settings: Mapping[str, Any],
        target: str = "label",
    ) -> None:
        self.device = runtime.device()
        self.model: Any = model.to(self.device).eval()
        self.labels = list(labels)
        self.target = target
        self.front = front
        self.side = tuple(side)
        self.channel = channel
        self.length_limit_s = length_limit_s
        self.level_db = level_db
        self.window_s = length_limit_s or math.inf
        self.settings = dict(settings)
        self.sample_rate_hz = front.sample_rate_hz
        self.temperature = 1.0
        self.side_columns = sum(item.columns for item in side)
        self._index = {label: index for index, label in enumerate(self.labels)}

    def extract(self, samples: np.ndarray) -> torch.Tensor:
        """As the protocol says; `[N, C]` with C channels. What is beyond the length limit falls away.

        Raises:
            UserError: when the clip is empty, shorter than a window, not finite, or lacks the channel.
        """
        return self.front(self.heard(samples))

    def heard(self, samples: np.ndarray) -> np.ndarray:
        """What of a clip's samples `[N]` or `[N, C]` it hears: its channel, up to the length limit, at one loudness."""
        within = select_channel(cut(samples, self.length_limit_s, sample_rate_hz=self.sample_rate_hz), self.channel)
        if self.level_db is None:
            return within
        mono = within if within.ndim == 1 else within.mean(1)
        loudest = peak_rms(mono, self.sample_rate_hz, LOUDNESS_WINDOW_S)
        return within * db_to_gain(self.level_db) / loudest if loudest > 0 else within

    def features_depend_on(self) -> dict[str, Any]:
        heard = {"channel": self.channel, "length_limit_s": self.length_limit_s, "level_db": self.level_db}
        return {**self.front.depends_on(), **heard}

    def with_side(self, features: torch.Tensor, row: Mapping[str, Any]) -> torch.Tensor:
        """Features with the side inputs of their clip, from its raw values by name (missing: `None`).

        Raises:
            ModelError: when the row lacks an input, or a number is none.
        """
        return with_columns(features, encode_row(self.side, row))

    def fit_normalisation(self, features: Sequence[torch.Tensor]) -> None:
        """Learn from the training clips how features are normalised; a pretrained encoder has its own way."""
        for reader in self._spectra_readers():
            reader.fit(self._split(features)[0])

    def normalisation(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and deviation `[F]` of the training clips' features; 0 and 1 where a pretrained encoder has its own."""
        for reader in self._spectra_readers():
            return reader.mean.cpu(), reader.std.cpu()
        return torch.zeros(max(1, self.front.columns)), torch.ones(max(1, self.front.columns))

    def log_probs(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        """Natural logarithm of each label's probability, calibrated, `[B, C]` on the CPU, without gradient."""
        return torch.log_softmax(self.encode(features) / self.temperature, dim=-1)

    def encode(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        """Logarithms of probabilities `[B, C]` on the CPU, before calibration."""
        with torch.inference_mode():
            return self.model(*self._split(features)).cpu()

    def greedy(self, encoded: torch.Tensor) -> list[str]:
        return [self.labels[index] for index in encoded.argmax(-1).tolist()]

    def careful(self, encoded: torch.Tensor) -> list[str]:
        return self.greedy(encoded)

    def sample(self, encoded: torch.Tensor, count: int, *, temperature: float, seeds: Sequence[int]) -> list[list[str]]:
        """As the protocol says; a clip's labels depend on its probabilities and its seed alone."""
        drawn = []
        for log_probs, seed in zip(encoded.double(), seeds, strict=True):
            generator = torch.Generator().manual_seed(seed)
            probabilities = torch.softmax(log_probs / temperature, dim=-1)
            indices = torch.multinomial(probabilities, count, replacement=True, generator=generator)
            drawn.append([self.labels[index] for index in indices.tolist()])
        return drawn

    def can_score(self, text: str) -> bool:
        return text in self._index

    def score(self, features: Sequence[torch.Tensor], texts: Sequence[Sequence[str]]) -> list[TextScores]:
        indices = torch.tensor([self._index_of(text) for group in texts for text in group], dtype=torch.long)
        rows = torch.repeat_interleave(torch.tensor([len(group) for group in texts]))  # row → clip
        # also without gradient: a ratio of what was and what is learned would not be 1 where nothing has changed
        apart = {"apart": True} if isinstance(self.model, Committee) else {}
        log_probs = self.model(*self._split(features), **apart)
        chosen = log_probs[rows.to(log_probs.device), indices.to(log_probs.device)]
        tokens = torch.ones_like(indices)
        return split_scores(TextScores(chosen, tokens, tokens.bool()), texts)

    def save(self, folder: Path) -> None:
        """Write `config.json` and `model.safetensors`; `classifier_files.load_classifier` reads them."""
        pass

        save(self, folder)

    def _spectra_readers(self) -> list[SpectraReader]:
        return [part for part in self.model.modules() if isinstance(part, SpectraReader)]

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

    def _index_of(self, text: str) -> int:
        if text not in self._index:
            raise ModelError(f"label {text!r} is unknown; there are: {', '.join(self.labels)}")
        return self._index[text]


def build(
    labels: Sequence[str],
    *,
    features: Mapping[str, Any],
    encoder: Mapping[str, Any],
    side: Sequence[SideInput] = (),
    channel: str = "average",
    channels: int = 1,
    length_limit_s: float = 7.5,
    level_db: float | None = None,
    target: str = "label",
    configuration: Path | None = None,
) -> AudioClassifier:
    """A classifier with weights from torch's global seed; a pretrained encoder brings its own.

    Args:
        labels: the order of the logits.
        target: what they are of.
        features: the fields of `Spectra`. A pretrained encoder computes its own features and reads none of them.
        encoder: `type`, `members` of a committee, the knobs of that encoder, and those of `Head`.
        channels: how many channels every recording has; only `channel="all"` needs it.
        length_limit_s: what is beyond this many seconds of a clip is not heard; 0: all is.
        level_db: RMS of the loudest 250 ms to which each clip is brought, dBFS; `None` leaves it as loud as it is.
        configuration: a folder with the configuration of a pretrained encoder whose weights come later.

    Raises:
        ModelError: when there are fewer than two labels, one twice, or a setting is not allowed.
    """
    _check(labels, channel, channels, raw=features.get("type") == "raw")
    given = dict(encoder)
    name = str(given.pop("type", None))
    head = Head(**{key: value for key, value in given.items() if key in HEAD_KEYS})
    members = given.pop("members", 1)
    _check_encoder(name, members)
    heads = [head.of_member(number) for number in range(members)]
    readers: list[Sized]
    front: Front
    if name in PRETRAINED:
        reader, front = open_pretrained(
            name, given | {"pooling": heads[0].pooling}, channel=channel, length_limit_s=length_limit_s,
            configuration=configuration,
        )  # fmt: skip
        readers = [reader]
    else:
        front = SpectraFront(Spectra(**features), channels if channel == "all" else 1)
        settings = {key: value for key, value in given.items() if key not in HEAD_KEYS}
        readers = [_spectra_reader(name, front, settings, each) for each in heads]
    return AudioClassifier(
        _network(readers, heads, side, len(labels)),
        labels=labels,
        front=front,
        side=side,
        channel=channel,
        length_limit_s=length_limit_s,
        level_db=level_db,
        settings={"features": dict(features), "encoder": dict(encoder), "channels": channels},
        target=target,
    )


def _network(
    readers: Sequence[Sized], heads: Sequence[Head], side: Sequence[SideInput], classes: int
) -> ClassifierNetwork | Committee:
    networks = [
        ClassifierNetwork(reader, SideEncoder(side), head, classes) for reader, head in zip(readers, heads, strict=True)
    ]
    return networks[0] if len(networks) == 1 else Committee(networks)


def _spectra_reader(name: str, front: SpectraFront, settings: Mapping[str, Any], head: Head) -> SpectraReader:
    spectra, waves = front.spectra, None
    if front.columns == 0:
        shift = whole_samples(spectra.window_shift_in_s, spectra.sample_rate_hz)
        window = whole_samples(spectra.window_length_in_s, spectra.sample_rate_hz)
        waves = Waves(spectra.num_filter_bands, window, shift)
    return SpectraReader(
        name, max(1, front.columns), settings, pooling=head.pooling, waves=waves, planes=front.planes,
        of_levels=front.decibels > 0,
    )  # fmt: skip


def _check_encoder(name: str, members: int) -> None:
    if name not in (*ENCODERS, *PRETRAINED):
        raise ModelError(f"encoder.type: got {name!r}; there are: {', '.join((*ENCODERS, *PRETRAINED))}")
    if members < 1 or (members > 1 and name in PRETRAINED):
        raise ModelError(f"encoder.members: got {members}; allowed: 1 and above, and 1 for a pretrained encoder")


def _check(labels: Sequence[str], channel: str, channels: int, *, raw: bool) -> None:
    twice = sorted({label for label in labels if list(labels).count(label) > 1})
    if twice:
        raise ModelError(f"label {twice[0]!r} occurs twice")
    if len(labels) < 2:
        raise ModelError(f"labels: got {list(labels)}; a classifier needs two or more")
    if raw and channel == "all":
        raise ModelError("channel: all: raw samples have no features that could stand side by side")
    if channels < 1:
        raise ModelError(f"channels: got {channels}; allowed: 1 and above")


# A classifier on disk: `config.json` and `model.safetensors`; beside them what a pretrained encoder needs.


FORMAT = "soundraft-audio-classifier"
VERSION = 1
CONFIG, WEIGHTS, PRETRAINED_FOLDER = "config.json", "model.safetensors", "pretrained"
KEYS = {
    "format", "version", "labels", "target", "features", "encoder", "side", "channel", "channels", "length_limit_s",
    "level_db",
    "temperature",
}  # fmt: skip


def save(classifier: AudioClassifier, folder: Path) -> None:
    """Write everything that `load_classifier` needs; no network is asked when it is read."""
    from safetensors.torch import save as to_bytes

    config = {
        "format": FORMAT,
        "version": VERSION,
        "labels": classifier.labels,
        "target": classifier.target,
        **classifier.settings,
        "side": to_json(classifier.side),
        "channel": classifier.channel,
        "length_limit_s": classifier.length_limit_s,
        "level_db": classifier.level_db,
        "temperature": classifier.temperature,
    }
    folder.mkdir(parents=True, exist_ok=True)
    if hasattr(classifier.front, "save"):
        classifier.front.save(folder / PRETRAINED_FOLDER)
    weights = {name: value.detach().cpu().contiguous() for name, value in classifier.model.state_dict().items()}
    files.write_bytes(folder / WEIGHTS, to_bytes(weights))
    files.write_json(folder / CONFIG, config)


def load_classifier(folder: Path) -> AudioClassifier:
    """Read what `save` wrote.

    Raises:
        ModelError: when a file is missing, was written by another version, or does not fit the others.
    """
    config = _config(folder)
    try:
        classifier = build(
            config["labels"],
            features=config["features"],
            encoder=config["encoder"],
            side=[SideInput(**item) for item in config["side"]],
            channel=config["channel"],
            channels=config["channels"],
            length_limit_s=config["length_limit_s"],
            level_db=config["level_db"],
            target=config["target"],
            configuration=folder / PRETRAINED_FOLDER if (folder / PRETRAINED_FOLDER).is_dir() else None,
        )
    except TypeError as error:  # an unknown or missing field of a settings class
        raise ModelError(f"{folder / CONFIG}: {error}") from error
    classifier.temperature = config["temperature"]
    _load_weights(classifier, folder / WEIGHTS)
    return classifier


def is_classifier(folder: Path) -> bool:
    """Whether `save` wrote this folder."""
    try:
        return json.loads((folder / CONFIG).read_text(encoding="utf-8")).get("format") == FORMAT
    except (OSError, ValueError, AttributeError):
        return False


def _config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    if not path.is_file():
        raise ModelError(f"no classifier in {folder}: it has no {CONFIG}")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{path} is no JSON: {error}") from error
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise ModelError(f"{path} is not of an audio classifier of soundraft")
    if config.get("version") != VERSION:
        raise ModelError(f"{path}: version is {config.get('version')!r}; this program reads {VERSION}")
    if config.keys() != KEYS:
        odd = sorted(config.keys() ^ KEYS)
        raise ModelError(f"{path}: {odd[0]} is {'unknown' if odd[0] in config else 'missing'}")
    kinds = {
        "labels": list, "target": str, "features": dict, "encoder": dict, "side": list, "channel": str, "channels": int
    }  # fmt: skip
    wrong = [key for key, kind in kinds.items() if not isinstance(config[key], kind)]
    wrong += [key for key, least in (("length_limit_s", 0.0), ("temperature", 1e-6)) if not _from(least, config[key])]
    if config["level_db"] is not None and not _from(-200.0, config["level_db"]):
        wrong.append("level_db")
    known = {field.name for field in fields(SideInput)}
    if not wrong and not all(isinstance(item, dict) and item.keys() == known for item in config["side"]):
        wrong = ["side"]
    if wrong:
        raise ModelError(f"{path}: {wrong[0]} cannot be {config[wrong[0]]!r}")
    return config


def _from(least: float, value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value >= least


def _load_weights(classifier: AudioClassifier, path: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load

    if not path.is_file():
        raise ModelError(f"no weights: {path} is missing")
    try:
        weights = load(path.read_bytes())
    except SafetensorError as error:
        raise ModelError(f"{path} cannot be read: {error}") from error
    wanted = {name: tuple(value.shape) for name, value in classifier.model.state_dict().items()}
    got = {name: tuple(value.shape) for name, value in weights.items()}
    odd = sorted(name for name in wanted.keys() | got.keys() if wanted.get(name) != got.get(name))
    if odd:
        raise ModelError(f"{path}: {odd[0]} has shape {got.get(odd[0])}; {CONFIG} asks for {wanted.get(odd[0])}")
    classifier.model.load_state_dict(weights)
