"""Charts of reports: drawn by matplotlib, as SVG inside of the page, in light and dark by the page's own colours.

matplotlib is imported only when a chart is drawn. Text stays text, and nothing is fetched from anywhere.
"""

import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

Points = Sequence[tuple[float, float]]
# Stands for the page's own colour of text until the SVG is in the page.
INK = "#010203"
# Told apart on white and on near black, and by people who cannot tell red from green (Okabe, Ito 2008).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
STYLE = """
:root{color-scheme:light dark}
body{font:15px/1.45 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;background:#fff}
h1{font-size:1.5rem;margin-bottom:.2rem}h2{font-size:1.15rem;margin-top:2rem}.muted{color:#5b6570}
table{border-collapse:collapse;font-size:.9rem;margin:.4rem 0}
th,td{padding:.25rem .8rem .25rem 0;text-align:left;border-bottom:1px solid #e2e6ea;vertical-align:top}
td.n,th.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
td{overflow-wrap:anywhere}.wide{overflow-x:auto}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(24rem,1fr));gap:1rem}
.plots svg{width:100%;height:auto;color:inherit}figure{margin:0}
.samples{display:flex;flex-wrap:wrap;gap:.8rem}.samples figure{width:7rem;font-size:.8rem}
.samples img{width:7rem;height:7rem;object-fit:contain;image-rendering:pixelated;background:#8883}
.wrong{color:#b3261e}.right{color:#17663a}
@media (prefers-color-scheme:dark){body{background:#14171a;color:#e4e8ec}.muted{color:#9aa7b4}
th,td{border-color:#2c3238}.wrong{color:#ff8a80}.right{color:#7fd6a0}}
"""


@dataclass(frozen=True)
class Axis:
    """An axis: its title with the unit, where it begins and ends; None where the data says it."""

    title: str
    low: float | None = None
    high: float | None = None
    logarithmic: bool = False


def lines(series: Mapping[str, Points], across: Axis, up: Axis) -> str:
    """One chart of lines; those of fewer than two points are left out, and the chart with them."""
    kept = {name: [point for point in points if math.isfinite(point[1])] for name, points in series.items()}
    kept = {name: points for name, points in kept.items() if len(points) > 1}
    if not kept:
        return ""
    drawing, axes = figure(across, up)
    # Room for the longest that EngFormatter and powers of ten write: a layout that measures texts draws twice.
    drawing.set_layout_engine(None)
    drawing.subplots_adjust(left=0.14, bottom=0.16, right=0.98, top=0.91)
    for number, (name, points) in enumerate(kept.items()):
        marker = "o" if len(points) <= 40 else ""
        xs, ys = [x for x, _ in points], [y for _, y in points]
        axes.plot(xs, ys, color=COLOURS[number % len(COLOURS)], label=name, marker=marker, markersize=3, linewidth=1.6)
    _bounds(axes, across, up)
    if len(kept) > 1:
        axes.legend(frameon=False, labelcolor=INK, fontsize=9)
    return svg(drawing, f"{up.title} against {across.title}: {', '.join(kept)}")


def figure(across: Axis, up: Axis, inches: tuple[float, float] = (5.6, 3.0)) -> tuple[Any, Any]:
    """matplotlib's figure and axes in the page's ink, empty."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=inches, layout="constrained")
    drawing.patch.set_alpha(0)
    axes = drawing.add_subplot()
    axes.set_facecolor("none")
    axes.set_xlabel(across.title, color=INK, fontsize=9)
    axes.set_ylabel(up.title, color=INK, fontsize=9)
    axes.tick_params(colors=INK, labelsize=8)
    axes.grid(visible=True, color=INK, alpha=0.12, linewidth=0.6)
    for side, spine in axes.spines.items():
        spine.set_color(INK)
        spine.set_alpha(0.5)
        spine.set_visible(side in {"left", "bottom"})
    if up.logarithmic:
        axes.set_yscale("log")
    return drawing, axes


def _bounds(axes: Any, across: Axis, up: Axis) -> None:
    from matplotlib.ticker import EngFormatter, MaxNLocator

    if across.low is not None or across.high is not None:
        axes.set_xlim(left=across.low, right=across.high)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    if up.low is not None or up.high is not None:
        highest = axes.dataLim.y1
        # Room above: of a line that never changes nothing would be seen at the edge.
        axes.set_ylim(bottom=up.low, top=up.high if up.high is not None else highest * 1.08 if highest > 0 else None)
    if not up.logarithmic and max(abs(bound) for bound in axes.get_ylim()) >= 10_000:
        axes.yaxis.set_major_formatter(EngFormatter())


def svg(drawing: Any, words: str, hints: Mapping[str, str] = MappingProxyType({})) -> str:
    """A figure as an element of the page: the page's ink, no declarations, names of its own.

    `words` for who cannot see it; `hints`: what a pointer over an artist says, by the artist's gid.
    """
    from html import escape

    import matplotlib as mpl

    sink = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "font.family": "sans-serif", "svg.hashsalt": words}):
        drawing.savefig(sink, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = sink.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(<svg [^>]*?) (?:height|width)="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg [^>]*?) (?:height|width)="[^"]*"', r"\1", text, count=1)
    for name, hint in hints.items():
        text = text.replace(f'<g id="{name}">', f"<g><title>{escape(hint)}</title>", 1)
    return re.sub(r"<svg ", f'<svg role="img" aria-label="{escape(words)}" ', text, count=1).strip()
