"""report.html: one file without a single request to anywhere. The figures in, the page out."""

import json
from collections.abc import Collection, Mapping
from html import escape
from pathlib import Path
from typing import Any

from workloads.quantize.report import circuit, engine, plots

NODES_SHOWN = 12
STYLE = Path(__file__).with_name("style.css")
OUTCOMES = {
    "quantized": "A quantized model passes its gates and is published.",
    "half-precision": "No integer model passes its gates, or none was asked for: one in 16-bit floats is published.",
    "compressed": "No quantized model passes its gates: the compressed one, in float, does and is published.",
    "kept-float": "No quantized model passes its gates: the float model is published.",
    "rejected": "No quantized model passes its gates: nothing is published.",
}


def page(report: Mapping[str, Any], *, charts: bool = True) -> str:
    """Whole page as HTML, with its charts or without."""
    name = escape(report["job"]["name"])
    sections = [
        _head(report),
        _cards(report),
        _warnings(report),
        _candidates(report),
        plots.tradeoffs(report) if charts else "",
        _compression(report),
        _ladder(report),
        plots.sensitivity(report) if charts else "",
        circuit.section(report),
        _benchmark(report),
        _kernels(report),
        engine.section(report, drawn=charts),
        plots.tensors(report) if charts else "",
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


def _table(head: list[str], rows: list[tuple[str, list[str]]], text: Collection[int] = ()) -> str:
    """`rows`: class of the row, cells that are HTML already. Columns of `text`, else the first and last, are words."""
    words = text or {0, len(head) - 1}

    def cells(tag: str, values: list[str]) -> str:
        return "".join(f"<{tag}{'' if i in words else ' class=n'}>{value}</{tag}>" for i, value in enumerate(values))

    body = "".join(f'<tr class="{kind}">{cells("td", values)}</tr>' for kind, values in rows)
    return f"<table><thead><tr>{cells('th', head)}</tr></thead><tbody>{body}</tbody></table>"


def _number(value: float | None, form: str, factor: float = 1.0) -> str:
    return "" if value is None else format(value * factor, form)


def _p_value(value: float | None) -> str:
    return "&lt; 0.001" if value is not None and value < 0.001 else _number(value, ".3f")


def _candidates(report: Mapping[str, Any]) -> str:
    rows = []
    for number, row in enumerate(report["candidates"]):
        verdict = "" if row.get("passed") is None else ("pass" if row["passed"] else "fail")
        interval = ""
        if row.get("drop") is not None:
            interval = f"{row['drop'] * 100:.2f} ({row['dropLow'] * 100:.2f} to {row['dropHigh'] * 100:.2f})"
        cells = [
            str(number),
            f"<nobr>{escape(row['name'])}</nobr>",
            _number(row.get("accuracy"), ".2f", 100),
            interval,
            _p_value(row.get("pValue")),
            _number(row.get("agreement"), ".2f", 100),
            _number(row.get("sqnrDb"), ".1f"),
            _number(row.get("sizeBytes"), ",.0f", 1 / 1000),
            _number(row.get("speedup"), ".2f"),
            "yes" if row.get("pareto") else "",
            str(row.get("floatNodes") or ""),
            f'<span class="{verdict}">{verdict}</span> {escape(_verdict(row))}',
        ]
        rows.append(("chosen" if row["name"] == report["published"] else "", cells))
    head = [
        "",
        "candidate",
        "accuracy %",
        "drop, points",
        "p",
        "agreement %",
        "SQNR dB",
        "kB",
        "times as fast",
        "Pareto front",
        "float nodes",
        "verdict",
    ]
    table = _table(head, rows, text={1, len(head) - 1})
    return f"<h2>Candidates</h2>{table}<p class=muted>{escape(report['statistics'])}{_limit(report)}</p>"


def _limit(report: Mapping[str, Any]) -> str:
    limit = next((row["limit"] for row in report["candidates"] if "limit" in row), None)
    return "" if limit is None else f"; the gate allows a drop of {limit * 100:.2f} points"


def _verdict(row: Mapping[str, Any]) -> str:
    """Failures of a candidate in words; the drop has a column of its own."""
    message = str(row.get("message", ""))
    return message.partition("; ")[2] if message.startswith("drop ") else message


def _compression(report: Mapping[str, Any]) -> str:
    """Table of what each step took away and cost, before and after its training; the float model first."""
    if not report["compression"]:
        return ""
    rows = {row["name"]: row for row in report["candidates"]}
    first = {"candidate": "float", "words": "as it was", "kept": True}
    body = []
    for step in [first, *report["compression"]]:
        row = rows[step["candidate"]]
        cells = [escape(row["name"]), escape(step["words"] or row["message"])]
        cells += [_number(row.get(key), ",.0f") for key in ("parameters", "zeros")]
        cells += [_number(row.get("flops"), ",.2f", 1e-6), _number(row.get("sizeBytes"), ",.0f", 1 / 1000)]
        cells += [_number(row.get(key), ".2f", 100) for key in ("untrained", "accuracy")]
        body.append(("", [*cells, "" if step is first else "yes" if step["kept"] else "undone"]))
    head = ["step", "what was taken away", "parameters", "of them zero", "MFLOPs", "kB"]
    head += ["untrained %", "trained %", "stays"]
    return f"<h2>Compression</h2>{_table(head, body, text={0, 1, len(head) - 1})}"


def _ladder(report: Mapping[str, Any]) -> str:
    """Table of reasons why each rung was taken, refused, skipped or not needed."""
    rows = [
        ("chosen" if why["verdict"] == "published" else "", [escape(why[key]) for key in ("rung", "verdict", "why")])
        for why in report["explanation"]
    ]
    return f"<h2>Ladder</h2>{_table(['rung', 'what became of it', 'why'], rows, text={0, 1, 2})}"


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
    rows, reasons = [], ""
    for name, model in report["benchmark"]["models"].items():
        found = model["kernels"]
        integer, floating = (", ".join(f"{n} {op}" for op, n in sorted(found[s].items())) for s in ("integer", "float"))
        rows.append(("", [escape(name), str(found["conversions"]), escape(integer or found["note"]), escape(floating)]))
        reasons += "" if name == "float" else _reasons(name, found["floatNodes"])
    head = ["model", "conversions", "on integers", "on floats"]
    table = _table(head, rows, text={0, 2, 3})
    return f"<h2>What runs on integers</h2>{table}{reasons}"


def _reasons(name: str, nodes: list[dict[str, str]]) -> str:
    """Table of reasons why nodes stayed float, the commonest reason first."""
    by_reason: dict[str, list[str]] = {}
    for node in nodes:
        by_reason.setdefault(node["why"], []).append(node["node"])
    rows = []
    for why, names in sorted(by_reason.items(), key=lambda item: -len(item[1])):
        shown = ", ".join(names[:NODES_SHOWN]) + (
            f" and {len(names) - NODES_SHOWN} more" if names[NODES_SHOWN:] else ""
        )
        rows.append(("", [escape(why), str(len(names)), escape(shown)]))
    head = ["why it stayed float", "nodes", "which"]
    return f"<h3>Left on floats in {escape(name)}</h3>{_table(head, rows)}" if rows else ""


def _spec(report: Mapping[str, Any]) -> str:
    text = escape(json.dumps(report["spec"], indent=1, sort_keys=True))
    return f"<details><summary>Job specification</summary><pre>{text}</pre></details>"
