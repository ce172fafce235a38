"""Claim of a job's gang on the cluster: nodes, room on them, and the namespace's quota. Pure; for admission.py."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Self

from slipway.api.common.resources import Resources
from slipway.api.training.trainingjob import TrainingJobSpec
from slipway.queueing.demand import Demand
from slipway.queueing.quota import NO_DEFAULTS, Defaults, PodCharge, charge_of
from slipway.queueing.topology import Spread
from slipway.reconcile.run_state import RunState, read_run
from slipway.runtime.client.resource import Object
from slipway.runtime.conditions import parse_time
from slipway.trainingjob import runtime
from slipway.trainingjob.pods import CONTAINER, tolerations


@dataclass(frozen=True)
class Claim:
    """The spec, where its pods can go, and what quotas count of each: worked out once per generation."""

    spec: TrainingJobSpec
    demand: Demand
    charge: PodCharge

    def within(self, defaults: Defaults | None) -> Self:
        """Claim with what the namespace's LimitRanges fill into its pods."""
        if defaults is None:
            return self
        charge = bill_of(self.spec, defaults)
        return replace(self, charge=charge, demand=replace(self.demand, each=charge.requests))


def claim_of(spec: TrainingJobSpec, copied: Mapping[str, Any] | None) -> Claim | None:
    """Claim of a job with the runtime that its status has a copy of; None where it waits for one."""
    if spec.runtime_ref is not None and not copied:
        return None
    settled = runtime.settle(spec, copied)
    return None if settled.problems else Claim(settled.spec, demand_of(settled.spec), bill_of(settled.spec))


def demand_of(spec: TrainingJobSpec) -> Demand:
    """Demand of the job's pods; of an elastic job as many as it needs."""
    settings, elastic = spec.pod, spec.elastic_policy
    affinity = (settings.affinity.wire() if settings.affinity else {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    return Demand(
        count=elastic.min_nodes if elastic else spec.num_nodes,
        each=bill_of(spec).requests,
        apart=spec.network.host_network,
        selector=settings.node_selector,
        tolerations=tuple(tolerations(spec)),
        terms=tuple(required.get("nodeSelectorTerms") or ()),
        spreads=tuple(Spread(s.topology_key, s.max_skew) for s in spec.scheduling.topology_spread if s.strict),
    )


def bill_of(spec: TrainingJobSpec, defaults: Defaults = NO_DEFAULTS) -> PodCharge:
    """Bill of one of its pods: what quotas count of it."""

    def container(name: str, resources: Resources) -> dict[str, Any]:
        return {"name": name, "resources": resources.wire()}

    own = container(CONTAINER, spec.trainer.resources_per_node)
    beside = [container(one.name, one.resources) for one in spec.pod.sidecars]
    first = [container(one.name, one.resources) for one in spec.pod.init_containers]
    whole = {"containers": [own, *beside], "initContainers": first}
    return charge_of(whole, spec.pod.priority_class_name or "", defaults)


def pause_end(job: Object) -> datetime | None:
    """The end of the pause after the server refused the job's pods; None without one."""
    told = (job.get("status") or {}).get("backoff") or {}
    try:
        return parse_time(told["nextAttemptTime"]) if told.get("refusals") and told.get("nextAttemptTime") else None
    except (ValueError, TypeError):
        return None


def run_of(job: Object) -> RunState | None:
    """Run state of a job; None for a status that nobody can read.

    Whoever may write one must not hold up everybody's gangs.
    """
    try:
        return read_run(job.get("status") or {})
    except (ValueError, TypeError, OverflowError):
        return None
