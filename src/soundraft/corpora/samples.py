"""One clip as Python code has it, and the class from which a person's own corpus derives."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from soundraft import files
from soundraft.runtime import UserError


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

        Paths of audio in the file's folder, or below it, count from there, so that the corpus `jsonl` reads the file
        back; others stay as they are.

        Raises:
            UserError: when a sample has no file.
        """
        folder = Path(path).resolve().parent
        rows = (self._row(number, sample, folder) for number, sample in enumerate(self))
        files.write_jsonl(Path(path), rows)

    def _row(self, number: int, sample: AudioSample, folder: Path) -> dict[str, Any]:
        if sample.audio_path is None:
            name = sample.metadata.get("id", number)
            raise UserError(
                f"{self.name}: sample {name} has no audio_path, and a line of JSON holds no audio: write it to a file"
            )
        audio = sample.audio_path.resolve()
        inside = audio.is_relative_to(folder)
        return {
            "audio_path": audio.relative_to(folder).as_posix() if inside else str(sample.audio_path),
            "text": sample.text,
            "duration": sample.duration,
            "task": sample.task,
            "metadata": sample.metadata,
        }
