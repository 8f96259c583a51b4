"""Checks of a corpus: what is wrong with recordings line by line, what splits share, what each split consists of."""

import hashlib
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

from soundraft import files
from soundraft.audio import io
from soundraft.audio.io import AUDIO_SUFFIXES
from soundraft.corpora import archive, recordings
from soundraft.corpora.base import Request
from soundraft.corpora.lists import JSON_SUFFIXES, LIST_SUFFIXES, Finding, SourceError
from soundraft.corpora.recordings import find_recordings
from soundraft.manifest import SPLITS, Clip, Rejected, Split, audio_names
from soundraft.metrics.text import normalized
from soundraft.parallel import Failure, map_clips
from soundraft.params import defaults
from soundraft.runtime import UserError
from soundraft.splits import assign_splits

_WANTED = (*AUDIO_SUFFIXES, *LIST_SUFFIXES, *JSON_SUFFIXES)
MOST_WORDS_PER_S, MOST_CHARACTERS_PER_S = 8, 40  # people speak some 3 words, 15 characters a second
LONG_S = 600.0
ALL = "all"
NO_SPLIT = "no split"
Kind = Literal["speaker", "source", "audio", "text"]
Values = dict[str, dict[Split, list[str]]]  # for each value the ids of the clips that have it, split by split
Result = TypeVar("Result")


def validate(path: Path, *, columns: Mapping[str, str] | None = None, labels: Sequence[str] = ()) -> list[Finding]:
    """Everything that is wrong, sorted by file and line.

    Errors are what `fetch` would reject, and damage that s1 would find; warnings are what is hardly meant.

    Args:
        path: a folder, a list of recordings, or an archive.
        columns: the list's column for each of ours that it names otherwise.
        labels: those that may occur; empty: all.
    """
    request = Request(columns=columns or {}, labels=labels)  # type: ignore[arg-type]
    if not path.exists():
        return [Finding(str(path), "no_file", "no such file or folder")]
    try:
        findings = _archive(path, request) if archive.is_archive(path) else _recordings(path, request)
    except SourceError as error:
        findings = [error.finding]
    return sorted(findings, key=_by_line)


def _by_line(finding: Finding) -> tuple[str, int, str, str]:
    """Lines of a file by their number, not as text."""
    name, _, line = finding.place.rpartition(":")
    return (name, int(line), finding.code, "") if line.isdecimal() else ("", 0, finding.place, finding.code)


def _archive(path: Path, request: Request) -> list[Finding]:
    """The entries; when they are in order, what they hold."""
    found = archive.check(path)
    if any(finding.severity == "error" for finding in found):
        return found
    names = [name for name in archive.file_names(path) if archive.is_wanted(name, _WANTED)]
    tops = {name.partition("/")[0] + "/" if "/" in name else "" for name in names}
    with tempfile.TemporaryDirectory(prefix="soundraft-") as scratch:
        folder = Path(scratch, path.name)
        folder.mkdir()
        archive.unpack(path, folder, suffixes=_WANTED, prefix=tops.pop() if len(tops) == 1 else "")
        return found + _recordings(folder, request)


def _recordings(path: Path, request: Request) -> list[Finding]:
    listed = find_recordings(path, request)
    findings = list(listed.findings)
    decoded: dict[str, Decoded] = {}
    results = map_clips(partial(_decode, listed.root), list(listed.clips.values()), title="decode")
    for (place, clip), result in zip(listed.clips.items(), results, strict=True):
        if isinstance(result, Failure):
            findings.append(recordings.as_finding(place, clip, result.reason))
        else:
            decoded[place] = result
            findings += [Finding(place, code, message, clip.id) for code, message in _doubts(clip, result)]
    findings += [*_unlike_the_others(listed.clips, decoded), *_in_two_splits(listed.clips)]
    filled = {clip.split for clip in assign_splits(list(listed.clips.values()), seed=0)}
    for split in (split for split in SPLITS if split not in filled):
        message = f"no clip is in split {split}, and no group of clips (speaker, source recording, text) is left for it"
        findings.append(Finding(path.name or str(path), "empty_split", message))
    if path.is_dir() and listed.named is not None:
        unlisted = (name for name in audio_names(path, AUDIO_SUFFIXES) if name not in listed.named)
        findings += [Finding(name, "unlisted_file", "no line names this file") for name in unlisted]
    return findings


