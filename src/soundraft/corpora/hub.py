"""Corpora from the Hugging Face hub: what each one declares, and how its rows become clips.

The audio stays where the cache has it (`hub_cache.py`); a clip's path counts from there. Rows are read one after the
other, and reading stops when each split has as many clips as asked: 100 clips of a huge corpus cost 100 clips where the
source has splits or folds, and about ten times as many where splits must be drawn by group: a tenth of what is read is
test.
"""

import re
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from soundraft import runtime
from soundraft.corpora import hub_cache
from soundraft.corpora.base import Corpus, CorpusError, CorpusInfo, Fetched, Request, check_config, copy_in
from soundraft.corpora.hub_cache import Record, Repository
from soundraft.corpora.lists import SPELLINGS, SPLIT_SPELLINGS, TEXT_FIELDS
from soundraft.manifest import SPLITS, Clip, Rejected, Split
from soundraft.parallel import BadClip, progress
from soundraft.splits import Drawing, fold_split

_PREFIXES: Mapping[str, Split] = {**SPLIT_SPELLINGS, "eval": "test"}
_ALL_FIELDS = set(Clip.model_fields)  # one for all clips: a set of its own is as large as the rest of a clip
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
OFFICIAL: Mapping[Split, str] = {"train": "train", "validation": "validation", "test": "test"}
ONE_SPLIT: Mapping[Split, str] = {"train": "train", "validation": "train", "test": "train"}
Fields = dict[str, Any]  # of a Clip, by name; `metadata` among them


@dataclass(frozen=True)
class HubCorpus:
    """A corpus of the hub.

    Attributes:
        repo: the hub id.
        splits: the source's split for each of ours, perhaps by what is asked. Where several of ours share one, its
            clips are divided: by official fold where there are folds, else by group.
        fields: the source's column for each field of a clip.
        metadata: the source's column for each entry of a clip's metadata.
        revision: the branch that holds it as data.
        config: the source's subset when none is asked for.
        parts: the values of the option `config`, each with its meaning, where they are no subsets of the source, but
            `finish` chooses the rows.
        audio: the column of the recordings; empty: the only one there is.
        folds: how many official folds there are, numbered from 1 in `metadata["fold"]`.
        finish: adds fields that follow from the others or from the source's name of the audio file; it returns `None`
            for a clip that was not asked for, and raises BadClip for a bad one.
        elsewhere: the repository of those source splits that are not in `repo`.
        any_columns: the fields are those columns that have a usual name, and all other columns go to the metadata.
    """

    info: CorpusInfo
    repo: str
    splits: Mapping[Split, str] | Callable[[Request, Repository], Mapping[Split, str]]
    fields: Mapping[str, str]
    metadata: Mapping[str, str] = field(default_factory=dict)
    revision: str = "main"
    config: str = ""
    parts: Mapping[str, str] = field(default_factory=dict)
    audio: str = "audio"
    folds: int = 0
    finish: Callable[[Fields, str, Request], Fields | None] = lambda fields, _file, _request: fields
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    any_columns: bool = False

    def checked(self, request: Request) -> str:
        """The name of the source's subset, or of the part of it; CorpusError for a fold or a part there is none of."""
        if self.folds and not 1 <= request.fold <= self.folds:
            raise request.error("fold", f"{request.fold}; {self.repo} has folds 1 to {self.folds}")
        if self.parts:
            return check_config(self.repo, request, self.parts)
        return request.language if "language" in self.info.takes else request.config or self.config

    def fold_of(self, fields: Fields) -> int:
        fold = fields["metadata"].get("fold")
        if fold not in range(1, self.folds + 1):
            raise BadClip(f"fold {fold!r} is not one of 1 to {self.folds}")
        return int(fold)


