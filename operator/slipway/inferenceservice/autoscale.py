"""Number of replicas wanted now, and why: spec.replicas, or what the load asks for. Pure; called by reconcile.py.

With autoScaling, spec.replicas is where it starts, 0 turns the service off, and a change of it (by an edit or
`kubectl scale`) counts at once, as with a HorizontalPodAutoscaler; then the load goes on from there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from slipway.api.serving.autoscaling import AutoScaling, ScaleMetric
from slipway.api.serving.inferenceservice import InferenceServiceSpec
from slipway.inferenceservice.observed import ready_pods
from slipway.inferenceservice.policy.scale import Load, Recommendation, clamp, settle
from slipway.inferenceservice.policy.traffic import Traffic, Window
from slipway.inferenceservice.policy.zero import ActivatorState, asked_for, left
from slipway.runtime.conditions import format_time, parse_time


@dataclass(frozen=True)
class Size:
    """Replicas of the serving revision; `wire` is status.autoScaling, None without autoScaling.

    `may_sleep`: an activator holds what comes while there are none. `sleeping`: it was decided that there be none; the
    last one stays until the activator has taken over.
    """

    replicas: int
    wire: dict[str, Any] | None
    history: tuple[Recommendation, ...] = ()
    may_sleep: bool = False
    sleeping: bool = False


def size_of(
    spec: InferenceServiceSpec,
    status: Mapping[str, Any],
    pods: Sequence[Mapping[str, Any]],
    window: Window | None,
    history: Sequence[Recommendation],
    now: datetime,
    activator_state: ActivatorState = ActivatorState(),  # noqa: B008 (frozen)
) -> Size:
    """Size of the service now.

    `window`: what the pods said last; `history`: what this gave before; `activator_state`: who holds requests at zero.
    """
    scaling = spec.auto_scaling
    if scaling is None:
        return Size(spec.replicas, None)
    if spec.replicas == 0:
        return Size(0, _wire(0, 0, "replicas is 0: scaled to zero, autoscaling rests", status, now))
    if scaling.scale_metric is ScaleMetric.CPU:
        replicas = clamp(scaling, spec.replicas)
        message = f"a HorizontalPodAutoscaler holds the CPU near {scaling.scale_target} % of the request"
        return Size(replicas, _wire(replicas, spec.replicas, message, status, now))
    before = status.get("autoScaling") or {}
    if before.get("replicasSeen") != spec.replicas:
        start = clamp(scaling, spec.replicas)
        message = f"replicas was set to {spec.replicas}, within {scaling.min_replicas} to {scaling.max_replicas}"
        wire = _wire(start, spec.replicas, message, status, now)
        return Size(start, wire, (Recommendation(now.timestamp(), start),), scaling.to_zero)
    return _by_load(scaling, spec.replicas, before, load_of(scaling, pods, window), history, now, activator_state)


def load_of(scaling: AutoScaling, pods: Sequence[Mapping[str, Any]], window: Window | None) -> Load:
    """Requests in each ready pod, or in its queue, averaged over the last interval (Little's law)."""
    known, unknown, inside = [], 0, 0.0
    for uid in ready_pods(pods):
        growth, seconds = (window.pace if window is not None else {}).get(uid, (None, 0.0))
        if growth is None:
            unknown += 1
            continue
        known.append(_metric(scaling.scale_metric, growth, seconds))
        # Every request counts here, whatever the metric is, and one that is not answered yet as well.
        inside += growth.inside + growth.requests + growth.others
    return Load(known, unknown, inside)


def _metric(metric: ScaleMetric, growth: Traffic, seconds: float) -> float:
    """One pod's figure. An answer of minutes is in no sum before it ends: language models tell what is there now."""
    now = growth.now
    if metric is ScaleMetric.TOKENS_IN_FLIGHT:
        return now.tokens
    if metric is ScaleMetric.KV_CACHE_USAGE:
        return 100 * now.cache
    if metric is ScaleMetric.QUEUE_DEPTH:
        return max(growth.queued / seconds, now.waiting)
    return max(growth.busy / seconds, now.running + now.waiting)


def _by_load(
    scaling: AutoScaling,
    seen: int,
    before: Mapping[str, Any],
    load: Load,
    history: Sequence[Recommendation],
    now: datetime,
    activator_state: ActivatorState,
) -> Size:
    current = clamp(scaling, int(before["desired"]))
    asked = asked_for(scaling, current, load, activator_state)
    replicas, kept = settle(scaling, current, asked, history, now.timestamp())
    wire = dict(before)
    if replicas != before["desired"]:
        message = _why(scaling, current, replicas, load, activator_state)
        wire = _wire(replicas, seen, message, {"autoScaling": before}, now)
    if replicas > 0:
        return Size(replicas, wire, kept, scaling.to_zero)
    since = (now - parse_time(wire["lastScaleTime"])).total_seconds()
    return Size(left(activator_state, since), wire, kept, scaling.to_zero, sleeping=True)


def _why(scaling: AutoScaling, current: int, replicas: int, load: Load, activator_state: ActivatorState) -> str:
    if replicas == 0:
        return f"no request for {scaling.retention_seconds} s: {current} -> 0, the activator holds the next ones"
    if current > 0:
        mean = sum(load.pods) / len(load.pods) if load.pods else 0.0
        return (
            f"{scaling.scale_metric} {mean:.1f} in each of {len(load.pods)} replicas, target {scaling.scale_target}:"
            f" {current} -> {replicas}"
        )
    if activator_state.wanted or any(load.pods) or load.inside:
        return f"woken by a request, {activator_state.held} wait: 0 -> {replicas}"
    return f"{activator_state.trouble}: 0 -> {replicas}"


def _wire(desired: int, seen: int, message: str, status: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    before = status.get("autoScaling") or {}
    wire = {"desired": desired, "replicasSeen": seen, "message": message}
    if before.get("desired") == desired and "lastScaleTime" in before:
        return {**wire, "lastScaleTime": before["lastScaleTime"]}
    return {**wire, "lastScaleTime": format_time(now)}
