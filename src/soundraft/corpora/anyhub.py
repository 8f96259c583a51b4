"""Any dataset of the hub, or a local copy of one: the user says which column is what."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from soundraft import runtime
from soundraft.corpora import hub
from soundraft.corpora.base import Corpus, CorpusError, CorpusInfo, Fetched, Request
from soundraft.corpora.columns import SPELLINGS
from soundraft.corpora.hub import Fields, HubCorpus, Row
from soundraft.corpora.repository import Repository
from soundraft.manifest import SPLITS, Split

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
        "text, label, speaker, id": "the column of this name or of a usual one (sentence, speaker_id, …), or the one "
        "that `columns` gives: `text=words`",
        "source": "the recording that a clip was cut from: only where `columns` says which column",
        "metadata": "all other columns",
    },
    takes=frozenset({"path", "split", "revision", "config", "columns", "labels"}),
    needs=frozenset({"path"}),
)


def fetch(request: Request, out: Path) -> Fetched:
    """The clips of the repository that `request.path` names."""
    assert request.path is not None  # it is in `needs`
    local = request.path.is_dir()
    repo = request.path.name if local else _hub_id(request)
    corpus = HubCorpus(
        info=INFO,
        repo=repo,
        splits=choose_splits,
        fields={},
        spellings={name: SPELLINGS[name] for name in ("text", "label", "speaker", "id")},
        audio="",
        finish=_with_task,
        rest=True,
    )
    return hub.fetch(corpus, replace(request, path=request.path if local else None), out)


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
        found = [name for name in names if hub.split_of(name) == split]
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


CORPUS = Corpus(INFO, fetch)