def fetch(corpus: HubCorpus, request: Request, out: Path) -> Fetched:
    """The clips that were asked for, from the cache as far as it goes and from the hub beyond.

    Raises:
        CorpusError: when the corpus cannot be had, or an option names what it does not have.
    """
    repository = _repository(corpus, request, corpus.repo)
    chosen = _chosen_splits(corpus, request, repository)
    parts: list[Fetched] = []
    about = {**repository.about, "splits": chosen}
    seen: set[str] = set()
    for name in dict.fromkeys(chosen.values()):
        shared = [split for split in SPLITS if chosen.get(split) == name]
        place = _repository(corpus, request, corpus.elsewhere[name]) if name in corpus.elsewhere else repository
        if any(request.clips.get(split) != 0 for split in shared):
            parts.append(_SplitReader(corpus, request, place, name, shared, seen).fetch())
            about |= {} if place is repository else {name: place.about}
    if len({part.root for part in parts}) > 1:  # they lie in several folders of the cache
        parts = [copy_in(part, out) for part in parts]
    clips = [clip for part in parts for clip in part.clips]
    rejected = [bad for part in parts for bad in part.rejected]
    root, cached = (parts[0].root, parts[0].cached) if parts else (out, False)
    return Fetched(clips, sum(part.usable for part in parts), rejected, root, about, cached)


def split_of(name: str) -> Split | None:
    """Which of ours a source's split belongs to, by how its name begins."""
    return next((ours for prefix, ours in _PREFIXES.items() if name.lower().startswith(prefix)), None)


def _repository(corpus: HubCorpus, request: Request, repo: str) -> Repository:
    path, subset = request.path, corpus.checked(request)
    if path is not None and not path.is_dir():
        found = f"{path} is not a folder" if path.exists() else f"no such folder: {path}"
        raise request.error("path", f"{found}; it must be a local copy of {repo}")
    if path is not None and repo != corpus.repo:
        path = path.parent / repo.rsplit("/", 1)[-1]  # the second repository of a corpus lies beside the first
        if not path.is_dir():
            raise request.error("path", f"{repo} must lie beside {request.path}: no such folder: {path}")
    if path is not None and request.revision:
        raise request.error("revision", f"{path} is a local copy, which has one version only")
    config = "" if corpus.parts else subset
    asked = request.revision if repo == corpus.repo else ""
    return Repository(repo, asked or corpus.revision, config, path, request)


def _chosen_splits(corpus: HubCorpus, request: Request, repository: Repository) -> dict[Split, str]:
    """The source's split for each of ours."""
    ours = split_of(request.split) if request.split else None
    if request.split and ours is None:
        raise request.error(
            "split",
            f"{request.split!r} begins like none of train, validation (dev) and test (eval); "
            f"there are: {', '.join(repository.splits())}",
        )
    usual = corpus.splits if isinstance(corpus.splits, Mapping) else corpus.splits(request, repository)
    if ours is None:
        return dict(usual)
    replaced = [split for split, name in usual.items() if name == usual.get(ours)]
    return dict(usual) | dict.fromkeys([*replaced, ours], request.split)


