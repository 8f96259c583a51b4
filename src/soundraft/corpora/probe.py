"""What the header of an audio file tells: its length and rate, or why it is none."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import soundfile

from soundraft import files
from soundraft.corpora.findings import Finding, Item
from soundraft.manifest import Clip
from soundraft.parallel import BadClip, Failure, map_clips

BEGINNING_BYTES = 1 << 16
TOLERANCE_S = 0.05  # how far a stated duration may be from the audio's


@dataclass(frozen=True)
class Header:
    duration_s: float
    rate_hz: int


def measure(root: Path, items: Sequence[Item], *, title: str = "open") -> tuple[list[Item], list[Finding]]:
    """The clips with duration and rate as their files have them; what is no audio, or is not as stated, is named."""
    kept, findings = [], []
    for item, found in zip(items, map_clips(Prober(root), [item.clip for item in items], title=title), strict=True):
        if isinstance(found, Failure):
            findings.append(as_finding(item, found.reason))
            continue
        measured = {"duration": round(found.duration_s, 6), "sample_rate": found.rate_hz}
        kept.append(Item(item.place, item.clip.model_copy(update=measured)))
    return kept, findings


class Prober:
    """The header of one clip below a folder; picklable, so that worker processes can have it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __call__(self, clip: Clip) -> Header:
        """Raises BadClip when the file is absent, outside the folder, no audio, empty, or not as long as stated."""
        header = read_header(inside(self.root, clip.audio_path))
        check_duration(clip, header.duration_s)
        return header


def inside(root: Path, relative: str) -> Path:
    if "\0" in relative:
        raise BadClip("path holds a zero byte")
    try:
        return files.inside(root, relative)
    except ValueError as error:
        raise BadClip(str(error)) from error


def read_header(path: Path) -> Header:
    if not path.is_file():
        raise BadClip("a folder, not a file" if path.is_dir() else "no such file")
    if path.stat().st_size == 0:
        raise BadClip("empty file")
    try:
        info = soundfile.info(path)
    except soundfile.LibsndfileError as error:
        raise BadClip(f"not readable as audio: {error.error_string}") from error
    if info.frames == 0:
        raise BadClip("no samples")
    return Header(info.frames / info.samplerate, info.samplerate)


def check_duration(clip: Clip, duration_s: float) -> None:
    if clip.duration is not None and abs(clip.duration - duration_s) > TOLERANCE_S:
        raise BadClip(f"duration {clip.duration:g} s is stated, the audio has {duration_s:.3f} s")


def shared_contents(root: Path, clips: Sequence[Clip]) -> dict[str, str]:
    """By id, a hash of the file of each clip whose bytes another clip has too.

    Only files of one size are opened, and only those with one beginning are read whole.
    """
    alike = _shared({clip.id: str((root / clip.audio_path).stat().st_size) for clip in clips})
    paths = {clip.id: root / clip.audio_path for clip in clips}
    alike = _shared({name: f"{size} {_beginning(paths[name])}" for name, size in alike.items()})
    return _shared({name: files.content_hash(paths[name]) for name in alike})


def _shared(values: dict[str, str]) -> dict[str, str]:
    counts = Counter(values.values())
    return {name: value for name, value in values.items() if counts[value] > 1}


def _beginning(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.sha256(stream.read(BEGINNING_BYTES)).hexdigest()


_CODES = {
    "path leaves": "path_leaves",
    "no such file": "no_file",
    "empty file": "no_samples",
    "no samples": "no_samples",
    "duration": "duration",
}


def as_finding(item: Item, reason: str) -> Finding:
    """A clip's failure as a finding; its code follows from the reason, which all readers of audio share."""
    code = next((code for start, code in _CODES.items() if reason.startswith(start)), "unreadable")
    return Finding(item.place, code, "error", reason, item.clip.id)
