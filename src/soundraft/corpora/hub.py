"""Corpora from the Hugging Face hub: what each one declares, and how its rows become clips.

The audio stays where the cache has it (`corpora/store.py`); a clip's path counts from there. Rows are read one after
the other, and reading stops when each split has as many clips as asked: 100 clips of a huge corpus cost 100 clips
where the source has splits or folds, and about ten times as many where splits must be drawn by group: those of test
are a tenth of what is read.
"""

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from soundraft import runtime
from soundraft.corpora import hub_cache
from soundraft.corpora.base import Corpus, CorpusError, CorpusInfo, Fetched, Option, Request, copy_in
from soundraft.corpora.hub_cache import Record, Repository
from soundraft.corpora.lists import SPELLINGS, SPLIT_SPELLINGS, TEXT_FIELDS
from soundraft.manifest import SPLITS, Clip, Rejected, Split
from soundraft.parallel import BadClip, progress
from soundraft.splits import Drawing, fold_split

_PREFIXES: Mapping[str, Split] = {**SPLIT_SPELLINGS, "eval": "test"}
_ALL_FIELDS = set(Clip.model_fields)  # one for all clips: a set of its own is as large as the rest of a clip
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
        rest: whether the fields are those columns that have a usual name, and all other columns go to the metadata.
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

    def corpus(self, original: "Original | None" = None) -> Corpus:
        """For the registry. A `path` that `original` recognises is read by it, every other one is a hub's copy."""

        def fetch_either(request: Request, out: Path) -> Fetched:
            if original is not None and request.path is not None and original.recognises(request.path):
                return original.fetch(request, out)
            if original is not None and request.path is not None and request.path.is_file():
                raise CorpusError(
                    f"{request.asked_as}path: {request.path} is neither an archive of the original nor a folder; "
                    f"there is: {self.info.source}"
                )
            try:
                return fetch(self, request, out)
            except CorpusError as error:
                if original is None or request.path is None or any(request.path.rglob("*.parquet")):
                    raise
                reason = f"is not the original, nor can it be read as a copy of {self.repo} ({error})"
                place = f"{request.asked_as}path: {request.path}"
                raise CorpusError(f"{place} {reason}; there is: {self.info.source}") from error

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
        found = f"{path} is not a folder" if path.exists() else f"no such folder: {path}"
        raise CorpusError(f"{request.asked_as}path: {found}; it must be a local copy of {repo}")
    if path is not None and repo != corpus.repo:
        path = path.parent / repo.rsplit("/", 1)[-1]  # the second repository of a corpus lies beside the first
        if not path.is_dir():
            raise CorpusError(f"{request.asked_as}path: {repo} must lie beside {request.path}: no such folder: {path}")
    if path is not None and request.revision:
        raise CorpusError(f"{request.asked_as}revision: {path} is a local copy, which has one version only")
    asked = request.revision if repo == corpus.repo else ""
    named_by: Option = "language" if "language" in corpus.info.takes else "config"
    return Repository(repo, asked or corpus.revision, corpus.config(request), path, request.asked_as, named_by)


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
    root, cached = (parts[0].root, parts[0].cached) if parts else (out, False)
    usable = sum(part.usable for part in parts) - doubles
    return Fetched(list(clips.values()), usable, rejected, root, cached=cached)


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
        self.usable = 0
        by_source = not corpus.rest or "source" in request.columns
        drawn = not corpus.folds and len(shared) > 1
        self.drawing = Drawing(request.seed, shared, by_source=by_source) if drawn else None

    def fetched(self) -> Fetched:
        asked = self.corpus.fields.get("audio") or self.corpus.audio
        audio = self.request.columns.get("audio", asked)
        name = f"{self.split}@{audio}" if "audio" in self.request.columns else self.split
        with hub_cache.opened(self.repository.folder / name) as entry:
            schema = entry.schema(lambda: self.repository.schema(self.split))
            self.columns = _Columns(self.corpus, self.request, schema, self.repository.repo)
            audio = audio or self.columns.only_audio()
            records = entry.records(lambda start: self.repository.rows(self.split, audio, start))
            with closing(records):
                clips = self._taken(self._clips(records, f"{name}/"))
        return Fetched(clips, self.usable, self.rejected, self.repository.folder, cached=True)

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
        name = f"{self.split}/{record.row:08d}"
        try:
            if record.reason:
                raise BadClip(record.reason)
            row = Row(self.columns.named(record.values), record.name)
            fields = self.corpus.finish(self.columns.fields(row), row, self.request)
            if fields is None:
                return None
            self._check(fields)
            fields = {"task": self.corpus.info.task, "id": name} | fields
            name = fields["id"]
            if name in seen:
                raise BadClip("duplicate id: an earlier row has it")
            split = self._split_of(fields, record.content)
        except BadClip as error:
            self.rejected.append(Rejected(name, f"{self.split}:{record.row}", str(error)))
            return None
        return Clip.model_construct(  # each part was checked above: validating it again costs as much as the rest
            _fields_set=_ALL_FIELDS,
            id=name,
            audio_path=folder + record.audio,
            text=fields.get("text"),
            label=_shared(fields.get("label")),
            duration=record.duration,
            sample_rate=record.sample_rate,
            speaker=_shared(fields.get("speaker")),
            split=split,
            task=fields["task"],
            metadata=fields["metadata"],
        )

    def _check(self, fields: Fields) -> None:
        """Refuse a row whose label, or whose fold, is none of those there can be."""
        allowed, label = self.request.labels, fields.get("label")
        if allowed and label not in allowed:
            raise BadClip(f"label {label!r} is not one of {', '.join(allowed)}")
        fold = fields["metadata"].get("fold")
        if self.corpus.folds and fold not in range(1, self.corpus.folds + 1):
            raise BadClip(f"fold {fold!r} is not one of 1 to {self.corpus.folds}")

    def _split_of(self, fields: Fields, content: str) -> Split:
        if self.corpus.folds:
            return fold_split(int(fields["metadata"]["fold"]), self.request.fold, self.corpus.folds)
        return self.drawing.split_of(fields, content) if self.drawing else self.shared[0]

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
        self._check_drawn(counts)
        return kept

    def _lacks(self, split: Split, counts: Mapping[Split, int]) -> bool:
        wanted = self.wanted[split]
        return wanted is None or counts[split] < wanted

    def _check_drawn(self, counts: Mapping[Split, int]) -> None:
        """Refuse a split that was drawn empty out of all that the source has: it would be missed much later."""
        empty = [split for split in self.ours if not counts[split]]
        if self.drawing and empty and self.usable:
            groups = ", ".join(f"{count} by {kind}" for kind, count in self.drawing.groups.items())
            raise CorpusError(
                f"no clip of {self.repository.repo} ({self.split}) fell to {' and '.join(empty)}: it has too few "
                f"groups to draw from ({groups}); another seed may help, or leave {' and '.join(empty)} out"
            )


