"""Candidates that have been tried, and how they did.

A candidate is built, run on the evaluation samples and judged, once and for all.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway.api.quantization.evaluation import EvaluationMetric
from slipway.api.quantization.ladder import CHEAP, Goal, Rung, Runtime, goal_of
from slipway.api.quantization.status import Candidate, Stage
from slipway.api.training.compression import CompressionStep
from workloads import storage
from workloads.errors import BadInput
from workloads.measure import timing
from workloads.onnx import external_data, file, hls, saturation
from workloads.quantize.context import FLOAT_MODEL, Context
from workloads.quantize.evaluation import benchmark, ranking
from workloads.quantize.evaluation.gates import LEAST_DB, LEAST_DB_LABELLED, Distinctions, Speedup, judge
from workloads.quantize.graph import integers
from workloads.quantize.ladder import metric
from workloads.quantize.workdir import Work

if TYPE_CHECKING:
    import onnx

    Model = onnx.ModelProto | bytes

FLOAT = "float"
SUFFIXES = {Runtime.LITERT: "tflite", Runtime.HLS: "tgz"}
GATE_ITERATIONS = 100  # pairs of calls for the latency gate
GATE_WARMUP = 10
WEIGH_SECONDS = 3.0  # of calls for the choice between candidates, each


@dataclass(frozen=True)
class Attempt:
    """One candidate's identity. `corrected`: with corrected biases; `smoothing`: SmoothQuant's alpha, 0 without.

    `float_nodes` are those kept in float beside the job's own exclusions, `int8_nodes` those that keep 8 bits beside
    int4.
    """

    name: str
    rung: Rung | Stage
    method: str = ""
    per_channel: bool = False
    corrected: bool = False
    smoothing: float = 0.0
    float_nodes: tuple[str, ...] = ()
    int8_nodes: tuple[str, ...] = ()


def model_path(context: Context, name: str) -> Path:
    """Path of a candidate's model."""
    suffix = SUFFIXES.get(context.job.spec.target.runtime, "onnx")
    return context.work.path(FLOAT_MODEL if name == FLOAT else f"candidates/{name}.{suffix}")


def details_of(context: Context, name: str) -> dict[str, Any]:
    """The candidate's record: `candidate` as in the status, and what is for the report only."""
    return context.work.require(f"candidates/{name}")


def candidate_of(context: Context, name: str) -> Candidate:
    """The candidate's figures."""
    return candidate_in(context.work, name)


def candidate_in(work: Work, name: str) -> Candidate:
    """The figures in a work folder: as judged, with the latency if that was measured, and without a gain no pass."""
    found = Candidate.model_validate(work.require(f"candidates/{name}")["candidate"])
    measured = work.read(f"latency/{name}")
    if measured is None:
        return found
    words = measured["noGain"]
    told = {"passed": False, "message": f"{found.message}; {words}"[:1024]} if words else {}
    return found.model_copy(update={"speedup": found.speedup or measured["speedup"], **told})


def weigh(context: Context, names: Sequence[str]) -> None:
    """Measure once how fast the candidates are that pass, and whether any of it is a gain; only where rungs compete.

    A record of its own beside the candidate's: clocks never say the same twice, so a run that goes on after a kill
    reads what was measured before, and what the candidate is stays equal to the last byte.
    """
    spec = context.job.spec
    if (goal := goal_of(spec.ladder, spec.optimize_for)) is None:
        return
    float_size = file.size_of(model_path(context, FLOAT))
    for name in names:
        candidate = candidate_in(context.work, name)
        if not candidate.passed or context.work.read(f"latency/{name}") is not None:
            continue
        speedup = latency_against(context, FLOAT, name) if measurable(context) else None
        ratio = (candidate.size_bytes or 0) / float_size
        context.work.write(f"latency/{name}", {"speedup": speedup, "noGain": ranking.no_gain(ratio, speedup, goal)})


def measurable(context: Context) -> bool:
    """Tell whether a clock on this node says anything of the target."""
    own = context.job.spec.target.runtime in {Runtime.ONNXRUNTIME, Runtime.LITERT}
    return own and saturation.hardware() is context.target.hardware


