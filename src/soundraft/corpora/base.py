"""What every corpus shares: its description, the request for a part of it, and the clips that come back.

The last part is for Python code: one clip as a value, and the class from which a corpus of the user's own derives.
"""

import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from numbers import Integral
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from soundraft import files, runtime
from soundraft.audio import io
from soundraft.manifest import Clip, Rejected, Split
from soundraft.parallel import progress_over
from soundraft.params.sections import Role
from soundraft.runtime import BadClip, UserError

SOURCE_NAME = "source.json"
FULL_SCALE = 1 + 1 / io.PCM16_SCALE  # a rounding step beyond is no clipping
Option = Literal["path", "split", "revision", "config", "language", "columns", "labels", "fold"]


class CorpusError(UserError):
    """The corpus cannot be brought in; the message says why and what would help."""


@dataclass(frozen=True)
class CorpusInfo:
    """What `soundraft datasets list` and `describe` show.

    Attributes:
        source: hub id, or in words where the recordings come from.
        task: what its annotation is for: asr, classification or speaker.
        splits: the source's own splits and who drew them, in words.
        columns: what a clip has besides its audio, each with its meaning.
        takes: the options that it reads; every other one is refused.
        needs: those of them that must be given.
    """

    source: str
    task: str
    about: str
    licence: str
    size: str
    languages: str
    splits: str
    columns: Mapping[str, str] = field(default_factory=dict)
    takes: frozenset[Option] = frozenset()
    needs: frozenset[Option] = frozenset()


@dataclass(frozen=True)
class Request:
    """Which part of a corpus to bring in. `path` to `clips` mean what the keys of `corpus.target` in params.yaml mean.

    Attributes:
        role: the first model learns from `start`; RAFT adapts it to `target`.
        columns: by our name, the source's: `{"text": "sentence"}`.
        clips: how many clips of each split; `None` takes all that the source has, 0 leaves the split out.
        seed: of everything that is drawn.
        options: the params section of the family, such as `corpus.espeak`.
        asked_as: what messages put before the name of an option: `corpus.target.` for params.yaml, `--` for the
            command line, nothing for Python.
        unlabelled: the user's own clips need neither text nor label, and a folder of them needs no list. Clips without
            either are train unless they name a split.
        offline: read nothing of the hub that is not in the cache.
        task: what the clips are for, where a corpus is made for it: espeak's clips for tts have the times of their
            phones, and the start's voices in both roles.
    """

    role: Role = "target"
    path: Path | None = None
    split: str = ""
    revision: str = ""
    config: str = ""
    language: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    fold: int = 1
    clips: Mapping[Split, int | None] = field(default_factory=dict)
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    asked_as: str = ""
    unlabelled: bool = False
    offline: bool = False
    task: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.columns, Mapping):
            raise self.error(
                "columns", f"{self.columns!r} names no columns; give ours and theirs, as {{'text': 'words'}}"
            )
        object.__setattr__(self, "labels", tuple(runtime.listed(f"{self.asked_as}labels", self.labels)))

    def error(self, option: str, problem: str) -> CorpusError:
        name = "subset" if (self.asked_as, option) == ("--", "config") else option  # there `--config` is a declaration
        return CorpusError(f"{self.asked_as}{name}: {problem}")


@dataclass(frozen=True)
class Fetched:
    """Clips and where their audio is.

    Attributes:
        usable: how many items of the source were good; clips may join several, or be fewer by request.
        rejected: the bad items of the source.
        root: the folder that the clips' paths count from: the output folder, or the source where nothing had to be
            written.
        source: what was read, for the record: hub id, commit, configuration, …
        cached: whether the files are the cache's, which are never edited: they may be linked instead of copied.
        drawn: whether no clip of the source has a split, so that all were drawn.
    """

    clips: list[Clip]
    usable: int
    rejected: list[Rejected]
    root: Path
    source: Mapping[str, Any] = field(default_factory=dict)
    cached: bool = False
    drawn: bool = False


