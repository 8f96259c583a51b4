"""The one type of clips: what a model is trained on, validated on and asked about, whatever the source."""

import ast
import json
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from soundraft.audio import io
from soundraft.clips.batches import Utterances
from soundraft.clips.features import FeatureCache
from soundraft.dataset import table
from soundraft.files import content_of
from soundraft.manifest import Rejected, Split
from soundraft.parallel import BadClip, progress_over
from soundraft.runtime import UserError

GROUPS = ("speaker", "gender", "age", "accent", "language", "session", "fold")  # by which results are also shown
OF_DATASET = ("id", "wav", "metadata", "label", "speaker", "text", "duration")  # columns of a dataset of ours
Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Reading:
    """What is read of each clip.

    Attributes:
        target: the fact that is the target; `None` where it need not be known.
        audio: the column with the audio, where the data has it; else it is one of the usual names.
        columns: by the name that a fact shall have, the column that has it.
        numbers: those facts that are numbers.
        split: the column that has the split of each clip, where there is one.
        drop: rows are dropped whose cell is empty in these: audio, target.
        several: where the target of a clip may be several labels, what stands between them in a text; else empty.
    """

    target: str | None = None
    audio: str = "audio"
    columns: Mapping[str, str] = field(default_factory=dict)
    numbers: Sequence[str] = ()
    split: str = "split"
    drop: Sequence[str] = ()
    several: str = ""

    def record(self) -> dict[str, Any]:
        """As a run keeps it."""
        return {name: value for name, value in asdict(self).items() if name != "several" or value}


