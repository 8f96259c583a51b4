"""The user's own recordings: a folder with a list beside the audio, a list alone, or a folder for each label.

The list is `manifest.jsonl`, `metadata.csv` (`.tsv`, `.jsonl`: Hugging Face's AudioFolder), or the one list that the
folder has. AudioFolder's other form has no list: `LABEL/x.wav`, or `SPLIT/LABEL/x.wav`. Clips without a split get one
by group (`splits.py`).
"""

import hashlib
import os
from collections import Counter
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from soundraft import files, runtime
from soundraft.audio.io import AUDIO_SUFFIXES, read_header
from soundraft.corpora import lists
from soundraft.corpora.base import Corpus, CorpusInfo, Fetched, Request, existing_path
from soundraft.corpora.lists import Finding, Listing
from soundraft.manifest import MANIFEST_NAME, QUARANTINE_NAME, SPLITS, Clip, audio_names
from soundraft.parallel import BadClip, Failure, map_clips
from soundraft.splits import assign_splits, known_origin

METADATA_NAMES = ("metadata.csv", "metadata.tsv", "metadata.jsonl")
TOLERANCE_S = 0.05  # how far a stated duration may be from the audio's
_BEGINNING_BYTES = 1 << 16
_CODES = {
    "path leaves": "path_leaves", "no such file": "no_file", "empty file": "no_samples", "no samples": "no_samples",
    "duration": "duration", "a sampling rate": "rate",
}  # fmt: skip
Value = TypeVar("Value", bound=Hashable)


@dataclass(frozen=True)
class Recordings:
    """Recordings as listed, before any audio is opened.

    Attributes:
        root: the folder that the clips' paths count from.
        form: how they are listed, in words.
        clips: by place.
        findings: what of the list cannot be used.
        named: every file that a list names, also on lines that cannot be used; `None` where there is no list.
    """

    root: Path
    form: str
    clips: dict[str, Clip]
    findings: list[Finding] = field(default_factory=list)
    named: frozenset[str] | None = None


def fetch(request: Request, _out: Path) -> Fetched:
    """The listed recordings, where they are; CorpusError when the folder or its list is absent or unusable."""
    path = existing_path(request, "the folder or the list of your recordings")
    return open_recordings(find_recordings(path, request), request)


def fetch_jsonl(request: Request, out: Path) -> Fetched:
    """As `fetch`, of a file of JSON lines."""
    path = request.path
    if path and path.exists() and (path.is_dir() or not path.name.lower().endswith(lists.JSON_SUFFIXES)):
        raise request.error("path", f"jsonl takes a file of JSON lines; for {path} take folder")
    return fetch(request, out)


def open_recordings(listed: Recordings, request: Request) -> Fetched:
    """Open every file's header, reject bad clips, assign splits, and take as many clips as asked."""
    clips, findings = [], list(listed.findings)
    opened = map_clips(partial(measured, listed.root), list(listed.clips.values()), title="open")
    for (place, clip), result in zip(listed.clips.items(), opened, strict=True):
        if isinstance(result, Failure):
            findings.append(as_finding(place, clip, result.reason))
        elif request.unlabelled and result.split is result.text is result.label is None:
            clips.append(result.model_copy(update={"split": "train"}))  # it cannot be scored
        else:
            clips.append(result)
    lacking = any(clip.split is None for clip in clips)
    clips = assign_splits(clips, request.seed, _contents(listed.root, clips) if lacking else None)
    return Fetched(
        _limited(clips, request), len(clips), lists.rejections(findings), listed.root, {"form": listed.form},
        drawn=all(clip.split is None for clip in listed.clips.values()),
    )  # fmt: skip


def measured(root: Path, clip: Clip) -> Clip:
    """The clip with duration and rate as its file has them."""
    duration_s, rate_hz = read_header(inside(root, clip.audio_path))
    check_duration(clip, duration_s)
    return clip.model_copy(update={"duration": round(duration_s, 6), "sample_rate": rate_hz})


def _limited(clips: list[Clip], request: Request) -> list[Clip]:
    """As many clips of each split as asked, drawn: the first of a sorted source would all have one label."""
    kept: list[Clip] = []
    for split in SPLITS:
        own = [clip for clip in clips if clip.split == split]
        drawn = sorted(own, key=lambda clip: runtime.derive_seed("limit", request.seed, clip.id))
        ids = {clip.id for clip in drawn[: request.clips.get(split)]}
        kept += [clip for clip in own if clip.id in ids]
    return kept