@dataclass(frozen=True)
class Corpus:
    """One corpus of the registry; `fetch` may write to the folder that it is given."""

    info: CorpusInfo
    fetch: Callable[[Request, Path], Fetched]


def check_limit(limit: object) -> None:
    """Raise CorpusError unless it is `None`, or a whole number from 1."""
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, Integral) or limit < 1):
        raise CorpusError(f"limit {limit!r}: give a whole number from 1, or None for all")


def existing_path(request: Request, what: str) -> Path:
    """The path of a request; CorpusError when it is not given or nothing is there."""
    if request.path is None or not request.path.exists():
        found = "empty" if request.path is None else f"no such file or folder: {request.path}"
        raise request.error("path", f"{found}; it names {what}")
    return request.path


def check_config(name: str, request: Request, known: Mapping[str, str]) -> str:
    """The requested configuration, one of `known` (each with its meaning); the first is the default."""
    if request.config and request.config not in known:
        existing = "; ".join(f"{config} ({meaning})" for config, meaning in known.items())
        raise request.error("config", f"{name} has no {request.config!r}; it has {existing}")
    return request.config or next(iter(known))


def check_options(name: str, info: CorpusInfo, request: Request) -> None:
    """Raise CorpusError for an option that the corpus does not read, and for a missing one that it needs."""
    default = Request()
    for option in sorted(get_args(Option)):
        given = getattr(request, option) != getattr(default, option)
        if given and option not in info.takes:
            known = ", ".join(sorted(info.takes)) or "none of these options"
            raise request.error(option, f"{name} does not take it; it takes {known}")
        if not given and option in info.needs:
            raise CorpusError(f"{request.asked_as}{option} is empty: {name} needs it")


def copy_in(fetched: Fetched, out: Path, *, link: bool = False) -> Fetched:
    """The same with every file in `out`; clips whose files cannot be copied are rejected.

    Args:
        link: link files of the cache where the file system can: for an `out` whose files are never changed in place.
    """
    if fetched.root == out:
        return fetched
    kept: list[Clip] = []
    rejected = list(fetched.rejected)
    for clip in progress_over(fetched.clips, total=len(fetched.clips), title="copy", unit="clip"):
        names = [name for name in (clip.audio_path, clip.target_path) if name]
        reasons = [_copy(fetched.root, name, out, link=link and fetched.cached) for name in names]
        if any(reasons):
            rejected.append(Rejected(clip.id, clip.audio_path, "; ".join(filter(None, reasons))))
        else:
            kept.append(clip)
    usable = fetched.usable - len(fetched.clips) + len(kept)
    return replace(fetched, clips=kept, usable=usable, rejected=rejected, root=out, cached=False)


def _copy(root: Path, name: str, out: Path, *, link: bool) -> str:
    """Link or copy one file; returns the reason when it is not there or outside `root`, else nothing."""
    target = f"{out}/{name}"  # text: paths as objects are half of what linking a file costs
    if not os.path.isdir(os.path.dirname(target)):
        os.makedirs(os.path.dirname(target))
    if link:
        try:
            os.link(f"{root}/{name}", target)
            return ""
        except OSError:  # another device, no links there, too many of one file, or no such file
            pass
    try:
        source = files.inside(root, name)
    except ValueError as error:
        return str(error)
    if not source.is_file():
        return "no such file"
    shutil.copyfile(source, target)
    return ""


@dataclass(frozen=True)
class AudioSample:
    """One clip: a file, or samples in memory.

    Attributes:
        audio_path: the file; `None` for a clip that exists in memory alone.
        text: what is said; for classification the label.
        duration: seconds, where known.
        task: what the annotation is for: asr, classification or speaker.
        metadata: whatever else is known: id, label, speaker, split, …
        audio_array: samples as `audio.io.from_array` takes them: floats in −1…1, integers of full scale.
        sample_rate: Hz; needed beside `audio_array`.
    """

    audio_path: Path | None
    text: str | None
    duration: float | None = None
    task: str = "asr"
    metadata: dict[str, Any] = field(default_factory=dict)
    audio_array: np.ndarray | None = field(default=None, compare=False, repr=False)
    sample_rate: int | None = None

    def __post_init__(self) -> None:
        if isinstance(self.audio_path, str):
            object.__setattr__(self, "audio_path", Path(self.audio_path))


