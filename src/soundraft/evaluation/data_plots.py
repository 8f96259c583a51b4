"""The pictures of data: one clip with its tokens and features, and the statistics of a corpus."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from soundraft.audio import io as audio_io
from soundraft.audio.ecdc import CODEBOOK_SIZE, FRAMES_PER_S
from soundraft.corpora.checks import Statistics, splits_of
from soundraft.evaluation.plots import COLORS, cut, dress, new_figure, save_figure, whole_numbers


def plot_clip(
    path: Path, codes: np.ndarray, cond: np.ndarray, names: Sequence[str], *, audio: bytes | None, title: str
) -> None:
    """Waveform, codes and conditioning of one clip on one time axis.

    Args:
        codes: [T, K].
        cond: [T, D], a panel for each feature.
        audio: the bytes of an audio file; without, there is no waveform.
    """
    seconds, books = len(codes) / FRAMES_PER_S, codes.shape[1]
    heights = [1.2] * (audio is not None) + [0.9 + books / 12] + [0.9] * len(names)
    figure = new_figure(10, sum(heights) + 1.0)
    figure.suptitle(f"{title}   ·   {seconds:.2f} s, {len(codes)} frames", fontsize=11, parse_math=False)
    panels = list(figure.subplots(len(heights), sharex=True, squeeze=False, height_ratios=heights)[:, 0])
    panels[-1].set_xlim(0, seconds)
    titles = [f"codes: one row a codebook, dark 0 to bright {CODEBOOK_SIZE - 1}", *names]
    for axes, name in zip(panels, ["waveform"] * (audio is not None) + titles, strict=True):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
        axes.set_title(name, loc="left", fontsize=8, color="#555555", pad=3, parse_math=False)
    panels[-1].set_xlabel("seconds", fontsize=9)
    if audio is not None:
        samples, rate_hz = audio_io.parse(audio)
        mono = audio_io.to_mono(samples)
        peak = float(np.abs(mono).max()) or 1.0
        wave = panels.pop(0)
        wave.plot(np.arange(len(mono)) / rate_hz, mono, color="#4c5c70", linewidth=0.4)
        wave.set_ylim(-1.05 * peak, 1.05 * peak)
    # the first codebook, which carries most, on top
    panels[0].imshow(
        codes.T, aspect="auto", interpolation="nearest", cmap="viridis", vmin=0, vmax=CODEBOOK_SIZE - 1,
        extent=(0, seconds, books - 0.5, -0.5),
    )  # fmt: skip
    panels[0].set_yticks(range(0, books, max(1, books // 4)))
    middles = (np.arange(len(cond)) + 0.5) / FRAMES_PER_S
    for number, (axes, values) in enumerate(zip(panels[1:], cond.T, strict=True)):
        axes.plot(middles, values, color=COLORS[number % len(COLORS)], linewidth=1.2)
        axes.grid(alpha=0.3)
    save_figure(figure, path)


SPLIT_COLORS = {"train": "#4c72b0", "validation": "#e0a030", "test": "#0b6e4f", "no split": "#7a7a7a"}
_PANEL_IN = (5.2, 3.1)  # inches
_LABEL_ROW_IN = 0.19
_BINS = 40
_SHARE = "% of the split's clips"  # so that a small split can be compared with a large one
Splits = Mapping[str, Statistics]


def plot_statistics(path: Path, found: Splits, *, title: str, most_labels: int) -> None:
    """Durations, words, speakers, rates and labels of a corpus by split; what no clip has has no panel."""
    splits = {name: found[name] for name in splits_of(found)}
    panels = [_draw_durations]
    panels += [_draw_words] if any(len(split.words) for split in splits.values()) else []
    panels += [_draw_speakers] if any(split.speakers for split in splits.values()) else []
    panels += [_draw_rates]
    labels = sum((split.labels for split in splits.values()), Counter[str]())
    shown = [label for label, _ in labels.most_common(most_labels)]
    # small panels in two columns, beside them the rows of labels; of very many labels so tall that one column is enough
    labels_in = len(shown) * _LABEL_ROW_IN
    left = 1 if labels_in > 1.5 * -(-len(panels) // 2) * _PANEL_IN[1] else 3 if len(panels) == 3 and not shown else 2
    rows, columns = -(-len(panels) // left), left + bool(shown)
    figure = new_figure(columns * _PANEL_IN[0], max(rows * _PANEL_IN[1], labels_in + 1.0) + 0.9)
    grid = figure.add_gridspec(rows, columns)
    for place, draw in enumerate(panels):
        draw(figure.add_subplot(grid[place // left, place % left]), splits)
    if shown:
        _draw_labels(figure.add_subplot(grid[:, -1]), splits, shown, len(labels))
    figure.suptitle(title, fontsize=13, fontweight="bold", parse_math=False)
    _legend(figure, splits)
    save_figure(figure, path)


def _legend(figure: Any, splits: Splits) -> None:
    """One for all panels, with the size of each split."""
    from matplotlib.patches import Patch

    handles = [
        Patch(color=SPLIT_COLORS[name], label=f"{name}: {split.clips:,} clips, {split.durations.sum() / 3600:.2f} h")
        for name, split in splits.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=10)


def _draw_durations(axes: Any, splits: Splits) -> None:
    values = np.concatenate([split.durations for split in splits.values()])
    low, high = float(values.min()), float(values.max())
    if high - low <= 0.01 * high:  # clips of one length
        low, high = 0.9 * low, 1.1 * high or 1.0
    edges = np.linspace(low, high, _BINS + 1)
    _stairs(axes, edges, {name: _shares(split.durations, edges) for name, split in splits.items()})
    note = f"median {_by_split({name: f'{np.median(split.durations):.2f}' for name, split in splits.items()})}"
    dress(axes, "Duration", "seconds", _SHARE, note=note)


def _draw_words(axes: Any, splits: Splits) -> None:
    values = np.concatenate([split.words for split in splits.values()])
    step = max(1, -(-int(values.max() - values.min() + 1) // _BINS))
    edges = np.arange(values.min() - 0.5, values.max() + step + 0.5, step)  # a number stands in the middle of its bin
    _stairs(axes, edges, {name: _shares(split.words, edges) for name, split in splits.items() if len(split.words)})
    note = f"different words {_by_split({name: f'{split.vocabulary:,}' for name, split in splits.items()})}"
    dress(axes, "Words per clip", "words", _SHARE, note=note)
    whole_numbers(axes.xaxis)


def _draw_speakers(axes: Any, splits: Splits) -> None:
    """Clips of each speaker, from the one with the most: as readable with 2 speakers as with 2,000."""
    counts = {name: sorted(split.speakers.values(), reverse=True) for name, split in splits.items()}
    most = max(map(len, counts.values()))
    padded = {name: [*own, *[np.nan] * (most - len(own))] for name, own in counts.items() if own}
    _stairs(axes, np.arange(most + 1) + 0.5, padded)
    note = f"speakers {_by_split({name: f'{len(own):,}' for name, own in counts.items()})}"
    dress(axes, "Clips per speaker", "speakers, from the one with the most clips", "clips", note=note)
    whole_numbers(axes.xaxis, axes.yaxis)


def _draw_rates(axes: Any, splits: Splits) -> None:
    rates = sorted(set().union(*(split.rates for split in splits.values())))
    width = 0.7 / len(splits)
    for number, (name, split) in enumerate(splits.items()):
        middles = np.arange(len(rates)) + (number - (len(splits) - 1) / 2) * width
        shares = [100 * split.rates[rate] / split.clips for rate in rates]
        axes.bar(middles, shares, width=0.92 * width, color=SPLIT_COLORS[name])
    axes.set_xticks(range(len(rates)), [f"{rate / 1000:g}" for rate in rates])
    axes.set_xlim(-0.9, max(len(rates) - 0.1, 0.9))
    dress(axes, "Sample rate", "kHz", _SHARE, note=f"{len(rates)} rates" if len(rates) > 1 else "all clips alike")


def _draw_labels(axes: Any, splits: Splits, shown: Sequence[str], total: int) -> None:
    """A row a label, the most frequent on top, the splits beside each other in it."""
    left = np.zeros(len(shown))
    for name, split in splits.items():
        counts = np.array([split.labels[label] for label in shown])
        axes.barh(range(len(shown)), counts, left=left, height=0.72, color=SPLIT_COLORS[name])
        left += counts
    note = f"the {len(shown)} most frequent of {total:,}" if total > len(shown) else f"{total:,} labels"
    dress(axes, "Clips per label", "clips", "", note=note, rows=True)
    axes.set_yticks(range(len(shown)), [cut(label) for label in shown], fontsize=8.5, parse_math=False)
    axes.set_ylim(max(len(shown), 3) - 0.4, -0.6)
    axes.margins(x=0.03)


def _shares(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    return 100 * np.histogram(values, edges)[0] / len(values)


def _stairs(axes: Any, edges: np.ndarray, heights: Mapping[str, Sequence[float] | np.ndarray]) -> None:
    for name, values in heights.items():
        axes.stairs(values, edges, fill=True, color=SPLIT_COLORS[name], alpha=0.18)
        axes.stairs(values, edges, color=SPLIT_COLORS[name], linewidth=1.6)
    axes.set_xlim(edges[0], edges[-1])


def _by_split(numbers: Mapping[str, str]) -> str:
    """`600 train, 30 test`; of one split the number alone."""
    return ", ".join(f"{number} {name}" if len(numbers) > 1 else number for name, number in numbers.items())
