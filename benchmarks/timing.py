"""What every benchmark shares: paired runs, medians, one printed line."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

RAM_DISK = Path("/dev/shm")


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder in memory where there is one, else on the repository's disk.

    A disk on which thousands of files were just deleted creates new ones 20 times slower for minutes (ext4 does not
    reuse their inodes at once), which would measure the runs before this one.
    """
    place = RAM_DISK if RAM_DISK.is_dir() else Path.cwd()
    with tempfile.TemporaryDirectory(prefix="bench-", suffix=".tmp", dir=place) as folder:
        yield Path(folder)


def seconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def compare(ours: Callable[[], object], baseline: Callable[[], object], *, repeats: int) -> tuple[float, float]:
    """Median seconds of both, run in turns so that a busy moment hits both; one run of each comes before the clock."""
    ours()
    baseline()
    pairs = [(seconds(ours), seconds(baseline)) for _ in range(repeats)]
    return median(a for a, _ in pairs), median(b for _, b in pairs)


def report(name: str, value: float, unit: str, target: float, *, at_least: bool = True) -> None:
    met = value >= target if at_least else value <= target
    sign = "≥" if at_least else "≤"
    print(f"{name}: {value:.2f} {unit} (to reach: {sign} {target:g}) {'reached' if met else 'MISSED'}", flush=True)
