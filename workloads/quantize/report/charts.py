"""Charts of a quantization report: scatter, bars, histograms and roofs, drawn by matplotlib as SVG inside of the page.

What a pointer over a dot or a bar says is in the SVG, too; text is escaped here.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workloads.measure.charts import COLOURS, INK, Axis, figure, svg

BLUE, RED, GREEN = COLOURS[:3]
COLOUR = {"reference": INK, "dot": BLUE, "failed": RED, "chosen": GREEN}
ROW = 0.22  # inches


@dataclass(frozen=True)
class Point:
    """A dot with its interval (y), what a pointer over it says, and a short name beside it. `kind`: of COLOUR."""

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


def scatter(
    points: Sequence[Point], x_title: str, y_title: str, limit: float | None = None, floor: float = -math.inf
) -> str:
    """Dots with intervals; a dashed line at `limit`; the Pareto front (less x, more y) as a line.

    What lies below `floor` is a triangle at the lower edge.
    """
    ys = [max(floor, value) for point in points for value in (point.low, point.high, limit or point.low)]
    margin = 0.08 * ((max(ys) - min(ys)) or 1.0)
    bottom = min(ys) - margin
    drawing, axes = figure(Axis(x_title), Axis(y_title))
    axes.set_xlim(0.0, max(point.x for point in points) * 1.1 or 1.0)
    axes.set_ylim(bottom, max(ys) + margin)
    if limit is not None:
        axes.axhline(limit, color=RED, linestyle="--", linewidth=1, gid="limit")
    front = [point for point in pareto(points) if point.y >= floor]
    xs, heights = [point.x for point in front], [point.y for point in front]
    axes.plot(xs, heights, color=INK, alpha=0.5, linestyle=":", linewidth=1, gid="front")
    hints = {}
    for number, point in enumerate(points):
        hints[f"point{number}"], colour = point.label, COLOUR[point.kind]
        if point.y < floor:
            axes.plot(point.x, bottom + margin / 2, marker="v", color=colour, gid=f"point{number}")
            continue
        axes.plot([point.x] * 2, [max(bottom, point.low), point.high], color=colour, alpha=0.5, linewidth=1.5)
        axes.plot(point.x, point.y, marker="o", markersize=6, color=colour, gid=f"point{number}")
        axes.annotate(point.short, (point.x, point.y), (6, -3), textcoords="offset points", fontsize=8, color=INK)
    return svg(drawing, f"{y_title} against {x_title}", hints)


def pareto(points: Sequence[Point]) -> list[Point]:
    """Points that no other one beats in both, by growing x."""
    front: list[Point] = []
    for point in sorted(points, key=lambda p: (p.x, -p.y)):
        if not front or point.y > front[-1].y:
            front.append(point)
    return front


def bars(rows: Sequence[Bar], title: str) -> str:
    """Horizontal bars, the first on top, each with its value at its end."""
    drawing, axes = figure(Axis(title), Axis(""), inches=(8.6, 0.7 + ROW * len(rows)))
    values = [row.value for row in rows]
    drawn = axes.barh(range(len(rows)), values, color=[GREEN if row.marked else BLUE for row in rows], height=0.7)
    axes.set_yticks(range(len(rows)), [_short(row.label) for row in rows])
    axes.invert_yaxis()
    axes.bar_label(drawn, [f"{value:.3g}" for value in values], padding=3, fontsize=8, color=INK)
    axes.margins(x=0.1)
    for number, patch in enumerate(drawn):
        patch.set_gid(f"bar{number}")
    return svg(drawing, title, {f"bar{number}": row.hint for number, row in enumerate(rows)})


def _short(text: str, longest: int = 36) -> str:
    return text if len(text) <= longest else f"…{text[-longest + 1 :]}"


def histogram(low: float, width: float, counts: Sequence[int], marks: Sequence[Mark]) -> str:
    """Counts on a logarithmic axis, and above them the range of each mark; of a strong one its edges, too."""
    drawing, axes = figure(Axis("value"), Axis("count (symmetrically logarithmic)"))
    edges = [low + number * width for number in range(len(counts) + 1)]
    axes.stairs(counts, edges, fill=True, color=INK, alpha=0.3)
    axes.set_yscale("symlog", linthresh=1)
    top = math.log10(max(counts) + 1) or 1.0
    for number, mark in enumerate(marks):
        colour, height = COLOURS[number % len(COLOURS)], 10 ** (top * (1.1 + 0.09 * number))
        wide = 4 if mark.strong else 1.5
        axes.plot([mark.low, mark.high], [height] * 2, color=colour, linewidth=wide, label=mark.name)
        if mark.strong:
            axes.vlines([mark.low, mark.high], 0, height, color=colour, linewidth=1, linestyle="--")
    if marks:
        axes.legend(frameon=False, labelcolor=INK, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    names = ", ".join(mark.name for mark in marks)
    return svg(drawing, f"histogram from {edges[0]:g} to {edges[-1]:g}; ranges of {names}", {})


def roofs(peaks: Mapping[str, float], kernels: Sequence[Mapping[str, Any]], title: str) -> str:
    """Roofline plot (Williams, Waterman and Patterson 2009): both roofs, a dot for each kernel with FLOPs.

    As large as its share of the time; integer kernels in another colour.
    """
    rows = [row for row in kernels if row.get("flops") and row["microseconds"]]
    drawing, axes = figure(Axis("FLOPs a byte"), Axis("GFLOP/s", logarithmic=True))
    axes.set_xscale("log")
    bandwidth, tops = peaks["gigabytesPerSecond"], (peaks["floatGigaflops"], peaks["int8Gigaflops"])
    spots = [(row["flops"] / row["bytes"], row["flops"] / row["microseconds"] / 1e3) for row in rows]
    first, last = min([0.1, *(x for x, _ in spots)]), max([max(tops) / bandwidth * 4, *(x for x, _ in spots)])
    for top, name, style in zip(tops, ("float32", "int8"), ("-", "--"), strict=True):
        corners = [(first, first * bandwidth), (top / bandwidth, top), (last, top)]
        axes.plot(*zip(*corners, strict=True), color=INK, alpha=0.6, linestyle=style, linewidth=1, label=name)
    whole, hints = sum(row["microseconds"] for row in rows) or 1.0, {}
    for number, (row, (x, y)) in enumerate(zip(rows, spots, strict=True)):
        size, colour = 4 + 14 * math.sqrt(row["microseconds"] / whole), RED if row["integer"] else BLUE
        axes.plot(x, y, marker="o", markersize=size, color=colour, alpha=0.6, gid=f"kernel{number}")
        hints[f"kernel{number}"] = f"{row['op']} {row['name']}: {row['bound']}, {row['shareOfRoof']:.0%} of its roof"
    axes.legend(frameon=False, labelcolor=INK, fontsize=8, loc="lower right")
    return svg(drawing, title, hints)
