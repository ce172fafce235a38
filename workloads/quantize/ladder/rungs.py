"""Rungs of the ladder, and the candidates that each one tries.

Every rung tries its candidates, and keeps a record of what it tried or why not.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from slipway.api.quantization.ladder import Rung, Runtime
from slipway.api.quantization.settings import CalibrationMethod
from slipway.api.quantization.status import Candidate
from workloads.onnx import external_data
from workloads.quantize.algorithms import float_formats, qdq, smooth_quant
from workloads.quantize.algorithms.target import impossible
from workloads.quantize.context import Context
from workloads.quantize.ladder import bisection, hls, litert, metric, mixed_bits, sensitivity
from workloads.quantize.ladder.candidates import (
    Attempt,
    candidate_of,
    consider,
    details_of,
    model_path,
    most_accurate,
    weigh,
)
from workloads.quantize.workdir import Work


@dataclass(frozen=True)
class RungResult:
    """A finished rung: the names of its candidates, or why there are none."""

    candidates: tuple[str, ...] = ()
    skipped: str = ""


def climbed(work: Work, rung: Rung) -> RungResult | None:
    """The rung's record, or None when it has not been finished."""
    record = work.read(f"rungs/{rung}")
    return None if record is None else RungResult(tuple(record["candidates"]), record["skipped"])


def climb(context: Context, rung: Rung) -> None:
    """Try a rung and keep its record. Rungs that were interrupted go on where they were."""
    reason = impossible(rung, context.target, context.job.spec.weights.bits)
    if reason is None and rung is not Rung.WEIGHT_ONLY_INT8 and external_data.held(context.prepared):
        reason = "the model is over 2 GB: only weight-only-int8 is made without holding it whole in memory"
    other = OTHERS.get(context.job.spec.target.runtime)
    how = partial(HOW[rung], context) if other is None else partial(other, context, rung)
    result = RungResult(skipped=reason) if reason else how()
    if result.skipped:
        context.reporter.say(f"{rung}: skipped, {result.skipped}")
    weigh(context, result.candidates)
    context.work.write(f"rungs/{rung}", {"candidates": list(result.candidates), "skipped": result.skipped})


def _static(context: Context, rung: Rung) -> RungResult:
    per_channel = rung is Rung.STATIC_PER_CHANNEL
    if not context.static_nodes:
        return RungResult(skipped="the model has no node that can be quantized, or all are excluded")
    methods = context.job.spec.calibration.methods if context.job.spec.calibration else []
    names = []
    for method in methods:
        attempt = Attempt(f"{rung}-{method}", rung, method, per_channel)
        consider(context, attempt, partial(build_static, context, attempt))
        names.append(attempt.name)
    return RungResult(tuple(names))


def build_static(context: Context, attempt: Attempt) -> qdq.Rewritten:
    """The static model of an attempt; nodes that cannot be rewritten are left in float."""
    kept = set(attempt.float_nodes)
    nodes = [node for node in context.static_nodes if node not in kept]
    kind = "static-per-channel" if attempt.per_channel else "static-per-tensor"
    return bisection.rewritten(context, kind, nodes, partial(_rewrite_static, context, attempt))


def _rewrite_static(context: Context, attempt: Attempt, nodes: Sequence[str]) -> qdq.Rewritten:
    method = CalibrationMethod(attempt.method)
    model, found = context.corrected(set(nodes)) if attempt.corrected else context.prepared, context.ranges(method)
    if attempt.smoothing:
        model, others = context.smoothed(attempt.smoothing)
        found = {**found, **context.ranges_of(others, method)}
    return qdq.static(
        model,
        found,
        context.profile,
        nodes,
        per_channel=attempt.per_channel,
        bits=context.job.spec.weights.bits,
    )


def _smooth(context: Context, rung: Rung) -> RungResult:
    """Try SmoothQuant per channel, with the best method so far."""
    if not smooth_quant.products_of(context.prepared, set(context.static_nodes)):
        return RungResult(skipped="the model has no matrix product with constant weights that is quantized")
    method, names = start(context).method, []
    for alpha in smooth_quant.ALPHAS:
        attempt = Attempt(f"{rung}-{alpha:g}", rung, method, per_channel=True, smoothing=alpha)
        consider(context, attempt, partial(build_static, context, attempt))
        names.append(attempt.name)
    return RungResult(tuple(names))


def _bias(context: Context, rung: Rung) -> RungResult:
    """Try bias correction per channel, with the best method so far."""
    if not context.static_nodes:
        return RungResult(skipped="the model has no node that can be quantized, or all are excluded")
    attempt = Attempt(f"{rung}-{start(context).method}", rung, start(context).method, per_channel=True, corrected=True)
    consider(context, attempt, partial(build_static, context, attempt))
    return RungResult((attempt.name,))