class AudioDataset(ABC):
    """A corpus for Python code. Derive from it to bring your own: give it a `name`, a `task` and `load`.

    `load` may yield one sample after another, however many there are. Iterating, indexing and `len` load once and keep
    the samples.
    """

    name: str
    task: str = "asr"

    @abstractmethod
    def load(self) -> Iterable[AudioSample]:
        """The samples, always in the same order."""

    @cached_property
    def samples(self) -> list[AudioSample]:
        return list(self.load())

    def __iter__(self) -> Iterator[AudioSample]:
        return iter(self.samples)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> AudioSample:
        return self.samples[index]

    def to_rlvr_format(self, path: Path | str, *, copy_audio: bool = False) -> None:
        """Write a JSON line for each sample: `audio_path`, `text`, `duration`, `task`, `metadata`.

        The corpus `jsonl` reads it back. Audio below the folder of `path` is named relative to it, other audio by its
        whole path.

        Args:
            copy_audio: copy the audio, also that of samples in memory, to a folder beside the list, `NAME_audio` for
                `NAME.jsonl`, so that both can be moved together.

        Raises:
            UserError: when a sample has no file, and the audio is not copied.
        """
        listing = Path(path).resolve()
        if copy_audio:
            with files.building(listing.with_name(f"{listing.stem}_audio")) as scratch:
                names = [_copy_sample(sample, scratch, number) for number, sample in enumerate(self, start=1)]
            names = [f"{listing.stem}_audio/{name}" for name in names]
        else:
            names = [_place(sample, listing.parent, f"{self.name}: sample {n}") for n, sample in enumerate(self)]
        rows = (
            {"audio_path": name, "text": sample.text, "duration": sample.duration, "task": sample.task,
             "metadata": sample.metadata}
            for name, sample in zip(names, self, strict=True)
        )  # fmt: skip
        files.write_jsonl(listing, rows)


def _place(sample: AudioSample, folder: Path, name: str) -> str:
    if sample.audio_path is None:
        name = f"{name} ({sample.metadata['id']})" if "id" in sample.metadata else name
        raise UserError(f"{name} has no audio_path, and a line of JSON holds no audio; copy_audio=True writes a file")
    if not files.is_utf8(str(sample.audio_path)):
        raise UserError(f"{name}: the name of {str(sample.audio_path)!a} is not UTF-8: rename it, or copy_audio=True")
    place = sample.audio_path.parent.resolve() / sample.audio_path.name
    return place.relative_to(folder).as_posix() if place.is_relative_to(folder) else str(place)


def _copy_sample(sample: AudioSample, folder: Path, number: int) -> str:
    """Copy or write the audio of a sample; returns its new name."""
    if sample.audio_path is not None:
        name = f"{number:06d}{sample.audio_path.suffix.lower()}"
        shutil.copyfile(sample.audio_path, folder / name)
    else:
        name = f"{number:06d}.wav"
        files.write_bytes(folder / name, samples_as_wav(sample))
    return name


def samples_as_wav(sample: AudioSample) -> bytes:
    """A 16-bit mono WAV of samples in memory; BadClip when there are none, or some are beyond full scale."""
    if sample.audio_array is None or sample.sample_rate is None:
        raise BadClip("neither audio_path, nor audio_array with sample_rate")
    try:
        io.check_rate("sample_rate", sample.sample_rate)
        samples = io.from_array(sample.audio_array)
    except UserError as error:
        raise BadClip(f"audio_array: {error}") from error
    if not np.abs(samples).max() <= FULL_SCALE:
        raise BadClip(f"audio_array must be in -1…1; its peak is {np.abs(samples).max():g}")
    return io.wav_bytes(io.to_mono(samples), int(sample.sample_rate))
