"""What every benchmark shares: paired runs, medians, one printed line."""

import time
from collections.abc import Callable
from statistics import median


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
