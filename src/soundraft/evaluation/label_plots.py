"""The pictures of a classifier, as png, pdf or svg whose bytes depend on the numbers alone."""

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from soundraft.evaluation.plots import (
    NAME_WIDTH,
    check_suffix,
    cut,
    dress,
    fonts_for,
    new_figure,
    percent,
    save_figure,
    whole_numbers,
)
from soundraft.evaluation.scores import Scores
from soundraft.metrics import labels as metric
from soundraft.metrics.labels import reliability_bins
from soundraft.runtime import UserError

COLORS = (
    "#0b6e4f", "#4c72b0", "#c08030", "#a04040", "#7a5195", "#2a9d8f", "#e07a9a", "#8c6d31", "#5b5b5b", "#94b447",
)  # fmt: skip
MAIN, OTHER, FAINT = COLORS[0], COLORS[1], "#b8c0c8"
_SHADES = ("#ffffff", "#cfe5dc", "#7fbfa5", "#2f8f6b", "#0b5a40")
_TOO_SURE: dict[str, Any] = {"facecolor": "#e9b9b9", "edgecolor": COLORS[3], "hatch": "////", "linewidth": 0}
_NOT_SURE: dict[str, Any] = {"facecolor": "#c3d2ea", "edgecolor": COLORS[1], "hatch": "////", "linewidth": 0}
_ROW_IN = 0.21  # of a label
_MOST_IN = 36  # of all labels: with more than 171 the rows become narrower
_NAME_IN = 0.1  # of a name in the smallest letters; where rows are narrower, not each is named
_MATRIX_NAME_WIDTH = 18
_NUMBERS_UP_TO = 16  # labels: so many cells can hold a number each
_WORST_SHOWN = 5
_MEASURES = {"validation": "macro recall"}  # by which epochs are chosen
_NOT_A_MEASURE = ("epoch", "learning_rate", "seconds")
_AVERAGING = np.linspace(0, 1, 201)


def visualize(
    name: str,
    path: Path,
    *,
    scores: Scores | None = None,
    history: Sequence[Mapping[str, float]] | None = None,
) -> str:
    """Draw one picture.

    Args:
        name: one of `NAMES`.
        path: ends in .png, .pdf or .svg.
        scores: predictions with references, for all but the learning curves.
        history: for these: a dict for each epoch, with `epoch`, losses (keys that have "loss" in them) and measures
            of the validation clips; a learning rate and seconds are not drawn.

    Returns:
        What a person should know of it: which characters of labels no font has; else nothing.

    Raises:
        UserError: for another name or suffix, without what the picture is made of, and as `Scores.known`.
    """
    if name not in NAMES:
        near = get_close_matches(name, NAMES, n=1)
        meant = f"; did you mean {near[0]}?" if near else "."
        raise UserError(f"no picture {name!r}{meant} There is {', '.join(NAMES)}")
    check_suffix(path)
    if name == LEARNING_CURVES:
        if not history:
            raise UserError(f"{name} is drawn from the epochs of a training, and there are none")
        save_figure(learning_curves(history), path)
        return ""
    if scores is None:
        raise UserError(f"{name} is drawn from predictions, and there are none")
    with fonts_for(scores.labels) as lacking:
        save_figure(ANSWERS[name](scores), path)
    signs = ", ".join(map(repr, lacking))
    return f"no installed font has {signs} of the labels: drawn as boxes" if signs else ""


