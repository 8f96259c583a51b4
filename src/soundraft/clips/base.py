"""Clips with what is known of each, whatever they come from, and their features for a classifier."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soxr
import torch

from soundraft.audio import io
from soundraft.audio.spectra import whole_samples
from soundraft.clips.batches import Utterances, open_split
from soundraft.clips.features import FeatureCache, content_of
from soundraft.manifest import Rejected, Split
from soundraft.models.classifier import AudioClassifier
from soundraft.parallel import BadClip, progress_over
from soundraft.runtime import UserError

GROUPS = ("speaker", "gender", "age", "accent", "language", "session", "fold")  # by which results are also shown


@dataclass(frozen=True)
class LabelledClips:
    """Clips of one split; parallel.

    Attributes:
        audio: index → the bytes of the audio file.
        facts: what is known of each clip by name, such as label, speaker, gender; what is not known is left out.
        paths: of the audio files; `None` where clips have none of their own.
    """

    ids: list[str]
    audio: Callable[[int], bytes]
    facts: list[dict[str, Any]]
    paths: list[str] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def values(self, name: str) -> list[Any]:
        """The value of each clip, `None` where it is not known.

        Raises:
            UserError: when no clip has it.
        """
        found = [facts.get(name) for facts in self.facts]
        if self.facts and all(value is None for value in found):
            known = sorted({key for facts in self.facts for key in facts})
            raise UserError(f"no clip has a {name}; there is {', '.join(known) or 'nothing'}")
        return found

    def labels(self, target: str) -> list[str | None]:
        """What is told of each clip, as text; `None` where nobody knows.

        Raises:
            UserError: when it is known of no clip.
        """
        return [label_of(value) for value in self.values(target)]

    def known_labels(self, target: str) -> list[str]:
        """What is told of the clips of which it is known; UserError as `labels`."""
        return [label for label in self.labels(target) if label is not None]

    def contents(self) -> list[str | None]:
        """What tells the audio of each clip from all other, whatever its file is called; `None` where there is none."""
        found: list[str | None] = []
        for index in progress_over(range(len(self)), total=len(self), title="which clips these are", unit="clip"):
            try:
                found.append(content_of(self.audio(index)))
            except (BadClip, FileNotFoundError):
                found.append(None)
        return found

    def part(self, indices: Sequence[int]) -> "LabelledClips":
        """These clips, in this order."""
        chosen = list(indices)
        return LabelledClips(
            [self.ids[index] for index in chosen],
            lambda place: self.audio(chosen[place]),
            [self.facts[index] for index in chosen],
            None if self.paths is None else [self.paths[index] for index in chosen],
        )

    def joined(self, other: "LabelledClips") -> "LabelledClips":
        """These clips and then others, whose ids must be different ones."""
        first = len(self)
        return LabelledClips(
            self.ids + other.ids,
            lambda place: self.audio(place) if place < first else other.audio(place - first),
            self.facts + other.facts,
            None if self.paths is None or other.paths is None else self.paths + other.paths,
        )

    def groups(self, *, but: str) -> dict[str, list[str | None]]:
        """What results can be shown by: of `GROUPS` those that clips have, without the target itself."""
        found = {}
        for name in GROUPS:
            values = [facts.get(name) for facts in self.facts]
            if name != but and any(value is not None for value in values):
                found[name] = [None if value is None else str(value) for value in values]
        return found


@dataclass(frozen=True)
class Heard:
    """Clips with features: those that could be read, and the others with the reason.

    Attributes:
        contents: id → `content_of` the clip's audio.
        longer: how many of the clips are longer than the classifier hears.
    """

    clips: LabelledClips
    utterances: Utterances
    rejected: list[Rejected]
    contents: dict[str, str] = field(default_factory=dict)
    longer: int = 0


def from_dataset(folder: Path, split: Split) -> LabelledClips:
    """The clips of a dataset that s5 built."""
    table = open_split(folder, split)
    facts = [
        _present(json.loads(metadata) if metadata else {})
        | _present({"label": label, "speaker": speaker, "text": text})
        for label, speaker, text, metadata in zip(
            *(table[name] for name in ("label", "speaker", "text", "metadata")), strict=True
        )
    ]
    waves = table.select_columns("wav")
    return LabelledClips(list(table["id"]), lambda index: waves[int(index)]["wav"]["bytes"], facts)


def hear(clips: LabelledClips, classifier: AudioClassifier, *, target: str | None, title: str) -> Heard:
    """Features of every clip, from the cache where they were made before; side inputs join them afterwards.

    What is told of a clip does not depend on the others: a side input that none of them has is missing in each.

    Args:
        target: the fact that becomes the text of a clip; a clip without it is set aside. `None`: texts are empty.
    """

    def compute(data: bytes) -> torch.Tensor:
        return compute_features(classifier, *io.parse(data))

    depends = {**classifier.features_depend_on(), "sample_rate_hz": classifier.sample_rate_hz, "soxr": soxr.__version__}
    out, kept, rejected = Utterances([], [], []), [], []
    contents, longer = {}, 0
    with FeatureCache(depends, compute) as cache:
        for index in progress_over(range(len(clips)), total=len(clips), title=title, unit="clip"):
            facts = clips.facts[index]
            try:
                label = "" if target is None else label_of(facts.get(target))
                if label is None:
                    raise BadClip(f"no {target}")
                audio = clips.audio(index)
                content = content_of(audio)
                features = classifier.with_side(cache.of(audio, content), inputs_of(facts, classifier))
                longer += _is_longer(audio, classifier.length_limit_s)
            except (BadClip, UserError, FileNotFoundError) as error:
                path = clips.paths[index] if clips.paths else clips.ids[index]
                reason = "no such file" if isinstance(error, FileNotFoundError) else str(error)
                rejected.append(Rejected(clips.ids[index], path, reason))
                continue
            kept.append(index)
            contents[clips.ids[index]] = content
            out.ids.append(clips.ids[index])
            out.texts.append(label)
            out.features.append(features)
    return Heard(clips.part(kept), out, rejected, contents, longer)


def cut_short(classifier: AudioClassifier, *heard: Heard) -> list[str]:
    """How many clips are longer than the classifier hears, in words; nothing where none is."""
    longer, limit_s = sum(each.longer for each in heard), classifier.length_limit_s
    count = sum(len(each.clips) for each in heard)
    are = "is" if longer == 1 else "are"
    note = f"{longer:,} of {count:,} clips {are} longer than {limit_s:g} s: only the first {limit_s:g} s are heard"
    return [note] if longer else []


def _is_longer(audio: bytes, limit_s: float) -> bool:
    if limit_s in (0, math.inf):  # no limit
        return False
    samples, rate_hz = io.length(audio)
    return samples > whole_samples(limit_s, rate_hz)


def compute_features(classifier: AudioClassifier, samples: np.ndarray, rate_hz: int) -> torch.Tensor:
    """Samples `[N, C]` at any rate → the features of the classifier, without side inputs.

    Raises:
        BadClip: when every sample is 0, or all channels are heard and there are more or fewer of them than in training.
        UserError: as `AudioClassifier.extract`.
    """
    if len(samples) and not samples.any():
        raise BadClip("silent: every sample is 0")
    features = classifier.extract(resampled(classifier, samples, rate_hz))
    if features.ndim == 2 and features.shape[1] != classifier.front.columns:
        wanted = classifier.settings["channels"]
        raise BadClip(
            f"number of channels is {samples.shape[1]}; channel: all needs the {wanted} of the training clips"
        )
    return features


def resampled(classifier: AudioClassifier, samples: np.ndarray, rate_hz: int) -> np.ndarray:
    """Samples `[N, C]` at the classifier's rate, `[N]` of one channel."""
    mono = samples if samples.shape[1] > 1 else samples[:, 0]
    return io.resample(mono, rate_hz, classifier.sample_rate_hz)


def inputs_of(facts: Mapping[str, Any], classifier: AudioClassifier) -> dict[str, Any]:
    """The raw values of a classifier's side inputs; `None` where they are not known."""
    return {item.name: facts.get(item.name) for item in classifier.side}


def label_of(value: Any) -> str | None:
    """A fact as a label; what a table leaves empty, NaN too, is none."""
    empty = value is None or str(value).strip() == "" or (isinstance(value, float) and math.isnan(value))
    return None if empty else str(value)


def _present(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if value is not None and value != ""}
