"""The pictures of a classifier, as png, pdf or svg whose bytes depend on the numbers alone."""

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from soundraft import files
from soundraft.evaluation.plots import (
    COLORS,
    NAME_WIDTH,
    check_suffix,
    cut,
    dress,
    fonts_for,
    legend_beside,
    new_figure,
    percent,
    save_figure,
    whole_numbers,
)
from soundraft.evaluation.scores import Scores
from soundraft.metrics import labels as metric
from soundraft.runtime import UserError

MAIN, OTHER, FAINT = COLORS[0], COLORS[1], "#b8c0c8"
_SHADES = ("#ffffff", "#cfe5dc", "#7fbfa5", "#2f8f6b", "#0b5a40")
_ROW_IN = 0.21  # of a label
_MOST_IN = 36  # of all labels: with more than 171 the rows become narrower
_NAME_IN = 0.1  # of a name in the smallest letters; where rows are narrower, not each is named
_MATRIX_NAME_WIDTH = 18
_NUMBERS_UP_TO = 16  # labels: so many cells can hold a number each
_WORST_SHOWN = 5
_MEASURES = {"validation": "macro recall"}  # by which epochs are chosen; of sets the column is mAP
_NOT_A_MEASURE = ("epoch", "learning_rate", "seconds")
_SHARES = np.linspace(0, 1, 201)  # where curves are averaged, and thresholds


def draw(name: str, path: Path, scores: Scores) -> str:
    """Draw one of `PICTURES` of predictions with references.

    Returns:
        A note on the characters of labels that no font has; else nothing.

    Raises:
        UserError: for a path that does not end in .png, .pdf or .svg, a matrix of sets, and as `Scores.known`.
    """
    check_suffix(path)
    if not scores.labels:
        raise UserError(f"{name} is drawn from the predictions of a classifier, and these are of another task")
    if name not in pictures_of(scores):
        raise UserError(f"{name}: where a clip has several labels none is taken for another; see classes.csv")
    with fonts_for(scores.labels) as lacking:
        save_figure(PICTURES[name](scores), path)
    signs = ", ".join(map(repr, lacking))
    return f"no installed font has {signs} of the labels: drawn as boxes" if signs else ""


def pictures_of(scores: Scores) -> list[str]:
    """Which of `PICTURES` there are of these predictions."""
    return [name for name in PICTURES if not (scores.sets and name == "confusion_matrix")]


