"""Work of the engine: the kernels that ran, what they fused, and the roof that bounds each. Figures in, HTML out."""

from collections.abc import Mapping
from html import escape
from typing import Any

from workloads.quantize.report import charts

ROWS = 12
HEAD = ("kernel", "of the time", "us", "MFLOP", "FLOP/byte", "bound by measurement", "of its roof", "stands for")
WORDS = {0, 5, 7}  # columns


def section(report: Mapping[str, Any], *, drawn: bool = True) -> str:
    """A table for each model, its slowest kernels first, and its roofline plot."""
    engine = (report["benchmark"] or {}).get("engine")
    if not engine:
        return ""
    peaks = engine["peaks"]
    words = (
        f"One thread of this node copies {peaks['gigabytesPerSecond']:g} GB/s and multiplies "
        f"{peaks['floatGigaflops']:g} GFLOP/s in float32, {peaks['int8Gigaflops']:g} in int8, by ONNX Runtime; dots: "
        "kernels, as large as their share of the time, those over integers in red."
    )
    parts = [_model(name, found, peaks, drawn=drawn) for name, found in engine["models"].items()]
    return f'<h2>What the engine did</h2><p class="muted">{words}</p>{"".join(parts)}'


def _model(name: str, found: Mapping[str, Any], peaks: Mapping[str, float], *, drawn: bool) -> str:
    if not found["kernels"]:
        return f"<h3>{escape(name)}</h3><p>{escape(found['words'])}</p>"
    rows = "".join(_row(row, found["microseconds"]) for row in found["kernels"][:ROWS])
    head = "".join(f"<th{'' if place in WORDS else ' class=n'}>{title}</th>" for place, title in enumerate(HEAD))
    more = f'<p class="muted">and {found["count"] - ROWS} more</p>' if found["count"] > ROWS else ""
    told = f"{found['count']} kernels, {found['microseconds'] / 1e3:.3f} ms: {found['words']}"
    plot = charts.roofs(peaks, found["kernels"], f"roofline of {name}") if drawn else ""
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return f'<h3>{escape(name)}</h3><p>{escape(told)}</p>{table}{more}<div class="narrow">{plot}</div>'


def _row(row: Mapping[str, Any], whole: float) -> str:
    flops, moved = row.get("flops"), row.get("bytes")
    numbers = [
        f"{row['microseconds'] / (whole or 1.0):.0%}",
        f"{row['microseconds']:,.1f}",
        f"{flops / 1e6:,.2f}" if flops else "",
        f"{flops / moved:,.1f}" if flops and moved else "",
    ]
    share = f"{row['shareOfRoof']:.0%}" if "shareOfRoof" in row else ""
    fused = f"{row['fusion']}: {' + '.join(row['nodes'])}"[:160] if row["fusion"] else ""
    cells = "".join(f"<td class=n>{number}</td>" for number in numbers)
    bound = escape(row.get("bound", ""))
    return (
        f"<tr><td>{escape(row['op'])}</td>{cells}<td>{bound}</td><td class=n>{share}</td><td>{escape(fused)}</td></tr>"
    )
