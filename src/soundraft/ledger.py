"""What a kept folder holds and what each file was made from, so that a rerun makes only what changed.

A stage with a kept out (`persist: true`) writes beside its files a ledger of its name: per clip the key of its input (a
hash over input bytes, options and code) and the hashes of its outputs. A clip is taken over only when both still hold.
The ledger holds nothing else, so a folder that was brought up to date is, byte for byte, the folder made from nothing.
Each entry has a hash of itself: the clip of a damaged one is made again.
"""

import hashlib
import importlib.metadata
import json
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import xxhash

from soundraft import files, packs
from soundraft.manifest import Clip, Rejected, check_bad_fraction
from soundraft.parallel import Failure, map_clips
from soundraft.runtime import BadClip, UserError

_SAVE_EVERY_S = 10.0


@dataclass(frozen=True)
class Entry:
    """One clip: its id, the key of its input, what was found out while making it, its files and their hashes."""

    item: str
    key: str
    result: dict[str, Any]
    outputs: dict[str, str]


def code_key(code: Iterable[Path], packages: Iterable[str], options: Any) -> str:
    """A hash of everything but the input that decides the output: source files, package versions, options."""
    digest = hashlib.sha256()
    for path in code:
        digest.update(path.read_bytes())
    for name in packages:
        digest.update(f"{name} {importlib.metadata.version(name)}\n".encode())
    digest.update(json.dumps(options, sort_keys=True, default=str).encode())
    return digest.hexdigest()


def output_hash(data: bytes) -> str:
    """Of a file that a stage made. Not cryptographic: it shows damage and change, ten times faster than SHA-256."""
    return xxhash.xxh3_128_hexdigest(data)


class Ledger:
    """Use as a context around the work: reads what is there, saves what was done even when the work breaks off.

    Args:
        maker: name of the stage.
        owned: the folder is the pipeline's, and whatever else lies there is removed. A folder that a user names is not
            owned: only files that the earlier run made are removed, and one with files but no ledger is refused.
        adopt: take such a folder all the same; files that have the name of an output are made again.

    Attributes:
        known: the entries of the earlier run, by clip.
    """

    def __init__(self, folder: Path, maker: str, *, owned: bool = False, adopt: bool = False) -> None:
        self.folder = folder
        self.owned, self.adopt = owned, adopt
        self.name = f"{maker}.ledger.jsonl"
        self.known = _read(folder / self.name)
        self._entries: dict[str, Entry] = {}
        self._saved_at = time.monotonic()

    def __enter__(self) -> "Ledger":
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / self.name).exists():
            there = not (self.owned or self.adopt) and any(not _is_temporary(p.name) for p in self.folder.iterdir())
            if there:
                raise UserError(
                    f"{self.folder} holds files and no {self.name}: name a new or an empty folder, or, with "
                    "--adopt, replace what has the name of an output"
                )
            self._save({})
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if kind is not None:
            self._save(self.known | self._entries)

    def add(self, entry: Entry) -> None:
        self._entries[entry.item] = entry
        if time.monotonic() - self._saved_at > _SAVE_EVERY_S:  # a kill then costs seconds, not hours
            self._save(self.known | self._entries)

    def finish(self, keep: Iterable[str]) -> int:
        """Write the ledger of exactly what was added, and remove what the earlier run made beyond it.

        Args:
            keep: files of the stage that are no outputs of a clip.

        Returns:
            The number of files removed.
        """
        self._save(self._entries)
        wanted = {self.name, *keep, *_outputs(self._entries)}
        former = set(_outputs(self.known))
        removed = sum(name not in wanted and packs.holds(self.folder / name) for name in former)
        for path in sorted(self.folder.rglob("*"), reverse=True):
            name = path.relative_to(self.folder).as_posix()
            if path.is_dir() and not path.is_symlink():
                if not any(path.iterdir()):
                    path.rmdir()
            elif packs.is_pack(name) or name in wanted:
                continue
            elif self.owned or name in former or _is_temporary(path.name):
                path.unlink()
                removed += not _is_temporary(path.name)
        return removed

    def _save(self, entries: dict[str, Entry]) -> None:
        rows = (vars(entries[item]) for item in sorted(entries))
        files.write_jsonl(self.folder / self.name, (row | {"check": _row_hash(row)} for row in rows))
        self._saved_at = time.monotonic()


def _outputs(entries: dict[str, Entry]) -> list[str]:
    return [name for entry in entries.values() for name in entry.outputs]


def _is_temporary(name: str) -> bool:
    """Whether `files.write_bytes` was killed while it wrote this."""
    return re.fullmatch(r"\..+\.\d+\.tmp", name) is not None


def _row_hash(row: dict[str, Any]) -> str:
    return output_hash(json.dumps(row, sort_keys=True).encode())


def _read(path: Path) -> dict[str, Entry]:
    """The entries of a ledger; a line that is damaged is left out."""
    entries: dict[str, Entry] = {}
    for line in path.read_bytes().splitlines() if path.is_file() else []:
        try:
            row = json.loads(line)
            if row.pop("check") == _row_hash(row):
                entries[row["item"]] = Entry(**row)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            continue
    return entries