def _mixed(context: Context, rung: Rung) -> RungResult:
    """Keep the worst parts in float, the fewest of them that suffice."""
    ranking = sensitivity.ranking(context)
    most = min(context.job.spec.sensitivity.max_exclusions, len(ranking) - 1)
    if most < 1:
        return RungResult(skipped="there is only one part that could stay in float")
    base = start(context)
    names: list[str] = []

    def passes(count: int) -> bool:
        nodes = tuple(node for part in ranking[:count] for node in part.nodes)
        attempt = replace(base, name=f"{rung}-{count}", rung=rung, float_nodes=nodes)
        candidate = consider(context, attempt, partial(build_static, context, attempt))
        names.append(attempt.name)
        return bool(candidate and candidate.passed)

    fewest(passes, most)
    return RungResult(tuple(names))


def fewest(passes: Callable[[int], bool], most: int) -> int | None:
    """The least number that passes, up to `most`: 1, 2, 4, ... until one does, then the gap is halved.

    None when not even `most` passes. A number above one that passes is taken to pass.
    """
    failed, count = 0, 1
    while not passes(count):
        if count == most:
            return None
        failed, count = count, min(2 * count, most)
    while count - failed > 1:
        middle = (count + failed) // 2
        failed, count = (failed, middle) if passes(middle) else (middle, count)
    return count


def start(context: Context) -> Attempt:
    """The most accurate static candidate so far: what sensitivity, bias correction and mixed precision start from."""
    found = most_accurate(static_candidates(context))
    if found is None:
        methods = context.job.spec.calibration.methods if context.job.spec.calibration else [CalibrationMethod.MIN_MAX]
        return Attempt("", Rung.STATIC_PER_TENSOR, methods[0])
    made = details_of(context, found.name)
    how = {"per_channel": made["perChannel"], "corrected": made["corrected"], "smoothing": made["smoothing"]}
    return Attempt(found.name, Rung(found.rung), found.method, **how)


def static_candidates(context: Context) -> list[Candidate]:
    """Candidates of the static rungs so far."""
    rungs = (Rung.STATIC_PER_TENSOR, Rung.STATIC_PER_CHANNEL, Rung.SMOOTH_QUANT, Rung.BIAS_CORRECTION)
    done = [climbed(context.work, rung) for rung in rungs]
    return candidates_of(context, [rung for rung in done if rung is not None])


def candidates_of(context: Context, done: Sequence[RungResult]) -> list[Candidate]:
    """All candidates of some rungs, in order."""
    return [candidate_of(context, name) for rung in done for name in rung.candidates]


def _dynamic(context: Context, rung: Rung) -> RungResult:
    nodes = qdq.dynamic_nodes(context.prepared, context.excluded)
    if not nodes:
        return RungResult(skipped="the model has no matrix product with constant weights")

    def build(chosen: Sequence[str]) -> qdq.Rewritten:
        return qdq.dynamic(context.prepared, context.profile, chosen)

    attempt = Attempt(rung.value, rung, per_channel=True)
    built = consider(context, attempt, partial(bisection.rewritten, context, rung.value, nodes, build))
    return RungResult((attempt.name,)) if built else RungResult(skipped="none of its matrix products can be quantized")


def _weight_only(bits: int, context: Context, rung: Rung) -> RungResult:
    nodes = qdq.packable_nodes(context.prepared, context.excluded)

    attempt = Attempt(rung.value, rung, per_channel=True)
    data = model_path(context, attempt.name).with_name(f"{model_path(context, attempt.name).name}.data")

    def build(chosen: Sequence[str]) -> qdq.Rewritten:
        if external_data.held(context.prepared):
            return qdq.weight_only_outside(context.prepared, chosen, data)
        return qdq.weight_only(context.prepared, bits, chosen)

    built = consider(context, attempt, partial(bisection.rewritten, context, rung.value, nodes, build))
    if built is None:
        return RungResult(skipped="the model has no weight worth packing")
    mixed = _mixed_bits(context, rung, nodes) if bits == 4 and _too_coarse(context, built) else ()
    return RungResult((attempt.name, *mixed))


def _too_coarse(context: Context, candidate: Candidate) -> bool:
    """Tell whether a candidate fails by what it answers, and not by a size that only grows with more bits."""
    failures = details_of(context, candidate.name).get("failures", [])
    return bool(failures) and not any(words.startswith("size") for words in failures)