def read_history(path: Path) -> list[dict[str, float]]:
    """The epochs of a training, from its learning_curves.csv; nothing where there is no such file."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(stream)]


def kept_epoch(folder: Path) -> int | None:
    """Of the model in a folder that was trained by epochs, the one whose weights it has."""
    path = folder / "metrics.json"
    return files.read_json(path).get("best_epoch") if path.is_file() else None


def confusion_matrix(scores: Scores) -> Any:
    """Share of each label's clips by prediction, and how scattered (entropy) the predictions of it are."""
    from matplotlib.colors import LinearSegmentedColormap

    labels, ticks = scores.labels, np.arange(len(scores.labels) + 1) - 0.5
    counts = scores.confusions
    support = counts.sum(1, keepdims=True)
    shares = np.where(support > 0, counts / np.maximum(support, 1), np.nan)
    small = len(labels) <= _NUMBERS_UP_TO
    cell_in = 0.56 if small else _row_in(labels)
    side_in = max(cell_in * len(labels), 2.4)
    width = _matrix_name_width(labels)
    names_in = 0.085 * max(len(cut(label, width)) for label in labels)
    figure = new_figure(side_in + names_in + 2.9, side_in + names_in + 1.3)
    axes, bars = figure.subplots(1, 2, sharey=True, width_ratios=(side_in, 1.3))
    shades = LinearSegmentedColormap.from_list("shades", _SHADES).with_extremes(bad="#f0f0f0")
    image = axes.imshow(shares, cmap=shades, vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    if small:
        _write_cells(axes, counts, shares)
    note = f"accuracy {scores.correct.mean():.1%}, UAR {scores.value('uar'):.1%}, {len(scores):,} clips"
    dress(axes, "Confusion matrix", "prediction", "reference", note=note)
    shown = [cut(label, width) for label in labels]
    _name_rows(axes.set_xticks, shown, cell_in, rotation=0 if max(map(len, labels)) <= 5 and small else 90)
    _name_rows(axes.set_yticks, shown, cell_in)
    axes.grid(visible=False)
    axes.set_xticks(ticks, minor=True)
    axes.set_yticks(ticks, minor=True)
    axes.grid(which="minor", color="#dfe4e8", linewidth=0.6)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    _entropy_bars(bars, metric.row_entropy(counts))
    scale = figure.colorbar(image, ax=bars, fraction=0.12, pad=0.12, aspect=28, format=lambda x, _: f"{x:.0%}")
    scale.set_label("share of the reference's clips", fontsize=8.5)
    scale.ax.tick_params(labelsize=8)
    scale.outline.set_visible(False)
    return figure


def _matrix_name_width(labels: Sequence[str]) -> int:
    """Names stand twice beside a matrix: a long one would make all of it small. They still differ."""
    differ = len({cut(label, _MATRIX_NAME_WIDTH) for label in labels}) == len(labels)
    return _MATRIX_NAME_WIDTH if differ else NAME_WIDTH


def _row_in(labels: Sequence[str]) -> float:
    return min(_ROW_IN, _MOST_IN / len(labels))


def _name_rows(set_ticks: Callable[..., Any], labels: Sequence[str], row_in: float, **style: Any) -> None:
    places = range(0, len(labels), int(np.ceil(_NAME_IN / row_in)))
    size = 8.5 if row_in > _ROW_IN else 7 if row_in > 0.15 else 5
    set_ticks(places, [cut(labels[place]) for place in places], fontsize=size, parse_math=False, **style)


def _write_cells(axes: Any, counts: np.ndarray, shares: np.ndarray) -> None:
    """Percent, and below it clips; nothing where there is none."""
    for (row, column), clips in np.ndenumerate(counts):
        if clips:
            color = "#ffffff" if shares[row, column] > 0.55 else "#222222"
            text = f"{100 * shares[row, column]:.0f}%\n{clips:,}"
            axes.text(column, row, text, ha="center", va="center", fontsize=7.5, color=color, linespacing=1.25)


def _entropy_bars(axes: Any, bits: np.ndarray) -> None:
    axes.barh(range(len(bits)), np.nan_to_num(bits), height=0.66, color=OTHER)
    for row in np.flatnonzero(np.isnan(bits)):
        axes.text(0.02, row, "no clips", va="center", fontsize=7, color="#888888")
    dress(axes, "Entropy", "bits", "", note=f"0 to {np.log2(len(bits)):.1f}", rows=True)
    axes.set_xlim(0, np.log2(len(bits)))
    axes.tick_params(axis="y", labelleft=False)


def learning_curves(history: Sequence[Mapping[str, float]], kept: int | None = None) -> Any:
    """Losses on the left, measures of the validation clips on the right; the best epoch of each is marked.

    Args:
        kept: the epoch whose weights were kept, which need not be the best of a curve.
        history: of each epoch `epoch`, losses (keys that have "loss" in them) and measures of the validation clips; a
            learning rate and seconds are not drawn.
    """
    epochs = [row.get("epoch", number) for number, row in enumerate(history, start=1)]
    keys = [key for key in dict.fromkeys(key for row in history for key in row) if key not in _NOT_A_MEASURE]
    losses = [key for key in keys if "loss" in key]
    halves = {"Loss": losses, "Validation": [key for key in keys if key not in losses]}
    halves = {title: own for title, own in halves.items() if own}
    if not halves:
        raise UserError("learning curves are drawn from epochs with a loss or a measure, and there are none")
    figure = new_figure(5.2 * len(halves) + 0.4, 3.9)
    for axes, (title, own) in zip(np.atleast_1d(figure.subplots(1, len(halves))), halves.items(), strict=True):
        note = "rings: the best epoch of each"
        names = {key: _MEASURES.get(key, key.replace("_", " ")) for key in own}
        for key, color in zip(own, COLORS * len(own), strict=False):
            values = np.array([row.get(key, np.nan) for row in history], dtype=float)
            axes.plot(epochs, values, "o-", color=color, markersize=2.5, linewidth=1.6, label=names[key])
            if np.isfinite(values).any():
                best = int(np.nanargmin(values) if title == "Loss" else np.nanargmax(values))
                axes.plot(epochs[best], values[best], "o", color=color, markersize=8, markerfacecolor="none")
                if len(own) == 1:
                    least = "least" if title == "Loss" else "best"
                    note = f"{least}: {values[best]:.3g} after epoch {epochs[best]:g}"
        if kept is not None:
            axes.axvline(kept, color="0.45", linewidth=1, linestyle="--", zorder=0)
            note += f"; dashed: the kept epoch, {kept}"
        dress(axes, title, "epoch", names[own[0]] if len(own) == 1 else "", note=note)
        whole_numbers(axes.xaxis)
        if title == "Loss":
            axes.set_ylim(bottom=0)
        if len(own) > 1:
            axes.legend(frameon=False, fontsize=8.5)
    return figure


Curve = tuple[np.ndarray, np.ndarray]


def roc_curves(scores: Scores) -> Any:
    """True against false alarms of each label against the rest."""
    from sklearn.metrics import roc_curve

    right = metric.indicators(scores.known, scores.labels)
    areas = metric.roc_areas(right, scores.probabilities)
    curves: dict[int, Curve] = {}
    for place, area in enumerate(areas):
        if area is not None:
            false, true, _ = roc_curve(right[:, place], scores.probabilities[:, place])
            curves[place] = false, true
    words = ("ROC, each label against the rest", "false alarms", "clips found", "AUC")
    return _draw_curves(scores, curves, areas, words, stepped=False)


def precision_recall(scores: Scores) -> Any:
    """Precision against recall of each label against the rest."""
    from sklearn.metrics import average_precision_score, precision_recall_curve

    right = metric.indicators(scores.known, scores.labels)
    curves: dict[int, Curve] = {}
    areas: list[float | None] = []
    for place in range(len(scores.labels)):
        mine, own = right[:, place], scores.probabilities[:, place]
        areas.append(float(average_precision_score(mine, own)) if mine.any() else None)
        if mine.any():
            precision, recall, _ = precision_recall_curve(mine, own)
            _, firsts = np.unique(recall[::-1], return_index=True)  # the best precision of each recall: below is AP
            heights = precision[::-1][firsts]
            heights[0] = heights[1]  # scikit-learn's 100 % at recall 0 was not measured
            curves[place] = recall[::-1][firsts], heights
    words = ("Precision and recall, each label against the rest", "recall", "precision", "average precision")
    return _draw_curves(scores, curves, areas, words, stepped=True)


def _draw_curves(
    scores: Scores, curves: Mapping[int, Curve], areas: Sequence[float | None], words: Sequence[str], *, stepped: bool
) -> Any:
    """Few labels each in its colour, from the best to the worst; of many the mean and the worst stand out.

    Args:
        words: title, names of the axes and of the area.
        stepped: whether a place between two points has the height of the next one.
    """
    title, x_label, y_label, name = words
    figure = new_figure(7.6, 5.2)
    axes = figure.subplots()
    if not stepped:
        axes.plot((0, 1), (0, 1), ":", color="#888888", linewidth=1.2)
    shown = sorted(curves, key=lambda place: -(areas[place] or 0.0))
    style = "steps-pre" if stepped else "default"
    if len(shown) > len(COLORS):
        others, shown = shown[:-_WORST_SHOWN], shown[-_WORST_SHOWN:]
        for place in others:
            axes.plot(*curves[place], color=FAINT, linewidth=0.8, alpha=0.8, drawstyle=style)
        axes.plot([], [], color=FAINT, label=f"{len(others)} other labels")
        mean = _mean_curve(list(curves.values()), stepped=stepped)
        axes.plot(_SHARES, mean, color="#222222", linewidth=2.2, label="mean of all labels", zorder=4)
        axes.plot([], [], " ", label=f"the {len(shown)} worst:")
    for place, color in zip(shown, COLORS, strict=False):
        label = f"{areas[place]:.3f}  {cut(scores.labels[place])}"  # a name like _silence_ in front would not be shown
        axes.plot(*curves[place], color=color, linewidth=1.7, label=label, drawstyle=style)
    known = [area for area in areas if area is not None]
    note = f"mean {name} {np.mean(known):.3f}" if known else "all clips have one label: there is no curve"
    left_out = f"; left out, without clips: {len(areas) - len(known)}" if 0 < len(known) < len(areas) else ""
    dress(axes, title, x_label, y_label, note=note + left_out)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
    percent(axes.xaxis, axes.yaxis)
    legend_beside(axes)
    return figure


def _mean_curve(curves: Sequence[Curve], *, stepped: bool) -> np.ndarray:
    heights = [up[np.searchsorted(x, _SHARES)] if stepped else np.interp(_SHARES, x, up) for x, up in curves]
    return np.mean(heights, axis=0)


def calibration(scores: Scores) -> Any:
    """How often predictions of each confidence are right, and below how many there are."""
    figure = new_figure(5.6, 6.2)
    axes, counts = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 1))
    gaps = {
        "too sure": {"facecolor": "#e9b9b9", "edgecolor": COLORS[3], "hatch": "////", "linewidth": 0},
        "not sure enough": {"facecolor": "#c3d2ea", "edgecolor": COLORS[1], "hatch": "////", "linewidth": 0},
    }
    axes.plot([], [], color="#053d2b", linewidth=2.2, label="accuracy")
    for label, style in gaps.items():
        axes.bar(0, 0, label=label, **style)
    axes.plot((0, 1), (0, 1), ":", color="#888888", linewidth=1.2, label="as sure as right")
    sure_of, came_true = scores.confidence, scores.correct
    if scores.sets:  # of every label of every clip
        sure_of, came_true = scores.probabilities.ravel(), metric.indicators(scores.known, scores.labels).ravel()
    bins = metric.reliability_bins(sure_of, came_true)
    for place in np.flatnonzero(bins[:, 0]):
        clips, sure, right = bins[place]
        width, middle = 0.92 / len(bins), (place + 0.5) / len(bins)
        axes.bar(middle, min(sure, right), width, color=MAIN, alpha=0.8)
        kind = "too sure" if sure > right else "not sure enough"
        axes.bar(middle, abs(sure - right), width, bottom=min(sure, right), **gaps[kind])
        axes.hlines(right, middle - width / 2, middle + width / 2, color="#053d2b", linewidth=2.2)
        counts.bar(middle, clips, width, color=FAINT)
    means = f"mean confidence {sure_of.mean():.1%}, accuracy {came_true.mean():.1%}"
    if scores.sets:
        means = f"mean probability {sure_of.mean():.1%}, share of labels {came_true.mean():.1%}"
    dress(axes, "Calibration", "", "accuracy", note=f"ECE {scores.label_scores.ece:.3f}; {means}")
    dress(counts, "", *(("probability", "labels") if scores.sets else ("confidence", "clips")))
    axes.legend(frameon=False, fontsize=8.5, loc="upper left")
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    percent(axes.yaxis, counts.xaxis)
    whole_numbers(counts.yaxis, most=4)
    return figure


