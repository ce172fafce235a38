"""Stage benchmark: latency, throughput and memory of the float model and of what will be published.

Also which of their operators run on integers.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from slipway.api.quantization.ladder import Runtime
from workloads.onnx import file, kernels, roofline
from workloads.onnx.feeds import filled, rows_of
from workloads.quantize.calibration.observer import quantizable_op_types
from workloads.quantize.context import Context
from workloads.quantize.evaluation import benchmark, operator_precision
from workloads.quantize.ladder.candidates import FLOAT, candidate_of, details_of, model_path
from workloads.quantize.ladder.result import selected_of, tried

if TYPE_CHECKING:
    import numpy.typing as npt


COMPARED = 6  # candidates beside the one that is published
KERNELS = 100  # of a model, in the report


def run(context: Context) -> str:
    """Measure the models and keep the figures. Returns a sentence for people."""
    choice, chosen = context.job.spec.benchmark, selected_of(context)
    # Also when nothing passes: how fast the nearest attempt would have been belongs into the report.
    # Not of a circuit: its C++ model says nothing of its speed.
    timed = chosen.shown if context.job.spec.target.runtime is not Runtime.HLS else None
    names = [FLOAT] + ([timed.name] if timed is not None else [])
    models = [_load(context, name) for name in names]
    tables: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    speedup = None
    for batch in choice.batch_sizes:
        feeds = _feeds(context, batch)
        seconds = benchmark.in_turns(
            models, feeds, iterations=choice.iterations, warmup=choice.warmup, threads=choice.threads
        )
        for name, row in zip(names, seconds, strict=True):
            tables[name].append(benchmark.figures(row, rows_of(feeds)))
        if speedup is None and len(names) > 1:
            found = benchmark.speedup_of(seconds)
            speedup = {"median": round(found.median, 3), "low": round(found.low, 3), "high": round(found.high, 3)}
    record: dict[str, Any] = {"speedup": speedup, "models": {}, "p50Ms": _latencies(context, names, tables)}
    for name in names:
        memory = benchmark.peak_memory(
            model_path(context, name), _feeds(context, choice.batch_sizes[0]), context.work.folder
        )
        record["models"][name] = {
            "latency": tables[name],
            "memoryBytes": memory,
            "kernels": operator_precision.of(model_path(context, name), _why(context, name)),
        }
    record["engine"] = _engine(context, names)
    context.work.write("benchmark", record)
    if speedup is None:
        return "float model measured"
    slower = ": slower than the float model" if speedup["high"] < 1 else ""
    return f"{speedup['median']:.2f} times as fast{slower}"


def _engine(context: Context, names: list[str]) -> dict[str, Any]:
    """Kernels that ONNX Runtime ran for each model at the first batch size, the slowest first; this node's peaks.

    `models`: {name: {"kernels": rows, "words": what bounds them}}; a reason in `words` alone where none are told.
    """
    feeds = _feeds(context, context.job.spec.benchmark.batch_sizes[0])
    found: dict[str, Any] = {}
    peaks = roofline.peaks()
    for name in names:
        path = model_path(context, name)
        if path.suffix == ".tflite":
            found[name] = {"kernels": [], "words": operator_precision.LITERT}
            continue
        try:
            rows = [roofline.row(peaks, kernel) for kernel in kernels.of_onnx_runtime(path, feeds)]
        except Exception as error:  # a model over 2 GB, or whatever profiling does not take: no job is lost for it
            words = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            found[name] = {"kernels": [], "words": f"not told: {words}"}
            continue
        slowest = sorted(rows, key=lambda row: -row["microseconds"])[:KERNELS]
        whole = round(sum(row["microseconds"] for row in rows), 1)
        found[name] = {"kernels": slowest, "count": len(rows), "microseconds": whole, "words": roofline.bounds(rows)}
    return {"peaks": peaks.wire(), "models": found}


def _latencies(context: Context, measured: list[str], tables: dict[str, list[dict[str, float]]]) -> dict[str, float]:
    """p50 in ms at the first batch size of the best attempts too, for the report's plot of accuracy over latency."""
    choice, found = context.job.spec.benchmark, {name: tables[name][0]["p50Ms"] for name in measured}
    built = [candidate for candidate in tried(context) if candidate.accuracy is not None]
    ranked = sorted(built, key=lambda candidate: (not candidate.passed, -(candidate.accuracy or 0.0)))
    if context.job.spec.target.runtime is Runtime.HLS:
        return found
    others = [candidate.name for candidate in ranked if candidate.name not in found][:COMPARED]
    feeds = _feeds(context, choice.batch_sizes[0])
    for name in others:
        # In turns with the float model, one by one: a busy moment shows in both, and is taken out.
        models = [_load(context, FLOAT), _load(context, name)]
        rounds = max(10, choice.iterations // 4)
        seconds = benchmark.in_turns(models, feeds, iterations=rounds, warmup=choice.warmup, threads=choice.threads)
        found[name] = round(found[FLOAT] / benchmark.speedup_of(seconds).median, 4)
    return found


def _why(context: Context, name: str) -> "Callable[[str, str], str]":
    types = context.profile.op_types
    return operator_precision.reasons(
        candidate_of(context, name).rung,
        excluded=context.excluded,
        sensitive=details_of(context, name).get("floatNodes", []),
        known=quantizable_op_types() if types is None else types,
    )


def _load(context: Context, name: str) -> Any:
    path = model_path(context, name)
    return path.read_bytes() if path.suffix == ".tflite" else file.load(path, own=True)


def _feeds(context: Context, size: int) -> "dict[str, npt.NDArray[Any]]":
    """A batch of real samples, repeated when there are fewer; as many as a fixed batch axis wants."""
    size = context.source.fixed_batch or size
    # Samples of one shape, so that they can be stacked.
    first = context.evaluation_batches(size)[0]
    return filled(context.evaluation.read(first).feeds, size)
