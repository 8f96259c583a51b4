"""ESC-50, UrbanSound8K and EmoDB as their authors publish them: a folder or an archive of it.

ESC-50: `meta/esc50.csv` and `audio/`; github.com/karolpiczak/ESC-50. UrbanSound8K: `metadata/UrbanSound8K.csv` and
`audio/fold1/` to `fold10/`; urbansounddataset.weebly.com. EmoDB: `wav/03a01Wa.wav`, all in the names: characters 1–2
are the speaker, 3–5 the sentence, 6 the emotion in German, the last one the take; emodb.bilderbar.info.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from soundraft import files
from soundraft.audio.io import AUDIO_SUFFIXES
from soundraft.corpora import archive, recordings
from soundraft.corpora.base import CorpusError, Fetched, Request, check_config
from soundraft.corpora.lists import Finding, Item, RowError, SourceError, collect, read_listing, rejections
from soundraft.corpora.recordings import limit
from soundraft.runtime import UserError
from soundraft.splits import fold_split

ESC50_TABLE = "meta/esc50.csv"
ESC50_FOLDS = 5
ESC10 = "esc10"
ESC50_CONFIGS = {"esc50": "all 50 classes", ESC10: "the subset of 10 classes"}
URBANSOUND8K_TABLE = "metadata/UrbanSound8K.csv"
URBANSOUND8K_FOLDS = 10
EMODB_STEM = re.compile(r"(?P<speaker>\d\d)(?P<sentence>[ab]\d\d)(?P<emotion>[A-Z])(?P<take>[a-z]?)")
_EMODB_NAME = re.compile(rf"(?:wav/)?{EMODB_STEM.pattern}\.wav")  # without wav/ when that folder itself is given
_SUFFIXES = (*AUDIO_SUFFIXES, ".csv")


class Speaker(NamedTuple):
    gender: str
    age: int


EMODB_SPEAKERS: Mapping[str, Speaker] = {
    "03": Speaker("male", 31),
    "08": Speaker("female", 34),
    "09": Speaker("female", 21),
    "10": Speaker("male", 32),
    "11": Speaker("male", 26),
    "12": Speaker("male", 30),
    "13": Speaker("female", 32),
    "14": Speaker("female", 35),
    "15": Speaker("male", 25),
    "16": Speaker("female", 31),
}
EMODB_EMOTIONS: Mapping[str, str] = {
    "W": "anger",
    "L": "boredom",
    "E": "disgust",
    "A": "fear",
    "F": "happiness",
    "N": "neutral",
    "T": "sadness",
}


def is_esc50(path: Path) -> bool:
    """Whether a folder or archive is the original ESC-50.

    Raises:
        CorpusError: when it is an archive that cannot be read.
    """
    return _place(path, _has(ESC50_TABLE)) is not None


def is_urbansound8k(path: Path) -> bool:
    """As `is_esc50`."""
    return _place(path, _has(URBANSOUND8K_TABLE)) is not None


def is_emodb(path: Path) -> bool:
    """As `is_esc50`."""
    return _place(path, _is_emodb_name) is not None


def fetch_esc50(request: Request, out: Path) -> Fetched:
    """The clips of the original ESC-50, where they are; those of an archive in `out`.

    Raises:
        CorpusError: when it is not there, is damaged, or an option has no such value.
    """
    config = check_config("esc50", request, ESC50_CONFIGS)
    _check_fold("esc50", request, ESC50_FOLDS)
    root = _open(request, out, _has(ESC50_TABLE), f"ESC-50 with {ESC50_TABLE}")
    names = ("filename", "fold", "category", "esc10", "src_file", "take")
    items, findings = _read_table(root / ESC50_TABLE, names, request.labels, lambda row: _esc50_row(row, request))
    if config == ESC10:
        items = [item for item in items if item.clip.metadata["esc10"]]
    return _measured(root, items, findings, request, {"config": config})


def fetch_urbansound8k(request: Request, out: Path) -> Fetched:
    """As `fetch_esc50`, of UrbanSound8K."""
    _check_fold("urbansound8k", request, URBANSOUND8K_FOLDS)
    root = _open(request, out, _has(URBANSOUND8K_TABLE), f"UrbanSound8K with {URBANSOUND8K_TABLE}")
    names = ("slice_file_name", "fsID", "start", "end", "salience", "fold", "class")
    items, findings = _read_table(
        root / URBANSOUND8K_TABLE, names, request.labels, lambda row: _urbansound8k_row(row, request)
    )
    return _measured(root, items, findings, request, {})


def fetch_emodb(request: Request, out: Path) -> Fetched:
    """As `fetch_esc50`, of EmoDB; its folds are the speakers, in ascending order."""
    _check_fold("emodb", request, len(EMODB_SPEAKERS))
    root = _open(request, out, _is_emodb_name, "EmoDB with wav/03a01Wa.wav and so on")
    folder = "wav/" if (root / "wav").is_dir() else ""
    names = [f"{folder}{name}" for name in files.sorted_names(root / folder, [".wav"])]
    rows = ((name, {"audio_path": name}) for name in names)
    items, findings = collect(rows, lambda row: _emodb_row(row["audio_path"], request), request.labels)
    return _measured(root, items, findings, request, {})


def _esc50_row(row: Mapping[str, str], request: Request) -> dict[str, Any]:
    fold = _whole("fold", row)
    if row.get("esc10") not in ("True", "False"):
        raise RowError("bad_value", f"esc10 must be True or False, not {row.get('esc10')!r}")
    name = _given("filename", row)
    return {
        "id": name,
        "audio_path": f"audio/{name}",
        "label": row.get("category"),
        "split": _split(fold, request, ESC50_FOLDS),
        "metadata": {
            "source": _whole("src_file", row),
            "fold": fold,
            "take": row.get("take"),
            "esc10": row["esc10"] == "True",
        },
    }


def _urbansound8k_row(row: Mapping[str, str], request: Request) -> dict[str, Any]:
    fold = _whole("fold", row)
    name = _given("slice_file_name", row)
    return {
        "id": name,
        "audio_path": f"audio/fold{fold}/{name}",
        "label": row.get("class"),
        "split": _split(fold, request, URBANSOUND8K_FOLDS),
        "metadata": {
            "source": _whole("fsID", row),
            "fold": fold,
            "start": _seconds("start", row),
            "end": _seconds("end", row),
            "salience": _whole("salience", row),
        },
    }


def _emodb_row(path: str, request: Request) -> dict[str, Any]:
    match = _EMODB_NAME.fullmatch(path)
    if match is None:
        raise RowError("bad_name", "name is not {speaker}{sentence}{emotion}{take}.wav, such as 03a01Wa.wav")
    speaker, sentence, emotion, take = match.group("speaker", "sentence", "emotion", "take")
    if speaker not in EMODB_SPEAKERS:
        raise RowError("bad_name", f"speaker {speaker} is none of: {', '.join(EMODB_SPEAKERS)}")
    if emotion not in EMODB_EMOTIONS:
        raise RowError("bad_name", f"emotion {emotion} is none of: {', '.join(EMODB_EMOTIONS)}")
    fold = list(EMODB_SPEAKERS).index(speaker) + 1
    known = EMODB_SPEAKERS[speaker]
    return {
        "id": path.removeprefix("wav/"),
        "audio_path": path,
        "label": EMODB_EMOTIONS[emotion],
        "speaker": speaker,
        "split": _split(fold, request, len(EMODB_SPEAKERS)),
        "metadata": {"fold": fold, "gender": known.gender, "age": known.age, "sentence": sentence, "take": take},
    }


def _read_table(
    path: Path,
    names: tuple[str, ...],
    labels: tuple[str, ...],
    convert: Callable[[Mapping[str, str]], dict[str, Any]],
) -> tuple[list[Item], list[Finding]]:
    """The rows of an official table as clips, and those that are none."""
    listing = read_listing(path, audio_names={names[0].lower()})
    absent = [name for name in names if name not in listing.columns]
    if absent:
        message = f"no column {', '.join(absent)}; found: {', '.join(listing.columns)} ({listing.form})"
        raise SourceError(f"{path.name}:1", "missing_column", message)
    items, bad = collect(((listing.place(row), row.values) for row in listing.rows), convert, labels)
    return items, listing.findings + bad


def _measured(
    root: Path, items: list[Item], findings: list[Finding], request: Request, record: Mapping[str, Any]
) -> Fetched:
    good, bad = recordings.measure(root, items)
    clips = limit([item.clip for item in good], request)
    return Fetched(clips, len(good), rejections(findings + bad), root, {"form": "original", **record})


def _given(name: str, row: Mapping[str, str]) -> str:
    if not row.get(name):
        raise RowError("bad_value", f"no {name}")
    return row[name]


def _whole(name: str, row: Mapping[str, str]) -> int:
    if not row.get(name, "").isdecimal():
        raise RowError("bad_value", f"{name} must be a whole number, not {row.get(name)!r}")
    return int(row[name])


def _seconds(name: str, row: Mapping[str, str]) -> float:
    try:
        return float(_given(name, row))
    except ValueError as error:
        raise RowError("bad_value", f"{name} must be a number of seconds, not {row.get(name)!r}") from error


def _split(fold: int, request: Request, folds: int) -> str:
    try:
        return fold_split(fold, request.fold, folds)
    except UserError as error:
        raise RowError("bad_value", str(error)) from error


def _check_fold(name: str, request: Request, folds: int) -> None:
    if not 1 <= request.fold <= folds:
        raise CorpusError(f"{request.asked_as}fold: got {request.fold}; {name} has folds 1 to {folds}")


def _has(table: str) -> Callable[[str], bool]:
    return lambda name: name == table


def _is_emodb_name(name: str) -> bool:
    return _EMODB_NAME.fullmatch(name) is not None


def _place(path: Path, is_telling: Callable[[str], bool]) -> str | None:
    """Where in a folder or archive the corpus begins: `""`, or the one folder above it with its slash."""
    if archive.is_archive(path):
        names = [member.name for member in archive.members(path)]
    elif path.is_dir():
        names = files.sorted_names(path, (".csv", ".wav"))
    else:
        return None
    starts = {name[: -len(rest)] for name in names for rest in _ends(name) if is_telling(rest)}
    return min(starts, default=None)


def _ends(name: str) -> tuple[str, str]:
    """A path, and the same without its first folder."""
    return name, name.partition("/")[2]


def _open(request: Request, out: Path, is_telling: Callable[[str], bool], what: str) -> Path:
    """The corpus's root: in the folder that was given, or `out` with what the archive holds."""
    for option in ("split", "revision", "columns"):
        if getattr(request, option):
            raise CorpusError(f"{request.asked_as}{option}: the original of {what.split()[0]} has none; leave it empty")
    if request.path is None or not request.path.exists():
        shown = f"no such file or folder: {request.path}" if request.path else "empty"
        raise CorpusError(f"{request.asked_as}path: {shown}: it names the folder or archive of {what}")
    start = _place(request.path, is_telling)
    if start is None:
        raise CorpusError(f"{request.asked_as}path: {request.path} is not {what}")
    if not archive.is_archive(request.path):
        return request.path / start
    archive.unpack(request.path, out, suffixes=_SUFFIXES, prefix=start)
    return out