def latency_against(context: Context, base: str, name: str) -> float:
    """Latency of the candidate `base` over that of `name`: the fastest of calls in turns, once for each.

    A busy machine disturbs the fastest least; on one thread it is that of the least CPU time, but for LiteRT, which
    computes on threads of its own.
    """
    models = [_loaded(model_path(context, each)) for each in (base, name)]
    feeds = context.evaluation.read(context.evaluation_batches(1)[0]).feeds
    threads = context.job.spec.benchmark.threads
    clock = time.perf_counter if model_path(context, name).suffix == ".tflite" else timing.clock_of(threads)
    choice = partial(benchmark.in_turns, models, feeds, threads=threads, clock=clock)
    first = choice(iterations=3, warmup=1)
    rounds = int(WEIGH_SECONDS / max(1e-6, float(first.min(axis=1).sum())))
    seconds = choice(iterations=max(5, min(GATE_ITERATIONS, rounds)), warmup=1)
    return round(float(seconds[0].min() / seconds[1].min()), 3)


def _loaded(path: Path) -> "Model":
    return path.read_bytes() if path.suffix == ".tflite" else file.load(path, own=True)


def step_name(number: int, step: CompressionStep) -> str:
    """Name of the candidate that a step of compression is; `number` from 1."""
    return f"compressed-{number}-{step.method}"


def consider(
    context: Context,
    attempt: Attempt,
    build: "Callable[[], Model | None]",
    known: Callable[[], Mapping[str, Any]] = dict,
) -> Candidate | None:
    """Build, evaluate and judge, unless that was done before a restart. None when there is nothing to build.

    A graph that the library cannot rewrite, or the runtime cannot load, is a candidate that failed: the ladder goes on.
    A full disk, say, is not: that ends the stage. `known`: more fields of the candidate, asked for once it is built.
    """
    record = context.work.read(f"candidates/{attempt.name}")
    if record is not None:
        return Candidate.model_validate(record["candidate"])
    try:
        model = build()
        if model is None:
            return None
        candidate, details = _measured(context, attempt, model)
        candidate = candidate.model_copy(update=dict(known()))
    except (ImportError, MemoryError, OSError):
        raise  # the machine's fault: another attempt of the stage may do it
    except Exception as error:  # whatever the library raises inside its rewriting
        candidate, details = _impossible(attempt, error), {}
    made: dict[str, Any] = {"perChannel": attempt.per_channel, "corrected": attempt.corrected}
    made |= {"smoothing": attempt.smoothing, "floatNodes": list(attempt.float_nodes)}
    made |= {"int8Nodes": list(attempt.int8_nodes)} if attempt.int8_nodes else {}
    context.work.write(f"candidates/{attempt.name}", {"candidate": candidate.wire(), **made, **details})
    mark = "passes" if candidate.passed else "fails"
    figures = "" if candidate.accuracy is None else f"{candidate.accuracy * 100:.2f} %, "
    context.reporter.say(f"{candidate.name}: {figures}{mark}: {candidate.message}")
    context.reporter.advance()
    return candidate


def _measured(context: Context, attempt: Attempt, model: "Model") -> tuple[Candidate, dict[str, Any]]:
    path = model_path(context, attempt.name)
    file.save(model, path)
    predictions, reference = metric.predict(context, model), metric.stored(context, FLOAT)
    predictions.save(context.work.path(f"answers/{attempt.name}.npz"))
    difference = metric.difference(context, reference, predictions)
    # Of a circuit what its weights take there: the archive holds libraries and text.
    size = hls.about(model)["weightBytes"] if isinstance(model, bytes) and hls.is_hls(model) else file.size_of(path)
    float_size = file.size_of(model_path(context, FLOAT))
    speedup = _speedup(context, model) if context.job.spec.gates.latency is not None else None
    noise, decisions = (
        metric.noise(reference, predictions),
        (metric.float_decisions(reference), metric.decisions(predictions)),
    )
    sight = Distinctions(noise, _least_db(context, attempt), *decisions, integer=_integer(attempt, model))
    verdict = judge(context.job.spec.gates, difference, size / float_size, speedup, sight)
    # A step of compression goes on with a good accuracy alone: size and speed are for what will be published.
    told = verdict.of_accuracy() if attempt.rung is Stage.COMPRESS else verdict
    others = [words for words in verdict.failures if words not in told.failures]
    message = f"{told.words()}; not published by itself: {'; '.join(others)}" if others else told.words()
    candidate = Candidate(
        name=attempt.name,
        rung=attempt.rung,
        method=attempt.method,
        float_nodes=len(attempt.float_nodes),
        accuracy=difference.second,
        drop=verdict.drop,
        drop_low=verdict.low,
        drop_high=verdict.high,
        agreement=metric.agreement(reference, predictions),
        sqnr_db=noise,
        size_bytes=size,
        speedup=None if speedup is None else round(speedup.median, 3),
        passed=told.passed,
        message=message[:1024],
    )
    details = {"limit": verdict.limit, "failures": list(verdict.failures), "digest": storage.sha256_of(path)}
    details |= {"data": {data.name: storage.sha256_of(data) for data in external_data.data_of(path)}}
    return candidate, {**details, **_pairs(context, reference, predictions)}


