"""What is wrong with somebody's recordings, line by line: a folder, a list, or an archive of them.

Errors are what `fetch`, or s1 after it, would set aside or refuse; warnings are what both would take.
"""

import hashlib
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile

from soundraft import files
from soundraft.audio import io
from soundraft.corpora import archive, recordings
from soundraft.corpora.lists import JSON_SUFFIXES, LIST_SUFFIXES, Columns, Finding, Item, SourceError
from soundraft.corpora.recordings import Source, read_source
from soundraft.manifest import SPLITS, Clip, Rejected, Split
from soundraft.parallel import BadClip, Failure, map_clips
from soundraft.runtime import UserError
from soundraft.splits import assign_splits

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
            findings.append(recordings.as_finding(item, result.reason))
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
        path = recordings.inside(self.root, clip.audio_path)
        samples, rate_hz = io.read(path)
        recordings.check_duration(clip, len(samples) / rate_hz)
        if clip.target_path:
            recordings.read_header(recordings.inside(self.root, clip.target_path))
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


# Whether the splits of a corpus are apart: no speaker, no source recording, no audio, no text in two of them.


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


# What a corpus consists of, by split: durations, words, labels, speakers, rates.


ALL = "all"
NO_SPLIT = "no split"


@dataclass(frozen=True)
class Statistics:
    """Of one split.

    Attributes:
        durations: seconds of each clip.
        words: number of words of each clip that has a text.
        vocabulary: number of different words.
        labels: how many clips have each label; a clip may have several.
        rates: how many clips have each rate, Hz.
    """

    clips: int
    durations: np.ndarray
    words: np.ndarray
    vocabulary: int
    labels: Counter[str]
    speakers: Counter[str]
    rates: Counter[int]


def measure(clips: Sequence[Clip], root: Path) -> tuple[dict[str, Statistics], list[Rejected]]:
    """Statistics of each split and, where there are several, of all of it; and the clips whose audio cannot be read.

    Durations and rates that the manifest does not tell come from the files' headers.

    Raises:
        UserError: when no clip is left to measure.
    """
    stated, unreadable = _with_durations(clips, root)
    if not stated:
        first = f": {unreadable[0].path}: {unreadable[0].reason}" if unreadable else ""
        raise UserError(f"there are no clips to measure{first}")
    groups = {split: [clip for clip in stated if clip.split == split] for split in (*SPLITS, None)}
    found = {split or NO_SPLIT: _measure(group) for split, group in groups.items() if group}
    return (found | {ALL: _measure(stated)} if len(found) > 1 else found), unreadable


def table(found: Mapping[str, Statistics]) -> list[tuple[str, ...]]:
    """Rows of text, the head first."""
    rows: list[tuple[str, ...]] = [
        (
            "split", "clips", "hours", "shortest", "median", "longest", "words", "vocabulary", "labels", "speakers",
            "rates",
        )
    ]  # fmt: skip
    for name, split in found.items():
        seconds = (np.min(split.durations), np.median(split.durations), np.max(split.durations))
        rows.append((
            name, f"{split.clips:,}", f"{split.durations.sum() / 3600:.2f}", *(f"{value:.2f} s" for value in seconds),
            _count(int(split.words.sum())), _count(split.vocabulary), _count(len(split.labels)),
            _count(len(split.speakers)), _rates(split.rates),
        ))  # fmt: skip
    return rows


def labels_table(found: Mapping[str, Statistics], most: int) -> list[tuple[str, ...]]:
    """How many clips of each split have each of the `most` frequent labels, the head first; empty without labels."""
    total = sum((found[name].labels for name in splits_of(found)), Counter[str]())
    if not total:
        return []
    rows: list[tuple[str, ...]] = [("label", *found)]
    for label, _ in total.most_common(most):
        rows.append((label, *(_count(split.labels[label]) for split in found.values())))
    if len(total) > most:
        rows.append((f"and {len(total) - most} more", *("" for _ in found)))
    return rows


def splits_of(found: Mapping[str, Statistics]) -> list[str]:
    """The splits, without their sum."""
    return [name for name in found if name != ALL]


def _measure(clips: Sequence[Clip]) -> Statistics:
    texts = [clip.text.split() for clip in clips if clip.text is not None]
    return Statistics(
        clips=len(clips),
        durations=np.array([clip.duration for clip in clips], dtype=float),
        words=np.array([len(words) for words in texts], dtype=int),
        vocabulary=len({word for words in texts for word in words}),
        labels=Counter(label for clip in clips for label in _labels(clip)),
        speakers=Counter(clip.speaker for clip in clips if clip.speaker is not None),
        rates=Counter(clip.sample_rate for clip in clips if clip.sample_rate is not None),
    )


def _labels(clip: Clip) -> list[str]:
    several = clip.metadata.get("all_labels")
    if several:
        return [str(label) for label in several]
    return [] if clip.label is None else [clip.label]


def _with_durations(clips: Sequence[Clip], root: Path) -> tuple[list[Clip], list[Rejected]]:
    unknown = [clip for clip in clips if clip.duration is None or clip.sample_rate is None]
    headers = map_clips(partial(_read_header, root), [clip.audio_path for clip in unknown], title="read headers")
    found = dict(zip((clip.id for clip in unknown), headers, strict=True))
    stated, unreadable = [], []
    for clip in clips:
        header = found.get(clip.id)
        if isinstance(header, Failure):
            unreadable.append(Rejected(clip.id, clip.audio_path, header.reason))
        elif header is None:
            stated.append(clip)
        else:
            stated.append(clip.model_copy(update={"duration": header[0], "sample_rate": header[1]}))
    return stated, unreadable


def _read_header(root: Path, audio_path: str) -> tuple[float, int]:
    """Duration in seconds and rate in Hz."""
    path = files.inside(root, audio_path)
    if not path.is_file():
        raise BadClip("no such file")
    try:
        header = soundfile.info(path)
    except soundfile.LibsndfileError as error:
        raise BadClip(f"not readable as audio: {error.error_string}") from error
    return header.frames / header.samplerate, header.samplerate


def _count(number: int) -> str:
    return f"{number:,}" if number else "–"


def _rates(rates: Counter[int]) -> str:
    return ", ".join(f"{rate / 1000:g} kHz" for rate, _ in rates.most_common())