def confusion_matrix(scores: Scores) -> Any:
    """Share of each label's clips by what they were told as, and how scattered (entropy) the answers to it are."""
    labels = scores.labels
    counts = metric.confusion_counts(references=scores.known, predictions=scores.predictions, labels=labels)
    support = counts.sum(1, keepdims=True)
    shares = np.where(support > 0, counts / np.maximum(support, 1), np.nan)
    cell_in = 0.56 if len(labels) <= _NUMBERS_UP_TO else _row_in(labels)
    side_in = max(cell_in * len(labels), 2.4)
    width = _matrix_name_width(labels)
    names_in = 0.085 * max(len(cut(label, width)) for label in labels)
    figure = new_figure(side_in + names_in + 2.9, side_in + names_in + 1.3)
    axes, bars = figure.subplots(1, 2, sharey=True, width_ratios=(side_in, 1.3))
    image = axes.imshow(shares, cmap=_shades(), vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    if len(labels) <= _NUMBERS_UP_TO:
        _write_cells(axes, counts, shares)
    note = f"accuracy {scores.correct.mean():.1%}, UAR {scores.value('uar'):.1%}, {len(scores):,} clips"
    dress(axes, "Confusion matrix", "prediction", "reference", note=note)
    turn = {} if max(map(len, labels)) <= 5 and len(labels) <= _NUMBERS_UP_TO else {"rotation": 90}
    shown = [cut(label, width) for label in labels]
    _name_rows(axes.set_xticks, shown, cell_in, **turn)
    _name_rows(axes.set_yticks, shown, cell_in)
    axes.grid(visible=False)
    axes.set_xticks(np.arange(len(labels) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(labels) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="#dfe4e8", linewidth=0.6)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    _entropy_bars(bars, metric.row_entropy(counts), len(labels))
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


def _entropy_bars(axes: Any, bits: np.ndarray, labels: int) -> None:
    axes.barh(range(labels), np.nan_to_num(bits), height=0.66, color=OTHER)
    for row in np.flatnonzero(np.isnan(bits)):
        axes.text(0.02, row, "no clips", va="center", fontsize=7, color="#888888")
    dress(axes, "Entropy", "bits", "", note=f"0 to {np.log2(labels):.1f}")
    axes.set_xlim(0, np.log2(labels))
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", which="both", length=0, labelleft=False)


def learning_curves(history: Sequence[Mapping[str, float]]) -> Any:
    """Losses on the left, measures of the validation clips on the right; the best epoch of each is marked."""
    epochs = [row.get("epoch", number) for number, row in enumerate(history, start=1)]
    keys = [key for key in dict.fromkeys(key for row in history for key in row) if key not in _NOT_A_MEASURE]
    halves = {
        "Loss": [key for key in keys if "loss" in key],
        "Validation": [key for key in keys if "loss" not in key],
    }
    halves = {title: own for title, own in halves.items() if own}
    if not halves:
        raise UserError(f"the epochs have neither a loss nor a measure; they have {', '.join(history[0]) or 'nothing'}")
    figure = new_figure(5.2 * len(halves) + 0.4, 3.9)
    for axes, (title, own) in zip(np.atleast_1d(figure.subplots(1, len(halves))), halves.items(), strict=True):
        for key, color in zip(own, COLORS * len(own), strict=False):
            values = np.array([row.get(key, np.nan) for row in history], dtype=float)
            axes.plot(epochs, values, "o-", color=color, markersize=2.5, linewidth=1.6, label=_words(key))
            if np.isfinite(values).any():
                best = int(np.nanargmin(values) if title == "Loss" else np.nanargmax(values))
                axes.plot(epochs[best], values[best], "o", color=color, markersize=8, markerfacecolor="none")
                note = f"{'least' if title == 'Loss' else 'best'}: {values[best]:.3g} after epoch {epochs[best]:g}"
        dress(
            axes,
            title,
            "epoch",
            _words(own[0]) if len(own) == 1 else "",
            note=note if len(own) == 1 else "rings: the best epoch of each",
        )
        whole_numbers(axes.xaxis)
        if title == "Loss":
            axes.set_ylim(bottom=0)
        if len(own) > 1:
            axes.legend(frameon=False, fontsize=8.5)
    return figure


def roc_curves(scores: Scores) -> Any:
    """True against false alarms of each label against the rest."""
    from sklearn.metrics import roc_curve

    right = metric.codes(scores.known, scores.labels)
    areas = metric.roc_areas(right, scores.probabilities)
    curves: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for place, area in enumerate(areas):
        if area is not None:
            false, true, _ = roc_curve(right == place, scores.probabilities[:, place])
            curves[place] = false, true
    figure = new_figure(7.6, 5.2)
    axes = figure.subplots()
    axes.plot((0, 1), (0, 1), ":", color="#888888", linewidth=1.2)
    _draw_curves(axes, curves, {place: area for place, area in enumerate(areas) if area is not None}, scores, "AUC")
    dress(axes, "ROC, each label against the rest", "false alarms", "clips found", note=_told(areas, "AUC"))
    return _finish_curves(figure, axes)


def precision_recall(scores: Scores) -> Any:
    """Precision against recall of each label against the rest."""
    from sklearn.metrics import average_precision_score, precision_recall_curve

    right = metric.codes(scores.known, scores.labels)
    curves: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    areas: dict[int, float] = {}
    for place in range(len(scores.labels)):
        mine = right == place
        if mine.any():
            precision, recall, _ = precision_recall_curve(mine, scores.probabilities[:, place])
            _, firsts = np.unique(recall[::-1], return_index=True)  # the best precision of each recall: below is AP
            heights = precision[::-1][firsts]
            heights[0] = heights[1]  # scikit-learn's 100 % at recall 0 was not measured
            curves[place] = recall[::-1][firsts], heights
            areas[place] = float(average_precision_score(mine, scores.probabilities[:, place]))
    figure = new_figure(7.6, 5.2)
    axes = figure.subplots()
    _draw_curves(axes, curves, areas, scores, "AP")
    note = _told([areas.get(place) for place in range(len(scores.labels))], "average precision")
    dress(axes, "Precision and recall, each label against the rest", "recall", "precision", note=note)
    return _finish_curves(figure, axes)


def _draw_curves(
    axes: Any, curves: Mapping[int, tuple[np.ndarray, np.ndarray]], areas: Mapping[int, float], scores: Scores,
    name: str,
) -> None:  # fmt: skip
    """Few labels each in its colour, from the best to the worst; of many the mean and the worst stand out."""
    ranked = sorted(curves, key=lambda place: -areas[place])
    many = len(ranked) > len(COLORS)
    shown = ranked[-_WORST_SHOWN:] if many else ranked
    drawn = "default" if name == "AUC" else "steps-pre"
    for place in ranked[:-_WORST_SHOWN] if many else ():
        axes.plot(*curves[place], color=FAINT, linewidth=0.8, alpha=0.8, drawstyle=drawn)
    if many:
        mean = np.mean([_heights(*curves[place], stepped=name != "AUC") for place in ranked], axis=0)
        axes.plot([], [], color=FAINT, label=f"{len(ranked) - len(shown)} other labels")
        axes.plot(_AVERAGING, mean, color="#222222", linewidth=2.2, label="mean of all labels", zorder=4)
        axes.plot([], [], " ", label=f"the {len(shown)} worst:")
    for place, color in zip(shown, COLORS, strict=False):
        label = f"{areas[place]:.3f}  {cut(scores.labels[place])}"  # a name like _silence_ in front would not be shown
        axes.plot(*curves[place], color=color, linewidth=1.7, label=label, drawstyle=drawn)


def _heights(across: np.ndarray, up: np.ndarray, *, stepped: bool) -> np.ndarray:
    """A curve at evenly spaced places; a stepped one has the height of the next point."""
    return up[np.searchsorted(across, _AVERAGING)] if stepped else np.interp(_AVERAGING, across, up)


def _finish_curves(figure: Any, axes: Any) -> Any:
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
    percent(axes.xaxis, axes.yaxis)
    if axes.get_legend_handles_labels()[0]:  # none where all clips have one label
        legend = axes.legend(frameon=False, fontsize=8.5, loc="center left", bbox_to_anchor=(1.0, 0.5))
        for text in legend.get_texts():
            text.set_parse_math(False)
    return figure


def calibration(scores: Scores) -> Any:
    """How often answers of each confidence are right, and below how many there are."""
    confidence, correct = scores.confidence, scores.correct
    bins = reliability_bins(confidence, correct)
    error = scores.label_scores.ece
    figure = new_figure(5.6, 6.2)
    axes, counts = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 1))
    axes.plot((0, 1), (0, 1), ":", color="#888888", linewidth=1.2, label="as sure as right")
    for each in bins:
        if each.accuracy is None or each.confidence is None:
            continue
        width, middle = 0.92 * (each.high - each.low), (each.low + each.high) / 2
        lower, gap = min(each.accuracy, each.confidence), each.confidence - each.accuracy
        axes.bar(middle, lower, width, color=MAIN, alpha=0.8)
        axes.bar(middle, abs(gap), width, bottom=lower, **(_TOO_SURE if gap > 0 else _NOT_SURE))
        axes.hlines(each.accuracy, middle - width / 2, middle + width / 2, color="#053d2b", linewidth=2.2)
        counts.bar(middle, each.clips, width, color=FAINT)
    note = f"ECE {error:.3f}; mean confidence {confidence.mean():.1%}, accuracy {correct.mean():.1%}"
    dress(axes, "Calibration", "", "accuracy", note=note)
    dress(counts, "", "confidence", "clips")
    _calibration_legend(axes)
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    percent(axes.yaxis, counts.xaxis)
    whole_numbers(counts.yaxis, most=4)
    return figure


