"""What the header of an audio file tells: its length and rate, or why it is none."""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import soundfile

from soundraft import files, runtime
from soundraft.audio.io import AUDIO_SUFFIXES
from soundraft.corpora.base import Corpus, CorpusError, CorpusInfo, Fetched, Request
from soundraft.corpora.lists import (
    JSON_SUFFIXES,
    LIST_SUFFIXES,
    SPLIT_SPELLINGS,
    Columns,
    Finding,
    Item,
    Listing,
    RowError,
    SourceError,
    collect,
    read_listing,
    rejections,
    to_items,
)
from soundraft.manifest import MANIFEST_NAME, QUARANTINE_NAME, SPLITS, Clip
from soundraft.parallel import BadClip, Failure, map_clips
from soundraft.splits import assign_splits

BEGINNING_BYTES = 1 << 16
TOLERANCE_S = 0.05  # how far a stated duration may be from the audio's


@dataclass(frozen=True)
class Header:
    duration_s: float
    rate_hz: int


def measure(root: Path, items: Sequence[Item], *, title: str = "open") -> tuple[list[Item], list[Finding]]:
    """The clips with duration and rate as their files have them; what is no audio, or is not as stated, is named."""
    kept, findings = [], []
    for item, found in zip(items, map_clips(Prober(root), [item.clip for item in items], title=title), strict=True):
        if isinstance(found, Failure):
            findings.append(as_finding(item, found.reason))
            continue
        measured = {"duration": round(found.duration_s, 6), "sample_rate": found.rate_hz}
        kept.append(Item(item.place, item.clip.model_copy(update=measured)))
    return kept, findings


class Prober:
    """The header of one clip below a folder; picklable, so that worker processes can have it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __call__(self, clip: Clip) -> Header:
        """Raises BadClip when the file is absent, outside the folder, no audio, empty, or not as long as stated."""
        header = read_header(inside(self.root, clip.audio_path))
        check_duration(clip, header.duration_s)
        return header


def inside(root: Path, relative: str) -> Path:
    if "\0" in relative:
        raise BadClip("path holds a zero byte")
    try:
        return files.inside(root, relative)
    except ValueError as error:
        raise BadClip(str(error)) from error


def read_header(path: Path) -> Header:
    if not path.is_file():
        raise BadClip("a folder, not a file" if path.is_dir() else "no such file")
    if path.stat().st_size == 0:
        raise BadClip("empty file")
    try:
        info = soundfile.info(path)
    except soundfile.LibsndfileError as error:
        raise BadClip(f"not readable as audio: {error.error_string}") from error
    if info.frames == 0:
        raise BadClip("no samples")
    return Header(info.frames / info.samplerate, info.samplerate)


def check_duration(clip: Clip, duration_s: float) -> None:
    if clip.duration is not None and abs(clip.duration - duration_s) > TOLERANCE_S:
        raise BadClip(f"duration {clip.duration:g} s is stated, the audio has {duration_s:.3f} s")


def shared_contents(root: Path, clips: Sequence[Clip]) -> dict[str, str]:
    """By id, a hash of the file of each clip whose bytes another clip has too.

    Only files of one size are opened, and only those with one beginning are read whole.
    """
    alike = _shared({clip.id: str((root / clip.audio_path).stat().st_size) for clip in clips})
    paths = {clip.id: root / clip.audio_path for clip in clips}
    alike = _shared({name: f"{size} {_beginning(paths[name])}" for name, size in alike.items()})
    return _shared({name: files.content_hash(paths[name]) for name in alike})


def _shared(values: dict[str, str]) -> dict[str, str]:
    counts = Counter(values.values())
    return {name: value for name, value in values.items() if counts[value] > 1}


def _beginning(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.sha256(stream.read(BEGINNING_BYTES)).hexdigest()


_CODES = {
    "path leaves": "path_leaves",
    "no such file": "no_file",
    "empty file": "no_samples",
    "no samples": "no_samples",
    "duration": "duration",
}


def as_finding(item: Item, reason: str) -> Finding:
    """A clip's failure as a finding; its code follows from the reason, which all readers of audio share."""
    code = next((code for start, code in _CODES.items() if reason.startswith(start)), "unreadable")
    return Finding(item.place, code, "error", reason, item.clip.id)


