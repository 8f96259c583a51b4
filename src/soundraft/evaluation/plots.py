"""Pictures whose bytes depend on the numbers alone: shared helpers, error and reward by cycle, one clip, one corpus."""

import io
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from soundraft import files
from soundraft.evaluation.results import MAJORITY, TRAINED, Column, Result, error
from soundraft.evaluation.scores import METRICS
from soundraft.metrics.resampling import Bootstrap
from soundraft.runtime import UserError

# by suffix: metadata that would differ from run to run, or between versions of the library, is left out
FORMATS: Mapping[str, Mapping[str, None]] = {
    ".png": {"Software": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    ".svg": {"Date": None, "Creator": None},
}
COLORS = (
    "#0b6e4f", "#4c72b0", "#c08030", "#a04040", "#7a5195", "#2a9d8f", "#e07a9a", "#8c6d31", "#5b5b5b", "#94b447",
)  # fmt: skip
NAME_WIDTH = 28
_BOXES = "Last Resort"  # comes with matplotlib, and has a box for every character


def new_figure(width_in: float, height_in: float) -> Any:
    """A figure of this size that belongs to no window and to no global list."""
    from matplotlib.figure import Figure

    figure: Any = Figure(figsize=(width_in, height_in), dpi=120, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)
    return figure


@contextmanager
def fonts_for(names: Iterable[str]) -> Iterator[str]:
    """Where these names are drawn: characters that the usual font lacks are taken from other installed ones.

    Yields:
        The characters that no font has, sorted; they are drawn as boxes.
    """
    import matplotlib
    from matplotlib.font_manager import FontProperties, findfont, fontManager

    families = list(matplotlib.rcParams["font.family"])
    lacking = set().union(*names) - {"\n"} - _characters(findfont(FontProperties(family=families)))
    for name in sorted({font.name for font in fontManager.ttflist if not font.name.startswith(_BOXES)}):
        found = lacking & _characters(findfont(name)) if lacking else set()
        families += [name] if found else []
        lacking -= found
    with matplotlib.rc_context({"font.family": families}), warnings.catch_warnings():
        if lacking:  # the caller reports them
            warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield "".join(sorted(lacking))


def _characters(font_file: str) -> set[str]:
    from matplotlib.ft2font import FT2Font

    return set(map(chr, FT2Font(font_file).get_charmap()))


def check_suffix(path: Path) -> None:
    """Raise UserError when pictures cannot be written as such a file."""
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"{path}: a picture is written as {', '.join(FORMATS)}, not as {path.suffix or 'no suffix'!r}")


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure in the format of the path's suffix; UserError as `check_suffix`."""
    import matplotlib

    check_suffix(path)
    suffix = path.suffix.lower()
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "soundraft"}):
        figure.savefig(buffer, format=suffix[1:], metadata=dict(FORMATS[suffix]))
    files.write_bytes(path, buffer.getvalue())


def dress(axes: Any, title: str, x_label: str, y_label: str, *, note: str = "", rows: bool = False) -> None:
    """Title, a line of numbers below it, units; no grid between `rows` that have names."""
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold", pad=18 if note else 8, parse_math=False)
    axes.annotate(
        note, (0, 1), xytext=(0, 5), xycoords="axes fraction", textcoords="offset points", fontsize=8.5,
        color="#666666", parse_math=False,
    )  # fmt: skip
    axes.set_xlabel(x_label, fontsize=9)
    axes.set_ylabel(y_label, fontsize=9)
    axes.tick_params(labelsize=8.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    axes.grid(alpha=0.25, linewidth=0.8)
    if rows:
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", which="both", length=0)


def legend_beside(axes: Any, size: float = 8.5) -> None:
    """To the right of the axes; none where nothing has a label."""
    if axes.get_legend_handles_labels()[0]:
        legend = axes.legend(frameon=False, fontsize=size, loc="center left", bbox_to_anchor=(1.0, 0.5))
        for text in legend.get_texts():
            text.set_parse_math(False)


def whole_numbers(*those: Any, most: int = 7) -> None:
    from matplotlib.ticker import MaxNLocator

    for axis in those:
        axis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, nbins=most, steps=[1, 2, 5, 10]))


def percent(*those: Any) -> None:
    """Shares 0–1 as 0 % to 100 %."""
    from matplotlib.ticker import MultipleLocator, PercentFormatter

    for axis in those:
        axis.set_major_locator(MultipleLocator(0.2))
        axis.set_major_formatter(PercentFormatter(1, decimals=0))


def cut(text: str, width: int = NAME_WIDTH) -> str:
    """Shortened in the middle: names that begin alike still differ."""
    if len(text) <= width:
        return text
    tail = (width - 1) * 2 // 5
    return f"{text[: width - 1 - tail].rstrip()}…{text[-tail:].lstrip()}"


CHAIN_COLORS = dict(zip((TRAINED, "sft", "self_training", "random"), COLORS, strict=False))
_OTHERS = {
    "snapped": {"label": "the same, words snapped", "linestyle": ":", "color": COLORS[0]},
    "start_corpus": {"label": "the same, start corpus", "linestyle": "--", "color": "#888888"},
}


def plot_error(path: Path, results: Sequence[Result], columns: Sequence[Column], bootstrap: Bootstrap) -> None:
    """The first column by cycle: the trained chain with its interval and its other columns, controls and baselines."""
    metric, figure = METRICS[columns[0].key], new_figure(8, 5)
    axes = figure.subplots()
    for chain, color in CHAIN_COLORS.items():
        curve = [results[0], *(each for each in results if each.model.chain == chain)]
        if len(curve) == 1:
            continue
        cycles = [each.model.cycle for each in curve]
        found = [each.scores.estimate(metric.key, bootstrap) for each in curve]
        values, low, high = (
            [error(metric, getattr(each, name)) for each in found] for name in ("value", "low", "high")
        )
        axes.plot(cycles, values, "o-", color=color, label=curve[-1].label)
        if chain == TRAINED:
            axes.fill_between(cycles, low, high, color=color, alpha=0.15, linewidth=0)
            for column in columns:
                if column.of in _OTHERS and column.scores(curve[0]) is not None:
                    axes.plot(cycles, [column.number(each) for each in curve], **_OTHERS[column.of])
    for each in results:
        if each.model.is_baseline and each.model.chain != MAJORITY:
            axes.axhline(
                error(metric, each.scores.value(metric.key)), color="#888888", linestyle="-.", label=each.label
            )
    title = f"Test {'error' if metric.best == 1 else metric.title} by cycle"
    dress(axes, title, "cycle", metric.error, note="band: 95 % bootstrap interval")
    _save_curves(figure, axes, path)


def plot_reward(path: Path, cycles: Mapping[int, Mapping[str, Any]]) -> None:
    """Reward of all samples, of the best of each clip, and of the kept ones, by cycle."""
    figure = new_figure(8, 5)
    axes = figure.subplots()
    names = {"reward_kept": "kept", "reward_best": "best of each clip", "reward_mean": "all samples"}
    for key, label in names.items():
        axes.plot(list(cycles), [numbers[key] for numbers in cycles.values()], "o-", label=label)
    dress(axes, "Reward by cycle", "cycle", "mean reward")
    _save_curves(figure, axes, path)


def _save_curves(figure: Any, axes: Any, path: Path) -> None:
    whole_numbers(axes.xaxis)
    axes.set_ylim(bottom=0)
    legend_beside(axes, 9)
    save_figure(figure, path)
