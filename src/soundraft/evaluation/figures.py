"""What the pictures share: how they are dressed, and files whose bytes depend on what is drawn alone."""

import io
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from soundraft import files
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


def save(figure: Any, path: Path) -> None:
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