class Worker(ABC):
    """What a stage makes of each clip; picklable, so that worker processes can have it.

    Args:
        name: of the stage.
        stage_key: of everything but a clip's input, see `code_key`.
    """

    def __init__(self, name: str, source: Path, target: Path, stage_key: str) -> None:
        self.name, self.source, self.target, self.stage_key = name, source.resolve(), target.resolve(), stage_key

    @abstractmethod
    def input_names(self, clip: Clip) -> list[str]: ...

    @abstractmethod
    def output_names(self, clip: Clip) -> list[str]: ...

    @abstractmethod
    def make(self, clip: Clip, inputs: list[bytes]) -> tuple[dict[str, Any], list[bytes]]:
        """What is to be noted of a clip, and the bytes of its outputs."""

    @abstractmethod
    def write_lists(self, good: Sequence[tuple[Clip, Entry]], rejected: Sequence[Rejected]) -> list[str]:
        """Write the lists of good and of rejected clips into the folder; their names."""

    def stays(self, job: tuple[Clip, Entry]) -> bool:
        """Whether a clip can stay as it is: made from this input, and its files untouched since."""
        clip, known = job
        try:
            return known.key == self._key(clip, self._inputs(clip)) and all(
                output_hash(files.read_file(self.target / name)) == expected for name, expected in known.outputs.items()
            )
        except (OSError, BadClip):
            return False

    def __call__(self, clip: Clip) -> Entry:
        inputs, hashes = self._inputs(clip), {}
        result, outputs = self.make(clip, inputs)
        for name, data in zip(self.output_names(clip), outputs, strict=True):
            files.write_bytes(self.target / name, data)
            hashes[name] = output_hash(data)
        return Entry(clip.id, self._key(clip, inputs), result, hashes)

    def _inputs(self, clip: Clip) -> list[bytes]:
        return [files.read_file(self.source / name) for name in self.input_names(clip)]

    def _key(self, clip: Clip, inputs: Sequence[bytes]) -> str:
        names = "\n".join([*self.input_names(clip), *self.output_names(clip)])
        sizes = " ".join(str(len(data)) for data in inputs)
        digest = xxhash.xxh3_128(f"{self.stage_key} {sizes} {names}".encode())
        for data in inputs:
            digest.update(data)
        return digest.hexdigest()


@dataclass(frozen=True)
class Done:
    """Clips with their entries, rejected clips, and how many clips were made and files of earlier runs removed."""

    good: list[tuple[Clip, Entry]]
    rejected: list[Rejected]
    made: int
    removed: int


def bring_up_to_date(
    clips: Iterable[Clip],
    worker: Worker,
    *,
    max_bad_fraction: float,
    owned: bool = False,
    adopt: bool = False,
    overwrite: bool = False,
) -> Done:
    """Take over the clips whose entry of the earlier run holds, make the others, and remove what that run made beyond.

    First all of the one, then all of the other: where one clip in thousands is made, the time that it takes to start
    making it is no measure for the rest.

    Args:
        owned, adopt: see `Ledger`.
        overwrite: take nothing over.

    Raises:
        TooManyBad: when the share of bad clips is above `max_bad_fraction`.
    """
    files.check_apart(worker.source, worker.target)
    chosen, rejected = one_per_output(clips, worker.output_names)
    with Ledger(worker.target, worker.name, owned=owned, adopt=adopt) as ledger:
        entries = {} if overwrite else what_stays(chosen, worker, ledger)
        for entry in entries.values():
            ledger.add(entry)
        changed = [clip for clip in chosen if clip.id not in entries]
        for clip, result in zip(
            changed, map_clips(worker, changed, title=f"{worker.name} {worker.source.name}"), strict=True
        ):
            if isinstance(result, Failure):
                rejected.append(Rejected(clip.id, clip.audio_path, result.reason))
            else:
                ledger.add(result)
                entries[clip.id] = result
        check_bad_fraction(len(entries), rejected, max_bad_fraction)
        good = [(clip, entries[clip.id]) for clip in chosen if clip.id in entries]
        made = sum(clip.id in entries for clip in changed)
        return Done(good, rejected, made, ledger.finish(worker.write_lists(good, rejected)))


def what_stays(clips: Sequence[Clip], worker: Worker, ledger: Ledger) -> dict[str, Entry]:
    """By id, the entries of the earlier run that still hold."""
    jobs = [(clip, ledger.known[clip.id]) for clip in clips if clip.id in ledger.known]
    results = map_clips(worker.stays, jobs, title="compare")
    return {clip.id: entry for (clip, entry), stays in zip(jobs, results, strict=True) if stays is True}


def one_per_output(
    clips: Iterable[Clip], output_names: Callable[[Clip], list[str]]
) -> tuple[list[Clip], list[Rejected]]:
    """Of clips that would write the same file, such as `a.flac` beside `a.flac.wav`, the first by id is kept."""
    owners: dict[str, Clip] = {}
    kept, rejected = [], []
    for clip in sorted(clips, key=lambda clip: clip.id):
        names = output_names(clip)
        taken = [owners[name] for name in names if name in owners]
        if taken:
            reason = f"would be written to the same file as clip {taken[0].id}"
            rejected.append(Rejected(clip.id, clip.audio_path, reason))
        else:
            kept.append(clip)
            owners |= dict.fromkeys(names, clip)
    return kept, rejected