def _integer(attempt: Attempt, model: "Model") -> bool:
    """Tell whether a candidate has the integers that its rung promises; a float model under its name has none."""
    if attempt.rung in {Rung.FP16, Stage.COMPRESS} or isinstance(model, bytes):
        return True  # floats by their name, LiteRT's own quantizer's, or a circuit
    return integers.weights(model) > 0


def _least_db(context: Context, attempt: Attempt) -> float | None:
    """The floor under the outputs' noise; none where the model was trained anew, and is another function."""
    gate = context.job.spec.gates.accuracy
    if gate.min_sqnr_db is not None:
        return gate.min_sqnr_db
    if attempt.rung in {Rung.QAT, Stage.COMPRESS}:
        return None
    return LEAST_DB if context.job.spec.evaluation.metric is EvaluationMetric.AGREEMENT else LEAST_DB_LABELLED


def _pairs(context: Context, reference: "metric.Predictions", predictions: "metric.Predictions") -> dict[str, Any]:
    """Counts of samples by which of the two models was right; none for detectors and for scores of other tasks."""
    if metric.detects(context) or metric.by_task(context):
        return {}
    pairs = metric.pairs(context, reference, predictions)
    counts = {"both": pairs.both, "onlyFloat": pairs.first, "onlyQuantized": pairs.second, "none": pairs.none}
    return {"pairs": counts}


def _impossible(attempt: Attempt, error: Exception) -> Candidate:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else "no reason given"
    words = str(error) if isinstance(error, BadInput) else f"could not be built: {type(error).__name__}: {reason}"
    return Candidate(name=attempt.name, rung=attempt.rung, method=attempt.method, passed=False, message=words[:1024])


def _speedup(context: Context, model: "Model") -> Speedup:
    feeds = context.evaluation.read(context.evaluation_batches(1)[0]).feeds
    threads = context.job.spec.benchmark.threads
    models = [context.float_model, model]
    seconds = benchmark.in_turns(models, feeds, iterations=GATE_ITERATIONS, warmup=GATE_WARMUP, threads=threads)
    return benchmark.speedup_of(seconds)


def best(candidates: Sequence[Candidate], goal: Goal | None = None) -> Candidate | None:
    """Candidate to publish, one that passes. Of cheap rungs that compete, what the goal asks for.

    Else the fewest float nodes, the highest accuracy, the least noise, the first one.
    """
    passing = [candidate for candidate in candidates if candidate.passed]
    if goal is not None and passing and all(Rung(candidate.rung) in CHEAP for candidate in passing):
        return ranking.first(passing, goal)
    return max(passing, key=lambda c: (-c.float_nodes, *_worth(c)), default=None)


def most_accurate(candidates: Sequence[Candidate]) -> Candidate | None:
    """The best attempt, whether it passes or not; None when none could be built."""
    built = [candidate for candidate in candidates if candidate.accuracy is not None]
    return max(built, key=_worth, default=None)


def _worth(candidate: Candidate) -> tuple[float, float]:
    noise = float("inf") if candidate.sqnr_db is None else candidate.sqnr_db
    return candidate.accuracy or 0.0, noise
