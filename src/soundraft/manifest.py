"""The row that describes one clip, its JSONL form, and the list of rejected clips."""

import json
import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_args

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, field_validator

from soundraft import files
from soundraft.runtime import UserError
from soundraft.tables import below

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
MANIFEST_NAME = "manifest.jsonl"
QUARANTINE_NAME = "quarantine.jsonl"
RECORDINGS = (  # what people keep recordings in
    ".8svx", ".aac", ".aif", ".aifc", ".aiff", ".amr", ".au", ".avr", ".caf", ".flac", ".htk", ".ircam", ".m4a", ".mp2",
    ".mp3", ".mp4", ".nist", ".oga", ".ogg", ".opus", ".paf", ".pvf", ".rf64", ".sd2", ".sf", ".snd", ".sph", ".spx",
    ".svx", ".voc", ".w64", ".wav", ".webm", ".wma",
)  # fmt: skip
_log = logging.getLogger(__name__)


class Clip(BaseModel):
    """One recording. `audio_path` is relative to the manifest's folder; absent values are left out."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True, allow_inf_nan=False)

    id: str = Field(min_length=1)
    audio_path: str = Field(min_length=1, validation_alias=AliasChoices("audio_path", "audio_filepath"))
    text: str | None = None
    label: str | None = None
    duration: float | None = Field(default=None, ge=0, description="seconds")
    sample_rate: int | None = Field(default=None, gt=0, description="Hz")
    speaker: str | None = None
    split: Split | None = None
    task: str = "asr"
    target_path: str | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)

    @field_validator("audio_path", "target_path")
    @classmethod
    def _stays_inside(cls, value: str | None) -> str | None:
        if value is not None:
            path = PurePosixPath(value.replace("\\", "/"))
            if path.is_absolute() or ".." in path.parts:
                raise ValueError(f"path leaves its folder: {value!r}")
        return value

    def row(self) -> dict[str, Any]:
        return self.model_dump(exclude_none=True, exclude=None if self.metadata else {"metadata"})


@dataclass(frozen=True)
class Rejected:
    """A clip that cannot be used, and why. `path` is what the source called it."""

    id: str
    path: str
    reason: str


class ManifestError(UserError):
    """A manifest that cannot be used; the message lists every bad line."""


def parse_manifest(path: Path) -> tuple[list[Clip], list[Rejected]]:
    """The clips of any manifest, and its bad lines with their reason."""
    rows: list[tuple[str, dict[str, Any]]] = []
    rejected: list[Rejected] = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        place = f"{path.name}:{number}"
        if not line.strip():
            continue
        try:
            row = json.loads(line.decode("utf-8"))
            if not isinstance(row, dict):
                raise ValueError("no object")
            rows.append((place, row))
        except ValueError as error:
            rejected.append(Rejected(place, place, f"not a JSON object in UTF-8: {error}"))
    clips, invalid = parse_rows(rows)
    return clips, rejected + invalid


def parse_rows(rows: Iterable[tuple[str, dict[str, Any]]]) -> tuple[list[Clip], list[Rejected]]:
    """Validate rows, each with the name of its place in the source.

    Of two rows with one id the first is kept. A row without an id is named after its audio path.
    """
    clips: dict[str, Clip] = {}
    rejected: list[Rejected] = []
    for place, row in rows:
        name = str(row.get("id") or row.get("audio_path") or row.get("audio_filepath") or place)
        try:
            clip = Clip.model_validate({"id": name} | row)
        except ValidationError as error:
            rejected.append(Rejected(name, place, problems(error)))
            continue
        if clip.id in clips:
            rejected.append(Rejected(name, place, "duplicate id: an earlier row has it"))
        else:
            clips[clip.id] = clip
    return list(clips.values()), rejected


def read_manifest(path: Path) -> list[Clip]:
    """Read a manifest of ours, sorted by id.

    Raises:
        ManifestError: when a line is malformed or an id stands twice; all bad lines are named.
    """
    if not path.is_file():
        raise ManifestError(f"{path}: no such manifest")
    clips, rejected = parse_manifest(path)
    if rejected:
        raise ManifestError("\n".join(f"{path.parent / bad.path}: {bad.reason}" for bad in rejected))
    return sorted(clips, key=lambda clip: clip.id)


def write_manifest(folder: Path, clips: Iterable[Clip], rejected: Iterable[Rejected]) -> None:
    """Write `manifest.jsonl`, sorted by id, and beside it `quarantine.jsonl`, empty when none was rejected."""
    rows = sorted(clips, key=lambda clip: clip.id)
    files.write_jsonl(folder / MANIFEST_NAME, (clip.row() for clip in rows))
    bad = sorted(rejected, key=lambda item: (item.id, item.path))
    files.write_jsonl(folder / QUARANTINE_NAME, (vars(item) for item in bad))


def find_clips(
    folder: Path, suffixes: Sequence[str], *, chosen: Sequence[str] | None = None, recursive: bool = True
) -> list[Clip]:
    """The clips of a folder: those of its manifest, else every audio file in it and below, named by its path.

    Args:
        chosen: endings, in any case, to take alone, also of what a manifest names.
        recursive: clips in nested folders too, also of what a manifest names.
    """
    if (folder / MANIFEST_NAME).is_file():
        clips = read_manifest(folder / MANIFEST_NAME)
        endings = tuple(ending.lower() for ending in chosen or [""])
        return [
            clip for clip in clips
            if clip.audio_path.lower().endswith(endings) and (recursive or "/" not in clip.audio_path)
        ]  # fmt: skip
    if not folder.is_dir():
        raise UserError(f"no such folder: {folder}")
    return [Clip(id=path, audio_path=path) for path in audio_names(folder, chosen or suffixes, recursive=recursive)]


def audio_names(folder: Path, suffixes: Collection[str], *, recursive: bool = True) -> list[str]:
    """The audio files in a folder and below, sorted, each as its path there.

    A line of the log counts what is not taken, by reason: other audio files, links to nowhere, names that no table can
    hold.
    """  # fmt: skip
    wanted = tuple(suffix.lower() for suffix in suffixes)
    found, left = files.sift(folder, {*wanted, *RECORDINGS}, recursive=recursive)
    names = []
    for name in found:
        if not name.lower().endswith(wanted):
            left.setdefault(f"ending .{name.rpartition('.')[2].lower()}", []).append(name)
        elif not files.is_utf8(name):
            left.setdefault("names that are not UTF-8", []).append(name)
        else:
            names.append(name)
    if left:
        counts = (f"{reason}: {len(each)} ({each[0]!a}{', …' * (len(each) > 1)})" for reason, each in left.items())
        _log.warning("%s: not taken: %s", folder, "; ".join(counts))
    return names


class TooManyBad(UserError):
    """More clips are bad than `limits.max_bad_fraction` allows."""


def check_bad_fraction(good: int, rejected: list[Rejected], max_bad_fraction: float) -> None:
    """Raise TooManyBad, with the first reasons, when the rejected share is above the limit or nothing is left."""
    total = good + len(rejected)
    if total == 0:
        raise TooManyBad("there are no clips")
    if good and len(rejected) <= max_bad_fraction * total:
        return
    limit = f"; limits.max_bad_fraction allows {max_bad_fraction:.1%}" if max_bad_fraction < 1 else ""
    raise TooManyBad(f"{len(rejected)} of {total} clips are bad{limit}{listed(rejected)}")


def no_clips(source: object, rejected: Sequence[Rejected]) -> UserError:
    """The error of a source in which no clip is left; it names the first reason."""
    first = f": {len(rejected)} rejected, first {rejected[0].path}: {rejected[0].reason}" if rejected else ""
    return UserError(f"{source}: no clips{first}")


def listed(rejected: Iterable[Rejected]) -> str:
    """The first ones, each on a line of its own below a message."""
    return below(f"{bad.path}: {bad.reason}" for bad in rejected)


def problems(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, item['loc']))}: {item['msg'].removeprefix('Value error, ')}" for item in error.errors()
    )