class _Columns:
    """The columns of one source split, and which of them a clip is made of."""

    def __init__(self, corpus: HubCorpus, request: Request, schema: Mapping[str, Any], repo: str) -> None:
        self.repo, self.asked_as = repo, request.asked_as
        self.audio: list[str] = schema["audio"]
        self.columns: list[str] = schema["columns"]
        self.labels: dict[str, list[str]] = schema["labels"]
        given = {ours: column for ours, column in request.columns.items() if ours != "audio"}
        known = self._spelled(given) if corpus.rest else dict(corpus.fields)
        self.of_fields = known | {ours: column for ours, column in given.items() if ours in TEXT_FIELDS}
        extra = {ours: column for ours, column in given.items() if ours not in self.of_fields}
        self.of_metadata = {**corpus.metadata, **extra}
        if corpus.rest:
            used = {*self.of_fields.values(), *self.of_metadata.values()}
            self.of_metadata |= {column: column for column in self.columns if column not in used}
        self._check(corpus, request)

    def _spelled(self, given: Mapping[str, str]) -> dict[str, str]:
        """The column for each field that is not given, by the names that columns usually have."""
        known: dict[str, str] = {}
        free = [column for column in self.columns if column not in given.values()]
        for ours in (ours for ours in TEXT_FIELDS if ours not in given):
            usual = [column for column in free if column.lower() in SPELLINGS[ours]]
            found = [ours] if ours in usual else usual
            if len(found) > 1:
                raise CorpusError(
                    f"{self.asked_as}columns: which one is the {ours} ({ours}=…)? {self.repo} has {', '.join(found)}"
                )
            known.update((ours, column) for column in found)
        return known

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


