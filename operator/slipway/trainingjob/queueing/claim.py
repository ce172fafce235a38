"""Claim of a job's gang on the cluster: nodes, room on them, and the namespace's quota. Pure; for admission.py."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Self

from slipway.api.common.resources import Resources
from slipway.api.training.trainingjob import TrainingJobSpec
from slipway.queueing.demand import Demand
from slipway.queueing.quota import Defaults, PodCharge
from slipway.queueing.resources import pod_requests
from slipway.queueing.topology import Spread
from slipway.reconcile.run_state import RunState, read_run
from slipway.runtime.client.resource import Object
from slipway.runtime.conditions import parse_time
from slipway.trainingjob import runtime
from slipway.trainingjob.pods import tolerations


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
        charge = defaults.filled(self.charge)
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
        each=_asked(spec),
        apart=spec.network.host_network,
        selector=settings.node_selector,
        tolerations=tuple(tolerations(spec)),
        terms=tuple(required.get("nodeSelectorTerms") or ()),
        spreads=tuple(Spread(s.topology_key, s.max_skew) for s in spec.scheduling.topology_spread if s.strict),
    )


def bill_of(spec: TrainingJobSpec) -> PodCharge:
    """Bill of one of its pods: what quotas count of it."""
    return PodCharge(_asked(spec), _asked(spec, "limits"), spec.pod.priority_class_name or "")


def _asked(spec: TrainingJobSpec, what: str = "") -> dict[str, int]:
    """Requests of one pod with all its containers, or its limits alone."""

    def container(resources: Resources) -> dict[str, Any]:
        wire = resources.wire()
        return {"resources": {"requests": wire.get(what) or {}} if what else wire}

    beside = [container(one.resources) for one in spec.pod.sidecars]
    first = [container(one.resources) for one in spec.pod.init_containers]
    own = container(spec.trainer.resources_per_node)
    return pod_requests({"spec": {"containers": [own, *beside], "initContainers": first}})


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
