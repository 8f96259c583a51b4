"""Corpora from the Hugging Face hub: what each one declares, and how its rows become clips.

The audio stays where the cache has it (`corpora/store.py`); a clip's path counts from there. Rows are read one after
the other, and reading stops when each split has as many clips as asked: 100 clips of a huge corpus cost 100 clips
where the source has splits or folds, and about ten times as many where splits must be drawn by group. A group's split
is drawn by its name, so that it does not depend on how much is read.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from soundraft.corpora import store
from soundraft.corpora.base import Corpus, CorpusError, CorpusInfo, Fetched, Request, copy_in
from soundraft.corpora.repository import Repository
from soundraft.corpora.store import Record
from soundraft.dataset.splits import fold_split, group_keys, hashed_split
from soundraft.manifest import SPLITS, Clip, Rejected, Split
from soundraft.parallel import BadClip, progress

_PREFIXES: Mapping[str, Split] = {
    "train": "train",
    "valid": "validation",
    "dev": "validation",
    "val": "validation",
    "test": "test",
    "eval": "test",
}
_FIELDS = ("id", "text", "label", "speaker")  # those that a column can fill; every other column is metadata
Fields = dict[str, Any]  # of a Clip, by name; `metadata` among them


@dataclass(frozen=True)
class Row:
    """One row of the source: class labels are names, `file` is the source's name of the audio file."""

    values: Mapping[str, Any]
    file: str


@dataclass(frozen=True)
class HubCorpus:
    """A corpus of the hub.

    Attributes:
        repo: the hub id.
        splits: the source's split for each of ours. Where several of ours share one, its clips are divided: by
            official fold where there are folds, else by group.
        fields: the source's column for each field of a clip.
        metadata: the source's column for each entry of a clip's metadata.
        revision: the branch that holds it as data.
        config: the source's subset.
        audio: the column of the recordings; empty: the only one there is.
        folds: how many official folds there are, numbered from 1 in `metadata["fold"]`.
        finish: what else a row says of its clip; it gives `None` for a row that was not asked for, and raises BadClip
            for a bad one.
        elsewhere: the repository of those source splits that are not in `repo`.
        rest: whether all other columns go to the metadata; one called `source` there as `source_column`, for `source`
            is the recording that clips were cut from.
        spellings: for the fields of an unknown source, what their columns may be called, the likeliest first.
    """

    info: CorpusInfo
    repo: str
    splits: Callable[[Request, Repository], Mapping[Split, str]]
    fields: Mapping[str, str]
    metadata: Mapping[str, str] = field(default_factory=dict)
    revision: str = "main"
    config: Callable[[Request], str] = lambda request: request.config
    audio: str = "audio"
    folds: int = 0
    finish: Callable[[Fields, Row, Request], Fields | None] = lambda fields, _row, _request: fields
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    rest: bool = False
    spellings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def corpus(self, original: "Original | None" = None) -> Corpus:
        """For the registry. A `path` that `original` recognises is read by it, every other one is a hub's copy."""

        def fetch_either(request: Request, out: Path) -> Fetched:
            if original is not None and request.path is not None and original.recognises(request.path):
                return original.fetch(request, out)
            return fetch(self, request, out)

        return Corpus(self.info, fetch_either)


@dataclass(frozen=True)
class Original:
    """A corpus as its authors publish it: a folder or an archive of another shape than the hub's."""

    recognises: Callable[[Path], bool]
    fetch: Callable[[Request, Path], Fetched]


def splits(**names: str) -> Callable[[Request, Repository], Mapping[Split, str]]:
    """The same source splits, whatever is asked."""
    chosen = {split: names[split] for split in SPLITS if split in names}
    return lambda _request, _repository: chosen


ONE_SPLIT = splits(train="train", validation="train", test="train")


