"""The picture of a corpus: durations, words, speakers, rates and labels, by split."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from soundraft.corpora.statistics import Statistics, splits_of
from soundraft.evaluation.figures import dress, whole_numbers
from soundraft.evaluation.plots import save

COLORS = {"train": "#4c72b0", "validation": "#e0a030", "test": "#0b6e4f", "no split": "#7a7a7a"}
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
    save(figure, path)


def _layout(panels: int, labels: int) -> tuple[Any, list[Any], Any]:
    """Small panels in two columns, and a column as tall as the picture where there are rows of labels for it.

    Where the labels make the picture so tall that two columns would be drawn out, the panels stand in one.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    labels_in = labels * _LABEL_ROW_IN
    left = 1 if labels_in > 1.5 * (-(-panels // 2)) * _PANEL_IN[1] else 2
    if panels == 3 and not labels:
        left = 3
    rows = -(-panels // left)
    columns = left + bool(labels)
    height = max(rows * _PANEL_IN[1], labels_in + 1.0) + 0.9
    figure = pyplot.figure(figsize=(columns * _PANEL_IN[0], height), dpi=110, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.1, wspace=0.03, hspace=0.05)
    grid = figure.add_gridspec(rows, columns)
    places = [figure.add_subplot(grid[at // left, at % left]) for at in range(panels)]
    return figure, places, figure.add_subplot(grid[:, -1]) if labels else None


def _head(figure: Any, splits: Mapping[str, Statistics], title: str) -> None:
    """The title, and below it one legend for all panels that also tells the size of each split."""
    from matplotlib.patches import Patch

    figure.suptitle(title, fontsize=13, fontweight="bold", parse_math=False)
    handles = [
        Patch(color=COLORS[name], label=f"{name}: {split.clips:,} clips, {split.durations.sum() / 3600:.2f} h")
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
        axes.stairs(share, edges, fill=True, color=COLORS[name], alpha=0.18)
        axes.stairs(share, edges, color=COLORS[name], linewidth=1.6)
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
            axes.stairs(counts, edges, fill=True, color=COLORS[name], alpha=0.18)
            axes.stairs(counts, edges, color=COLORS[name], linewidth=1.6)
    note = f"speakers {_told({name: f'{len(split.speakers):,}' for name, split in splits.items()})}"
    dress(axes, "Clips per speaker", "speakers, from the one with the most clips", "clips", note=note)
    axes.set_xlim(0.5, max(len(split.speakers) for split in splits.values()) + 0.5)
    whole_numbers(axes.xaxis, axes.yaxis)


def _labels(axes: Any, splits: Mapping[str, Statistics], shown: Sequence[str], total: int) -> None:
    """A row a label, the most frequent on top, the splits beside each other in it."""
    left = np.zeros(len(shown))
    for name, split in splits.items():
        counts = np.array([split.labels[label] for label in shown])
        axes.barh(range(len(shown)), counts, left=left, height=0.72, color=COLORS[name])
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
        axes.bar(middles, values, width=0.92 * width, color=COLORS[name])


def _told(numbers: Mapping[str, str]) -> str:
    """`600 train, 30 test`; of one split the number alone."""
    return ", ".join(f"{number} {name}" if len(numbers) > 1 else number for name, number in numbers.items())


def _cut(text: str) -> str:
    return text if len(text) <= _NAME_WIDTH else f"{text[: _NAME_WIDTH - 1]}…"