def _shared(text: str | None) -> str | None:
    """The same text, in memory once however many clips have it."""
    return text if text is None else sys.intern(text)


def _names(value: Any, names: list[str]) -> Any:
    if isinstance(value, list):
        return [_names(item, names) for item in value]
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else None


def _text(value: Any) -> Any:
    """A field of a clip is text, also where the source has a number; an empty one is none."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    return value if isinstance(value, str) else str(value)


# Any dataset of the hub, or a local copy of one: the user says which column is what.


_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")

INFO = CorpusInfo(
    source="`path`: a hub id such as `owner/name`, or a local copy of a dataset repository",
    task="asr",
    about="Any dataset of the hub that has an audio column.",
    licence="its own",
    size="its own",
    languages="any",
    splits="its own; those of train, validation and test that it lacks are cut out of train by group",
    columns={
        "text, label, speaker, id": "the column of this name, of a usual one (`sentence`, `speaker_id`, …), or the one "
        "that `columns` gives: `text=words`",
        "source": "the source recording, where `columns` gives it; its clips are in one split",
        "metadata": "all other columns",
    },
    takes=frozenset({"path", "split", "revision", "config", "columns", "labels"}),
    needs=frozenset({"path"}),
)


def fetch_any(request: Request, out: Path) -> Fetched:
    """The clips of the repository that `request.path` names."""
    assert request.path is not None  # it is in `needs`
    local = request.path.is_dir()
    repo = request.path.name if local else _hub_id(request)
    corpus = HubCorpus(
        info=INFO,
        repo=repo,
        splits=choose_splits,
        fields={},
        audio="",
        finish=_with_task,
        rest=True,
    )
    return fetch(corpus, replace(request, path=request.path if local else None), out)


def choose_splits(request: Request, repository: Repository) -> Mapping[Split, str]:
    """The source's split for each of ours; what it lacks is cut out of train.

    Raises:
        CorpusError: when several could be meant.
    """
    names = repository.splits()
    if len(names) == 1:
        return dict.fromkeys(SPLITS, names[0])
    chosen: dict[Split, str] = {}
    for split in SPLITS:
        found = [name for name in names if split_of(name) == split]
        fitting = [name for name in found if name in (request.split, split)] or found
        if len(fitting) > 1 and request.split not in fitting:
            raise CorpusError(
                f"{request.asked_as}split: {repository.repo} has several for {split}: {', '.join(found)}; name one"
            )
        if fitting:
            chosen[split] = request.split if request.split in fitting else fitting[0]
    return dict.fromkeys(SPLITS, chosen["train"]) | chosen if "train" in chosen else chosen


def _hub_id(request: Request) -> str:
    """The id in a path that params.yaml counts from the repository's root."""
    assert request.path is not None
    root = runtime.main_root()
    name = (request.path.relative_to(root) if request.path.is_relative_to(root) else request.path).as_posix()
    if not _HUB_ID.fullmatch(name) or ".." in request.path.parts:
        raise CorpusError(f"{request.asked_as}path: neither a folder nor a hub id (owner/name): {name}")
    return name


def _with_task(fields: Fields, _row: Row, _request: Request) -> Fields:
    return fields | {"task": "asr" if "text" in fields else "classification"}


CORPUS = Corpus(INFO, fetch_any)