def fetch(corpus: HubCorpus, request: Request, out: Path) -> Fetched:
    """The clips that were asked for, from the cache as far as it goes and from the hub beyond.

    Raises:
        CorpusError: when the corpus cannot be had, or an option names what it does not have.
    """
    if corpus.folds and not 1 <= request.fold <= corpus.folds:
        raise CorpusError(f"{request.asked_as}fold: {request.fold}; {corpus.repo} has folds 1 to {corpus.folds}")
    repository = _repository(corpus, request, corpus.repo)
    chosen = _chosen_splits(corpus, request, repository)
    parts, about = [], {**repository.about, "splits": chosen}
    for name in dict.fromkeys(chosen.values()):
        shared = [split for split in SPLITS if chosen.get(split) == name]
        ours = [split for split in shared if request.clips.get(split) != 0]
        place = _repository(corpus, request, corpus.elsewhere[name]) if name in corpus.elsewhere else repository
        if ours:
            parts.append(_Reading(corpus, request, place, name, ours, shared).fetched())
            about |= {} if place is repository else {name: place.about}
    return replace(_joined(parts, out), source=about)


def split_of(name: str) -> Split | None:
    """Which of ours a source's split belongs to, by how its name begins."""
    return next((ours for prefix, ours in _PREFIXES.items() if name.lower().startswith(prefix)), None)


def _repository(corpus: HubCorpus, request: Request, repo: str) -> Repository:
    path = request.path
    if path is not None and not path.is_dir():
        what = "not a folder" if path.exists() else "no such folder"
        raise CorpusError(f"{request.asked_as}path: {what}: {path}; it must be a local copy of {repo}")
    if path is not None and repo != corpus.repo:
        path = path.parent / repo.rsplit("/", 1)[-1]  # the second repository of a corpus lies beside the first
        if not path.is_dir():
            raise CorpusError(f"{request.asked_as}path: {repo} must lie beside {request.path}: no such folder: {path}")
    if path is not None and request.revision:
        raise CorpusError(f"{request.asked_as}revision: {path} is a local copy, which has one version only")
    asked = request.revision if repo == corpus.repo else ""
    config = corpus.config(request)
    option = "language" if request.language and config == request.language else "config"
    return Repository(repo, asked or corpus.revision, config, path, request.asked_as, option)


def _chosen_splits(corpus: HubCorpus, request: Request, repository: Repository) -> dict[Split, str]:
    """The source's split for each of ours."""
    if not request.split:
        return dict(corpus.splits(request, repository))
    ours = split_of(request.split)
    if ours is None:
        raise CorpusError(
            f"{request.asked_as}split: {request.split!r} begins like none of train, validation (dev) and test (eval); "
            f"there are: {', '.join(repository.splits())}"
        )
    usual = dict(corpus.splits(request, repository))
    replaced = [split for split, name in usual.items() if name == usual.get(ours)]
    return usual | dict.fromkeys([*replaced, ours], request.split)


def _joined(parts: list[Fetched], out: Path) -> Fetched:
    """The parts as one; when they lie in several folders of the cache, they are copied to `out`."""
    roots = {part.root for part in parts}
    if len(roots) > 1:
        parts = [copy_in(part, out) for part in parts]
    clips: dict[str, Clip] = {}
    rejected = [bad for part in parts for bad in part.rejected]
    for clip in (clip for part in parts for clip in part.clips):
        if clip.id in clips:
            rejected.append(Rejected(clip.id, clip.audio_path, "duplicate id: an earlier row has it"))
        else:
            clips[clip.id] = clip
    doubles = sum(len(part.clips) for part in parts) - len(clips)
    root = parts[0].root if parts else out
    usable = sum(part.usable for part in parts) - doubles
    return Fetched(list(clips.values()), usable, rejected, root, linkable=True)


