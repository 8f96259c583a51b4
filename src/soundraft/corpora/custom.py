"""A corpus in the user's own Python: `path: package.module:Class`, or `folder/module.py:Class`.

The class derives from `AudioDataset`. Its module is looked for in the folder of `path` (of the repository, for a plain
`package.module:Class`), then where Python looks. DVC does not watch it: after a change in it run
`dvc repro --force fetch`.
"""

import importlib
import inspect
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from soundraft import runtime
from soundraft.audio import io
from soundraft.corpora.base import AudioDataset, AudioSample, Corpus, CorpusError, CorpusInfo, Fetched, Request
from soundraft.corpora.lists import OF_METADATA, Finding, RowError, collect
from soundraft.corpora.recordings import Source, gather

ARRAYS = "arrays"  # folder of what had no file
FULL_SCALE = 1 + 1 / io.PCM16_SCALE  # a rounding step beyond is no clipping


def fetch(request: Request, out: Path) -> Fetched:
    """The samples that a class of the user yields; those without a file are written to `out`, then all are there.

    Raises:
        CorpusError: when there is no such class, or it cannot be made.
    """
    spec, folder = _spec(request)
    with _importable(folder):
        dataset = _dataset(spec, folder, request)
        samples, findings = _read(dataset, out)
    home = _common([sample.file for sample in samples if not sample.written])
    samples = _apart(samples, home, out)
    rows = [(sample.place, {**sample.values, "audio_path": sample.name(home, out)}) for sample in samples]
    written = any(sample.written for sample in samples)
    if written:
        for sample in samples:
            _copy(sample, out / sample.name(home, out))
    items, bad = collect(rows, lambda row: row, request.labels)
    form = f"class {spec}, corpus {dataset.name}"
    fetched = gather(Source(out if written else home, form, items, findings + bad), request)
    if written:
        kept = {clip.audio_path for clip in fetched.clips}
        for name in {row["audio_path"] for _, row in rows} - kept:
            (out / name).unlink(missing_ok=True)
    return fetched


@dataclass(frozen=True)
class _Sample:
    """A sample as a file: the user's, or one that was written here because it had none."""

    place: str
    file: Path
    written: bool
    values: Mapping[str, Any]

    def name(self, home: Path, out: Path) -> str:
        return self.file.relative_to(out.resolve() if self.written else home).as_posix()


def _apart(samples: list[_Sample], home: Path, out: Path) -> list[_Sample]:
    """The same, with what was written in a folder that no file of the user comes to lie in."""
    taken = {sample.name(home, out).split("/")[0].lower() for sample in samples if not sample.written}
    if ARRAYS not in taken or not (out / ARRAYS).is_dir():
        return samples
    free = next(name for number in count(2) if (name := f"{ARRAYS}-{number}") not in taken)
    (out / ARRAYS).rename(out / free)
    place = out.resolve() / free
    return [replace(sample, file=place / sample.file.name) if sample.written else sample for sample in samples]


def _spec(request: Request) -> tuple[str, Path]:
    """The name `module:Class`, and the folder to look in."""
    if request.path is None or request.path.name.count(":") != 1:
        given = "empty" if request.path is None else f"got {request.path}"
        raise CorpusError(f"{request.asked_as}path: {given}; python needs package.module:Class")
    return request.path.name, request.path.parent


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Let imports find the user's modules, also those that `load` makes."""
    sys.path.insert(0, str(folder.resolve()))
    try:
        yield
    finally:
        sys.path.remove(str(folder.resolve()))


def _dataset(spec: str, folder: Path, request: Request) -> AudioDataset:
    module_name, _, class_name = spec.partition(":")
    try:
        module = _module(module_name, folder)
    except (ImportError, FileNotFoundError, SyntaxError) as error:
        raise CorpusError(f"{request.asked_as}path: cannot import {module_name}: {error}") from error
    kind = getattr(module, class_name, None)
    if not (isinstance(kind, type) and issubclass(kind, AudioDataset)):
        known = [name for name, value in vars(module).items() if _is_corpus(value)]
        raise CorpusError(
            f"{request.asked_as}path: {module_name} has no subclass {class_name} of AudioDataset; "
            f"it has {', '.join(known) or 'none'}"
        )
    missing = sorted(kind.__abstractmethods__) + ([] if isinstance(getattr(kind, "name", None), str) else ["name"])
    if missing:
        raise CorpusError(f"{request.asked_as}path: {spec} lacks {', '.join(missing)}")
    try:
        inspect.signature(kind).bind()
    except TypeError as error:
        raise CorpusError(f"{request.asked_as}path: {spec} must be made without arguments: {error}") from error
    return kind()


