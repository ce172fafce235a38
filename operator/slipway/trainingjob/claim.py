"""What a job's gang asks of the cluster: nodes, room on them, and the namespace's quota. Pure; for admission.py."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Self

from slipway.api.trainingjob import TrainingJobSpec
from slipway.job.footprint import amounts, requests_of
from slipway.job.packing import Demand
from slipway.job.quota import Bill, Defaults
from slipway.job.run import Run, read_run
from slipway.job.spread import Spread
from slipway.runtime.conditions import parse_time
from slipway.runtime.resource import Object
from slipway.trainingjob.pods import tolerations


@dataclass(frozen=True)
class Claim:
    """The spec, where its pods can go, and what quotas count of each: worked out once per generation."""

    spec: TrainingJobSpec
    demand: Demand
    bill: Bill

    def within(self, defaults: Defaults | None) -> Self:
        """As the namespace's LimitRanges make its pods."""
        if defaults is None:
            return self
        bill = defaults.filled(self.bill)
        return replace(self, bill=bill, demand=replace(self.demand, each=bill.requests))


def demand_of(spec: TrainingJobSpec) -> Demand:
    """What the job's pods ask for; of an elastic job as many as it needs."""
    settings, elastic = spec.pod, spec.elastic_policy
    affinity = (settings.affinity.wire() if settings.affinity else {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    return Demand(
        count=elastic.min_nodes if elastic else spec.num_nodes,
        each=requests_of(spec.trainer.resources_per_node.wire()),
        apart=spec.network.host_network,
        selector=settings.node_selector,
        tolerations=tuple(tolerations(spec)),
        terms=tuple(required.get("nodeSelectorTerms") or ()),
        spreads=tuple(Spread(s.topology_key, s.max_skew) for s in spec.scheduling.topology_spread if s.strict),
    )


def bill_of(spec: TrainingJobSpec) -> Bill:
    """What quotas count of one of its pods."""
    asked = spec.trainer.resources_per_node.wire()
    limits = amounts(asked.get("limits") or {})
    return Bill(requests_of(asked), limits, spec.pod.priority_class_name or "")


def pause_end(job: Object) -> datetime | None:
    """The end of the pause after the server refused the job's pods; None without one."""
    told = (job.get("status") or {}).get("backoff") or {}
    try:
        return parse_time(told["nextAttemptTime"]) if told.get("refusals") and told.get("nextAttemptTime") else None
    except (ValueError, TypeError):
        return None


def run_of(job: Object) -> Run | None:
    """None for a status that nobody can read: whoever may write one must not hold up everybody's gangs."""
    try:
        return read_run(job.get("status") or {})
    except (ValueError, TypeError, OverflowError):
        return None