@dataclass(frozen=True)
class Decoded:
    """What decoding a file has shown.

    Attributes:
        peak: of its samples, 1 is full scale.
        content: a hash of its bytes.
    """

    duration_s: float
    rate_hz: int
    peak: float
    content: str


def _decode(root: Path, clip: Clip) -> Decoded:
    """Decode a clip's file; BadClip for all that keeps it from being used."""
    path = recordings.inside(root, clip.audio_path)
    duration_s, rate_hz = io.read_header(path)
    recordings.check_duration(clip, duration_s)
    peak = max(float(np.abs(block).max()) for block in io.blocks(path))
    if clip.target_path:
        io.read_header(recordings.inside(root, clip.target_path))
    return Decoded(duration_s, rate_hz, peak, files.content_of(path))


def _doubts(clip: Clip, audio: Decoded) -> Iterator[tuple[str, str]]:
    """What can be read and is hardly meant, each with its code."""
    least = defaults().normalize.min_duration_s
    words = normalized(clip.text or "", "basic")
    if audio.peak < io.SILENT_PEAK:
        yield "silent", f"silence: its loudest sample is {audio.peak:g}"
    if audio.duration_s < least:
        yield "short", f"{1000 * audio.duration_s:.0f} ms; s1_normalize rejects what is shorter than {least:g} s"
    if audio.duration_s > LONG_S:
        yield "long", f"{audio.duration_s / 60:.0f} minutes; cut recordings into utterances, with a text each"
    if (clip.text or "").strip() and not words:
        yield "no_words", f"of the text {clip.text!r} nothing is left without punctuation"
    if len(words.split()) > 2 + MOST_WORDS_PER_S * audio.duration_s:
        yield (
            "fast",
            f"{len(words.split())} words in {audio.duration_s:.2f} s: the text of another recording, or a part",
        )
    elif len(words) > 10 + MOST_CHARACTERS_PER_S * audio.duration_s:
        yield "fast", f"{len(words)} characters in {audio.duration_s:.2f} s: the text of another recording, or a part"


def _unlike_the_others(clips: Mapping[str, Clip], decoded: Mapping[str, Decoded]) -> Iterator[Finding]:
    """Each clip whose rate is not the one that most have, or whose file has the bytes of an earlier one's."""
    rates = Counter(audio.rate_hz for audio in decoded.values())
    usual_hz = max(rates, key=rates.__getitem__, default=0)
    first: dict[str, str] = {}
    for place, audio in decoded.items():
        clip, earlier = clips[place], clips[first.setdefault(audio.content, place)]
        if audio.rate_hz != usual_hz:
            yield Finding(place, "mixed_rates", f"{audio.rate_hz} Hz; most clips have {usual_hz} Hz", clip.id)
        if clip is earlier:
            continue
        message = f"the audio of {first[audio.content]}"
        if (clip.text, clip.label) != (earlier.text, earlier.label):
            message += ", with another text or label"
        if clip.split != earlier.split:
            message += f", which is in split {earlier.split or 'none'}, this one in {clip.split or 'none'}"
        yield Finding(place, "duplicate_audio", message, clip.id)


def _in_two_splits(clips: Mapping[str, Clip]) -> Iterator[Finding]:
    """Where a speaker, or a source recording, first stands in a second split."""
    first: dict[tuple[str, str], dict[Split, str]] = defaultdict(dict)
    for place, clip in clips.items():
        for kind in ("speaker", "source"):
            name = _value(kind, clip)
            known = first[kind, name]
            if not name or clip.split is None or clip.split in known:
                continue
            if known:
                split, other = next(iter(known.items()))
                message = f"{kind} {name} is in split {clip.split}; {other} has it in {split}"
                yield Finding(place, f"divided_{kind}", message, clip.id)
            known[clip.split] = place


