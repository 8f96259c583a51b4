"""A corpus in the user's own Python: `path: package.module:Class`, or `folder/module.py:Class`.

The class derives from `AudioDataset`. Its module is looked for in the folder of `path` (of the repository, for a plain
`package.module:Class`), then where Python looks. DVC does not watch it: after a change in it run
`dvc repro --force fetch`.
"""

import importlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from soundraft import files, runtime
from soundraft.corpora.base import AudioDataset, AudioSample, Corpus, Fetched, Request, samples_as_wav
from soundraft.corpora.lists import OF_METADATA, Finding, to_clips
from soundraft.corpora.recordings import OWN, Recordings, open_recordings
from soundraft.runtime import BadClip

ARRAYS, FILES = "arrays", "files"  # folders of what is written: of samples that had no file, and of the others


def fetch(request: Request, out: Path) -> Fetched:
    """The samples that a class of the user yields, where they are; if one has no file, all are written to `out`.

    Raises:
        CorpusError: when there is no such class, or it cannot be made.
    """
    if request.path is None or request.path.name.count(":") != 1:
        given = "empty" if request.path is None else f"got {request.path}"
        raise request.error("path", f"{given}; python needs package.module:Class")
    spec, folder = request.path.name, request.path.parent
    with _importable(folder):
        dataset = _dataset(spec, folder, request)
        rows, findings = _read(dataset, out)
    own = {place: row["audio_path"] for place, row in rows.items() if isinstance(row["audio_path"], Path)}
    home = Path(os.path.commonpath([path.parent for path in own.values()])) if own else out
    mixed = len(own) < len(rows)
    for place, path in own.items():
        rows[place]["audio_path"] = name = (f"{FILES}/" if mixed else "") + path.relative_to(home).as_posix()
        if mixed and path.is_file():
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, out / name)
    home = out if mixed else home
    clips, bad = to_clips(rows, dict, request)
    fetched = open_recordings(Recordings(home, f"class {spec}, corpus {dataset.name}", clips, findings + bad), request)
    if mixed:
        for name in {row["audio_path"] for row in rows.values()} - {clip.audio_path for clip in fetched.clips}:
            (out / name).unlink(missing_ok=True)
    return fetched


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Let imports find the user's modules, also those in `load`."""
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
        raise request.error("path", f"cannot import {module_name}: {error}") from error
    classes = {name: value for name, value in vars(module).items() if isinstance(value, type)}
    known = {name: value for name, value in classes.items() if issubclass(value, AudioDataset)}
    known.pop("AudioDataset", None)
    if class_name not in known:
        existing = ", ".join(known) or "none"
        message = f"{module_name} has no subclass {class_name} of AudioDataset; it has {existing}"
        raise request.error("path", message)
    try:
        dataset = known[class_name]()
    except TypeError as error:
        raise request.error("path", f"{spec} cannot be made without arguments: {error}") from error
    if not isinstance(getattr(dataset, "name", None), str):
        raise request.error("path", f"{spec} has no name")
    return dataset


def _module(name: str, folder: Path) -> ModuleType:
    """The user's module; each of two files with one name is its own module.

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


def _read(dataset: AudioDataset, out: Path) -> tuple[dict[str, dict[str, Any]], list[Finding]]:
    """By place, a row for each sample; its audio is the user's file, or the name in `out` of one that was written."""
    rows: dict[str, dict[str, Any]] = {}
    findings = []
    for number, sample in enumerate(dataset.load(), start=1):
        place = f"{dataset.name}:{number}"
        if not isinstance(sample, AudioSample):
            message = f"load yields {type(sample).__name__}, not AudioSample"
            findings.append(Finding(place, "bad_value", message))
            continue
        try:
            values = _values(sample, dataset.task)
            own = sample.audio_path
            audio: Path | str = f"{ARRAYS}/{number:06d}.wav" if own is None else Path(own).resolve()
            if own is None:
                files.write_bytes(out / audio, samples_as_wav(sample))
            rows[place] = {**values, "audio_path": audio}
        except BadClip as error:
            findings.append(Finding(place, "bad_value", str(error), str(sample.metadata.get("id", ""))))
    return rows, findings


def _values(sample: AudioSample, task: str) -> dict[str, Any]:
    """What a clip takes from a sample. A corpus for classification may give its labels as texts."""
    metadata = dict(sample.metadata)
    values = {key: metadata.pop(key) for key in OF_METADATA if key in metadata}
    try:
        json.dumps([sample.text, values, metadata], ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise BadClip(f"text and metadata must be what JSON can hold: {error}") from error
    task = sample.task if sample.task != "asr" else task
    if task == "classification":
        values.setdefault("label", sample.text)
    return values | {"text": sample.text, "duration": sample.duration, "task": task, "metadata": metadata}


INFO = replace(
    OWN,
    source="your subclass of AudioDataset",
    about="Your own recordings, as your own Python yields them.",
    splits="yours (metadata split); clips without one are split by speaker, source recording or text",
    columns={
        "text": "what is said; for classification the label",
        "metadata": "id, label, speaker, split and source are the clip's; the rest is kept",
    },
    takes=frozenset({"path", "labels"}),
)
CORPUS = Corpus(INFO, fetch)
