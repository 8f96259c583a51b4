"""Pictures whose bytes depend on the numbers alone: shared helpers, error and reward by cycle, one clip, one corpus."""

import io
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
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
    title = f"Test {metric.title if metric.best == 0 else 'error'} by cycle"
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
