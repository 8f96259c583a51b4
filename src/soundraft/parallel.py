"""One map over clips: worker processes, results in input order, a clip's failure is that clip's."""

import multiprocessing
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from tqdm import tqdm

from soundraft import runtime

Item = TypeVar("Item")
Result = TypeVar("Result")

CHUNK_CLIPS = 32  # a clip costs about a millisecond; a chunk keeps the cost of sending it far below that


class BadClip(ValueError):
    """This clip cannot be used; the message is the reason that goes into quarantine.jsonl."""


@dataclass(frozen=True)
class Failure:
    reason: str


def attempt(function: Callable[[Item], Result], item: Item) -> Result | Failure:
    """The per-clip boundary: the one place where any exception becomes one clip's failure."""
    try:
        return function(item)
    except BadClip as error:
        return Failure(str(error))
    except Exception as error:  # noqa: BLE001
        return Failure(f"{type(error).__name__}: {error}")


class _Guarded(Generic[Item, Result]):
    """`attempt` for each item of a chunk; picklable, so that worker processes can have it."""

    def __init__(self, function: Callable[[Item], Result]) -> None:
        self.function = function

    def __call__(self, items: Sequence[Item]) -> list[Result | Failure]:
        return [attempt(self.function, item) for item in items]


def map_clips(function: Callable[[Item], Result], items: Sequence[Item], *, title: str) -> list[Result | Failure]:
    """`function` of each item, in input order, by `SOUNDRAFT_JOBS` processes."""
    from joblib import Parallel, delayed

    guarded = _Guarded(function)
    chunks = [items[start : start + CHUNK_CLIPS] for start in range(0, len(items), CHUNK_CLIPS)]
    workers = min(runtime.jobs(), max(1, len(chunks)))
    results: list[Result | Failure] = []
    with progress(len(items), title=title, unit="clip") as bar:
        for done in Parallel(n_jobs=workers, return_as="generator")(delayed(guarded)(c) for c in chunks):
            results.extend(done)
            bar.update(len(done))
    return results


def map_fresh(function: Callable[[Item], Result], items: Sequence[Item], *, title: str) -> list[Result]:
    """`function` of each item, each in an interpreter of its own that did nothing before.

    For native libraries whose hidden state would otherwise leak from one item into the next.
    """
    context = multiprocessing.get_context("spawn")
    workers = min(runtime.jobs(), max(1, len(items)))
    with ProcessPoolExecutor(workers, mp_context=context, max_tasks_per_child=1) as pool:
        return list(progress_over(pool.map(function, items), total=len(items), title=title, unit="part"))


def progress(total: int, *, title: str, unit: str) -> tqdm:
    """A progress bar on stderr: a live line on a terminal, a line every ten seconds in a log."""
    interval_s = 0.2 if sys.stderr.isatty() else 10.0
    return tqdm(total=total, desc=title, unit=unit, mininterval=interval_s, maxinterval=interval_s, dynamic_ncols=True)


def progress_over(items: Iterable[Item], *, total: int, title: str, unit: str) -> Iterator[Item]:
    """Pass `items` through and show a progress bar."""
    with progress(total, title=title, unit=unit) as bar:
        for item in items:
            yield item
            bar.update()
