"""Rules of autoScaling and of gates that depend on the rest of a spec: what its pods can tell at all."""

from typing import Any

from slipway.api.common.base import Rule
from slipway.api.common.quantity import parse_quantity
from slipway.api.serving.autoscaling import OF_GENERATION, ScaleMetric
from slipway.api.serving.engine import EngineName


def _asks_cpu(spec: Any) -> bool:
    resources = spec.predictor.resources
    return any("cpu" in (asked or {}) for asked in (resources.requests, resources.limits))


def _asks_some_cpu(spec: Any) -> bool:
    resources = spec.predictor.resources
    amount = (resources.requests or {}).get("cpu", (resources.limits or {}).get("cpu", 1))
    return parse_quantity(amount) > 0


def _by_cpu(spec: Any) -> bool:
    return spec.auto_scaling is not None and spec.auto_scaling.scale_metric is ScaleMetric.CPU


def _queue_can_reach(spec: Any) -> bool:
    scaling = spec.auto_scaling
    if scaling is None or scaling.scale_metric is not ScaleMetric.QUEUE_DEPTH:
        return True
    return spec.predictor.generation is not None or scaling.scale_target <= spec.predictor.batching.max_queue_size


def _has_metric(spec: Any) -> bool:
    scaling = spec.auto_scaling
    return scaling is None or scaling.scale_metric not in OF_GENERATION or spec.predictor.generation is not None


def _scores(spec: Any) -> bool:
    plan, generation = spec.rollout.canary, spec.predictor.generation
    if plan is None or plan.gate.max_logprob_drift is None:
        return True
    told = spec.predictor.engine.name is EngineName.VLLM or (generation and not generation.prefix_caching)
    return bool(generation and told and any(step.mirror for step in plan.steps))


_CPU = "(has(self.predictor.resources.{0}) && 'cpu' in self.predictor.resources.{0})"

SCALING_RULES: tuple[Rule, ...] = (
    Rule(
        "!has(self.autoScaling) || self.autoScaling.scaleMetric != 'CPU' || (has(self.predictor.resources) && "
        f"({_CPU.format('requests')} || {_CPU.format('limits')}))",
        "scaleMetric CPU is percent of the CPU that a pod asks for: set predictor.resources.requests.cpu",
        lambda spec: not _by_cpu(spec) or _asks_cpu(spec),
    ),
    Rule(
        None,
        "scaleMetric CPU is percent of predictor.resources.requests.cpu, which is 0: ask for some",
        lambda spec: not _by_cpu(spec) or _asks_some_cpu(spec),
    ),
    Rule(
        "!has(self.autoScaling) || self.autoScaling.scaleMetric != 'QueueDepth' || has(self.predictor.generation)"
        " || self.autoScaling.scaleTarget"
        " <= (has(self.predictor.batching) ? self.predictor.batching.maxQueueSize : 256)",
        "scaleTarget is more than batching.maxQueueSize, so no queue ever reaches it: lower it",
        _queue_can_reach,
    ),
    Rule(
        "!has(self.autoScaling) || !(self.autoScaling.scaleMetric in ['TokensInFlight', 'KVCacheUsage'])"
        " || has(self.predictor.generation)",
        "scaleMetric TokensInFlight and KVCacheUsage are of language models: set predictor.generation, {} at least",
        _has_metric,
    ),
    Rule(
        "!has(self.rollout) || !has(self.rollout.canary) || !has(self.rollout.canary.gate)"
        " || !has(self.rollout.canary.gate.maxLogprobDrift) || (has(self.predictor.generation)"
        " && has(self.rollout.canary.steps) && self.rollout.canary.steps.exists(s, has(s.mirror) && s.mirror)"
        " && ((has(self.predictor.generation.prefixCaching) && !self.predictor.generation.prefixCaching)"
        " || (has(self.predictor.engine) && self.predictor.engine.name == 'vllm')))",
        "maxLogprobDrift scores copies of requests to a language model: set predictor.generation, a step with mirror,"
        " and generation.prefixCaching to false, since openvino does not score what it has in its cache (vllm does)",
        _scores,
    ),
)
