"""Report of a run: `report.html` in the artifact, curves and figures in one file that needs nothing else."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

WIDTH, HEIGHT, LEFT, BOTTOM = 640, 240, 64, 28
COLOURS = ("#1a5fb4", "#c64600", "#26a269")
STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:46rem;padding:0 1rem;color:#222;background:#fff}
h1{font-size:1.4rem}h2{font-size:1.05rem;margin-top:2rem}table{border-collapse:collapse;font-size:.9rem}
td,th{padding:.15rem .8rem .15rem 0;text-align:right}td:first-child,th:first-child{text-align:left}
svg{max-width:100%}text{font:12px system-ui,sans-serif;fill:#555}
"""
Points = Sequence[tuple[float, float]]
COLUMNS = ("epoch", "step", "trainingLoss", "loss", "accuracy", "perplexity", "averagePrecision50", "learningRate")
SPEED = (
    "epoch",
    "samplesPerSecond",
    "tokensPerSecond",
    "flopsPerSecond",
    "mfu",
    "communicationShare",
    "peakMemoryBytes",
)


def chart(title: str, lines: Mapping[str, Points]) -> str:
    """One chart; lines of fewer than two points are left out, and the chart with them."""
    drawn = {name: [point for point in points if point[1] == point[1]] for name, points in lines.items()}
    drawn = {name: points for name, points in drawn.items() if len(points) > 1}
    if not drawn:
        return ""
    every = [point for points in drawn.values() for point in points]
    (left, right), (low, high) = _bounds([x for x, _ in every]), _bounds([y for _, y in every])

    def place(x: float, y: float) -> str:
        across = LEFT + (x - left) / (right - left) * (WIDTH - LEFT - 8)
        down = HEIGHT - BOTTOM - (y - low) / (high - low) * (HEIGHT - BOTTOM - 12)
        return f"{across:.1f},{down:.1f}"

    parts = [
        f'<h2>{html.escape(title)}</h2><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        _axes(left, right, low, high),
    ]
    for number, (name, points) in enumerate(drawn.items()):
        colour, path = COLOURS[number % len(COLOURS)], " ".join(place(x, y) for x, y in points)
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.8" points="{path}"/>')
        label = f'<text x="{WIDTH - 8}" y="{16 + 16 * number}" text-anchor="end" style="fill:{colour}">'
        parts.append(f"{label}{html.escape(name)}</text>")
    return "".join([*parts, "</svg>"])


def _bounds(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _axes(left: float, right: float, low: float, high: float) -> str:
    base = HEIGHT - BOTTOM
    lines = f'<path d="M{LEFT} 12V{base}H{WIDTH - 8}" fill="none" stroke="#bbb"/>'
    texts = [(LEFT - 6, 20, "end", high), (LEFT - 6, base, "end", low), (LEFT, HEIGHT - 8, "start", left)]
    texts.append((WIDTH - 8, HEIGHT - 8, "end", right))
    return lines + "".join(
        f'<text x="{x}" y="{y}" text-anchor="{side}">{value:.4g}</text>' for x, y, side, value in texts
    )


def page(title: str, facts: Mapping[str, Any], history: Sequence[Mapping[str, Any]], curve: Points) -> str:
    """`history`: a row per epoch as in metrics.jsonl. `curve`: (step, training loss) at some steps of the run."""

    def column(name: str) -> Points:
        return [(float(row["step"]), float(row[name])) for row in history if row.get(name) is not None]

    charts = [
        chart("Loss by step", {"training": curve, "held out": column("loss")}),
        chart("Accuracy on held-out samples", {"accuracy": column("accuracy")}),
        chart("Perplexity on held-out text", {"perplexity": column("perplexity")}),
        chart("Mean average precision at half overlap", {"mAP@0.5": column("averagePrecision50")}),
        chart("Samples per second", {"samples/s": column("samplesPerSecond")}),
        chart("Tokens per second", {"tokens/s": column("tokensPerSecond")}),
    ]
    about = "".join(
        f"<tr><td>{html.escape(str(name))}</td><td>{html.escape(_shown(value))}</td></tr>"
        for name, value in facts.items()
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{STYLE}</style>"
        f"<h1>{html.escape(title)}</h1><table>{about}</table>{''.join(charts)}"
        f"<h2>Epochs</h2>{_table(COLUMNS, history)}<h2>Speed and memory</h2>{_table(SPEED, history)}</html>\n"
    )


def _table(columns: Sequence[str], history: Sequence[Mapping[str, Any]]) -> str:
    names = [name for name in columns if any(row.get(name) is not None for row in history)]
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    rows = "".join("<tr>" + "".join(f"<td>{_shown(row.get(name))}</td>" for name in names) + "</tr>" for row in history)
    return f"<table><tr>{head}</tr>{rows}</table>"


def _shown(value: Any) -> str:
    return "" if value is None else f"{value:.5g}" if isinstance(value, float) else str(value)
