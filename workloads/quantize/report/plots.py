"""The page's plots: accuracy against size and latency, sensitivity, histograms. The figures in, HTML out."""

from collections.abc import Callable, Mapping
from html import escape
from typing import Any

from workloads.quantize.report import charts

PARTS_SHOWN, TENSORS_SHOWN = 30, 12
NO_HARM = 60.0  # dB: below what a float32 network's own rounding differs by between two runtimes
# What collapsed is drawn at the edge: on its scale nobody could tell the others apart.
ROOM = 6.0  # times the distance from the float model to the gate
LEAST_ROOM = 0.02

Row = Mapping[str, Any]


def tradeoffs(report: Mapping[str, Any]) -> str:
    """Two scatter plots with the gate, the Pareto front and numbers that the table of candidates gives."""
    reference = report["candidates"][0]["accuracy"]
    limits = [row["limit"] for row in report["candidates"] if "limit" in row]
    gate = (reference - limits[0]) * 100 if limits else None
    floor = (reference - max(LEAST_ROOM, ROOM * (limits[0] if limits else 0.0))) * 100
    latency = (report["benchmark"] or {}).get("p50Ms", {})
    plots = [
        charts.scatter(
            _points(report, lambda row: row.get("sizeBytes", 0) / 1000), "size, kB", "accuracy, %", gate, floor
        )
    ]
    timed = _points(report, lambda row: latency.get(row["name"]))
    if timed:
        plots.append(charts.scatter(timed, "p50 latency, ms", "accuracy, %", gate, floor))
    legend = (
        "numbers: the table's rows; dashed: the gate; dotted: the Pareto front; bars: paired confidence "
        "interval of the drop; triangles: below what is drawn"
    )
    title = "<h2>Accuracy against size and latency</h2>"
    return f'{title}<div class="plots">{"".join(plots)}</div><p class="muted">{legend}</p>'


def _points(report: Mapping[str, Any], x_of: Callable[[Row], float | None]) -> list[charts.Point]:
    reference = report["candidates"][0]["accuracy"]
    points = []
    for number, row in enumerate(report["candidates"]):
        x = x_of(row)
        if row.get("accuracy") is None or x is None:
            continue
        accuracy = row["accuracy"] * 100
        low, high = accuracy, accuracy
        if row.get("dropHigh") is not None:
            low, high = (reference - row["dropHigh"]) * 100, (reference - row["dropLow"]) * 100
        kind = "reference" if row["name"] == "float" else "dot" if row.get("passed") else "failed"
        kind = "chosen" if row["name"] == report["published"] else kind
        points.append(charts.Point(x, accuracy, low, high, f"{row['name']}: {accuracy:.2f} %", kind, str(number)))
    return points


def sensitivity(report: Mapping[str, Any]) -> str:
    """A bar for each part that suffers; those that the shown candidate keeps in float in another colour."""
    harmed = [part for part in report["sensitivity"] if part["sqnrDb"] < NO_HARM or part["problem"]][:PARTS_SHOWN]
    if not harmed:
        return ""
    rows = [charts.Bar(part["part"], max(-20.0, part["sqnrDb"]), _harm(part), part["kept"]) for part in harmed]
    words = f"the {len(harmed)} worst of {len(report['sensitivity'])}; less is worse; green: kept in float"
    plot = charts.bars(rows, "SQNR of the outputs in dB when this part alone is quantized")
    return f'<h2>Sensitivity</h2><p class="muted">{words}</p><div class="narrow">{plot}</div>'


def _harm(part: Mapping[str, Any]) -> str:
    """Text of a bar that a pointer over it shows."""
    lost = "" if part["lost"] is None else f", {part['lost'] * 100:.2f} points of right answers lost"
    return f"{part['part']}: {part['problem'] or str(part['sqnrDb']) + ' dB'}{lost}"


def tensors(report: Mapping[str, Any]) -> str:
    """Histograms with the range of each method; the shown candidate's own is drawn strong."""
    if not report["tensors"]:
        return ""
    shown: Row = next((row for row in report["candidates"] if row["name"] == report["shown"]), {})
    figures = []
    for tensor in report["tensors"][:TENSORS_SHOWN]:
        marks = [charts.Mark(m, low, high, m == shown.get("method")) for m, (low, high) in tensor["ranges"].items()]
        plot = charts.histogram(tensor["low"], tensor["binWidth"], tensor["counts"], marks)
        figures.append(f"<figure><figcaption>{escape(tensor['name'])}</figcaption>{plot}</figure>")
    own = shown.get("method") if shown.get("method") in report["tensors"][0]["ranges"] else None
    chosen = f"; strong: {escape(own)}, which {escape(shown['name'])} uses" if own else ""
    words = f"the tensors that clipping changes most, with the range of each method{chosen}"
    return f'<h2>Calibrated ranges</h2><p class="muted">{words}</p><div class="plots">{"".join(figures)}</div>'