@dataclass(frozen=True)
class Clips:
    """Clips of one split; parallel.

    Attributes:
        audio: index → the bytes of the audio file.
        facts: what is known of each clip by name, such as text, label, speaker, duration (s); unknown values are left
            out.
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
        """The target of each clip as text, `None` where it is not known; UserError as `values`."""
        return [label_of(value) for value in self.values(target)]

    def known_labels(self, target: str) -> list[str]:
        """The targets of those clips whose target is known; UserError as `values`."""
        return [label for label in self.labels(target) if label is not None]

    def contents(self) -> list[str | None]:
        """A hash of the audio of each clip, `None` where it cannot be read."""
        found: list[str | None] = []
        for index in progress_over(range(len(self)), total=len(self), title="hash of each recording", unit="clip"):
            try:
                found.append(content_of(self.audio(index)))
            except (BadClip, FileNotFoundError):
                found.append(None)
        return found

    def part(self, indices: Sequence[int]) -> "Clips":
        """These clips, in this order."""
        chosen = list(indices)
        return Clips(
            [self.ids[index] for index in chosen],
            lambda place: self.audio(chosen[place]),
            [self.facts[index] for index in chosen],
            None if self.paths is None else [self.paths[index] for index in chosen],
        )

    def by_split(self, splits: Sequence[Split | None]) -> dict[Split, "Clips"]:
        """The clips of each split that has some."""
        places: dict[Split, list[int]] = {}
        for place, split in enumerate(splits):
            if split is not None:
                places.setdefault(split, []).append(place)
        return {split: self.part(own) for split, own in places.items()}

    def sorted(self) -> "Clips":
        """By id: then the order in which a source lists its clips changes no weight."""
        return self.part(sorted(range(len(self)), key=lambda place: self.ids[place]))

    def joined(self, other: "Clips") -> "Clips":
        """These clips and then others, whose ids must be different ones."""
        first = len(self)
        return Clips(
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


def from_dataset(folder: Path, split: str, *, codes: bool = False) -> Clips:
    """The clips of one split of a dataset that s5 built.

    Args:
        codes: whether its tokens are facts, too: `codes`, int16 `[T, K]`, where the tables hold them.

    Raises:
        UserError: when the split is damaged, or has no audio.
    """
    rows = table.read_table(folder / split, () if codes else OF_DATASET)
    tokens = table.matrices(rows.column("codes")) if codes and "codes" in rows.column_names else []
    rows = rows.select(OF_DATASET)
    waves, facts = rows.column("wav"), []
    if len(rows) and waves.null_count == len(rows):
        raise UserError(f"{folder / split} holds tokens without audio: build it with --wav-root")
    for row in rows.drop_columns(["wav"]).to_pylist():
        name, metadata = row.pop("id"), row.pop("metadata")
        try:
            facts.append(present({**json.loads(metadata or "{}"), **row}))
        except (ValueError, TypeError) as error:
            raise UserError(f"{folder / split} is damaged: the metadata of clip {name} is no JSON object") from error
    for own, matrix in zip(facts, tokens, strict=False):
        own["codes"] = matrix

    def audio(index: int) -> bytes:
        wav = waves[int(index)].as_py() or {}
        if not wav.get("bytes"):
            raise BadClip("no audio")
        found: bytes = wav["bytes"]
        return found

    return Clips(rows.column("id").to_pylist(), audio, facts)


@dataclass(frozen=True)
class Featurizer:
    """How a model's features come from audio.

    Attributes:
        compute: samples `[N, C]` and their rate in Hz → features `[T, F]` or `[T]`; they are kept in the cache.
        depends: what `compute` depends on: its settings and the versions of its libraries.
        finish: features and the clip's facts → the features that the model takes.
        answer: features and the clip's facts → the target, where that is made of the audio, as the codes of speech are.
        known: facts → features that they hold already, `None` where they hold none.
    """

    compute: Callable[[np.ndarray, int], torch.Tensor]
    depends: Mapping[str, Any]
    finish: Callable[[torch.Tensor, Facts], torch.Tensor] = lambda features, _: features
    answer: Callable[[torch.Tensor, Facts], Any] | None = None
    known: Callable[[Facts], torch.Tensor | None] = lambda _: None


@dataclass(frozen=True)
class Loaded:
    """Clips with features, those that can be used; parallel, but for `rejected`.

    Attributes:
        copies: the features of perturbed copies of the clips, one `Utterances` a perturbation.
        durations_s: lengths in seconds.
        rejected: the clips that cannot be used, with the reason.
        has_targets: whether the targets are known, so that answers can be scored.
    """

    clips: Clips
    utterances: Utterances
    copies: list[Utterances]
    durations_s: list[float]
    rejected: list[Rejected]
    has_targets: bool = True


def load(clips: Clips, featurizers: Sequence[Featurizer], *, target: Callable[[Facts], Any], title: str) -> Loaded:
    """Features of every clip, from the cache where they were made before; only the features stay in memory.

    A warning counts the clips that are practically silent, of those whose features are made now.

    Args:
        featurizers: of the clips, and after it of perturbed copies of them.
        target: what a clip's facts make its target; a clip for which it is `None` is rejected.
    """
    made = [Utterances([], [], []) for _ in featurizers]
    kept, durations_s, rejected = [], [], []
    silent: set[str] = set()
    quiet = []
    with ExitStack() as stack:
        caches = [stack.enter_context(_cache(featurizer, silent)) for featurizer in featurizers]
        for index in progress_over(range(len(clips)), total=len(clips), title=f"features {title}", unit="clip"):
            name, facts = clips.ids[index], clips.facts[index]
            try:
                wanted = target(facts)
                if wanted is None:
                    raise BadClip("no target")
                audio = clips.audio(index)
                content = content_of(audio)
                computed = [
                    cache.of(audio, content) if (known := featurizer.known(facts)) is None else known
                    for featurizer, cache in zip(featurizers, caches, strict=True)
                ]
                if featurizers[0].answer is not None:
                    wanted = featurizers[0].answer(computed[0], facts)
                features = [
                    featurizer.finish(each, facts) for featurizer, each in zip(featurizers, computed, strict=True)
                ]
                duration_s = facts.get("duration") or io.duration_s(audio)
            except (BadClip, UserError, FileNotFoundError) as error:  # also a clip longer than the model's window
                reason = "no such file" if isinstance(error, FileNotFoundError) else str(error)
                rejected.append(Rejected(name, clips.paths[index] if clips.paths else name, reason))
                continue
            for out, own in zip(made, features, strict=True):
                out.add(name, wanted, own)
            kept.append(index)
            durations_s.append(float(duration_s))
            if content in silent:
                quiet.append(name)
    if quiet:
        warnings.warn(f"{title}: {len(quiet)} clips are practically silent, such as {quiet[0]}", stacklevel=2)
    return Loaded(clips.part(kept), made[0], made[1:], durations_s, rejected)


def _cache(featurizer: Featurizer, silent: set[str]) -> FeatureCache:
    """`silent` gets the hash of each practically silent file whose features are made."""

    def compute(audio: bytes) -> torch.Tensor:
        samples, rate_hz = io.parse(audio)
        if io.is_silent(samples):
            silent.add(content_of(audio))
        return featurizer.compute(samples, rate_hz)

    return FeatureCache(featurizer.depends, compute)


def label_of(value: Any) -> str | None:
    """A fact as a label; what a table leaves empty, NaN too, is none."""
    empty = value is None or str(value).strip() == "" or (isinstance(value, float) and math.isnan(value))
    return None if empty else str(value)


def label_set_of(value: Any, separator: str) -> tuple[str, ...] | None:
    """A fact as the sorted labels of a clip: a list, or a text with a separator, or a list as a text, such as ['a'].

    Nothing is known where there is no value; an empty list is a clip without any label.

    Raises:
        UserError: when it is none of these.
    """
    if isinstance(value, str) and value.strip().startswith("["):
        try:
            value = ast.literal_eval(value.strip())
        except (ValueError, SyntaxError) as error:
            raise UserError(f"{value!r:.80} is no list of labels: {error}") from error
    if isinstance(value, Mapping):
        raise UserError(f"{value!r:.80} is no list of labels")
    if not isinstance(value, list | tuple | set | frozenset):
        if label_of(value) is None:
            return None
        value = str(value).split(separator)
    return tuple(sorted({label.strip() for each in value if (label := label_of(each)) is not None}))


def present(facts: Facts) -> dict[str, Any]:
    """Without what is not known."""
    return {name: value for name, value in facts.items() if value is not None and value != ""}