# The user's own recordings: a folder with a list beside the audio, a list alone, or a folder for each label.
#
# The list is `manifest.jsonl`, `metadata.csv` (`.tsv`, `.jsonl`: Hugging Face's AudioFolder), or the one list that the
# folder has. AudioFolder's other form has no list: `LABEL/x.wav`, or `SPLIT/LABEL/x.wav`. Clips without a split get one
# by group (`dataset/splits.py`).


METADATA_NAMES = ("metadata.csv", "metadata.tsv", "metadata.jsonl")


@dataclass(frozen=True)
class Source:
    """Recordings as somebody lists them, before any audio is opened.

    Attributes:
        root: the folder that the clips' paths count from.
        form: how they are listed, in words.
        named: every file that is named, also on lines that cannot be used.
        findings: what of the list cannot be used.
    """

    root: Path
    form: str
    items: list[Item]
    findings: list[Finding] = field(default_factory=list)
    named: frozenset[str] = frozenset()


def fetch(request: Request, _out: Path) -> Fetched:
    """The listed recordings, where they are.

    Raises:
        CorpusError: when the folder or its list is absent or unusable.
    """
    return gather(read_source(_require_path(request), _columns(request)), request)


def fetch_jsonl(request: Request, _out: Path) -> Fetched:
    """The recordings of one file of JSON lines, where they are.

    Raises:
        CorpusError: when it is absent or unusable.
    """
    path = _require_path(request)
    if path.is_dir() or not path.name.lower().endswith(JSON_SUFFIXES):
        raise CorpusError(f"{request.asked_as}path: jsonl takes a file of JSON lines; for {path} take folder")
    return gather(read_source(path, _columns(request)), request)


def gather(source: Source, request: Request) -> Fetched:
    """Open every file's header, set aside what is bad, split, and take as many clips as asked."""
    items, bad = measure(source.root, source.items)
    listed = [_unlabelled_in_train(item.clip) if request.unlabelled else item.clip for item in items]
    drawn = any(clip.split is None for clip in listed)
    clips = assign_splits(listed, request.seed, shared_contents(source.root, listed) if drawn else None)
    record = {"form": source.form}
    return Fetched(limit(clips, request), len(clips), rejections(source.findings + bad), source.root, record)


def _unlabelled_in_train(clip: Clip) -> Clip:
    """Nothing can be measured on it."""
    bare = clip.split is None and clip.text is None and clip.label is None
    return clip.model_copy(update={"split": "train"}) if bare else clip


def limit(clips: list[Clip], request: Request) -> list[Clip]:
    """As many clips of each split as asked, drawn: the first of a sorted source would all have one label."""
    kept: list[Clip] = []
    for split in SPLITS:
        own = [clip for clip in clips if clip.split == split]
        count = request.clips.get(split)
        if count is not None and count < len(own):
            drawn = sorted(own, key=lambda clip: runtime.derive_seed("limit", request.seed, clip.id))[:count]
            ids = {clip.id for clip in drawn}
            own = [clip for clip in own if clip.id in ids]
        kept += own
    return kept


def read_source(path: Path, columns: Columns) -> Source:
    """What a folder, or a list alone, names.

    Raises:
        SourceError: when there is no list, or it cannot be used.
    """
    if path.is_file():
        return _listed(_open_list(path, columns), columns)
    listing = _find_list(path, columns)
    if listing is not None:
        return _listed(listing, columns)
    if columns.unlabelled:
        names = files.sorted_names(path, AUDIO_SUFFIXES)
        rows = ((name, {"audio_path": name}) for name in names)
        items, findings = collect(rows, dict, (), unlabelled=True)
        return Source(path, "a folder without a list", items, findings, frozenset(names))
    source = _label_folders(path, columns)
    if source is None:
        raise SourceError(
            path.name or str(path),
            "no_list",
            f"no list of the recordings is there: neither {MANIFEST_NAME} (lines with audio_path and text) nor "
            f"{METADATA_NAMES[0]} (columns file_name and text), no other .csv, .tsv, .jsonl or .txt with such columns, "
            "and no two folders named after labels",
        )
    return source


