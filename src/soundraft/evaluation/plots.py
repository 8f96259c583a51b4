"""The pictures of the report and of single clips, as PNG whose bytes depend on the numbers alone."""

import io
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from soundraft import files
from soundraft.audio import io as audio_io
from soundraft.audio.ecdc import CODEBOOK_SIZE, FRAMES_PER_S
from soundraft.evaluation.report import START, TRAINED, Bootstrap, Row

COLORS = {TRAINED: "#0b6e4f", "sft": "#4c72b0", "self_training": "#c08030", "random": "#a04040"}
CURVE_COLORS = ("#0b6e4f", "#4c72b0", "#c08030", "#a04040", "#7a5195")


def plot_wer(path: Path, rows: Sequence[Row], bootstrap: Bootstrap) -> None:
    """Test WER by cycle: the trained chain with its interval and its start-corpus curve, the controls beside it."""
    figure, axes = _figure()
    first = next(row for row in rows if row.chain == START)
    for chain, color in COLORS.items():
        curve = [first, *(row for row in rows if row.chain == chain)]
        cycles = [row.cycle for row in curve]
        if len(curve) == 1:
            continue
        if chain == TRAINED:
            bounds = [bootstrap.interval(row.target.words) for row in curve]
            axes.fill_between(cycles, *zip(*bounds, strict=True), color=color, alpha=0.15, linewidth=0)
            snapped = [row.snapped.wer for row in curve if row.snapped]
            if snapped:
                axes.plot(cycles, snapped, ":", color=color, label="the same, words snapped")
            kept = [row.start.wer for row in curve if row.start]
            if kept:
                axes.plot(cycles, kept, "--", color="#888888", label="the same, start corpus")
        axes.plot(cycles, [row.target.wer for row in curve], "o-", color=color, label=curve[-1].label)
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
    axes.set(xlabel="cycle", ylabel="mean reward", title="Reward by cycle", ylim=(0, 1))
    _finish(figure, axes, path)


def _figure() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot.subplots(figsize=(8, 5), dpi=120, layout="constrained")


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
    save(figure, path)


def _panels(heights: Sequence[float]) -> Any:
    """Axes under each other, of these heights in inches, that share their time axis."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        len(heights), sharex=True, squeeze=False, figsize=(10, sum(heights) + 1.0), height_ratios=heights, dpi=120,
        layout="constrained",
    )  # fmt: skip
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


def _finish(figure: Any, axes: Any, path: Path) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    save(figure, path)


def save(figure: Any, path: Path) -> None:
    """Write a figure as PNG, and forget it."""
    from matplotlib import pyplot

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    pyplot.close(figure)
    files.write_bytes(path, buffer.getvalue())
