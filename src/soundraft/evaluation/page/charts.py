"""Charts as SVG text: colours and fonts come from the page's style, and every mark says its number when pointed at."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup, escape

Show = Callable[[float], str]
_WIDTH, _HEIGHT = 840, 350
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 300, 26, 34
_LABEL_GAP = 15  # between the names at the ends of lines


@dataclass(frozen=True)
class Series:
    """One line: points in the order of x.

    Attributes:
        color: number of the colour in the page's style.
        low, high: ends of the interval of each point; empty: there is none.
        dashed: a level without cycles.
    """

    name: str
    color: int
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    dashed: bool = False


@dataclass(frozen=True)
class Bar:
    """A row of `pairs`: a name, and a point with its interval for each series."""

    name: str
    note: str
    points: Sequence[tuple[float, float, float]]


@dataclass(frozen=True)
class _Axis:
    """A range of numbers on a range of pixels."""

    low: float
    high: float
    start: float
    end: float
    ticks: list[float] = field(default_factory=list)

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers from below `low` to above `high`."""
    span = high - low if high > low else abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / most))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10, 20) if span / (power * factor) <= most)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 10) for number in range(first, max(last, first + 1) + 1)]


def lines(series: Sequence[Series], *, show: Show, x_title: str, y_title: str) -> Markup:
    """Lines over x with their intervals as bands; names stand at the ends, in the order of the values there."""
    values = [value for each in series for value in (*each.y, *each.low, *each.high)]
    steps = ticks(min(values), max(values))
    x_values = sorted({value for each in series for value in each.x})
    y = _Axis(steps[0], steps[-1], _HEIGHT - _BOTTOM, _TOP, steps)
    x = _Axis(x_values[0], x_values[-1] if len(x_values) > 1 else x_values[0] + 1, _LEFT, _WIDTH - _RIGHT, x_values)
    parts = _grid(x, y, show, x_title, y_title)
    for each in series:
        if each.low and not each.dashed:
            there = [*zip(each.x, each.high, strict=True), *reversed([*zip(each.x, each.low, strict=True)])]
            parts.append(f'<polygon class="band c{each.color}" points="{_points(x, y, there)}"/>')
    for each in series:
        ends = [(x.low, each.y[0]), (x.high, each.y[0])] if each.dashed else [*zip(each.x, each.y, strict=True)]
        kind = "level" if each.dashed else "line"
        parts.append(f'<polyline class="{kind} c{each.color}" points="{_points(x, y, ends)}"/>')
        parts += [_dot(each, place, x, y, show) for place in range(len(each.x) * (not each.dashed))]
    parts += _names(series, y, show)
    return _svg(_WIDTH, _HEIGHT, parts, f"{y_title} by {x_title}")


def _dot(each: Series, place: int, x: _Axis, y: _Axis, show: Show) -> str:
    said = f"{each.name}, {each.x[place]:g}: {show(each.y[place])}"
    if each.low:
        said += f" [{show(each.low[place])} to {show(each.high[place])}]"
    where = f'cx="{x(each.x[place]):.1f}" cy="{y(each.y[place]):.1f}"'
    return f'<circle class="dot c{each.color}" {where} r="3.5"><title>{escape(said)}</title></circle>'


def _names(series: Sequence[Series], y: _Axis, show: Show) -> list[str]:
    """Names beside the ends of their lines, pushed apart where they would cover each other."""
    ranked = sorted(series, key=lambda each: (y(each.y[-1]), each.name))
    wanted = [y(each.y[-1]) for each in ranked]
    places: list[float] = []
    for place in wanted:
        places.append(max(place, places[-1] + _LABEL_GAP) if places else max(place, _TOP + 4))
    over = max(0.0, (places or [0.0])[-1] - (_HEIGHT - _BOTTOM))
    places = [place - over for place in places]
    for number in range(len(places) - 2, -1, -1):
        places[number] = min(places[number], places[number + 1] - _LABEL_GAP)
    parts, edge = [], _WIDTH - _RIGHT
    for each, place, end in zip(ranked, places, wanted, strict=True):
        parts.append(f'<path class="lead c{each.color}" d="M{edge + 5} {end:.1f} L{edge + 14} {place:.1f}"/>')
        label = f'<tspan class="value">{escape(show(each.y[-1]))}</tspan> {escape(each.name)}'
        parts.append(f'<text class="name c{each.color}" x="{edge + 18}" y="{place + 4:.1f}">{label}</text>')
    return parts