def _module(name: str, folder: Path) -> ModuleType:
    """The user's module; of two files with one name each is its own.

    Raises:
        ImportError: also when Python has a module of that name that is not the one in `folder`.
    """
    if name.endswith(".py"):
        return runtime.from_file((folder / name).resolve())
    module = importlib.import_module(name)
    own = folder.resolve().joinpath(*name.split("."))
    places = [place for place in (own.parent / f"{own.name}.py", own / "__init__.py") if place.is_file()]
    if places and module.__file__ and Path(module.__file__).resolve() not in places:
        raise ImportError(f"that name is taken by {module.__file__}; give the file: {places[0]}:CLASS")
    return module


def _is_corpus(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, AudioDataset) and value is not AudioDataset


def _read(dataset: AudioDataset, out: Path) -> tuple[list[_Sample], list[Finding]]:
    samples, findings = [], []
    for number, sample in enumerate(dataset.load(), start=1):
        place = f"{dataset.name}:{number}"
        if not isinstance(sample, AudioSample):
            message = f"load yields {type(sample).__name__}, not AudioSample"
            findings.append(Finding(place, "bad_value", "error", message))
            continue
        try:
            values = _values(sample, dataset.task)
            given = Path(sample.audio_path).resolve() if sample.audio_path is not None else None
            samples.append(_Sample(place, given or _write(sample, out, number), given is None, values))
        except RowError as error:
            findings.append(Finding(place, error.code, "error", str(error), str(sample.metadata.get("id", ""))))
    return samples, findings


def _values(sample: AudioSample, task: str) -> dict[str, Any]:
    """What a clip takes from a sample. A corpus for classification may give its labels as texts."""
    metadata = dict(sample.metadata)
    values = {key: metadata.pop(key) for key in OF_METADATA if key in metadata}
    try:
        json.dumps([values, metadata], allow_nan=False)
    except (TypeError, ValueError) as error:
        raise RowError("bad_value", f"metadata must be what JSON can hold: {error}") from error
    task = sample.task if sample.task != "asr" else task
    if task == "classification":
        values.setdefault("label", sample.text)
    return values | {"text": sample.text, "duration": sample.duration, "task": task, "metadata": metadata}


def _write(sample: AudioSample, out: Path, number: int) -> Path:
    """Samples in memory as a 16-bit mono file.

    Raises:
        RowError: when they are none.
    """
    if sample.audio_array is None or sample.sample_rate is None:
        raise RowError("no_audio", "neither audio_path, nor audio_array with sample_rate")
    samples = np.asarray(sample.audio_array)
    if not np.issubdtype(samples.dtype, np.floating) or samples.ndim not in (1, 2):
        shape = f"{samples.dtype} {list(samples.shape)}"
        raise RowError("bad_value", f"audio_array must be float samples in -1…1, [N] or [N, C], not {shape}")
    if samples.size == 0:
        raise RowError("no_samples", "no samples")
    if not np.abs(samples).max() <= FULL_SCALE:
        raise RowError("bad_value", f"audio_array must be in -1…1; its peak is {np.abs(samples).max():g}")
    path = out.resolve() / ARRAYS / f"{number:06d}.wav"
    io.write_wav(path, io.to_mono(samples.astype(np.float32).reshape(len(samples), -1)), sample.sample_rate)
    return path


def _common(paths: list[Path]) -> Path:
    return Path(os.path.commonpath([path.parent for path in paths])) if paths else Path(os.sep)


def _copy(sample: _Sample, target: Path) -> None:
    if not sample.written and sample.file.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(sample.file, target)


CORPUS = Corpus(
    CorpusInfo(
        source="your subclass of AudioDataset",
        task="asr, classification",
        about="Your own recordings, as your own Python yields them.",
        licence="yours",
        size="yours",
        languages="any",
        splits="yours (metadata split); clips without one are split by speaker, source recording or text",
        columns={
            "text": "what is said; for classification the label",
            "metadata": "id, label, speaker, split and source are the clip's; the rest is kept",
        },
        takes=frozenset({"path", "labels"}),
        needs=frozenset({"path"}),
    ),
    fetch,
)