def frequency_vs_f1(scores: Scores) -> Any:
    """Clips of each label, the most frequent on top, and its F1."""
    ranked = sorted(scores.label_scores.classes, key=lambda score: -score.support)
    row_in = _row_in(scores.labels)
    figure = new_figure(8.6, max(row_in * len(ranked), 0.6) + 1.5)
    clips, rates = figure.subplots(1, 2, sharey=True, width_ratios=(1, 1.5))
    clips.barh(range(len(ranked)), [score.support for score in ranked], height=0.7, color=FAINT)
    known = {row: score.f1 for row, score in enumerate(ranked) if score.f1 is not None}
    rates.hlines(list(known), 0, list(known.values()), color=MAIN, linewidth=1.6, alpha=0.5)
    rates.plot(list(known.values()), list(known), "o", color=MAIN, markersize=5)
    plain = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
    for row in range(len(ranked)):
        if row in known:
            size = min(7.5, 50 * row_in)
            place = (known[row] + 0.025, row, f"{known[row]:.2f}")
            rates.text(*place, va="center", fontsize=size, color="#444444", bbox=plain)
        else:
            rates.text(0.01, row, "no clips", va="center", fontsize=7.5, color="#888888")
    mean = float(np.mean(list(known.values())))
    rates.axvline(mean, color="#888888", linestyle=":", linewidth=1.2)
    _name_rows(clips.set_yticks, [score.label for score in ranked], row_in)
    clips.set_ylim(len(ranked) - 0.4, -0.6)
    dress(clips, "Frequency", "test clips", "", note="the most frequent on top", rows=True)
    dress(rates, "F1", "F1", "", note=f"dotted: macro F1 {mean:.3f}", rows=True)
    rates.set_xlim(0, 1.12)
    rates.set_xticks(np.linspace(0, 1, 6))
    whole_numbers(clips.xaxis)
    return figure


