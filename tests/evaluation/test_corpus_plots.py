"""The picture of a corpus: its bars and curves have the numbers, its words do not overlap."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from soundraft.corpora.checks import Statistics
from soundraft.evaluation import data_plots

Found = dict[str, Statistics]


def split(
    seed: int, count: int, labels: Sequence[str] = (), speakers: int = 0, words: bool = True, seconds: float = 0.0
) -> Statistics:
    rng = np.random.default_rng(seed)
    return Statistics(
        clips=count,
        durations=np.full(count, seconds) if seconds else rng.gamma(4, 1.2, count),
        words=rng.poisson(9, count) if words else np.array([], dtype=int),
        vocabulary=300 if words else 0,
        labels=Counter(rng.choice(list(labels), count).tolist()) if labels else Counter(),
        speakers=Counter(f"s{number}" for number in rng.integers(0, speakers, count)) if speakers else Counter(),
        rates=Counter(rng.choice([8000, 44100], count).tolist()),
    )


def corpus(**about: Any) -> Found:
    sizes = {"train": 500, "validation": 40, "test": 60, "all": 600}
    return {name: split(number, size, **about) for number, (name, size) in enumerate(sizes.items())}


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    monkeypatch.setattr(data_plots, "save_figure", lambda figure, path: kept.update(figure=figure))
    return kept


def panels(figure: Any) -> dict[str, Any]:
    return {axes.get_title(loc="left"): axes for axes in figure.axes}


def test_the_bars_are_the_numbers(drawn: dict[str, Any]) -> None:
    found = corpus(labels=("anger", "joy"), speakers=5)
    data_plots.plot_statistics(Path("x.png"), found, title="t", most_labels=20)
    axes = panels(drawn["figure"])
    assert list(axes) == ["Duration", "Words per clip", "Clips per speaker", "Sample rate", "Clips per label"]
    widths = [bar.get_width() for bar in axes["Clips per label"].patches]
    first = max(("anger", "joy"), key=lambda label: sum(found[name].labels[label] for name in list(found)[:3]))
    assert widths[0] == found["train"].labels[first]
    assert widths[2] == found["validation"].labels[first]
    assert axes["Clips per label"].get_yticklabels()[0].get_text() == first
    heights = [bar.get_height() for bar in axes["Sample rate"].patches]
    assert heights[0] == pytest.approx(100 * found["train"].rates[8000] / 500)
    for name in ("Duration", "Words per clip"):
        outline = axes[name].patches[1]
        assert outline.get_data().values.sum() == pytest.approx(100), "shares of the split"
    speakers = axes["Clips per speaker"].patches[0].get_data().values
    assert speakers.tolist() == sorted(found["train"].speakers.values(), reverse=True)
    assert all(axis.get_xlabel() for axis in axes.values()), "every axis has its unit"


@pytest.mark.parametrize("most", [1, 2, 3, 5, 9, 30, 200])
def test_words_are_counted_in_whole_numbers(drawn: dict[str, Any], most: int) -> None:
    found = {name: replace(part, words=np.arange(part.clips) % most + 1) for name, part in corpus().items()}
    data_plots.plot_statistics(Path("x.png"), found, title="t", most_labels=20)
    axes = panels(drawn["figure"])["Words per clip"]
    low, high = axes.get_xlim()
    ticks = [tick for tick in axes.get_xticks() if low <= tick <= high]
    assert ticks
    assert all(tick == round(tick) for tick in ticks)


def test_what_is_not_known_has_no_panel(drawn: dict[str, Any]) -> None:
    data_plots.plot_statistics(Path("x.png"), {"no split": split(0, 9, words=False)}, title="t", most_labels=20)
    assert list(panels(drawn["figure"])) == ["Duration", "Sample rate"]


@pytest.mark.parametrize(
    "found",
    [
        corpus(speakers=60),
        corpus(labels=("a", "b"), words=False, speakers=3),
        corpus(labels=[f"a long name of a sound, number {number} $x_1$" for number in range(50)], seconds=5.0),
        corpus(labels=["anger", "boredom", "disgust", "fear", "happiness", "neutral", "sadness"], speakers=10),
        {"train": split(0, 1)},
        {"train": split(0, 3, seconds=1e-9, words=False)},
    ],
    ids=["speech", "two", "fifty", "emotions", "one clip", "no length"],
)
def test_no_words_overlap_or_leave_the_picture(found: Found, drawn: dict[str, Any]) -> None:
    data_plots.plot_statistics(Path("x.png"), found, title="data/raw/target", most_labels=50)
    figure = drawn["figure"]
    FigureCanvasAgg(figure).draw()
    boxes = [(word.get_text(), word.get_window_extent().padded(-1)) for word in words(figure)]
    width, height = figure.canvas.get_width_height()
    for text, box in boxes:
        assert min(box.x0, box.y0) > -2, text
        assert max(box.x1 - width, box.y1 - height) < 2, text
    for number, (text, box) in enumerate(boxes):
        for other, its_box in boxes[:number]:
            assert not box.overlaps(its_box), f"{text!r} lies on {other!r}"


def words(figure: Any) -> list[Any]:
    """All that is written and seen."""
    found = [figure._suptitle, *(text for legend in figure.legends for text in legend.get_texts())]
    for axes in figure.axes:
        found += [axes.title, axes._left_title, *axes.texts, axes.xaxis.label, axes.yaxis.label]
        for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, sorted(axes.get_ylim()))):
            ticks = zip(axis.get_majorticklocs(), axis.get_ticklabels(), strict=True)
            found += [label for place, label in ticks if low <= place <= high]
    return [text for text in found if text.get_text()]
