"""The corpora for Python code and for the command line, through the same `fetch` as the pipeline's."""

import difflib
import hashlib
import shutil
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from filelock import FileLock

from soundraft import corpora, files, runtime
from soundraft.corpora.base import AudioDataset, AudioSample, Corpus, CorpusError, Fetched, Request, Role
from soundraft.corpora.hub import split_of
from soundraft.manifest import SPLITS, Clip, Rejected, Split
from soundraft.params import defaults


class CorpusDataset(AudioDataset):
    """A corpus of the registry, fetched.

    Attributes:
        rejected: the items of the source that were set aside, each with its place and reason.
        source: what was read: hub id, resolved commit, …
    """

    def __init__(self, name: str, fetched: Fetched) -> None:
        self.name = name
        self.task = fetched.clips[0].task if fetched.clips else corpus_named(name).info.task
        self.rejected: list[Rejected] = fetched.rejected
        self.source: Mapping[str, Any] = fetched.source
        self._fetched = fetched

    def load(self) -> Iterable[AudioSample]:
        for clip in self._fetched.clips:
            yield sample_of(clip, self._fetched.root)


def list_audio_datasets() -> list[str]:
    """The names that `load_audio_dataset` knows."""
    return list(corpora.CORPORA)


def load_audio_dataset(
    name: str,
    split: str | None = None,
    limit: int | None = None,
    *,
    path: Path | str | None = None,
    revision: str = "",
    config: str = "",
    language: str = "",
    columns: Mapping[str, str] | None = None,
    labels: Iterable[str] = (),
    fold: int = 1,
    seed: int = 0,
    role: Role = "target",
    unlabelled: bool = False,
) -> CorpusDataset:
    """A corpus, brought in by what the pipeline's fetch calls; what must be made for it goes to the cache.

    Args:
        split: train, validation or test, or a split of the source by its own name, such as train.clean.100; `None`
            takes all.
        limit: at most so many clips of each split. `None`: all; of what is made (espeak, the strings of fsdd) as many
            as params.yaml has.
        role: whose voices espeak speaks with.
        unlabelled: `folder` and `jsonl` also take clips without text and label, and `folder` one without a list.

    Everything else is as in params.yaml, under `corpus.target`.

    Raises:
        CorpusError: when there is no such corpus, an option is not the corpus's, or it cannot be had.
    """
    request = make_request(
        name, split, limit, path=path, revision=revision, config=config, language=language, columns=columns,
        labels=labels, fold=fold, seed=seed, role=role, unlabelled=unlabelled,
    )  # fmt: skip
    fetched = fetch_to_cache(name, request)
    if fetched.rejected:
        first = fetched.rejected[0]
        count = len(fetched.rejected)
        warnings.warn(
            f"{name}: {count} of the source set aside, see .rejected; {first.path}: {first.reason}", stacklevel=2
        )
    return CorpusDataset(name, fetched)


def corpus_named(name: str) -> Corpus:
    """Look a corpus up; raises CorpusError, which names those that exist."""
    if name not in corpora.CORPORA:
        close = difflib.get_close_matches(name, corpora.CORPORA, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise CorpusError(f"there is no corpus {name!r}; {hint}there are {', '.join(corpora.CORPORA)}")
    return corpora.CORPORA[name]


def make_request(
    name: str,
    split: str | None,
    limit: int | None,
    *,
    path: Path | str | None = None,
    columns: Mapping[str, str] | None = None,
    labels: Iterable[str] = (),
    **others: Any,
) -> Request:
    """What to ask of a corpus; `others` are fields of `Request`."""
    corpus_named(name)
    if limit is not None and limit < 1:
        raise CorpusError(f"limit {limit}: give a number from 1, or none for all")
    if others.get("role", "target") not in get_args(Role):
        raise CorpusError(f"there is no role {others['role']!r}; there are {', '.join(get_args(Role))}")
    if others.get("role", "target") != "target" and name != "espeak":
        raise CorpusError(f"{others.get('asked_as', '')}role: {name} does not take it; espeak does")
    section = getattr(defaults().corpus, name, None)
    sizes = defaults().corpus.target.clips
    made = limit is None and _is_made(name, others.get("config", ""))
    numbers = {each: getattr(sizes, each) if made else limit for each in SPLITS}
    ours = None if split is None else _our_split(split)
    return Request(
        path=Path(path) if path else None,
        split="" if split is None or split in SPLITS else split,
        columns=columns or {},
        labels=tuple(labels),
        clips={each: numbers[each] if ours in (None, each) else 0 for each in SPLITS},
        options=section.model_dump() if section else {},
        **others,
    )


def _is_made(name: str, config: str) -> bool:
    """Whether its clips are made, as many as asked: it has no "all"."""
    return name == "espeak" or (name == "fsdd" and config != "digits")


def _our_split(split: str) -> Split:
    """The split of ours that one of the source belongs to, by its name."""
    found = split_of(split)
    if found is None:
        names = ", ".join(SPLITS)
        raise CorpusError(f"split {split!r}: give {names}, or a split of the source whose name begins like one of them")
    return found


def only(request: Request, split: Split) -> Request:
    """The same for one of our splits."""
    return replace(request, clips={each: request.clips[each] if each == split else 0 for each in SPLITS})


def fetch_to_cache(name: str, request: Request) -> Fetched:
    """The clips of a corpus; files that must be made for it are made anew, in a folder of the request's own."""
    asked = repr((name, replace(request, path=request.path and request.path.resolve())))
    place = runtime.cache_root() / "made" / f"{name}-{hashlib.sha256(asked.encode()).hexdigest()[:16]}"
    place.parent.mkdir(parents=True, exist_ok=True)
    with _script_hidden(), FileLock(place.with_name(f"{place.name}.lock")), files.building(place) as scratch:
        fetched = corpora.fetch(name, request, scratch)
        made = fetched.root == scratch
    if made:
        return replace(fetched, root=place)
    shutil.rmtree(place)
    return fetched


@contextmanager
def _script_hidden() -> Iterator[None]:
    """Let spawned workers not run the caller's script again, which would ask for the corpus anew and wait."""
    main = vars(sys.modules["__main__"])
    kept: dict[str, Any] = {name: main[name] for name in ("__file__", "__spec__") if name in main}
    main.pop("__file__", None)
    main["__spec__"] = None
    try:
        yield
    finally:
        main.update(kept)


def sample_of(clip: Clip, root: Path) -> AudioSample:
    """A clip of a manifest; what the sample has no field for goes to its metadata."""
    known = {"id": clip.id, "label": clip.label, "speaker": clip.speaker, "split": clip.split}
    return AudioSample(
        audio_path=root / clip.audio_path,
        text=clip.label if clip.text is None else clip.text,
        duration=clip.duration,
        task=clip.task,
        metadata=clip.metadata | {key: value for key, value in known.items() if value is not None},
        sample_rate=clip.sample_rate,
    )