def _contents(root: Path, clips: Sequence[Clip]) -> dict[str, str]:
    """By id, a hash of the file of each clip that is tied to others by it.

    That is a clip whose bytes another clip has too (only files of one size are opened, and only those with one
    beginning are read whole), and one of which neither speaker, source nor text is known.
    """
    paths = {clip.id: root / clip.audio_path for clip in clips}
    sizes = _shared({name: path.stat().st_size for name, path in paths.items()})
    alike = _shared({name: (size, _beginning(paths[name])) for name, size in sizes.items()})
    bare = {clip.id for clip in clips if not known_origin(clip)}
    hashes = {name: files.content_of(path) for name, path in paths.items() if name in bare or name in alike}
    return {name: hashes[name] for name in bare} | _shared(hashes)


def _shared(values: Mapping[str, Value]) -> dict[str, Value]:
    """Those that several names have."""
    counts = Counter(values.values())
    return {name: value for name, value in values.items() if counts[value] > 1}


def _beginning(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.sha256(stream.read(_BEGINNING_BYTES)).hexdigest()


def inside(root: Path, relative: str) -> Path:
    """The path of a clip's file; BadClip when it leaves the folder."""
    if "\0" in relative:
        raise BadClip("path holds a zero byte")
    try:
        return files.inside(root, relative)
    except ValueError as error:
        raise BadClip(str(error)) from error


def check_duration(clip: Clip, duration_s: float) -> None:
    if clip.duration is not None and abs(clip.duration - duration_s) > TOLERANCE_S:
        raise BadClip(f"duration {clip.duration:g} s is stated, the audio has {duration_s:.3f} s")


def as_finding(place: str, clip: Clip, reason: str) -> Finding:
    """A clip's failure; its code follows from the reason, which all readers of audio share."""
    code = next((code for start, code in _CODES.items() if reason.startswith(start)), "unreadable")
    return Finding(place, code, reason, clip.id)


def find_recordings(path: Path, request: Request) -> Recordings:
    """What a folder, or a list alone, names; SourceError when there is no list, or it cannot be used."""
    if not path.is_file() and not path.is_dir():
        raise lists.SourceError(path.name, "no_list", "a pipe or a device; give a folder, or a list")
    listing = _open_list(path, request) if path.is_file() else _find_list(path, request)
    if listing is not None:
        return _listed(listing, request, anywhere=path.is_file())
    found = _whole_folder(path, request) if request.unlabelled else _label_folders(path, request)
    if found is None:
        message = (
            f"no list of the recordings is there: neither {MANIFEST_NAME} (lines with audio_path and text) nor "
            f"{METADATA_NAMES[0]} (columns file_name and text), no other .csv, .tsv, .jsonl or .txt with such columns, "
            "and no two folders named after labels (soundraft predict and transcribe take recordings alone)"
        )
        raise lists.SourceError(path.name or str(path), "no_list", message)
    return found


def _open_list(path: Path, request: Request) -> Listing:
    if not files.is_utf8(path.name):
        raise lists.SourceError(ascii(path.name), "bad_name", "its name is not UTF-8; rename it")
    if not path.name.lower().endswith(lists.LIST_SUFFIXES + lists.JSON_SUFFIXES):
        raise lists.SourceError(path.name, "no_list", f"no list: a list ends in {', '.join(lists.LIST_SUFFIXES)}")
    return lists.read_listing(path, audio_names=lists.audio_names(request))


def _find_list(folder: Path, request: Request) -> Listing | None:
    """The list of a folder; a .txt is one when it names audio, as a README does not."""
    paths = [path for path in folder.iterdir() if not path.is_dir() and not path.name.startswith(".")]
    names = sorted(path.name for path in paths if path.name != QUARANTINE_NAME)  # that lists what is not there
    for name in names:
        if name.lower().endswith(lists.LIST_SUFFIXES) and not (folder / name).is_file():
            raise lists.SourceError(name, "no_file", "a broken link, a pipe or a device, not a file")
    known = [name for name in (MANIFEST_NAME, *METADATA_NAMES) if name in names]
    tables = known[:1] or [name for name in names if name.lower().endswith((".csv", ".tsv", ".jsonl"))]
    texts = [name for name in names if name.lower().endswith(".txt")]
    undecided = not tables and len(texts) > 1 and not request.unlabelled
    if len(tables) > 1 or (undecided and _label_folders(folder, request) is None):
        message = f"several lists: {', '.join(tables or texts)}; give the path of one of them"
        raise lists.SourceError(folder.name or str(folder), "several_lists", message)
    if tables:
        return _open_list(folder / tables[0], request)
    listing = _open_list(folder / texts[0], request) if len(texts) == 1 else None
    names_audio = listing and {name.lower() for name in listing.columns} & lists.audio_names(request)
    return listing if names_audio else None


def _listed(listing: Listing, request: Request, *, anywhere: bool) -> Recordings:
    """The clips of a list; with `anywhere` audio of which it has the whole path may lie outside its folder."""
    chosen = lists.match_columns(listing, request)
    theirs = [chosen[ours] for ours in ("audio_path", "target_path") if ours in chosen]
    named = {str(row[name]) for row in listing.rows.values() for name in theirs if name in row}
    root, paths = _from_one_folder(listing.path.parent, named, anywhere=anywhere)

    def values(row: Mapping[str, Any]) -> Mapping[str, Any]:
        moved = {name: paths[str(row[name])] for name in theirs if str(row.get(name)) in paths}
        return lists.rename_columns({**row, **moved}, chosen)

    clips, bad = lists.to_clips(listing.rows, values, request)
    findings = listing.findings + bad
    extra = [name for name in listing.columns if name not in chosen.values() and name != "metadata"]
    if extra:
        findings.append(Finding(f"{listing.path.name}:1", "extra_column", f"kept as metadata: {', '.join(extra)}"))
    files_named = frozenset(PurePosixPath(paths.get(name, name)).as_posix() for name in named)
    return Recordings(root, f"{listing.path.name}, {listing.form}", clips, findings, files_named)


def _from_one_folder(home: Path, names: Collection[str], *, anywhere: bool) -> tuple[Path, dict[str, str]]:
    """The folder that paths count from, and for each name that counts from elsewhere its path from there.

    It is the list's own, or with `anywhere` the one above all audio, where a whole path leads out of that.
    """
    usable = [name for name in names if "\0" not in name and ".." not in PurePosixPath(name).parts]
    whole = [name for name in usable if os.path.isabs(name)]
    own = f"{home.resolve()}{os.sep}"
    if all(name.startswith(own) for name in whole) or not anywhere:
        return home, {name: name.removeprefix(own) for name in whole if name.startswith(own)}
    folders = [os.path.dirname(name) for name in whole] + ([own] if len(whole) < len(usable) else [])
    root = os.path.commonpath(folders)
    return Path(root), {name: os.path.relpath(os.path.join(own, name), root) for name in usable}


def _whole_folder(root: Path, request: Request) -> Recordings:
    names = audio_names(root, AUDIO_SUFFIXES)
    clips, findings = lists.to_clips(dict(zip(names, names, strict=True)), lambda name: {"audio_path": name}, request)
    return Recordings(root, "a folder without a list", clips, findings)


def _label_folders(root: Path, request: Request) -> Recordings | None:
    """Recordings in folders named after their labels, below folders named after splits where there are such."""
    names = audio_names(root, AUDIO_SUFFIXES)
    tops = {name.split("/")[0] for name in names}
    form = ("split", "label") if tops and all(top.lower() in lists.SPLIT_SPELLINGS for top in tops) else ("label",)
    if len({name.split("/")[-2] for name in names if name.count("/") == len(form)}) < 2:
        return None

    def values(name: str) -> dict[str, str]:
        *folders, _ = name.split("/")
        if len(folders) != len(form):
            raise lists.RowError("no_label", f"not in a folder {'/'.join(form).upper()}: it has no label")
        return {"audio_path": name, **dict(zip(form, folders, strict=True))}

    clips, findings = lists.to_clips(dict(zip(names, names, strict=True)), values, request)
    return Recordings(root, "a folder for each label", clips, findings)


OWN = CorpusInfo(
    source="your folder of recordings with manifest.jsonl, metadata.csv, another list, or a folder for each label",
    task="asr, classification",
    about="Your own recordings.",
    licence="yours",
    size="yours",
    languages="any",
    splits="yours; clips without one are split by speaker, source recording or text",
    columns={
        "text": "what is said",
        "label": "the class",
        "speaker": "who speaks",
        "duration": "seconds; compared with the audio",
        "source": "the recording that a clip was cut from",
        "…": "other columns are kept as metadata",
    },
    takes=frozenset({"path", "columns", "labels"}),
    needs=frozenset({"path"}),
)
OWN_JSON_LINES = replace(
    OWN,
    source="your file of JSON lines; paths count from its folder",
    about="Your own recordings, listed as NeMo and RLVR manifests are.",
)
FOLDER = Corpus(OWN, fetch)
JSONL = Corpus(OWN_JSON_LINES, fetch_jsonl)