def _mixed_bits(context: Context, rung: Rung, nodes: Sequence[str]) -> tuple[str, ...]:
    """Names of candidates whose worst products keep 8 bits, the fewest of them that suffice; all else is packed."""
    ranking = mixed_bits.ranking(context, nodes)
    names: list[str] = []

    def passes(count: int) -> bool:
        wide = set(ranking[:count])

        def build(chosen: Sequence[str]) -> qdq.Rewritten:
            narrow = [node for node in chosen if node in ranking and node not in wide]
            return qdq.weight_only_mixed(context.prepared, narrow, [node for node in chosen if node not in narrow])

        method = f"int8: {count} of {len(ranking)} products"
        attempt = Attempt(f"{rung}-int8-{count}", rung, method, per_channel=True, int8_nodes=tuple(ranking[:count]))
        candidate = consider(context, attempt, partial(bisection.rewritten, context, attempt.name, nodes, build))
        names.append(attempt.name)
        return bool(candidate and candidate.passed)

    if len(ranking) > 1:
        fewest(passes, len(ranking) - 1)
    return tuple(names)


def _fp16(context: Context, rung: Rung) -> RungResult:
    nodes = [node.name for node in context.prepared.graph.node if node.name not in set(context.excluded)]

    def build(chosen: Sequence[str]) -> qdq.Rewritten:
        narrowed = set(chosen)
        return float_formats.half(
            context.prepared, [node.name for node in context.prepared.graph.node if node.name not in narrowed]
        )

    attempt = Attempt(rung.value, rung)
    built = consider(context, attempt, partial(bisection.rewritten, context, rung.value, nodes, build))
    return RungResult((attempt.name,)) if built else RungResult(skipped="the model has no node in float")


def _fp8(context: Context, rung: Rung) -> RungResult:
    """Try FP8 with the whole range: an exponent leaves nothing for clipping to gain."""
    if not context.static_nodes:
        return RungResult(skipped="the model has no node that can be quantized, or all are excluded")
    attempt = Attempt(rung.value, rung, CalibrationMethod.MIN_MAX, per_channel=True)
    consider(context, attempt, lambda: float_formats.float8(context.prepared, build_static(context, attempt)))
    return RungResult((attempt.name,))


def _qat(context: Context, rung: Rung) -> RungResult:
    calibration = context.job.spec.calibration
    if not context.source.trainable:
        return RungResult(skipped="the source is ONNX: training needs an artifact with weights")
    if metric.detects(context):
        return RungResult(skipped="training with quantization is for classifiers, and this is a detector")
    if calibration is None or calibration.dataset is None:
        return RungResult(skipped="training needs a data set with labels: set calibration.dataset")
    from workloads.quantize.fine_tuning import qat  # imports torch: only when a job comes this far

    attempt = Attempt(rung.value, rung, per_channel=True)
    consider(context, attempt, lambda: qat.train(context))
    return RungResult((attempt.name,))


def _litert(context: Context, rung: Rung) -> RungResult:
    """Try a rung in LiteRT, which calibrates by itself.

    It averages the least and the greatest value of each tensor over the samples.
    """
    attempt = Attempt(rung.value, rung, per_channel=True)
    consider(context, attempt, lambda: litert.candidate(context, rung))
    return RungResult((attempt.name,))


def _hls(context: Context, rung: Rung) -> RungResult:
    return RungResult(hls.tried(context, rung))


OTHERS: dict[Runtime, Callable[[Context, Rung], RungResult]] = {Runtime.LITERT: _litert, Runtime.HLS: _hls}
HOW = {
    Rung.STATIC_PER_TENSOR: partial(_static, rung=Rung.STATIC_PER_TENSOR),
    Rung.STATIC_PER_CHANNEL: partial(_static, rung=Rung.STATIC_PER_CHANNEL),
    Rung.SMOOTH_QUANT: partial(_smooth, rung=Rung.SMOOTH_QUANT),
    Rung.BIAS_CORRECTION: partial(_bias, rung=Rung.BIAS_CORRECTION),
    Rung.MIXED_PRECISION: partial(_mixed, rung=Rung.MIXED_PRECISION),
    Rung.DYNAMIC: partial(_dynamic, rung=Rung.DYNAMIC),
    Rung.WEIGHT_ONLY_INT8: partial(_weight_only, 8, rung=Rung.WEIGHT_ONLY_INT8),
    Rung.WEIGHT_ONLY_INT4: partial(_weight_only, 4, rung=Rung.WEIGHT_ONLY_INT4),
    Rung.FP8: partial(_fp8, rung=Rung.FP8),
    Rung.FP16: partial(_fp16, rung=Rung.FP16),
    Rung.QAT: partial(_qat, rung=Rung.QAT),
}
