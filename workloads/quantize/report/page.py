"""report.html: one file without a single request to anywhere. The figures in, the page out."""

import json
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from workloads.quantize.report import svg

STYLE = Path(__file__).with_name("style.css")
OUTCOMES = {
    "quantized": "A quantized model passes its gates and is published.",
    "kept-float": "No quantized model passes its gates: the float model is published.",
    "rejected": "No quantized model passes its gates: nothing is published.",
}


def page(report: Mapping[str, Any]) -> str:
    """The whole page."""
    name = escape(report["job"]["name"])
    sections = [_head(report), _cards(report), _warnings(report), _candidates(report), _tradeoffs(report)]
    sections += [
        _ladder(report),
        _sensitivity(report),
        _benchmark(report),
        _kernels(report),
        _tensors(report),
        _spec(report),
    ]
    head = (
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{name}: quantization</title>'
    )
    style = f"<style>{STYLE.read_text()}</style>"
    return f'<!doctype html><html lang="en"><head>{head}{style}</head><body>{"".join(sections)}</body></html>\n'


def _head(report: Mapping[str, Any]) -> str:
    source = report["source"]
    where = f'{escape(source["uri"])} <span class="muted">{escape(source["digest"])}</span>'
    judged = f"judged in {escape(report['judgedIn'])}; {escape(source['export'])}"
    return (
        f"<h1>Quantization of {escape(report['job']['name'])}</h1><p>{OUTCOMES[report['outcome']]}</p>"
        f'<p>Source: {where}</p><p class="muted">{judged}</p>'
    )


def _cards(report: Mapping[str, Any]) -> str:
    words = {"float": "float", "quantized": "quantized", "drop": "drop", "size": "size", "speed": "speed"}
    shown = [(words[key], value) for key, value in report["headline"].items() if value]
    return (
        '<div class="cards">' + "".join(f'<div class="card">{k}<b>{escape(v)}</b></div>' for k, v in shown) + "</div>"
    )


def _warnings(report: Mapping[str, Any]) -> str:
    return "".join(f'<p class="warning">{escape(warning)}</p>' for warning in report["warnings"])


def _table(head: list[str], rows: list[tuple[str, list[str]]]) -> str:
    """`rows`: class of the row, cells that are HTML already. The first and the last column are text."""

    def cells(tag: str, values: list[str]) -> str:
        last = len(values) - 1
        return "".join(
            f"<{tag}{'' if i in {0, last} else ' class=n'}>{value}</{tag}>" for i, value in enumerate(values)
        )

    body = "".join(f'<tr class="{kind}">{cells("td", values)}</tr>' for kind, values in rows)
    return f"<table><thead><tr>{cells('th', head)}</tr></thead><tbody>{body}</tbody></table>"


def _number(value: float | None, form: str, factor: float = 1.0) -> str:
    return "" if value is None else format(value * factor, form)


def _p_value(value: float | None) -> str:
    return "&lt; 0.001" if value is not None and value < 0.001 else _number(value, ".3f")


def _candidates(report: Mapping[str, Any]) -> str:
    rows = []
    for row in report["candidates"]:
        verdict = "" if row.get("passed") is None else ("pass" if row["passed"] else "fail")
        interval = ""
        if row.get("drop") is not None:
            interval = f"{row['drop'] * 100:.2f} ({row['dropLow'] * 100:.2f} to {row['dropHigh'] * 100:.2f})"
        cells = [
            escape(row["name"]),
            _number(row.get("accuracy"), ".2f", 100),
            interval,
            _p_value(row.get("pValue")),
            _number(row.get("agreement"), ".2f", 100),
            _number(row.get("sqnrDb"), ".1f"),
            _number(row.get("sizeBytes"), ",.0f", 1 / 1000),
            str(row.get("floatNodes") or ""),
            f'<span class="{verdict}">{verdict}</span> {escape(row.get("message", ""))}',
        ]
        rows.append(("chosen" if row["name"] == report["published"] else "", cells))
    head = ["candidate", "accuracy %", "drop, points", "p", "agreement %", "SQNR dB", "kB", "float nodes", "verdict"]
    return f"<h2>Candidates</h2>{_table(head, rows)}<p class=muted>{escape(report['statistics'])}</p>"


def _points(report: Mapping[str, Any], x_of: Any) -> list[svg.Point]:
    reference = report["candidates"][0]["accuracy"]
    points = []
    for row in report["candidates"]:
        x = x_of(row)
        if row.get("accuracy") is None or x is None:
            continue
        accuracy = row["accuracy"] * 100
        low, high = accuracy, accuracy
        if row.get("dropHigh") is not None:
            low, high = (reference - row["dropHigh"]) * 100, (reference - row["dropLow"]) * 100
        kind = "reference" if row["name"] == "float" else "dot" if row.get("passed") else "failed"
        kind = "chosen" if row["name"] == report["published"] else kind
        points.append(svg.Point(x, accuracy, low, high, f"{row['name']}: {accuracy:.2f} %", kind))
    return points


