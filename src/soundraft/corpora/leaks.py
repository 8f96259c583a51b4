"""Whether the splits of a corpus are apart: no speaker, no source recording, no audio, no text in two of them."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from soundraft import files
from soundraft.audio import io
from soundraft.manifest import SPLITS, Clip, Rejected, Split
from soundraft.parallel import Failure, map_clips
from soundraft.runtime import UserError

Kind = Literal["speaker", "source", "audio", "text"]


@dataclass(frozen=True)
class Leak:
    """One value that several splits share, and the ids of their clips that have it."""

    kind: Kind
    value: str
    clips: Mapping[Split, list[str]]


@dataclass(frozen=True)
class Check:
    """What one kind of value says about the splits.

    Attributes:
        known: how many clips have such a value; of the others nothing is proved.
        different: how many different values each split has.
    """

    kind: Kind
    known: int
    different: Mapping[Split, int]
    leaks: list[Leak]


def examine(clips: Sequence[Clip], root: Path, *, texts: bool) -> tuple[list[Check], list[Rejected]]:
    """Compare the splits of a corpus, and name the clips whose audio cannot be read.

    Two clips have the same audio when their decoded samples and their rate are the same, whatever the file format.

    Args:
        root: the folder that the clips' paths count from.
        texts: compare the texts too, without case and punctuation.

    Raises:
        UserError: when a clip has no split.
    """
    homeless = [clip.id for clip in clips if clip.split is None]
    if homeless:
        raise UserError(f"{len(homeless)} of {len(clips)} clips have no split, {homeless[0]} among them")
    hashes, unreadable = _hash_audio(clips, root)
    checks = [
        _check("speaker", clips, lambda clip: clip.speaker),
        _check("source", clips, lambda clip: clip.metadata.get("source")),
        _check("audio", clips, lambda clip: hashes.get(clip.id)),
    ]
    if texts:
        from soundraft.metrics.text import basic

        checks.append(_check("text", clips, lambda clip: None if clip.text is None else basic(clip.text)))
    return checks, unreadable


def _check(kind: Kind, clips: Sequence[Clip], value_of: Callable[[Clip], object]) -> Check:
    groups: dict[str, dict[Split, list[str]]] = defaultdict(lambda: defaultdict(list))
    known = 0
    for clip in clips:
        value = value_of(clip)
        if value is not None and value != "" and clip.split is not None:
            known += 1
            groups[str(value)][clip.split].append(clip.id)
    different = {split: sum(split in group for group in groups.values()) for split in SPLITS}
    leaks = [
        Leak(kind, value, {split: group[split] for split in SPLITS if split in group})
        for value, group in sorted(groups.items())
        if len(group) > 1
    ]
    return Check(kind, known, different, leaks)


def _hash_audio(clips: Sequence[Clip], root: Path) -> tuple[dict[str, str], list[Rejected]]:
    hashes: dict[str, str] = {}
    unreadable = []
    results = map_clips(partial(audio_hash, root), [clip.audio_path for clip in clips], title="compare audio")
    for clip, result in zip(clips, results, strict=True):
        if isinstance(result, Failure):
            unreadable.append(Rejected(clip.id, clip.audio_path, result.reason))
        else:
            hashes[clip.id] = result
    return hashes, unreadable


def audio_hash(root: Path, audio_path: str) -> str:
    """A hash of what a file sounds like: its rate, channels and decoded samples."""
    samples, rate_hz = io.read(files.inside(root, audio_path))
    digest = hashlib.sha256(f"{rate_hz} {samples.shape[1]} ".encode())
    digest.update(samples.tobytes())
    return digest.hexdigest()
