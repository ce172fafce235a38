"""Rollout of a new revision, and what it must show before it takes over: part of an InferenceService's spec."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from slipway.api.common.base import Model, Rule
from slipway.api.common.types import Count, DnsLabel, ObjectName

# As the Gateway API has them: a name, or one with a first label of any kind.
Hostname = Annotated[
    str,
    Field(
        min_length=1,
        max_length=253,
        pattern=r"^([*][.])?[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
    ),
]
STEPS_ASCEND = (
    "steps: those with mirror come first, then each step's trafficPercent is above that of the step before it"
)


class Strategy(StrEnum):
    """Strategy of a rollout: at once when all new replicas serve, or in steps, compared with the serving revision."""

    REPLACE = "Replace"
    CANARY = "Canary"


class CanaryStep(Model):
    """One share of the traffic, and how long it is watched."""

    traffic_percent: Annotated[int, Field(ge=1, le=99)] = Field(
        description="The new revision's share, as nearly as whole pods behind one Service can give it."
    )
    mirror: bool = Field(
        False,
        description="Only copies: that share of the requests is sent to the new revision as well. Its answers are"
        " compared and thrown away; it gets no traffic of its own yet.",
    )
    analysis_seconds: Annotated[int, Field(ge=1, le=86400)] = Field(
        60, description="The least time for which the revisions are compared at this share."
    )


class CanaryGate(Model):
    """Limits of how much worse the new revision may be than the one that serves; chance is allowed for."""

    min_requests: Count = Field(
        100,
        description="Fewer inferences by either revision decide nothing. Health checks, other paths, bad requests and"
        " full queues are none, and a new revision that has answered none is never promoted.",
    )
    max_error_rate: Annotated[float, Field(ge=0, le=1)] = Field(
        0.01, description="Share of inferences that the model may fail beyond those that the serving one fails."
    )
    max_p99_increase_percent: Annotated[int, Field(ge=0, le=10000, alias="maxP99IncreasePercent")] = Field(
        50, description="Of the time that requests are in the server."
    )
    max_output_drift: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None,
        description="How much the outputs' distribution may differ, as total variation distance: for a classifier, the"
        " share of predictions that fall into other classes. Not asked when unset.",
    )
    max_logprob_drift: Annotated[float, Field(gt=0, le=100)] | None = Field(
        None,
        description="Of a language model, in steps with mirror: nats per token by which the new revision may find the"
        " answers of the serving one less likely than that one did. Not asked when unset.",
    )
    max_ttft_increase_percent: Annotated[int, Field(ge=0, le=10000)] | None = Field(
        None,
        alias="maxTTFTIncreasePercent",
        description="Of a language model: of the 95th percentile of the time to the first token.",
    )
    max_tpot_increase_percent: Annotated[int, Field(ge=0, le=10000)] | None = Field(
        None,
        alias="maxTPOTIncreasePercent",
        description="Of a language model: of the 95th percentile of an answer's mean time per further token.",
    )


def _ascending(canary: "Canary") -> bool:
    shares = [(not step.mirror, step.traffic_percent) for step in canary.steps]
    return shares == sorted(set(shares))


class Canary(Model):
    """The steps from the first pod to all of them. A gate that fails rolls back; all steps passed promotes."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.steps) || self.steps.all(a, self.steps.exists_one(b, a.trafficPercent == b.trafficPercent"
            " && (has(a.mirror) && a.mirror) == (has(b.mirror) && b.mirror)))",
            "steps: trafficPercent appears more than once: remove the duplicates",
            lambda canary: len({(s.mirror, s.traffic_percent) for s in canary.steps}) == len(canary.steps),
        ),
        Rule(None, STEPS_ASCEND, _ascending),
    )
    steps: Annotated[list[CanaryStep], Field(min_length=1, max_length=8)] = Field(
        default_factory=lambda: [CanaryStep(traffic_percent=10), CanaryStep(traffic_percent=50)],
        description="In this order; then the new revision takes over.",
    )
    gate: CanaryGate = Field(default_factory=CanaryGate, description="Asked at every step.")


class ParentRef(Model):
    """A Gateway that the route is attached to, in the Gateway API's words."""

    name: ObjectName = Field(description="The Gateway.")
    namespace: DnsLabel | None = Field(None, description="Its namespace; the service's own when unset.")
    section_name: ObjectName | None = Field(None, description="One of its listeners; all that fit when unset.")


class GrpcGateway(Model):
    """Gateways and hostnames for clients of the gRPC port."""

    parent_refs: Annotated[list[ParentRef], Field(max_length=8)] = Field(
        default_factory=list, description="Where the GRPCRoute is attached; as the HTTPRoute when empty."
    )
    hostnames: Annotated[list[Hostname], Field(max_length=16, json_schema_extra={"x-kubernetes-list-type": "set"})] = (
        Field(default_factory=list, description="gRPC for these hosts; for all that the listeners take when empty.")
    )


def _apart(gateway: "Gateway") -> bool:
    grpc = gateway.grpc
    if grpc is None or grpc.parent_refs:
        return True
    return bool(grpc.hostnames and gateway.hostnames) and not set(grpc.hostnames) & set(gateway.hostnames)


class Gateway(Model):
    """Gateways through which clients come; a canary's share is then exact, whatever the numbers of pods are."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.grpc) || (has(self.grpc.parentRefs) && size(self.grpc.parentRefs) > 0)"
            " || (has(self.grpc.hostnames) && size(self.grpc.hostnames) > 0 && has(self.hostnames)"
            " && size(self.hostnames) > 0 && self.grpc.hostnames.all(h, !self.hostnames.exists(o, o == h)))",
            "grpc needs parentRefs of its own, or hostnames that differ from the gateway's: for one host a listener"
            " takes an HTTPRoute or a GRPCRoute, not both",
            _apart,
        ),
    )
    parent_refs: Annotated[list[ParentRef], Field(min_length=1, max_length=8)] = Field(
        description="Where the HTTPRoute is attached."
    )
    hostnames: Annotated[list[Hostname], Field(max_length=16, json_schema_extra={"x-kubernetes-list-type": "set"})] = (
        Field(default_factory=list, description="Requests for these hosts; for all that the listeners take when empty.")
    )
    grpc: GrpcGateway | None = Field(
        None, description="A GRPCRoute beside the HTTPRoute, for clients that speak gRPC; no such route when unset."
    )


class Rollout(Model):
    """Rollout of a new revision: its strategy, canary and gateway."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.canary) || self.strategy == 'Canary'",
            "canary has no effect without strategy Canary: set it, or remove canary",
            lambda rollout: rollout.canary is None or rollout.strategy is Strategy.CANARY,
        ),
    )
    strategy: Strategy = Field(
        Strategy.REPLACE,
        description="Replace: when all its replicas serve. Canary: in steps, compared with the serving revision.",
    )
    canary: Canary | None = Field(None, description="Ten, then fifty percent for a minute each when unset.")

    gateway: Gateway | None = Field(
        None,
        description="Where clients come through a gateway: an HTTPRoute leads to the service, and gives a canary its"
        " share of the requests.",
    )

    @property
    def canary_plan(self) -> Canary | None:
        """The canary that is asked for, with its defaults; None without one."""
        return (self.canary or Canary()) if self.strategy is Strategy.CANARY else None
