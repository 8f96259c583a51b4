"""The two pictures of the report, as PNG whose bytes depend on the numbers alone."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from soundraft import files
from soundraft.evaluation.report import LABELS, START, Bootstrap, Row

COLORS = {"raft": "#0b6e4f", "supervised": "#4c72b0", "self_training": "#c08030", "random": "#a04040"}


def plot_wer(path: Path, rows: Sequence[Row], bootstrap: Bootstrap) -> None:
    """Test WER by cycle: RAFT with its interval and its start-corpus curve, the controls beside it."""
    figure, axes = _figure()
    first = next(row for row in rows if row.algorithm == START)
    for algorithm, color in COLORS.items():
        curve = [first, *(row for row in rows if row.algorithm == algorithm)]
        cycles = [row.cycle for row in curve]
        if len(curve) == 1:
            continue
        if algorithm == "raft":
            bounds = [bootstrap.interval(row.target.words) for row in curve]
            axes.fill_between(cycles, *zip(*bounds, strict=True), color=color, alpha=0.15, linewidth=0)
            axes.plot(cycles, [row.snapped.wer for row in curve], ":", color=color, label="RAFT, words snapped")
            axes.plot(cycles, [row.start.wer for row in curve], "--", color="#888888", label="RAFT, start corpus")
        axes.plot(cycles, [row.target.wer for row in curve], "o-", color=color, label=LABELS[algorithm])
    axes.set(xlabel="cycle", ylabel="word error rate", title="Test WER by cycle (band: 95 % bootstrap interval)")
    _finish(figure, axes, path)


def plot_reward(path: Path, cycles: Mapping[int, Mapping[str, Any]]) -> None:
    """Reward of all samples, of the best of each clip, and of the kept ones, by cycle."""
    figure, axes = _figure()
    for key, label in (
        ("reward_kept", "kept"),
        ("reward_best", "best of each clip"),
        ("reward_mean", "all samples"),
    ):
        axes.plot(list(cycles), [numbers[key] for numbers in cycles.values()], "o-", label=label)
    axes.set(xlabel="cycle", ylabel="mean reward", title="RAFT reward by cycle", ylim=(0, 1))
    _finish(figure, axes, path)


def _figure() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot.subplots(figsize=(8, 5), dpi=120, layout="constrained")


def _finish(figure: Any, axes: Any, path: Path) -> None:
    from matplotlib import pyplot
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    pyplot.close(figure)
    files.write_bytes(path, buffer.getvalue())
