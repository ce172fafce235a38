"""`bench --explain`: what an engine made of a model, kernel by kernel, and whether memory or arithmetic bounds it."""

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from workloads.bench.models_under_test import find
from workloads.onnx import kernels, roofline
from workloads.onnx.kernels import Kernel
from workloads.serve.datatypes import Array
from workloads.serve.engines.warmup import sample

Ask = Callable[[Path, Sequence[Array]], list[Kernel]]
ENGINES: dict[str, Ask] = {"onnxruntime": kernels.of_onnx_runtime, "openvino": kernels.of_openvino}
WIDTH, HEIGHT, LEFT, BOTTOM = 640, 360, 60, 40


def run(models: Sequence[str], engines: Sequence[str], batch: int) -> dict[str, Any]:
    """Explanation of each model on each of the engines that tell, for JSON: machine's peaks, kernels, and why not."""
    peaks = roofline.peaks()
    found, absent = [], []
    for where in models:
        source = find(where)
        for name in engines or ENGINES:
            if name not in ENGINES:
                absent.append({"model": where, "engine": name, "reason": _silence(name)})
                continue
            if source.model.onnx is None:
                absent.append({"model": where, "engine": name, "reason": "it has no ONNX file, whose nodes are told"})
                continue
            try:
                told = ENGINES[name](source.model.onnx, sample(source.model.signature, batch))
            except (ImportError, RuntimeError, ValueError) as error:
                absent.append({"model": where, "engine": name, "reason": str(error).strip().splitlines()[0][:200]})
                continue
            found.append({"model": where, "engine": name, "kernels": [roofline.row(peaks, kernel) for kernel in told]})
    return {"peaks": peaks.wire(), "explained": found, "notExplained": absent}


def _silence(name: str) -> str:
    if name == "tensorrt":
        return "its layers are told by an engine on a GPU: trtexec --dumpProfile --dumpLayerInfo there"
    return "it does not tell which kernels it runs"


def words(report: Mapping[str, Any], most: int = 25) -> str:
    """The explanation as text: the slowest kernels of each model first, then what was fused."""
    peaks = report["peaks"]
    lines = [
        f"one thread copies {peaks['gigabytesPerSecond']:g} GB/s and multiplies {peaks['floatGigaflops']:g} GFLOP/s in "
        f"float32, {peaks['int8Gigaflops']:g} in int8"
    ]
    for one in report["explained"]:
        rows = sorted(one["kernels"], key=lambda row: -row["microseconds"])
        whole = sum(row["microseconds"] for row in rows) or 1.0
        lines += ["", f"{one['model']} on {one['engine']}: {len(rows)} kernels, {whole / 1e3:.3f} ms"]
        lines += [_line(row, whole) for row in rows[:most]]
        lines += [f"  and {len(rows) - most} more"] if len(rows) > most else []
        lines.append(f"  {roofline.bounds(rows)}")
    lines += [f"{one['model']} on {one['engine']}: {one['reason']}" for one in report["notExplained"]]
    return "\n".join(lines)


def _line(row: Mapping[str, Any], whole: float) -> str:
    told = f"  {row['microseconds'] / whole:4.0%} {row['microseconds']:9.1f} us  {row['op']:<24.24}"
    if row.get("flops"):
        told += f" {row['flops'] / 1e6:9.2f} MFLOP {row['flops'] / row['bytes']:7.1f} FLOP/B"
    if "bound" in row:
        told += f"  {row['bound']}, {row['shareOfRoof']:.0%} of its roof"
    return told + (f"  {row['fusion']}: {' + '.join(row['nodes'])[:120]}" if row["fusion"] else "")


def plot(report: Mapping[str, Any]) -> str:
    """Roofline plot as SVG: both roofs, and a dot for each kernel with FLOPs, as large as its share of the time."""
    peaks = report["peaks"]
    bandwidth, roofs = peaks["gigabytesPerSecond"], (peaks["floatGigaflops"], peaks["int8Gigaflops"])
    rows = [row for one in report["explained"] for row in one["kernels"] if row.get("flops") and row["microseconds"]]
    spots = [(row["flops"] / row["bytes"], row["flops"] / row["microseconds"] / 1e3) for row in rows]
    xs = [0.1, *(x for x, _ in spots), max(roofs) / bandwidth * 4]
    ys = [0.1, *(max(y, 1e-3) for _, y in spots), max(roofs) * 1.5]

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            LEFT + (WIDTH - LEFT - 10) * math.log(x / min(xs)) / math.log(max(xs) / min(xs)),
            HEIGHT
            - BOTTOM
            - (HEIGHT - BOTTOM - 10) * math.log(max(y, min(ys)) / min(ys)) / math.log(max(ys) / min(ys)),
        )

    body = []
    for roof, name in zip(roofs, ("float32", "int8"), strict=True):
        corners = [(min(xs), min(xs) * bandwidth), (roof / bandwidth, roof), (max(xs), roof)]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*corner) for corner in corners))
        body.append(f'<polyline points="{line}" fill="none" stroke="#555"><title>{name}</title></polyline>')
    whole = sum(row["microseconds"] for row in rows) or 1.0
    for row, spot in zip(rows, spots, strict=True):
        (x, y), radius = place(*spot), 3 + 12 * math.sqrt(row["microseconds"] / whole)
        told = escape(f"{row['op']} {row['name']}: {row['bound']}, {row['shareOfRoof']:.0%} of its roof")
        body.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{"#c60" if row["integer"] else "#06c"}" '
            f'fill-opacity="0.5"><title>{told}</title></circle>'
        )
    titles = (
        f'<text x="{WIDTH / 2:.0f}" y="{HEIGHT - 8}" text-anchor="middle">FLOPs a byte (logarithmic)</text>'
        f'<text x="14" y="{HEIGHT / 2:.0f}" transform="rotate(-90 14 {HEIGHT / 2:.0f})" text-anchor="middle">'
        "GFLOP/s</text>"
    )
    box = f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {box}>{titles}{"".join(body)}</svg>\n'
