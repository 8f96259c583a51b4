"""One map over clips: worker processes, results in input order, a clip's failure is that clip's; and progress bars."""

import math
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TextIO, TypeVar

from tqdm import tqdm

from soundraft import runtime
from soundraft.runtime import BadClip, UserError

Item = TypeVar("Item")
Result = TypeVar("Result")

CHUNK_CLIPS = 32  # a clip costs about a millisecond; a chunk keeps the cost of sending it far below that
PROBE_CLIPS = 4  # the first ones show how long a clip takes
LOG_INTERVAL_S = 10.0
_CURSOR_UP = "\x1b[A"  # from the bar of a part of the work to that of the whole
WORKERS_PAY_AFTER_S = 2.0  # starting two processes, each with its imports, takes about a second


@dataclass(frozen=True)
class Failure:
    reason: str


def attempt(function: Callable[[Item], Result], item: Item) -> Result | Failure:
    """The per-clip boundary: the one place where any exception becomes one clip's failure."""
    try:
        return function(item)
    except BadClip as error:
        return Failure(str(error))
    except Exception as error:
        if runtime.is_machine_fault(error) or isinstance(error, UserError):
            raise
        return Failure(f"{type(error).__name__}: {error}")


def map_clips(function: Callable[[Item], Result], items: Sequence[Item], *, title: str) -> Iterator[Result | Failure]:
    """`function` of each item, in input order, by the workers that `SOUNDRAFT_BACKEND` and `SOUNDRAFT_JOBS` name.

    Processes are started once the work has shown, on its first items, that it outlasts their start.
    A full disk or a codec that is not there is no clip's fault: it ends the work.
    """
    if not items:
        return
    with progress(len(items), title=title, unit="clip") as bar:
        for done in _in_chunks(function, items):
            yield from done
            bar.update(len(done))


def _in_chunks(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[list[Result | Failure]]:
    local = os.environ.get("SOUNDRAFT_BACKEND", "processes") == "processes"
    started, done = time.monotonic(), 0
    while done < len(items):
        left = len(items) - done
        expected_s = left * (time.monotonic() - started) / done if done else 0.0
        workers = min(runtime.jobs(), math.ceil(left / CHUNK_CLIPS))
        if not local or (workers > 1 and expected_s >= WORKERS_PAY_AFTER_S):
            yield from _in_workers(function, items[done:], workers)
            return
        part = items[done : done + (CHUNK_CLIPS if done else PROBE_CLIPS)]
        yield _attempt_each(function, part)
        done += len(part)


def _in_workers(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int
) -> Iterator[list[Result | Failure]]:
    from joblib import Parallel, delayed

    chunks = [items[start : start + CHUNK_CLIPS] for start in range(0, len(items), CHUNK_CLIPS)]
    with _backend(workers):
        yield from Parallel(return_as="generator")(delayed(_attempt_each)(function, chunk) for chunk in chunks)


def _attempt_each(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result | Failure]:
    return [attempt(function, item) for item in items]


@contextmanager
def _backend(workers: int) -> Iterator[None]:
    """Where `map_clips` works: processes of this machine, or a dask cluster."""
    from joblib import parallel_config
    from joblib.externals.loky import get_reusable_executor

    name = os.environ.get("SOUNDRAFT_BACKEND", "processes")
    if name == "processes":
        with parallel_config(backend="loky", n_jobs=workers):
            yield
        # joblib would keep them for the next map, then take a worker that imports torch in it for a leak, and kill it
        get_reusable_executor().shutdown()
    elif name == "dask":
        with _dask_client(), parallel_config(backend="dask", n_jobs=-1):
            yield
    else:
        raise UserError(f"SOUNDRAFT_BACKEND must be processes or dask, not {name!r}")


@contextmanager
def _dask_client() -> Iterator[Any]:
    """A client of the cluster at `SOUNDRAFT_CLUSTER`, else of one made here for as long as the work takes."""
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise UserError(
            "SOUNDRAFT_BACKEND=dask needs the package distributed: pip install 'soundraft[dask]'"
        ) from error
    address = os.environ.get("SOUNDRAFT_CLUSTER")
    if address:
        with Client(address) as client:
            yield client
    else:
        cluster = LocalCluster(n_workers=runtime.jobs(), threads_per_worker=1, dashboard_address=None)
        with cluster, Client(cluster) as client:
            yield client


def map_fresh(function: Callable[[Item], Result], items: Sequence[Item], *, title: str) -> list[Result]:
    """`function` of each item, each in a process of its own that has imported the function's module, and done no more.

    For native libraries whose hidden state would otherwise leak from one item into the next.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([getattr(function, "func", function).__module__])
    workers = min(runtime.jobs(), max(1, len(items)))
    with ProcessPoolExecutor(workers, mp_context=context, max_tasks_per_child=1) as pool:
        return list(progress_over(pool.map(function, items), total=len(items), title=title, unit="part"))


def progress(total: int, *, title: str, unit: str, items: Iterable[Any] | None = None) -> tqdm:
    """A progress bar on stderr: a live line on a terminal, a line every ten seconds in a log; of short work nothing.

    Args:
        items: what an iteration over the bar passes through.
    """
    live = sys.stderr.isatty()
    interval_s = 0.2 if live else LOG_INTERVAL_S
    return tqdm(
        items, total=total, desc=title, unit=unit, mininterval=interval_s, maxinterval=interval_s, delay=interval_s,
        dynamic_ncols=True, file=sys.stderr if live else _Lines(sys.stderr),
    )  # fmt: skip


class _Lines:
    """A log: what tqdm would write over again is a line each."""

    def __init__(self, log: TextIO) -> None:
        self.log = log

    def write(self, text: str) -> None:
        line = text.replace(_CURSOR_UP, "").strip()
        if line:
            self.log.write(f"{line}\n")

    def flush(self) -> None:
        self.log.flush()


def progress_over(items: Iterable[Item], *, total: int, title: str, unit: str) -> Iterator[Item]:
    """Pass `items` through and show a progress bar."""
    yield from progress(total, title=title, unit=unit, items=items)
