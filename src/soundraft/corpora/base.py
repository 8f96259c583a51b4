"""What every corpus shares: what is known of it, what is asked of it, and what it leaves behind."""

import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from soundraft import files
from soundraft.manifest import Clip, Rejected, Split
from soundraft.parallel import progress_over
from soundraft.params.sections import Role
from soundraft.runtime import UserError

SOURCE_NAME = "source.json"
Option = Literal["path", "split", "revision", "config", "language", "columns", "labels", "fold"]


@dataclass(frozen=True)
class CorpusInfo:
    """What `soundraft datasets list` and `describe` tell.

    Attributes:
        source: hub id, or in words where the recordings come from.
        task: what its annotation is for: asr, classification or speaker.
        about: one sentence.
        splits: the source's own splits and who drew them, in words.
        columns: what a clip carries besides its audio, each with its meaning.
        takes: the options it reads; every other one is refused by name.
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
    """Which part of a corpus to bring in.

    Attributes:
        asked_as: what messages put before the name of an option: `corpus.target.` in params.yaml, `--` on the
            command line, nothing in Python.
        role: `start` is what the first model learns from, `target` what RAFT adapts it to.
        path: the user's folder, file or module; `None` when not given.
        split: one split of the source by the source's own name; it takes the place of the corpus's choice for the
            split of ours that it belongs to. Empty: the corpus's choice.
        revision: commit, tag or branch of a hub repository. Empty: where the corpus publishes today.
        config: the hub's subset. Empty: the corpus's own choice.
        language: the language's code, for corpora in several.
        columns: the source's column for each of ours that it names otherwise: `{"text": "sentence"}`.
        labels: the labels that may occur; empty: all.
        fold: the official fold (or speaker) that is the test split, from 1; the next one is validation.
        clips: how many clips of each split; `None` takes all that the source has; 0 leaves the split out.
        seed: of everything that is drawn.
        options: the params section of the family, such as `corpus.espeak`.
        unlabelled: a person's own clips need neither text nor label; those without are train unless they say otherwise,
            and a folder needs no list. For a run that reads no transcripts.
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


@dataclass(frozen=True)
class Fetched:
    """Clips and where their audio is.

    Attributes:
        root: the folder that the clips' paths count from: the one that was given to write to, or the source itself
            where nothing had to be written.
        usable: how many items of the source were good; clips may be made of several, or be fewer by request.
        rejected: the items of the source that were set aside, each with its place and reason.
        source: what was read, for the record: hub id, resolved commit, configuration, …
        cached: whether the files are the cache's, which nobody edits: they may be linked in place of copied.
    """

    clips: list[Clip]
    usable: int
    rejected: list[Rejected]
    root: Path
    source: Mapping[str, Any] = field(default_factory=dict)
    cached: bool = False


@dataclass(frozen=True)
class Corpus:
    """One corpus of the registry: what is known of it, and how its clips are had."""

    info: CorpusInfo
    fetch: Callable[[Request, Path], Fetched]


class CorpusError(UserError):
    """The corpus cannot be brought in; the message says why and what would help."""


def require_folder(request: Request, *, family: str) -> Path:
    if request.path is None:
        raise CorpusError(f"{request.asked_as}path is empty: '{family}' needs the folder that holds the recordings")
    if not request.path.is_dir():
        raise CorpusError(f"{request.asked_as}path: no such folder: {request.path}")
    return request.path


def check_config(name: str, request: Request, known: Mapping[str, str]) -> str:
    """The configuration asked for, of those known, each with what it is in words; empty is the first.

    Raises:
        CorpusError: naming those that exist.
    """
    if request.config and request.config not in known:
        told = "; ".join(f"{config} ({meaning})" for config, meaning in known.items())
        raise CorpusError(f"{request.asked_as}config: {name} has no {request.config!r}; it has {told}")
    return request.config or next(iter(known))


def check_options(name: str, info: CorpusInfo, request: Request) -> None:
    """Refuse what the corpus would not read, and name what it lacks.

    Raises:
        CorpusError: naming the option.
    """
    default = Request()
    for option in sorted(get_args(Option)):
        given = getattr(request, option) != getattr(default, option)
        if given and option not in info.takes:
            known = ", ".join(sorted(info.takes)) or "none of these options"
            raise CorpusError(f"{request.asked_as}{option}: {name} does not take it; it takes {known}")
        if not given and option in info.needs:
            raise CorpusError(f"{request.asked_as}{option} is empty: {name} needs it")