def _value(kind: str, clip: Clip) -> str:
    value = clip.speaker if kind == "speaker" else clip.metadata.get("source")
    return "" if value is None else str(value)


def examine(clips: Sequence[Clip], root: Path, *, texts: bool) -> tuple[dict[Kind, Values], list[Rejected]]:
    """What clips of two splits may share, and the clips whose audio cannot be read.

    Two clips have the same audio when their decoded samples and their rate are the same, whatever the file format.

    Args:
        root: the folder that the clips' paths count from.
        texts: also the texts, without case and punctuation.

    Raises:
        UserError: when a clip has no split.
    """
    homeless = [clip.id for clip in clips if clip.split is None]
    if homeless:
        raise UserError(f"{len(homeless)} of {len(clips)} clips have no split, {homeless[0]} among them")
    hashes, unreadable = _of_each(partial(audio_hash, root), clips, title="compare audio")
    value_of: dict[Kind, Callable[[Clip], str]] = {
        "speaker": partial(_value, "speaker"),
        "source": partial(_value, "source"),
        "audio": lambda clip: hashes.get(clip.id, ""),
        "text": lambda clip: normalized(clip.text or "", "basic"),
    }
    found: dict[Kind, Values] = {kind: defaultdict(lambda: defaultdict(list)) for kind in value_of}
    if not texts:
        del found["text"]
    for kind, values in found.items():
        for clip in clips:
            value = value_of[kind](clip)
            if value and clip.split is not None:
                values[value][clip.split].append(clip.id)
    return found, unreadable


def leaks(values: Values) -> Values:
    """The values that several splits share."""
    shared = {name: value for name, value in sorted(values.items()) if len(value) > 1}
    return {name: {split: value[split] for split in SPLITS if split in value} for name, value in shared.items()}


def audio_hash(root: Path, clip: Clip) -> str:
    """A hash of what a file sounds like: its rate, channels and decoded samples."""
    path = files.inside(root, clip.audio_path)
    rate_hz, digest = io.read_header(path)[1], hashlib.sha256()
    for number, block in enumerate(io.blocks(path)):
        digest.update(b"" if number else f"{rate_hz} {block.shape[1]} ".encode())
        digest.update(block.tobytes())
    return digest.hexdigest()


def _of_each(
    function: Callable[[Clip], Result], clips: Sequence[Clip], *, title: str
) -> tuple[dict[str, Result], list[Rejected]]:
    """By id, what a function of clips gives; and the clips for which it fails."""
    found: dict[str, Result] = {}
    unreadable = []
    for clip, result in zip(clips, map_clips(function, clips, title=title), strict=True):
        if isinstance(result, Failure):
            unreadable.append(Rejected(clip.id, clip.audio_path, result.reason))
        else:
            found[clip.id] = result
    return found, unreadable


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

    Durations and rates that the manifest does not state come from the files' headers.

    Raises:
        UserError: when no clip is left to measure.
    """
    unknown = [clip for clip in clips if clip.duration is None or clip.sample_rate is None]
    measured, unreadable = _of_each(partial(recordings.measured, root), unknown, title="read headers")
    bad = {item.id for item in unreadable}
    stated = [measured.get(clip.id, clip) for clip in clips if clip.id not in bad]
    if not stated:
        first = f": {unreadable[0].path}: {unreadable[0].reason}" if unreadable else ""
        raise UserError(f"there are no clips to measure{first}")
    groups = {split: [clip for clip in stated if clip.split == split] for split in (*SPLITS, None)}
    found = {split or NO_SPLIT: _measure(group) for split, group in groups.items() if group}
    return (found | {ALL: _measure(stated)} if len(found) > 1 else found), unreadable


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
    several = clip.metadata.get("all_labels") or ([] if clip.label is None else [clip.label])
    return [str(label) for label in several]