class _Reading:
    """One split of the source on its way to clips of one or several of ours."""

    def __init__(
        self,
        corpus: HubCorpus,
        request: Request,
        repository: Repository,
        split: str,
        ours: list[Split],
        shared: list[Split],
    ) -> None:
        """Of our splits `ours` are wanted; `shared` are all that this split of the source serves."""
        self.corpus, self.request, self.repository = corpus, request, repository
        self.split, self.ours, self.shared = split, ours, shared
        self.wanted = {name: request.clips.get(name) for name in ours}
        self.rejected: list[Rejected] = []
        self.contents: dict[str, Split] = {}  # by hash of the audio, where its first clip went
        self.usable = 0

    def fetched(self) -> Fetched:
        asked = self.corpus.fields.get("audio") or self.corpus.audio
        audio = self.request.columns.get("audio", asked)
        name = f"{self.split}@{audio}" if "audio" in self.request.columns else self.split
        with store.opened(self.repository.folder / name) as entry:
            schema = entry.schema(lambda: self.repository.schema(self.split))
            self.columns = _Columns(self.corpus, self.request, schema, self.repository.repo)
            audio = audio or self.columns.only_audio()
            records = entry.records(lambda start: self.repository.rows(self.split, audio, start))
            with closing(records):
                clips = self._taken(self._clips(records, f"{name}/"))
        return Fetched(clips, self.usable, self.rejected, self.repository.folder, linkable=True)

    def _clips(self, records: Iterator[Record], folder: str) -> Iterator[Clip]:
        """The good rows as clips, counted."""
        seen: set[str] = set()
        total = sum(count or 0 for count in self.wanted.values())
        with progress(total, title=f"{self.repository.repo} {self.split}", unit="clip") as bar:
            for record in records:
                clip = self._clip(record, folder, seen)
                if clip is not None:
                    seen.add(clip.id)
                    self.usable += 1
                    bar.update()
                    yield clip

    def _clip(self, record: Record, folder: str, seen: set[str]) -> Clip | None:
        """The clip of a row; `None` when it is bad, which is noted, or not asked for."""
        place = f"{self.split}:{record.row}"
        name = f"{self.split}/{record.row:08d}"
        try:
            if record.reason:
                raise BadClip(record.reason)
            row = Row(self.columns.named(record.values), record.name)
            fields = self.corpus.finish(self.columns.fields(row), row, self.request)
            self._check(fields)
        except BadClip as error:
            self.rejected.append(Rejected(name, place, str(error)))
            return None
        if fields is None:
            return None
        clip = Clip.model_construct(  # each part was checked above: validating it again costs as much as the rest
            id=fields.get("id", name),
            audio_path=folder + record.audio,
            text=fields.get("text"),
            label=fields.get("label"),
            duration=record.duration,
            sample_rate=record.sample_rate,
            speaker=fields.get("speaker"),
            split=self._split_of(fields),
            task=fields.get("task", self.corpus.info.task),
            metadata=fields["metadata"],
        )
        if clip.split is None:
            clip = clip.model_copy(update={"split": self._drawn(clip, record.content)})
        reason = "duplicate id: an earlier row has it" if clip.id in seen else self._repeated(clip, record.content)
        if reason:
            self.rejected.append(Rejected(clip.id, place, reason))
            return None
        return clip

    def _drawn(self, clip: Clip, content: str) -> Split:
        """The split of the clip's group; what would be of a split that the source has elsewhere is train."""
        kind, name = group_keys(clip, {})[0]
        split = hashed_split(("content", content) if kind == "audio" else (kind, name), self.request.seed)
        return split if split in self.shared else self.shared[0]

    def _repeated(self, clip: Clip, content: str) -> str:
        """Why a clip is set aside that some other group, in another split, has too; empty when it is not."""
        if self.corpus.folds or len(self.shared) == 1 or clip.split is None:
            return ""
        first = self.contents.setdefault(content, clip.split)
        return "" if first == clip.split else f"the same audio as an earlier clip, which is in {first}"

    def _check(self, fields: Fields | None) -> None:
        """Refuse a row whose label, or whose fold, is none of those there can be."""
        allowed, label = self.request.labels, (fields or {}).get("label")
        if fields and allowed and label not in allowed:
            raise BadClip(f"label {label!r} is not one of {', '.join(allowed)}")
        fold = (fields or {}).get("metadata", {}).get("fold")
        if fields and self.corpus.folds and fold not in range(1, self.corpus.folds + 1):
            raise BadClip(f"fold {fold!r} is not one of 1 to {self.corpus.folds}")

    def _split_of(self, fields: Fields) -> Split | None:
        """The split that the source tells; `None` where it must be drawn."""
        if self.corpus.folds:
            return fold_split(int(fields["metadata"]["fold"]), self.request.fold, self.corpus.folds)
        return self.shared[0] if len(self.shared) == 1 else None

    def _taken(self, clips: Iterator[Clip]) -> list[Clip]:
        """As many clips of each split as asked; no row is read that they do not need."""
        kept: list[Clip] = []
        counts = dict.fromkeys(self.ours, 0)
        while any(self._lacks(split, counts) for split in self.ours):
            clip = next(clips, None)
            if clip is None:
                break
            if clip.split in counts and self._lacks(clip.split, counts):
                counts[clip.split] += 1
                kept.append(clip)
        return kept

    def _lacks(self, split: Split, counts: Mapping[Split, int]) -> bool:
        wanted = self.wanted[split]
        return wanted is None or counts[split] < wanted