def _tradeoffs(report: Mapping[str, Any]) -> str:
    limits = [row["limit"] for row in report["candidates"] if "limit" in row]
    limit = (report["candidates"][0]["accuracy"] - limits[0]) * 100 if limits else None
    latency = {
        name: model["latency"][0]["p50Ms"] for name, model in ((report["benchmark"] or {}).get("models") or {}).items()
    }
    plots = [svg.scatter(_points(report, lambda row: row.get("sizeBytes", 0) / 1000), "size, kB", "accuracy, %", limit)]
    timed = _points(report, lambda row: latency.get(row["name"]))
    if timed:
        plots.append(svg.scatter(timed, "p50 latency, ms", "accuracy, %", limit))
    legend = "dashed red: the gate; dashed grey: the Pareto front; bars: paired confidence interval of the drop"
    title = "<h2>Accuracy against size and latency</h2>"
    return f'{title}<div class="plots">{"".join(plots)}</div><p class="muted">{legend}</p>'


def _ladder(report: Mapping[str, Any]) -> str:
    rows = [("", [escape(r["rung"]), str(len(r["candidates"])), escape(r["skipped"])]) for r in report["rungs"]]
    return f"<h2>Ladder</h2>{_table(['rung', 'candidates', 'why not'], rows)}"


def _sensitivity(report: Mapping[str, Any]) -> str:
    parts = report["sensitivity"][:40]
    if not parts:
        return ""
    rows = [(part["part"], min(120.0, max(-20.0, part["sqnrDb"])), _harm(part)) for part in parts]
    note = f"the {len(parts)} worst of {len(report['sensitivity'])}; less is worse"
    plot = svg.bars(rows, "SQNR of the outputs in dB when this part alone is quantized")
    return f'<h2>Sensitivity</h2><p class="muted">{note}</p>{plot}'


def _harm(part: Mapping[str, Any]) -> str:
    """What a pointer over the bar says."""
    lost = "" if part["lost"] is None else f", {part['lost'] * 100:.2f} points of right answers lost"
    return f"{part['part']}: {part['problem'] or str(part['sqnrDb']) + ' dB'}{lost}"


def _benchmark(report: Mapping[str, Any]) -> str:
    if report["benchmark"] is None:
        return ""
    rows = []
    for name, model in report["benchmark"]["models"].items():
        memory = _number(model["memoryBytes"], ".1f", 1e-6)
        for figures in model["latency"]:
            numbers = [f"{figures[key]:,.3f}" for key in ("p50Ms", "p99Ms", "samplesPerSecond")]
            rows.append(("", [escape(name), str(figures["batchSize"]), *numbers, memory, ""]))
    speedup = report["benchmark"]["speedup"]
    words = ""
    if speedup:
        interval = f"{speedup['median']:.2f} times as fast ({speedup['low']:.2f} to {speedup['high']:.2f}, 95 %)"
        words = f"Batch size {rows[0][1][1]}: {interval}, float and quantized called in turns."
    head = ["model", "batch", "p50 ms", "p99 ms", "samples/s", "peak memory MB", ""]
    return f"<h2>Speed and memory</h2>{_table(head, rows)}<p>{words}</p>"


def _kernels(report: Mapping[str, Any]) -> str:
    if report["benchmark"] is None:
        return ""
    rows = []
    for name, model in report["benchmark"]["models"].items():
        found = model["kernels"]
        integer, floating = (", ".join(f"{n} {op}" for op, n in sorted(found[s].items())) for s in ("integer", "float"))
        rows.append(("", [escape(name), escape(integer), str(found["conversions"]), escape(floating)]))
    head = ["model", "on integers", "conversions", "on floats"]
    return f"<h2>What runs on integers</h2>{_table(head, rows)}"


def _tensors(report: Mapping[str, Any]) -> str:
    if not report["tensors"]:
        return ""
    figures = []
    for tensor in report["tensors"]:
        marks = [(method, low, high) for method, (low, high) in tensor["ranges"].items()]
        plot = svg.histogram(tensor["low"], tensor["binWidth"], tensor["counts"], marks)
        figures.append(f"<figure><figcaption>{escape(tensor['name'])}</figcaption>{plot}</figure>")
    note = "the tensors that clipping changes most, with the range of each method"
    return f'<h2>Calibrated ranges</h2><p class="muted">{note}</p><div class="plots">{"".join(figures)}</div>'


def _spec(report: Mapping[str, Any]) -> str:
    text = escape(json.dumps(report["spec"], indent=1, sort_keys=True))
    return f"<details><summary>Job specification</summary><pre>{text}</pre></details>"
