"""How classifiers do from cycle to cycle: the share of wrong answers, as `dvc plots` and a person read it."""

from collections.abc import Sequence
from pathlib import Path

from soundraft.evaluation import classification
from soundraft.evaluation.classification_report import MAJORITY, SVM, Row
from soundraft.evaluation.figures import dress, new_figure, save, whole_numbers
from soundraft.evaluation.plots import COLORS
from soundraft.evaluation.report import START, TRAINED, Bootstrap, write_csv


def write_curves(path: Path, rows: Sequence[Row], bootstrap: Bootstrap) -> None:
    """`curves.csv`: per cycle the error of the trained chain with its interval, and of each control."""
    start = rows[0]
    models = {(row.chain, row.cycle): row for row in rows}
    controls = sorted({row.chain for row in rows} - {START, TRAINED, SVM, MAJORITY})
    lines = []
    for cycle in sorted({row.cycle for row in rows}):
        trained = models.get((TRAINED, cycle), start)
        low, high = _bounds(trained, bootstrap)
        line = {"cycle": cycle, "trained": _error(trained), "trained_low": low, "trained_high": high}
        lines.append(line | {control: _error(models.get((control, cycle), start)) for control in controls})
    write_csv(path, lines)


def plot_error(path: Path, rows: Sequence[Row], bootstrap: Bootstrap) -> None:
    """Test error by cycle: the trained chain with its interval, the controls beside it."""
    figure = new_figure(8, 5)
    axes = figure.subplots()
    for chain, color in COLORS.items():
        curve = [rows[0], *(row for row in rows if row.chain == chain)]
        if len(curve) == 1:
            continue
        cycles = [row.cycle for row in curve]
        if chain == TRAINED:
            bounds = [_bounds(row, bootstrap) for row in curve]
            axes.fill_between(cycles, *zip(*bounds, strict=True), color=color, alpha=0.15, linewidth=0)
        axes.plot(cycles, [_error(row) for row in curve], "o-", color=color, label=curve[-1].label)
    for row in rows:
        if row.chain == SVM:
            axes.axhline(_error(row), color="#888888", linestyle="--", label=row.label)
    dress(axes, "Test error by cycle", "cycle", "share of wrong answers", note="band: 95 % bootstrap interval")
    whole_numbers(axes.xaxis)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=9)
    save(figure, path)


def _error(row: Row) -> float:
    return 1 - row.accuracy


def _bounds(row: Row, bootstrap: Bootstrap) -> tuple[float, float]:
    accuracy, _ = classification.intervals(row.predicted, samples=bootstrap.samples, seed=bootstrap.seed)
    return 1 - accuracy.high, 1 - accuracy.low
