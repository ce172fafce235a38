"""Every figure of a job in one JSON object, gathered from the work folder's records.

Read by the page and by machines.
"""

import platform
from typing import TYPE_CHECKING, Any

import numpy as np

from slipway.api.quantization.ladder import CALIBRATED, Hardware, climbing, goal_of
from slipway.api.quantization.settings import CalibrationMethod
from workloads.measure.confidence import Pairs, mcnemar
from workloads.onnx import saturation, session
from workloads.quantize.context import COMPRESSED, Context
from workloads.quantize.evaluation import ranking
from workloads.quantize.ladder import bisection, hls, metric, result, rungs, sensitivity
from workloads.quantize.ladder.candidates import FLOAT, candidate_of, details_of
from workloads.quantize.ladder.order import CALIBRATION, SENSITIVITY, next_rung, shards_done
from workloads.quantize.report import explanation

if TYPE_CHECKING:
    import numpy.typing as npt

FORMAT_VERSION = 1
REPORT_JSON = "report.json"
BINS_SHOWN = 96
TENSORS_SHOWN = 24
OF_CLASSES = "drop: Newcombe 1998, method 10, paired; p: McNemar 1947, exact"
OF_BOXES = "accuracy: mAP@0.5 by COCO's definition; drop: bootstrap over pictures, paired, 1000 times"


def gather(context: Context) -> dict[str, Any]:
    """The report as JSON."""
    selected, headline = result.selected_of(context), result.headline(context)
    return {
        "formatVersion": FORMAT_VERSION,
        "job": context.job.reference.wire(),
        "spec": context.job.spec.wire(),
        "source": context.work.require("source"),
        "warnings": warnings_of(context),
        "headline": headline.wire() if headline else {},
        "outcome": selected.outcome,
        "published": selected.published,
        "shown": selected.shown.name if selected.shown else None,
        "candidates": candidates(context),
        "compression": _compression(context),
        "rungs": _rungs(context),
        "explanation": [reason.wire() for reason in explained(context)],
        "sensitivity": _sensitivity(context),
        "circuit": _circuit(context, selected.shown.name if selected.shown else None),
        "tensors": _tensors(context),
        "calibration": _calibration(context),
        "benchmark": context.work.read("benchmark"),
        "judgedIn": f"onnxruntime {session.version()} on {platform.machine()} "
        f"({', '.join(sorted(saturation.features())) or 'features unknown'}), for {context.target.hardware}",
        "statistics": OF_BOXES if metric.detects(context) else OF_CLASSES,
    }


def warnings_of(context: Context) -> list[str]:
    """Warnings of what is doubtful about the figures."""
    found: list[str] = list(details_of(context, FLOAT)["warnings"])
    bad = sorted({name for shard in _shards(context) for name in shard["notFinite"]})
    if bad:
        found.append(
            f"{len(bad)} tensors took values that are not finite, left out of their ranges: {', '.join(bad[:5])}"
        )
    found += _masked(context)
    found += context.source_remarks
    for kind, nodes in bisection.left_in_float(context).items():
        found.append(f"{kind}: {len(nodes)} nodes cannot be rewritten and stay in float: {bisection.words(nodes)}")
    here, target = saturation.hardware(), context.target.hardware
    if target is not here and target is not Hardware.NVIDIA:
        found.append(
            f"the target is {target} and this node is {here}: answers are judged with exact kernels, and hold there; "
            "latency is this node's"
        )
    runtime_name = context.job.spec.target.runtime
    if runtime_name == "litert":
        found.append("candidates are judged and measured in LiteRT, one sample a call, the float model in ONNX Runtime")
    elif runtime_name == "hls":
        found.append(
            "candidates are judged in the circuit's C++ model, compiled by g++; DSPs and latency are estimates by "
            "formula, and no synthesis was run"
        )
    elif runtime_name != "onnxruntime":
        found.append(
            f"judged and measured in ONNX Runtime; {runtime_name} computes the same Q/DQ graph with other kernels"
        )
    return found


def _circuit(context: Context, shown: str | None) -> dict[str, Any] | None:
    """The plan of an FPGA's circuit and its estimates; None for every other target."""
    return None if shown is None else context.work.read(f"{hls.ESTIMATES}/{shown}")


def _masked(context: Context) -> list[str]:
    """Words on the nodes that stay in float for a mask; none where no ranges were collected."""
    kept = [name for name in context.nodes if name in context.masked] if _shards(context) else []
    if not kept:
        return []
    named = ", ".join(kept[:5]) + (f" and {len(kept) - 5} more" if len(kept) > 5 else "")
    return [f"static: {len(kept)} nodes read or give a mask, which 8 bits cannot hold, and stay in float: {named}"]