def histograms(
    rows: Sequence[tuple[str, Sequence[Sequence[int]]]], edges: Sequence[float], names: Sequence[str], *, x_title: str
) -> Markup:
    """A row a cycle: of each series the share of its values in each bin, drawn over each other as steps.

    Args:
        rows: name, and for each series the count of each bin.
    """
    row, width = 54, _WIDTH - 20
    x = _Axis(edges[0], edges[-1], 70, width, ticks(edges[0], edges[-1], 8))
    height = row * len(rows) + 64
    parts = [
        f'<text class="tick" x="{x(tick):.1f}" y="{height - 18}" text-anchor="middle">{tick:g}</text>'
        f'<line class="grid" x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="26" y2="{height - 32}"/>'
        for tick in x.ticks
        if x.low <= tick <= x.high
    ]
    parts.append(f'<text class="title" x="{width}" y="{height - 4}" text-anchor="end">{escape(x_title)}</text>')
    for number, name in enumerate(names):
        parts.append(f'<rect class="key c{number}" x="{70 + 170 * number}" y="4" width="12" height="12"/>')
        parts.append(f'<text class="tick" x="{88 + 170 * number}" y="14">{escape(name)}</text>')
    for place, (name, counts) in enumerate(rows):
        floor = 26 + row * (place + 1)
        parts.append(f'<text class="tick" x="62" y="{floor - 8}" text-anchor="end">{escape(name)}</text>')
        parts.append(f'<line class="axis" x1="70" x2="{width}" y1="{floor}" y2="{floor}"/>')
        for color, bins in enumerate(counts):
            total = sum(bins) or 1
            top = [floor - (row - 10) * min(1.0, 1.6 * count / total) for count in bins]
            steps = [f"M{x(edges[0]):.1f} {floor}"]
            for left, right, up in zip(edges, edges[1:], top, strict=False):
                steps.append(f"L{x(left):.1f} {up:.1f} L{x(right):.1f} {up:.1f}")
            said = f"{names[color]}, {name}: {sum(bins):,} values"
            path = f"{' '.join(steps)} L{x(edges[-1]):.1f} {floor} Z"
            parts.append(f'<path class="steps c{color}" d="{path}"><title>{escape(said)}</title></path>')
    return _svg(_WIDTH, height, parts, f"{x_title}: histograms")