class _SplitReader:
    """One split of the source, read row by row into clips of one or several of our splits."""

    def __init__(
        self, corpus: HubCorpus, request: Request, repository: Repository, split: str, shared: list[Split],
        seen: set[str],
    ) -> None:  # fmt: skip
        """`shared` are those of our splits that this split of the source serves, `seen` the ids of earlier clips."""
        self.corpus, self.request, self.repository, self.split, self.shared = corpus, request, repository, split, shared
        self.rejected: list[Rejected] = []
        self.seen, self.usable = seen, 0
        by_source = not corpus.any_columns or "source" in request.columns
        drawn = not corpus.folds and len(shared) > 1
        self.drawing = Drawing(request.seed, shared, by_source=by_source) if drawn else None

    def fetch(self) -> Fetched:
        """As many clips of each split as asked; no row is read that they do not need."""
        counts = {split: self.request.clips.get(split) for split in self.shared}
        wanted = {split: sys.maxsize if count is None else count for split, count in counts.items() if count != 0}
        audio = self.request.columns.get("audio", self.corpus.fields.get("audio") or self.corpus.audio)
        name = f"{self.split}@{audio}" if "audio" in self.request.columns else self.split
        clips: list[Clip] = []
        title = f"{self.repository.repo} {self.split}"
        total = sum(count or 0 for count in counts.values())
        with hub_cache.opened(self.repository.folder / name) as entry, progress(total, title=title, unit="clip") as bar:
            schema = entry.schema(lambda: self.repository.schema(self.split))
            self.columns = Columns(self.corpus, self.request, schema, self.repository.repo)
            audio = audio or self.columns.only_audio()
            with closing(entry.records(lambda start: self.repository.rows(self.split, audio, start))) as records:
                while any(wanted.values()) and (record := next(records, None)):
                    clip = self._clip(record, f"{name}/{record.audio}")
                    if clip is not None:
                        bar.update()
                    if clip is not None and clip.split is not None and wanted.get(clip.split):
                        wanted[clip.split] -= 1
                        clips.append(clip)
        self._check_drawn([split for split in wanted if not any(clip.split == split for clip in clips)])
        return Fetched(clips, self.usable, self.rejected, self.repository.folder, cached=True)

    def _clip(self, record: Record, audio_path: str) -> Clip | None:
        """The clip of a row; `None` when it is rejected, or not asked for."""
        name = f"{self.split}/{record.row:08d}"
        try:
            if record.reason:
                raise BadClip(record.reason)
            fields = self.corpus.finish(self.columns.fields(record.values), record.name, self.request)
            if fields is None:
                return None
            allowed, label = self.request.labels, fields.get("label")
            if allowed and label not in allowed:
                raise BadClip(f"label {label!r} is not one of {', '.join(allowed)}")
            fields = {"task": self.corpus.info.task, "id": name} | fields
            name = fields["id"]
            if name in self.seen:
                raise BadClip("duplicate id: an earlier row has it")
            split = self._split_of(fields, record.content)
        except BadClip as error:
            self.rejected.append(Rejected(name, f"{self.split}:{record.row}", str(error)))
            return None
        self.seen.add(name)
        self.usable += 1
        return Clip.model_construct(  # each part was checked above: validating it again costs as much as the rest
            _fields_set=_ALL_FIELDS,
            id=name,
            audio_path=audio_path,
            text=fields.get("text"),
            label=_shared(fields.get("label")),
            duration=record.duration,
            sample_rate=record.sample_rate,
            speaker=_shared(fields.get("speaker")),
            split=split,
            task=fields["task"],
            metadata=fields["metadata"],
        )

    def _split_of(self, fields: Fields, content: str) -> Split:
        if self.corpus.folds:
            return fold_split(self.corpus.fold_of(fields), self.request.fold, self.corpus.folds)
        return self.drawing.split_of(fields, content) if self.drawing else self.shared[0]

    def _check_drawn(self, empty: list[Split]) -> None:
        """Refuse a split that was drawn empty out of all that the source has: it would be missed much later."""
        if self.drawing and empty and self.usable:
            groups = ", ".join(f"{count} by {kind}" for kind, count in self.drawing.groups.items())
            raise CorpusError(
                f"no clip of {self.repository.repo} ({self.split}) fell to {' and '.join(empty)}: it has too few "
                f"groups to draw from ({groups}); another seed may help, or leave {' and '.join(empty)} out"
            )


class Columns:
    """The columns of a source, and which of them a clip is made of."""

    def __init__(self, corpus: HubCorpus, request: Request, schema: Mapping[str, Any], repo: str) -> None:
        """`schema` is as `Repository.schema` has it."""
        self.repo, self.asked_as = repo, f"{request.asked_as}columns"
        self.audio: list[str] = schema["audio"]
        self.columns: list[str] = schema["columns"]
        self.labels: dict[str, list[str]] = schema["labels"]
        given = {ours: column for ours, column in request.columns.items() if ours != "audio"}
        known = self._spelled(given) if corpus.any_columns else dict(corpus.fields)
        self.of_fields = known | {ours: column for ours, column in given.items() if ours in TEXT_FIELDS}
        extra = {ours: column for ours, column in given.items() if ours not in self.of_fields}
        self.of_metadata = {**corpus.metadata, **extra}
        if corpus.any_columns:
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
                names = ", ".join(found)
                raise CorpusError(f"{self.asked_as}: which one is the {ours} ({ours}=…)? {self.repo} has {names}")
            known.update((ours, column) for column in found)
        return known

    def _check(self, corpus: HubCorpus, request: Request) -> None:
        existing = ", ".join(self.columns)
        for ours, column in {**self.of_fields, **self.of_metadata}.items():
            if column not in self.columns:
                raise CorpusError(
                    f"{self.asked_as}: {self.repo} has no column {column!r} (for {ours}); there are: {existing}"
                )
        if corpus.any_columns and not {"text", "label"} & {*self.of_fields}:
            raise CorpusError(
                f"{self.asked_as}: which column of {self.repo} has the text (text=…) or the label (label=…)? "
                f"There are: {existing}"
            )
        names = self.labels.get(self.of_fields.get("label", ""))
        unknown = [label for label in request.labels if names is not None and label not in names]
        if names is not None and unknown:
            raise request.error("labels", f"{self.repo} has no {', '.join(unknown)}; there are: {', '.join(names)}")

    def only_audio(self) -> str:
        if len(self.audio) != 1:
            found = ", ".join(self.audio) or f"none of {', '.join(self.columns)}"
            raise CorpusError(f"{self.asked_as}: which one has the audio (audio=…)? {self.repo} has {found}")
        return self.audio[0]

    def fields(self, values: Mapping[str, Any]) -> Fields:
        """Of the clip that a row makes. Class labels are names; a number that has none is no label."""
        fields = {ours: self._value(values, column) for ours, column in self.of_fields.items()}
        given = {ours: str(value) for ours, value in fields.items() if value is not None and str(value).strip()}
        for ours in ("text", "label"):
            if ours in fields and ours not in given:
                raise BadClip(f"no {ours} in column {self.of_fields[ours]!r}")
        metadata = {ours: self._value(values, column) for ours, column in self.of_metadata.items()}
        return {**given, "metadata": {ours: value for ours, value in metadata.items() if value is not None}}

    def _value(self, values: Mapping[str, Any], column: str) -> Any:
        names = self.labels.get(column)
        return values.get(column) if names is None else _names(values.get(column), names)


