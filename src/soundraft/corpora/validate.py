"""What is wrong with somebody's recordings, line by line: a folder, a list, or an archive of them.

Errors are what `fetch`, or s1 after it, would set aside or refuse; warnings are what both would take.
"""

import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from soundraft import files
from soundraft.audio import io
from soundraft.corpora import archive, probe
from soundraft.corpora.columns import Columns
from soundraft.corpora.findings import Finding, Item, SourceError
from soundraft.corpora.folder import Source, read_source
from soundraft.corpora.lists import JSON_SUFFIXES, LIST_SUFFIXES
from soundraft.dataset.splits import assign_splits
from soundraft.manifest import SPLITS, Clip
from soundraft.parallel import Failure, map_clips

__all__ = ["Finding", "validate"]


@dataclass(frozen=True)
class Heard:
    """What decoding a clip tells."""

    rate_hz: int
    content: str


def validate(path: Path, *, columns: Mapping[str, str] | None = None, labels: Sequence[str] = ()) -> list[Finding]:
    """Everything that is wrong, sorted by file and line.

    Args:
        path: a folder, a list of recordings, or an archive.
        columns: the list's column for each of ours that it names otherwise.
        labels: those that may occur; empty: all.
    """
    asked = Columns(columns or {}, tuple(labels))
    if not path.exists():
        return [Finding(str(path), "no_file", "error", "no such file or folder")]
    try:
        findings = _archive(path, asked) if archive.is_archive(path) else _recordings(path, asked)
    except SourceError as error:
        findings = [error.finding]
    return sorted(findings, key=_order)


def _order(finding: Finding) -> tuple[str, int, str, str]:
    """Lines of a file by their number, not as text."""
    name, _, line = finding.place.rpartition(":")
    return (name, int(line), finding.code, "") if line.isdecimal() else ("", 0, finding.place, finding.code)


def _archive(path: Path, asked: Columns) -> list[Finding]:
    """The entries; when they are in order, what they hold."""
    found = archive.members(path)
    refused = archive.check(path, found)
    if refused:
        return refused
    wanted = [member.name for member in found if archive.is_wanted(member.name, _SUFFIXES) and member.kind == "file"]
    with tempfile.TemporaryDirectory(prefix="soundraft-") as scratch:
        folder = Path(scratch, path.name)
        archive.unpack(path, folder, suffixes=_SUFFIXES, prefix=_top(wanted))
        folder.mkdir(exist_ok=True)
        return _recordings(folder, asked)


_SUFFIXES = (*io.AUDIO_SUFFIXES, *LIST_SUFFIXES, *JSON_SUFFIXES)


def _top(names: Sequence[str]) -> str:
    """The folder that all files of an archive are in, with its slash, or nothing."""
    tops = {name.partition("/")[0] + "/" if "/" in name else "" for name in names}
    return tops.pop() if len(tops) == 1 else ""


def _recordings(path: Path, asked: Columns) -> list[Finding]:
    source = read_source(path, asked)
    clips = [item.clip for item in source.items]
    heard: list[tuple[Item, Heard]] = []
    findings = list(source.findings)
    for item, result in zip(source.items, map_clips(Listener(source.root), clips, title="listen"), strict=True):
        if isinstance(result, Failure):
            findings.append(probe.as_finding(item, result.reason))
        else:
            heard.append((item, result))
    findings += _mixed_rates(heard) + _same_audio(heard) + _divided_groups(source.items)
    findings += _empty_splits(path.name or str(path), source.items)
    return findings + (_unlisted(source) if path.is_dir() else [])


class Listener:
    """Decodes one clip below a folder; picklable, so that worker processes can have it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __call__(self, clip: Clip) -> Heard:
        """Raises BadClip for all that keeps a clip from being used."""
        path = probe.inside(self.root, clip.audio_path)
        samples, rate_hz = io.read(path)
        probe.check_duration(clip, len(samples) / rate_hz)
        if clip.target_path:
            probe.read_header(probe.inside(self.root, clip.target_path))
        return Heard(rate_hz, files.content_hash(path))


def _mixed_rates(heard: Iterable[tuple[Item, Heard]]) -> list[Finding]:
    """A note on each clip whose rate is not the one that most have."""
    by_rate: dict[int, list[Item]] = defaultdict(list)
    for item, sound in heard:
        by_rate[sound.rate_hz].append(item)
    usual_hz = max(by_rate, key=lambda rate_hz: len(by_rate[rate_hz]), default=0)
    return [
        Finding(item.place, "mixed_rates", "warning", f"{rate_hz} Hz; most clips have {usual_hz} Hz", item.clip.id)
        for rate_hz, items in by_rate.items()
        if rate_hz != usual_hz
        for item in items
    ]


def _same_audio(heard: Iterable[tuple[Item, Heard]]) -> list[Finding]:
    """A note on each clip whose file has the bytes of an earlier one's; worse when the two are annotated otherwise."""
    first: dict[str, Item] = {}
    findings = []
    for item, sound in heard:
        other = first.setdefault(sound.content, item)
        if other is item:
            continue
        told = f"the audio of {other.place}"
        if (item.clip.text, item.clip.label) != (other.clip.text, other.clip.label):
            told += ", with another text or label"
        if item.clip.split != other.clip.split:
            told += f", which is in split {other.clip.split or 'none'}, this one in {item.clip.split or 'none'}"
        findings.append(Finding(item.place, "duplicate_audio", "warning", told, item.clip.id))
    return findings


def _divided_groups(items: Iterable[Item]) -> list[Finding]:
    """A note where a speaker, or a source recording, first stands in a second split."""
    first: dict[tuple[str, str], dict[str, Item]] = defaultdict(dict)
    findings = []
    for item in (item for item in items if item.clip.split):
        split = item.clip.split or ""
        for kind, name in (("speaker", item.clip.speaker), ("source", item.clip.metadata.get("source"))):
            known = first[kind, str(name)]
            if name not in (None, "") and split not in known:
                if known:
                    other = next(iter(known.values()))
                    told = f"{kind} {name} is in split {split}; {other.place} has it in {other.clip.split}"
                    findings.append(Finding(item.place, f"divided_{kind}", "warning", told, item.clip.id))
                known[split] = item
    return findings


def _empty_splits(place: str, items: Iterable[Item]) -> list[Finding]:
    """A note on each split that would be empty."""
    drawn = {clip.split for clip in assign_splits([item.clip for item in items], seed=0)}
    reason = "no clip is in split {}, and no group of clips (speaker, source recording, text) is left for it"
    return [Finding(place, "empty_split", "warning", reason.format(split)) for split in SPLITS if split not in drawn]


def _unlisted(source: Source) -> list[Finding]:
    """A note on each audio file that no line names, whether the line is good or bad."""
    return [
        Finding(name, "unlisted_file", "warning", "no line names this file")
        for name in files.sorted_names(source.root, io.AUDIO_SUFFIXES)
        if name not in source.named
    ]