def ribbon(
    cycles: Sequence[int], quantiles: Sequence[Sequence[float]], over: Sequence[Series], *, y_title: str
) -> Markup:
    """Nested bands of quantiles (outer first, each with its mirror) with the median, and lines over them.

    Args:
        quantiles: for each cycle an odd number of them, rising.
    """
    columns = [list(each) for each in zip(*quantiles, strict=True)]
    bands = [
        Series("", 0, cycles, columns[len(columns) // 2], columns[outer], columns[-1 - outer])
        for outer in range(len(columns) // 2)
    ]
    inner = [Series("median of all samples", 0, cycles, columns[len(columns) // 2]), *over]
    values = [value for each in (*bands, *inner) for value in (*each.y, *each.low, *each.high)]
    steps = ticks(min(values), max(values))
    y = _Axis(steps[0], steps[-1], _HEIGHT - _BOTTOM, _TOP, steps)
    end = cycles[-1] if len(cycles) > 1 else cycles[0] + 1
    x = _Axis(cycles[0], end, _LEFT, _WIDTH - _RIGHT, list(cycles))
    parts = _grid(x, y, "{:g}".format, "cycle", y_title)
    for each in bands:
        there = [*zip(each.x, each.high, strict=True), *reversed([*zip(each.x, each.low, strict=True)])]
        parts.append(f'<polygon class="band c{each.color}" points="{_points(x, y, there)}"/>')
    for each in inner:
        parts.append(
            f'<polyline class="line c{each.color}" points="{_points(x, y, zip(each.x, each.y, strict=True))}"/>'
        )
        parts += [_dot(each, place, x, y, "{:.3f}".format) for place in range(len(each.x))]
    return _svg(_WIDTH, _HEIGHT, parts + _names(inner, y, "{:.2f}".format), f"{y_title} by cycle")


def pairs(bars: Sequence[Bar], names: Sequence[str], colors: Sequence[int], *, show: Show) -> Markup:
    """A row a group: for each series a point with its interval, on one scale."""
    values = [value for bar in bars for point in bar.points for value in point]
    steps = ticks(min([0.0, *values]), max(values))
    height = 24 * len(bars) + 52
    x = _Axis(steps[0], steps[-1], 250, _WIDTH - 30, steps)
    parts = [
        f'<line class="grid" x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="22" y2="{height - 24}"/>'
        f'<text class="tick" x="{x(tick):.1f}" y="{height - 8}" text-anchor="middle">{_short(show(tick))}</text>'
        for tick in steps
    ]
    for number, name in enumerate(names):
        parts.append(f'<circle class="dot c{colors[number]}" cx="{256 + 200 * number}" cy="9" r="4"/>')
        parts.append(f'<text class="tick" x="{266 + 200 * number}" y="13">{escape(name)}</text>')
    for place, bar in enumerate(bars):
        middle = 36 + 24 * place
        title = f'{escape(bar.name)} <tspan class="note">{escape(bar.note)}</tspan>'
        parts.append(f'<text class="row" x="238" y="{middle + 4}" text-anchor="end">{title}</text>')
        for number, (value, low, high) in enumerate(bar.points):
            at, color = middle + (5 * number - 2.5 * (len(bar.points) - 1)), colors[number]
            said = f"{bar.name}, {names[number]}: {show(value)} [{show(low)} to {show(high)}]"
            parts.append(f'<line class="whisker c{color}" x1="{x(low):.1f}" x2="{x(high):.1f}" y1="{at}" y2="{at}"/>')
            where = f'cx="{x(value):.1f}" cy="{at}"'
            parts.append(f'<circle class="dot c{color}" {where} r="4"><title>{escape(said)}</title></circle>')
    return _svg(_WIDTH, height, parts, "by group")


def _grid(x: _Axis, y: _Axis, show: Show, x_title: str, y_title: str) -> list[str]:
    parts = []
    for tick in y.ticks:
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>'
            f'<text class="tick" x="{_LEFT - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">{_short(show(tick))}</text>'
        )
    for tick in x.ticks:
        at = f'x="{x(tick):.1f}" y="{_HEIGHT - _BOTTOM + 17}"'
        parts.append(f'<text class="tick" {at} text-anchor="middle">{tick:g}</text>')
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text class="title" x="{middle:g}" y="{_HEIGHT - 2}" text-anchor="middle">{escape(x_title)}</text>')
    parts.append(f'<text class="title" x="{_LEFT}" y="12">{escape(y_title)}</text>')
    return parts


def _short(text: str) -> Markup:
    """`20.0%` as `20%`, for an axis."""
    return escape(re.sub(r"\.0+(?=\D|$)", "", text))


def _points(x: _Axis, y: _Axis, those: Sequence[tuple[float, float]] | zip) -> str:
    return " ".join(f"{x(one):.1f},{y(other):.1f}" for one, other in those)


def _svg(width: int, height: int, parts: Sequence[str], title: str) -> Markup:
    head = f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">'
    return Markup(head + "".join(parts) + "</svg>")  # every text in it is escaped where it is set