def candidates(context: Context) -> list[dict[str, Any]]:
    """The float model first, then all candidates in the order they were tried."""
    rows = []
    for candidate in [candidate_of(context, FLOAT), *ranking.marked(result.tried(context))]:
        details = details_of(context, candidate.name)
        row = {**candidate.wire(), "floatNodeNames": details.get("floatNodes", []), "pareto": bool(candidate.pareto)}
        if "int8Nodes" in details:
            row["int8NodeNames"] = details["int8Nodes"]
        if "pairs" in details:
            counts = details["pairs"]
            pairs = Pairs(counts["both"], counts["onlyFloat"], counts["onlyQuantized"], counts["none"])
            row |= {"pairs": counts, "pValue": mcnemar(pairs)}
        if "limit" in details:
            row["limit"] = details["limit"]
        rows.append(row)
    return rows


def _compression(context: Context) -> list[dict[str, Any]]:
    """The steps: what was taken away, whether it stayed; their figures are in the candidates' rows."""
    record = context.work.read(COMPRESSED)
    return [] if record is None else list(record["rows"])


def explained(context: Context) -> list[explanation.Reason]:
    """Reasons why each rung, in the order of climbing, was taken or not; also while the ladder is being climbed."""
    spec = context.job.spec
    order, over = climbing(spec.ladder, spec.optimize_for), next_rung(spec, context.work) is None
    found = {row["rung"]: row for row in _rungs(context)}
    rows = [{**found[rung], "due": rungs.climbed(context.work, rung) is None} for rung in order]
    goal, selected = goal_of(spec.ladder, spec.optimize_for), result.selected_of(context).published
    return explanation.reasons(rows, candidates(context), selected, goal, over=over)


def _rungs(context: Context) -> list[dict[str, Any]]:
    done = {rung: rungs.climbed(context.work, rung) for rung in context.job.spec.ladder}
    return [
        {
            "rung": rung,
            "candidates": list(found.candidates) if found else [],
            "skipped": found.skipped if found else "not needed",
        }
        for rung, found in done.items()
    ]


def _sensitivity(context: Context) -> list[dict[str, Any]]:
    if not shards_done(context.work, SENSITIVITY, context.job.spec.parallelism):
        return []
    shown = result.selected_of(context).shown
    kept = set(details_of(context, shown.name).get("floatNodes", [])) if shown else set()
    return [
        {
            "part": part.name,
            "nodes": len(part.nodes),
            "kept": set(part.nodes) <= kept,
            "sqnrDb": part.sqnr_db,
            "lost": part.lost,
            "problem": part.problem,
        }
        for part in sensitivity.ranking(context)
    ]


def _shards(context: Context) -> list[dict[str, Any]]:
    count = context.job.spec.parallelism
    if not shards_done(context.work, CALIBRATION, count):
        return []
    return [context.work.require(f"{CALIBRATION}/{shard}-of-{count}") for shard in range(count)]


def _calibration(context: Context) -> dict[str, Any] | None:
    shards = _shards(context)
    if not shards:
        return None
    samples = sum(shard["samples"] for shard in shards)
    return {
        "samples": samples,
        "shards": len(shards),
        "tensors": len(context.statistics),
        "data": context.calibration.name,
    }


def _tensors(context: Context) -> list[dict[str, Any]]:
    """Histograms with the thresholds of every method, of the tensors that clipping changes most."""
    choice = context.job.spec.calibration
    if choice is None or not _shards(context) or not CALIBRATED & set(context.job.spec.ladder):
        return []
    found = {method: context.ranges(method) for method in choice.methods}
    widest = {
        name: max(abs(float(t.minimum[0])), abs(float(t.maximum[0])))
        for name, t in context.statistics.items()
        if t.count
    }

    def clipped(name: str) -> float:
        reach = min(max(-ranges[name].low, ranges[name].high) for ranges in found.values())
        return reach / widest[name] if widest[name] else 1.0

    chosen = sorted(widest, key=lambda name: (clipped(name), name))[:TENSORS_SHOWN]
    return [{"name": name, **_histogram(context, name), "ranges": _ranges(found, name)} for name in chosen]


def _ranges(found: dict[CalibrationMethod, Any], name: str) -> dict[str, list[float]]:
    return {method.value: [ranges[name].low, ranges[name].high] for method, ranges in found.items()}


def _histogram(context: Context, name: str) -> dict[str, Any]:
    """The used part of the histogram in at most BINS_SHOWN bins."""
    histogram = context.statistics[name].histogram
    counts: npt.NDArray[np.int64] = histogram.counts[0]
    used = np.flatnonzero(counts)
    first, last = int(used[0]), int(used[-1]) + 1
    step = -(-(last - first) // BINS_SHOWN)
    padded = np.concatenate([counts[first:last], np.zeros(-(last - first) % step, np.int64)])
    return {
        "low": (first - histogram.half) * histogram.width(),
        "binWidth": step * histogram.width(),
        "counts": padded.reshape(-1, step).sum(axis=1).tolist(),
    }
