"""Where recordings come from: one dict names every corpus; the pipeline, the command line and Python share `fetch`."""

import difflib
import hashlib
import shutil
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

from filelock import FileLock

from soundraft import files, runtime
from soundraft.corpora import custom, espeak, fsdd, hub, originals, recordings
from soundraft.corpora.base import (
    SOURCE_NAME,
    AudioDataset,
    AudioSample,
    Corpus,
    CorpusError,
    Fetched,
    Request,
    Role,
    check_limit,
    check_options,
    copy_in,
)
from soundraft.corpora.catalog import HUB_CORPORA
from soundraft.corpora.originals import ORIGINALS
from soundraft.manifest import SPLITS, Clip, Rejected, check_bad_fraction, write_manifest
from soundraft.params import defaults

CORPORA: dict[str, Corpus] = {
    "espeak": espeak.CORPUS,
    "fsdd": fsdd.CORPUS,
    "ljspeech": originals.LJSPEECH,
    **{
        name: Corpus(corpus.info, partial(originals.fetch, corpus, ORIGINALS.get(name)))
        for name, corpus in HUB_CORPORA.items()
    },
    "folder": recordings.FOLDER,
    "jsonl": recordings.JSONL,
    "hub": hub.ANY,
    "python": custom.CORPUS,
}


def corpus_named(name: str) -> Corpus:
    """Look a corpus up; CorpusError names those that exist."""
    if name not in CORPORA:
        close = difflib.get_close_matches(str(name), CORPORA, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise CorpusError(f"there is no corpus {name!r}; {hint}there are {', '.join(CORPORA)}")
    return CORPORA[name]


def fetch(name: str, request: Request, out: Path) -> Fetched:
    """The clips of a corpus; what has to be made or unpacked for it goes to `out`.

    Raises:
        CorpusError: when an option is not the corpus's, or it cannot be had.
    """
    corpus = CORPORA[name]
    check_options(name, corpus.info, request)
    return corpus.fetch(request, out)


def bring_in(name: str, request: Request, out: Path, *, max_bad_fraction: float, link: bool = False) -> Fetched:
    """A corpus as a folder: its audio, `manifest.jsonl`, `quarantine.jsonl`, and `source.json`, what was read.

    Args:
        link: as in `copy_in`.

    Raises:
        UserError: as `fetch`, and when a larger share of it is bad.
    """
    fetched = copy_in(fetch(name, request, out), out, link=link)
    check_bad_fraction(fetched.usable, fetched.rejected, max_bad_fraction)
    write_manifest(out, fetched.clips, fetched.rejected)
    files.write_json(out / SOURCE_NAME, {"corpus": name, **fetched.source})
    return fetched


def fetch_to_cache(name: str, request: Request) -> Fetched:
    """The clips of a corpus; files that must be made for it are made anew, in a folder of the request's own."""
    asked = repr((name, replace(request, path=request.path and request.path.resolve())))
    place = runtime.cache_root() / "made" / f"{name}-{hashlib.sha256(asked.encode()).hexdigest()[:16]}"
    place.parent.mkdir(parents=True, exist_ok=True)
    with _script_hidden(), FileLock(place.with_name(f"{place.name}.lock")), files.building(place) as scratch:
        fetched = fetch(name, request, scratch)
        made = fetched.root == scratch
    if made:
        return replace(fetched, root=place)
    shutil.rmtree(place)
    return fetched


@contextmanager
def _script_hidden() -> Iterator[None]:
    """Keep spawned workers from running the caller's script again: it would ask for the corpus anew and wait."""
    main = vars(sys.modules["__main__"])
    kept: dict[str, Any] = {name: main[name] for name in ("__file__", "__spec__") if name in main}
    main.pop("__file__", None)
    main["__spec__"] = None
    try:
        yield
    finally:
        main.update(kept)


class CorpusDataset(AudioDataset):
    """A corpus of the registry, fetched.

    Attributes:
        rejected: the bad items of the source, each with its place and reason.
        source: what was read: hub id, commit, …
        drawn: whether no clip of the source has a split, so that all were drawn.
    """

    def __init__(self, name: str, fetched: Fetched) -> None:
        self.name = name
        self.task = fetched.clips[0].task if fetched.clips else corpus_named(name).info.task
        self.rejected: list[Rejected] = fetched.rejected
        self.source: Mapping[str, Any] = fetched.source
        self.drawn = fetched.drawn
        self._fetched = fetched

    def load(self) -> Iterable[AudioSample]:
        for clip in self._fetched.clips:
            yield _sample(clip, self._fetched.root)


def _sample(clip: Clip, root: Path) -> AudioSample:
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


def list_audio_datasets() -> list[str]:
    """The names that `load_audio_dataset` takes."""
    return list(CORPORA)


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
    """A corpus, brought in by the pipeline's fetch; what must be made for it goes to the cache.

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
        first, count = fetched.rejected[0], len(fetched.rejected)
        warnings.warn(f"{name}: {count} rejected, see .rejected; {first.path}: {first.reason}", stacklevel=2)
    return CorpusDataset(name, fetched)


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
    asked_as, role = others.get("asked_as", ""), others.get("role", "target")
    check_limit(limit)
    if role not in get_args(Role):
        raise CorpusError(f"there is no role {role!r}; there are {', '.join(get_args(Role))}")
    if role != "target" and name != "espeak":
        raise CorpusError(f"{asked_as}role: {name} does not take it; espeak does")
    ours = None if split is None else hub.split_of(split)
    if split is not None and ours is None:
        names = ", ".join(SPLITS)
        raise CorpusError(f"split {split!r}: give {names}, or a split of the source whose name begins like one of them")
    section = getattr(defaults().corpus, name, None)
    made = name == "espeak" or (name == "fsdd" and others.get("config") != "digits")  # there is no "all" of them
    sizes = defaults().corpus.target.clips
    numbers = {each: getattr(sizes, each) if made and limit is None else limit for each in SPLITS}
    return Request(
        path=Path(path) if path else None,
        split="" if split is None or split in SPLITS else split,
        columns=columns or {},
        labels=labels,  # type: ignore[arg-type]  # a Request makes a tuple of them
        clips={each: numbers[each] if ours in (None, each) else 0 for each in SPLITS},
        options=section.model_dump() if section else {},
        **others,
    )


__all__ = [
    "CORPORA", "AudioDataset", "AudioSample", "Corpus", "CorpusDataset", "CorpusError", "Fetched", "Request",
    "bring_in", "corpus_named", "fetch", "fetch_to_cache", "list_audio_datasets", "load_audio_dataset", "make_request",
]  # fmt: skip