class _Columns:
    """The columns of one source split, and which of them a clip is made of."""

    def __init__(self, corpus: HubCorpus, request: Request, schema: Mapping[str, Any], repo: str) -> None:
        self.repo, self.asked_as = repo, request.asked_as
        self.audio: list[str] = schema["audio"]
        self.columns: list[str] = schema["columns"]
        self.labels: dict[str, list[str]] = schema["labels"]
        given = {ours: column for ours, column in request.columns.items() if ours != "audio"}
        known = {**corpus.fields, **self._spelled(corpus.spellings)}
        self.of_fields = known | {ours: column for ours, column in given.items() if ours in _FIELDS}
        extra = {ours: column for ours, column in given.items() if ours not in self.of_fields}
        self.of_metadata = {**corpus.metadata, **extra}
        if corpus.rest:
            used = {*self.of_fields.values(), *self.of_metadata.values()}
            free = [column for column in self.columns if column not in used]
            self.of_metadata |= {("source_column" if column == "source" else column): column for column in free}
        self._check(corpus, request)

    def _spelled(self, spellings: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
        """The column of each field that has one."""
        found = {ours: next((name for name in names if name in self.columns), "") for ours, names in spellings.items()}
        return {ours: column for ours, column in found.items() if column}

    def only_audio(self) -> str:
        if len(self.audio) != 1:
            found = ", ".join(self.audio) or f"none of {', '.join(self.columns)}"
            raise CorpusError(f"{self.asked_as}columns: which one has the audio (audio=…)? {self.repo} has {found}")
        return self.audio[0]

    def named(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The row with the names of its class labels; a number that has none becomes `None`."""
        return {
            column: _names(value, self.labels[column]) if column in self.labels else value
            for column, value in values.items()
        }

    def fields(self, row: Row) -> Fields:
        fields = {ours: _text(row.values.get(column)) for ours, column in self.of_fields.items()}
        for ours in ("text", "label"):
            if ours in fields and fields[ours] is None:
                raise BadClip(f"no {ours} in column {self.of_fields[ours]!r}")
        metadata = {ours: row.values.get(column) for ours, column in self.of_metadata.items()}
        given = {ours: value for ours, value in fields.items() if value is not None}
        return {**given, "metadata": {ours: value for ours, value in metadata.items() if value is not None}}

    def _check(self, corpus: HubCorpus, request: Request) -> None:
        for ours, column in {**self.of_fields, **self.of_metadata}.items():
            if column not in self.columns:
                raise CorpusError(
                    f"{self.asked_as}columns: {self.repo} has no column {column!r} (for {ours}); there are: "
                    f"{', '.join(self.columns)}"
                )
        if not {"text", "label"} & {*self.of_fields} and corpus.rest:
            raise CorpusError(
                f"{self.asked_as}columns: which column of {self.repo} has the text (text=…) or the label (label=…)? "
                f"There are: {', '.join(self.columns)}"
            )
        names = self.labels.get(self.of_fields.get("label", ""))
        unknown = [label for label in request.labels if names is not None and label not in names]
        if unknown:
            raise CorpusError(
                f"{self.asked_as}labels: {self.repo} has no {', '.join(unknown)}; there are: {', '.join(names or [])}"
            )


def _names(value: Any, names: list[str]) -> Any:
    if isinstance(value, list):
        return [_names(item, names) for item in value]
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else None


def _text(value: Any) -> Any:
    """A field of a clip is text, also where the source has a number; an empty one is none."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    return value if isinstance(value, str) else str(value)