def _shared(text: str | None) -> str | None:
    """The same text, in memory once however many clips have it."""
    return text if text is None else sys.intern(text)


def _names(value: Any, names: list[str]) -> Any:
    if isinstance(value, list):
        return [_names(item, names) for item in value]
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else None


def fetch_any(request: Request, out: Path) -> Fetched:
    """The clips of any dataset of the hub, or of a local copy of one, that `request.path` names."""
    if request.path is None:
        raise CorpusError(f"{request.asked_as}path is empty: it names a dataset of the hub")
    local = request.path.is_dir()
    root = runtime.main_root()  # params.yaml's paths count from there
    path = request.path.relative_to(root) if request.path.is_relative_to(root) else request.path
    if not local and (not _HUB_ID.fullmatch(path.as_posix()) or ".." in path.parts):
        raise request.error("path", f"neither a folder nor a hub id (owner/name): {path}")
    corpus = HubCorpus(
        info=ANY.info,
        repo=request.path.name if local else path.as_posix(),
        splits=_usual_splits,
        fields={},
        audio="",
        finish=lambda fields, _file, _request: fields | {"task": "asr" if "text" in fields else "classification"},
        any_columns=True,
    )
    return fetch(corpus, request if local else replace(request, path=None), out)


def _usual_splits(request: Request, repository: Repository) -> Mapping[Split, str]:
    """The source's split for each of ours, by name; what it lacks is cut out of train."""
    names = repository.splits()
    if len(names) == 1:
        return dict.fromkeys(SPLITS, names[0])
    chosen: dict[Split, str] = {}
    for split in SPLITS:
        found = [name for name in names if split_of(name) == split]
        fitting = [name for name in found if name in (request.split, split)] or found
        if len(fitting) > 1 and request.split not in fitting:
            raise request.error("split", f"{repository.repo} has several for {split}: {', '.join(found)}; name one")
        if fitting:
            chosen[split] = request.split if request.split in fitting else fitting[0]
    return dict.fromkeys(SPLITS, chosen["train"]) | chosen if "train" in chosen else chosen


ANY = Corpus(
    CorpusInfo(
        source="`path`: a hub id such as `owner/name`, or a local copy of a dataset repository",
        task="asr",
        about="Any dataset of the hub that has an audio column.",
        licence="its own",
        size="its own",
        languages="any",
        splits="its own; those of train, validation and test that it lacks are cut out of train by group",
        columns={
            "text, label, speaker, id": "the column of this name, of a usual one (`sentence`, `speaker_id`, …), or the "
            "one that `columns` gives: `text=words`",
            "source": "the source recording, where `columns` gives it; its clips are in one split",
            "metadata": "all other columns",
        },
        takes=frozenset({"path", "split", "revision", "config", "columns", "labels"}),
        needs=frozenset({"path"}),
    ),
    fetch_any,
)
