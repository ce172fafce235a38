"""Plots that need nothing from outside the page.

Scatter, bars and histograms as inline SVG; text is escaped here.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 560, 300
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 16, 44


@dataclass(frozen=True)
class Point:
    """A dot with its interval (y), what a pointer over it says, and a short name beside it.

    `kind` is a class of the style sheet.
    """

    x: float
    y: float
    low: float
    high: float
    label: str
    kind: str = "dot"
    short: str = ""


@dataclass(frozen=True)
class Bar:
    """One row of a bar chart; `marked` in another colour."""

    label: str
    value: float
    hint: str
    marked: bool = False


@dataclass(frozen=True)
class Mark:
    """A range over a histogram, with its name."""

    name: str
    low: float
    high: float
    strong: bool


@dataclass(frozen=True)
class Scale:
    """Linear scale from data to pixels."""

    first: float
    last: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The pixel of a value, inside the frame."""
        share = (value - self.first) / ((self.last - self.first) or 1.0)
        return round(self.start + min(1.0, max(0.0, share)) * (self.end - self.start), 1)


def ticks(first: float, last: float, wanted: int = 5) -> list[float]:
    """Round numbers between two."""
    span = (last - first) or 1.0
    step = 10.0 ** math.floor(math.log10(span / wanted))
    step *= next(factor for factor in (1, 2, 5, 10) if span / (factor * step) <= wanted)
    return [round(step * k, 12) for k in range(math.ceil(first / step), math.floor(last / step) + 1)]


def _frame(x: Scale, y: Scale, x_title: str, y_title: str, body: str) -> str:
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(y_title)} against {escape(x_title)}">'
    ]
    for value in ticks(x.first, x.last):
        parts.append(f'<line class="grid" x1="{x(value)}" x2="{x(value)}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
        parts.append(
            f'<text class="tick" x="{x(value)}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{value:g}</text>'
        )
    for value in ticks(y.first, y.last):
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value)}" y2="{y(value)}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 6}" y="{y(value) + 4}" text-anchor="end">{value:g}</text>')
    middle = f'x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle"'
    parts.append(f'<text class="title" {middle}>{escape(x_title)}</text>')
    parts.append(
        f'<text class="title" transform="translate(14 {HEIGHT / 2}) rotate(-90)" text-anchor="middle">'
        f"{escape(y_title)}</text>"
    )
    return "".join([*parts, body, "</svg>"])


def scatter(
    points: Sequence[Point], x_title: str, y_title: str, limit: float | None = None, floor: float = -math.inf
) -> str:
    """Dots with intervals; a dashed line at `limit`; the Pareto front (less x, more y) as a line.

    What lies below `floor` is a triangle at the lower edge.
    """
    ys = [max(floor, value) for point in points for value in (point.low, point.high, limit or point.low)]
    margin = 0.08 * ((max(ys) - min(ys)) or 1.0)
    x = Scale(0.0, max(point.x for point in points) * 1.1 or 1.0, LEFT, WIDTH - RIGHT)
    y = Scale(min(ys) - margin, max(ys) + margin, HEIGHT - BOTTOM, TOP)
    parts = []
    if limit is not None:
        parts.append(f'<line class="limit" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(limit)}" y2="{y(limit)}"/>')
    front = " ".join(f"{x(point.x)},{y(point.y)}" for point in pareto(points))
    parts.append(f'<polyline class="front" points="{front}"/>')
    parts += [_dot(point, x(point.x), y, floor) for point in points]
    return _frame(x, y, x_title, y_title, "".join(parts))


def _dot(point: Point, at: float, y: Scale, floor: float) -> str:
    title = f"<title>{escape(point.label)}</title>"
    if point.y < floor:
        low = HEIGHT - BOTTOM
        corners = f"{at - 5},{low - 9} {at + 5},{low - 9} {at},{low - 1}"
        return f'<polygon class="{point.kind}" points="{corners}">{title}</polygon>'
    return (
        f'<line class="interval" x1="{at}" x2="{at}" y1="{y(point.low)}" y2="{y(point.high)}"/>'
        f'<circle class="{point.kind}" cx="{at}" cy="{y(point.y)}" r="5">{title}</circle>'
        f'<text class="tick" x="{at + 8}" y="{y(point.y) + 4}">{escape(point.short)}</text>'
    )


def pareto(points: Sequence[Point]) -> list[Point]:
    """Points that no other one beats in both, by growing x."""
    front: list[Point] = []
    for point in sorted(points, key=lambda p: (p.x, -p.y)):
        if not front or point.y > front[-1].y:
            front.append(point)
    return front


def bars(rows: Sequence[Bar], title: str) -> str:
    """Horizontal bars."""
    line, left = 20, 250
    height = line * len(rows) + 30
    lowest, highest = min(0.0, *(row.value for row in rows)), max(1e-9, *(row.value for row in rows))
    x = Scale(lowest, highest, left, WIDTH - 50)
    parts = [f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">']
    for index, row in enumerate(rows):
        top = index * line + 4
        start, end = sorted((x(0.0), x(row.value)))
        label = escape(_short(row.label))
        parts.append(f'<text class="tick" x="{left - 6}" y="{top + 12}" text-anchor="end">{label}</text>')
        parts.append(_rect("kept" if row.marked else "bar", start, top, max(1.0, end - start), line - 6, row.hint))
        parts.append(f'<text class="tick" x="{end + 4}" y="{top + 12}">{row.value:.3g}</text>')
    parts.append(
        f'<text class="title" x="{WIDTH / 2}" y="{height - 6}" text-anchor="middle">{escape(title)}</text></svg>'
    )
    return "".join(parts)


def _rect(kind: str, x: float, y: float, width: float, height: float, hint: str = "") -> str:
    """A bar, and what a pointer over it says."""
    inner = f"<title>{escape(hint)}</title>" if hint else ""
    return f'<rect class="{kind}" x="{x}" y="{y}" width="{width:.1f}" height="{height:.1f}">{inner}</rect>'


def _short(text: str, longest: int = 36) -> str:
    return text if len(text) <= longest else f"…{text[-longest + 1 :]}"


def histogram(low: float, width: float, counts: Sequence[int], marks: Sequence[Mark]) -> str:
    """Counts on a logarithmic axis; the marks lie above them, each with its name at the right."""
    x = Scale(low, low + width * len(counts), LEFT, WIDTH - RIGHT - 90)
    top = TOP + 15 * len(marks) + 6
    y = Scale(0.0, math.log10(max(counts) + 1) or 1.0, HEIGHT - BOTTOM, top)
    parts = []
    for index, count in enumerate(counts):
        if count:
            start, end, height = x(low + index * width), x(low + (index + 1) * width), y(math.log10(count + 1))
            parts.append(_rect("bin", start, height, max(0.5, end - start), HEIGHT - BOTTOM - height))
    for index, mark in enumerate(marks):
        at, first, last = TOP + 8 + 15 * index, x(mark.low), x(mark.high)
        kind = f"mark m{index}{' strong' if mark.strong else ''}"
        parts.append(f'<line class="{kind}" x1="{first}" x2="{max(last, first + 2)}" y1="{at}" y2="{at}"/>')
        if mark.strong:
            for edge in (first, last):
                parts.append(f'<line class="edge m{index}" x1="{edge}" x2="{edge}" y1="{at}" y2="{HEIGHT - BOTTOM}"/>')
        words = escape(mark.name)
        parts.append(f'<text class="tick t{index}" x="{WIDTH - RIGHT - 84}" y="{at + 4}">{words}</text>')
    return _frame(x, y, "value", "log10(count + 1)", "".join(parts))