def confidence_thresholding(scores: Scores) -> Any:
    """When predictions below a confidence are withheld: how many remain, and how many of these are right."""
    order = np.argsort(-scores.confidence, kind="stable")
    sure, correct = scores.confidence[order], scores.correct[order]
    kept = np.searchsorted(-sure, -_SHARES, side="right")
    right = np.concatenate([[0], np.cumsum(correct)])[kept]
    accuracy = np.where(kept > 0, right / np.maximum(kept, 1), np.nan)
    figure = new_figure(7.2, 4.6)
    axes = figure.subplots()
    axes.fill_between(_SHARES, kept / len(sure), color=FAINT, alpha=0.35, linewidth=0, step="pre")
    axes.plot(_SHARES, kept / len(sure), color="#7c8894", drawstyle="steps-pre", label="clips with a prediction")
    axes.plot(_SHARES, accuracy, color=MAIN, linewidth=2.2, label="accuracy of these")
    axes.axhline(correct.mean(), color=MAIN, linestyle=":", linewidth=1.2, label="accuracy of all")
    surer = correct[: max(1, len(sure) // 2)].mean()
    note = f"all {len(sure):,} clips: {correct.mean():.1%} right; the surer half: {surer:.1%}"
    dress(axes, "Confidence threshold", "least confidence of a prediction", "", note=note)
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    percent(axes.xaxis, axes.yaxis)
    legend_beside(axes)
    return figure


PICTURES: dict[str, Callable[[Scores], Any]] = {
    "confusion_matrix": confusion_matrix,
    "roc_curves": roc_curves,
    "precision_recall": precision_recall,
    "calibration": calibration,
    "frequency_vs_f1": frequency_vs_f1,
    "confidence_thresholding": confidence_thresholding,
}
