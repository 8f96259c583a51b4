"""What the pictures share: how they are dressed, and files whose bytes depend on what is drawn alone."""

import io
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from soundraft import files
from soundraft.audio import io as audio_io
from soundraft.audio.ecdc import CODEBOOK_SIZE, FRAMES_PER_S
from soundraft.corpora.checks import Statistics, splits_of
from soundraft.evaluation.results import MAJORITY, TRAINED, Column, Result, error
from soundraft.evaluation.scores import METRICS
from soundraft.metrics.resampling import Bootstrap
from soundraft.runtime import UserError

# by suffix: what would differ from run to run, or between versions of the library, is left out
FORMATS: Mapping[str, Mapping[str, None]] = {
    ".png": {"Software": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    ".svg": {"Date": None, "Creator": None},
}
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
    """Where these names are drawn: what the usual font lacks is taken from other installed ones.

    Yields:
        The characters that none of them has, sorted; they are drawn as boxes.
    """
    import matplotlib
    from matplotlib.font_manager import FontProperties, findfont, fontManager

    families = list(matplotlib.rcParams["font.family"])
    lacking = set().union(*names) - {"\n"} - _signs(findfont(FontProperties(family=families)))
    usable = {font.name for font in fontManager.ttflist if lacking and not font.name.startswith(_BOXES)}
    others = {name: lacking & _signs(findfont(name)) for name in usable}
    while any(lacking & signs for signs in others.values()):
        families.append(max(others, key=lambda name: (len(lacking & others[name]), name)))
        lacking -= others[families[-1]]
    with matplotlib.rc_context({"font.family": families}), warnings.catch_warnings():
        if lacking:  # it is told by what is yielded
            warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield "".join(sorted(lacking))


def _signs(font: str) -> set[str]:
    """What a font's file has."""
    from matplotlib.ft2font import FT2Font

    return set(map(chr, FT2Font(font).get_charmap()))


def check_suffix(path: Path) -> None:
    """Raise UserError when pictures cannot be written as such a file."""
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"{path}: a picture is written as {', '.join(FORMATS)}, not as {path.suffix or 'no suffix'!r}")


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure in the format of the path's suffix: png, pdf or svg.

    Raises:
        UserError: for another suffix.
    """
    import matplotlib

    check_suffix(path)
    suffix = path.suffix.lower()
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "soundraft"}):
        figure.savefig(buffer, format=suffix[1:], metadata=dict(FORMATS[suffix]))
    files.write_bytes(path, buffer.getvalue())


def dress(axes: Any, title: str, x_label: str, y_label: str, *, note: str = "") -> None:
    """Title, a line of numbers below it, units."""
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


CHAIN_COLORS = {TRAINED: "#0b6e4f", "sft": "#4c72b0", "self_training": "#c08030", "random": "#a04040"}
CURVE_COLORS = ("#0b6e4f", "#4c72b0", "#c08030", "#a04040", "#7a5195")
_OTHERS = {"snapped": ("the same, words snapped", ":", CHAIN_COLORS[TRAINED]),
           "start_corpus": ("the same, start corpus", "--", "#888888")}  # fmt: skip


def plot_error(path: Path, results: Sequence[Result], columns: Sequence[Column], bootstrap: Bootstrap) -> None:
    """The first column by cycle: the trained chain with its interval and its other columns, controls and baselines."""
    metric, others = METRICS[columns[0].key], [column for column in columns if column.of in _OTHERS]
    figure = new_figure(8, 5)
    axes = figure.subplots()
    for chain, color in CHAIN_COLORS.items():
        curve = [results[0], *(each for each in results if each.model.chain == chain)]
        if len(curve) == 1:
            continue
        cycles = [each.model.cycle for each in curve]
        found = [each.scores.estimate(metric.key, bootstrap) for each in curve]
        values, *bounds = ([error(metric, getattr(each, name)) for each in found] for name in ("value", "low", "high"))
        axes.plot(cycles, values, "o-", color=color, label=curve[-1].label)
        if chain == TRAINED:
            axes.fill_between(cycles, *bounds, color=color, alpha=0.15, linewidth=0)
            for column in others:
                numbers = [column.number(each) for each in curve]
                label, line, other_color = _OTHERS[column.of]
                if None not in numbers:
                    axes.plot(cycles, numbers, line, color=other_color, label=label)
    for each in results:
        if each.model.is_baseline and each.model.chain != MAJORITY:
            axes.axhline(
                error(metric, each.scores.value(metric.key)), color="#888888", linestyle="-.", label=each.label
            )
    title = f"Test {metric.title if metric.best == 0 else 'error'} by cycle"
    dress(axes, title, "cycle", metric.error, note="band: 95 % bootstrap interval")
    _finish(axes)
    save_figure(figure, path)


def plot_reward(path: Path, cycles: Mapping[int, Mapping[str, Any]]) -> None:
    """Reward of all samples, of the best of each clip, and of the kept ones, by cycle."""
    figure = new_figure(8, 5)
    axes = figure.subplots()
    names = {"reward_kept": "kept", "reward_best": "best of each clip", "reward_mean": "all samples"}
    for key, label in names.items():
        axes.plot(list(cycles), [numbers[key] for numbers in cycles.values()], "o-", label=label)
    dress(axes, "Reward by cycle", "cycle", "mean reward")
    _finish(axes)
    save_figure(figure, path)


def _finish(axes: Any) -> None:
    whole_numbers(axes.xaxis)
    axes.set_ylim(bottom=0)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5))


def plot_clip(
    path: Path, codes: np.ndarray, cond: np.ndarray, names: Sequence[str], *, audio: bytes | None, title: str
) -> None:
    """Waveform, codes and conditioning of one clip on one time axis.

    Args:
        codes: [T, K].
        cond: [T, D], a panel for each feature.
        audio: the bytes of an audio file; without, there is no waveform.
    """
    seconds = len(codes) / FRAMES_PER_S
    heights = [1.2] * (audio is not None) + [0.9 + codes.shape[1] / 12] + [0.9] * len(names)
    figure, panels = _panels(heights)
    figure.suptitle(f"{title}   ·   {seconds:.2f} s, {len(codes)} frames", fontsize=11, parse_math=False)
    waiting = iter(panels)
    if audio is not None:
        _draw_wave(next(waiting), audio)
    _draw_codes(next(waiting), codes, seconds)
    for axes, name, values, color in zip(waiting, names, cond.T, cycle(CURVE_COLORS), strict=False):
        _draw_feature(axes, name, values, color)
    panels[-1].set_xlim(0, seconds)
    panels[-1].set_xlabel("seconds", fontsize=9)
    save_figure(figure, path)


def _panels(heights: Sequence[float]) -> Any:
    """Axes under each other, of these heights in inches, that share their time axis."""
    figure = new_figure(10, sum(heights) + 1.0)
    axes = figure.subplots(len(heights), sharex=True, squeeze=False, height_ratios=heights)
    for panel in axes[:, 0]:
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(labelsize=8)
    return figure, list(axes[:, 0])


def _draw_wave(axes: Any, audio: bytes) -> None:
    samples, rate_hz = audio_io.parse(audio)
    mono = audio_io.to_mono(samples)
    peak = float(np.abs(mono).max()) or 1.0
    axes.plot(np.arange(len(mono)) / rate_hz, mono, color="#4c5c70", linewidth=0.4)
    axes.set(ylim=(-1.05 * peak, 1.05 * peak))
    _name(axes, "waveform")


def _draw_codes(axes: Any, codes: np.ndarray, seconds: float) -> None:
    """An image K × T; the first codebook, which carries most, on top."""
    books = codes.shape[1]
    axes.imshow(
        codes.T, aspect="auto", interpolation="nearest", cmap="viridis", vmin=0, vmax=CODEBOOK_SIZE - 1,
        extent=(0, seconds, books - 0.5, -0.5),
    )  # fmt: skip
    axes.set(yticks=range(0, books, max(1, books // 4)))
    _name(axes, f"codes: one row a codebook, dark 0 to bright {CODEBOOK_SIZE - 1}")


def _draw_feature(axes: Any, name: str, values: np.ndarray, color: str) -> None:
    """One value a frame, drawn at the middle of the frame."""
    middles = (np.arange(len(values)) + 0.5) / FRAMES_PER_S
    axes.plot(middles, values, color=color, linewidth=1.2)
    axes.grid(alpha=0.3)
    _name(axes, name)


def _name(axes: Any, text: str) -> None:
    axes.set_title(text, loc="left", fontsize=8, color="#555555", pad=3, parse_math=False)


# The picture of a corpus: durations, words, speakers, rates and labels, by split.


SPLIT_COLORS = {"train": "#4c72b0", "validation": "#e0a030", "test": "#0b6e4f", "no split": "#7a7a7a"}
_PANEL_IN = (5.2, 3.1)  # inches
_LABEL_ROW_IN = 0.19
_BINS = 40
_NAME_WIDTH = 28
_FEW_LABELS = 8  # so many fit into a small panel

Draw = Callable[[Any], None]


def plot_statistics(path: Path, found: Mapping[str, Statistics], *, title: str, most_labels: int) -> None:
    """Draw what is known of the splits; what no clip has (texts, speakers, labels) has no panel."""
    splits = {name: found[name] for name in splits_of(found)}
    panels = [partial(_durations, splits=splits)]
    if any(len(split.words) for split in splits.values()):
        panels.append(partial(_words, splits=splits))
    if any(split.speakers for split in splits.values()):
        panels.append(partial(_speakers, splits=splits))
    panels.append(partial(_rates, splits=splits))
    labels = sum((split.labels for split in splits.values()), Counter[str]())
    shown = [label for label, _ in labels.most_common(most_labels)]
    draw_labels = partial(_labels, splits=splits, shown=shown, total=len(labels))
    tall = bool(shown) and (len(shown) > _FEW_LABELS or len(panels) % 2 == 0)
    if shown and not tall:
        panels.append(draw_labels)
    figure, places, beside = _layout(len(panels), len(shown) if tall else 0)
    for axes, draw in zip(places, panels, strict=True):
        draw(axes)
    if tall:
        draw_labels(beside)
    _head(figure, splits, title)
    save_figure(figure, path)


def _layout(panels: int, labels: int) -> tuple[Any, list[Any], Any]:
    """Small panels in two columns, and a column as tall as the picture where there are rows of labels for it.

    Where the labels make the picture so tall that two columns would be drawn out, the panels stand in one.
    """
    labels_in = labels * _LABEL_ROW_IN
    left = 1 if labels_in > 1.5 * (-(-panels // 2)) * _PANEL_IN[1] else 2
    if panels == 3 and not labels:
        left = 3
    rows = -(-panels // left)
    columns = left + bool(labels)
    height = max(rows * _PANEL_IN[1], labels_in + 1.0) + 0.9
    figure = new_figure(columns * _PANEL_IN[0], height)
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.1, wspace=0.03, hspace=0.05)
    grid = figure.add_gridspec(rows, columns)
    places = [figure.add_subplot(grid[at // left, at % left]) for at in range(panels)]
    return figure, places, figure.add_subplot(grid[:, -1]) if labels else None


def _head(figure: Any, splits: Mapping[str, Statistics], title: str) -> None:
    """The title, and below it one legend for all panels that also tells the size of each split."""
    from matplotlib.patches import Patch

    figure.suptitle(title, fontsize=13, fontweight="bold", parse_math=False)
    handles = [
        Patch(color=SPLIT_COLORS[name], label=f"{name}: {split.clips:,} clips, {split.durations.sum() / 3600:.2f} h")
        for name, split in splits.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=10)


def _durations(axes: Any, splits: Mapping[str, Statistics]) -> None:
    _histogram(axes, {name: split.durations for name, split in splits.items()}, whole=False)
    note = f"median {_told({name: f'{np.median(split.durations):.2f}' for name, split in splits.items()})}"
    dress(axes, "Duration", "seconds", "% of the split's clips", note=note)


def _words(axes: Any, splits: Mapping[str, Statistics]) -> None:
    _histogram(axes, {name: split.words for name, split in splits.items() if len(split.words)}, whole=True)
    note = f"different words {_told({name: f'{split.vocabulary:,}' for name, split in splits.items()})}"
    dress(axes, "Words per clip", "words", "% of the split's clips", note=note)
    whole_numbers(axes.xaxis)


def _histogram(axes: Any, values: Mapping[str, np.ndarray], *, whole: bool) -> None:
    """Shares of each split, so that a small split can be compared with a large one."""
    edges = _edges(np.concatenate(list(values.values())), whole=whole)
    for name, numbers in values.items():
        share = 100 * np.histogram(np.clip(numbers, edges[0], edges[-1]), edges)[0] / len(numbers)
        axes.stairs(share, edges, fill=True, color=SPLIT_COLORS[name], alpha=0.18)
        axes.stairs(share, edges, color=SPLIT_COLORS[name], linewidth=1.6)
    axes.set_xlim(edges[0], edges[-1])


def _edges(values: np.ndarray, *, whole: bool) -> np.ndarray:
    """Bins over all values; whole numbers stand in the middle of theirs."""
    low, high = float(values.min()), float(values.max())
    if whole:
        step = max(1, int(np.ceil((high - low + 1) / _BINS)))
        return np.arange(low - 0.5, high + step + 0.5, step)
    if high - low <= 0.01 * high:  # clips of one length
        return np.linspace(0.9 * low, 1.1 * high or 1.0, _BINS + 1)
    return np.linspace(low, high, _BINS + 1)


def _rates(axes: Any, splits: Mapping[str, Statistics]) -> None:
    rates = sorted(set().union(*(split.rates for split in splits.values())))
    _bars(axes, splits, [[100 * split.rates[rate] / split.clips for rate in rates] for split in splits.values()])
    axes.set_xticks(range(len(rates)), [f"{rate / 1000:g}" for rate in rates])
    axes.set_xlim(-0.9, max(len(rates) - 0.1, 0.9))
    note = f"{len(rates)} rates" if len(rates) > 1 else "all clips alike"
    dress(axes, "Sample rate", "kHz", "% of the split's clips", note=note)


def _speakers(axes: Any, splits: Mapping[str, Statistics]) -> None:
    """Clips of each speaker, from the one with the most: as readable with 2 speakers as with 2,000."""
    for name, split in splits.items():
        counts = sorted(split.speakers.values(), reverse=True)
        if counts:
            edges = np.arange(len(counts) + 1) + 0.5
            axes.stairs(counts, edges, fill=True, color=SPLIT_COLORS[name], alpha=0.18)
            axes.stairs(counts, edges, color=SPLIT_COLORS[name], linewidth=1.6)
    note = f"speakers {_told({name: f'{len(split.speakers):,}' for name, split in splits.items()})}"
    dress(axes, "Clips per speaker", "speakers, from the one with the most clips", "clips", note=note)
    axes.set_xlim(0.5, max(len(split.speakers) for split in splits.values()) + 0.5)
    whole_numbers(axes.xaxis, axes.yaxis)


def _labels(axes: Any, splits: Mapping[str, Statistics], shown: Sequence[str], total: int) -> None:
    """A row a label, the most frequent on top, the splits beside each other in it."""
    left = np.zeros(len(shown))
    for name, split in splits.items():
        counts = np.array([split.labels[label] for label in shown])
        axes.barh(range(len(shown)), counts, left=left, height=0.72, color=SPLIT_COLORS[name])
        left += counts
    axes.set_yticks(range(len(shown)), [_cut(label) for label in shown], fontsize=8.5, parse_math=False)
    axes.set_ylim(max(len(shown), 3) - 0.4, -0.6)
    axes.margins(x=0.03)
    note = f"the {len(shown)} most frequent of {total:,}" if total > len(shown) else f"{total:,} labels"
    dress(axes, "Clips per label", "clips", "", note=note)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)


def _bars(axes: Any, splits: Mapping[str, Statistics], heights: Iterable[Sequence[float]]) -> None:
    """Bars of the splits beside each other at 0, 1, 2, …"""
    width = 0.7 / len(splits)
    for number, (name, values) in enumerate(zip(splits, heights, strict=True)):
        middles = np.arange(len(values)) + (number - (len(splits) - 1) / 2) * width
        axes.bar(middles, values, width=0.92 * width, color=SPLIT_COLORS[name])


def _told(numbers: Mapping[str, str]) -> str:
    """`600 train, 30 test`; of one split the number alone."""
    return ", ".join(f"{number} {name}" if len(numbers) > 1 else number for name, number in numbers.items())


def _cut(text: str) -> str:
    return text if len(text) <= _NAME_WIDTH else f"{text[: _NAME_WIDTH - 1]}…"
