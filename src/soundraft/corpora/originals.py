"""ESC-50, UrbanSound8K, EmoDB and LJSpeech as their authors publish them: a folder, of the first three also an archive.

Their tables have the columns of the hub's copies, so what a row means stands in `catalog.py` alone. EmoDB has no table:
in `wav/03a01Wa.wav` characters 1–2 are the speaker, 3–5 the sentence, 6 the emotion in German, the last one the take.

LJSpeech 1.1 (keithito.com/LJ-Speech-Dataset) is `metadata.csv` of lines `id|text|normalised text`, and
`wavs/ID.wav`; any folder of this form will do. The text is the normalised one, in which numbers are words. It is one
speaker's, and has no splits: they are drawn.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import FiniteFloat, TypeAdapter, ValidationError

from soundraft import files
from soundraft.audio.io import AUDIO_SUFFIXES
from soundraft.corpora import archive, hub
from soundraft.corpora.base import Corpus, CorpusError, CorpusInfo, Fetched, Request, existing_path
from soundraft.corpora.hub import Columns, HubCorpus
from soundraft.corpora.lists import Finding, read_listing, to_clips
from soundraft.corpora.recordings import Recordings, open_recordings
from soundraft.manifest import Clip, audio_names
from soundraft.parallel import BadClip
from soundraft.splits import fold_split

EMODB_STEM = re.compile(r"(?P<speaker>\d\d)(?P<sentence>[ab]\d\d)(?P<emotion>[A-Z])(?P<take>[a-z]?)")
EMODB_SPEAKERS: Mapping[str, tuple[str, int]] = {  # gender and age in years
    "03": ("male", 31), "08": ("female", 34), "09": ("female", 21), "10": ("male", 32), "11": ("male", 26),
    "12": ("male", 30), "13": ("female", 32), "14": ("female", 35), "15": ("male", 25), "16": ("female", 31),
}  # fmt: skip
EMODB_EMOTIONS: Mapping[str, str] = {
    "W": "anger", "L": "boredom", "E": "disgust", "A": "fear", "F": "happiness", "N": "neutral", "T": "sadness",
}  # fmt: skip
_KINDS = {  # of columns of their tables
    "filename": str, "slice_file_name": str, "fold": int, "src_file": int, "fsID": int, "salience": int, "esc10": bool,
    "start": FiniteFloat, "end": FiniteFloat,
}  # fmt: skip
_ADAPTERS = {name: TypeAdapter[Any](kind) for name, kind in _KINDS.items()}


@dataclass(frozen=True)
class Original:
    """How the authors publish a corpus.

    Attributes:
        holds: what shows that it is one, in words.
        mark: pattern of the path of a file that shows it: the table, or any recording.
        audio: the path of a row's recording, with the row's values in braces.
        row: makes a row as the hub has it of one of the table, or of the path of a recording (`file`).
        table: the path of the table; empty: the paths of the recordings say all.
    """

    holds: str
    mark: str
    audio: str
    row: Callable[[Mapping[str, str]], Mapping[str, Any]]
    table: str = ""


def _typed(columns: str, row: Mapping[str, str]) -> dict[str, Any]:
    """The row with these columns as what they are; BadClip where one is missing or something else."""
    typed: dict[str, Any] = dict(row)
    for name in columns.split():
        try:
            typed[name] = _ADAPTERS[name].validate_python(row.get(name))
        except ValidationError as error:
            raise BadClip(f"{name}: {error.errors()[0]['msg']}, not {row.get(name)!r}") from error
    return typed


def _emodb_row(row: Mapping[str, str]) -> dict[str, Any]:
    match = EMODB_STEM.fullmatch(PurePosixPath(row["file"]).stem)
    if match is None:
        raise BadClip("name is not {speaker}{sentence}{emotion}{take}.wav, such as 03a01Wa.wav")
    for name, known in (("speaker", EMODB_SPEAKERS), ("emotion", EMODB_EMOTIONS)):
        if match[name] not in known:
            raise BadClip(f"{name} {match[name]} is not one of: {', '.join(known)}")
    gender, age = EMODB_SPEAKERS[match["speaker"]]
    return {**row, "emotion": EMODB_EMOTIONS[match["emotion"]], "gender": gender, "age": age}


ORIGINALS: Mapping[str, Original] = {
    "esc50": Original(
        "ESC-50 with meta/esc50.csv",
        mark=r"meta/esc50\.csv",
        audio="audio/{filename}",
        row=partial(_typed, "filename fold src_file esc10"),
        table="meta/esc50.csv",
    ),
    "urbansound8k": Original(
        "UrbanSound8K with metadata/UrbanSound8K.csv",
        mark=r"metadata/UrbanSound8K\.csv",
        audio="audio/fold{fold}/{slice_file_name}",
        row=partial(_typed, "slice_file_name fold fsID salience start end"),
        table="metadata/UrbanSound8K.csv",
    ),
    "emodb": Original(
        "EmoDB with wav/03a01Wa.wav and so on",
        mark=rf"(wav/)?{EMODB_STEM.pattern}\.wav",  # without wav/ when that folder itself is given
        audio="{file}",
        row=_emodb_row,
    ),
}


def fetch(corpus: HubCorpus, original: Original | None, request: Request, out: Path) -> Fetched:
    """The clips of the original, where they are (those of an archive in `out`), else those of the hub's copy.

    Raises:
        CorpusError: when `path` is neither, is damaged, or an option has no such value.
    """
    path = request.path
    if original is None or path is None:
        return hub.fetch(corpus, request, out)
    start = find_start(path, original)
    if start is not None:
        return _fetch(corpus, original, request, path, start, out)
    if path.is_file():
        raise request.error("path", f"{path} is neither an archive of {original.holds} nor a folder")
    try:
        return hub.fetch(corpus, request, out)
    except CorpusError as error:
        if any(path.rglob("*.parquet")):
            raise
        reason = f"is not {original.holds}, nor can it be read as a copy of {corpus.repo} ({error})"
        raise request.error("path", f"{path} {reason}; there is: {corpus.info.source}") from error


def find_start(path: Path, original: Original) -> str | None:
    """Where in a folder or archive the original begins: `""`, or the one folder above it with its slash.

    Raises:
        CorpusError: when it is an archive that cannot be read.
    """
    if not path.is_dir() and not archive.is_archive(path):
        return None
    names = files.sorted_names(path, (".csv", ".wav")) if path.is_dir() else archive.file_names(path)
    ends = ((name, end) for name in names for end in (name, name.partition("/")[2]))
    return min((name.removesuffix(end) for name, end in ends if re.fullmatch(original.mark, end)), default=None)


def _fetch(corpus: HubCorpus, original: Original, request: Request, path: Path, start: str, out: Path) -> Fetched:
    for option in ("revision", "columns"):
        if getattr(request, option):
            raise request.error(option, f"the original of {corpus.repo} has none; leave it empty")
    config = corpus.checked(request)
    root = path / start
    if archive.is_archive(path):
        archive.unpack(path, out, suffixes=(*AUDIO_SUFFIXES, ".csv"), prefix=start)
        root = out
    rows, columns, findings = _rows(original, root)
    named = Columns(corpus, request, {"audio": [], "labels": {}, "columns": columns}, original.table)

    def values(row: Mapping[str, str]) -> Mapping[str, Any] | None:
        known = original.row(row)
        audio = original.audio.format_map(known)
        fields = corpus.finish(named.fields(known), audio, request)
        if fields is None:
            return None
        split = fold_split(corpus.fold_of(fields), request.fold, corpus.folds)
        return {"id": PurePosixPath(audio).name, **fields, "audio_path": audio, "split": split}

    clips, bad = to_clips(rows, values, request)
    fetched = open_recordings(Recordings(root, "original", clips, findings + bad), request)
    return replace(fetched, source={**fetched.source, "config": config} if config else fetched.source)


def _rows(original: Original, root: Path) -> tuple[dict[str, dict[str, Any]], list[str], list[Finding]]:
    """The rows by place, the columns that they have, and the lines that are no rows."""
    if original.table:
        listing = read_listing(root / original.table, audio_names={"filename", "slice_file_name"})
        return listing.rows, listing.columns, listing.findings
    folder = "wav/" if (root / "wav").is_dir() else ""
    names = [f"{folder}{name}" for name in audio_names(root / folder, [".wav"])]
    return {name: {"file": name} for name in names}, ["emotion", "gender", "age"], []


LIST_NAME, AUDIO = "metadata.csv", "wavs"


def _ljspeech(request: Request, _out: Path) -> Fetched:
    """The listed recordings, where they are; CorpusError when the folder has no list."""
    folder = existing_path(request, f"the folder that holds {LIST_NAME} and {AUDIO}/")
    path = folder / LIST_NAME
    if not path.is_file():
        raise request.error("path", f"{folder} has no {LIST_NAME}")
    clips: dict[str, Clip] = {}
    seen: set[str] = set()
    findings: list[Finding] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        place, fields = f"{LIST_NAME}:{number}", line.split("|")
        name, text = fields[0].strip(), fields[-1].strip()
        if len(fields) not in (2, 3) or not name or not text:
            findings.append(Finding(place, "no_text", "a line is id|text|normalised text", name))
        elif name in seen:
            findings.append(Finding(place, "duplicate_id", "duplicate id: an earlier line has it", name))
        else:
            seen.add(name)
            clips[place] = Clip(id=name, audio_path=f"{AUDIO}/{name}.wav", text=text)
    if not clips:
        raise CorpusError(f"{path}: no line is id|text|normalised text")
    return open_recordings(Recordings(folder, f"{LIST_NAME} of LJSpeech's form", clips, findings), request)


LJSPEECH = Corpus(
    CorpusInfo(
        source="your folder of LJSpeech 1.1 (keithito.com/LJ-Speech-Dataset), or one like it",
        task="asr, tts",
        about="Passages read from books by one speaker; metadata.csv of id|text|normalised text.",
        licence="public domain",
        size="13,100 recordings, 24 hours, 22.05 kHz",
        languages="en",
        splits="drawn: it has none",
        columns={"text": "the normalised text, numbers in words"},
        takes=frozenset({"path"}),
        needs=frozenset({"path"}),
    ),
    _ljspeech,
)
