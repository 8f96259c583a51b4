"""The pictures of a classifier: what they show are the numbers, and their bytes depend on nothing else."""

import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib import font_manager
from sklearn.metrics import auc, average_precision_score

from soundraft.evaluation import label_plots, plots
from soundraft.evaluation.label_plots import PICTURES, draw, learning_curves
from soundraft.evaluation.scores import Scores, score_labels
from soundraft.metrics.labels import confusion_counts, row_entropy
from soundraft.runtime import UserError
from tests.evaluation.answers import texts

HISTORY = [{"epoch": n, "loss": 3 / n, "learning_rate": 0.001, "validation": 1 - abs(4 - n) / 10} for n in range(1, 9)]


def answers(
    labels: int, clips: int = 80, present: int | None = None, name: str = "label", strength: float = 1.0
) -> Scores:
    rng = np.random.default_rng(labels)
    right = rng.integers(0, present or labels, clips)
    shares = rng.dirichlet(np.ones(labels), clips)
    shares[np.arange(clips), right] += strength * rng.random(clips)
    shares /= shares.sum(1, keepdims=True)
    names = [f"{name} {number}" for number in range(labels)]
    return score_labels([f"c{n}" for n in range(clips)], shares, names, references=[names[place] for place in right])


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_a_picture_is_a_file_of_its_kind_with_the_same_bytes_twice(suffix: str, tmp_path: Path) -> None:
    paths = [tmp_path / f"one.{suffix}", tmp_path / f"other.{suffix}"]
    for path in paths:
        draw("roc_curves", path, answers(3))
    data = paths[0].read_bytes()
    assert data.startswith({"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}[suffix])
    assert data == paths[1].read_bytes()


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize(
    "given",
    [
        answers(40, name="a label whose name is far too long to be shown whole"),
        answers(7, present=5, name="_under_$score$"),
        answers(2, present=1),
        answers(2, clips=1),
    ],
    ids=["forty", "absent", "one", "one clip"],
)
def test_every_number_of_labels_is_drawn_without_complaint(name: str, given: Scores, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert draw(name, tmp_path / "x.png", given) == ""
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


def test_the_matrix_has_shares_and_the_entropy_of_each_row() -> None:
    given = answers(4)
    axes, bars, _ = label_plots.confusion_matrix(given).axes
    counts = confusion_counts(references=given.known, predictions=given.predictions, labels=given.labels)
    assert axes.images[0].get_array().data == pytest.approx(counts / counts.sum(1, keepdims=True))
    cells = {tuple(map(round, text.get_position()[::-1])): text.get_text() for text in axes.texts[:-1]}
    clips = {place: int(text.split("\n")[1]) for place, text in cells.items() if text}
    assert clips == {place: times for place, times in np.ndenumerate(counts) if times}
    assert [bar.get_width() for bar in bars.patches] == pytest.approx(row_entropy(counts))


def test_a_long_name_does_not_make_the_matrix_smaller() -> None:
    def drawn(*names: str) -> tuple[np.ndarray, list[str]]:
        shares = np.tile(np.eye(len(names)), (2, 1))
        given = score_labels([str(n) for n in range(len(shares))], shares, names, references=[*names, *names])
        figure = label_plots.confusion_matrix(given)
        return figure.get_size_inches(), [text.get_text() for text in figure.axes[0].get_yticklabels()]

    others = [f"label {n} of twelve" for n in range(10, 20)]
    size, shown = drawn(*others, "x" * 18)
    assert shown == [*others, "x" * 18]
    longer, cut = drawn(*others, "a name that goes on and on to the end of the line")
    assert (longer == size).all()
    assert cut == [*others, "a name that…e line"]
    twins = [f"a long name {n} that has a long end" for n in (1, 2)]
    assert len(set(drawn(*twins)[1])) == 2


def curves(figure: Any) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """By label, without what stands before it."""
    lines = {line.get_label().split("  ")[-1]: line.get_data() for line in figure.axes[0].lines}
    return {name: data for name, data in lines.items() if name.startswith("label")}


def test_below_the_curves_are_the_areas_in_the_legend() -> None:
    given = answers(5)
    areas = {score.label: score.roc_auc for score in given.label_scores.classes}
    roc = curves(label_plots.roc_curves(given))
    assert {name: auc(*curve) for name, curve in roc.items()} == pytest.approx(areas)
    both = label_plots.precision_recall(given)
    steps = {name: (np.diff(recall) * precision[1:]).sum() for name, (recall, precision) in curves(both).items()}
    right = np.array(given.known)
    expected = [
        average_precision_score(right == each, p) for each, p in zip(given.labels, given.probabilities.T, strict=True)
    ]
    assert steps == pytest.approx(dict(zip(given.labels, expected, strict=True)))
    for name, area in steps.items():
        assert f"{area:.3f}  {name}" in {text.get_text() for text in both.axes[0].get_legend().get_texts()}


def test_of_many_labels_the_mean_and_the_worst_stand_out() -> None:
    given = answers(30, clips=600, strength=0.05)
    figure = label_plots.roc_curves(given)
    worst = sorted(given.label_scores.classes, key=lambda score: score.roc_auc or 0)[:5]
    assert set(curves(figure)) == {score.label for score in worst}
    legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert legend[:3] == ["25 other labels", "mean of all labels", "the 5 worst:"]
    axes = label_plots.precision_recall(given).axes[0]
    mean = next(line.get_data()[1] for line in axes.lines if line.get_label() == "mean of all labels")
    assert mean[0] == mean[1] < 0.5, "precision begins with what was measured"


def test_the_calibration_has_the_accuracy_of_each_bin() -> None:
    given = answers(3, clips=300)
    axes, counts = label_plots.calibration(given).axes
    clips = np.array([bar.get_height() for bar in counts.patches])
    marks = np.array([line.get_segments()[0][0][1] for line in axes.collections])
    assert clips.sum() == 300
    assert (marks * clips).sum() == pytest.approx(given.correct.sum())


def test_labels_stand_by_their_frequency() -> None:
    given = answers(6, present=5)
    clips, rates = label_plots.frequency_vs_f1(given).axes
    widths = [bar.get_width() for bar in clips.patches]
    assert (widths, sum(widths)) == (sorted(widths, reverse=True), 80)
    by_label = {score.label: score.f1 for score in given.label_scores.classes}
    shown = [text.get_text() for text in clips.get_yticklabels()]
    assert rates.lines[0].get_xdata().tolist() == pytest.approx([by_label[name] for name in shown[:5]])
    assert shown[5] == "label 5"


def test_withholding_unsure_predictions_is_a_plain_count() -> None:
    given = answers(3)
    axes = label_plots.confidence_thresholding(given).axes[0]
    kept, accuracy = (dict(zip(*line.get_data(), strict=True)) for line in axes.lines[:2])
    for threshold in list(kept)[::20]:
        sure = given.confidence >= threshold
        assert kept[threshold] == pytest.approx(sure.mean())
        assert accuracy[threshold] == pytest.approx(given.correct[sure].mean() if sure.any() else np.nan, nan_ok=True)


def test_learning_curves_mark_the_best_epoch() -> None:
    loss, validation = learning_curves(HISTORY).axes
    assert loss.lines[0].get_ydata().tolist() == [row["loss"] for row in HISTORY]
    assert (loss.lines[1].get_xdata()[0], validation.lines[1].get_xdata()[0]) == (8, 4)
    assert len(validation.lines) == 2, "the learning rate is not drawn"
    for axes in learning_curves(HISTORY, kept=6).axes:
        assert axes.lines[-1].get_xdata() == [6, 6], "the kept epoch"
        assert "kept epoch, 6" in " ".join(text.get_text() for text in [*axes.texts, axes.title, *axes.figure.texts])
    (one,) = learning_curves([{"validation": 0.5}, {"validation": 0.7}]).axes
    assert one.get_ylabel() == "macro recall"
    two = learning_curves([{"train_loss": 2.0, "validation_loss": 3.0}, {"train_loss": 1.0}])
    assert [text.get_text() for text in two.axes[0].get_legend().get_texts()] == ["train loss", "validation loss"]


def test_what_cannot_be_drawn_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"\.png, \.pdf, \.svg, not as '\.jpg'"):
        draw("roc_curves", tmp_path / "x.jpg", answers(2))
    with pytest.raises(UserError, match="another task"):
        draw("roc_curves", tmp_path / "x.png", texts(3))
    for history in ([], [{"epoch": 1, "seconds": 2.0}]):
        with pytest.raises(UserError, match="epochs"):
            learning_curves(history)
    assert not list(tmp_path.iterdir())


def test_what_the_usual_font_lacks_is_drawn_by_fonts_that_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    usual, names = matplotlib.rcParams["font.family"], ["怒り", "喜び", "anger"]
    fonts = {"usual": "anger", "Last Resort High": "怒り喜び", "Kana": "りび", "Kanji": "怒喜"}
    monkeypatch.setattr(font_manager, "findfont", lambda font: font if isinstance(font, str) else "usual")
    monkeypatch.setattr(plots, "_characters", lambda font: set(fonts[font]))

    def drawn_with(names: list[str], *installed: str) -> tuple[str, list[str]]:
        entries = [SimpleNamespace(name=name) for name in ("usual", "Last Resort High", *installed)]
        monkeypatch.setattr(font_manager.fontManager, "ttflist", entries)
        with plots.fonts_for(names) as lacking:
            return lacking, list(matplotlib.rcParams["font.family"])

    assert drawn_with(["rag\nrage"], "Kana", "Kanji") == ("", [*usual])
    assert drawn_with(names) == ("びり喜怒", [*usual])
    assert drawn_with(names, "Kana") == ("喜怒", [*usual, "Kana"])
    assert drawn_with(names, "Kanji", "Kana") == ("", [*usual, "Kana", "Kanji"])
    assert matplotlib.rcParams["font.family"] == usual


def test_characters_that_no_font_has_are_reported_in_one_line(tmp_path: Path) -> None:
    given = answers(2, name="\U0010fffd \U0001d49e")  # in no font; in another of matplotlib's fonts
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert draw("confusion_matrix", tmp_path / "x.png", given).startswith(r"no installed font has '\U0010fffd' of")