def _calibration_legend(axes: Any) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles = [
        Line2D([], [], color="#053d2b", linewidth=2.2, label="accuracy"),
        Patch(**_TOO_SURE, label="too sure"),
        Patch(**_NOT_SURE, label="not sure enough"),
        axes.lines[0],
    ]
    axes.legend(handles=handles, frameon=False, fontsize=8.5, loc="upper left")


def frequency_vs_f1(scores: Scores) -> Any:
    """Clips of each label, the most frequent on top, and its F1."""
    ranked = sorted(scores.label_scores.classes, key=lambda score: -score.support)
    rows = range(len(ranked))
    row_in = _row_in(scores.labels)
    figure = new_figure(8.6, max(row_in * len(ranked), 0.6) + 1.5)
    clips, rates = figure.subplots(1, 2, sharey=True, width_ratios=(1, 1.5))
    clips.barh(rows, [score.support for score in ranked], height=0.7, color=FAINT)
    known = [(row, score.f1) for row, score in zip(rows, ranked, strict=True) if score.f1 is not None]
    rates.hlines([row for row, _ in known], 0, [f1 for _, f1 in known], color=MAIN, linewidth=1.6, alpha=0.5)
    rates.plot([f1 for _, f1 in known], [row for row, _ in known], "o", color=MAIN, markersize=5)
    for row, f1 in known:
        plain = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
        rates.text(
            f1 + 0.025, row, f"{f1:.2f}", va="center", fontsize=min(7.5, 50 * row_in), color="#444444", bbox=plain
        )
    for row in set(rows) - {row for row, _ in known}:
        rates.text(0.01, row, "no clips", va="center", fontsize=7.5, color="#888888")
    mean = float(np.mean([f1 for _, f1 in known]))
    rates.axvline(mean, color="#888888", linestyle=":", linewidth=1.2)
    _name_rows(clips.set_yticks, [score.label for score in ranked], row_in)
    clips.set_ylim(len(ranked) - 0.4, -0.6)
    dress(clips, "Frequency", "test clips", "", note="the most frequent on top")
    dress(rates, "F1", "F1", "", note=f"dotted: macro F1 {mean:.3f}")
    rates.set_xlim(0, 1.12)
    rates.set_xticks(np.linspace(0, 1, 6))
    whole_numbers(clips.xaxis)
    for axes in (clips, rates):
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
    return figure