def _require_path(request: Request) -> Path:
    if request.path is None:
        raise CorpusError(f"{request.asked_as}path is empty: it names the folder or the list of your recordings")
    if not request.path.exists():
        raise CorpusError(f"{request.asked_as}path: no such file or folder: {request.path}")
    return request.path


def _columns(request: Request) -> Columns:
    return Columns(request.columns, request.labels, request.unlabelled)


def _open_list(path: Path, columns: Columns) -> Listing:
    if not path.name.lower().endswith(LIST_SUFFIXES + JSON_SUFFIXES):
        raise SourceError(path.name, "no_list", f"no list: a list ends in {', '.join(LIST_SUFFIXES)}")
    return read_listing(path, audio_names=columns.audio_names())


def _find_list(folder: Path, columns: Columns) -> Listing | None:
    """The list of a folder; a .txt is one when it names audio, as a README does not."""
    names = sorted(path.name for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    names = [name for name in names if name != QUARANTINE_NAME]  # what was set aside is no list of what is there
    known = [name for name in (MANIFEST_NAME, *METADATA_NAMES) if name in names]
    tables = known[:1] or [name for name in names if name.lower().endswith((".csv", ".tsv", ".jsonl"))]
    texts = [name for name in names if name.lower().endswith(".txt")]
    undecided = not tables and len(texts) > 1 and not columns.unlabelled
    if len(tables) > 1 or (undecided and _label_folders(folder, columns) is None):
        message = f"several lists: {', '.join(tables or texts)}; give the path of one of them"
        raise SourceError(folder.name or str(folder), "several_lists", message)
    if tables:
        return _open_list(folder / tables[0], columns)
    listing = _open_list(folder / texts[0], columns) if len(texts) == 1 else None
    if listing and {name.lower() for name in listing.columns} & columns.audio_names():
        return listing
    return None


def _listed(listing: Listing, columns: Columns) -> Source:
    items, findings = to_items(listing, columns)
    chosen = columns.resolve(listing)
    theirs = [chosen[ours] for ours in ("audio_path", "target_path") if ours in chosen]
    named = (str(row.values[name]) for row in listing.rows for name in theirs if name in row.values)
    paths = frozenset(PurePosixPath(name).as_posix() for name in named)
    return Source(listing.path.parent, f"{listing.path.name}, {listing.form}", items, findings, paths)


def _label_folders(root: Path, columns: Columns) -> Source | None:
    """Recordings in folders named after their labels, below folders named after splits where there are such."""
    names = files.sorted_names(root, AUDIO_SUFFIXES)
    tops = {name.split("/")[0] for name in names}
    splits = bool(tops) and all(top.lower() in SPLIT_SPELLINGS for top in tops)
    depth = 2 if splits else 1
    labels = {name.split("/")[depth - 1] for name in names if name.count("/") == depth}
    if len(labels) < 2:
        return None

    def values(row: Mapping[str, str]) -> dict[str, str]:
        *parts, _ = row["audio_path"].split("/")
        if len(parts) != depth:
            raise RowError("no_label", f"not in a folder {'SPLIT/LABEL' if splits else 'LABEL'}: it has no label")
        return {**row, "label": parts[-1]} | ({"split": parts[0]} if splits else {})

    items, findings = collect(((name, {"audio_path": name}) for name in names), values, columns.labels)
    return Source(root, "a folder for each label", items, findings, frozenset(names))


def _corpus(fetch: Callable[[Request, Path], Fetched], source: str, about: str) -> Corpus:
    info = CorpusInfo(
        source=source,
        task="asr, classification",
        about=about,
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
    return Corpus(info, fetch)


CORPUS = _corpus(
    fetch,
    "your folder of recordings with manifest.jsonl, metadata.csv, another list, or a folder for each label",
    "Your own recordings.",
)
JSONL = _corpus(
    fetch_jsonl,
    "your file of JSON lines; paths count from its folder",
    "Your own recordings, listed as NeMo and RLVR manifests are.",
)