def copy_in(fetched: Fetched, out: Path, *, link: bool = False) -> Fetched:
    """The same with every file in `out`; what cannot be copied is set aside.

    Args:
        link: link files of the cache where the file system can: for an `out` whose files nobody changes in place.
    """
    if fetched.root == out:
        return fetched
    bring = _link if link and fetched.cached else _copy
    kept: list[Clip] = []
    rejected = list(fetched.rejected)
    for clip in progress_over(fetched.clips, total=len(fetched.clips), title="copy", unit="clip"):
        reasons = [bring(fetched.root, path, out) for path in (clip.audio_path, clip.target_path) if path]
        if any(reasons):
            rejected.append(Rejected(clip.id, clip.audio_path, "; ".join(filter(None, reasons))))
        else:
            kept.append(clip)
    usable = fetched.usable - len(fetched.clips) + len(kept)
    return replace(fetched, clips=kept, usable=usable, rejected=rejected, root=out, cached=False)


def _link(folder: Path, audio_path: str, out: Path) -> str | None:
    """Link one file, else copy it."""
    source, target = f"{folder}/{audio_path}", f"{out}/{audio_path}"
    try:
        if not os.path.isdir(os.path.dirname(target)):
            os.makedirs(os.path.dirname(target))
        os.link(source, target)
    except OSError:  # another device, no links there, too many of one file: or no such file, which copying tells
        return _copy(folder, audio_path, out)
    return None


def _copy(folder: Path, audio_path: str, out: Path) -> str | None:
    """Copy one file; the reason when it cannot be had."""
    try:
        source = files.inside(folder, audio_path)
    except ValueError as error:
        return str(error)
    if not source.is_file():
        return "no such file"
    target = out / audio_path
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    return None


# One clip as Python code has it, and the class from which a person's own corpus derives.


@dataclass(frozen=True)
class AudioSample:
    """One clip: a file, or samples in memory.

    Attributes:
        audio_path: the file; `None` for a clip that exists in memory alone.
        text: what is said; for classification the label.
        duration: seconds, where it is known.
        task: what the annotation is for: asr, classification or speaker.
        metadata: whatever else is known: id, label, speaker, split, …
        audio_array: float samples in −1…1, `[N]` or `[N, C]`.
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
    """A corpus as Python code has it. Derive from it to bring your own: give it a `name`, a `task` and `load`.

    `load` may yield one sample after another, however many there are. Iterating, indexing and `len` load once and keep
    the samples.
    """

    name: str
    task: str = "asr"

    @abstractmethod
    def load(self) -> Iterable[AudioSample]:
        """The samples, in an order that does not change."""

    @cached_property
    def samples(self) -> list[AudioSample]:
        return list(self.load())

    def __iter__(self) -> Iterator[AudioSample]:
        return iter(self.samples)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> AudioSample:
        return self.samples[index]

    def to_rlvr_format(self, path: Path | str) -> None:
        """Write a JSON line a sample: `audio_path`, `text`, `duration`, `task`, `metadata`.

        Audio below the folder of `path` is named from there, and the corpus `jsonl` reads it back. Other audio is named
        as it is; `jsonl`, which takes nothing from outside its folder, does not read it.

        Raises:
            UserError: when a sample has no file.
        """
        folder = Path(path).parent.resolve()
        rows = (self._row(number, sample, folder) for number, sample in enumerate(self))
        files.write_jsonl(Path(path), rows)

    def _row(self, number: int, sample: AudioSample, folder: Path) -> dict[str, Any]:
        if sample.audio_path is None:
            name = sample.metadata.get("id", number)
            raise UserError(
                f"{self.name}: sample {name} has no audio_path, and a line of JSON holds no audio: write it to a file"
            )
        place = sample.audio_path.parent.resolve() / sample.audio_path.name
        below = place.is_relative_to(folder)
        return {
            "audio_path": place.relative_to(folder).as_posix() if below else str(sample.audio_path),
            "text": sample.text,
            "duration": sample.duration,
            "task": sample.task,
            "metadata": sample.metadata,
        }