def confidence_thresholding(scores: Scores) -> Any:
    """When answers below a confidence are withheld: how many remain, and how many of these are right."""
    order = np.argsort(-scores.confidence, kind="stable")
    sure, correct = scores.confidence[order], scores.correct[order]
    thresholds = np.linspace(0, 1, 201)
    kept = np.searchsorted(-sure, -thresholds, side="right")
    right = np.concatenate([[0], np.cumsum(correct)])[kept]
    accuracy = np.where(kept > 0, right / np.maximum(kept, 1), np.nan)
    figure = new_figure(7.2, 4.6)
    axes = figure.subplots()
    axes.fill_between(thresholds, kept / len(sure), color=FAINT, alpha=0.35, linewidth=0, step="pre")
    axes.plot(thresholds, kept / len(sure), color="#7c8894", drawstyle="steps-pre", label="clips that are answered")
    axes.plot(thresholds, accuracy, color=MAIN, linewidth=2.2, label="accuracy of these")
    axes.axhline(correct.mean(), color=MAIN, linestyle=":", linewidth=1.2, label="accuracy of all")
    dress(axes, "Confidence threshold", "least confidence of an answer", "", note=_half(sure, correct))
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    percent(axes.xaxis, axes.yaxis)
    axes.legend(frameon=False, fontsize=8.5, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _half(sure: np.ndarray, correct: np.ndarray) -> str:
    """Of answers sorted from the surest."""
    half = max(1, len(sure) // 2)
    return f"all {len(sure):,} clips: {correct.mean():.1%} right; the surer half: {correct[:half].mean():.1%}"


def _told(areas: Sequence[float | None], name: str) -> str:
    known = [area for area in areas if area is not None]
    if not known:
        return "all clips have one label: there is no curve"
    left_out = f"; left out, without clips: {len(areas) - len(known)}" if len(known) < len(areas) else ""
    return f"mean {name} {np.mean(known):.3f}{left_out}"


def _words(key: str) -> str:
    return _MEASURES.get(key, key.replace("_", " "))


def _shades() -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("shades", _SHADES).with_extremes(bad="#f0f0f0")


LEARNING_CURVES = "learning_curves"
ANSWERS: dict[str, Callable[[Scores], Any]] = {
    "confusion_matrix": confusion_matrix,
    "roc_curves": roc_curves,
    "precision_recall": precision_recall,
    "calibration": calibration,
    "frequency_vs_f1": frequency_vs_f1,
    "confidence_thresholding": confidence_thresholding,
}
NAMES = (*ANSWERS, LEARNING_CURVES)
